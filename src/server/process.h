/* What ties a server to the machine it runs on: the background, the pid file, the descriptor limit,
 * the service manager. */
#pragma once

#include <stdbool.h>

#include "server/config.h"

/* Detaches from the terminal. Returns 0 or negative errno. */
int process_daemonize(void) __attribute__((warn_unused_result));

/* Writes the pid file, when one is configured (or the process is a daemon); logs when it cannot. */
void process_write_pid(const struct config *config);
void process_remove_pid(const struct config *config);

/* Raises the limit of open files so that `clients_max` fit beside the server's own; lowers
 * clients_max when the system refuses, and logs both. */
void process_raise_files(struct config *config);

/* True when a service manager waits for word from this process, as `supervised` says. */
bool process_is_supervised(const struct config *config);

/* Tells systemd a state ("READY=1", "STOPPING=1"); nothing when NOTIFY_SOCKET is unset. */
void process_notify(const struct config *config, const char *state);
