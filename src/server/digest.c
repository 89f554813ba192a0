/* DEBUG DIGEST and DIGEST-VALUE: forty digits that are equal when the data is, here and in Redis
 * 7.0, so that tests compare servers without reading everything.
 *
 * Two operations on 20 bytes, made of SHA-1, as Redis has them:
 *
 *     join   digest ^= sha1(bytes)                          for what has no order
 *     mix    digest ^= sha1(bytes); digest = sha1(digest)   for what has
 *
 *     string    mix(text)                     set      join(member) of each
 *     list      mix(element) of each          hash     join(mix(field), mix(value)) of each
 *     zset      join(mix(member), mix(score as %.17g)) of each
 *     stream    of each entry mix("ms.seq"), then mix(field), mix(value) of its pairs
 *     value     mix(kind's number), the above, and join("!!expire!!") when it has a time to live
 *     key       mix(key), value
 *     all       of each database that is not empty mix(its number), then join(key) of each key
 *
 * A field of a hash that expires joins "!!hexpire!!" to its pair, as in Redis 7.4; groups of
 * streams are left out, as in Redis. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/assert.h"
#include "ds/pack.h"
#include "server/server.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/stream/stream.h"
#include "types/string/string.h"
#include "types/zset/zset.h"

enum {
    DIGEST_LEN = 20,
    SCAN_STEP = 1024,   /* Keys per step of a walk over a database. */
    SCORE_LEN_MAX = 64, /* "%.17g" */
    ID_LEN_MAX = 48,    /* "18446744073709551615.18446744073709551615" */
    REDIS_KIND_STREAM = 6,
};

struct digest {
    unsigned char bytes[DIGEST_LEN];
};

/* SHA-1, looked up once. */
struct digester {
    EVP_MD *kind;
    EVP_MD_CTX *context;
};

static struct digester digester_open(void)
{
    struct digester digester = {.kind = EVP_MD_fetch(NULL, "SHA1", NULL),
                                .context = EVP_MD_CTX_new()};
    ASSERT(digester.kind != NULL && digester.context != NULL);
    return digester;
}

static void digester_close(struct digester *digester)
{
    EVP_MD_CTX_free(digester->context);
    EVP_MD_free(digester->kind);
}

/* ---- The two operations ---------------------------------------------------------------------- */

static struct digest sha1(struct digester *digester, struct slice bytes)
{
    struct digest sum;
    bool is_good = EVP_DigestInit_ex(digester->context, digester->kind, NULL) == 1 &&
                   EVP_DigestUpdate(digester->context, bytes.data, bytes.len) == 1 &&
                   EVP_DigestFinal_ex(digester->context, sum.bytes, NULL) == 1;
    ASSERT(is_good);
    return sum;
}

static void join(struct digester *digester, struct digest *digest, struct slice bytes)
{
    struct digest sum = sha1(digester, bytes);
    for (int i = 0; i < DIGEST_LEN; i++) {
        digest->bytes[i] ^= sum.bytes[i];
    }
}

static struct slice digest_slice(const struct digest *digest)
{
    return slice_of(digest->bytes, DIGEST_LEN);
}

static void mix(struct digester *digester, struct digest *digest, struct slice bytes)
{
    join(digester, digest, bytes);
    *digest = sha1(digester, digest_slice(digest));
}

static void mix_number(struct digester *digester, struct digest *digest, uint32_t number)
{
    uint32_t bytes = htonl(number);
    mix(digester, digest, slice_of(&bytes, sizeof(bytes)));
}

/* ---- Kinds ----------------------------------------------------------------------------------- */

static void mix_list(struct digester *digester, struct digest *digest, const struct value *value)
{
    struct list_iterator iterator;
    struct list_item item;
    struct list_scratch scratch;
    list_iterate(value, 0, false, &iterator);
    while (list_next(&iterator, &item)) {
        mix(digester, digest, list_item_text(&item, &scratch));
    }
}

static void mix_set(struct digester *digester, struct digest *digest, const struct value *value)
{
    struct set_walk walk;
    struct set_item item;
    struct set_scratch scratch;
    set_walk_begin(&walk, value);
    while (set_walk_next(&walk, &item)) {
        join(digester, digest, set_item_text(&item, &scratch));
    }
}

static void mix_zset(struct digester *digester, struct digest *digest, const struct value *value)
{
    struct zset_walk walk;
    struct zset_item item;
    char score[SCORE_LEN_MAX];
    zset_walk_begin(&walk, value, 0, false);
    while (zset_walk_next(&walk, &item)) {
        struct digest sum = {0};
        int len = snprintf(score, sizeof(score), "%.17g", item.score);
        mix(digester, &sum, item.member);
        mix(digester, &sum, slice_of(score, (size_t)len));
        join(digester, digest, digest_slice(&sum));
    }
}

