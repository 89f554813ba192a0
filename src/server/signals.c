/* Signals and the crash report. With main.c the only place that knows of signals.
 *
 * SIGTERM and SIGINT only count; the loop sees the count after its current turn and ends in order.
 * A second one ends the process at once. SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and failed
 * assertions write a report of what was running and then die of the same signal, so that a core
 * file is still made. The report uses only what is safe in a handler, apart from the backtrace,
 * whose library is loaded ahead. */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/server.h"

enum { CRASH_FRAMES_MAX = 64, CRASH_ARG_LEN_MAX = 64 };

/* A handler has no argument: this is the one way to reach what it reports on. Written once, at
 * start. */
static struct {
    struct server *server;
    struct signals_pending *pending;
    volatile sig_atomic_t is_crashing;
} signals;

static void on_terminate(int number)
{
    signals.pending->last = number;
    signals.pending->count = signals.pending->count + 1;
    if (signals.pending->count > 1) {
        log_raw("Received a second signal: exiting at once.\n");
        _exit(1);
    }
}

static void report_line(const char *label, const char *text)
{
    log_raw(label);
    log_raw(text);
    log_raw("\n");
}

static void report_backtrace(void)
{
    void *frames[CRASH_FRAMES_MAX];
    int count = backtrace(frames, CRASH_FRAMES_MAX);
    log_raw("------ STACK TRACE ------\n");
    char **names = backtrace_symbols(frames, count);
    for (int i = 0; names != NULL && i < count; i++) {
        report_line("", names[i]);
    }
}

/* The command that was running, its arguments cut short. */
static void report_command(const struct server *server)
{
    const struct call *call = exec_current_call(server->exec);
    if (call == NULL) {
        report_line("Command: ", "none");
        return;
    }
    log_raw("------ CURRENT COMMAND ------\n");
    for (uint32_t i = 0; i < call->args.count && i < 32; i++) {
        char text[CRASH_ARG_LEN_MAX + 32];
        struct slice arg = slice_part(call->args.at[i], 0, CRASH_ARG_LEN_MAX);
        snprintf(text, sizeof(text), "argv[%u] = \"%.*s\"%s", i, (int)arg.len, arg.data,
                 call->args.at[i].len > arg.len ? "..." : "");
        report_line("", text);
    }
}

static void report_server(struct server *server)
{
    struct slice sections[] = {slice_from_text("server"), slice_from_text("clients"),
                               slice_from_text("memory"), slice_from_text("stats")};
    struct buf text;
    buf_init(&text);
    server_info(server, sections, 4, &text);
    buf_append_byte(&text, '\0');
    log_raw("------ INFO OUTPUT ------\n");
    log_raw(text.data);
}

static void report_crash(const char *what)
{
    if (signals.is_crashing) {
        return;
    }
    signals.is_crashing = 1;
    log_raw("\n=== OURO CRASH REPORT: start ===\n");
    report_line("Ouro " OURO_VERSION " crashed: ", what);
    report_backtrace();
    if (signals.server != NULL && signals.server->exec != NULL) {
        report_command(signals.server);
        report_server(signals.server);
    }
    log_raw("=== OURO CRASH REPORT: end ===\n");
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    char what[128];
    (void)context;
    snprintf(what, sizeof(what), "signal %d, address %p", number, info->si_addr);
    if (signals.server == NULL || signals.server->config->crash_log) {
        report_crash(what);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void on_assert(const char *expression, const char *file, int line)
{
    char what[512];
    snprintf(what, sizeof(what), "%s:%d: assertion failed: %s", file, line, expression);
    report_crash(what);
    signal(SIGABRT, SIG_DFL);
    abort();
}

void signals_install(struct server *server, struct signals_pending *pending)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    void *frames[2];
    signals.server = server;
    signals.pending = pending;
    backtrace(frames, 2); /* Loads what it needs now, while the heap is sound. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* A file that may not grow: -EFBIG, for the log's lines too. */
    signal(SIGHUP, SIG_IGN);
    struct sigaction action = {.sa_handler = on_terminate};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct sigaction crash = {.sa_sigaction = on_crash,
                              .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};
    sigemptyset(&crash.sa_mask);
    for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++) {
        sigaction(crashes[i], &crash, NULL);
    }
    assert_set_hook(on_assert);
}
