/* Fuzzes what a primary may send: answers of the handshake, heads and snapshots, the stream.
 *
 * An input is sent to a replica in a simulated world twice, in one piece and in random pieces. What
 * it then holds, its history and its offset must be the same: they depend on the bytes, not on how
 * they arrive. The first byte chooses how snapshots are loaded, the second the pieces. With
 * -DFUZZ_STANDALONE the program makes its own inputs: `fuzz_upstream [count] [seed]`. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "persist/load_file.h"
#include "repl/link.h"
#include "ring/sim.h"
#include "types/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PRIMARY, REPLICA, PORT = 7000, QUIET_US = 300 * 1000, STEPS_MAX = 200000 };

struct bed {
    struct sim_world *world;
    struct ring *rings[2];
    struct rng rng;
    struct work_queue work;
    struct clock_now now;
    struct keyspace *keyspace;
    struct exec *exec;
    struct type_limits limits;
    struct reply_pool pool;
    struct repl *repl;
    struct load_options load;
    const char *loads; /* A file that is to be loaded in the next turn. */

    /* The primary. */
    int listen_fd, fd;
    struct ring_op accept, receive, send;
    struct slice input;
    size_t piece_max;
    struct rng pieces;
};

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz_upstream: %s\n", what);
        abort();
    }
}

/* ---- The server around the replica ---- */

static void on_role(void *context, bool is_replica)
{
    struct bed *bed = context;
    keyspace_set_expiry(bed->keyspace, !is_replica, true);
}

static void forget_functions(void *context)
{
    (void)context;
}

static void load_begins(void *context, struct load_options *options)
{
    struct bed *bed = context;
    *options = (struct load_options){.keyspace = bed->keyspace,
                                     .limits = &bed->limits,
                                     .work = &bed->work,
                                     .now_ms = bed->now.wall_ms,
                                     .checks_sum = true,
                                     .keeps_expired = true};
    bed->load = *options;
}

static const char *load(void *context, const char *path)
{
    ((struct bed *)context)->loads = path;
    return NULL;
}

static void note_loaded(void *context, const struct load_figures *figures)
{
    (void)context;
    (void)figures;
}

static void load_ended(void *context)
{
    (void)context;
}

/* Loads what the replica has put into its file. */
static void load_now(struct bed *bed)
{
    struct loader loader;
    struct slice bytes;
    bytes.data = sim_file_peek(bed->world, REPLICA, bed->loads, &bytes.len);
    bed->loads = NULL;
    require(bytes.data != NULL, "the file to be loaded is not there");
    bed->load.len = bytes.len;
    loader_init(&loader, &bed->load);
    loader_feed(&loader, bytes);
    enum load_state state;
    do {
        state = loader_step(&loader);
    } while (state == LOAD_GOES_ON);
    if (state == LOAD_NEEDS_BYTES) {
        state = loader_end_early(&loader);
    }
    const char *error = state == LOAD_DONE ? NULL : loader.error;
    int64_t stream_db = loader.facts.repl_db;
    char text[RDB_ERROR_MAX];
    snprintf(text, sizeof(text), "%s", error == NULL ? "" : error);
    loader_deinit(&loader);
    repl_on_loaded(bed->repl, error == NULL ? NULL : text, stream_db);
}

/* ---- The primary ---- */

static void send_more(struct bed *bed)
{
    size_t len = bed->input.len;
    if (bed->piece_max != 0 && len != 0) {
        size_t piece = 1 + rng_below(&bed->pieces, bed->piece_max);
        len = piece < len ? piece : len;
    }
    if (len == 0) {
        ring_close_fd(bed->rings[PRIMARY], bed->fd);
        bed->fd = -1;
        return;
    }
    ring_send(bed->rings[PRIMARY], &bed->send, bed->fd, bed->input.data, len);
    bed->input = slice_part(bed->input, len, bed->input.len);
}

static void primary_on_sent(struct ring_op *op, int result)
{
    struct bed *bed = LIST_OWNER(op, struct bed, send);
    if (result >= 0 && bed->fd >= 0) {
        send_more(bed);
    }
}

