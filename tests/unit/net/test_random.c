/* Many clients with random requests in random pieces, and random troubles. Every reply that comes
 * must be the right one, in order; whoever was not cut off gets all of them. */
#include "tests/unit/net/bed.h"

enum { CLIENTS = 6, STEPS = 400 };

struct actor {
    struct client client;
    struct buf request; /* Not sent yet. */
    struct buf expected;
    unsigned serial;
};

static void expect_bulk(struct actor *actor, char byte, size_t len)
{
    buf_printf(&actor->expected, "$%zu\r\n", len);
    memset(buf_reserve(&actor->expected, len), byte, len);
    actor->expected.len += len;
    buf_append_text(&actor->expected, "\r\n");
}

/* Appends a random request, and what must come back for it. */
static void actor_ask(struct actor *actor, struct rng *rng)
{
    static const size_t SCALES[] = {4, 60, 3000, 40000, 200000};
    size_t len = 1 + rng_below(rng, SCALES[rng_below(rng, rng_below(rng, 8) == 0 ? 5 : 2)]);
    char byte = (char)('a' + rng_below(rng, 26));
    unsigned args = rng_below(rng, 10) == 0 ? 2 + (unsigned)rng_below(rng, 150) : 2;
    switch (rng_below(rng, 4)) {
    case 0:
        buf_printf(&actor->request, "%s %zu\r\n", byte < 'm' ? "fill" : "blob", len);
        expect_bulk(actor, 'x', len);
        break;
    case 1:
        buf_printf(&actor->request, "echo %u\r\n", ++actor->serial);
        buf_printf(&actor->expected, "$%d\r\n%u\r\n", snprintf(NULL, 0, "%u", actor->serial),
                   actor->serial);
        break;
    default:
        buf_printf(&actor->request, "*%u\r\n$4\r\nECHO\r\n", args);
        for (unsigned i = 2; i < args; i++) {
            buf_append_text(&actor->request, "$3\r\nabc\r\n");
        }
        buf_printf(&actor->request, "$%zu\r\n", len);
        memset(buf_reserve(&actor->request, len), byte, len);
        actor->request.len += len;
        buf_append_text(&actor->request, "\r\n");
        expect_bulk(actor, byte, len);
        break;
    }
}

static void actor_send_some(struct actor *actor, struct rng *rng)
{
    size_t len = actor->request.len;
    size_t some = rng_below(rng, 3) == 0 ? len : rng_below(rng, len + 1);
    client_send_bytes(&actor->client, slice_of(actor->request.data, some));
    if (some > 0) {
        memmove(actor->request.data, actor->request.data + some, len - some);
        actor->request.len -= some;
    }
}

/* What has come so far is what was expected. */
static void actor_check(struct actor *actor)
{
    size_t len = actor->client.in.len;
    CHECK(len <= actor->expected.len);
    if (len > 0) {
        CHECK(memcmp(actor->client.in.data, actor->expected.data, len) == 0);
        memmove(actor->expected.data, actor->expected.data + len, actor->expected.len - len);
        actor->expected.len -= len;
        buf_clear(&actor->client.in);
    }
}

static void actor_restart(struct actor *actor, struct bed *bed)
{
    client_close(&actor->client);
    buf_clear(&actor->request);
    buf_clear(&actor->expected);
    client_open(&actor->client, bed);
}

static void step(struct bed *bed, struct actor *actors, struct rng *rng)
{
    struct actor *actor = &actors[rng_below(rng, CLIENTS)];
    switch (rng_below(rng, 12)) {
    case 0:
        actor_restart(actor, bed);
        break;
    case 1:
        if (exec_pause_mode(bed->exec) == PAUSE_NONE) {
            exec_pause(bed->exec, PAUSE_BY_CLIENT, PAUSE_ALL, INT64_MAX);
        } else {
            exec_unpause(bed->exec, PAUSE_BY_CLIENT);
        }
        break;
    case 2:
        (void)ring_turn(bed->ring, 0); /* Without a drain. */
        break;
    case 3:
        (void)net_drain(bed->net, 0);
        net_tick(bed->net);
        break;
    case 4:
    case 5:
    case 6:
        bed_pump(bed);
        break;
    default:
        actor_ask(actor, rng);
        actor_send_some(actor, rng);
        break;
    }
    for (int i = 0; i < CLIENTS; i++) {
        actor_check(&actors[i]);
    }
}

ON_EVERY_ENGINE(random_requests_get_their_replies)
{
    static struct actor actors[CLIENTS];
    struct rng rng;
    rng_seed(&rng, test_seed());
    memset(actors, 0, sizeof actors);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&actors[i].client, bed);
    }
    for (int i = 0; i < STEPS; i++) {
        step(bed, actors, &rng);
    }
    exec_unpause(bed->exec, PAUSE_BY_CLIENT);
    for (int i = 0; i < CLIENTS; i++) {
        struct actor *actor = &actors[i];
        client_send_bytes(&actor->client, buf_slice(&actor->request));
        for (int pump = 0; pump < 20 * PUMPS_MAX && actor->expected.len > 0; pump++) {
            bed_pump(bed);
            actor_check(actor);
        }
        CHECK(actor->expected.len == 0);
        client_close(&actor->client);
        buf_deinit(&actor->request);
        buf_deinit(&actor->expected);
    }
    bed_settle(bed);
    CHECK(net_stats(bed->net)->clients == 0);
}
