/* Replication in a simulated world: a primary, two replicas and two clients, on nodes of their own,
 * under links that break and come apart, disks that fail, crashes and restarts, all drawn from a
 * seed. In a third of the worlds the second replica is one of the first.
 *
 * What must hold, whatever happens:
 *
 *   1. When the trouble is over the replicas become equal to the primary: the same id, the same
 *      offset, the same keys, contents and times.
 *   2. WAIT never lies. Each client counts up in a key of its own, so of each server it is known
 *      which number it ever had; when WAIT says that n replicas have it, n of them have had it.
 *   3. Broken links alone cost no full synchronisation, when the backlog reaches far enough.
 *   4. A replica that becomes the primary is followed by the other one without a full
 *      synchronisation, and so it is by the old one when that had nothing which is lost.
 *
 * OURO_WORLDS sets the number of worlds; a failure names the seed of its world. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "resp/reply_read.h"
#include "tests/sim/host.h"

enum {
    HOSTS = 3, /* The first is the primary at first. */
    CLIENT_NODE = HOSTS,
    CLIENTS = 2,
    OPERATOR = CLIENTS, /* One more, who gives orders. */
    WORLDS = 30,
    KEYS = 12,
    FIELDS = 60,
    BATCH_MAX = 12,
    SECOND = 1000000,
    STEP_US_MIN = 40,
    PATIENCE_US = 8 * SECOND, /* A client gives up a connection that does not answer. */
    TROUBLE_US = 25 * SECOND,
    CONVERGE_US = 400 * SECOND,
};

static uint64_t world_count(void)
{
    const char *text = getenv("OURO_WORLDS");
    return text == NULL ? WORLDS : strtoull(text, NULL, 10);
}

/* ---- Clients ---- */

enum actor_state { ACTOR_RESTS, ACTOR_CONNECTS, ACTOR_ASKS, ACTOR_CLOSES };

struct bed;

struct actor {
    struct bed *bed;
    unsigned index;
    enum actor_state state;
    struct ring_op connect, send, receive;
    struct sockaddr_in address;
    int fd;
    struct buf out, in;
    int64_t due_us;    /* Rests until then; else gives up then. */
    int64_t number;    /* That it last wrote. */
    unsigned serial;   /* Of what it last asked. */
    const char *order; /* Of the operator: what it is to say, ... */
    unsigned target;   /* ... and to whom. */
};

struct bed {
    uint64_t seed;
    struct rng rng;
    struct sim_world *world;
    struct host hosts[HOSTS];
    struct ring *ring; /* Of the clients. */
    struct actor actors[CLIENTS + 1];
    unsigned primary;
    bool has_writers;
    bool is_counting;          /* What WAIT says is judged. */
    int64_t restart_us[HOSTS]; /* When one that is down comes back. */
    int64_t heal_us;           /* When nodes that are apart come together; 0: none are. */
    int64_t fault_us;          /* When the next trouble comes. */
};

/* A command of one line: k and q stand for keys of the form's kind, f for a field, n for a number,
 * t for a text, b for a long one. */
