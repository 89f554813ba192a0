/* What the files of the configuration share. */
#pragma once

#include "server/config.h"

enum config_engine { CONFIG_ENGINE_AUTO, CONFIG_ENGINE_URING, CONFIG_ENGINE_EPOLL };

/* SHUTDOWN options as shutdown-on-sigint and shutdown-on-sigterm hold them. */
enum config_shutdown {
    CONFIG_SHUTDOWN_DEFAULT = 0,
    CONFIG_SHUTDOWN_NOSAVE = 1,
    CONFIG_SHUTDOWN_SAVE = 2,
    CONFIG_SHUTDOWN_NOW = 4,
    CONFIG_SHUTDOWN_FORCE = 8,
};

/* Special directives (config_special.c). */
bool config_set_bind(struct config *config, const struct slice *words, unsigned count,
                     const char **error);
void config_get_bind(const struct config *config, struct buf *out);
bool config_set_save(struct config *config, const struct slice *words, unsigned count,
                     const char **error);
void config_get_save(const struct config *config, struct buf *out);
bool config_set_output_limit(struct config *config, const struct slice *words, unsigned count,
                             const char **error);
void config_get_output_limit(const struct config *config, struct buf *out);
bool config_set_percentiles(struct config *config, const struct slice *words, unsigned count,
                            const char **error);
void config_get_percentiles(const struct config *config, struct buf *out);
bool config_set_clients_memory(struct config *config, const struct slice *words, unsigned count,
                               const char **error);
void config_get_clients_memory(const struct config *config, struct buf *out);
bool config_set_sigint(struct config *config, const struct slice *words, unsigned count,
                       const char **error);
void config_get_sigint(const struct config *config, struct buf *out);
bool config_set_sigterm(struct config *config, const struct slice *words, unsigned count,
                        const char **error);
void config_get_sigterm(const struct config *config, struct buf *out);

bool config_set_events(struct config *config, const struct slice *words, unsigned count,
                       const char **error);
void config_get_events(const struct config *config, struct buf *out);

bool config_set_replicaof(struct config *config, const struct slice *words, unsigned count,
                          const char **error);
void config_get_replicaof(const struct config *config, struct buf *out);

bool config_set_oom_values(struct config *config, const struct slice *words, unsigned count,
                           const char **error);
void config_get_oom_values(const struct config *config, struct buf *out);

/* Index of a row, for config->inert. */
unsigned config_row_of(const struct directive *directive);

/* Replaces an owned text. */
void config_replace_text(char **field, struct slice text);
