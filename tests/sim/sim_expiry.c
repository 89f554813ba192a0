/* The moments at which keys and fields expire, in a whole server whose clock is the test's.
 *
 * The loop of the server is told the time and says until when it would sleep; the clock then stands
 * at exactly that moment. So what is measured is the server's own decision to be awake, and not how
 * busy the machine is: "expired" must be told within EVENT_MS_MAX of the moment, whatever else is
 * due, and the loop must not have been awake much more often than there was something to do. */
#include <stdarg.h>

#include "base/mem.h"
#include "base/num.h"
#include "server/server.h"
#include "tests/unit/test.h"

enum {
    KEYS = 400,
    SPAN_MS = 90 * 1000, /* Shorter than any machine has been up: see `turn`. */
    EVENT_MS_MAX = 2,    /* 10 are promised. */
    TURN_US = 200,       /* What a turn with work in it takes. */
    WORDS_MAX = 8,
};

struct world {
    struct server *server;
    struct clock_now now;
    struct reply_pool pool;
    struct reply reply;
    struct session session;
    struct rng rng;
    int64_t due_ms[KEYS]; /* Of key n; 0: its event has come. */
    unsigned left, turns;
};

/* ---- The server ---- */

static struct server *server_start(void)
{
    char *words[] = {"--port", "0", "--io-engine", "epoll", "--save", "", "--loglevel", "warning"};
    struct config *config = config_new();
    struct config_source *source = mem_alloc(sizeof(*source));
    struct buf error;
    buf_init(&error);
    config_source_init(source);
    CHECK(config_load(config, source, NULL, words, sizeof(words) / sizeof(words[0])));
    struct server *server = server_new(config, source, &error);
    CHECK(server != NULL);
    buf_deinit(&error);
    return server;
}

/* Keys are called by their number, and so is the one field of a hash. */
static void on_event(void *context, struct db *db, struct slice key, const char *event,
                     enum event_class event_class)
{
    struct world *world = context;
    int64_t index;
    (void)db;
    if (event_class != EVENT_EXPIRED && strcmp(event, "hexpired") != 0) {
        return;
    }
    CHECK(num_parse_i64(key, &index) && world->due_ms[index] != 0);
    int64_t late_ms = world->now.wall_ms - world->due_ms[index];
    CHECK(late_ms >= 0 && late_ms <= EVENT_MS_MAX);
    world->due_ms[index] = 0;
    world->left--;
}

static void world_open(struct world *world)
{
    *world = (struct world){.left = 0};
    rng_seed(&world->rng, test_seed());
    world->server = server_start();
    world->now = world->server->now;
    world->now.mono_us = 1000;
    reply_pool_init(&world->pool);
    reply_init(&world->reply, &world->pool);
    session_init(&world->session, world->server->exec, &world->reply, NULL, SESSION_INTERNAL);
    exec_add_sink(world->server->exec,
                  &(struct effect_sink){.on_event = on_event, .context = world});
}

static void world_close(struct world *world)
{
    session_deinit(&world->session);
    reply_deinit(&world->reply);
    reply_pool_deinit(&world->pool);
    server_free(world->server);
}

static void run(struct world *world, const char *format, ...)
{
    char text[200];
    struct slice args[WORDS_MAX];
    uint32_t count = 0;
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        args[count++] = slice_from_text(word);
    }
    world->server->now = world->now;
    exec_run_inner(world->server->exec, &world->session, args, count, 0);
    CHECK(world->reply.error_count == 0);
    reply_deinit(&world->reply);
}

/* ---- Time ---- */

static void pass(struct world *world, int64_t us)
{
    world->now.mono_us += us;
    world->now.wall_us += us;
    world->now.wall_ms = world->now.wall_us / 1000;
}

/* A turn of the loop, which does not wait: by the machine's clock the moment is long past. */
static void turn(struct world *world)
{
    world->server->now = world->now;
    server_turn(world->server, 0);
    world->server->now = world->now;
    world->turns++;
}

/* Lives until all events have come, sleeping as long as the server does. */
static void live(struct world *world)
{
    while (world->left != 0) {
        turn(world);
        while (keyspace_next_expiry_ms(world->server->keyspace) <= world->now.wall_ms) {
            pass(world, TURN_US);
            turn(world);
        }
        int64_t wake_us = server_wake_us(world->server, INT64_MAX / 2);
        pass(world, wake_us > world->now.mono_us ? wake_us - world->now.mono_us : 1);
    }
}

/* ---- Cases ---- */

/* Deadlines of all sizes, set at different moments. */
static void add_keys(struct world *world, bool is_hash)
{
    static const uint64_t scales_ms[] = {3, 40, 700, 5000, SPAN_MS - 5000};
    for (int i = 0; i < KEYS; i++) {
        int64_t after_ms =
            1 + (int64_t)rng_below(&world->rng, scales_ms[rng_below(&world->rng, 5)]);
        pass(world, (int64_t)rng_below(&world->rng, 700));
        int64_t due_ms = world->now.wall_ms + after_ms;
        world->due_ms[i] = due_ms + 1; /* It lives through its last millisecond. */
        world->left++;
        if (is_hash) {
            run(world, "HSET %d %d v", i, i);
            run(world, "HPEXPIREAT %d %lld FIELDS 1 %d", i, (long long)due_ms, i);
        } else {
            run(world, "SET %d v PXAT %lld", i, (long long)due_ms);
        }
        turn(world);
    }
}

TEST(sim_expiry, keys_are_told_within_milliseconds_of_their_moment)
{
    struct world world;
    world_open(&world);
    add_keys(&world, false);
    live(&world);
    world_close(&world);
}

TEST(sim_expiry, fields_of_hashes_too)
{
    struct world world;
    world_open(&world);
    add_keys(&world, true);
    live(&world);
    world_close(&world);
}

TEST(sim_expiry, the_loop_sleeps_until_something_is_due)
{
    struct world world;
    world_open(&world);
    run(&world, "SET 0 v PX 60000");
    world.due_ms[0] = world.now.wall_ms + 60001;
    world.left = 1;
    live(&world);
    unsigned crons = 60 * (unsigned)world.server->config->hz;
    CHECK(world.turns < crons + crons / 4);
    world_close(&world);
}
