/* Wiring and the turn of the loop.
 *
 * Budgets. A turn executes commands for at most TURN_DRAIN_US before their replies are sent, and
 * gives each kind of background work one slice, so that no reply waits for more than the sum of the
 * slices. When background work is pending the turn does not sleep. */
#include "server/server.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "exec/block.h"
#include "exec/multi.h"
#include "observe/observe.h"
#include "pubsub/pubsub.h"
#include "repl/repl.h"
#include "script/script.h"
#include "server/config_internal.h"

enum {
    TURN_DRAIN_US = 500,  /* Commands, before their replies go out. */
    TURN_EXPIRE_US = 150, /* Expired keys. */
    TURN_WORK_US = 200,   /* Deferred work: frees, walks. */
    TURN_DEFRAG_US = 150, /* Moving values together. */
    TURN_EVICT_US = 200,  /* Eviction beyond what commands do. */
    WRITER_EVICT_US = 20, /* Eviction by each further writer of a turn, ... */
    FAR_EVICT_US = 100,   /* ... and when the limit is far away. */
};

/* ---- Seams ----------------------------------------------------------------------------------- */

static void on_removal(void *context, struct db *db, struct slice key, const struct value *value,
                       enum key_removal why)
{
    struct server *server = context;
    (void)value;
    exec_report_removal(server->exec, db, key, why == KEY_EXPIRED ? "expired" : "evicted",
                        why == KEY_EXPIRED ? EVENT_EXPIRED : EVENT_EVICTED);
}

static void on_part(void *context, struct db *db, struct slice key, struct slice field,
                    enum part_news news)
{
    struct server *server = context;
    if (news == PART_EXPIRED) {
        exec_report_part(server->exec, db, key, field);
    } else {
        exec_report_parts(server->exec, db, key, news == PARTS_EXPIRED ? "hexpired" : "del");
    }
}

static size_t overhead_of(void *context)
{
    return server_overhead(context);
}

size_t server_overhead(const struct server *server)
{
    return server->start_memory + net_memory(server->net) + pubsub_memory(server->pubsub) +
           tracking_memory(server->tracking) + script_memory(server->script) +
           repl_memory(server->repl);
}

/* A replica holds what its primary holds, and evicts what that evicts. */
static bool leaves_memory_to_primary(const struct server *server)
{
    return repl_is_replica(server->repl) && server->config->replica_ignores_memory;
}

/* Refuses what may need memory when nothing more can be evicted. Eviction itself happens here too,
 * a slice at a time, so that writers pay for the room they take. */
static enum gate_result memory_gate(void *context, struct call *call)
{
    struct server *server = context;
    if (keyspace_fits(server->keyspace) || server_is_loading(server) ||
        leaves_memory_to_primary(server)) {
        return GATE_PASS;
    }
    bool needs_memory = ((multi_call_flags(call) & CMD_DENY_OOM) != 0 || multi_queues(call)) &&
                        (call->session->flags & SESSION_PRIMARY) == 0;
    if (keyspace_is_far_over(server->keyspace)) {
        exec_finish_crowd(server->exec); /* Nothing is evicted while it runs. */
    }
    /* The configured effort once per turn; the turn's other writers make room for about themselves.
     */
    bool is_first = server->evict_turn != server->turn_count;
    int64_t further_us = keyspace_is_far_over(server->keyspace) ? FAR_EVICT_US : WRITER_EVICT_US;
    int64_t budget_us = keyspace_evict_budget_us(server->keyspace);
    budget_us = is_first || budget_us == INT64_MAX ? budget_us : further_us;
    server->evict_turn = server->turn_count;
    int64_t until_us = budget_us == INT64_MAX ? INT64_MAX : clock_mono_us() + budget_us;
    enum evict_result fits = keyspace_evict_step(server->keyspace, server->now.wall_ms, until_us);
    if (fits != EVICT_FULL || !needs_memory) {
        return GATE_PASS;
    }
    call_refuse(call, "OOM command not allowed when used memory > 'maxmemory'.");
    return GATE_REFUSED;
}

/* Whether a script that may write has to be refused. */
static bool is_memory_full(void *context)
{
    struct server *server = context;
    size_t max = (size_t)server->config->memory_max;
    return max != 0 && keyspace_memory(server->keyspace) > max &&
           !leaves_memory_to_primary(server) &&
           keyspace_evict_step(server->keyspace, server->now.wall_ms,
                               clock_mono_us() + WRITER_EVICT_US) == EVICT_FULL;
}