static const char *const forms[] = {
    "t SET k t",
    "t SET k t PX n",
    "t SET k b",
    "t APPEND k t",
    "t SETRANGE k 5 t",
    "t GETDEL k",
    "t GETEX k PX n",
    "t GETSET k t",
    "t INCRBYFLOAT number 1.5",
    "t MSET k t q t",
    "t SETBIT k n 1",
    "t PFADD pf f",
    "l RPUSH k t f t",
    "l LPUSH k b",
    "l LPOP k",
    "l RPOP k 2",
    "l LMPOP 2 k q LEFT COUNT 2",
    "l LINSERT k BEFORE f t",
    "l LTRIM k 0 30",
    "l LMOVE k q LEFT RIGHT",
    "h HSET k f t f t",
    "h HDEL k f",
    "h HINCRBY k counter 1",
    "h HINCRBYFLOAT k real 0.25",
    "h HPEXPIRE k n FIELDS 1 f",
    "h HGETDEL k FIELDS 1 f",
    "s SADD k f n t",
    "s SREM k f",
    "s SPOP k",
    "s SPOP k 2",
    "s SMOVE k q f",
    "s SUNIONSTORE k k q",
    "z ZADD k n f n t",
    "z ZPOPMIN k",
    "z ZMPOP 2 k q MAX COUNT 2",
    "z ZINCRBY k 1.5 f",
    "z ZRANGESTORE k q 0 5",
    "x XADD k * f t",
    "x XADD k MAXLEN ~ 20 * f t f b",
    "x XTRIM k MAXLEN 10",
    "x XGROUP CREATE k g 0 MKSTREAM",
    "s SPOP k 20",
    "s SORT k ALPHA STORE l1",
    "z ZREMRANGEBYRANK k 0 5",
    "z ZUNIONSTORE k 2 k q",
    "l LREM k 0 f",
};
static const char *const general_forms[] = {
    "DEL k",         "UNLINK k",   "RENAME k q", "COPY k q REPLACE",
    "PEXPIRE k n",   "EXPIRE k 1", "PERSIST k",  "MOVE k 1",
    "PEXPIREAT k 5", "GET k",      "TOUCH k",    "COPY k q DB 2 REPLACE",
    "SELECT 1",      "SELECT 2",
};
/* The latter two would take the counters away, which are in database 0. */
static const char *const rare_forms[] = {"FLUSHDB", "SWAPDB 1 2", "FLUSHALL", "SWAPDB 0 1"};
enum { RARE_HARMLESS = 2, RARE_ALL = 4 };

static void draw_word(struct bed *bed, char kind, char word, struct buf *line)
{
    struct rng *rng = &bed->rng;
    if (word == 'k' || word == 'q') {
        buf_printf(line, "%c%u", kind, (unsigned)rng_below(rng, KEYS));
    } else if (word == 'f') {
        buf_printf(line, "f%u", (unsigned)rng_below(rng, FIELDS));
    } else if (word == 'n') {
        buf_printf(line, "%u", 1 + (unsigned)rng_below(rng, 3000));
    } else {
        size_t len = rng_below(rng, word == 'b' ? 3000 : 20);
        buf_printf(line, "%u-", (unsigned)rng_below(rng, 1000));
        memset(buf_reserve(line, len), 'x', len);
        line->len += len;
    }
}

/* One letter between spaces is replaced. */
static void ask_form(struct actor *actor, char kind, const char *form)
{
    for (const char *at = form; *at != '\0'; at++) {
        bool is_alone = (at == form || at[-1] == ' ') && (at[1] == ' ' || at[1] == '\0');
        if (is_alone && strchr("kqfntb", *at) != NULL) {
            draw_word(actor->bed, kind, *at, &actor->out);
        } else {
            buf_append_byte(&actor->out, *at);
        }
    }
    buf_append_text(&actor->out, "\r\n");
}

static void ask_something(struct actor *actor)
{
    struct rng *rng = &actor->bed->rng;
    size_t draw = rng_below(rng, 400);
    if (draw == 0) {
        size_t count = actor->bed->is_counting ? RARE_HARMLESS : RARE_ALL;
        ask_form(actor, 'x', rare_forms[rng_below(rng, count)]);
    } else if (draw < 70) {
        size_t index = rng_below(rng, sizeof(general_forms) / sizeof(*general_forms));
        ask_form(actor, "tlhszx"[rng_below(rng, 6)], general_forms[index]);
    } else {
        const char *form = forms[rng_below(rng, sizeof(forms) / sizeof(*forms))];
        ask_form(actor, form[0], form + 2);
    }
}

