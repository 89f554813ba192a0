/* The log sink: one line per event, as text in Redis's form, logfmt or JSON lines. With the
 * allocator's counters it is the only global state. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };
enum log_format { LOG_TEXT, LOG_LOGFMT, LOG_JSON };

struct log_config {
    enum log_level level;   /* Lines below it are dropped. */
    enum log_format format; /* How a line is written. */
    const char *path;       /* File, opened for append at each line; "" is standard output. */
    char role; /* Text form's letter: 'M' primary, 'S' replica, 'C' child, 'X' sentinel. */
};

/* Copies the configuration (path at most 1,023 bytes). */
void log_configure(const struct log_config *config);
bool log_is_on(enum log_level level);

/* One line, at most 1,024 bytes of message; control bytes are escaped so that a client cannot forge
 * lines. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For the crash report: raw text, safe in a signal handler. */
void log_raw(const char *text);
