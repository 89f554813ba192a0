/* A small table of replicas that could not use what they got. A 7.0 server that cannot load a file
 * asks for the next at once: without this, hundreds of walks per second.
 *
 * Names are what replicas announce, so the table is bounded: the entry that is due first gives way,
 * which only shortens somebody's waiting. An entry whose replica has stayed away for as long as the
 * longest wait is forgotten. */
#include "repl/backoff.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum {
    WAIT_S_MIN = 1,
    WAIT_S_MAX = 60,
    DOUBLINGS_MAX = 6, /* 64 s, which is cut to WAIT_S_MAX. */
    US_PER_S = 1000000,
};

static bool is_stale(const struct backoff_entry *entry, int64_t now_us)
{
    return now_us - entry->due_us > (int64_t)WAIT_S_MAX * US_PER_S;
}

static int find(const struct backoff *backoff, const char *name)
{
    for (int i = 0; i < BACKOFF_ENTRIES_MAX; i++) {
        if (strcmp(backoff->entries[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int64_t backoff_due_us(const struct backoff *backoff, const char *name, int64_t now_us)
{
    int at = find(backoff, name);
    bool must_wait = at >= 0 && backoff->entries[at].due_us > now_us;
    return must_wait ? backoff->entries[at].due_us : now_us;
}

/* A free entry, or the one that is due first. */
static struct backoff_entry *take_entry(struct backoff *backoff)
{
    struct backoff_entry *chosen = &backoff->entries[0];
    for (int i = 0; i < BACKOFF_ENTRIES_MAX; i++) {
        struct backoff_entry *entry = &backoff->entries[i];
        if (entry->name[0] == '\0') {
            return entry;
        }
        chosen = entry->due_us < chosen->due_us ? entry : chosen;
    }
    return chosen;
}

int64_t backoff_failed(struct backoff *backoff, const char *name, int64_t now_us)
{
    ASSERT(name[0] != '\0' && strlen(name) < BACKOFF_NAME_MAX);
    int at = find(backoff, name);
    struct backoff_entry *entry = at >= 0 ? &backoff->entries[at] : take_entry(backoff);
    if (at < 0 || is_stale(entry, now_us)) {
        *entry = (struct backoff_entry){.failures = 0};
        snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    unsigned doublings = entry->failures < DOUBLINGS_MAX ? entry->failures : DOUBLINGS_MAX;
    int64_t wait_s = (int64_t)WAIT_S_MIN << doublings;
    wait_s = wait_s < WAIT_S_MAX ? wait_s : WAIT_S_MAX;
    entry->failures++;
    entry->due_us = now_us + wait_s * US_PER_S;
    return wait_s;
}

void backoff_forgive(struct backoff *backoff, const char *name)
{
    int at = find(backoff, name);
    if (at >= 0) {
        backoff->entries[at] = (struct backoff_entry){.failures = 0};
    }
}
