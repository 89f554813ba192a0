/* ouro-check-rdb: is an RDB file whole, and what is in it?
 *
 *     ouro-check-rdb [--keys] [--prefixes N] [--separator TEXT] FILE
 *
 * Reads the file with the server's own parser, so that what passes here loads there, unless a key
 * stands in it twice or there are more databases than the server has. Every value is made and
 * dropped again; what the server cannot hold (values of modules, of newer servers) is
 * stepped over and named. Told are the version, what the writer said of itself, the checksum, and
 * the bytes that keys take in the file: by type and form, by database, and by the part of the key
 * before the separator. A broken file is told with the byte where it is broken, the record that
 * begins there, and the last key that was whole.
 *
 * Exit status: 0 whole, 1 broken, 2 wrong usage, or the file could not be read or the output not be
 * written. Memory: the largest value, and a few dozen bytes per prefix; the file is mapped. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/work.h"
#include "ds/table.h"
#include "persist/rdb_read.h"

enum {
    DATABASES_MAX = 1 << 16, /* Told apart; a server has at most so many. */
    PREFIX_LEN_MAX = 128,
    KEY_SHOWN_MAX = 100,
    TYPES = 256,
    PREFIXES_DEFAULT = 10,
    SUM_LEN = 8, /* Of the checksum at a file's end. */
    STATUS_UNKNOWN = 2,
};

struct sum {
    uint64_t keys, expiring, bytes;
};

struct largest {
    uint64_t bytes, offset;
    char *name; /* The key, quoted. */
};

/* An entry of the table of prefixes. */
struct prefix {
    struct sum sum;
    uint64_t hash;
    size_t len;
    char text[];
};

struct check {
    struct rdb_reader reader;
    struct type_limits limits;
    struct work_queue work;
    const char *path, *separator;
    bool shows_keys;
    unsigned prefixes_max;
    uint64_t db;
    struct sum total, types[TYPES];
    struct largest largest[TYPES];
    struct sum *databases;
    uint64_t functions, modules, skipped;
    struct table_kind kind;
    struct table prefixes;
    char *last_key; /* The last whole one, quoted. */
    uint64_t last_end;
};

/* What the types of a file are called: kind and form. */
static const char *type_name(unsigned type)
{
    static const char *const names[] = {
        [0] = "string",
        [1] = "list",
        [2] = "set",
        [3] = "zset, text scores",
        [4] = "hash",
        [5] = "zset",
        [6] = "module (old)",
        [7] = "module",
        [9] = "hash, zipmap",
        [10] = "list, ziplist",
        [11] = "set, intset",
        [12] = "zset, ziplist",
        [13] = "hash, ziplist",
        [14] = "list, quicklist",
        [15] = "stream",
        [16] = "hash, listpack",
        [17] = "zset, listpack",
        [18] = "list, quicklist 2",
        [19] = "stream 2",
        [20] = "set, listpack",
        [21] = "stream 3",
        [22] = "hash, expiring (RC)",
        [23] = "hash, expiring listpack (RC)",
        [24] = "hash, expiring",
        [25] = "hash, expiring listpack",
    };
    bool is_known = type < sizeof(names) / sizeof(names[0]) && names[type] != NULL;
    return is_known ? names[type] : "unknown";
}

static uint64_t prefix_hash_of(const void *entry, const void *context)
{
    (void)context;
    return ((const struct prefix *)entry)->hash;
}

static bool prefix_is(const void *entry, const void *text)
{
    const struct prefix *prefix = entry;
    return slice_equal(slice_of(prefix->text, prefix->len), *(const struct slice *)text);
}

/* ---- Counting ---- */

static void sum_add(struct sum *sum, const struct rdb_item *item)
{
    sum->keys++;
    sum->expiring += item->expire_ms >= 0;
    sum->bytes += item->len;
}

/* The key in quotes, cut where it is long; the caller frees it. */
static char *quoted(struct slice key)
{
    struct buf text;
    buf_init(&text);
    buf_append_quoted(&text, slice_part(key, 0, KEY_SHOWN_MAX));
    buf_append_text(&text, key.len > KEY_SHOWN_MAX ? "..." : "");
    buf_append_byte(&text, '\0');
    return text.data;
}

static struct slice prefix_of(const struct check *check, struct slice key)
{
    size_t len = strlen(check->separator);
    const char *end = len == 0 ? NULL : memmem(key.data, key.len, check->separator, len);
    size_t prefix_len = end == NULL ? 0 : (size_t)(end - key.data) + len;
    return slice_part(key, 0, prefix_len < PREFIX_LEN_MAX ? prefix_len : PREFIX_LEN_MAX);
}

