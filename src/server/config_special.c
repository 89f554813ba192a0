/* Directives whose values are not a single word: addresses, save points, limits per class,
 * percentiles. Each has a function that reads its words and one that prints them in a form that can
 * be read again. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "exec/effect.h"
#include "persist/saver.h"
#include "repl/repl.h"
#include "server/config_internal.h"

/* ---- bind ---- */

/* Whether all bytes can be part of an address. Others would need quotes, which a list has not. */
static bool is_address_like(struct slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        char byte = word.data[i], lower = (char)(byte | 0x20);
        bool is_letter = lower >= 'a' && lower <= 'z', is_digit = byte >= '0' && byte <= '9';
        if (!is_letter && !is_digit && (byte == '\0' || strchr(".:*-%_", byte) == NULL)) {
            return false;
        }
    }
    return true;
}

bool config_set_bind(struct config *config, const struct slice *words, unsigned count,
                     const char **error)
{
    if (count > CONFIG_BIND_ADDRESSES_MAX) {
        *error = "Too many bind addresses specified.";
        return false;
    }
    struct buf joined;
    buf_init(&joined);
    for (unsigned i = 0; i < count; i++) {
        bool is_lost = words[i].len == 0 && count > 1; /* A list cannot show it. */
        if (is_lost || !is_address_like(words[i])) {
            buf_deinit(&joined);
            *error = "Failed to bind to specified addresses.";
            return false;
        }
        if (joined.len > 0) {
            buf_append_byte(&joined, ' ');
        }
        buf_append(&joined, words[i]);
    }
    config_replace_text(&config->bind, buf_slice(&joined));
    buf_deinit(&joined);
    return true;
}

void config_get_bind(const struct config *config, struct buf *out)
{
    buf_append_text(out, config->bind);
}

/* ---- save ---- */

static_assert(SAVER_POINTS_MAX == 64, "The error says so.");

bool config_set_save(struct config *config, const struct slice *words, unsigned count,
                     const char **error)
{
    struct buf points;
    buf_init(&points);
    bool is_empty = count == 1 && words[0].len == 0;
    bool is_good = is_empty || (count > 0 && count % 2 == 0);
    for (unsigned i = 0; is_good && !is_empty && i < count; i += 2) {
        int64_t seconds, changes;
        is_good = num_parse_i64(words[i], &seconds) && num_parse_i64(words[i + 1], &changes) &&
                  seconds >= 1 && changes >= 0;
        if (is_good) {
            buf_printf(&points, "%s%lld %lld", i == 0 ? "" : " ", (long long)seconds,
                       (long long)changes);
        }
    }
    if (is_good && count / 2 > SAVER_POINTS_MAX) {
        *error = "more than 64 save points";
        is_good = false;
    } else if (is_good) {
        config_replace_text(&config->save, buf_slice(&points));
    } else {
        *error = "Invalid save parameters";
    }
    buf_deinit(&points);
    return is_good;
}

void config_get_save(const struct config *config, struct buf *out)
{
    buf_append_text(out, config->save);
}

/* ---- client-output-buffer-limit ---- */

static int class_of(struct slice word)
{
    if (slice_is(word, "normal")) {
        return CLIENT_CLASS_NORMAL;
    }
    if (slice_is(word, "replica") || slice_is(word, "slave")) {
        return CLIENT_CLASS_REPLICA;
    }
    return slice_is(word, "pubsub") ? CLIENT_CLASS_PUBSUB : -1;
}

bool config_set_output_limit(struct config *config, const struct slice *words, unsigned count,
                             const char **error)
{
    struct output_limit limits[CLIENT_CLASS_COUNT];
    memcpy(limits, config->output, sizeof(limits));
    if (count == 0 || count % 4 != 0) {
        *error = "Wrong number of arguments in buffer limit configuration.";
        return false;
    }
    for (unsigned i = 0; i < count; i += 4) {
        int class_index = class_of(words[i]);
        uint64_t hard, soft;
        int64_t seconds;
        if (class_index < 0) {
            *error = "Invalid client class specified in buffer limit configuration.";
            return false;
        }
        if (!num_parse_memory(words[i + 1], &hard) || !num_parse_memory(words[i + 2], &soft) ||
            !num_parse_i64(words[i + 3], &seconds) || seconds < 0) {
            *error = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            return false;
        }
        limits[class_index] = (struct output_limit){hard, soft, seconds};
    }
    memcpy(config->output, limits, sizeof(limits));
    return true;
}

