/* Tests of repl/backlog.c. A twin keeps all bytes of the stream in one array, so that what a cursor
 * is given can be compared byte by byte. */
#include "repl/backlog.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/unit/test.h"

enum { START = 1000 };

struct bed {
    struct backlog backlog;
    size_t lent_bytes;
    struct buf twin; /* Byte 0 has offset START + 1. */
};

static void bed_init(struct bed *bed, int64_t size)
{
    mem_thread_enter();
    *bed = (struct bed){.lent_bytes = 0};
    buf_init(&bed->twin);
    backlog_init(&bed->backlog, &bed->lent_bytes);
    backlog_set_size(&bed->backlog, size);
    backlog_open(&bed->backlog, START);
}

static void bed_deinit(struct bed *bed)
{
    backlog_close(&bed->backlog);
    CHECK(backlog_memory(&bed->backlog) == 0 && bed->lent_bytes == 0);
    buf_deinit(&bed->twin);
}

static void write_text(struct bed *bed, const char *text)
{
    backlog_append(&bed->backlog, slice_from_text(text));
    buf_append_text(&bed->twin, text);
    backlog_show(&bed->backlog);
    backlog_check(&bed->backlog);
}

/* Takes all there is, `max` bytes at a time, and compares. Returns how many bytes there were. */
static size_t read_all(struct bed *bed, struct backlog_cursor *cursor, size_t max)
{
    struct blob *blob;
    size_t from, len, total = 0;
    int64_t at = cursor->next - START - 1;
    while ((len = backlog_cursor_take(cursor, max, &blob, &from)) != 0) {
        CHECK(len <= max && (size_t)at + len <= bed->twin.len);
        CHECK(memcmp(blob->bytes + from, bed->twin.data + at, len) == 0);
        at += (int64_t)len;
        total += len;
        CHECK(cursor->next == START + 1 + at);
    }
    CHECK(backlog_cursor_behind(cursor) == 0);
    return total;
}

static struct blob *blob_of(char byte, size_t len)
{
    struct blob *blob = blob_try_new(len);
    CHECK(blob != NULL);
    memset(blob->bytes, byte, len);
    blob->len = len;
    return blob;
}

TEST(backlog, begins_empty_behind_the_offset_that_it_is_opened_with)
{
    struct bed bed;
    struct backlog_cursor cursor;
    bed_init(&bed, 100);
    CHECK(backlog_is_open(&bed.backlog) && backlog_end(&bed.backlog) == START);
    CHECK(backlog_first(&bed.backlog) == START + 1);
    CHECK(!backlog_cursor_open(&bed.backlog, &cursor, START));
    CHECK(!backlog_cursor_open(&bed.backlog, &cursor, START + 2));
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    write_text(&bed, "abc");
    CHECK(backlog_end(&bed.backlog) == START + 3);
    CHECK(read_all(&bed, &cursor, 2) == 3);
    backlog_cursor_close(&cursor);
    CHECK(!backlog_cursor_is_open(&cursor));
    backlog_cursor_close(&cursor); /* Twice is harmless. */
    bed_deinit(&bed);
}

TEST(backlog, the_end_survives_its_closing)
{
    struct bed bed;
    bed_init(&bed, 100);
    write_text(&bed, "abc");
    backlog_append(&bed.backlog, slice_from_text("never shown"));
    backlog_close(&bed.backlog);
    CHECK(!backlog_is_open(&bed.backlog) && backlog_end(&bed.backlog) == START + 3);
    backlog_open(&bed.backlog, backlog_end(&bed.backlog));
    CHECK(backlog_first(&bed.backlog) == START + 4);
    bed_deinit(&bed);
}