static void count_prefix(struct check *check, const struct rdb_item *item)
{
    struct slice text = prefix_of(check, item->key);
    uint64_t hash = hash_bytes(0, text);
    uint64_t *slot = table_find_slot(&check->prefixes, hash, &text, prefix_is);
    struct prefix *prefix = slot == NULL ? NULL : table_slot_entry(slot);
    if (prefix == NULL) {
        prefix = mem_zalloc(sizeof(*prefix) + text.len);
        prefix->hash = hash;
        prefix->len = text.len;
        memcpy(prefix->text, text.data, text.len);
        table_insert(&check->prefixes, hash, prefix);
    }
    sum_add(&prefix->sum, item);
}

static void count_key(struct check *check, const struct rdb_item *item)
{
    struct largest *largest = &check->largest[item->type];
    sum_add(&check->total, item);
    sum_add(&check->types[item->type], item);
    if (check->db < DATABASES_MAX) {
        sum_add(&check->databases[check->db], item);
    }
    count_prefix(check, item);
    if (item->len > largest->bytes) {
        mem_free(largest->name);
        *largest = (struct largest){item->len, item->offset, quoted(item->key)};
    }
    mem_free(check->last_key);
    check->last_key = quoted(item->key);
    check->last_end = item->offset + item->len;
    if (check->shows_keys) {
        printf("%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\t%" PRId64 "\t%s\n", item->offset,
               item->len, check->db, type_name(item->type), item->expire_ms, check->last_key);
    }
}

static void show_aux(const struct rdb_item *item)
{
    struct buf text;
    int64_t seconds;
    buf_init(&text);
    buf_append(&text, slice_part(item->name, 0, KEY_SHOWN_MAX));
    buf_append_text(&text, " = ");
    buf_append_quoted(&text, slice_part(item->text, 0, KEY_SHOWN_MAX));
    if (slice_is(item->name, "ctime") && num_parse_i64(item->text, &seconds)) {
        char moment[64] = "";
        time_t when = (time_t)seconds;
        struct tm parts;
        if (gmtime_r(&when, &parts) != NULL) {
            (void)strftime(moment, sizeof(moment), " (%Y-%m-%d %H:%M:%S UTC)", &parts);
        }
        buf_append_text(&text, moment);
    }
    printf("  %.*s\n", (int)text.len, text.data);
    buf_deinit(&text);
}

static void count_item(struct check *check, enum rdb_event event, const struct rdb_item *item)
{
    switch (event) {
    case RDB_VALUE:
        count_key(check, item);
        value_free(item->value, &check->work);
        work_drain(&check->work);
        break;
    case RDB_SKIPPED:
        count_key(check, item);
        check->skipped++;
        break;
    case RDB_AUX:
        if (!check->shows_keys) {
            show_aux(item);
        }
        break;
    case RDB_DB:
        check->db = item->numbers[0];
        break;
    case RDB_FUNCTION:
        check->functions++;
        break;
    case RDB_MODULE_AUX:
        check->modules++;
        break;
    default:
        break;
    }
}

/* ---- Telling ---- */

static void show_sum(const char *name, const struct sum *sum, const struct check *check)
{
    double share =
        check->total.bytes == 0 ? 0 : (double)sum->bytes * 100 / (double)check->total.bytes;
    printf("  %-30s %12" PRIu64 " %12" PRIu64 " %14" PRIu64 " %6.1f%%", name, sum->keys,
           sum->expiring, sum->bytes, share);
}

static void show_head(const char *what)
{
    printf("\n%-32s %12s %12s %14s %7s\n", what, "keys", "expiring", "bytes", "share");
}

static void show_types(const struct check *check)
{
    show_head("type, form");
    for (unsigned type = 0; type < TYPES; type++) {
        const struct largest *largest = &check->largest[type];
        if (check->types[type].keys > 0) {
            show_sum(type_name(type), &check->types[type], check);
            printf("  largest %s, %" PRIu64 " bytes at %" PRIu64 "\n", largest->name,
                   largest->bytes, largest->offset);
        }
    }
    show_sum("all", &check->total, check);
    printf("\n");
}

static void show_databases(const struct check *check)
{
    show_head("database");
    for (unsigned i = 0; i < DATABASES_MAX; i++) {
        char name[16];
        if (check->databases[i].keys > 0) {
            snprintf(name, sizeof(name), "%u", i);
            show_sum(name, &check->databases[i], check);
            printf("\n");
        }
    }
}

