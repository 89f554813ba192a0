/* A whole server without its process, on one node of a simulated world: the data, connections,
 * saves and replication, wired as server/ does it. A world has several of them, each with a disk.
 *
 *     host_start --> host_turn, host_turn ... --> host_stop, or host_crash
 *
 * A crash resets all connections at once, then takes the server down in an orderly way, which
 * nobody sees, and loses what its disk had not synced. */
#pragma once

#include <limits.h>

#include "base/log.h"
#include "base/work.h"
#include "commands/commands.h"
#include "exec/block.h"
#include "exec/multi.h"
#include "net/net.h"
#include "persist/load_file.h"
#include "persist/saver.h"
#include "repl/repl.h"
#include "ring/sim.h"
#include "tests/unit/persist/state.h"
#include "types/limits.h"

enum {
    HOST_PORT = 6379,
    HOST_CRON_US = 100000,
    HOST_DATABASES = STATE_DB_COUNT,
    HOST_WATCHED_MAX = 4
};

#define HOST_FILE "./dump.rdb"

struct host {
    unsigned index; /* Node of the world. */
    struct sim_world *world;
    struct rng rng;
    struct repl_config config;
    bool is_up;
    unsigned follows; /* Node of the primary; its own: none. */
    unsigned life;

    /* While it is up. */
    struct ring *ring;
    struct clock_now now;
    struct work_queue work;
    struct keyspace *keyspace;
    struct exec *exec;
    struct net *net;
    struct saver *saver;
    struct repl *repl;
    struct type_limits limits;
    struct connection_family identity;
    struct loader *loading; /* NULL: nothing is loaded from a file. */
    struct buf loading_bytes;
    void (*on_loading_done)(struct host *host, const char *error);
    struct load_facts facts; /* Of the last file. */
    uint64_t keys_loaded;
    int64_t next_cron_us;

    int64_t seen[HOST_WATCHED_MAX]; /* The highest number that key "c<i>" ever had, in any life. */
};

static inline void host_set_clock(struct host *host)
{
    int64_t now_us = sim_world_now_us(host->world);
    host->now.mono_us = now_us;
    host->now.wall_us = 1700000000000000 + now_us;
    host->now.wall_ms = host->now.wall_us / 1000;
}

/* ---- Keys that are watched ---- */

static inline void host_look_at(struct host *host, struct db *db, struct slice key, unsigned number)
{
    int64_t count;
    struct value *value =
        db_find_place(db, key, db_hash(db, key), host->now.wall_ms, FIND_NO_TOUCH | FIND_EXPIRED)
            .value;
    if (value != NULL && value_kind(value) == VALUE_STRING && string_get_i64(value, &count) &&
        count > host->seen[number]) {
        host->seen[number] = count;
    }
}

static inline void host_on_change(void *context, struct db *db, struct slice key,
                                  const struct call *call)
{
    (void)call;
    unsigned number = key.len == 2 && key.data[0] == 'c' ? (unsigned)(key.data[1] - '0') : UINT_MAX;
    if (number < HOST_WATCHED_MAX) {
        host_look_at(context, db, key, number);
    }
}

/* After a loading, which tells of no changes. */
static inline void host_look(struct host *host)
{
    for (unsigned i = 0; i < HOST_WATCHED_MAX * HOST_DATABASES; i++) {
        char name[] = {'c', (char)('0' + i % HOST_WATCHED_MAX)};
        host_look_at(host, keyspace_db(host->keyspace, i / HOST_WATCHED_MAX),
                     slice_of(name, sizeof(name)), i % HOST_WATCHED_MAX);
    }
}

/* ---- What replication asks of a server ---- */

static inline enum gate_result host_loading_gate(void *context, struct call *call)
{
    (void)context;
    reply_error(call->out, "LOADING Redis is loading the dataset in memory");
    return GATE_REFUSED;
}

static inline enum gate_result host_write_gate(void *context, struct call *call)
{
    struct host *host = context;
    bool is_write = (multi_call_flags(call) & CMD_WRITE) != 0;
    const char *why = (call->session->flags & SESSION_PRIMARY) != 0
                          ? NULL
                          : repl_refuses(host->repl, call->session, is_write);
    if (why == NULL) {
        return GATE_PASS;
    }
    call_refuse(call, why);
    return GATE_REFUSED;
}

static inline void host_update(struct host *host)
{
    bool is_loading = host->loading != NULL || repl_is_loading(host->repl, NULL);
    keyspace_set_expiry(host->keyspace, !repl_is_replica(host->repl), !is_loading);
    exec_activate_gate(host->exec, GATE_LOADING, is_loading);
    exec_activate_gate(host->exec, GATE_READ_ONLY, repl_may_refuse(host->repl));
}

static inline void host_on_role(void *context, bool is_replica)
{
    (void)is_replica;
    host_update(context);
}

static inline void host_on_gate(void *context)
{
    struct host *host = context;
    if (host->repl != NULL) {
        host_update(host);
    }
}

static inline void host_forget_functions(void *context)
{
    (void)context;
}