/* Some commands, the next number, WAIT, and an ECHO by which the end is known. */
static void ask_batch(struct actor *actor)
{
    struct rng *rng = &actor->bed->rng;
    bool is_multi = rng_below(rng, 4) == 0;
    buf_printf(&actor->out, "SELECT %u\r\n", 1 + (unsigned)rng_below(rng, 2));
    buf_append_text(&actor->out, is_multi ? "MULTI\r\n" : "");
    for (size_t left = rng_below(rng, BATCH_MAX); left > 0; left--) {
        ask_something(actor);
    }
    actor->number++;
    actor->serial++;
    buf_printf(&actor->out, "SELECT 0\r\nSET c%u %lld\r\n", actor->index, (long long)actor->number);
    buf_append_text(&actor->out, is_multi ? "EXEC\r\n" : "");
    buf_printf(&actor->out, "WAIT %u %u\r\nECHO serial-%u\r\n", 1 + (unsigned)rng_below(rng, 2),
               1 + (unsigned)rng_below(rng, 300), actor->serial);
}

/* The number of servers but the primary that ever had what the client wrote last. */
static unsigned count_holders(const struct bed *bed, const struct actor *actor)
{
    unsigned count = 0;
    for (unsigned i = 0; i < HOSTS; i++) {
        count += i != bed->primary && bed->hosts[i].seen[actor->index] >= actor->number;
    }
    return count;
}

/* Skips one reply, and its parts; `ends_well` tells whether it is +OK, or ends with that. False: it
 * is not all there. */
static bool skip_reply(struct slice *rest, struct reply_item *item, bool *ends_well)
{
    if (!reply_read(rest, item)) {
        return false;
    }
    *ends_well = item->kind == REPLY_STATUS && slice_is(item->text, "OK");
    struct reply_item part;
    for (int64_t i = 0; item->kind == REPLY_ARRAY && i < item->number; i++) {
        if (!skip_reply(rest, &part, ends_well)) {
            return false;
        }
    }
    return true;
}

/* Whether all that was asked is answered; then WAIT's answer is judged, if the number was written.
 */
static bool is_answered(struct actor *actor)
{
    char text[32];
    if (actor->order != NULL) {
        bool is_there = actor->in.len != 0 && actor->in.data[actor->in.len - 1] == '\n';
        CHECK(!is_there || actor->in.data[0] == '+');
        actor->order = is_there ? NULL : actor->order;
        return is_there;
    }
    struct slice rest = buf_slice(&actor->in);
    struct reply_item item = {.kind = REPLY_NULL}, before;
    bool were_well[3] = {false}; /* The last reply, and those before it. */
    snprintf(text, sizeof(text), "serial-%u", actor->serial);
    do {
        before = item;
        were_well[2] = were_well[1];
        were_well[1] = were_well[0];
        if (!skip_reply(&rest, &item, &were_well[0])) {
            return false;
        }
    } while (item.kind != REPLY_BULK || !slice_is(item.text, text));
    if (before.kind == REPLY_INTEGER && were_well[2]) {
        CHECK(!actor->bed->is_counting ||
              before.number <= (int64_t)count_holders(actor->bed, actor));
    }
    return true;
}

static void actor_rest(struct actor *actor)
{
    actor->state = ACTOR_RESTS;
    actor->due_us =
        sim_world_now_us(actor->bed->world) + (int64_t)rng_below(&actor->bed->rng, 60000);
}

static void actor_hang_up(struct actor *actor)
{
    if (actor->state != ACTOR_CLOSES) {
        actor->state = ACTOR_CLOSES;
        ring_close_fd(actor->bed->ring, actor->fd);
        actor->fd = -1;
    }
}

static void actor_send(struct actor *actor)
{
    buf_clear(&actor->out);
    buf_clear(&actor->in);
    if (actor->order != NULL) {
        buf_append_text(&actor->out, actor->order);
    } else {
        ask_batch(actor);
    }
    actor->state = ACTOR_ASKS;
    actor->due_us = sim_world_now_us(actor->bed->world) + PATIENCE_US;
    ring_send(actor->bed->ring, &actor->send, actor->fd, actor->out.data, actor->out.len);
}

static void actor_on_connect(struct ring_op *op, int result)
{
    struct actor *actor = LIST_OWNER(op, struct actor, connect);
    if (result < 0 || actor->state == ACTOR_CLOSES) {
        actor_hang_up(actor);
        return;
    }
    ring_receive(actor->bed->ring, &actor->receive, actor->fd);
    actor_send(actor);
}