static void primary_on_receive(struct ring_op *op, int result)
{
    struct bed *bed = LIST_OWNER(op, struct bed, receive);
    if (result > 0) {
        ring_buffer_release(bed->rings[PRIMARY], &op->buffer);
    }
}

/* One replica comes, once. */
static void primary_on_accept(struct ring_op *op, int result)
{
    struct bed *bed = LIST_OWNER(op, struct bed, accept);
    if (result < 0) {
        return;
    }
    bed->fd = result;
    ring_close_fd(bed->rings[PRIMARY], bed->listen_fd);
    bed->listen_fd = -1;
    ring_receive(bed->rings[PRIMARY], &bed->receive, bed->fd);
    send_more(bed);
}

/* ---- Life ---- */

static void bed_open(struct bed *bed, enum repl_load how, uint64_t seed)
{
    static const struct connection_family identity = {
        .version = "7.2.0", .mode = "standalone", .role = "replica"};
    memset(bed, 0, sizeof(*bed));
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = ""});
    bed->world = sim_world_new(&(struct sim_options){.seed = seed, .is_stepped = true});
    bed->rings[PRIMARY] = sim_node_start(bed->world, PRIMARY);
    bed->rings[REPLICA] = sim_node_start(bed->world, REPLICA);
    rng_seed(&bed->rng, 1);
    rng_seed(&bed->pieces, seed);
    work_queue_init(&bed->work);
    bed->limits = type_limits_default();
    bed->now = (struct clock_now){.wall_ms = 1000000, .wall_us = 1000000000, .mono_us = 5000};
    bed->keyspace = keyspace_new(&(struct keyspace_options){
        .db_count = 4, .hash_seed = 7, .rng = &bed->rng, .work = &bed->work});
    bed->exec = exec_new(&(struct exec_options){
        .keyspace = bed->keyspace, .work = &bed->work, .rng = &bed->rng, .now = &bed->now});
    commands_register_all(bed->exec, (struct connection_family *)(uintptr_t)&identity,
                          &bed->limits);
    reply_pool_init(&bed->pool);
    bed->repl = repl_new(&(struct repl_options){.exec = bed->exec,
                                                .ring = bed->rings[REPLICA],
                                                .lent_bytes = &bed->pool.orphaned_bytes,
                                                .host = {.context = bed,
                                                         .on_role = on_role,
                                                         .forget_functions = forget_functions,
                                                         .load_begins = load_begins,
                                                         .load = load,
                                                         .note_loaded = note_loaded,
                                                         .load_ended = load_ended}});
    repl_configure(bed->repl, &(struct repl_config){.backlog_size = 1 << 20,
                                                    .timeout_s = 60,
                                                    .load = how,
                                                    .user = "",
                                                    .password = "",
                                                    .announce_ip = "",
                                                    .dir = "d",
                                                    .file_name = "dump.rdb"});
    repl_register(bed->repl);
    bed->accept.done = primary_on_accept;
    bed->receive.done = primary_on_receive;
    bed->send.done = primary_on_sent;
    bed->fd = -1;
    bed->listen_fd = ring_listen(
        bed->rings[PRIMARY],
        &(struct ring_listen_options){.address = "10.0.0.1", .port = PORT, .backlog = 5});
    require(bed->listen_fd >= 0, "nobody listens");
    ring_accept(bed->rings[PRIMARY], &bed->accept, bed->listen_fd);
}

/* Everything that happens until nothing has for a while. */
static void bed_run(struct bed *bed)
{
    int64_t last_us = sim_world_now_us(bed->world);
    int64_t tick_us = last_us;
    for (unsigned i = 0; i < STEPS_MAX && sim_world_now_us(bed->world) - last_us < QUIET_US; i++) {
        struct ring *ring =
            sim_world_step(bed->world, sim_world_now_us(bed->world) + QUIET_US / 10);
        if (ring != NULL) {
            ring_turn(ring, 0);
            last_us = sim_world_now_us(bed->world);
        }
        bed->now.mono_us = sim_world_now_us(bed->world);
        exec_tick(bed->exec);
        while (repl_drain(bed->repl, INT64_MAX)) {
            work_drain(&bed->work);
            if (bed->repl->upstream->state == LINK_TRANSFER) {
                break;
            }
        }
        work_drain(&bed->work);
        if (bed->loads != NULL) {
            load_now(bed);
        }
        if (bed->now.mono_us - tick_us >= QUIET_US / 3) {
            tick_us = bed->now.mono_us;
            repl_tick(bed->repl);
        }
    }
}

