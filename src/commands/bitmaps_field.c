/* Integers of any width at any bit of a string: BITFIELD and BITFIELD_RO.
 *
 * All operations are read before the first is carried out, so a mistake changes nothing; then the
 * string is made long enough for all writes at once. A field is 1 to 64 bits signed, or 1 to 63
 * unsigned. Sums are made in 128 bits, where nothing overflows, and then put into the field by its
 * rule: cut off (WRAP), held at the limit (SAT), or not at all (FAIL, replied as null). */
#include "base/num.h"
#include "commands/bitmaps.h"
#include "commands/commands.h"
#include "commands/strings_edit.h"
#include "ds/bits.h"
#include "exec/sliced.h"

#ifdef OURO_HOSTILE
enum { FIELD_STEP = 2, FIELD_ARGS = 3 };
#else
enum {
    FIELD_STEP = 64, /* Operations between two yields: some 5 us. */
    FIELD_ARGS = 3,  /* Arguments of the shortest. */
};
#endif

enum field_action { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum field_overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field {
    enum field_action action;
    enum field_overflow overflow;
    bool is_signed;
    unsigned width; /* Bits. */
    uint64_t offset;
    int64_t operand;
};

/* What a parse has found so far. */
struct field_plan {
    uint32_t count; /* Operations. */
    bool has_writes;
    uint64_t bits_end;        /* The writes end here. */
    enum field_overflow mode; /* For the operations that follow. */
};

static bool field_parse_type(struct call *call, struct slice text, struct field *field)
{
    int64_t width = 0;
    char sign = text.len > 0 ? text.data[0] : '\0';
    bool is_number = num_parse_i64(slice_part(text, 1, text.len), &width);
    field->is_signed = sign == 'i';
    if ((sign != 'i' && sign != 'u') || !is_number || width < 1 ||
        width > (sign == 'i' ? 64 : 63)) {
        reply_error(call->out, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                               "u64 is not supported but i64 is.");
        return false;
    }
    field->width = (unsigned)width;
    return true;
}

static bool field_parse_overflow(struct call *call, uint32_t index, struct field_plan *plan)
{
    static const char *const names[] = {"WRAP", "SAT", "FAIL"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (call_is(call, index, names[i])) {
            plan->mode = (enum field_overflow)i;
            return true;
        }
    }
    reply_error(call->out, "ERR Invalid OVERFLOW type specified");
    return false;
}

/* Reads the operation at `*index` and moves on to the next; with OVERFLOW, `*is_operation` is false
 * and only the plan changes. */
static bool field_parse(struct call *call, uint32_t *index, struct field_plan *plan,
                        struct field *field, bool *is_operation)
{
    uint32_t left = call->args.count - *index - 1;
    uint32_t at = *index;
    bool is_set = call_is(call, at, "SET");
    bool is_incrby = call_is(call, at, "INCRBY");
    *is_operation = true;
    if (call_is(call, at, "OVERFLOW") && left >= 1) {
        *is_operation = false;
        *index += 2;
        return field_parse_overflow(call, at + 1, plan);
    }
    if (!(call_is(call, at, "GET") && left >= 2) && !((is_set || is_incrby) && left >= 3)) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    *field = (struct field){.overflow = plan->mode};
    field->action = is_set ? FIELD_SET : is_incrby ? FIELD_INCRBY : FIELD_GET;
    if (!field_parse_type(call, call->args.at[at + 1], field) ||
        !bitmap_offset(call, call->args.at[at + 2], field->width, &field->offset)) {
        return false;
    }
    *index += field->action == FIELD_GET ? 3 : 4;
    return field->action == FIELD_GET || call_i64(call, at + 3, &field->operand, NULL);
}

static bool plan_make(struct call *call, struct field_plan *plan)
{
    uint32_t step = 0;
    *plan = (struct field_plan){.mode = OVERFLOW_WRAP};
    for (uint32_t index = 2; index < call->args.count;) {
        struct field field;
        bool is_operation;
        if (!field_parse(call, &index, plan, &field, &is_operation)) {
            return false;
        }
        plan->count += is_operation;
        if (is_operation && field.action != FIELD_GET) {
            uint64_t end = field.offset + field.width;
            plan->has_writes = true;
            plan->bits_end = end > plan->bits_end ? end : plan->bits_end;
        }
        if (++step % FIELD_STEP == 0 && !call_yield(call)) {
            return false;
        }
    }
    plan->mode = OVERFLOW_WRAP;
    return true;
}

/* ---- One operation ---- */

/* A field's bits as the number they stand for. */
static int64_t field_number(const struct field *field, uint64_t bits)
{
    unsigned unused = 64 - field->width;
    return field->is_signed ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
}

/* Puts a sum into the field's range; false when the rule is to fail. */
static bool field_fit(const struct field *field, __int128 sum, uint64_t *bits)
{
    __int128 one = 1;
    __int128 max = (one << (field->width - (field->is_signed ? 1 : 0))) - 1;
    __int128 min = field->is_signed ? -max - 1 : 0;
    if (sum < min || sum > max) {
        if (field->overflow == OVERFLOW_FAIL) {
            return false;
        }
        if (field->overflow == OVERFLOW_SAT) {
            sum = sum < min ? min : max;
        }
    }
    uint64_t mask = UINT64_MAX >> (64 - field->width);
    *bits = (uint64_t)sum & mask;
    return true;
}

/* What SET is given: an unsigned field reads it as 64 unsigned bits. */
static __int128 field_operand(const struct field *field)
{
    return field->is_signed ? (__int128)field->operand : (__int128)(uint64_t)field->operand;
}

/* What operations did: wrote bits, perhaps the same ones. */
enum { FIELD_WROTE = 1, FIELD_CHANGED = 2 };

/* Carries out one operation, replies, and says what it did. `bytes` is where writes go. */
static unsigned field_run(struct call *call, const struct field *field, struct slice text,
                          char *bytes)
{
    uint64_t old_bits = bits_get(text, field->offset, field->width);
    int64_t old = field_number(field, old_bits);
    if (field->action == FIELD_GET) {
        reply_integer(call->out, old);
        return 0;
    }
    __int128 sum = field->action == FIELD_SET ? field_operand(field)
                                              : (__int128)old + (__int128)field->operand;
    uint64_t bits;
    if (!field_fit(field, sum, &bits)) {
        reply_null(call->out);
        return 0;
    }
    bits_put(bytes, field->offset, field->width, bits);
    reply_integer(call->out, field->action == FIELD_SET ? old : field_number(field, bits));
    return FIELD_WROTE | (bits != old_bits ? FIELD_CHANGED : 0);
}

/* Carries out all operations; the arguments are known to be right. */
static unsigned plan_run(struct call *call, struct field_plan *plan, struct slice text, char *bytes)
{
    unsigned done = 0;
    uint32_t step = 0;
    reply_array(call->out, plan->count);
    for (uint32_t index = 2; index < call->args.count;) {
        struct field field;
        bool is_operation;
        if (field_parse(call, &index, plan, &field, &is_operation) && is_operation) {
            done |= field_run(call, &field, text, bytes);
        }
        if (++step % FIELD_STEP == 0 && !call_yield(call)) {
            break; /* Nobody wants the reply. */
        }
    }
    return done;
}

static void field_read(struct call *call, struct field_plan *plan)
{
    struct bitmap bitmap;
    if (bitmap_find(call, 1, &bitmap)) {
        plan_run(call, plan, bitmap.text, NULL);
    }
}

/* BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | ...] */
static void bitfield_run(struct call *call)
{
    struct field_plan plan;
    struct place place;
    if (call_slice_editing(call, call->args.count / FIELD_ARGS) || !plan_make(call, &plan)) {
        return;
    }
    if (!plan.has_writes) {
        field_read(call, &plan);
        return;
    }
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    struct string_edit edit = {.place = place, .len = (plan.bits_end + 7) / 8};
    if (!strings_edit_begin(call, &edit, sizeof(uint64_t))) {
        return;
    }
    struct reply *out = call->out;
    struct reply found; /* Until it is known that there is memory for the result. */
    reply_init(&found, out->pool);
    found.protocol = out->protocol;
    found.is_muted = out->is_muted;
    call->out = edit.own != NULL ? &found : out;
    unsigned done = plan_run(call, &plan, slice_of(edit.bytes, edit.len), edit.bytes);
    call->out = out;
    if (strings_edit_end(call, &edit)) {
        reply_splice(out, &found);
        if (!edit.is_gone && (edit.is_grown || (done & FIELD_CHANGED) != 0)) {
            call_changed(call, 1, done != 0 ? "setbit" : NULL); /* All may have overflowed. */
        }
    }
    reply_deinit(&found);
}

/* BITFIELD_RO key [GET type offset ...] */
static void bitfield_ro_run(struct call *call)
{
    struct field_plan plan;
    if (call_slice_reading(call, call->args.count / FIELD_ARGS) || !plan_make(call, &plan)) {
        return;
    }
    if (plan.has_writes) {
        reply_error(call->out, "ERR BITFIELD_RO only supports the GET subcommand");
        return;
    }
    field_read(call, &plan);
}

static const struct key_spec *bitfield_refine(const struct slice *args, uint32_t count)
{
    static const struct key_spec reads = {.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS};
    static const struct key_spec writes = {
        .first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE};
    for (uint32_t i = 2; i < count; i++) {
        if (slice_is(args[i], "SET") || slice_is(args[i], "INCRBY")) {
            return &writes;
        }
    }
    return &reads;
}

static const struct command bitmaps_field_rows[] = {
    {.name = "bitfield",
     .run = bitfield_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_UPDATE,
               .notes = "This command allows both access and modification of the key",
               .refine = bitfield_refine}},
     .since = "3.2.0",
     .group = "bitmap",
     .complexity = "O(1) for each operation.",
     .summary = "Reads and writes integers of any width in a string.",
     .syntax = "key [operation: GET (encoding offset:integer) | (write: [OVERFLOW (wrap_sat_fail: "
               "WRAP | SAT | FAIL)] (write_operation: SET (encoding offset:integer value:integer) "
               "| INCRBY (encoding offset:integer increment:integer)))]..."},
    {.name = "bitfield_ro",
     .run = bitfield_ro_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.0.0",
     .group = "bitmap",
     .complexity = "O(1) for each operation.",
     .summary = "Reads integers of any width in a string.",
     .syntax = "key [GET (encoding offset:integer)]..."},
};

void commands_register_bitmaps_field(struct exec *exec)
{
    exec_register(exec, bitmaps_field_rows,
                  sizeof(bitmaps_field_rows) / sizeof(bitmaps_field_rows[0]), NULL);
}