TEST(backlog, what_is_not_shown_is_not_given_out)
{
    struct bed bed;
    struct backlog_cursor cursor;
    struct blob *blob;
    size_t from;
    bed_init(&bed, 100);
    write_text(&bed, "abc");
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    backlog_append(&bed.backlog, slice_from_text("de"));
    buf_append_text(&bed.twin, "de");
    CHECK(backlog_end(&bed.backlog) == START + 3);
    CHECK(backlog_cursor_take(&cursor, 100, &blob, &from) == 3);
    CHECK(backlog_cursor_take(&cursor, 100, &blob, &from) == 0);
    backlog_show(&bed.backlog);
    CHECK(read_all(&bed, &cursor, 100) == 2);
    backlog_cursor_close(&cursor);
    bed_deinit(&bed);
}

TEST(backlog, room_is_written_straight_into_the_block)
{
    struct bed bed;
    struct backlog_cursor cursor;
    bed_init(&bed, 1 << 20);
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    for (unsigned i = 0; i < 2000; i++) {
        size_t len = i % (BACKLOG_ROOM_MAX + 1);
        char *room = backlog_room(&bed.backlog, BACKLOG_ROOM_MAX);
        CHECK(room != NULL);
        memset(room, (int)i, len);
        buf_append(&bed.twin, slice_of(room, len));
        backlog_advance(&bed.backlog, len);
    }
    backlog_show(&bed.backlog);
    backlog_check(&bed.backlog);
    CHECK(read_all(&bed, &cursor, 1000) == bed.twin.len);
    backlog_cursor_close(&cursor);
    bed_deinit(&bed);
}

TEST(backlog, keeps_so_many_bytes_and_forgets_older_ones)
{
    struct bed bed;
    struct backlog_cursor cursor;
    bed_init(&bed, 10000);
    for (unsigned i = 0; i < 100000; i++) {
        write_text(&bed, "0123456789");
        i += 9;
    }
    while (backlog_trim(&bed.backlog)) {
    }
    int64_t kept = backlog_end(&bed.backlog) - backlog_first(&bed.backlog) + 1;
    CHECK(kept >= 10000 && kept < 10000 + 256 * 1024);
    CHECK(!backlog_cursor_open(&bed.backlog, &cursor, backlog_first(&bed.backlog) - 1));
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, backlog_first(&bed.backlog)));
    CHECK((int64_t)read_all(&bed, &cursor, 777) == kept);
    backlog_cursor_close(&cursor);
    bed_deinit(&bed);
}

TEST(backlog, nothing_is_forgotten_that_a_cursor_has_not_taken)
{
    struct bed bed;
    struct backlog_cursor slow;
    bed_init(&bed, 1);
    CHECK(backlog_cursor_open(&bed.backlog, &slow, START + 1));
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned j = 0; j < 300; j++) {
            backlog_append(&bed.backlog, slice_from_text("0123456789"));
            buf_append_text(&bed.twin, "0123456789");
        }
        backlog_show(&bed.backlog);
    }
    CHECK(backlog_first(&bed.backlog) == START + 1);
    size_t memory = backlog_memory(&bed.backlog);
    CHECK(read_all(&bed, &slow, 4096) == 900000);
    while (backlog_trim(&bed.backlog)) {
    }
    CHECK(backlog_memory(&bed.backlog) < memory);
    backlog_check(&bed.backlog);
    backlog_cursor_close(&slow);
    bed_deinit(&bed);
}

TEST(backlog, lends_large_values_instead_of_copying_them)
{
    struct bed bed;
    struct backlog_cursor cursor;
    struct blob *value = blob_of('v', 100000);
    struct blob *blob;
    size_t from;
    bed_init(&bed, 10);
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    backlog_append_blob(&bed.backlog, value, 10, 99000);
    backlog_show(&bed.backlog);
    CHECK(value->refs == 2 && value->lent == 1 && bed.lent_bytes == 0);
    CHECK(backlog_cursor_take(&cursor, 1 << 20, &blob, &from) == 99000);
    CHECK(blob == value && from == 10);
    blob_drop(value); /* The key is gone. */
    CHECK(bed.lent_bytes >= 100000);
    backlog_check(&bed.backlog);
    backlog_cursor_close(&cursor);
    backlog_append(&bed.backlog, slice_from_text("much more than ten bytes"));
    backlog_show(&bed.backlog);
    while (backlog_trim(&bed.backlog)) {
    }
    CHECK(bed.lent_bytes == 0);
    bed_deinit(&bed);
}