static void bed_shut(struct bed *bed)
{
    link_leave(bed->repl->upstream);
    while (!list_is_empty(&bed->repl->upstream->wires) || bed->repl->upstream->spool_count != 0) {
        struct ring *ring = sim_world_step(bed->world, INT64_MAX);
        require(ring != NULL, "an operation never ends");
        ring_turn(ring, 0);
    }
    work_drain(&bed->work);
    repl_stop(bed->repl);
    repl_free(bed->repl);
    exec_free(bed->exec);
    keyspace_free(bed->keyspace);
    work_drain(&bed->work);
    reply_pool_deinit(&bed->pool);
    ring_close(bed->rings[PRIMARY]);
    ring_close(bed->rings[REPLICA]);
    sim_node_stop(bed->world, PRIMARY, true);
    sim_node_stop(bed->world, REPLICA, true);
    sim_world_free(bed->world);
}

/* ---- What is compared ---- */

static void add_key(void *context, struct slice key, const struct value *value)
{
    uint64_t *sum = context;
    *sum += crc64(0, key) ^ (uint64_t)value_kind(value);
}

static void describe(struct bed *bed, struct buf *out)
{
    const struct repl *repl = bed->repl;
    const struct link *link = repl->upstream;
    bool is_whole = link->has_history;
    buf_printf(out, "history %d, offset %lld, id %s, id2 %.8s, db %d\n", is_whole,
               is_whole ? (long long)backlog_end(&repl->backlog) : -1, is_whole ? repl->id : "-",
               is_whole ? repl->id2 : "-", is_whole ? link->stream_db : -1);
    for (unsigned i = 0; i < keyspace_db_count(bed->keyspace); i++) {
        struct db *db = keyspace_db(bed->keyspace, i);
        uint64_t sum = 0, cursor = 0;
        db_check(db);
        do {
            cursor = db_scan(db, cursor, 100, 0, add_key, &sum);
        } while (cursor != 0);
        buf_printf(out, "db %u: %zu keys, %llx\n", i, db_count(db), (unsigned long long)sum);
    }
}

