/* One pass over the keyspace: the walk, the mill behind it, and the time and memory that they take.
 *
 *     core thread   | drain | .. | slice | flush | drain | ..... | slice | ...
 *                                  walk -> rope ----.                 blocks -> file or replicas
 *     mill's thread                                 '-> LZF, CRC --------^
 *
 * Time. Under load a slice takes at most SLICE_US, and then as much time passes as makes the walk's
 * share what is configured; when no command came since the last slice, the next follows at once. A
 * slice does nothing while the mill has BACKLOG_MAX to do, which it has when nobody takes its
 * blocks: then the walk waits, and nobody else.
 *
 * Memory. What commands change meanwhile is written ahead, and held until its turn (walk.c). Above
 * HELD_HIGH the walk takes the larger part of the time; above HELD_MAX writers are held back for
 * some milliseconds at a time, as CLIENT PAUSE WRITE does, until there is less. Readers go on. So a
 * pass takes a bounded amount of memory, however slow its taker and however busy the writers. */
#include "persist/pass.h"

#include "base/clock.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    SLICE_US = 1,
    BACKLOG_MAX = 1000,
    FEED_MIN = 1,
#else
    SLICE_US = 150,
    BACKLOG_MAX = 2 * 1024 * 1024, /* Bytes that the mill may have before it. */
    FEED_MIN = 16 * 1024,          /* Bytes that are worth waking the mill for. */
#endif
    FEED_MAX = 256 * 1024, /* Bytes of one slice. */
    POLL_US = 500,         /* While the walk has to wait for the mill. */
    HELD_HIGH = 16 * 1024 * 1024,
    HELD_MAX = 32 * 1024 * 1024,
    HIGH_SHARE_PERCENT = 75,
    HOLD_BACK_MS = 4,
};

struct pass {
    struct pass_options options;
    struct mill *mill;
    struct walk *walk;      /* NULL: all is walked, or it was stopped. */
    uint64_t commands_seen; /* At the last slice. */
    int64_t due_us;
    bool is_alone;   /* Nothing else runs meanwhile. */
    bool has_failed; /* No memory. */
};

/* ---- Life ---- */

struct pass *pass_new(const struct pass_options *options)
{
    struct mill *mill = mill_new(&(struct mill_options){.is_threaded = options->is_threaded,
                                                        .has_packing = options->has_packing,
                                                        .has_checksum = options->has_checksum});
    if (mill == NULL) {
        return NULL;
    }
    struct pass *pass = mem_zalloc(sizeof(*pass));
    pass->options = *options;
    pass->mill = mill;
    pass->walk = walk_new(&(struct walk_options){.keyspace = exec_keyspace(options->exec),
                                                 .speaks = options->speaks,
                                                 .now_ms = exec_now(options->exec)->wall_ms,
                                                 .used_memory = mem_used(),
                                                 .has_no_data = options->has_no_data,
                                                 .write_more = options->write_more,
                                                 .more_context = options->more_context});
    *options->stats = (struct pass_stats){.held_back = options->stats->held_back,
                                          .walk = *walk_stats(pass->walk)};
    pass->due_us = ring_mono_us(options->ring);
    return pass;
}

void pass_stop(struct pass *pass)
{
    if (pass->walk != NULL) {
        pass->options.stats->walk = *walk_stats(pass->walk);
        walk_free(pass->walk);
        pass->walk = NULL;
    }
}

void pass_free(struct pass *pass)
{
    pass_stop(pass);
    mill_free(pass->mill);
    mem_free_sized(pass, sizeof(*pass));
}

/* ---- What it tells ---- */

struct mill *pass_mill(struct pass *pass)
{
    return pass->mill;
}

size_t pass_held(struct pass *pass)
{
    size_t walked = pass->walk == NULL ? 0 : walk_held(pass->walk) + walk_out(pass->walk)->bytes;
    return walked + mill_backlog(pass->mill);
}

bool pass_has_failed(const struct pass *pass)
{
    return pass->has_failed;
}

bool pass_is_waiting(struct pass *pass)
{
    return pass->walk == NULL || mill_backlog(pass->mill) > BACKLOG_MAX;
}

void pass_set_alone(struct pass *pass, bool is_alone)
{
    pass->is_alone = is_alone;
}

int64_t pass_due_us(const struct pass *pass)
{
    return pass->due_us;
}

/* ---- Slices ---- */

static bool is_idle_since(struct pass *pass)
{
    uint64_t count = exec_stats(pass->options.exec)->commands_count;
    bool is_idle = count == pass->commands_seen;
    pass->commands_seen = count;
    return is_idle;
}

static void hold_back_writers(struct pass *pass)
{
    struct exec *exec = pass->options.exec;
    pass->options.stats->held_back++;
    exec_pause(exec, PAUSE_BY_SAVE, PAUSE_WRITE, exec_now(exec)->wall_ms + HOLD_BACK_MS);
}

/* When the next slice is due after one of `spent_us`. */
static void schedule(struct pass *pass, int64_t end_us, int64_t spent_us, size_t held)
{
    int64_t share = pass->options.share_percent;
    share = held > HELD_HIGH && share < HIGH_SHARE_PERCENT ? HIGH_SHARE_PERCENT : share;
    bool is_idle = is_idle_since(pass);
    pass->due_us = is_idle ? end_us : end_us + spent_us * (100 - share) / share;
}

static void feed(struct pass *pass, bool is_over)
{
    struct rope *rope = walk_out(pass->walk);
    if (rope->is_failed) {
        pass->has_failed = true;
        pass_stop(pass);
        return;
    }
    if (is_over || rope->bytes >= FEED_MIN) {
        mill_feed(pass->mill, rope);
    }
    if (is_over) {
        mill_finish(pass->mill);
        pass_stop(pass);
    }
}

static void step_walk(struct pass *pass)
{
    struct pass_stats *stats = pass->options.stats;
    int64_t begin_us = clock_mono_us();
    /* Without a thread it is a simulated world: a piece at a time, whatever the real clock says. */
    int64_t until_us = pass->options.is_threaded ? begin_us + SLICE_US : 0;
    bool is_over = walk_step(pass->walk, until_us, FEED_MAX);
    stats->walk = *walk_stats(pass->walk);
    feed(pass, is_over);
    int64_t spent_us = clock_mono_us() - begin_us;
    stats->walk_us += (uint64_t)spent_us;
    stats->slice_count++;
    if ((uint64_t)spent_us > stats->slice_us_max) {
        stats->slice_us_max = (uint64_t)spent_us;
    }
    schedule(pass, ring_mono_us(pass->options.ring), spent_us, pass_held(pass));
}

void pass_step(struct pass *pass, bool may_walk)
{
    size_t held = pass_held(pass);
    if (held > pass->options.stats->held_peak) {
        pass->options.stats->held_peak = held;
    }
    if (held > HELD_MAX && !pass->is_alone) {
        hold_back_writers(pass);
    }
    if (!may_walk || pass_is_waiting(pass)) {
        pass->due_us = ring_mono_us(pass->options.ring) + POLL_US;
    } else {
        step_walk(pass);
    }
}
