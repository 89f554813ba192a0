/* DUMP, RESTORE and RESTORE-ASKING: a value as bytes that other servers read, and back.
 *
 * A payload is checked before it is read, and reading it makes a new value; only then does it take
 * the place of an old one. Long payloads are written and read in slices. In the log and at the
 * replicas a restored value has an absolute time. */
#include <endian.h>

#include "base/num.h"
#include "base/pieces.h"
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/codec/codec.h"
#include "types/string/string.h"

#define ERR_BUSY_KEY "BUSYKEY Target key name already exists."
#define ERR_PAYLOAD "ERR DUMP payload version or checksum are wrong"
#define ERR_FORMAT "ERR Bad data format"

#ifdef OURO_HOSTILE
enum { DUMP_PIECE = 16, DUMP_OF_SIZE = 16, RESTORE_OF_SIZE = 4 };
#else
enum {
    DUMP_PIECE = 16 * 1024, /* Bytes that are moved on to the reply at once. */
    DUMP_OF_SIZE = 1024,    /* Bytes of a value that count as one element. */
    RESTORE_OF_SIZE = 16,   /* Bytes of a payload that count as one element. */
};
#endif

enum { DUMP_SAMPLES = 8 }; /* Elements whose size is looked at. */

/* A payload under way: its bytes wait, in pieces, for the length that precedes them. */
struct dumping {
    struct codec_out out;
    struct reply found;
    uint64_t crc;
    size_t len;
    size_t step; /* Elements that are written before it is moved on. */
};

/* Long bytes, those of one element, move by reference. */
static void dumping_move(struct dumping *dumping)
{
    struct blob *blob = dumping->out.blob;
    if (blob == NULL) {
        return;
    }
    dumping->crc = pieces_crc64(dumping->crc, blob_slice(blob));
    dumping->len += blob->len;
    if (blob->len < BLOB_LEN_MIN) {
        reply_raw(&dumping->found, blob_slice(blob));
        blob->len = 0;
        return;
    }
    reply_bytes_blob(&dumping->found, blob);
    codec_out_deinit(&dumping->out);
}

/* A long string goes to the reply by reference. */
static void dumping_string(struct dumping *dumping, const struct value *value, struct blob *blob)
{
    struct codec_writer writer;
    codec_write_begin(&writer, value);
    codec_write_type(&writer, &dumping->out);
    codec_out_len(&dumping->out, blob->len);
    dumping_move(dumping);
    dumping->crc = pieces_crc64(dumping->crc, blob_slice(blob));
    dumping->len += blob->len;
    reply_bytes_blob(&dumping->found, blob);
}

static bool dumping_elements(struct call *call, const struct value *value, struct dumping *dumping)
{
    struct codec_writer writer;
    codec_write_begin(&writer, value);
    while (!codec_write_step(&writer, &dumping->out, dumping->step)) {
        /* A step may write nothing, and there is no blob after a move. */
        if (dumping->out.blob != NULL && dumping->out.blob->len >= DUMP_PIECE) {
            dumping_move(dumping);
        }
        if (!call_yield(call)) {
            return false;
        }
    }
    return true;
}

/* The same bytes as codec_dump makes, with yields. False: given up, or no memory. */
static bool dumping_fill(struct call *call, const struct value *value, struct dumping *dumping)
{
    struct blob *blob = value_kind(value) == VALUE_STRING ? string_blob(value) : NULL;
    if (blob != NULL) {
        dumping_string(dumping, value, blob);
    } else if (!dumping_elements(call, value, dumping)) {
        return false;
    }
    uint16_t version = htole16((uint16_t)codec_version_of(value));
    codec_out_bytes(&dumping->out, slice_of(&version, sizeof(version)));
    dumping_move(dumping);
    uint64_t crc = htole64(dumping->crc);
    codec_out_bytes(&dumping->out, slice_of(&crc, sizeof(crc)));
    dumping_move(dumping);
    return !dumping->out.is_failed;
}

static size_t dump_count(const struct value *value)
{
    switch (value_kind(value)) {
    case VALUE_LIST:
        return list_len(value);
    case VALUE_SET:
        return set_count(value);
    case VALUE_ZSET:
        return zset_count(value);
    case VALUE_HASH:
        return hash_count(value);
    case VALUE_STREAM:
        return stream_meta(value)->count;
    default:
        return 1;
    }
}

static void dump_in_slices(struct call *call, const struct value *value)
{
    size_t bytes_each = value_ops_of(value)->memory(value, DUMP_SAMPLES) / (dump_count(value) + 1);
    struct dumping dumping = {.step = bytes_each < DUMP_PIECE / SLICED_STEP ? SLICED_STEP : 1};
    reply_init(&dumping.found, call->out->pool);
    call_breathe(call, true);
    if (dumping_fill(call, value, &dumping)) {
        reply_number(call->out, '$', (int64_t)dumping.len);
        reply_splice(call->out, &dumping.found);
        reply_raw(call->out, slice_of("\r\n", 2));
    } else {
        reply_error(call->out, ERR_NO_MEMORY);
    }
    reply_deinit(&dumping.found);
    codec_out_deinit(&dumping.out);
}

