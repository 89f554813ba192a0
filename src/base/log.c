/* The log sink. A line is built on the stack and written with one write call, so lines of several
 * processes that append to the same file do not mix. The file is opened for each line: a rotated
 * file is thereby left alone without a signal, and log lines are rare enough that 5 us do not
 * matter.
 *
 *     text    4242:M 07 Jan 2025 10:11:12.345 * Ready to accept connections
 *     logfmt  pid=4242 role=primary timestamp="2025-01-07T10:11:12.345+01:00" level=notice ...
 *     json    {"pid":4242,"role":"primary","timestamp":"...","level":"notice","message":"..."}
 *
 * Messages may quote what a client sent, so in every form a control byte is escaped: one event is
 * one line, whatever it says. Bytes above 127 pass, but JSON must be UTF-8, so there those that are
 * not part of a valid sequence are escaped as well.
 *
 * Lines that cannot be written are dropped: there is nobody to tell. */
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    LOG_MESSAGE_LEN_MAX = 1024,
    LOG_PATH_LEN_MAX = 1023,
    LOG_ESCAPE_LEN_MAX = 6, /* "\u001f" */
    LOG_LINE_LEN_MAX = LOG_MESSAGE_LEN_MAX * LOG_ESCAPE_LEN_MAX + 256,
};

static struct {
    enum log_level level;
    enum log_format format;
    char role;
    char path[LOG_PATH_LEN_MAX + 1];
} log_sink = {.level = LOG_NOTICE, .format = LOG_TEXT, .role = 'M'};

/* A line while it is being built. */
struct line {
    size_t len;
    char bytes[LOG_LINE_LEN_MAX];
};

void log_configure(const struct log_config *config)
{
    log_sink.level = config->level;
    log_sink.format = config->format;
    log_sink.role = config->role != '\0' ? config->role : 'M';
    snprintf(log_sink.path, sizeof(log_sink.path), "%s", config->path != NULL ? config->path : "");
}

bool log_is_on(enum log_level level)
{
    return level >= log_sink.level && level < LOG_NOTHING;
}

static void sink_write(const char *bytes, size_t len)
{
    bool is_file = log_sink.path[0] != '\0';
    int fd = STDOUT_FILENO;
    if (is_file) {
        fd = open(log_sink.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    }
    if (fd < 0) {
        return;
    }
    ssize_t written = write(fd, bytes, len);
    (void)written;
    if (is_file) {
        close(fd);
    }
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "verbose", "notice", "warning"};
    return names[level];
}

static const char *role_name(char role)
{
    switch (role) {
    case 'S':
        return "replica";
    case 'C':
        return "child";
    case 'X':
        return "sentinel";
    default:
        return "primary";
    }
}

__attribute__((format(printf, 2, 3))) static void line_printf(struct line *line, const char *format,
                                                              ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof(line->bytes) - line->len;
    int len = vsnprintf(line->bytes + line->len, room, format, args);
    va_end(args);
    if (len > 0) {
        line->len += (size_t)len < room ? (size_t)len : room - 1;
    }
}

/* Length of the valid UTF-8 sequence at `at`, 0 when there is none. The text ends with a NUL, which
 * is not a continuation byte, so nothing is read beyond it. */
static size_t utf8_len(const char *at)
{
    const unsigned char *u = (const unsigned char *)at;
    size_t len = 0;
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        len = 2;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        len = 3;
        low = u[0] == 0xe0 ? 0xa0 : 0x80;  /* No over-long form. */
        high = u[0] == 0xed ? 0x9f : 0xbf; /* No surrogate. */
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        len = 4;
        low = u[0] == 0xf0 ? 0x90 : 0x80;
        high = u[0] == 0xf4 ? 0x8f : 0xbf; /* Nothing above U+10FFFF. */
    } else {
        return 0;
    }
    if (u[1] < low || u[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static void line_append_escape(struct line *line, unsigned char byte, enum log_format format)
{
    if (byte == '"' || byte == '\\') {
        line_printf(line, "\\%c", byte);
    } else if (byte == '\n' || byte == '\r' || byte == '\t') {
        line_printf(line, "\\%c", byte == '\n' ? 'n' : byte == '\r' ? 'r' : 't');
    } else {
        line_printf(line, format == LOG_JSON ? "\\u%04x" : "\\x%02x", (unsigned)byte);
    }
}

/* Text form needs no escape for quotes: nothing surrounds the message. */
static bool must_escape(unsigned char byte, enum log_format format)
{
    return byte < ' ' || byte == 0x7f || (format != LOG_TEXT && (byte == '"' || byte == '\\'));
}

static void line_append_message(struct line *line, const char *message, enum log_format format)
{
    for (const char *at = message; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (must_escape(byte, format)) {
            line_append_escape(line, byte, format);
        } else if (byte < 0x80 || format != LOG_JSON) {
            line_printf(line, "%c", byte);
        } else {
            size_t len = utf8_len(at);
            if (len == 0) {
                line_append_escape(line, byte, format);
            } else {
                line_printf(line, "%.*s", (int)len, at);
                at += len - 1;
            }
        }
    }
}

/* ISO 8601 with milliseconds and the offset of local time. */
static void line_append_timestamp(struct line *line, const struct tm *when, int ms)
{
    char text[64];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", when);
    long offset = when->tm_gmtoff / 60;
    char sign = offset < 0 ? '-' : '+';
    offset = offset < 0 ? -offset : offset;
    line_printf(line, "%s.%03d%c%02ld:%02ld", text, ms, sign, offset / 60, offset % 60);
}

static void line_append_head(struct line *line, enum log_level level, struct clock_now now)
{
    time_t seconds = (time_t)(now.wall_ms / 1000);
    int ms = (int)(now.wall_ms % 1000);
    struct tm when;
    localtime_r(&seconds, &when);
    char text[64];
    const char *role = role_name(log_sink.role);
    switch (log_sink.format) {
    case LOG_TEXT:
        strftime(text, sizeof(text), "%d %b %Y %H:%M:%S", &when);
        line_printf(line, "%d:%c %s.%03d %c ", (int)getpid(), log_sink.role, text, ms,
                    ".-*#"[level]);
        break;
    case LOG_LOGFMT:
        line_printf(line, "pid=%d role=%s timestamp=\"", (int)getpid(), role);
        line_append_timestamp(line, &when, ms);
        line_printf(line, "\" level=%s message=\"", level_name(level));
        break;
    case LOG_JSON:
        line_printf(line, "{\"pid\":%d,\"role\":\"%s\",\"timestamp\":\"", (int)getpid(), role);
        line_append_timestamp(line, &when, ms);
        line_printf(line, "\",\"level\":\"%s\",\"message\":\"", level_name(level));
        break;
    }
}

void log_write(enum log_level level, const char *format, ...)
{
    if (!log_is_on(level)) {
        return;
    }
    char message[LOG_MESSAGE_LEN_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    static const char *const tails[] = {"\n", "\"\n", "\"}\n"};
    struct line line;
    line.len = 0;
    line_append_head(&line, level, clock_read());
    line_append_message(&line, message, log_sink.format);
    line_printf(&line, "%s", tails[log_sink.format]);
    sink_write(line.bytes, line.len);
}

void log_raw(const char *text)
{
    sink_write(text, strlen(text));
}