static void actor_on_sent(struct ring_op *op, int result)
{
    if (result < 0) {
        actor_hang_up(LIST_OWNER(op, struct actor, send));
    }
}

static void actor_on_receive(struct ring_op *op, int result)
{
    struct actor *actor = LIST_OWNER(op, struct actor, receive);
    if (result > 0) {
        buf_append(&actor->in, slice_of(op->buffer.data, op->buffer.len));
        ring_buffer_release(actor->bed->ring, &op->buffer);
    }
    if (!op->in_flight) {
        actor_hang_up(actor);
    }
}

static void actor_connect(struct actor *actor)
{
    struct bed *bed = actor->bed;
    char text[16];
    unsigned target = actor->order != NULL ? actor->target : bed->primary;
    snprintf(text, sizeof(text), "10.0.0.%u", target + 1);
    actor->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(HOST_PORT)};
    CHECK(inet_pton(AF_INET, text, &actor->address.sin_addr) == 1);
    actor->fd = ring_socket(bed->ring, AF_INET, NULL);
    CHECK(actor->fd >= 0);
    actor->state = ACTOR_CONNECTS;
    actor->due_us = sim_world_now_us(bed->world) + PATIENCE_US;
    ring_connect(bed->ring, &actor->connect, actor->fd, (struct sockaddr *)&actor->address,
                 sizeof(actor->address));
}

static bool has_work(const struct actor *actor)
{
    return actor->index == OPERATOR ? actor->order != NULL : actor->bed->has_writers;
}

static void actor_step(struct actor *actor)
{
    bool is_due = sim_world_now_us(actor->bed->world) >= actor->due_us;
    switch (actor->state) {
    case ACTOR_RESTS:
        if (is_due && has_work(actor) && actor->fd >= 0) {
            actor_send(actor);
        } else if (is_due && has_work(actor)) {
            actor_connect(actor);
        }
        return;
    case ACTOR_ASKS:
        if (!is_answered(actor)) {
            break;
        }
        if (actor->index == OPERATOR) {
            actor_hang_up(actor); /* The next order may be for somebody else. */
        } else {
            actor_rest(actor);
        }
        return;
    case ACTOR_CLOSES:
        if (!actor->connect.in_flight && !actor->send.in_flight && !actor->receive.in_flight) {
            actor_rest(actor);
        }
        return;
    default:
        break;
    }
    if (is_due) {
        actor_hang_up(actor);
    }
}

static int64_t actors_turn(struct bed *bed)
{
    int64_t due_us = INT64_MAX;
    (void)ring_turn(bed->ring, 0);
    for (unsigned i = 0; i <= CLIENTS; i++) {
        actor_step(&bed->actors[i]);
        bool is_waiting = has_work(&bed->actors[i]) || bed->actors[i].state != ACTOR_RESTS;
        due_us = is_waiting && bed->actors[i].due_us < due_us ? bed->actors[i].due_us : due_us;
    }
    return due_us;
}

/* ---- The world ---- */

static struct repl_config draw_config(struct rng *rng)
{
    return (struct repl_config){
        .backlog_size = (int64_t)1 << (14 + rng_below(rng, 8)),
        .backlog_ttl_s = rng_below(rng, 3) == 0 ? 1 + (int64_t)rng_below(rng, 5) : 0,
        .ping_period_s = 1 + (int64_t)rng_below(rng, 3),
        .timeout_s = 4 + (int64_t)rng_below(rng, 6),
        .is_diskless = rng_below(rng, 3) != 0,
        .diskless_delay_s = (int64_t)rng_below(rng, 3),
        .diskless_replicas_max = (int64_t)rng_below(rng, 3),
        .lag_max_s = 10,
        .has_packing = rng_below(rng, 2) == 0,
        .has_checksum = true,
        .output.hard_bytes = rng_below(rng, 3) == 0 ? 500000 : 0,
        .load = (enum repl_load)rng_below(rng, 4),
        .serves_stale = true,
        .is_read_only = true,
        .is_announced = true,
        .priority = 100,
        .port = HOST_PORT,
        .dir = ".",
        .file_name = "dump.rdb",
    };
}