/* Elements, or as many as its bytes stand for, when there are few long ones. */
static size_t dump_size(const struct value *value)
{
    size_t bytes = value_ops_of(value)->memory(value, DUMP_SAMPLES);
    size_t count = dump_count(value);
    return bytes / DUMP_OF_SIZE > count ? bytes / DUMP_OF_SIZE : count;
}

/* DUMP key */
static void dump_run(struct call *call)
{
    const struct value *value = call_peek(call, 1, FIND_READ);
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    if (call_slice(call, dump_size(value))) {
        return;
    }
    if (call->sliced != NULL) {
        dump_in_slices(call, value);
        return;
    }
    struct blob *payload = codec_dump(value);
    if (payload == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    reply_bulk_blob(call->out, payload, 0, payload->len);
    blob_drop(payload);
}

struct restore {
    int64_t ttl_ms;  /* As given; after restore_times the moment in unix ms, 0: none. */
    int64_t idle_s;  /* -1: not given. */
    int64_t counter; /* Access frequency; -1: not given. */
    bool is_replace, is_absolute;
};

static bool restore_parse(struct call *call, struct restore *restore)
{
    *restore = (struct restore){.idle_s = -1, .counter = -1};
    for (uint32_t i = 4; i < call->args.count; i++) {
        bool has_more = i + 1 < call->args.count;
        if (call_is(call, i, "REPLACE")) {
            restore->is_replace = true;
        } else if (call_is(call, i, "ABSTTL")) {
            restore->is_absolute = true;
        } else if (call_is(call, i, "IDLETIME") && has_more && restore->counter == -1) {
            if (!call_i64(call, ++i, &restore->idle_s, NULL)) {
                return false;
            }
            if (restore->idle_s < 0) {
                reply_error(call->out, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (call_is(call, i, "FREQ") && has_more && restore->idle_s == -1) {
            if (!call_i64(call, ++i, &restore->counter, NULL)) {
                return false;
            }
            if (restore->counter < 0 || restore->counter > 255) {
                reply_error(call->out, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Reads the time to live and makes it a moment. */
static bool restore_times(struct call *call, struct restore *restore)
{
    if (!call_i64(call, 2, &restore->ttl_ms, NULL)) {
        return false;
    }
    if (restore->ttl_ms < 0) {
        reply_error(call->out, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    if (restore->ttl_ms > 0 && !restore->is_absolute) {
        if (__builtin_add_overflow(restore->ttl_ms, call->now->wall_ms, &restore->ttl_ms)) {
            restore->ttl_ms = INT64_MAX;
        }
    }
    return true;
}

/* Whether the checksum holds. May yield; false also when given up. */
static bool payload_is_whole(struct call *call, struct slice payload)
{
    struct slice checked;
    uint64_t wanted;
    return codec_payload_open(payload, &checked, &wanted) && pieces_crc64(0, checked) == wanted &&
           call_yield(call);
}

/* As codec_restore, with yields. */
static enum codec_result build_value(struct call *call, struct slice payload,
                                     const struct codec_rules *rules, struct value **value)
{
    struct codec_reader reader = {.at = payload.data + 1,
                                  .end = payload.data + payload.len - CODEC_FOOTER_LEN};
    struct codec_builder builder = {.rules = rules, .type = (uint8_t)payload.data[0]};
    if (payload.len <= CODEC_FOOTER_LEN) {
        return CODEC_BAD;
    }
    enum codec_build built;
    do {
        built = codec_build_step(&builder, &reader, call->args.at[1], SLICED_STEP, value);
        if (built == CODEC_GOES_ON && !call_yield(call)) {
            built = CODEC_BROKEN;
        }
    } while (built == CODEC_GOES_ON);
    if (built == CODEC_BUILT && reader.at != reader.end) {
        value_free(*value, rules->work);
        built = CODEC_BROKEN;
    }
    codec_build_drop(&builder);
    return built == CODEC_BUILT ? CODEC_OK : built == CODEC_FULL ? CODEC_NO_MEMORY : CODEC_BAD;
}

/* The value of the payload; NULL: the error is in the reply. */
static struct value *restore_value(struct call *call)
{
    struct slice payload = call->args.at[3];
    if (!payload_is_whole(call, payload)) {
        reply_error(call->out, ERR_PAYLOAD);
        return NULL;
    }
    const struct codec_rules rules = {.limits = call->family,
                                      .hash_seed = keyspace_hash_seed(exec_keyspace(call->exec)),
                                      .work = exec_work(call->exec)};
    struct value *value = NULL;
    enum codec_result result = call->sliced != NULL
                                   ? build_value(call, payload, &rules, &value)
                                   : codec_restore(payload, call->args.at[1], &rules, &value);
    switch (result) {
    case CODEC_OK:
        return value;
    case CODEC_BAD:
        reply_error(call->out, ERR_FORMAT);
        return NULL;
    case CODEC_NO_MEMORY:
        break;
    }
    reply_error(call->out, ERR_NO_MEMORY);
    return NULL;
}

/* The command with its time made absolute. */
static void restore_effect(struct call *call, const struct restore *restore)
{
    if (restore->ttl_ms == 0 || restore->is_absolute || !call_wants_effects(call)) {
        return;
    }
    char digits[NUM_I64_TEXT_MAX + 1];
    struct slice args[12]; /* Four, and at most REPLACE, IDLETIME or FREQ with its value, ABSTTL. */
    uint32_t count = 0;
    for (; count < 4; count++) {
        args[count] = call->args.at[count];
    }
    args[2] = slice_of(digits, num_format_i64(digits, restore->ttl_ms));
    if (restore->is_replace) {
        args[count++] = slice_from_text("REPLACE");
    }
    char number[NUM_I64_TEXT_MAX + 1];
    if (restore->idle_s >= 0 || restore->counter >= 0) {
        bool is_idle = restore->idle_s >= 0;
        args[count++] = slice_from_text(is_idle ? "IDLETIME" : "FREQ");
        args[count++] =
            slice_of(number, num_format_i64(number, is_idle ? restore->idle_s : restore->counter));
    }
    args[count++] = slice_from_text("ABSTTL");
    call_effect(call, args, count);
}

/* A value whose time is over already: the key is as good as deleted. */
static void restore_expired(struct call *call, struct value *value)
{
    value_free(value, exec_work(call->exec));
    struct place place = call_peek_place(call, 1, FIND_NO_TOUCH);
    if (place.value != NULL) {
        call_remove(call, 1, place);
        call_changed(call, 1, "del");
        struct slice args[] = {slice_from_text("DEL"), call->args.at[1]};
        call_effect(call, args, 2);
    }
    reply_ok(call->out);
}

/* RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency] */
static void restore_run(struct call *call)
{
    struct restore restore;
    if (!restore_parse(call, &restore)) {
        return;
    }
    if (!restore.is_replace && call_peek(call, 1, FIND_NO_TOUCH) != NULL) {
        reply_error(call->out, ERR_BUSY_KEY);
        return;
    }
    if (!restore_times(call, &restore) ||
        call_slice(call, call->args.at[3].len / RESTORE_OF_SIZE)) {
        return;
    }
    call_breathe(call, true);
    struct value *value = restore_value(call);
    call_breathe(call, false);
    if (value == NULL) {
        return;
    }
    if (restore.ttl_ms > 0 && restore.ttl_ms <= call->now->wall_ms) {
        restore_expired(call, value);
        return;
    }
    struct place place = call_insert(call, 1, value);
    if (restore.ttl_ms > 0 &&
        !db_set_expire(call->db, call_hash(call, 1), &place, restore.ttl_ms)) {
        call_remove(call, 1, place);
        reply_error(call->out, ERR_NO_MEMORY);
        call_changed(call, 1, "del");
        struct slice args[] = {slice_from_text("DEL"), call->args.at[1]};
        call_effect(call, args, 2);
        return;
    }
    if (restore.idle_s >= 0 || restore.counter >= 0) {
        keyspace_set_access(exec_keyspace(call->exec), place.value, restore.idle_s,
                            (int)restore.counter, call->now->wall_ms);
    }
    restore_effect(call, &restore);
    call_changed(call, 1, "restore");
    reply_ok(call->out);
}

#define RESTORE_SYNTAX                                                                             \
    "key ttl:integer serialized-value [REPLACE]@3.0.0 [ABSTTL]@5.0.0 "                             \
    "[IDLETIME seconds:integer]@5.0.0 [FREQ frequency:integer]@5.0.0"
#define RESTORE_COMPLEXITY "O(N) where N is the length of the payload; O(N*log(N)) for sorted sets."

static const struct command dump_rows[] = {
    {.name = "dump",
     .run = dump_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.6.0",
     .group = "generic",
     .complexity = "O(N) where N is the size of the value.",
     .summary = "Returns what a key holds as bytes that RESTORE takes.",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "restore",
     .run = restore_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "generic",
     .complexity = RESTORE_COMPLEXITY,
     .summary = "Makes a key of what DUMP returned.",
     .syntax = RESTORE_SYNTAX,
     .history = "3.0.0 Added the `REPLACE` modifier.\n"
                "5.0.0 Added the `ABSTTL` modifier.\n"
                "5.0.0 Added the `IDLETIME` and `FREQ` options."},
    {.name = "restore-asking",
     .run = restore_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_ASKING | CMD_SYSTEM,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "3.0.0",
     .group = "server",
     .complexity = RESTORE_COMPLEXITY,
     .summary = "RESTORE for a slot that is on its way here, for the cluster's own use.",
     .syntax = RESTORE_SYNTAX,
     .history = "3.0.0 Added the `REPLACE` modifier.\n"
                "5.0.0 Added the `ABSTTL` modifier.\n"
                "5.0.0 Added the `IDLETIME` and `FREQ` options."},
};

void commands_register_dump(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, dump_rows, sizeof(dump_rows) / sizeof(dump_rows[0]), limits);
}
