/* What the tests of repl/ lie on: real commands over four databases, replication without sockets,
 * and clients that may become replicas. What a replica is sent is read back as text, one line of
 * words for each command of the stream. */
#pragma once

#include "base/log.h"
#include "commands/commands.h"
#include "exec/multi.h"
#include "repl/repl_internal.h"
#include "ring/sim.h"
#include "tests/unit/exec/fixture.h"
#include "types/limits.h"

struct repl_bed {
    struct fixture fixture;
    struct sim_world *world;
    struct ring *ring;
    struct repl *repl;
    struct connection_family identity;
    struct type_limits limits;
    struct repl_config config;
    struct backlog_cursor reader; /* Reads the stream from where it began. */
    struct buf text;
    unsigned gate_changes;
};

static inline void bed_on_gate(void *context)
{
    ((struct repl_bed *)context)->gate_changes++;
}

static inline void bed_open(struct repl_bed *bed)
{
    memset(bed, 0, sizeof *bed);
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = ""});
    fixture_init(&bed->fixture);
    bed->identity = (struct connection_family){"7.2.0", "standalone", "master"};
    bed->limits = (struct type_limits){.hash_entries = 512, .hash_value = 64};
    commands_register_all(bed->fixture.exec, &bed->identity, &bed->limits);
    bed->world = sim_world_new(&(struct sim_options){.seed = test_seed()});
    bed->ring = sim_node_start(bed->world, 0);
    bed->repl = repl_new(&(struct repl_options){
        .exec = bed->fixture.exec,
        .ring = bed->ring,
        .lent_bytes = &bed->fixture.pool.orphaned_bytes,
        .host = {.context = bed, .on_gate = bed_on_gate},
    });
    bed->config = (struct repl_config){.backlog_size = 1 << 20,
                                       .backlog_ttl_s = 3600,
                                       .ping_period_s = 10,
                                       .timeout_s = 60,
                                       .lag_max_s = 10};
    repl_configure(bed->repl, &bed->config);
    repl_register(bed->repl);
    buf_init(&bed->text);
}

/* Begins a history, as the first replica does, and a reader of it. */
static inline void bed_begin(struct repl_bed *bed)
{
    repl_open_backlog(bed->repl);
    struct backlog *backlog = &bed->repl->backlog;
    CHECK(backlog_cursor_open(backlog, &bed->reader, backlog_end(backlog) + 1));
}

static inline void bed_shut(struct repl_bed *bed)
{
    backlog_cursor_close(&bed->reader);
    repl_stop(bed->repl);
    fake_shut(&bed->fixture.client);
    repl_free(bed->repl);
    ring_close(bed->ring);
    sim_world_free(bed->world);
    exec_free(bed->fixture.exec);
    work_drain(&bed->fixture.work);
    keyspace_free(bed->fixture.keyspace);
    CHECK(bed->fixture.pool.orphaned_bytes == 0);
    reply_pool_deinit(&bed->fixture.pool);
    buf_deinit(&bed->fixture.text);
    buf_deinit(&bed->text);
}

/* One number after `kind`; returns where the line ends. */
static inline const char *bed_number(const char *at, char kind, size_t *number)
{
    char *end;
    CHECK(*at == kind);
    *number = strtoul(at + 1, &end, 10);
    CHECK(end[0] == '\r' && end[1] == '\n');
    return end + 2;
}

/* Bytes of the stream as text: words separated by spaces, commands by " | ". */
static inline const char *bed_words(struct repl_bed *bed, struct slice bytes)
{
    const char *at = bytes.data;
    buf_clear(&bed->text);
    while (at < bytes.data + bytes.len) {
        size_t count, len;
        at = bed_number(at, '*', &count);
        buf_append_text(&bed->text, bed->text.len == 0 ? "" : " | ");
        for (size_t i = 0; i < count; i++) {
            at = bed_number(at, '$', &len);
            buf_append_text(&bed->text, i == 0 ? "" : " ");
            buf_append(&bed->text, slice_of(at, len));
            CHECK(at[len] == '\r' && at[len + 1] == '\n');
            at += len + 2;
        }
    }
    CHECK(at == bytes.data + bytes.len);
    buf_append_byte(&bed->text, '\0');
    return bed->text.data;
}

/* What the stream got since the last call. */
static inline const char *bed_stream(struct repl_bed *bed)
{
    struct buf bytes;
    struct blob *blob;
    size_t from, len;
    buf_init(&bytes);
    buf_reserve(&bytes, 1);
    while ((len = backlog_cursor_take(&bed->reader, 1000, &blob, &from)) != 0) {
        buf_append(&bytes, slice_of(blob->bytes + from, len));
    }
    const char *words = bed_words(bed, buf_slice(&bytes));
    buf_deinit(&bytes);
    return words;
}

/* Runs a command, whatever it answers, and tells what it put into the stream. */
static inline const char *bed_effect(struct repl_bed *bed, const char *line)
{
    (void)say_through(&bed->fixture, line);
    return bed_stream(bed);
}

#define CHECK_EFFECT(bed, line, wanted) CHECK(is_text(bed_effect(bed, line), wanted))

static inline void bed_pass_ms(struct repl_bed *bed, int64_t ms)
{
    bed->fixture.now.wall_ms += ms;
    bed->fixture.now.wall_us += ms * 1000;
    bed->fixture.now.mono_us += ms * 1000;
    exec_tick(bed->fixture.exec);
    repl_step(bed->repl);
    repl_tick(bed->repl);
    repl_pump(bed->repl);
}