/* Compares without telling by its duration where the difference lies. */
static bool is_same_secret(struct slice given, struct slice secret)
{
    unsigned char difference = given.len != secret.len;
    for (size_t i = 0; i < given.len; i++) {
        size_t at = secret.len == 0 ? 0 : i % secret.len;
        char expected = secret.len == 0 ? 0 : secret.data[at];
        difference = (unsigned char)(difference | (given.data[i] ^ expected));
    }
    return difference == 0;
}

static bool check_password(void *context, struct slice user, struct slice password)
{
    const struct server *server = context;
    if (!slice_equal(user, slice_from_text("default"))) {
        return false;
    }
    return !server->is_auth_set ||
           is_same_secret(password, slice_from_text(server->config->password));
}

/* ---- Putting configuration into force -------------------------------------------------------- */

static void apply_net(struct server *server)
{
    const struct config *config = server->config;
    int64_t clients_memory = config->clients_memory_max;
    if (clients_memory < 0) {
        clients_memory = config->memory_max / 100 * -clients_memory;
    }
    struct net_config net = {
        .query_buffer_max = (uint64_t)config->query_buffer_max,
        .bulk_len_max = (uint64_t)config->bulk_len_max,
        .clients_max = (uint32_t)config->clients_max,
        .timeout_s = config->timeout_s,
        .keepalive_s = (int)config->tcp_keepalive_s,
        .is_protected = config->protected_mode && config->password[0] == '\0',
        .clients_memory_max = (uint64_t)clients_memory,
    };
    memcpy(net.output, config->output, sizeof(net.output));
    net_configure(server->net, &net);
}

static void apply_keyspace(struct server *server)
{
    const struct config *config = server->config;
    struct keyspace_config keyspace = {
        .memory_max = (uint64_t)config->memory_max,
        .policy = (enum eviction_policy)config->policy,
        .sample_count = (unsigned)config->samples,
        .lfu_log_factor = (unsigned)config->lfu_log_factor,
        .lfu_decay_minutes = (unsigned)config->lfu_decay_minutes,
        .eviction_tenacity = (unsigned)config->tenacity,
        .is_defragmenting = config->is_defragmenting,
    };
    keyspace_configure(server->keyspace, &keyspace);
    exec_activate_gate(server->exec, GATE_MEMORY, config->memory_max > 0);
}

static void apply_log(struct server *server)
{
    const struct config *config = server->config;
    struct log_config log = {
        .level = (enum log_level)config->log_level,
        .format = (enum log_format)config->log_format,
        .path = config->log_file,
        .role = server->repl != NULL && repl_is_replica(server->repl) ? 'S' : 'M',
    };
    log_configure(&log);
}

static void apply_auth(struct server *server)
{
    server->is_auth_set = server->config->password[0] != '\0';
    struct exec_auth auth = {
        .check = check_password,
        .is_required = server->is_auth_set,
        .context = server,
    };
    exec_set_auth(server->exec, &auth);
}

static void apply_observe(struct server *server)
{
    const struct config *config = server->config;
    slowlog_configure(server->slowlog, config->slowlog_us, (uint64_t)config->slowlog_max);
    latency_configure(server->latency, config->latency_threshold_ms);
    exec_set_latency_tracking(server->exec, config->latency_tracking);
    tracking_configure(server->tracking, (uint64_t)config->tracking_keys_max);
}

static void on_insert(void *context, struct db *db, struct slice key)
{
    exec_report_insert(((struct server *)context)->exec, db, key);
}

static void apply_events(struct server *server)
{
    unsigned letters = server->config->events;
    struct pubsub_events events = {
        .is_by_key = (letters & CONFIG_EVENTS_BY_KEY) != 0,
        .is_by_event = (letters & CONFIG_EVENTS_BY_EVENT) != 0,
        .classes = letters & EVENT_CLASSES_ALL,
    };
    bool wants_new = (events.is_by_key || events.is_by_event) && (letters & EVENT_NEW) != 0;
    pubsub_set_events(server->pubsub, &events);
    keyspace_set_insert_hook(server->keyspace, wants_new ? on_insert : NULL, server);
}

/* Changes to the configured folder and keeps its absolute path, as CONFIG GET shows it. False:
 * errno. */
