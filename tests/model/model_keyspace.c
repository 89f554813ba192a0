/* The keyspace against a naive twin: random commands on two databases, with time that moves, memory
 * that runs out, and every invariant checked after each step. */
#include "tests/unit/keyspace/keyspace_fixture.h"

enum {
    MODEL_DBS = 2,
    MODEL_KEYS = 96,
    MODEL_STEPS = 12000,
    MODEL_TEXT_MAX = 600,
};

struct twin_key {
    bool is_present;
    int64_t expire_ms; /* -1: none. */
    size_t len;
    char text[MODEL_TEXT_MAX];
};

struct model {
    struct fixture fixture;
    struct rng rng;
    int64_t now_ms;
    struct twin_key keys[MODEL_DBS][MODEL_KEYS];
};

/* What one step works on. */
struct target {
    struct db *db;
    struct twin_key *twin;
    unsigned db_index, key_index;
    char name[320];
    struct slice key;
    uint64_t hash;
    struct place place;
};

static unsigned below(struct model *model, unsigned bound)
{
    return (unsigned)rng_below(&model->rng, bound);
}

static void name_key(unsigned index, char *name, size_t size)
{
    snprintf(name, size, "key:%u", index);
    if (index % 16 == 0) { /* Some keys are long. */
        size_t len = strlen(name);
        memset(name + len, 'x', 290 - len);
        name[290] = '\0';
    }
}

static unsigned key_index_of(struct slice key)
{
    unsigned index = 0;
    for (size_t i = 4; i < key.len && key.data[i] != 'x'; i++) {
        index = index * 10 + (unsigned)(key.data[i] - '0');
    }
    return index;
}

static bool twin_is_live(const struct twin_key *twin, int64_t now_ms)
{
    return twin->is_present && (twin->expire_ms < 0 || twin->expire_ms >= now_ms);
}

static struct slice twin_text(const struct twin_key *twin)
{
    return slice_of(twin->text, twin->len);
}

/* Looks the key up as a command does; both sides agree on whether it is there. */
static struct target aim(struct model *model, unsigned db_index, unsigned key_index)
{
    struct target target = {.db = keyspace_db(model->fixture.keyspace, db_index),
                            .twin = &model->keys[db_index][key_index],
                            .db_index = db_index,
                            .key_index = key_index};
    name_key(key_index, target.name, sizeof(target.name));
    return target;
}

static void find(struct model *model, struct target *target)
{
    target->key = slice_from_text(target->name);
    target->hash = db_hash(target->db, target->key);
    target->place = db_find_place(target->db, target->key, target->hash, model->now_ms, 0);
    bool is_live = twin_is_live(target->twin, model->now_ms);
    CHECK((target->place.value != NULL) == is_live);
    target->twin->is_present = is_live;
    if (is_live) {
        struct string_scratch scratch;
        CHECK(slice_equal(string_get(target->place.value, &scratch), twin_text(target->twin)));
        CHECK(value_expire_ms(target->place.value) == target->twin->expire_ms);
    }
}

static struct slice random_text(struct model *model, char *out, unsigned len_max)
{
    if (below(model, 4) == 0) {
        return slice_of(out, (size_t)snprintf(out, 32, "%d", (int)below(model, 100000) - 50000));
    }
    size_t len = below(model, 3) == 0 ? below(model, len_max) : below(model, 40);
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)('a' + below(model, 26));
    }
    return slice_of(out, len);
}

static int64_t random_expire(struct model *model)
{
    static const int64_t spans_ms[] = {2, 20, 300, 5000, 100000, 10000000};
    int64_t span_ms = spans_ms[below(model, sizeof(spans_ms) / sizeof(spans_ms[0]))];
    return model->now_ms + (int64_t)below(model, (unsigned)span_ms);
}

/* One allocation in four commands fails. */
static void begin_failures(struct model *model)
{
    mem_fail_after(below(model, 4) == 0 ? 1 + below(model, 2) : 0);
}