static void play(struct slice input, enum repl_load how, uint64_t seed, size_t piece_max,
                 struct buf *out)
{
    struct bed bed;
    bed_open(&bed, how, seed);
    bed.input = input;
    bed.piece_max = piece_max;
    repl_follow(bed.repl, slice_from_text("10.0.0.1"), PORT);
    repl_open(bed.repl, true);
    bed_run(&bed);
    backlog_check(&bed.repl->backlog);
    describe(&bed, out);
    bed_shut(&bed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut, input;
    if (size < 2) {
        return 0;
    }
    enum repl_load how = data[0] % 2 == 0 ? REPL_LOAD_DISABLED : REPL_LOAD_FLUSH;
    buf_init(&whole);
    buf_init(&cut);
    buf_init(&input);
    buf_append_text(&input, "+PONG\r\n+OK\r\n+OK\r\n");
    buf_append(&input, slice_of(data + 2, size - 2));
    play(buf_slice(&input), how, data[1], 0, &whole);
    play(buf_slice(&input), how, data[1] + 1U, (size_t)1 << data[1] % 10, &cut);
    if (!slice_equal(buf_slice(&whole), buf_slice(&cut))) {
        fprintf(stderr, "whole:\n%.*scut:\n%.*s", (int)whole.len, whole.data, (int)cut.len,
                cut.data);
        abort();
    }
    buf_deinit(&whole);
    buf_deinit(&cut);
    buf_deinit(&input);
    return 0;
}

#ifdef FUZZ_STANDALONE

#define ID "0123456789abcdef0123456789abcdef01234567"
#define MARK "mmmmmmmmmmmmmmmmmmmmnnnnnnnnnnnnnnnnnnnn"

static void append_snapshot(struct buf *out, struct rng *rng)
{
    size_t start = out->len;
    buf_append_text(out, "REDIS0009");
    for (uint64_t i = rng_below(rng, 20); i > 0; i--) {
        char key[32];
        size_t len = rng_below(rng, rng_below(rng, 5) == 0 ? 300 : 60);
        len = len > 63 ? 63 : len;
        snprintf(key, sizeof(key), "key%llu", (unsigned long long)i);
        buf_append_byte(out, 0);
        buf_append_byte(out, (char)strlen(key));
        buf_append_text(out, key);
        buf_append_byte(out, (char)len);
        memset(buf_reserve(out, len), 'm', len);
        out->len += len;
    }
    buf_append_byte(out, (char)0xff);
    uint64_t sum = crc64(0, slice_of(out->data + start, out->len - start));
    buf_append(out, slice_of(&sum, sizeof(sum)));
}

static void append_command(struct buf *out, struct rng *rng)
{
    static const char *const lines[] = {
        "SELECT 1",   "SET a 1",    "INCR a",
        "MULTI",      "EXEC",       "PING",
        "LPUSH a b",  "DEL a",      "REPLCONF GETACK *",
        "FROB x",     "SET b",      "FLUSHALL",
        "SADD s a b", "SELECT 99",  "CLIENT KILL TYPE master",
        "DISCARD",    "HSET h f v", "SWAPDB 0 1",
        "BLPOP q 0",  "RENAME a c",
    };
    char words[64];
    char *rest = NULL;
    struct buf body;
    unsigned count = 0;
    buf_init(&body);
    snprintf(words, sizeof(words), "%s", lines[rng_below(rng, sizeof(lines) / sizeof(lines[0]))]);
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        buf_printf(&body, "$%zu\r\n%s\r\n", strlen(word), word);
        count++;
    }
    buf_printf(out, "*%u\r\n%.*s", count, (int)body.len, body.data);
    buf_deinit(&body);
}

static void make_input(struct buf *out, struct rng *rng)
{
    static const char *const answers[] = {"+CONTINUE\r\n", "+CONTINUE " ID "\r\n",
                                          "-NOMASTERLINK x\r\n", "+FULLRESYNC x 1\r\n", "\n\n\n"};
    buf_clear(out);
    buf_append_byte(out, (char)rng_next(rng));
    buf_append_byte(out, (char)rng_next(rng));
    if (rng_below(rng, 10) == 0) {
        buf_append_text(out, answers[rng_below(rng, 5)]);
    }
    buf_append_text(out, "+FULLRESYNC " ID " 1000\r\n");
    struct buf body;
    buf_init(&body);
    append_snapshot(&body, rng);
    if (rng_below(rng, 2) == 0) {
        buf_append_text(out, "\n$EOF:" MARK "\r\n");
        buf_append(out, buf_slice(&body));
        buf_append_text(out, MARK);
    } else {
        uint64_t lie = rng_below(rng, 10) == 0 ? rng_below(rng, 9) : 0;
        buf_printf(out, "\n$%llu\r\n", (unsigned long long)(body.len + lie));
        buf_append(out, buf_slice(&body));
    }
    buf_deinit(&body);
    for (uint64_t i = rng_below(rng, 40); i > 0; i--) {
        append_command(out, rng);
    }
    for (uint64_t i = rng_below(rng, 3) == 0 ? rng_below(rng, 5) : 0; i > 0; i--) {
        out->data[2 + rng_below(rng, out->len - 2)] = (char)rng_next(rng);
    }
    if (rng_below(rng, 4) == 0) {
        out->len = 2 + rng_below(rng, out->len - 1);
    }
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 300;
    unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    struct buf input;
    struct rng rng;
    mem_thread_enter();
    buf_init(&input);
    for (unsigned long i = 0; i < count; i++) {
        rng_seed(&rng, seed + i);
        make_input(&input, &rng);
        LLVMFuzzerTestOneInput((const uint8_t *)input.data, input.len);
    }
    buf_deinit(&input);
    printf("fuzz_upstream: %lu inputs\n", count);
    return 0;
}

#endif