static bool enter_dir(struct config *config)
{
    char path[PATH_MAX];
    if (chdir(config->dir) != 0 || getcwd(path, sizeof(path)) == NULL) {
        return false;
    }
    config_replace_text(&config->dir, slice_from_text(path));
    return true;
}

const char *server_apply(struct server *server, unsigned effects)
{
    if ((effects & CONFIG_TO_DIR) != 0 && !enter_dir(server->config)) {
        return strerror(errno);
    }
    if ((effects & CONFIG_TO_LOG) != 0) {
        apply_log(server);
    }
    if ((effects & CONFIG_TO_NET) != 0) {
        apply_net(server);
    }
    if ((effects & CONFIG_TO_KEYSPACE) != 0) {
        apply_keyspace(server);
    }
    if ((effects & CONFIG_TO_AUTH) != 0) {
        apply_auth(server);
    }
    if ((effects & CONFIG_TO_OBSERVE) != 0) {
        apply_observe(server);
    }
    if ((effects & CONFIG_TO_EVENTS) != 0) {
        apply_events(server);
    }
    if ((effects & CONFIG_TO_TYPES) != 0) {
        server->limits = server->config->types;
    }
    if ((effects & CONFIG_TO_SCRIPT) != 0) {
        script_configure(server->script, server->config->busy_threshold_ms,
                         (size_t)server->config->script_memory_max);
    }
    if ((effects & (CONFIG_TO_SAVER | CONFIG_TO_DIR)) != 0) {
        server_apply_saver(server);
    }
    if ((effects & (CONFIG_TO_REPL | CONFIG_TO_DIR)) != 0) {
        server_apply_repl(server);
    }
    if ((effects & CONFIG_TO_LISTEN) != 0) {
        struct buf error;
        buf_init(&error);
        bool is_listening = server_listen(server, &error);
        buf_deinit(&error);
        if (!is_listening) {
            return "Failed to bind to specified addresses.";
        }
    }
    return NULL;
}

void server_reset_stats(struct server *server)
{
    exec_reset_stats(server->exec);
    net_reset_stats(server->net);
    repl_reset_stats(server->repl);
    struct keyspace_stats *stats = keyspace_stats(server->keyspace);
    *stats = (struct keyspace_stats){0};
    server->memory_peak = mem_used();
    server->turn_longest_us = 0;
    memset(server->rates, 0, sizeof(server->rates));
}

/* ---- Listeners ------------------------------------------------------------------------------- */

/* An address to listen on. */
struct listening {
    struct ring_listen_options options;
    bool is_optional; /* It may be one that does not exist here. */
    bool is_open;
};

struct listening_list {
    char words[4096]; /* Of `bind`; the addresses point into it. */
    struct listening at[CONFIG_BIND_ADDRESSES_MAX + 1];
    unsigned count;
};

/* One word of `bind`. "*" and "::*" mean every address of their family; a leading '-' accepts that
 * the address does not exist here. */
static struct listening listening_of(const struct server *server, const char *word)
{
    bool is_optional = word[0] == '-';
    const char *address = is_optional ? word + 1 : word;
    bool is_any4 = strcmp(address, "*") == 0, is_any6 = strcmp(address, "::*") == 0;
    return (struct listening){
        .is_optional = is_optional,
        .options =
            {
                .address = is_any4   ? "0.0.0.0"
                           : is_any6 ? "::"
                                     : address,
                .port = (uint16_t)server->config->port,
                .backlog = (int)server->config->tcp_backlog,
                .is_ipv6_only = strchr(address, ':') != NULL,
            },
    };
}

static void listening_collect(const struct server *server, struct listening_list *list)
{
    char *rest = NULL;
    snprintf(list->words, sizeof(list->words), "%s",
             server->config->port == 0 ? "" : server->config->bind);
    for (char *word = strtok_r(list->words, " ", &rest);
         word != NULL && list->count < CONFIG_BIND_ADDRESSES_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        list->at[list->count++] = listening_of(server, word);
    }
    if (server->config->unix_socket[0] != '\0') {
        list->at[list->count++].options = (struct ring_listen_options){
            .address = server->config->unix_socket,
            .is_unix = true,
            .unix_mode = (unsigned)server->config->unix_socket_mode,
            .backlog = (int)server->config->tcp_backlog,
        };
    }
}