TEST(backlog, inserts_before_what_is_not_shown)
{
    struct bed bed;
    struct backlog_cursor cursor;
    bed_init(&bed, 1000);
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    write_text(&bed, "seen ");
    int64_t at = bed.backlog.written + 1;
    backlog_append(&bed.backlog, slice_from_text("first "));
    backlog_insert(&bed.backlog, at, slice_from_text("MULTI "));
    backlog_append(&bed.backlog, slice_from_text("second"));
    backlog_check(&bed.backlog);
    buf_append_text(&bed.twin, "MULTI first second");
    backlog_show(&bed.backlog);
    CHECK(read_all(&bed, &cursor, 1000) == strlen("seen MULTI first second"));
    backlog_cursor_close(&cursor);
    bed_deinit(&bed);
}

TEST(backlog, inserts_before_large_values_too)
{
    struct bed bed;
    struct backlog_cursor cursor;
    struct blob *value = blob_of('v', 50000);
    bed_init(&bed, 1000);
    CHECK(backlog_cursor_open(&bed.backlog, &cursor, START + 1));
    write_text(&bed, "seen ");
    int64_t at = bed.backlog.written + 1;
    backlog_append(&bed.backlog, slice_from_text("SET "));
    backlog_append_blob(&bed.backlog, value, 0, value->len);
    backlog_append(&bed.backlog, slice_from_text(" end"));
    backlog_insert(&bed.backlog, at, slice_from_text("MULTI "));
    backlog_append(&bed.backlog, slice_from_text("EXEC"));
    backlog_check(&bed.backlog);
    buf_append_text(&bed.twin, "MULTI SET ");
    buf_append(&bed.twin, blob_slice(value));
    buf_append_text(&bed.twin, " endEXEC");
    backlog_show(&bed.backlog);
    CHECK(read_all(&bed, &cursor, 10000) == bed.twin.len);
    backlog_cursor_close(&cursor);
    blob_drop(value);
    bed_deinit(&bed);
}

TEST(backlog, units_of_many_large_values_are_forgotten_as_fast_as_they_come)
{
    struct bed bed;
    bed_init(&bed, 100000);
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned j = 0; j < 20; j++) {
            struct blob *value = blob_of('v', 20000);
            backlog_append(&bed.backlog, slice_from_text("SET "));
            backlog_append_blob(&bed.backlog, value, 0, value->len);
            blob_drop(value);
        }
        backlog_show(&bed.backlog);
    }
    CHECK(bed.lent_bytes < 21 * 2 * 20000 + 300000);
    backlog_check(&bed.backlog);
    bed_deinit(&bed);
}

TEST(backlog, without_memory_it_is_broken_until_it_is_closed)
{
    struct bed bed;
    bed_init(&bed, 1000);
    write_text(&bed, "abc");
    bool is_broken = false;
    for (unsigned i = 0; i < 100000 && !is_broken; i++) {
        mem_fail_after(1);
        backlog_append(&bed.backlog, slice_from_text("0123456789"));
        is_broken = bed.backlog.is_broken;
    }
    mem_fail_after(0);
    CHECK(is_broken && backlog_room(&bed.backlog, 10) == NULL);
    int64_t written = bed.backlog.written;
    backlog_append(&bed.backlog, slice_from_text("lost"));
    backlog_insert(&bed.backlog, written, slice_from_text("lost"));
    CHECK(bed.backlog.written == written && backlog_end(&bed.backlog) == START + 3);
    backlog_close(&bed.backlog);
    backlog_open(&bed.backlog, 7);
    CHECK(!bed.backlog.is_broken && backlog_room(&bed.backlog, 10) != NULL);
    bed_deinit(&bed);
}

/* ---- Random histories ---- */

enum { CURSORS = 4 };