static inline struct load_options host_load_options(struct host *host)
{
    return (struct load_options){.keyspace = host->keyspace,
                                 .limits = &host->limits,
                                 .work = &host->work,
                                 .now_ms = host->now.wall_ms,
                                 .checks_sum = true,
                                 .keeps_expired = repl_is_replica(host->repl),
                                 .keeps_expired_of_history = true};
}

/* ---- Files of the simulated disk ---- */

static inline bool host_begin_loading(struct host *host, const char *path,
                                      void (*on_done)(struct host *host, const char *error))
{
    size_t len;
    const char *bytes = sim_file_peek(host->world, host->index, path, &len);
    if (bytes == NULL) {
        return false;
    }
    struct load_options options = host_load_options(host);
    options.len = len;
    buf_init(&host->loading_bytes);
    buf_append(&host->loading_bytes, slice_of(bytes, len));
    host->loading = mem_zalloc(sizeof(*host->loading));
    host->on_loading_done = on_done;
    loader_init(host->loading, &options);
    loader_feed(host->loading, buf_slice(&host->loading_bytes));
    return true;
}

static inline void host_forget_loading(struct host *host)
{
    loader_deinit(host->loading);
    mem_free(host->loading);
    buf_deinit(&host->loading_bytes);
    host->loading = NULL;
}

/* A few keys of it. */
static inline void host_step_loading(struct host *host)
{
    enum load_state state = loader_step(host->loading);
    if (state == LOAD_GOES_ON) {
        return;
    }
    char error[RDB_ERROR_MAX];
    memcpy(error, host->loading->error, sizeof(error));
    host->facts = host->loading->facts;
    host->keys_loaded = host->loading->keys_loaded;
    host_forget_loading(host);
    host_look(host);
    host->on_loading_done(host, state == LOAD_DONE          ? NULL
                                : state == LOAD_NEEDS_BYTES ? "it ends early"
                                                            : error);
}

static inline void host_on_received(struct host *host, const char *error)
{
    repl_on_loaded(host->repl, error, host->facts.repl_db);
}

static inline const char *host_load(void *context, const char *path)
{
    return host_begin_loading(context, path, host_on_received) ? NULL : "there is no such file";
}

static inline void host_load_begins(void *context, struct load_options *options)
{
    struct host *host = context;
    *options = host_load_options(host);
    exec_activate_gate(host->exec, GATE_LOADING, true);
    keyspace_set_expiry(host->keyspace, !repl_is_replica(host->repl), false);
}

static inline void host_load_ended(void *context)
{
    host_update(context);
}

static inline void host_note_loaded(void *context, const struct load_figures *figures)
{
    struct host *host = context;
    host->facts = figures->facts;
    host_look(host);
}

static inline unsigned host_write_more(void *context, struct codec_out *out)
{
    struct host *host = context;
    if (out != NULL) {
        repl_write_facts(host->repl, out);
    }
    return 0;
}

/* ---- Start ---- */

static inline void host_on_removal(void *context, struct db *db, struct slice key,
                                   const struct value *value, enum key_removal why)
{
    struct host *host = context;
    (void)value;
    exec_report_removal(host->exec, db, key, why == KEY_EXPIRED ? "expired" : "evicted",
                        why == KEY_EXPIRED ? EVENT_EXPIRED : EVENT_EVICTED);
}

static inline void host_on_part(void *context, struct db *db, struct slice key, struct slice field,
                                enum part_news news)
{
    struct host *host = context;
    if (news == PART_EXPIRED) {
        exec_report_part(host->exec, db, key, field);
    } else {
        exec_report_parts(host->exec, db, key, news == PARTS_EXPIRED ? "hexpired" : "del");
    }
}

static inline void host_build(struct host *host)
{
    work_queue_init(&host->work);
    host->keyspace = keyspace_new(&(struct keyspace_options){.db_count = HOST_DATABASES,
                                                             .hash_seed = rng_next(&host->rng),
                                                             .now_ms = host->now.wall_ms,
                                                             .rng = &host->rng,
                                                             .work = &host->work,
                                                             .on_removal = host_on_removal,
                                                             .removal_context = host});
    host->exec = exec_new(&(struct exec_options){
        .keyspace = host->keyspace, .work = &host->work, .rng = &host->rng, .now = &host->now});
    keyspace_set_part_hook(host->keyspace, host_on_part, host);
    host->limits = type_limits_default();
    host->identity = (struct connection_family){"7.2.0", "standalone", "master"};
    commands_register_all(host->exec, &host->identity, &host->limits);
    exec_add_sink(host->exec, &(struct effect_sink){.on_change = host_on_change, .context = host});
    host->net = net_new(host->ring, host->exec);
    net_configure(host->net, &(struct net_config){.query_buffer_max = 1 << 30,
                                                  .bulk_len_max = 512 << 20,
                                                  .clients_max = 100});
    host->saver = saver_new(&(struct saver_options){
        .exec = host->exec, .ring = host->ring, .speaks = slice_from_text("7.2.0"), .pid = 7});
    saver_set_more(host->saver, host_write_more, host);
    saver_register(host->saver);
    exec_set_gate(host->exec, GATE_LOADING, host_loading_gate, host);
    exec_set_gate(host->exec, GATE_READ_ONLY, host_write_gate, host);
    host->repl = repl_new(&(struct repl_options){
        .exec = host->exec,
        .ring = host->ring,
        .net = host->net,
        .lent_bytes = net_lent_bytes(host->net),
        .saver = host->saver,
        .host = {.context = host,
                 .on_role = host_on_role,
                 .on_gate = host_on_gate,
                 .forget_functions = host_forget_functions,
                 .load = host_load,
                 .load_begins = host_load_begins,
                 .note_loaded = host_note_loaded,
                 .load_ended = host_load_ended},
        .speaks = slice_from_text("7.2.0"),
    });
    repl_register(host->repl);
    repl_configure(host->repl, &host->config);
}

