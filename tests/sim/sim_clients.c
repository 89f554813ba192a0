/* A whole server without its process, with several clients, in a simulated network: bytes that come
 * in pieces and late, sends that break, clients that leave in the middle, drains that are cut
 * short.
 *
 * Each client sends random pipelines on keys of its own and knows what must come back, byte for
 * byte, inside transactions as well. It also waits in BLPOP for elements that others push, once for
 * each wait, so that the reply is known though its moment is not. A client whose connection broke
 * cannot know what was executed: it starts anew with other keys, and so does who waits for it. At
 * the end nobody is connected, the databases are whole, and nothing waits. Each case runs many
 * worlds; a failure prints the seed of its world. */
#include "base/work.h"
#include "commands/commands.h"
#include "tests/unit/net/bed.h"
#include "types/limits.h"

enum { CLIENTS = 4, KEYS = 5, WORLDS = 800, STEPS = 150, PUMPS = 5000000 };

struct actor {
    struct client client;
    struct buf request;      /* Not sent yet. */
    struct buf expected;     /* What must come back for what was asked. */
    struct buf values[KEYS]; /* The model; len 0: no key. */
    struct buf inner;        /* What EXEC will tell of the commands queued. */
    unsigned queued_count;
    bool is_in_multi;
    unsigned debtors;    /* Bits of the clients that wait for something it was to push. */
    unsigned wait_count; /* Part of the names of keys waited for. */
    unsigned life;       /* Part of the keys' names. */
    unsigned index;
};

/* ---- The server ---- */

static const struct connection_family identity = {
    .version = "7.2.0", .mode = "standalone", .role = "master"};

static void world_open(struct bed *bed, uint64_t seed)
{
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = "", .role = 'M'});
    *bed = (struct bed){.now = {.wall_ms = 1000000, .wall_us = 1000000000, .mono_us = 1000000}};
    rng_seed(&bed->rng, seed);
    bed->world = sim_world_new(&(struct sim_options){
        .seed = seed,
        .piece_max = 1 + (uint32_t)rng_below(&bed->rng, rng_below(&bed->rng, 2) == 0 ? 300 : 30000),
        .cuts_per_million = rng_below(&bed->rng, 2) == 0 ? 0 : 2000,
    });
    bed->ring = sim_node_start(bed->world, 0);
    bed->port = 6379;
    work_queue_init(&bed->work);
    bed->keyspace = keyspace_new(
        &(struct keyspace_options){.db_count = 2, .rng = &bed->rng, .work = &bed->work});
    bed->exec = exec_new(&(struct exec_options){
        .keyspace = bed->keyspace, .work = &bed->work, .rng = &bed->rng, .now = &bed->now});
    static struct type_limits limits; /* Outlives the world; the pipelines use strings alone. */
    limits = type_limits_default();
    commands_register_all(bed->exec, &identity, &limits);
    bed->net = net_new(bed->ring, bed->exec);
    CHECK(net_listen(bed->net, &(struct ring_listen_options){.address = "127.0.0.1",
                                                             .port = bed->port,
                                                             .backlog = 100}) == 0);
}

static void world_close(struct bed *bed)
{
    CHECK(net_stats(bed->net)->clients == 0 && work_is_idle(&bed->work));
    db_check(keyspace_db(bed->keyspace, 0));
    net_free(bed->net);
    exec_free(bed->exec);
    keyspace_free(bed->keyspace);
    ring_close(bed->ring);
    sim_world_free(bed->world);
}

/* A turn, with a drain and work of random length. */
static void world_turn(struct bed *bed)
{
    bool is_hasty = rng_below(&bed->rng, 3) == 0;
    (void)net_drain(bed->net, is_hasty ? 0 : INT64_MAX);
    if (!work_is_idle(&bed->work)) {
        (void)work_run(&bed->work, is_hasty ? 0 : INT64_MAX);
    }
    net_flush(bed->net);
    if (rng_below(&bed->rng, 20) == 0) {
        net_tick(bed->net);
    }
    (void)ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
}

/* ---- Requests and the model ---- */

static void ask(struct actor *actor, unsigned count, const struct slice *words)
{
    buf_printf(&actor->request, "*%u\r\n", count);
    for (unsigned i = 0; i < count; i++) {
        buf_printf(&actor->request, "$%zu\r\n", words[i].len);
        buf_append(&actor->request, words[i]);
        buf_append_text(&actor->request, "\r\n");
    }
}

static void expect_text(struct actor *actor, struct slice bytes)
{
    buf_printf(&actor->expected, "$%zu\r\n", bytes.len);
    buf_append(&actor->expected, bytes);
    buf_append_text(&actor->expected, "\r\n");
}

static void random_text(struct buf *text, struct rng *rng)
{
    static const size_t scales[] = {3, 40, 700, 5000, 90000};
    size_t len = 1 + rng_below(rng, scales[rng_below(rng, rng_below(rng, 6) == 0 ? 5 : 3)]);
    memset(buf_reserve(text, len), (int)('a' + rng_below(rng, 26)), len);
    text->len += len;
}