static void random_unit(struct bed *bed, struct rng *rng)
{
    char bytes[3000];
    int64_t at = bed->backlog.written + 1;
    size_t twin_at = bed->twin.len;
    memset(bytes, 'a' + (int)rng_below(rng, 26), sizeof bytes);
    size_t len = 1 + (size_t)rng_below(rng, rng_below(rng, 10) == 0 ? sizeof bytes : 40);
    if (rng_below(rng, 8) == 0) {
        struct blob *value = blob_of('V', 16 + (size_t)rng_below(rng, 60000));
        backlog_append_blob(&bed->backlog, value, 3, value->len - 3);
        buf_append(&bed->twin, slice_of(value->bytes + 3, value->len - 3));
        blob_drop(value);
    }
    backlog_append(&bed->backlog, slice_of(bytes, len));
    buf_append(&bed->twin, slice_of(bytes, len));
    if (rng_below(rng, 3) == 0) {
        size_t rest = bed->twin.len - twin_at;
        backlog_insert(&bed->backlog, at, slice_from_text("*1\r\n$5\r\nMULTI\r\n"));
        buf_append_text(&bed->twin, "*1\r\n$5\r\nMULTI\r\n");
        memmove(bed->twin.data + twin_at + 15, bed->twin.data + twin_at, rest);
        memcpy(bed->twin.data + twin_at, "*1\r\n$5\r\nMULTI\r\n", 15);
    }
    backlog_show(&bed->backlog);
}

TEST(backlog, random_histories_are_read_as_they_were_written)
{
    struct bed bed;
    struct rng rng;
    struct backlog_cursor cursors[CURSORS] = {{.backlog = NULL}};
    rng_seed(&rng, test_seed());
    bed_init(&bed, 20000);
    for (unsigned i = 0; i < 3000; i++) {
        random_unit(&bed, &rng);
        struct backlog_cursor *cursor = &cursors[rng_below(&rng, CURSORS)];
        if (!backlog_cursor_is_open(cursor)) {
            int64_t first = backlog_first(&bed.backlog);
            uint64_t span = (uint64_t)(backlog_end(&bed.backlog) - first + 2);
            int64_t next = first + (int64_t)rng_below(&rng, span);
            CHECK(backlog_cursor_open(&bed.backlog, cursor, next));
        } else if (rng_below(&rng, 4) == 0) {
            backlog_cursor_close(cursor);
        } else {
            read_all(&bed, cursor, 1 + (size_t)rng_below(&rng, 5000));
        }
        if (i % 16 == 0) {
            backlog_check(&bed.backlog);
        }
    }
    for (unsigned i = 0; i < CURSORS; i++) {
        backlog_cursor_close(&cursors[i]);
    }
    bed_deinit(&bed);
}

TEST(backlog, what_is_closed_is_freed_a_little_at_a_time_and_counts_until_then)
{
    struct bed bed;
    struct work_queue work;
    bed_init(&bed, INT64_MAX);
    work_queue_init(&work);
    backlog_set_work(&bed.backlog, &work);
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (unsigned i = 0; i < 3000; i++) {
        backlog_append(&bed.backlog, slice_from_text(text));
        backlog_show(&bed.backlog);
    }
    size_t memory = backlog_memory(&bed.backlog);
    int64_t end = backlog_end(&bed.backlog);
    backlog_close(&bed.backlog);
    CHECK(backlog_memory(&bed.backlog) == memory && backlog_end(&bed.backlog) == end);
    backlog_open(&bed.backlog, end);
    write_text(&bed, "new");
    CHECK(backlog_first(&bed.backlog) == end + 1);
    work_run(&work, INT64_MIN);
    CHECK(!work_is_idle(&work) && backlog_memory(&bed.backlog) < memory);
    work_drain(&work);
    backlog_check(&bed.backlog);
    for (unsigned i = 0; i < 1000; i++) {
        backlog_append(&bed.backlog, slice_from_text(text));
        backlog_show(&bed.backlog);
    }
    backlog_deinit(&bed.backlog);
    CHECK(work_is_idle(&work));
    bed_deinit(&bed);
}