static int listen_on(struct server *server, struct listening *listening)
{
    int result = net_listen(server->net, &listening->options);
    bool is_absent = result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT ||
                     result == -EPROTONOSUPPORT || result == -ENOPROTOOPT;
    if (result < 0 && listening->is_optional && is_absent) {
        return 0;
    }
    listening->is_open = result == 0;
    if (result < 0 && listening->options.is_unix) {
        log_write(LOG_WARNING, "Failed opening Unix socket: bind: %s", strerror(-result));
    } else if (result < 0) {
        log_write(LOG_WARNING, "Could not create server TCP listening socket %s:%d: %s",
                  listening->options.address, (int)listening->options.port, strerror(-result));
    }
    return result;
}

/* Opens what is not open; `failed` is what could not be. */
static int listen_on_all(struct server *server, struct listening_list *list,
                         const struct listening **failed)
{
    unsigned tcp_count = 0, tcp_open = 0;
    for (unsigned i = 0; i < list->count; i++) {
        list->at[i].is_open = net_keep_listening(server->net, &list->at[i].options);
    }
    for (unsigned i = 0; i < list->count; i++) {
        int result = list->at[i].is_open ? 0 : listen_on(server, &list->at[i]);
        if (result < 0) {
            *failed = &list->at[i];
            return result;
        }
        tcp_count += !list->at[i].options.is_unix;
        tcp_open += !list->at[i].options.is_unix && list->at[i].is_open;
    }
    *failed = list->at;
    return tcp_count == 0 || tcp_open > 0 ? 0 : -EADDRNOTAVAIL;
}

bool server_listen(struct server *server, struct buf *error)
{
    struct listening_list list = {.count = 0};
    const struct listening *failed;
    listening_collect(server, &list);
    net_relisten_begin(server->net);
    int result = listen_on_all(server, &list, &failed);
    net_relisten_end(server->net, result == 0);
    server->listen_error = result;
    if (result < 0 && failed->options.is_unix) {
        buf_printf(error, "Failed opening Unix socket %s: %s", failed->options.address,
                   strerror(-result));
    } else if (result < 0) {
        buf_printf(error, "Failed listening on port %d (TCP), aborting.",
                   (int)server->config->port);
    }
    return result == 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void draw_run_id(struct server *server)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SERVER_RUN_ID_LEN; i++) {
        server->run_id[i] = digits[rng_below(&server->rng, 16)];
    }
    server->run_id[SERVER_RUN_ID_LEN] = '\0';
}

static uint64_t draw_seed(void)
{
    uint64_t seed;
    int result = rng_system_bytes(&seed, sizeof(seed));
    ASSERT(result == 0);
    return seed;
}

static bool rename_commands(struct server *server)
{
    for (struct config_rename *rename = server->source->renames; rename != NULL;
         rename = rename->next) {
        int result = exec_rename(server->exec, slice_from_text(rename->old_name),
                                 slice_from_text(rename->new_name));
        if (result != 0) {
            config_source_fail(server->source, rename->line_number, rename->line,
                               result == -ENOENT ? "No such command in rename-command"
                                                 : "Target command name already exists");
            return false;
        }
    }
    return true;
}

static bool open_ring(struct server *server, struct buf *error)
{
    static const char *const engines[] = {"auto", "uring", "epoll"};
    struct ring_options options = {.engine = engines[server->config->io_engine]};
    int result = ring_open(&server->ring, &options);
    if (result < 0) {
        buf_printf(error, "Could not open the %s I/O engine: %s", options.engine,
                   strerror(-result));
        return false;
    }
    return true;
}

static void register_commands(struct server *server)
{
    server->identity = (struct connection_family){
        .version = OURO_REDIS_VERSION, .mode = "standalone", .role = "master"};
    commands_register_all(server->exec, &server->identity, &server->limits);
    observe_register(server->exec, server->slowlog, server->latency, server->monitor);
    pubsub_register(server->exec, server->pubsub);
    tracking_register(server->exec, server->tracking);
    saver_register(server->saver);
    repl_register(server->repl);
    server_register_config(server);
    server_register_info(server);
    server_register_admin(server);
    server_register_debug(server);
    server_register_memory(server);
}