static int compare_prefixes(const void *left, const void *right)
{
    const struct prefix *a = *(const struct prefix *const *)left;
    const struct prefix *b = *(const struct prefix *const *)right;
    if (a->sum.bytes != b->sum.bytes) {
        return a->sum.bytes < b->sum.bytes ? 1 : -1;
    }
    return slice_compare(slice_of(a->text, a->len), slice_of(b->text, b->len));
}

static void show_prefixes(const struct check *check)
{
    size_t count = table_count(&check->prefixes);
    if (count == 0 || check->prefixes_max == 0) {
        return;
    }
    struct prefix **sorted = mem_alloc(count * sizeof(struct prefix *));
    struct table_iterator iterator;
    table_iterate(&check->prefixes, &iterator);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = table_next(&iterator);
    }
    qsort(sorted, count, sizeof(struct prefix *), compare_prefixes);
    show_head("prefix");
    for (size_t i = 0; i < count && i < check->prefixes_max; i++) {
        char *name = quoted(slice_of(sorted[i]->text, sorted[i]->len));
        show_sum(sorted[i]->len == 0 ? "(none)" : name, &sorted[i]->sum, check);
        printf("\n");
        mem_free(name);
    }
    if (count > check->prefixes_max) {
        printf("  and %zu more\n", count - check->prefixes_max);
    }
    mem_free(sorted);
}

static void show_summary(const struct check *check)
{
    show_types(check);
    show_databases(check);
    show_prefixes(check);
    printf("\n");
    if (check->functions > 0) {
        printf("%" PRIu64 " libraries of functions\n", check->functions);
    }
    if (check->modules > 0) {
        printf("data of modules, which ouro-server refuses\n");
    }
    if (check->skipped > 0) {
        printf("%" PRIu64 " keys of types that ouro-server refuses\n", check->skipped);
    }
}

/* Versions before 5 have none; later ones have eight bytes, which are zero with rdbchecksum no. */
static bool has_checksum(const struct rdb_reader *reader, struct slice file)
{
    static const char none[SUM_LEN];
    const char *end = file.data + rdb_reader_offset(reader);
    return reader->version >= 5 && memcmp(end - SUM_LEN, none, SUM_LEN) != 0;
}

static void show_whole(const struct check *check, struct slice file)
{
    uint64_t end = rdb_reader_offset(&check->reader);
    printf("%s is whole: %" PRIu64 " keys in %" PRIu64 " bytes\n", check->path, check->total.keys,
           end);
    if (!has_checksum(&check->reader, file)) {
        printf("it has no checksum: bytes that have changed may go unseen\n");
    }
    if (end < file.len) {
        printf("%" PRIu64 " bytes behind the end are not part of it\n", file.len - end);
    }
}

static int show_end(const struct check *check, enum rdb_event event, struct slice file)
{
    const struct rdb_reader *reader = &check->reader;
    if (event == RDB_END) {
        show_whole(check, file);
        return 0;
    }
    printf("%s is broken at byte %" PRIu64 " (0x%" PRIx64 ") of %" PRIu64 ": %s\n", check->path,
           reader->error_offset, reader->error_offset, (uint64_t)file.len, reader->error);
    if (check->last_key != NULL) {
        printf("%" PRIu64 " keys before it are whole; the last is %s, which ends before byte "
               "%" PRIu64 "\n",
               check->total.keys, check->last_key, check->last_end);
    }
    return 1;
}

/* ---- Running ---- */

static void check_init(struct check *check, uint64_t len)
{
    check->limits = type_limits_default();
    work_queue_init(&check->work);
    check->kind = (struct table_kind){.hash_of = prefix_hash_of};
    table_init(&check->prefixes, &check->kind);
    check->databases = mem_zalloc(DATABASES_MAX * sizeof(struct sum));
    rdb_reader_init(&check->reader, &(struct rdb_reader_options){
                                        .rules = {.limits = &check->limits, .work = &check->work},
                                        .len = len,
                                        .is_summing = true,
                                        .skips_foreign = true,
                                    });
}

static void check_deinit(struct check *check)
{
    struct table_iterator iterator;
    rdb_reader_deinit(&check->reader);
    table_iterate(&check->prefixes, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        mem_free(entry);
    }
    table_deinit(&check->prefixes);
    for (unsigned type = 0; type < TYPES; type++) {
        mem_free(check->largest[type].name);
    }
    mem_free(check->databases);
    mem_free(check->last_key);
}

