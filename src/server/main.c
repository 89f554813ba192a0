/* ouro-server: the command line, the start, the loop, the end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/config_internal.h"
#include "server/process.h"
#include "server/server.h"

enum { LISTEN_TRIES = 20, LISTEN_RETRY_MS = 50 };

static void print_usage(FILE *out)
{
    fputs("Usage: ouro-server [FILE | -] [--DIRECTIVE VALUE ...]\n"
          "       ouro-server -v or --version\n"
          "       ouro-server -h or --help\n"
          "\n"
          "FILE is a configuration in the syntax of redis.conf; - reads it from standard input.\n"
          "Every directive can be given as an option, which then wins over the file.\n"
          "\n"
          "Examples:\n"
          "       ouro-server\n"
          "       ouro-server --port 7000\n"
          "       ouro-server /etc/ouro/ouro.conf --loglevel verbose\n"
          "       echo 'maxmemory 128mb' | ouro-server -\n",
          out);
}

static void print_version(void)
{
    printf("Ouro server v=%s sha=00000000:0 malloc=%s bits=%d build=%s redis_compat=%s\n",
           OURO_VERSION, mem_allocator_name(), (int)sizeof(void *) * 8,
#ifdef OURO_DEBUG
           "debug",
#else
           "release",
#endif
           OURO_REDIS_VERSION);
}

static bool is_word(const char *text, const char *brief, const char *full)
{
    return strcmp(text, brief) == 0 || strcmp(text, full) == 0;
}

/* The command line as one text. */
static char *join_words(int count, char **words)
{
    struct buf text;
    buf_init(&text);
    for (int i = 0; i < count; i++) {
        buf_printf(&text, "%s%s", i == 0 ? "" : " ", words[i]);
    }
    buf_append_byte(&text, '\0');
    return text.data;
}

/* The kernel takes a killed process's ring down a moment after its exit, and until then its ports
 * are taken; so a start that follows a kill tries for a while. */
static bool listen_patiently(struct server *server, struct buf *error)
{
    struct timespec pause = {.tv_nsec = LISTEN_RETRY_MS * 1000000};
    for (int tries = LISTEN_TRIES; tries > 0; tries--) {
        buf_clear(error);
        if (server_listen(server, error)) {
            return true;
        }
        if (server->listen_error != -EADDRINUSE) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return false;
}

static struct server *start(int argc, char **argv)
{
    struct config *config = config_new();
    struct config_source *source = mem_alloc(sizeof(*source));
    config_source_init(source);
    bool has_file = argc > 1 && strncmp(argv[1], "--", 2) != 0;
    int first = has_file ? 2 : 1;
    if (!config_load(config, source, has_file ? argv[1] : NULL, argv + first, argc - first)) {
        fprintf(stderr, "%.*s", (int)source->error.len, source->error.data);
        exit(1);
    }
    if (config->daemonize && process_daemonize() != 0) {
        fprintf(stderr, "Cannot go to the background\n");
        exit(1);
    }
    mem_purge_in_background();
    process_raise_files(config);
    struct buf error;
    buf_init(&error);
    struct server *server = server_new(config, source, &error);
    if (server != NULL) {
        server->argv_text = join_words(argc, argv);
        if (readlink("/proc/self/exe", server->executable, sizeof(server->executable) - 1) < 0) {
            snprintf(server->executable, sizeof(server->executable), "%s", argv[0]);
        }
    }
    if (server == NULL || !listen_patiently(server, &error)) {
        log_write(LOG_WARNING, "%.*s", (int)error.len, error.data);
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
        exit(1);
    }
    buf_deinit(&error);
    return server;
}

static void announce(const struct server *server, int argc)
{
    log_write(LOG_NOTICE, "Ouro %s is starting: pid %d, %s allocator, %s engine", OURO_VERSION,
              (int)getpid(), mem_allocator_name(), ring_engine_name(server->ring));
    if (argc == 1) {
        log_write(LOG_NOTICE, "No configuration given: using the defaults");
    }
    log_write(LOG_NOTICE, "Server initialized");
    process_write_pid(server->config);
}

/* Waits for replies that are under way, a bounded time. */
static void finish(struct server *server)
{
    int64_t give_up_us = clock_mono_us() + server->config->shutdown_timeout_s * 1000000;
    process_notify(server->config, "STOPPING=1\n");
    net_close_listeners(server->net);
    while (!net_is_flushed(server->net) && !server->shutdown.is_now &&
           clock_mono_us() < give_up_us) {
        server_turn(server, 10 * 1000);
    }
    if (server->config->unix_socket[0] != '\0') {
        unlink(server->config->unix_socket);
    }
    process_remove_pid(server->config);
    log_write(LOG_NOTICE, "Ouro is now ready to exit, bye bye...");
}

/* The end of a start that found a file it could not load. */
static void abandon(struct server *server)
{
    process_notify(server->config, "STOPPING=1\n");
    process_remove_pid(server->config);
    if (server->config->unix_socket[0] != '\0') {
        unlink(server->config->unix_socket);
    }
    server_free(server);
}

/* What shutdown-on-sigint or shutdown-on-sigterm says of the end. */
static void note_signal(struct server *server, const struct signals_pending *pending)
{
    int64_t words = pending->last == SIGINT ? server->config->shutdown_on_sigint
                                            : server->config->shutdown_on_sigterm;
    server->shutdown.is_now = (words & CONFIG_SHUTDOWN_NOW) != 0;
    server->shutdown.is_forced = (words & CONFIG_SHUTDOWN_FORCE) != 0;
    server->shutdown.must_save = (words & CONFIG_SHUTDOWN_SAVE) != 0;
    server->shutdown.must_not_save = (words & CONFIG_SHUTDOWN_NOSAVE) != 0;
}

/* Asked to end by a command or a signal. False: the data set could not be saved, so not yet. */
static bool may_end(struct server *server, struct signals_pending *pending)
{
    log_write(LOG_NOTICE, "User requested shutdown...");
    if (pending->count > 0) {
        note_signal(server, pending);
    }
    if (server_save_at_end(server)) {
        return true;
    }
    pending->count = 0;
    return false;
}

int main(int argc, char **argv)
{
    struct signals_pending pending = {0};
    mem_thread_enter();
    if (argc == 2 && is_word(argv[1], "-v", "--version")) {
        print_version();
        return 0;
    }
    if (argc == 2 && is_word(argv[1], "-h", "--help")) {
        print_usage(stdout);
        return 0;
    }
    struct server *server = start(argc, argv);
    signals_install(server, &pending);
    announce(server, argc);
    saver_remove_strays(server->saver);
    loading_begin(server);
    do {
        while (pending.count == 0 && !server->shutdown.is_requested &&
               !server->loading.has_failed) {
            server_turn(server, INT64_MAX);
        }
        if (server->loading.has_failed) {
            abandon(server);
            return 1;
        }
    } while (!may_end(server, &pending));
    finish(server);
    server_free(server);
    return 0;
}
