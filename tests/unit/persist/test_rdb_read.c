/* The parser of RDB files: what it hands back, whatever pieces it is given, and what it refuses. */
#include "base/buf.h"
#include "base/crc.h"
#include "base/mem.h"
#include "persist/rdb_read.h"
#include "tests/unit/test.h"
#include "types/string/string.h"

static const struct type_limits *limits(void)
{
    static struct type_limits standard;
    standard = type_limits_default();
    return &standard;
}

#define BYTES(text) slice_of(text, sizeof(text) - 1)

/* One file with a bit of everything. */
#define HEAD "REDIS0011"
#define AUX                                                                                        \
    "\xfa\x09redis-ver\x06"                                                                        \
    "7.0.15\xfa\x05"                                                                               \
    "ctime\xc2\x01\x02\x03\x04"
#define DB "\xfe\x02\xfb\x03\x01"
#define TIMED "\xfc\x10\x27\x00\x00\x00\x00\x00\x00\xf8\x07\x00\x01k\x05hello"
#define COUNTED "\xfd\x05\x00\x00\x00\xf9\x09\x02\x01s\x03\x01\x61\x01\x62\x01\x63"
#define FUNCTION                                                                                   \
    "\xf5\x04"                                                                                     \
    "code"
#define SLOT "\xf4\x05\x06\x07"
#define MODULE_AUX "\xf7\x81\x00\x00\x00\x00\x00\x00\x04\x01\x02\x02\x05\x03xyz\x00"
#define FOREIGN "\x07\x01x\x81\x00\x00\x00\x00\x00\x00\x04\x00\x02\x05\x00"
#define BODY AUX FUNCTION SLOT MODULE_AUX DB TIMED COUNTED FOREIGN

/* Makes a whole file: the end and, with is_summed, the right checksum. */
static void make_file(struct buf *file, struct slice bytes, bool is_summed)
{
    buf_init(file);
    buf_append(file, bytes);
    buf_append_byte(file, '\xff');
    uint64_t sum = is_summed ? crc64(0, buf_slice(file)) : 0;
    buf_append(file, slice_of(&sum, sizeof(sum)));
}

static struct rdb_reader_options options_of(bool skips_foreign)
{
    return (struct rdb_reader_options){.rules = {.limits = limits(), .hash_seed = 1},
                                       .elements_max = 2,
                                       .is_summing = true,
                                       .skips_foreign = skips_foreign};
}

/* Reads a file whose bytes appear `step` at a time, and writes down what comes. */
static void read_all(struct rdb_reader *reader, struct slice file, size_t step, char **window,
                     struct buf *story)
{
    size_t shown = 0;
    struct rdb_item item;
    for (;;) {
        switch (rdb_reader_next(reader, &item)) {
        case RDB_NEEDS_BYTES: {
            CHECK(rdb_reader_missing(reader) > 0);
            if (shown == file.len) {
                rdb_reader_end_early(reader);
                buf_append_text(story, "early;");
                return;
            }
            shown = shown + step < file.len ? shown + step : file.len;
            size_t at = (size_t)rdb_reader_offset(reader);
            /* A block of its own, so that the sanitizer sees what reaches beyond it. */
            char *fresh = mem_alloc(shown - at);
            memcpy(fresh, file.data + at, shown - at);
            rdb_reader_feed(reader, slice_of(fresh, shown - at));
            mem_free(*window);
            *window = fresh;
            break;
        }
        case RDB_PAUSED:
            break;
        case RDB_AUX:
            buf_printf(story, "aux %.*s=%.*s;", (int)item.name.len, item.name.data,
                       (int)item.text.len, item.text.data);
            break;
        case RDB_DB:
            buf_printf(story, "db %d;", (int)item.numbers[0]);
            break;
        case RDB_DB_SIZE:
            buf_printf(story, "size %d %d;", (int)item.numbers[0], (int)item.numbers[1]);
            break;
        case RDB_SLOT:
            buf_printf(story, "slot %d;", (int)item.numbers[0]);
            break;
        case RDB_FUNCTION:
            buf_printf(story, "function %.*s;", (int)item.text.len, item.text.data);
            break;
        case RDB_MODULE_AUX:
            buf_printf(story, "module %.*s;", (int)item.name.len, item.name.data);
            break;
        case RDB_VALUE:
            buf_printf(story, "%.*s at %d+%d type %d expires %d idle %d frequency %d;",
                       (int)item.key.len, item.key.data, (int)item.offset, (int)item.len, item.type,
                       (int)item.expire_ms, (int)item.idle_s, item.frequency);
            value_free(item.value, NULL);
            break;
        case RDB_SKIPPED:
            buf_printf(story, "no %.*s %.*s;", (int)item.name.len, item.name.data,
                       (int)item.key.len, item.key.data);
            break;
        case RDB_END:
            buf_append_text(story, "end;");
            return;
        case RDB_FAILED:
            buf_printf(story, "bad at %d: %s;", (int)reader->error_offset, reader->error);
            return;
        }
    }
}

