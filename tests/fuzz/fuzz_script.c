/* Fuzzes scripts: the compiler, the sandbox, the libraries and what is called from them.
 *
 * Whatever the text is, EVAL answers with exactly one reply, memory stays below the limit, the
 * globals are as they were, and no script outlives the patience of others: one that takes too long
 * parks and is ended.
 *
 * With -DFUZZ_STANDALONE the program makes its own inputs: `fuzz_script [count] [seed]`. They are
 * calls of all functions that scripts have, with numbers, texts and tables that have made trouble
 * before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/work.h"
#include "commands/commands.h"
#include "exec/aside.h"
#include "exec/exec.h"
#include "resp/reply_read.h"
#include "script/script.h"
#include "types/limits.h"

enum { MEMORY_MAX = 8 * 1024 * 1024, KEYS_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bed {
    struct work_queue work;
    struct rng rng;
    struct clock_now now;
    struct keyspace *keyspace;
    struct exec *exec;
    struct script *script;
    struct type_limits limits;
    struct reply_pool pool;
    struct reply out;
    struct session session;
};

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static bool is_never_full(void *context)
{
    (void)context;
    return false;
}

static void bed_init(struct bed *bed)
{
    static const struct connection_family identity = {
        .version = "7.2.0", .mode = "standalone", .role = "master"};
    *bed = (struct bed){.limits = type_limits_default(), .now = clock_read()};
    work_queue_init(&bed->work);
    rng_seed(&bed->rng, 1);
    bed->keyspace = keyspace_new(&(struct keyspace_options){.db_count = 16,
                                                            .hash_seed = 1,
                                                            .now_ms = bed->now.wall_ms,
                                                            .rng = &bed->rng,
                                                            .work = &bed->work});
    bed->exec = exec_new(&(struct exec_options){
        .keyspace = bed->keyspace, .work = &bed->work, .rng = &bed->rng, .now = &bed->now});
    commands_register_all(bed->exec, &identity, &bed->limits);
    bed->script = script_new(bed->exec, &(struct script_options){.version = "7.2.0",
                                                                 .is_memory_full = is_never_full,
                                                                 .threshold_ms = 1,
                                                                 .memory_max = MEMORY_MAX});
    reply_pool_init(&bed->pool);
    reply_init(&bed->out, &bed->pool);
    session_init(&bed->session, bed->exec, &bed->out, NULL, SESSION_INTERNAL);
}

static void bed_deinit(struct bed *bed)
{
    script_free(bed->script);
    session_deinit(&bed->session);
    reply_deinit(&bed->out);
    reply_pool_deinit(&bed->pool);
    work_drain(&bed->work);
    exec_free(bed->exec);
    keyspace_free(bed->keyspace);
    work_drain(&bed->work);
}

/* One whole reply, its elements included. */
static bool skip_reply(struct slice *rest)
{
    struct reply_item item;
    for (int64_t left = 1; left > 0; left--) {
        if (!reply_read(rest, &item)) {
            return false;
        }
        if (item.kind == REPLY_ARRAY || item.kind == REPLY_SET || item.kind == REPLY_PUSH) {
            left += item.number;
        } else if (item.kind == REPLY_MAP) {
            left += 2 * item.number;
        }
    }
    return true;
}

static void require_one_reply(struct bed *bed)
{
    struct iovec part;
    struct buf bytes;
    size_t len;
    buf_init(&bytes);
    while (reply_peek(&bed->out, &part, 1, &len) != 0) {
        buf_append(&bytes, slice_of(part.iov_base, part.iov_len));
        reply_sent(&bed->out, len);
    }
    struct slice rest = buf_slice(&bytes);
    require(skip_reply(&rest) && rest.len == 0, "not one reply");
    buf_deinit(&bytes);
}

static void eval(struct bed *bed, struct slice script)
{
    struct slice args[] = {slice_from_text("EVAL"), script,
                           slice_from_text("1"),    slice_from_text("key"),
                           slice_from_text("-1"),   slice_from_text("\xff{\"a\":[1,2]}")};
    struct exec_plan plan;
    exec_plan(bed->exec, &bed->session, args, sizeof(args) / sizeof(args[0]), &plan);
    enum exec_result result = exec_run(bed->exec, &bed->session, &plan, NULL);
    require(result == EXEC_DONE, "held back");
    if (aside_is_parked(bed->exec)) {
        script_abort(bed->script);
    }
    require(script_stats(bed->script).eval_memory <= MEMORY_MAX, "above the limit");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char witness[] =
        "for _, t in pairs({_G, redis, string, table, math, cjson, cmsgpack, struct, bit}) do "
        "if rawget(t, 'hacked') ~= nil then return 'changed' end end "
        "if type(redis.call) ~= 'function' or ('x'):upper() ~= 'X' then return 'changed' end "
        "return redis.call('ECHO', 'same')";
    struct bed bed;
    bed_init(&bed);
    eval(&bed, slice_of(data, size));
    require_one_reply(&bed);
    eval(&bed, slice_from_text(witness));
    struct iovec part;
    size_t len;
    require(reply_peek(&bed.out, &part, 1, &len) == 1 && len == 10 &&
                memcmp(part.iov_base, "$4\r\nsame\r\n", 10) == 0,
            "what scripts share was changed");
    bed_deinit(&bed);
    return 0;
}