static inline void host_open(struct host *host)
{
    host_update(host);
    repl_open(host->repl, host->keys_loaded != 0);
}

/* The file at start is loaded; it may tell of a history. */
static inline void host_on_loaded(struct host *host, const char *error)
{
    CHECK(error == NULL); /* Files appear whole or not at all. */
    const struct load_facts *facts = &host->facts;
    if (facts->repl_id[0] != '\0' && facts->repl_offset >= 0) {
        struct repl_facts history = {.offset = facts->repl_offset, .db = (int)facts->repl_db};
        memcpy(history.id, facts->repl_id, sizeof(history.id));
        repl_restore(host->repl, &history);
    }
    host_open(host);
}

static inline void host_start(struct host *host)
{
    CHECK(!host->is_up);
    host->ring = sim_node_start(host->world, host->index);
    host_set_clock(host);
    host_build(host);
    host->is_up = true;
    host->life++;
    host->keys_loaded = 0;
    if (host->follows != host->index) {
        char address[16];
        snprintf(address, sizeof(address), "10.0.0.%u", host->follows + 1);
        repl_follow(host->repl, slice_from_text(address), HOST_PORT);
    }
    if (!host_begin_loading(host, HOST_FILE, host_on_loaded)) {
        host_open(host);
    }
    host_update(host);
    CHECK(net_listen(host->net, &(struct ring_listen_options){
                                    .address = "0.0.0.0", .port = HOST_PORT, .backlog = 100}) == 0);
}

/* ---- End ---- */

static inline void host_take_down(struct host *host)
{
    host->is_up = false;
    if (host->loading != NULL) {
        host_forget_loading(host);
    }
    repl_stop(host->repl);
    saver_free(host->saver);
    net_free(host->net);
    repl_free(host->repl);
    host->repl = NULL;
    work_drain(&host->work);
    exec_free(host->exec);
    keyspace_free(host->keyspace);
    work_drain(&host->work);
    ring_close(host->ring);
}

static inline void host_stop(struct host *host)
{
    host_take_down(host);
    sim_node_stop(host->world, host->index, false);
}

static inline void host_crash(struct host *host)
{
    for (unsigned other = 0; other < SIM_NODES_MAX; other++) {
        sim_world_cut(host->world, host->index, other);
    }
    host_take_down(host);
    sim_node_stop(host->world, host->index, true);
}

/* ---- The turn ---- */

static inline void host_background(struct host *host)
{
    int64_t now_us = host->now.mono_us;
    if (keyspace_next_expiry_ms(host->keyspace) <= host->now.wall_ms) {
        (void)keyspace_expire_step(host->keyspace, host->now.wall_ms, INT64_MAX);
    }
    if (!work_is_idle(&host->work)) {
        (void)work_run(&host->work, 0);
    }
    if (now_us >= host->next_cron_us) {
        host->next_cron_us = now_us + HOST_CRON_US;
        saver_tick(host->saver);
        net_tick(host->net);
        repl_tick(host->repl);
    }
    if (repl_due_us(host->repl) <= now_us) {
        repl_step(host->repl);
    }
    if (saver_due_us(host->saver) <= now_us) {
        saver_step(host->saver);
    }
}

/* One turn. Returns when the next one is due (monotonic us) if nothing happens before. */
static inline int64_t host_turn(struct host *host)
{
    host_set_clock(host);
    exec_tick(host->exec);
    bool is_more = net_drain(host->net, INT64_MAX);
    if (repl_is_replica(host->repl)) {
        is_more |= repl_drain(host->repl, INT64_MAX);
    }
    host_background(host);
    if (host->loading != NULL) {
        host_step_loading(host);
        is_more = true;
    }
    is_more |= net_is_ready(host->net) || !work_is_idle(&host->work);
    repl_pump(host->repl);
    is_more |= net_flush(host->net);
    (void)ring_turn(host->ring, 0);
    int64_t due_us = host->next_cron_us;
    int64_t others[] = {repl_due_us(host->repl), saver_due_us(host->saver),
                        block_due_us(host->exec)};
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        due_us = others[i] < due_us ? others[i] : due_us;
    }
    return is_more ? host->now.mono_us : due_us;
}