static void expect_value(struct actor *actor, const struct buf *value)
{
    if (value->len == 0) {
        buf_append_text(&actor->expected, "$-1\r\n");
    } else {
        expect_text(actor, buf_slice(value));
    }
}

static void ask_write(struct actor *actor, struct rng *rng, struct slice key, struct buf *value)
{
    bool is_set = rng_below(rng, 2) == 0;
    struct buf text;
    buf_init(&text);
    random_text(&text, rng);
    ask(actor, 3,
        (struct slice[]){slice_from_text(is_set ? "SET" : "append"), key, buf_slice(&text)});
    if (is_set) {
        buf_clear(value);
    }
    buf_append(value, buf_slice(&text));
    if (is_set) {
        buf_append_text(&actor->expected, "+OK\r\n");
    } else {
        buf_printf(&actor->expected, ":%zu\r\n", value->len);
    }
    buf_deinit(&text);
}

/* Moves the last `len` bytes of what is expected behind a transaction's end. */
static void defer_reply(struct actor *actor, size_t from)
{
    struct buf *expected = &actor->expected;
    buf_append(&actor->inner, slice_of(expected->data + from, expected->len - from));
    expected->len = from;
    buf_append_text(expected, "+QUEUED\r\n");
    actor->queued_count++;
}

/* MULTI, or what ends it. */
static void ask_transaction(struct actor *actor)
{
    const char *word = actor->is_in_multi ? "EXEC" : "MULTI";
    ask(actor, 1, (struct slice[]){slice_from_text(word)});
    if (!actor->is_in_multi) {
        buf_append_text(&actor->expected, "+OK\r\n");
    } else {
        buf_printf(&actor->expected, "*%u\r\n", actor->queued_count);
        buf_append(&actor->expected, buf_slice(&actor->inner));
        buf_clear(&actor->inner);
        actor->queued_count = 0;
    }
    actor->is_in_multi = !actor->is_in_multi;
}

/* One client waits for a key of its own, another pushes to it: in which order the server sees them
 * is for the network to decide, what they are told is not. */
static void ask_wait(struct actor *waiter, struct actor *pusher, struct rng *rng)
{
    char name[64];
    struct slice key =
        slice_of(name, (size_t)snprintf(name, sizeof(name), "%u:%u:wait%u", waiter->index,
                                        waiter->life, waiter->wait_count++));
    struct buf text;
    buf_init(&text);
    random_text(&text, rng);
    ask(waiter, 3, (struct slice[]){slice_from_text("BLPOP"), key, slice_from_text("0")});
    buf_append_text(&waiter->expected, "*2\r\n");
    expect_text(waiter, key);
    expect_text(waiter, buf_slice(&text));
    size_t from = pusher->expected.len;
    ask(pusher, 3, (struct slice[]){slice_from_text("RPUSH"), key, buf_slice(&text)});
    buf_append_text(&pusher->expected, ":1\r\n");
    if (pusher->is_in_multi) {
        defer_reply(pusher, from);
    }
    pusher->debtors |= 1U << waiter->index;
    buf_deinit(&text);
}

static void ask_plain(struct actor *actor, struct rng *rng)
{
    unsigned index = (unsigned)rng_below(rng, KEYS);
    struct buf *value = &actor->values[index];
    char name[64];
    struct slice key = slice_of(
        name, (size_t)snprintf(name, sizeof(name), "%u:%u:%u", actor->index, actor->life, index));
    switch (rng_below(rng, 9)) {
    case 0:
        ask(actor, 2, (struct slice[]){slice_from_text("DEL"), key});
        buf_append_text(&actor->expected, value->len > 0 ? ":1\r\n" : ":0\r\n");
        buf_clear(value);
        break;
    case 1:
        ask(actor, 2, (struct slice[]){slice_from_text("STRLEN"), key});
        buf_printf(&actor->expected, ":%zu\r\n", value->len);
        break;
    case 2:
        ask(actor, 2, (struct slice[]){slice_from_text("KEYS"), key}); /* May answer later. */
        buf_append_text(&actor->expected, value->len > 0 ? "*1\r\n" : "*0\r\n");
        if (value->len > 0) {
            expect_text(actor, key);
        }
        break;
    case 3:
        if (value->len < 2000) { /* The same twice, all in common: a job unless it is short. */
            ask(actor, 4,
                (struct slice[]){slice_from_text("LCS"), key, key, slice_from_text("LEN")});
            buf_printf(&actor->expected, ":%zu\r\n", value->len);
        }
        break;
    case 4:
    case 5:
        ask_write(actor, rng, key, value);
        break;
    default:
        ask(actor, 2, (struct slice[]){slice_from_text("GET"), key});
        expect_value(actor, value);
        break;
    }
}