/* Checks what a file reads as, in one piece and in small ones. */
static void check_story(struct slice file, bool skips_foreign, const char *wanted)
{
    for (size_t step = 1; step <= file.len + 1; step += step < 20 ? 1 : file.len) {
        struct rdb_reader reader;
        struct rdb_reader_options options = options_of(skips_foreign);
        struct buf story;
        buf_init(&story);
        rdb_reader_init(&reader, &options);
        char *window = NULL;
        read_all(&reader, file, step, &window, &story);
        rdb_reader_deinit(&reader);
        mem_free(window);
        if (!slice_equal(buf_slice(&story), slice_from_text(wanted))) {
            printf("step %zu: %.*s\n wanted: %s\n", step, (int)story.len, story.data, wanted);
            CHECK(false);
        }
        buf_deinit(&story);
    }
}

static void check_body(struct slice bytes, const char *wanted)
{
    struct buf file;
    make_file(&file, bytes, true);
    check_story(buf_slice(&file), false, wanted);
    buf_deinit(&file);
}

TEST(rdb_read, every_record_is_read_whatever_the_pieces_are)
{
    struct buf file;
    make_file(&file, BYTES(HEAD BODY), true);
    check_story(buf_slice(&file), true,
                "aux redis-ver=7.0.15;aux ctime=67305985;function code;slot 5;module AAAAAAAAB;"
                "db 2;size 3 1;"
                "k at 72+20 type 0 expires 10000 idle 7 frequency -1;"
                "s at 92+17 type 2 expires 5000 idle -1 frequency 9;"
                "no value of a module x;end;");
    buf_deinit(&file);
}

TEST(rdb_read, what_does_not_exist_here_is_refused_by_name_and_place)
{
    check_body(BYTES(HEAD MODULE_AUX),
               "bad at 9: data of the module 'AAAAAAAAB', which does not exist here;");
    check_body(BYTES(HEAD "\x07\x01m\x81\x00\x00\x00\x00\x00\x00\x04\x00\x00"),
               "bad at 9: key \"m\" is a value of a module named AAAAAAAAB (type 7), which does "
               "not exist here;");
    check_body(
        BYTES(HEAD "\x63\x01m"),
        "bad at 9: key \"m\" is a value of an unknown type (type 99), which does not exist here;");
    check_body(BYTES(HEAD "\xf6\x01m"), "bad at 9: a function in a form that only release "
                                        "candidates of 7.0 wrote;");
}

TEST(rdb_read, heads_are_checked)
{
    check_body(BYTES("RODIS0009"), "bad at 0: Wrong signature trying to load DB from file;");
    check_body(BYTES("REDIS0000"), "bad at 0: Can't handle RDB format version 0 (1 to 12 can be "
                                   "read);");
    check_body(BYTES("REDIS0013"), "bad at 0: Can't handle RDB format version 13 (1 to 12 can be "
                                   "read);");
    check_body(BYTES("REDIS0080"), "bad at 0: Can't handle RDB format version 80 (1 to 12 can be "
                                   "read);");
    check_body(BYTES("REDIS00x9"), "bad at 7: a version that is no number;");
    check_body(BYTES("VALKEY080"), "bad at 0: format VALKEY080 of Valkey 9 and later cannot be "
                                   "read; save it with an older version;");
    check_body(BYTES("REDIS0012"), "end;");
    check_story(BYTES("REDIS0004\xff"), false, "end;");
}

TEST(rdb_read, checksums_are_compared_unless_they_are_zero)
{
    struct buf file;
    make_file(&file, BYTES(HEAD DB TIMED), false);
    check_story(buf_slice(&file), false,
                "db 2;size 3 1;k at 14+20 type 0 expires 10000 idle 7 frequency -1;end;");
    file.data[file.len - 8] = 1;
    uint64_t sum = crc64(0, slice_of(file.data, file.len - 8));
    char wanted[200];
    snprintf(wanted, sizeof(wanted),
             "db 2;size 3 1;k at 14+20 type 0 expires 10000 idle 7 frequency -1;bad at 35: "
             "Wrong RDB checksum expected: (1) but got (%llx);",
             (unsigned long long)sum);
    check_story(buf_slice(&file), false, wanted);
    buf_deinit(&file);
}

TEST(rdb_read, values_that_make_no_sense_name_their_key)
{
    check_body(BYTES(HEAD "\x02\x02me\x02\x01\x61\x01\x61"),
               "bad at 18: bytes that make no sense, in the value of key \"me\";");
    check_body(BYTES(HEAD "\xfe\xc5"), "bad at 9: a record (0xfe) that makes no sense;");
}

TEST(rdb_read, every_truncation_is_told)
{
    struct buf file;
    make_file(&file, BYTES(HEAD BODY), true);
    for (size_t len = 0; len < file.len; len++) {
        struct rdb_reader reader;
        struct rdb_reader_options options = options_of(true);
        struct buf story;
        options.len = len;
        buf_init(&story);
        rdb_reader_init(&reader, &options);
        rdb_reader_feed(&reader, slice_of(file.data, len));
        struct rdb_item item;
        enum rdb_event event;
        do {
            event = rdb_reader_next(&reader, &item);
            if (event == RDB_VALUE) {
                value_free(item.value, NULL);
            }
        } while (event != RDB_FAILED && event != RDB_END && event != RDB_NEEDS_BYTES);
        if (len == 0) {
            CHECK(event == RDB_NEEDS_BYTES); /* No length was told. */
        } else {
            CHECK(event == RDB_FAILED);
            CHECK(reader.error_offset <= len);
            CHECK(strncmp(reader.error, "the file ends early", 19) == 0);
        }
        rdb_reader_deinit(&reader);
        buf_deinit(&story);
    }
    buf_deinit(&file);
}