static void end_failures(void)
{
    mem_fail_after(0);
}

/* SET key text [PXAT ms | KEEPTTL]; true when memory sufficed. */
static bool try_set(struct target *target, struct slice text, bool has_expire)
{
    if (target->place.value == NULL) {
        struct value *value = string_try_new(target->key, text, has_expire);
        if (value != NULL) {
            target->place = db_insert(target->db, target->hash, value);
        }
        return value != NULL;
    }
    bool had_expire = value_has_expire(target->place.value);
    if (!string_try_set(&target->place, text, has_expire)) {
        return false;
    }
    if (had_expire && !has_expire) {
        db_note_expire_lost(target->db, &target->place);
    }
    return true;
}

static void step_set(struct model *model, struct target *target)
{
    char bytes[MODEL_TEXT_MAX];
    struct slice text = random_text(model, bytes, MODEL_TEXT_MAX);
    bool keeps = target->place.value != NULL && value_has_expire(target->place.value) &&
                 below(model, 3) == 0;
    int64_t expire_ms = keeps                  ? target->twin->expire_ms
                        : below(model, 2) == 0 ? random_expire(model)
                                               : -1;
    begin_failures(model);
    bool has_set = try_set(target, text, expire_ms >= 0);
    end_failures();
    if (!has_set) {
        return;
    }
    if (expire_ms >= 0 && !keeps) {
        CHECK(db_set_expire(target->db, target->hash, &target->place, expire_ms));
    }
    target->twin->is_present = true;
    target->twin->expire_ms = expire_ms;
    target->twin->len = text.len;
    memcpy(target->twin->text, text.data, text.len);
}

static void step_replace(struct model *model, struct target *target)
{
    char bytes[MODEL_TEXT_MAX];
    struct slice text = random_text(model, bytes, MODEL_TEXT_MAX);
    if (target->place.value == NULL) {
        return;
    }
    struct value *value = string_try_new(target->key, text, false);
    db_replace(target->db, &target->place, value);
    target->twin->expire_ms = -1;
    target->twin->len = text.len;
    memcpy(target->twin->text, text.data, text.len);
}

static void step_append(struct model *model, struct target *target)
{
    char bytes[MODEL_TEXT_MAX];
    struct slice tail = random_text(model, bytes, 200);
    if (target->place.value == NULL || target->twin->len + tail.len > MODEL_TEXT_MAX) {
        return;
    }
    begin_failures(model);
    bool has_appended = string_try_append(&target->place, tail);
    end_failures();
    if (has_appended) {
        memcpy(target->twin->text + target->twin->len, tail.data, tail.len);
        target->twin->len += tail.len;
    }
}

static void step_set_range(struct model *model, struct target *target)
{
    char bytes[MODEL_TEXT_MAX];
    struct slice text = random_text(model, bytes, 50);
    size_t offset = below(model, MODEL_TEXT_MAX - 50);
    if (target->place.value == NULL || text.len == 0) {
        return;
    }
    begin_failures(model);
    bool has_set = string_try_set_range(&target->place, offset, text);
    end_failures();
    if (!has_set) {
        return;
    }
    struct twin_key *twin = target->twin;
    if (offset > twin->len) {
        memset(twin->text + twin->len, 0, offset - twin->len);
    }
    memcpy(twin->text + offset, text.data, text.len);
    twin->len = offset + text.len > twin->len ? offset + text.len : twin->len;
}

static void step_expire(struct model *model, struct target *target)
{
    if (target->place.value == NULL) {
        return;
    }
    int64_t expire_ms = random_expire(model);
    begin_failures(model);
    bool has_set = db_set_expire(target->db, target->hash, &target->place, expire_ms);
    end_failures();
    if (has_set) {
        target->twin->expire_ms = expire_ms;
    }
}