void config_get_output_limit(const struct config *config, struct buf *out)
{
    static const char *const names[] = {"normal", "slave", "pubsub"};
    for (unsigned i = 0; i < CLIENT_CLASS_COUNT; i++) {
        buf_printf(out, "%s%s %llu %llu %lld", i == 0 ? "" : " ", names[i],
                   (unsigned long long)config->output[i].hard_bytes,
                   (unsigned long long)config->output[i].soft_bytes,
                   (long long)config->output[i].soft_seconds);
    }
}

/* ---- latency-tracking-info-percentiles ---- */

bool config_set_percentiles(struct config *config, const struct slice *words, unsigned count,
                            const char **error)
{
    double values[CONFIG_PERCENTILES_MAX];
    if (count == 1 && words[0].len == 0) {
        config->percentile_count = 0;
        return true;
    }
    if (count == 0 || count > CONFIG_PERCENTILES_MAX) {
        *error = "wrong number of arguments";
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!num_parse_double(words[i], &values[i])) {
            *error = "Invalid latency-tracking-info-percentiles parameters";
            return false;
        }
        if (values[i] < 0.0 || values[i] > 100.0) {
            *error = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
            return false;
        }
    }
    memcpy(config->percentiles, values, sizeof(values));
    config->percentile_count = count;
    return true;
}

void config_get_percentiles(const struct config *config, struct buf *out)
{
    for (unsigned i = 0; i < config->percentile_count; i++) {
        buf_printf(out, "%s%.10g", i == 0 ? "" : " ", config->percentiles[i]);
    }
}

/* ---- maxmemory-clients ---- */

bool config_set_clients_memory(struct config *config, const struct slice *words, unsigned count,
                               const char **error)
{
    if (count != 1) {
        *error = "wrong number of arguments";
        return false;
    }
    struct slice word = words[0];
    if (word.len > 1 && word.data[word.len - 1] == '%') {
        int64_t percent;
        if (!num_parse_i64(slice_part(word, 0, word.len - 1), &percent) || percent < 0) {
            *error = "argument must be a memory or percent value";
            return false;
        }
        if (percent > 100) {
            *error = "percentage argument must be less or equal to 100";
            return false;
        }
        config->clients_memory_max = -percent;
        return true;
    }
    uint64_t bytes;
    if (!num_parse_memory(word, &bytes) || bytes > INT64_MAX) {
        *error = "argument must be a memory or percent value";
        return false;
    }
    config->clients_memory_max = (int64_t)bytes;
    return true;
}

void config_get_clients_memory(const struct config *config, struct buf *out)
{
    if (config->clients_memory_max < 0) {
        buf_printf(out, "%lld%%", (long long)-config->clients_memory_max);
    } else {
        buf_printf(out, "%lld", (long long)config->clients_memory_max);
    }
}

/* ---- shutdown-on-sigint, shutdown-on-sigterm ---- */

static const struct config_word shutdown_words[] = {
    {"default", CONFIG_SHUTDOWN_DEFAULT}, {"save", CONFIG_SHUTDOWN_SAVE},
    {"nosave", CONFIG_SHUTDOWN_NOSAVE},   {"now", CONFIG_SHUTDOWN_NOW},
    {"force", CONFIG_SHUTDOWN_FORCE},     {NULL, 0},
};

static bool parse_shutdown(const struct slice *words, unsigned count, int64_t *out,
                           const char **error)
{
    int64_t bits = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct config_word *choice = shutdown_words;
        while (choice->name != NULL && !slice_is(words[i], choice->name)) {
            choice++;
        }
        if (choice->name == NULL) {
            *error = "argument(s) must be one of the following: default, save, nosave, now, force";
            return false;
        }
        bits |= choice->value;
    }
    if (count == 0 ||
        ((bits & CONFIG_SHUTDOWN_SAVE) != 0 && (bits & CONFIG_SHUTDOWN_NOSAVE) != 0)) {
        *error = "Invalid combination of arguments";
        return false;
    }
    *out = bits;
    return true;
}

static void print_shutdown(int64_t bits, struct buf *out)
{
    if (bits == 0) {
        buf_append_text(out, "default");
        return;
    }
    const char *separator = "";
    for (const struct config_word *choice = shutdown_words + 1; choice->name != NULL; choice++) {
        if ((bits & choice->value) != 0) {
            buf_printf(out, "%s%s", separator, choice->name);
            separator = " ";
        }
    }
}

bool config_set_sigint(struct config *config, const struct slice *words, unsigned count,
                       const char **error)
{
    return parse_shutdown(words, count, &config->shutdown_on_sigint, error);
}

void config_get_sigint(const struct config *config, struct buf *out)
{
    print_shutdown(config->shutdown_on_sigint, out);
}