static void bed_open(struct bed *bed, uint64_t seed)
{
    bool is_told = getenv("OURO_SIM_LOG") != NULL;
    log_configure(
        &(struct log_config){.level = is_told ? LOG_DEBUG : LOG_NOTHING, .path = "", .role = 'M'});
    *bed = (struct bed){.seed = seed, .has_writers = true};
    rng_seed(&bed->rng, seed);
    bed->is_counting = rng_below(&bed->rng, 5) != 0;
    bed->world = sim_world_new(&(struct sim_options){
        .seed = seed,
        .delay_us_max = 100 + (int64_t)rng_below(&bed->rng, 3000),
        .piece_max = rng_below(&bed->rng, 3) == 0 ? 1 + (uint32_t)rng_below(&bed->rng, 3000) : 0,
        .window_bytes = rng_below(&bed->rng, 2) == 0 ? 8000 : 0});
    bed->ring = sim_node_start(bed->world, CLIENT_NODE);
    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *host = &bed->hosts[i];
        host->index = i;
        host->world = bed->world;
        host->config = draw_config(&bed->rng);
        rng_seed(&host->rng, seed * 16 + i);
        host_start(host);
    }
    for (unsigned i = 0; i <= CLIENTS; i++) {
        struct actor *actor = &bed->actors[i];
        *actor = (struct actor){.bed = bed,
                                .index = i,
                                .fd = -1,
                                .connect.done = actor_on_connect,
                                .send.done = actor_on_sent,
                                .receive.done = actor_on_receive};
    }
}

static void bed_close(struct bed *bed)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        host_stop(&bed->hosts[i]);
    }
    for (unsigned i = 0; i <= CLIENTS; i++) {
        buf_deinit(&bed->actors[i].in);
        buf_deinit(&bed->actors[i].out);
    }
    sim_node_stop(bed->world, CLIENT_NODE, false);
    sim_world_free(bed->world);
}

static void bed_step(struct bed *bed, int64_t until_us)
{
    int64_t due_us = actors_turn(bed);
    for (unsigned i = 0; i < HOSTS; i++) {
        struct host *host = &bed->hosts[i];
        int64_t next_us = host->is_up ? host_turn(host) : bed->restart_us[i];
        due_us = next_us < due_us ? next_us : due_us;
    }
    int64_t least_us = sim_world_now_us(bed->world) + STEP_US_MIN;
    due_us = due_us < least_us ? least_us : due_us;
    (void)sim_world_step(bed->world, due_us < until_us ? due_us : until_us);
}

static bool is_equal(const struct bed *bed, const struct host *host)
{
    struct repl_facts here, there;
    const struct host *primary = &bed->hosts[bed->primary];
    return host->is_up && primary->is_up && host->loading == NULL && primary->loading == NULL &&
           !repl_is_loading(host->repl, NULL) && repl_is_fresh(host->repl) &&
           repl_facts(host->repl, &here) && repl_facts(primary->repl, &there) &&
           here.offset == there.offset && strcmp(here.id, there.id) == 0;
}

static bool is_converged(const struct bed *bed)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        if (i != bed->primary && !is_equal(bed, &bed->hosts[i])) {
            return false;
        }
    }
    return true;
}

static bool are_actors_resting(const struct bed *bed)
{
    for (unsigned i = 0; i <= CLIENTS; i++) {
        if (bed->actors[i].state != ACTOR_RESTS) {
            return false;
        }
    }
    return true;
}

/* Runs until nobody writes and all are equal, within a bound, and compares what they hold. */
static void converge(struct bed *bed)
{
    int64_t end_us = sim_world_now_us(bed->world) + CONVERGE_US;
    bed->has_writers = false;
    do {
        CHECK(sim_world_now_us(bed->world) < end_us);
        bed_step(bed, end_us);
    } while (!are_actors_resting(bed) || !is_converged(bed));
    struct state wanted = state_of(bed->hosts[bed->primary].keyspace);
    for (unsigned i = 0; i < HOSTS; i++) {
        struct state found = state_of(bed->hosts[i].keyspace);
        CHECK(state_is_same(&wanted, &found));
        db_check(keyspace_db(bed->hosts[i].keyspace, 0));
        mem_free(found.keys);
    }
    mem_free(wanted.keys);
}