static void step_persist(struct model *model, struct target *target)
{
    if (target->place.value == NULL) {
        return;
    }
    begin_failures(model);
    bool had_expire = db_clear_expire(target->db, &target->place);
    end_failures();
    CHECK(had_expire == (target->twin->expire_ms >= 0));
    target->twin->expire_ms = -1;
}

static void step_remove(struct target *target)
{
    if (target->place.value != NULL) {
        db_remove(target->db, target->hash, target->place);
        target->twin->is_present = false;
    }
}

/* MOVE to the other database, if the key is not there. */
static void step_move(struct model *model, struct target *target)
{
    struct target other = aim(model, 1 - target->db_index, target->key_index);
    find(model, &other);
    if (target->place.value == NULL || other.place.value != NULL) {
        return;
    }
    struct value *value = db_take(target->db, target->hash, target->place);
    other.place = db_insert(other.db, other.hash, value);
    if (value_has_expire(value)) {
        CHECK(db_set_expire(other.db, other.hash, &other.place, value_expire_ms(value)));
    }
    *other.twin = *target->twin;
    target->twin->is_present = false;
}

static void step_copy(struct model *model, struct target *target)
{
    struct target other = aim(model, 1 - target->db_index, target->key_index);
    find(model, &other);
    if (target->place.value == NULL || other.place.value != NULL) {
        return;
    }
    const struct value *value = target->place.value;
    bool has_expire = value_has_expire(value);
    begin_failures(model);
    struct value *copy = value_ops_of(value)->copy(value, other.key, has_expire);
    end_failures();
    if (copy == NULL) {
        return;
    }
    other.place = db_insert(other.db, other.hash, copy);
    if (has_expire) {
        CHECK(db_set_expire(other.db, other.hash, &other.place, value_expire_ms(copy)));
    }
    *other.twin = *target->twin;
}

static void step_key(struct model *model)
{
    struct target target = aim(model, below(model, MODEL_DBS), below(model, MODEL_KEYS));
    find(model, &target);
    switch (below(model, 12)) {
    case 0:
    case 1:
    case 2:
        step_set(model, &target);
        return;
    case 3:
        step_append(model, &target);
        return;
    case 4:
        step_set_range(model, &target);
        return;
    case 5:
    case 6:
        step_expire(model, &target);
        return;
    case 7:
        step_persist(model, &target);
        return;
    case 8:
        step_remove(&target);
        return;
    case 9:
        step_move(model, &target);
        return;
    case 10:
        step_copy(model, &target);
        return;
    default:
        step_replace(model, &target);
        return;
    }
}

/* Time passes; after a full step no expired key is left. */
static void step_time(struct model *model)
{
    static const unsigned spans_ms[] = {1, 5, 100, 3000, 200000};
    model->now_ms += below(model, spans_ms[below(model, 5)]) + 1;
    bool is_whole = below(model, 2) == 0;
    int64_t deadline_us = is_whole ? INT64_MAX : INT64_MIN;
    bool has_more = keyspace_expire_step(model->fixture.keyspace, model->now_ms, deadline_us);
    CHECK(!is_whole || !has_more);
    for (unsigned i = 0; is_whole && i < MODEL_DBS; i++) {
        size_t live = 0;
        for (unsigned j = 0; j < MODEL_KEYS; j++) {
            live += twin_is_live(&model->keys[i][j], model->now_ms);
        }
        CHECK(db_count(keyspace_db(model->fixture.keyspace, i)) == live);
    }
}

static void on_scan(void *context, struct slice key, const struct value *value)
{
    unsigned char *seen = context;
    CHECK(slice_equal(key, value_key(value)));
    unsigned index = key_index_of(key);
    CHECK(index < MODEL_KEYS && seen[index] == 0);
    seen[index] = 1;
}