#ifdef FUZZ_STANDALONE

#include "tests/fuzz/standalone.h"

static const char *const functions[] = {
    "string.rep",
    "string.find",
    "string.gsub",
    "string.format",
    "string.byte",
    "string.match",
    "string.gmatch",
    "string.char",
    "string.sub",
    "string.dump",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "unpack",
    "cjson.encode",
    "cjson.decode",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "struct.pack",
    "struct.unpack",
    "struct.size",
    "bit.tohex",
    "bit.rol",
    "bit.lshift",
    "redis.call",
    "redis.pcall",
    "redis.sha1hex",
    "redis.log",
    "redis.setresp",
    "redis.error_reply",
    "rawset",
    "rawget",
    "setmetatable",
    "getmetatable",
    "loadstring",
    "load",
    "pcall",
    "xpcall",
    "error",
    "select",
    "next",
    "pairs",
    "tonumber",
    "tostring",
    "coroutine.wrap",
    "coroutine.create",
    "collectgarbage",
    "math.random",
    "math.randomseed",
    "cmsgpack.unpack_limit",
    "cmsgpack.unpack_one",
    "cjson.encode_max_depth",
    "assert",
};

static const char *const values[] = {
    "nil",
    "true",
    "{}",
    "0",
    "1",
    "-1",
    "2^31",
    "-2^31",
    "2^53",
    "1e308",
    "0/0",
    "1/0",
    "''",
    "'x'",
    "'GET'",
    "'SET'",
    "'key'",
    "'hacked'",
    "'%s%d%99.99f'",
    "'(a*(.)%w(%s*))'",
    "'[a'",
    "'%b()'",
    "('x'):rep(1e5)",
    "('.-'):rep(500)",
    "'\\255\\220\\145'",
    "'!8i4c0s'",
    "'return 1'",
    "'while true do end'",
    "ARGV[1]",
    "ARGV[2]",
    "KEYS",
    "redis",
    "_G",
    "string",
    "''.rep",
    "function() end",
    "function(...) return ... end",
    "function() error({err = 'E x'}) end",
    "{1, 2, {3}}",
    "{a = {b = {}}}",
    "{[1e9] = 1}",
    "setmetatable({}, {__index = error})",
    "setmetatable({}, {__tostring = 1})",
    "cjson.null",
    "{err = 1}",
    "{ok = 'a\\nb'}",
    "{map = {a = 1}}",
    "{double = 0/0}",
};

static const char *pick(struct rng *rng, const char *const *words, size_t count)
{
    return words[rng_below(rng, count)];
}

static void append_call(struct buf *out, struct rng *rng, unsigned depth)
{
    buf_append_text(out, pick(rng, functions, sizeof(functions) / sizeof(functions[0])));
    buf_append_byte(out, '(');
    for (uint64_t left = rng_below(rng, 5); left > 0; left--) {
        if (depth < 3 && rng_below(rng, 3) == 0) {
            append_call(out, rng, depth + 1);
        } else {
            buf_append_text(out, pick(rng, values, sizeof(values) / sizeof(values[0])));
        }
        buf_append_text(out, left > 1 ? ", " : "");
    }
    buf_append_byte(out, ')');
}

static void make_input(struct buf *out, struct rng *rng)
{
    buf_clear(out);
    for (uint64_t statements = rng_below(rng, 3); statements > 0; statements--) {
        bool is_safe = rng_below(rng, 2) == 0;
        buf_append_text(out, is_safe ? "pcall(function() return " : "local _ = ");
        append_call(out, rng, 0);
        buf_append_text(out, is_safe ? " end) " : " ");
    }
    buf_append_text(out, "return ");
    append_call(out, rng, 0);
    if (rng_below(rng, 10) == 0) {
        out->data[rng_below(rng, out->len)] = "\n\"'[]{}=\\%x"[rng_below(rng, 11)];
    }
}

int main(int argc, char **argv)
{
    return fuzz_standalone(argc, argv, 500, make_input);
}

#endif
