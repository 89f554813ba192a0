/* The synopsis notation and the trees of arguments that it stands for. */
#include "exec/syntax.h"

#include "base/buf.h"
#include "tests/unit/test.h"

/* The tree in a form that reads back easily: type:name with its properties, children in braces. */
static void print_list(const struct syntax *syntax, uint8_t first, struct buf *out)
{
    for (uint8_t at = first; at != SYNTAX_NONE; at = syntax->nodes[at].next) {
        const struct syntax_node *node = &syntax->nodes[at];
        buf_printf(out, "%s%s:%.*s", at == first ? "" : " ", syntax_type_name(node->type),
                   (int)node->name.len, node->name.data);
        if (node->key_spec >= 0) {
            buf_printf(out, "#%d", node->key_spec);
        }
        if (node->token.data != NULL) {
            buf_printf(out, "=%.*s", (int)node->token.len, node->token.data);
        }
        if (node->since.len != 0) {
            buf_printf(out, "@%.*s", (int)node->since.len, node->since.data);
        }
        if (node->deprecated.len != 0) {
            buf_printf(out, "!%.*s", (int)node->deprecated.len, node->deprecated.data);
        }
        buf_printf(out, "%s%s%s", node->is_optional ? "?" : "", node->is_multiple ? "*" : "",
                   node->is_multiple_token ? "*" : "");
        if (node->first_child != SYNTAX_NONE) {
            buf_append_text(out, "{");
            print_list(syntax, node->first_child, out);
            buf_append_text(out, "}");
        }
    }
}

static void check_tree(const char *text, unsigned spec_count, const char *wanted)
{
    struct syntax syntax;
    struct buf out;
    buf_init(&out);
    if (!syntax_parse(&syntax, text, spec_count)) {
        buf_printf(&out, "error at %zu", syntax.error_at);
    } else {
        print_list(&syntax, syntax.first, &out);
    }
    buf_append_byte(&out, '\0');
    if (strcmp(out.data, wanted) != 0) {
        fprintf(stderr, "%s\n got    %s\n wanted %s\n", text, out.data, wanted);
        CHECK(false);
    }
    buf_deinit(&out);
}

TEST(syntax, plain_arguments)
{
    check_tree(NULL, 0, "");
    check_tree("", 0, "");
    check_tree("key value", 1, "key:key#0 string:value");
    check_tree("source:key destination:key other:key", 2,
               "key:source#0 key:destination#1 key:other#1");
    check_tree("at:integer by:double p:pattern t:unix-time ip:port", 0,
               "integer:at double:by pattern:p unix-time:t string:ip:port");
    check_tree("key ...", 1, "key:key#0*");
    check_tree("key... x", 1, "key:key#0* string:x");
}

TEST(syntax, tokens)
{
    check_tree("NX", 0, "pure-token:nx=NX");
    check_tree("change=CH equal== empty=", 0,
               "pure-token:change=CH pure-token:equal== pure-token:empty=");
    check_tree("EX seconds:integer@2.6.12", 0, "integer:seconds=EX@2.6.12");
    check_tree("m=m NO ONE", 0, "pure-token:m=m pure-token:no=NO pure-token:one=ONE");
    check_tree("a!2.8.12", 0, "string:a!2.8.12");
}

TEST(syntax, groups)
{
    check_tree("[NX | XX]", 0, "oneof:nx_xx?{pure-token:nx=NX pure-token:xx=XX}");
    check_tree("[condition: NX | XX]@2.6.12", 0,
               "oneof:condition@2.6.12?{pure-token:nx=NX pure-token:xx=XX}");
    check_tree("[condition:oneof NX | XX]", 0,
               "oneof:condition?{pure-token:nx=NX pure-token:xx=XX}");
    check_tree("(key value)...", 1, "block:key_value*{key:key#0 string:value}");
    check_tree("pair:block (key value)...", 1, "block:pair*{key:key#0 string:value}");
    check_tree("[LIMIT offset:integer count:integer]", 0,
               "block:offset_count=LIMIT?{integer:offset integer:count}");
    check_tree("LIMIT (a b)", 0, "block:a_b=LIMIT{string:a string:b}");
    check_tree("STREAMS (streams: key ... id ...)", 1,
               "block:streams=STREAMS{key:key#0* string:id*}");
    check_tree("(trim: (s: A | B) x)", 0,
               "block:trim{oneof:s{pure-token:a=A pure-token:b=B} string:x}");
}

TEST(syntax, repetition_inside_and_behind_brackets)
{
    check_tree("[KEYS key ...]", 1, "key:key#0=KEYS?*");
    check_tree("[GET pattern:pattern#1]...", 3, "pattern:pattern#1=GET?**");
    check_tree("[id ...]", 0, "string:id?*");
    check_tree("[id]...", 0, "string:id?*");
}

TEST(syntax, whole_commands)
{
    check_tree("key value [condition: NX | XX]@2.6.12 [GET]@6.2.0 "
               "[expiration: EX seconds:integer@2.6.12 | PXAT at:unix-time | KEEPTTL@6.0.0]",
               1,
               "key:key#0 string:value oneof:condition@2.6.12?{pure-token:nx=NX "
               "pure-token:xx=XX} pure-token:get=GET@6.2.0? oneof:expiration?{integer:seconds=EX"
               "@2.6.12 unix-time:at=PXAT pure-token:keepttl=KEEPTTL@6.0.0}");
    check_tree("key [BY pattern:pattern#1] [LIMIT (offset:integer count:integer)] "
               "[GET pattern:pattern#1]... [order: ASC | DESC] [sorting=ALPHA] "
               "[STORE destination:key#2]",
               3,
               "key:key#0 pattern:pattern#1=BY? block:offset_count=LIMIT?{integer:offset "
               "integer:count} pattern:pattern#1=GET?** oneof:order?{pure-token:asc=ASC "
               "pure-token:desc=DESC} pure-token:sorting=ALPHA? key:destination#2=STORE?");
}

TEST(syntax, malformed_text_is_refused)
{
    static const char *const texts[] = {
        "[a",
        "a]",
        "()",
        "[]",
        "a | b",
        "(a|)",
        "(|a)",
        ")",
        "(a",
        "[a)",
        "(",
        "x:block",
        "@1.0 a(",
        "((((((((((a))))))))))",
        "[x:block a | b]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct syntax syntax;
        if (syntax_parse(&syntax, texts[i], 1)) {
            fprintf(stderr, "accepted: %s\n", texts[i]);
            CHECK(false);
        }
    }
}

TEST(syntax, too_many_arguments_are_refused)
{
    char text[4096];
    struct syntax syntax;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        text[i] = i % 2 == 0 ? 'a' : ' ';
    }
    text[sizeof(text) - 1] = '\0';
    CHECK(!syntax_parse(&syntax, text, 0));
    memset(text, 'A', sizeof(text) - 1); /* A made-up name beyond the room for names. */
    CHECK(!syntax_parse(&syntax, text, 0));
}