static int check_bytes(struct check *check, struct slice bytes)
{
    struct rdb_item item;
    enum rdb_event event;
    check_init(check, bytes.len);
    rdb_reader_feed(&check->reader, bytes);
    if (!check->shows_keys) {
        printf("%s: %zu bytes\n", check->path, bytes.len);
    }
    do {
        event = rdb_reader_next(&check->reader, &item);
        count_item(check, event, &item);
    } while (event != RDB_END && event != RDB_FAILED && event != RDB_NEEDS_BYTES);
    if (event == RDB_NEEDS_BYTES) {
        event = rdb_reader_end_early(&check->reader);
    }
    if (!check->shows_keys) {
        printf("  RDB version %d\n", check->reader.version);
        show_summary(check);
    }
    int status = show_end(check, event, bytes);
    check_deinit(check);
    return status;
}

/* A page of the file cannot be had: that is not what the file says, so nothing is said of it. */
static void on_bus_error(int number)
{
    static const char text[] = "ouro-check-rdb: the file cannot be read to its end: it has become "
                               "shorter, or the disk fails\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(STATUS_UNKNOWN);
}

/* A descriptor, or -1 with the reason in errno. A pipe would have to be kept, and is waited for. */
static int open_regular(const char *path, struct stat *status)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || (fstat(fd, status) == 0 && S_ISREG(status->st_mode))) {
        return fd;
    }
    close(fd);
    errno = S_ISDIR(status->st_mode) ? EISDIR : EINVAL;
    return -1;
}

static int check_file(struct check *check)
{
    struct stat status;
    int fd = open_regular(check->path, &status);
    if (fd < 0) {
        fprintf(stderr, "ouro-check-rdb: %s: %s\n", check->path,
                errno == EINVAL ? "Not a regular file" : strerror(errno));
        return STATUS_UNKNOWN;
    }
    size_t len = (size_t)status.st_size;
    if (len == 0) {
        return check_bytes(check, slice_of("", 0));
    }
    char *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        fprintf(stderr, "ouro-check-rdb: %s: %s\n", check->path, strerror(errno));
        return STATUS_UNKNOWN;
    }
    signal(SIGBUS, on_bus_error);
    int result = check_bytes(check, slice_of(bytes, len));
    munmap(bytes, len);
    close(fd);
    return result;
}

static void print_usage(FILE *out)
{
    fputs("Usage: ouro-check-rdb [--keys] [--prefixes N] [--separator TEXT] FILE\n"
          "\n"
          "Tells whether an RDB file is whole, and what is in it.\n"
          "\n"
          "  --keys            one line for each key instead of sums: offset, bytes, database, "
          "type,\n"
          "                    expiry (unix ms, -1: none), key; separated by tabs\n"
          "  --prefixes N      prefixes of keys to show, the largest first (10)\n"
          "  --separator TEXT  what ends a prefix (\":\")\n"
          "\n"
          "Exit status: 0 whole, 1 broken, 2 wrong usage, or it could not look or tell.\n",
          out);
}

/* False: the words make no sense. */
static bool parse_words(struct check *check, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        int64_t number;
        if (strcmp(argv[i], "--keys") == 0) {
            check->shows_keys = true;
        } else if (strcmp(argv[i], "--prefixes") == 0 && has_value) {
            if (!num_parse_i64(slice_from_text(argv[++i]), &number) || number < 0 ||
                number > INT32_MAX) {
                return false;
            }
            check->prefixes_max = (unsigned)number;
        } else if (strcmp(argv[i], "--separator") == 0 && has_value) {
            check->separator = argv[++i];
        } else if (argv[i][0] == '-' || check->path != NULL) {
            return false;
        } else {
            check->path = argv[i];
        }
    }
    return check->path != NULL;
}

int main(int argc, char **argv)
{
    mem_thread_enter();
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        print_usage(stdout);
        return 0;
    }
    struct check *check = mem_zalloc(sizeof(*check));
    check->separator = ":";
    check->prefixes_max = PREFIXES_DEFAULT;
    int status = STATUS_UNKNOWN;
    if (parse_words(check, argc, argv)) {
        status = check_file(check);
    } else {
        print_usage(stderr);
    }
    mem_free(check);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fprintf(stderr, "ouro-check-rdb: cannot write what was found: %s\n", strerror(errno));
        return STATUS_UNKNOWN;
    }
    return status;
}