static void build_core(struct server *server)
{
    work_queue_init(&server->work);
    server->keyspace = keyspace_new(&(struct keyspace_options){
        .db_count = (unsigned)server->config->databases,
        .hash_seed = draw_seed(),
        .now_ms = server->now.wall_ms,
        .rng = &server->rng,
        .work = &server->work,
        .on_removal = on_removal,
        .removal_context = server,
    });
    server->exec = exec_new(&(struct exec_options){
        .keyspace = server->keyspace,
        .work = &server->work,
        .rng = &server->rng,
        .now = &server->now,
    });
    keyspace_set_part_hook(server->keyspace, on_part, server);
    server->slowlog = slowlog_new(server->exec);
    server->latency = latency_new(server->exec);
    server->monitor = monitor_new(server->exec);
    server->pubsub = pubsub_new(server->exec, draw_seed());
    server->tracking = tracking_new(server->exec, draw_seed());
    server->net = net_new(server->ring, server->exec);
    server->script = script_new(server->exec, &(struct script_options){
                                                  .version = OURO_REDIS_VERSION,
                                                  .is_memory_full = is_memory_full,
                                                  .refuses = server_refuses_script,
                                                  .context = server,
                                              });
    server_init_saver(server, true);
    server_init_repl(server, true);
    exec_set_gate(server->exec, GATE_MEMORY, memory_gate, server);
    loading_init(server);
    register_commands(server);
}

struct server *server_new(struct config *take_config, struct config_source *take_source,
                          struct buf *error)
{
    struct server *server = mem_zalloc(sizeof(*server));
    server->config = take_config;
    server->source = take_source;
    rng_seed(&server->rng, draw_seed());
    draw_run_id(server);
    server->now = clock_read();
    server->started_ms = server->now.wall_ms;
    server->started_us = server->now.mono_us;
    apply_log(server);
    if (!open_ring(server, error)) {
        server_free(server);
        return NULL;
    }
    build_core(server);
    if (!rename_commands(server)) {
        buf_append(error, buf_slice(&server->source->error));
        server_free(server);
        return NULL;
    }
    const char *why =
        server_apply(server, CONFIG_TO_DIR | CONFIG_TO_NET | CONFIG_TO_KEYSPACE | CONFIG_TO_AUTH |
                                 CONFIG_TO_OBSERVE | CONFIG_TO_TYPES | CONFIG_TO_EVENTS |
                                 CONFIG_TO_SCRIPT | CONFIG_TO_REPL);
    if (why != NULL) {
        buf_printf(error, "Could not apply the configuration: %s", why);
        server_free(server);
        return NULL;
    }
    server->start_memory = mem_used() - net_memory(server->net);
    keyspace_set_overhead(server->keyspace, overhead_of, server);
    server_follow_configured(server);
    server_update_expiry(server);
    return server;
}

void server_free(struct server *server)
{
    if (server->net != NULL) {
        script_abort(server->script);
        repl_stop(server->repl);
        saver_free(server->saver);
        net_stop(server->net);
        exec_end_slices(server->exec); /* Their replies lie in the pool of net. */
        net_free(server->net);
        repl_free(server->repl);
        loading_stop(server);
        monitor_free(server->monitor);
        latency_free(server->latency);
        slowlog_free(server->slowlog);
        script_free(server->script);
        work_drain(&server->work);
        pubsub_free(server->pubsub);
        tracking_free(server->tracking);
        exec_free(server->exec);
        keyspace_free(server->keyspace);
        work_drain(&server->work);
    }
    if (server->ring != NULL) {
        ring_close(server->ring);
    }
    loading_deinit(server);
    mem_free(server->argv_text);
    config_free(server->config);
    config_source_deinit(server->source);
    mem_free(server->source);
    mem_free(server);
}

/* ---- The turn -------------------------------------------------------------------------------- */

static void sample_rate(struct server *server, enum server_rate rate, uint64_t value)
{
    struct server_sample *sample = &server->rates[rate];
    int64_t passed_us = server->now.mono_us - sample->at_us;
    if (passed_us > 0) {
        sample->per_second = (value - sample->value) * 1000000U / (uint64_t)passed_us;
    }
    sample->value = value;
    sample->at_us = server->now.mono_us;
}

static void cron(struct server *server)
{
    server->next_cron_us = server->now.mono_us + 1000000 / server->config->hz;
    if (server->is_cron_paused) {
        return;
    }
    const struct net_stats *net = net_stats(server->net);
    sample_rate(server, RATE_COMMANDS, exec_stats(server->exec)->commands_count);
    sample_rate(server, RATE_BYTES_IN, net->bytes_in);
    sample_rate(server, RATE_BYTES_OUT, net->bytes_out);
    struct repl_stats repl;
    repl_stats(server->repl, &repl);
    sample_rate(server, RATE_REPL_IN, repl.bytes_in);
    sample_rate(server, RATE_REPL_OUT, repl.bytes_out);
    size_t used = mem_used();
    if (used > server->memory_peak) {
        server->memory_peak = used;
    }
    if (!server_is_loading(server) && script_busy_error(server->script) == NULL) {
        saver_tick(server->saver); /* Never in the middle of a script. */
    }
    net_tick(server->net);
    repl_tick(server->repl);
    loading_tick(server);
    server->cron_count++;
}