static void actor_ask(struct actor *actors, struct actor *actor, struct rng *rng)
{
    struct actor *other = &actors[rng_below(rng, CLIENTS)];
    uint64_t choice = rng_below(rng, 24);
    size_t from = actor->expected.len;
    if (choice == 0 || (choice == 1 && actor->is_in_multi)) {
        ask_transaction(actor);
    } else if (choice == 1 && other != actor) {
        ask_wait(actor, other, rng);
    } else {
        ask_plain(actor, rng);
        if (actor->is_in_multi && actor->expected.len > from) {
            defer_reply(actor, from);
        }
    }
}

/* ---- Clients ---- */

static void actor_begin(struct actor *actor, struct bed *bed)
{
    actor->life++;
    buf_clear(&actor->request);
    buf_clear(&actor->expected);
    buf_clear(&actor->inner);
    actor->queued_count = 0;
    actor->is_in_multi = false;
    for (unsigned i = 0; i < KEYS; i++) {
        buf_clear(&actor->values[i]);
    }
    client_open(&actor->client, bed);
}

static void actor_end(struct actor *actor)
{
    client_close(&actor->client);
    buf_deinit(&actor->request);
    buf_deinit(&actor->expected);
    buf_deinit(&actor->inner);
    for (unsigned i = 0; i < KEYS; i++) {
        buf_deinit(&actor->values[i]);
    }
}

/* Makes a connection anew, and those of the clients that wait for what it was to push. */
static void actor_restart(struct actor *actors, struct actor *actor, struct bed *bed)
{
    unsigned left = 1U << actor->index;
    unsigned done = 0;
    while (left != 0) {
        struct actor *next = &actors[__builtin_ctz(left)];
        done |= 1U << next->index;
        left = (left | next->debtors) & ~done;
        next->debtors = 0;
        client_close(&next->client);
        actor_begin(next, bed);
    }
}

/* What has come is what was expected next. A broken connection is made anew. */
static void actor_check(struct actor *actors, struct actor *actor, struct bed *bed)
{
    size_t len = actor->client.in.len;
    CHECK(len <= actor->expected.len);
    if (len > 0) {
        CHECK(memcmp(actor->client.in.data, actor->expected.data, len) == 0);
        memmove(actor->expected.data, actor->expected.data + len, actor->expected.len - len);
        actor->expected.len -= len;
        buf_clear(&actor->client.in);
    }
    if (actor->client.is_ended) {
        actor_restart(actors, actor, bed);
    }
}

static void actor_send(struct actor *actor, size_t len)
{
    client_send_bytes(&actor->client, slice_of(actor->request.data, len));
    memmove(actor->request.data, actor->request.data + len, actor->request.len - len);
    actor->request.len -= len;
}

static void step(struct bed *bed, struct actor *actors)
{
    struct rng *rng = &bed->rng;
    struct actor *actor = &actors[rng_below(rng, CLIENTS)];
    uint64_t choice = rng_below(rng, 40);
    if (choice == 0) {
        actor_restart(actors, actor, bed);
    } else if (choice < 20) {
        world_turn(bed);
    } else {
        actor_ask(actors, actor, rng);
        if (actor->request.len > 0) {
            size_t some = rng_below(rng, actor->request.len + 1);
            actor_send(actor, rng_below(rng, 2) == 0 ? actor->request.len : some);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        actor_check(actors, &actors[i], bed);
    }
}

/* All that was asked is answered, and what was queued is executed. */
static void finish(struct bed *bed, struct actor *actors)
{
    size_t left = 1;
    for (int i = 0; i < PUMPS && left > 0; i++) {
        left = 0;
        for (unsigned at = 0; at < CLIENTS; at++) {
            struct actor *actor = &actors[at];
            if (actor->is_in_multi) {
                ask_transaction(actor);
            }
            if (actor->request.len > 0) {
                actor_send(actor, actor->request.len);
            }
            actor_check(actors, actor, bed);
            left += actor->expected.len + actor->request.len;
        }
        world_turn(bed);
    }
    CHECK(left == 0);
    for (unsigned at = 0; at < CLIENTS; at++) {
        actor_end(&actors[at]);
    }
}

static void run_world(uint64_t seed)
{
    struct bed bed;
    struct actor actors[CLIENTS] = {0};
    world_open(&bed, seed);
    for (unsigned i = 0; i < CLIENTS; i++) {
        actors[i].index = i;
        actor_begin(&actors[i], &bed);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        step(&bed, actors);
    }
    finish(&bed, actors);
    for (int i = 0; i < PUMPS && net_stats(bed.net)->clients > 0; i++) {
        world_turn(&bed);
    }
    world_close(&bed);
}

TEST(sim, clients_get_what_a_naive_model_says)
{
    for (uint64_t i = 0; i < WORLDS; i++) {
        uint64_t seed = test_seed() * 1000003 + i;
        fprintf(stderr, "\rworld %llu ", (unsigned long long)seed);
        run_world(seed);
    }
    fprintf(stderr, "\r");
}
