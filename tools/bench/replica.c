/* A replica that costs as little as one can: it asks for a full synchronisation, drops the
 * snapshot, then reads the stream, counts its bytes and acknowledges them ten times a second. So
 * what a primary's processor does is the primary's alone, and the same for every server that is
 * compared.
 *
 *     usage: replica PORT
 *
 * It prints "snapshot BYTES" when the snapshot is whole, and runs until it is killed. */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/dial.h"

enum { ROOM = 1 << 20, MARK_LEN = 40, ACK_MS = 100, LINE_MAX_LEN = 256 };

struct stream {
    int fd;
    size_t at, len; /* Unread bytes: at .. len - 1. */
    char bytes[ROOM];
};

static void send_text(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0) {
        fail("write");
    }
}

/* More bytes; only when all that came is used up. */
static void fill(struct stream *stream)
{
    ssize_t count = read(stream->fd, stream->bytes, ROOM);
    if (count <= 0) {
        fail("the primary has closed the connection");
    }
    stream->at = 0;
    stream->len = (size_t)count;
}

static char next_byte(struct stream *stream)
{
    if (stream->at == stream->len) {
        fill(stream);
    }
    return stream->bytes[stream->at++];
}

/* A line without its end; bare newlines before it are skipped. */
static void read_line(struct stream *stream, char line[LINE_MAX_LEN])
{
    size_t len = 0;
    char byte = next_byte(stream);
    while (byte == '\n') {
        byte = next_byte(stream);
    }
    while (byte != '\n' && len < LINE_MAX_LEN - 1) {
        line[len++] = byte;
        byte = next_byte(stream);
    }
    line[len > 0 && line[len - 1] == '\r' ? len - 1 : len] = '\0';
}

/* Drops a snapshot of so many bytes. */
static uint64_t skip_bytes(struct stream *stream, uint64_t size)
{
    for (uint64_t left = size; left > 0;) {
        if (stream->at == stream->len) {
            fill(stream);
        }
        size_t part = stream->len - stream->at;
        part = part < left ? part : (size_t)left;
        stream->at += part;
        left -= part;
    }
    return size;
}

/* Drops a snapshot that ends with a mark. Nothing follows it before the first acknowledgement, so
 * it has ended when the last bytes that came are the mark. */
static uint64_t skip_to_mark(struct stream *stream, const char *mark)
{
    uint64_t size = 0;
    char tail[MARK_LEN] = {0};
    while (memcmp(tail, mark, MARK_LEN) != 0) {
        if (stream->at == stream->len) {
            fill(stream);
        }
        size_t part = stream->len - stream->at;
        size_t kept = part < MARK_LEN ? MARK_LEN - part : 0;
        memmove(tail, tail + MARK_LEN - kept, kept);
        memcpy(tail + kept, stream->bytes + stream->len - (MARK_LEN - kept), MARK_LEN - kept);
        size += part;
        stream->at = stream->len;
    }
    return size - MARK_LEN;
}

static void acknowledge(int fd, uint64_t offset)
{
    char digits[32];
    char text[128];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)offset);
    snprintf(text, sizeof(text), "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%s\r\n", len, digits);
    send_text(fd, text);
}

static void follow(struct stream *stream, uint64_t offset)
{
    int64_t next_us = 0;
    offset += stream->len - stream->at;
    for (;;) {
        if (now_us() >= next_us) {
            acknowledge(stream->fd, offset);
            next_us = now_us() + ACK_MS * 1000;
        }
        struct pollfd input = {.fd = stream->fd, .events = POLLIN};
        if (poll(&input, 1, ACK_MS) > 0) {
            fill(stream);
            offset += stream->len;
        }
    }
}

int main(int argc, char **argv)
{
    char line[LINE_MAX_LEN];
    unsigned long long offset;
    if (argc != 2) {
        fprintf(stderr, "usage: replica PORT\n");
        return 2;
    }
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        fail("calloc");
    }
    stream->fd = dial(argv[1]);
    send_text(stream->fd, "REPLCONF listening-port 1 capa eof capa psync2\r\n");
    read_line(stream, line);
    send_text(stream->fd, "PSYNC ? -1\r\n");
    read_line(stream, line);
    if (sscanf(line, "+FULLRESYNC %*40s %llu", &offset) != 1) {
        fprintf(stderr, "replica: %s\n", line);
        return 1;
    }
    read_line(stream, line);
    bool has_mark = strncmp(line, "$EOF:", 5) == 0;
    uint64_t size = has_mark ? skip_to_mark(stream, line + 5)
                             : skip_bytes(stream, strtoull(line + 1, NULL, 10));
    printf("snapshot %llu\n", (unsigned long long)size);
    fflush(stdout);
    follow(stream, offset);
}