/* ---- Trouble ---- */

static struct host *draw_host(struct bed *bed)
{
    return &bed->hosts[rng_below(&bed->rng, HOSTS)];
}

static int64_t draw_us(struct bed *bed, int64_t max_us)
{
    return sim_world_now_us(bed->world) + (int64_t)rng_below(&bed->rng, (uint64_t)max_us);
}

static void heal(struct bed *bed)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        for (unsigned other = 0; other <= HOSTS; other++) {
            sim_world_part(bed->world, i, other, false);
        }
    }
    bed->heal_us = 0;
}

static void put_down(struct bed *bed, struct host *host, bool is_crash)
{
    if (!host->is_up) {
        return;
    }
    bool is_loading = host->loading != NULL || repl_is_loading(host->repl, NULL);
    if (!is_crash && !is_loading && rng_below(&bed->rng, 2) == 0) {
        (void)saver_save_now(host->saver);
    }
    if (is_crash) {
        host_crash(host);
    } else {
        host_stop(host);
    }
    bed->restart_us[host->index] = draw_us(bed, 3 * SECOND);
}

static void strike(struct bed *bed)
{
    struct host *host = draw_host(bed);
    struct host *other = draw_host(bed);
    switch (rng_below(&bed->rng, 10)) {
    case 0:
    case 1:
    case 2:
        sim_world_cut(bed->world, host->index, other->index);
        return;
    case 3:
        sim_world_part(bed->world, host->index, other->index, host != other);
        bed->heal_us = draw_us(bed, 10 * SECOND);
        return;
    case 4:
    case 5:
        put_down(bed, host, true);
        return;
    case 6:
        put_down(bed, host, false);
        return;
    case 7:
        sim_node_disk(bed->world, host->index)->write_failures = 1;
        return;
    case 8:
        sim_world_cut(bed->world, host->index, CLIENT_NODE);
        return;
    default:
        if (host->is_up && host->loading == NULL && !repl_is_loading(host->repl, NULL)) {
            (void)saver_begin(host->saver);
        }
        return;
    }
}

static void restart_who_is_due(struct bed *bed, int64_t now_us)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        if (!bed->hosts[i].is_up && bed->restart_us[i] <= now_us) {
            host_start(&bed->hosts[i]);
        }
    }
}

static void live_through_trouble(struct bed *bed, int64_t duration_us)
{
    int64_t end_us = sim_world_now_us(bed->world) + duration_us;
    for (int64_t now_us = 0; now_us < end_us; now_us = sim_world_now_us(bed->world)) {
        restart_who_is_due(bed, now_us);
        if (bed->heal_us != 0 && now_us >= bed->heal_us) {
            heal(bed);
        }
        if (now_us >= bed->fault_us) {
            strike(bed);
            bed->fault_us = draw_us(bed, rng_below(&bed->rng, 3) == 0 ? 20000 : 2 * SECOND);
        }
        bed_step(bed, end_us);
    }
    heal(bed);
    for (unsigned i = 0; i < HOSTS; i++) {
        sim_node_disk(bed->world, i)->write_failures = 0;
    }
    restart_who_is_due(bed, INT64_MAX);
}

/* ---- Cases ---- */

/* Both follow the primary; or, as a chain, each the one before. */
static void follow(struct bed *bed, bool is_chain)
{
    for (unsigned i = 1; i < HOSTS; i++) {
        struct host *host = &bed->hosts[i];
        host_stop(host);
        host->follows = is_chain ? i - 1 : bed->primary;
        host_start(host);
    }
}

static void run_trouble(uint64_t seed)
{
    struct bed bed;
    bed_open(&bed, seed);
    follow(&bed, rng_below(&bed.rng, 3) == 0);
    live_through_trouble(&bed, (int64_t)rng_below(&bed.rng, TROUBLE_US));
    converge(&bed);
    bed_close(&bed);
}