/* Runs what is pending in the background, one slice each; returns true when more is left. */
static bool run_background(struct server *server)
{
    bool is_more = false;
    int64_t now_us = server->now.mono_us;
    if (keyspace_next_expiry_ms(server->keyspace) <= server->now.wall_ms) {
        is_more |= keyspace_expire_step(server->keyspace, server->now.wall_ms,
                                        clock_mono_us() + TURN_EXPIRE_US);
    }
    if (!work_is_idle(&server->work)) {
        is_more |= work_run(&server->work, clock_mono_us() + TURN_WORK_US);
    }
    if (now_us >= server->next_cron_us) {
        cron(server);
        if (server->config->memory_max > 0 && !server_is_loading(server) &&
            !leaves_memory_to_primary(server)) {
            is_more |= keyspace_evict_step(server->keyspace, server->now.wall_ms,
                                           clock_mono_us() + TURN_EVICT_US) == EVICT_BUSY;
        }
    }
    if (repl_due_us(server->repl) <= now_us) {
        repl_step(server->repl);
        is_more |= repl_due_us(server->repl) <= now_us;
    }
    if (saver_is_on(server->saver) && saver_due_us(server->saver) <= clock_mono_us()) {
        saver_step(server->saver);
        is_more |= saver_due_us(server->saver) <= clock_mono_us();
    }
    if (keyspace_defrag_due_us(server->keyspace) <= now_us && !server_is_loading(server)) {
        keyspace_defrag_step(server->keyspace, clock_mono_us(), TURN_DEFRAG_US);
    }
    return is_more;
}

int64_t server_wake_us(const struct server *server, int64_t wait_us_max)
{
    int64_t wake_us = server->next_cron_us;
    int64_t defrag_us = keyspace_defrag_due_us(server->keyspace);
    wake_us = defrag_us < wake_us ? defrag_us : wake_us;
    int64_t block_us = block_due_us(server->exec);
    wake_us = block_us < wake_us ? block_us : wake_us;
    int64_t saver_us = saver_due_us(server->saver);
    wake_us = saver_us < wake_us ? saver_us : wake_us;
    int64_t repl_us = repl_due_us(server->repl);
    wake_us = repl_us < wake_us ? repl_us : wake_us;
    int64_t expiry_ms = keyspace_next_expiry_ms(server->keyspace);
    if (expiry_ms - server->now.wall_ms < 1000) {
        int64_t expiry_us = server->now.mono_us + (expiry_ms - server->now.wall_ms) * 1000;
        wake_us = expiry_us < wake_us ? expiry_us : wake_us;
    }
    int64_t latest_us = server->now.mono_us + (wait_us_max < 1000000 ? wait_us_max : 1000000);
    return latest_us < wake_us ? latest_us : wake_us;
}

void server_turn(struct server *server, int64_t wait_us_max)
{
    exec_note_due(server->exec, keyspace_lead_parts(server->keyspace, server->now.wall_ms));
    bool is_more = net_drain(server->net, server->now.mono_us + TURN_DRAIN_US);
    if (__builtin_expect(repl_is_replica(server->repl), 0)) {
        is_more |= repl_drain(server->repl, clock_mono_us() + TURN_DRAIN_US);
    }
    if (__builtin_expect(server->reload.is_requested, 0)) {
        server_reload(server);
    }
    is_more |= run_background(server);
    is_more |= net_is_ready(server->net); /* Suspended sessions may have been resumed. */
    is_more |= repl_is_replica(server->repl) && repl_is_ready(server->repl);
    tracking_flush(server->tracking);
    repl_pump(server->repl);
    is_more |= net_flush(server->net);
    int64_t end_us = clock_mono_us();
    if (end_us - server->now.mono_us > server->turn_longest_us) {
        server->turn_longest_us = end_us - server->now.mono_us;
    }
    ring_turn(server->ring, is_more ? 0 : server_wake_us(server, wait_us_max));
    server->now = clock_read();
    exec_tick(server->exec);
    server->turn_count++;
}