bool config_set_sigterm(struct config *config, const struct slice *words, unsigned count,
                        const char **error)
{
    return parse_shutdown(words, count, &config->shutdown_on_sigterm, error);
}

void config_get_sigterm(const struct config *config, struct buf *out)
{
    print_shutdown(config->shutdown_on_sigterm, out);
}

/* ---- notify-keyspace-events ---- */

/* In the order in which they are printed; 'A' stands for all of "g$lshzxetd". Redis prints no 'n'
 * behind 'A', so that CONFIG REWRITE forgets it; here it is kept. */
static const struct {
    char letter;
    bool is_in_all;
    unsigned bit;
} event_letters[] = {
    {'g', true, EVENT_GENERIC},
    {'$', true, EVENT_STRING},
    {'l', true, EVENT_LIST},
    {'s', true, EVENT_SET},
    {'h', true, EVENT_HASH},
    {'z', true, EVENT_ZSET},
    {'x', true, EVENT_EXPIRED},
    {'e', true, EVENT_EVICTED},
    {'t', true, EVENT_STREAM},
    {'d', true, EVENT_MODULE},
    {'n', false, EVENT_NEW},
    {'K', false, CONFIG_EVENTS_BY_KEY},
    {'E', false, CONFIG_EVENTS_BY_EVENT},
    {'m', false, EVENT_MISS},
};

enum { EVENT_LETTER_COUNT = sizeof(event_letters) / sizeof(event_letters[0]) };

/* The bits of a letter; 0: there is no such. */
static unsigned event_bits(char letter)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < EVENT_LETTER_COUNT; i++) {
        if (event_letters[i].letter == letter || (letter == 'A' && event_letters[i].is_in_all)) {
            bits |= event_letters[i].bit;
        }
    }
    return bits;
}

bool config_set_events(struct config *config, const struct slice *words, unsigned count,
                       const char **error)
{
    unsigned bits = 0;
    struct slice word = count == 1 ? words[0] : slice_of("!", 1);
    for (size_t i = 0; i < word.len; i++) {
        unsigned more = event_bits(word.data[i]);
        if (more == 0) {
            *error = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
            return false;
        }
        bits |= more;
    }
    config->events = bits;
    return true;
}

void config_get_events(const struct config *config, struct buf *out)
{
    unsigned all = event_bits('A');
    bool has_all = (config->events & all) == all;
    if (has_all) {
        buf_append_byte(out, 'A');
    }
    for (unsigned i = 0; i < EVENT_LETTER_COUNT; i++) {
        if ((config->events & event_letters[i].bit) != 0 &&
            !(has_all && event_letters[i].is_in_all)) {
            buf_append_byte(out, event_letters[i].letter);
        }
    }
}

/* ---- replicaof ---- */

bool config_set_replicaof(struct config *config, const struct slice *words, unsigned count,
                          const char **error)
{
    int64_t port;
    bool is_nobody = (count == 1 && words[0].len == 0) ||
                     (count == 2 && slice_is(words[0], "no") && slice_is(words[1], "one"));
    if (is_nobody) {
        config_replace_text(&config->replicaof, slice_from_text(""));
        return true;
    }
    if (count != 2) {
        *error = "wrong number of arguments";
        return false;
    }
    if (!repl_is_host(words[0])) {
        *error = "Invalid master host";
        return false;
    }
    if (!num_parse_i64(words[1], &port) || port < 0 || port > UINT16_MAX) {
        *error = "Invalid master port";
        return false;
    }
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%.*s %lld", (int)words[0].len, words[0].data, (long long)port);
    config_replace_text(&config->replicaof, buf_slice(&text));
    buf_deinit(&text);
    return true;
}

void config_get_replicaof(const struct config *config, struct buf *out)
{
    buf_append_text(out, config->replicaof);
}

/* ---- oom-score-adj-values ---- */

enum { OOM_VALUE_MAX = 2000 };

bool config_set_oom_values(struct config *config, const struct slice *words, unsigned count,
                           const char **error)
{
    int64_t values[3];
    if (count != 3) {
        *error = "wrong number of arguments";
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!num_parse_i64(words[i], &values[i]) || values[i] < -OOM_VALUE_MAX ||
            values[i] > OOM_VALUE_MAX) {
            *error = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
            return false;
        }
    }
    memcpy(config->oom_values, values, sizeof(values));
    return true;
}

void config_get_oom_values(const struct config *config, struct buf *out)
{
    buf_printf(out, "%lld %lld %lld", (long long)config->oom_values[0],
               (long long)config->oom_values[1], (long long)config->oom_values[2]);
}
