/* Tests of base/log.c, through a file of its own. */
#include "base/log.h"

#include <unistd.h>

#include "tests/unit/test.h"

struct sink {
    char path[64];
    char text[8192];
};

static void sink_open(struct sink *sink, enum log_format format, enum log_level level, char role)
{
    strcpy(sink->path, "/tmp/ouro_test_log_XXXXXX");
    int fd = mkstemp(sink->path);
    CHECK(fd >= 0);
    close(fd);
    log_configure(
        &(struct log_config){.level = level, .format = format, .path = sink->path, .role = role});
}

static const char *sink_close(struct sink *sink)
{
    FILE *file = fopen(sink->path, "r");
    CHECK(file != NULL);
    size_t len = fread(sink->text, 1, sizeof(sink->text) - 1, file);
    sink->text[len] = '\0';
    fclose(file);
    unlink(sink->path);
    log_configure(&(struct log_config){.level = LOG_NOTICE, .path = "", .role = 'M'});
    return sink->text;
}

static int line_count(const char *text)
{
    int count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

TEST(log, text_lines_have_the_form_of_redis)
{
    struct sink sink;
    sink_open(&sink, LOG_TEXT, LOG_DEBUG, 'S');
    log_write(LOG_DEBUG, "one %d", 1);
    log_write(LOG_VERBOSE, "two");
    log_write(LOG_NOTICE, "three");
    log_write(LOG_WARNING, "four");
    const char *text = sink_close(&sink);
    CHECK(line_count(text) == 4);
    int pid = 0;
    int day = 0;
    int year = 0;
    int part[4] = {0};
    char role = 0;
    char month[4] = {0};
    char sign = 0;
    CHECK(sscanf(text, "%d:%c %2d %3s %4d %2d:%2d:%2d.%3d %c one 1\n", &pid, &role, &day, month,
                 &year, &part[0], &part[1], &part[2], &part[3], &sign) == 10);
    CHECK(pid == (int)getpid() && role == 'S' && sign == '.' && year > 2016);
    CHECK(strstr(text, " - two\n") && strstr(text, " * three\n") && strstr(text, " # four\n"));
}

TEST(log, lines_below_the_level_are_dropped)
{
    struct sink sink;
    sink_open(&sink, LOG_TEXT, LOG_WARNING, 'M');
    CHECK(!log_is_on(LOG_NOTICE) && log_is_on(LOG_WARNING) && !log_is_on(LOG_NOTHING));
    log_write(LOG_NOTICE, "quiet");
    CHECK(strcmp(sink_close(&sink), "") == 0);
    sink_open(&sink, LOG_TEXT, LOG_NOTHING, 'M');
    CHECK(!log_is_on(LOG_WARNING));
    log_write(LOG_WARNING, "quiet");
    CHECK(strcmp(sink_close(&sink), "") == 0);
}

TEST(log, a_message_cannot_forge_a_line)
{
    struct sink sink;
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        sink_open(&sink, (enum log_format)format, LOG_DEBUG, 'M');
        log_write(LOG_NOTICE, "%s", "a\nb\r\x1b[0m\t\x7f");
        const char *text = sink_close(&sink);
        CHECK(line_count(text) == 1);
        CHECK(strchr(text, '\x1b') == NULL && strchr(text, '\r') == NULL);
        CHECK(strstr(text, "a\\nb\\r\\") != NULL);
    }
}

TEST(log, logfmt_quotes_its_message)
{
    struct sink sink;
    sink_open(&sink, LOG_LOGFMT, LOG_DEBUG, 'X');
    log_write(LOG_VERBOSE, "say \"hi\" \\ ok");
    const char *text = sink_close(&sink);
    CHECK(strncmp(text, "pid=", 4) == 0 && strstr(text, " role=sentinel timestamp=\"2") != NULL);
    CHECK(strstr(text, " level=verbose message=\"say \\\"hi\\\" \\\\ ok\"\n") != NULL);
}

TEST(log, json_is_valid_utf8)
{
    struct sink sink;
    sink_open(&sink, LOG_JSON, LOG_DEBUG, 'C');
    log_write(LOG_WARNING, "%s",
              "\x01 \"\xc3\xa9\" \xe2\x82\xac \xff \xc3( \xed\xa0\x80 \xc0\xaf "
              "\xf0\x9f\x98\x80 \xe2\x82");
    const char *text = sink_close(&sink);
    CHECK(strncmp(text, "{\"pid\":", 7) == 0 && strstr(text, ",\"role\":\"child\",") != NULL);
    CHECK(strstr(text, ",\"level\":\"warning\",\"message\":\"") != NULL);
    CHECK(strstr(text,
                 "\\u0001 \\\"\xc3\xa9\\\" \xe2\x82\xac \\u00ff \\u00c3( "
                 "\\u00ed\\u00a0\\u0080 \\u00c0\\u00af \xf0\x9f\x98\x80 \\u00e2\\u0082\"}\n"));
}

TEST(log, a_long_message_is_cut_and_the_line_still_ends)
{
    char message[3001];
    memset(message, '\x01', 3000);
    message[3000] = '\0';
    struct sink sink;
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        sink_open(&sink, (enum log_format)format, LOG_DEBUG, 'M');
        log_write(LOG_NOTICE, "%s", message);
        const char *text = sink_close(&sink);
        size_t len = strlen(text);
        CHECK(line_count(text) == 1 && text[len - 1] == '\n');
        CHECK(len >= (format == LOG_JSON ? 6 * 1024 : 4 * 1024));
    }
}

TEST(log, raw_text_is_appended_as_it_is)
{
    struct sink sink;
    sink_open(&sink, LOG_JSON, LOG_NOTHING, 'M');
    log_raw("=== crash ===\n");
    log_raw("more");
    CHECK(strcmp(sink_close(&sink), "=== crash ===\nmore") == 0);
}
