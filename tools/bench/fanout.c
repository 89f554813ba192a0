/* The audience: connections that subscribe to one channel, and a publisher. Each round it publishes
 * 64 bytes, waits for the answer and reads the message from every subscriber, so that the server
 * has exactly one message to send to each connection at a time.
 *
 *     usage: fanout PORT SUBSCRIBERS
 *
 * Prints "ready" when all have subscribed. Then each line on standard input is a number of rounds;
 * when they are done it prints "done". Ends with its input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/bench/dial.h"

static const char publish[] =
    "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n"
    "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

/* *3 $7 message $1 c $64 ... */
enum { MESSAGE_LEN = 4 + 4 + 9 + 4 + 3 + 5 + 66 };

static void say(int fd, const char *text)
{
    size_t len = strlen(text);
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        fail("send");
    }
}

/* Some bytes: an answer that is short enough to come whole. */
static void hear_some(int fd)
{
    char room[256];
    if (recv(fd, room, sizeof(room), 0) <= 0) {
        fail("recv");
    }
}

static void hear_message(int fd)
{
    char room[MESSAGE_LEN];
    if (recv(fd, room, sizeof(room), MSG_WAITALL) != MESSAGE_LEN) {
        fail("recv");
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: fanout PORT SUBSCRIBERS\n");
        return 2;
    }
    int count = atoi(argv[2]);
    int *subscribers = calloc((size_t)count, sizeof(*subscribers));
    if (subscribers == NULL) {
        fail("calloc");
    }
    for (int i = 0; i < count; i++) {
        subscribers[i] = dial(argv[1]);
        say(subscribers[i], "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n");
        hear_some(subscribers[i]);
    }
    int publisher = dial(argv[1]);
    printf("ready\n");
    fflush(stdout);
    long rounds;
    while (scanf("%ld", &rounds) == 1) {
        for (long round = 0; round < rounds; round++) {
            say(publisher, publish);
            hear_some(publisher);
            for (int i = 0; i < count; i++) {
                hear_message(subscribers[i]);
            }
        }
        printf("done\n");
        fflush(stdout);
    }
    free(subscribers);
    return 0;
}