static void mix_hash(struct digester *digester, struct digest *digest, const struct value *value,
                     int64_t now_ms)
{
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    char digits[PACK_DIGITS];
    walk.hidden_ms = now_ms;
    while (hash_walk_next(&walk, &pair)) {
        struct digest sum = {0};
        mix(digester, &sum, pack_text(&pair.field, digits));
        mix(digester, &sum, pack_text(&pair.text, digits));
        if (pair.expire_ms != HASH_NO_EXPIRE) {
            join(digester, &sum, slice_from_text("!!hexpire!!"));
        }
        join(digester, digest, digest_slice(&sum));
    }
}

static void mix_stream(struct digester *digester, struct digest *digest, const struct value *value)
{
    struct stream_walk walk;
    struct stream_entry entry;
    struct stream_item field, text;
    struct stream_scratch scratch;
    char id[ID_LEN_MAX];
    stream_walk_begin(&walk, value, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_walk_next(&walk, &entry)) {
        int len = snprintf(id, sizeof(id), "%llu.%llu", (unsigned long long)entry.id.ms,
                           (unsigned long long)entry.id.seq);
        mix(digester, digest, slice_of(id, (size_t)len));
        while (stream_entry_next(&entry, &field, &text)) {
            mix(digester, digest, stream_item_text(&field, &scratch));
            mix(digester, digest, stream_item_text(&text, &scratch));
        }
    }
}

static void mix_value(struct digester *digester, struct digest *digest, const struct value *value,
                      int64_t now_ms)
{
    struct string_scratch scratch;
    enum value_kind kind = value_kind(value);
    mix_number(digester, digest, kind == VALUE_STREAM ? REDIS_KIND_STREAM : (uint32_t)kind);
    switch (kind) {
    case VALUE_STRING:
        mix(digester, digest, string_get(value, &scratch));
        break;
    case VALUE_LIST:
        mix_list(digester, digest, value);
        break;
    case VALUE_SET:
        mix_set(digester, digest, value);
        break;
    case VALUE_ZSET:
        mix_zset(digester, digest, value);
        break;
    case VALUE_HASH:
        mix_hash(digester, digest, value, now_ms);
        break;
    case VALUE_STREAM:
        mix_stream(digester, digest, value);
        break;
    case VALUE_KIND_COUNT:
    default:
        ASSERT(false);
    }
    if (value_has_expire(value)) {
        join(digester, digest, slice_from_text("!!expire!!"));
    }
}

/* ---- Everything ------------------------------------------------------------------------------ */

struct digest_walk {
    struct digester digester;
    struct digest keys; /* Of one database. */
    int64_t now_ms;
    bool has_keys;
};

static void on_key(void *context, struct slice key, const struct value *value)
{
    struct digest_walk *walk = context;
    struct digest digest = {0};
    mix(&walk->digester, &digest, key);
    mix_value(&walk->digester, &digest, value, walk->now_ms);
    join(&walk->digester, &walk->keys, digest_slice(&digest));
    walk->has_keys = true;
}

static void mix_database(struct digest_walk *walk, struct digest *digest, struct db *db,
                         unsigned index)
{
    uint64_t cursor = 0;
    walk->keys = (struct digest){0};
    walk->has_keys = false;
    do {
        cursor = db_scan(db, cursor, SCAN_STEP, walk->now_ms, on_key, walk);
    } while (cursor != 0);
    if (walk->has_keys) {
        mix_number(&walk->digester, digest, index);
        for (int i = 0; i < DIGEST_LEN; i++) {
            digest->bytes[i] ^= walk->keys.bytes[i];
        }
    }
}

static void reply_digest(struct call *call, const struct digest *digest)
{
    char text[DIGEST_LEN * 2 + 1];
    for (size_t i = 0; i < DIGEST_LEN; i++) {
        snprintf(text + i * 2, 3, "%02x", digest->bytes[i]);
    }
    reply_status(call->out, text);
}

void debug_digest(struct call *call)
{
    const struct server *server = call->family;
    struct digest_walk walk = {.digester = digester_open(), .now_ms = call->now->wall_ms};
    struct digest digest = {0};
    for (unsigned i = 0; i < keyspace_db_count(server->keyspace); i++) {
        mix_database(&walk, &digest, keyspace_db(server->keyspace, i), i);
    }
    digester_close(&walk.digester);
    reply_digest(call, &digest);
}

void debug_digest_value(struct call *call)
{
    struct digester digester = digester_open();
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        const struct value *value = call_peek(call, i, FIND_NO_TOUCH);
        struct digest digest = {0};
        if (value != NULL) {
            mix_value(&digester, &digest, value, call->now->wall_ms);
        }
        reply_digest(call, &digest);
    }
    digester_close(&digester);
}