static void each_world(uint64_t factor, void (*run)(uint64_t seed))
{
    for (uint64_t i = 0; i < world_count(); i++) {
        uint64_t seed = test_seed() * factor + i;
        fprintf(stderr, "\rworld %llu ", (unsigned long long)seed);
        run(seed);
    }
    fprintf(stderr, "\r");
}

TEST(sim_replication, replicas_become_equal_and_wait_never_lies)
{
    each_world(1000003, run_trouble);
}

static uint64_t full_count(const struct bed *bed)
{
    struct repl_stats stats;
    repl_stats(bed->hosts[bed->primary].repl, &stats);
    return stats.sync_full;
}

static void run_cuts(uint64_t seed)
{
    struct bed bed;
    bed_open(&bed, seed);
    for (unsigned i = 0; i < HOSTS; i++) {
        bed.hosts[i].config.backlog_size = 64 << 20;
        bed.hosts[i].config.output.hard_bytes = 0;
        repl_configure(bed.hosts[i].repl, &bed.hosts[i].config);
    }
    follow(&bed, false);
    converge(&bed);
    uint64_t before = full_count(&bed);
    bed.has_writers = true;
    for (unsigned cuts = 0; cuts < 20; cuts++) {
        int64_t until_us = draw_us(&bed, 2 * SECOND);
        while (sim_world_now_us(bed.world) < until_us) {
            bed_step(&bed, until_us);
        }
        sim_world_cut(bed.world, 0, 1 + (unsigned)rng_below(&bed.rng, 2));
    }
    converge(&bed);
    CHECK(full_count(&bed) == before);
    bed_close(&bed);
}

TEST(sim_replication, broken_links_cost_no_full_synchronisation)
{
    each_world(2000003, run_cuts);
}

/* Says something to a server, and runs until that is answered. */
static void give_order(struct bed *bed, unsigned target, const char *order)
{
    struct actor *boss = &bed->actors[OPERATOR];
    int64_t end_us = sim_world_now_us(bed->world) + CONVERGE_US;
    boss->order = order;
    boss->target = target;
    while (boss->order != NULL) {
        CHECK(sim_world_now_us(bed->world) < end_us);
        bed_step(bed, end_us);
    }
}

static void run_for(struct bed *bed, int64_t duration_us)
{
    int64_t until_us = sim_world_now_us(bed->world) + duration_us;
    while (sim_world_now_us(bed->world) < until_us) {
        bed_step(bed, until_us);
    }
}

/* The second becomes the primary of the others while nobody writes. What would be written all the
 * same, PING and the removal of what expires, is not to be in between. */
static void run_change(uint64_t seed)
{
    struct bed bed;
    bed_open(&bed, seed);
    for (unsigned i = 0; i < HOSTS; i++) {
        bed.hosts[i].config.ping_period_s = 1000;
        bed.hosts[i].config.timeout_s = 1000;
        bed.hosts[i].config.backlog_ttl_s = 0;
        repl_configure(bed.hosts[i].repl, &bed.hosts[i].config);
    }
    follow(&bed, false);
    run_for(&bed, 3 * SECOND);
    converge(&bed);
    run_for(&bed, 5 * SECOND);
    converge(&bed);
    bool is_old_first = rng_below(&bed.rng, 2) == 0;
    give_order(&bed, 1, "REPLICAOF NO ONE\r\n");
    bed.primary = 1;
    give_order(&bed, is_old_first ? 0 : 2, "REPLICAOF 10.0.0.2 6379\r\n");
    give_order(&bed, is_old_first ? 2 : 0, "SLAVEOF 10.0.0.2 6379\r\n");
    bed.has_writers = true;
    run_for(&bed, 2 * SECOND);
    converge(&bed);
    CHECK(full_count(&bed) == 0);
    bed_close(&bed);
}

TEST(sim_replication, a_new_primary_is_followed_without_a_full_synchronisation)
{
    each_world(3000017, run_change);
}
