/* What tests of the key and string commands share: a fixture with these families, and a record of
 * the effects and events that they report, as text:
 *
 *     effects  "SET k v PXAT 2000;DEL k;"
 *     events   "set:k;expire:k;"
 *
 * With has_units set the effects show what belongs together, and how many it were told to be:
 *
 *     "[SADD s a;DEL k]2;" */
#pragma once

#include "commands/commands.h"
#include "tests/unit/exec/fixture.h"
#include "types/limits.h"

struct record {
    struct buf effects, events;
    bool has_units; /* The record shows them. */
    bool is_in_unit;
    unsigned change_count;
};

struct family {
    struct fixture fixture;
    struct record record;
    struct type_limits limits; /* A test may set its own. */
};

static inline void record_on_begin(void *context)
{
    struct record *record = context;
    CHECK(!record->is_in_unit);
    record->is_in_unit = true;
    if (record->has_units) {
        buf_append_byte(&record->effects, '[');
    }
}

static inline void record_on_end(void *context, uint64_t count)
{
    struct record *record = context;
    CHECK(record->is_in_unit && count != 0);
    record->is_in_unit = false;
    if (record->has_units) {
        record->effects.len--; /* The semicolon. */
        buf_printf(&record->effects, "]%u;", (unsigned)count);
    }
}

static inline void record_on_command(void *context, const struct effect *effect)
{
    struct record *record = context;
    CHECK(record->is_in_unit);
    for (uint32_t i = 0; i < effect->count; i++) {
        buf_append_text(&record->effects, i == 0 ? "" : " ");
        buf_append(&record->effects, effect->args[i]);
    }
    buf_append_byte(&record->effects, ';');
}

static inline void record_on_event(void *context, struct db *db, struct slice key,
                                   const char *event, enum event_class event_class)
{
    struct record *record = context;
    (void)db;
    (void)event_class;
    if (strcmp(event, "keymiss") == 0) {
        return;
    }
    buf_printf(&record->events, "%s:%.*s;", event, (int)key.len, key.data);
}

static inline void record_on_change(void *context, struct db *db, struct slice key,
                                    const struct call *call)
{
    struct record *record = context;
    (void)db;
    (void)key;
    (void)call;
    record->change_count++;
}

static inline void family_init(struct family *family)
{
    static const struct connection_family identity = {
        .version = "7.2.0", .mode = "standalone", .role = "master"};
    memset(family, 0, sizeof(*family));
    fixture_init(&family->fixture);
    family->limits = type_limits_default();
    commands_register_all(family->fixture.exec, &identity, &family->limits);
    exec_check(family->fixture.exec);
    buf_init(&family->record.effects);
    buf_init(&family->record.events);
    exec_add_sink(family->fixture.exec, &(struct effect_sink){.on_begin = record_on_begin,
                                                              .on_end = record_on_end,
                                                              .on_command = record_on_command,
                                                              .on_event = record_on_event,
                                                              .event_classes = EVENT_CLASSES_ALL,
                                                              .on_change = record_on_change,
                                                              .context = &family->record});
}

static inline void family_deinit(struct family *family)
{
    for (unsigned i = 0; i < 4; i++) {
        db_check(keyspace_db(family->fixture.keyspace, i));
    }
    buf_deinit(&family->record.effects);
    buf_deinit(&family->record.events);
    fixture_deinit(&family->fixture);
}

/* Runs a line, and forgets what was recorded before it. */
static inline const char *family_say(struct family *family, const char *line)
{
    buf_clear(&family->record.effects);
    buf_clear(&family->record.events);
    family->record.change_count = 0;
    return say_through(&family->fixture, line);
}

static inline bool record_is(struct buf *buf, const char *wanted)
{
    buf_append_byte(buf, '\0');
    buf->len--;
    return is_text(buf->data, wanted);
}

/* Runs a line and compares its reply, effects and events. */
static inline bool family_does(struct family *family, const char *line, const char *reply,
                               const char *effects, const char *events)
{
    bool is_right = is_text(family_say(family, line), reply);
    is_right &= record_is(&family->record.effects, effects);
    is_right &= record_is(&family->record.events, events);
    if (!is_right) {
        fprintf(stderr, "line:   %s\n", line);
    }
    return is_right;
}

#define CHECK_DOES(family, line, reply, effects, events)                                           \
    CHECK(family_does(family, line, reply, effects, events))

/* The same, where nothing changes and nobody is told of anything. */
#define CHECK_ANSWERS(family, line, reply) CHECK_DOES(family, line, reply, "", "")

/* A case with a family of its own, which its body knows as `family`. */
#define FAMILY_TEST(room, sentence)                                                                \
    static void family_##room##_##sentence(struct family *family);                                 \
    TEST(room, sentence)                                                                           \
    {                                                                                              \
        struct family family;                                                                      \
        family_init(&family);                                                                      \
        family_##room##_##sentence(&family);                                                       \
        family_deinit(&family);                                                                    \
    }                                                                                              \
    static void family_##room##_##sentence(struct family *family)