static void step_scan(struct model *model)
{
    unsigned db_index = below(model, MODEL_DBS);
    unsigned char seen[MODEL_KEYS] = {0};
    uint64_t cursor = 0;
    do {
        cursor = db_scan(keyspace_db(model->fixture.keyspace, db_index), cursor, below(model, 20),
                         model->now_ms, on_scan, seen);
    } while (cursor != 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        CHECK(seen[i] == twin_is_live(&model->keys[db_index][i], model->now_ms));
    }
}

static void step_random(struct model *model)
{
    unsigned db_index = below(model, MODEL_DBS);
    struct value *value = db_random(keyspace_db(model->fixture.keyspace, db_index), model->now_ms);
    size_t live = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        live += twin_is_live(&model->keys[db_index][i], model->now_ms);
    }
    CHECK((value != NULL) == (live > 0));
    if (value != NULL) {
        unsigned index = key_index_of(value_key(value));
        CHECK(twin_is_live(&model->keys[db_index][index], model->now_ms));
    }
}

static void step_flush(struct model *model)
{
    unsigned db_index = below(model, MODEL_DBS);
    db_flush(keyspace_db(model->fixture.keyspace, db_index), below(model, 2) == 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        model->keys[db_index][i].is_present = false;
    }
}

static void step_swap(struct model *model)
{
    keyspace_swap(model->fixture.keyspace, 0, 1);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        struct twin_key old = model->keys[0][i];
        model->keys[0][i] = model->keys[1][i];
        model->keys[1][i] = old;
    }
}

/* A few keys are evicted; the twin learns of them by looking. */
static void step_evict(struct model *model)
{
    struct keyspace *keyspace = model->fixture.keyspace;
    struct keyspace_config config = *keyspace_config(keyspace);
    config.policy = 1 + below(model, EVICT_VOLATILE_TTL);
    config.memory_max = keyspace_memory(keyspace) - 1;
    keyspace_configure(keyspace, &config);
    unsigned before = model->fixture.evicted;
    enum evict_result result = keyspace_evict_step(keyspace, model->now_ms, INT64_MIN);
    config.memory_max = 0;
    keyspace_configure(keyspace, &config);
    CHECK(result != EVICT_FULL || model->fixture.evicted == before);
    unsigned lost = 0;
    for (unsigned i = 0; i < MODEL_DBS * MODEL_KEYS; i++) {
        struct target target = aim(model, i / MODEL_KEYS, i % MODEL_KEYS);
        struct slice key = slice_from_text(target.name);
        bool was_live = twin_is_live(target.twin, model->now_ms);
        target.twin->is_present =
            db_find(target.db, key, db_hash(target.db, key), model->now_ms, FIND_NO_TOUCH) != NULL;
        CHECK(was_live || !target.twin->is_present);
        lost += was_live && !target.twin->is_present;
    }
    CHECK(lost == model->fixture.evicted - before);
}

static void model_step(struct model *model)
{
    unsigned choice = below(model, 200);
    if (choice < 150) {
        step_key(model);
    } else if (choice < 180) {
        step_time(model);
    } else if (choice < 185) {
        step_scan(model);
    } else if (choice < 190) {
        step_random(model);
    } else if (choice < 191) {
        step_flush(model);
    } else if (choice < 194) {
        step_swap(model);
    } else if (choice < 197) {
        step_evict(model);
    } else {
        work_run(&model->fixture.work, INT64_MIN);
    }
}

TEST(keyspace, behaves_as_its_naive_twin)
{
    struct model *model = mem_zalloc(sizeof(*model));
    fixture_open(&model->fixture);
    rng_seed(&model->rng, test_seed() + 1);
    model->now_ms = FIXTURE_NOW;
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        model_step(model);
        fixture_check(&model->fixture);
    }
    for (unsigned i = 0; i < MODEL_DBS * MODEL_KEYS; i++) {
        struct target target = aim(model, i / MODEL_KEYS, i % MODEL_KEYS);
        find(model, &target);
    }
    fixture_close(&model->fixture);
    mem_free(model);
}
