/* The prober: sends GET of a missing key over one connection as fast as replies come and remembers
 * how long each took, until its standard input ends. Then it prints the longest and the 99.9th
 * percentile in milliseconds, and the count.
 *
 *     usage: probe PORT
 *
 * It prints "ready" once it is connected and has had a first reply, which is not counted. It is in
 * C because an interpreter's own pauses would drown what is measured, and it allocates and prints
 * nothing while it measures. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/dial.h"

enum { BUCKETS = 1000000 }; /* One per microsecond; longer ones share the last. */

/* Sends one GET and returns the microseconds until its reply. */
static int64_t ask(int fd)
{
    static const char request[] = "*2\r\n$3\r\nGET\r\n$6\r\nabsent\r\n";
    char reply[256];
    int64_t begin = now_us();
    if (write(fd, request, sizeof(request) - 1) < 0 || read(fd, reply, sizeof(reply)) <= 0) {
        fail("probe");
    }
    return now_us() - begin;
}

/* The microseconds that all but `above` of the replies took at most. */
static int64_t percentile_us(const uint32_t *buckets, uint64_t above)
{
    int64_t at = BUCKETS;
    for (uint64_t seen = 0; at > 0 && seen <= above; at--) {
        seen += buckets[at - 1];
    }
    return at;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: probe PORT\n");
        return 2;
    }
    uint32_t *buckets = malloc(BUCKETS * sizeof(*buckets));
    if (buckets == NULL) {
        fail("malloc");
    }
    memset(buckets, 0, BUCKETS * sizeof(*buckets)); /* Page faults now, not while measuring. */
    int fd = dial(argv[1]);
    (void)ask(fd);
    puts("ready");
    fflush(stdout);
    int64_t worst = 0;
    uint64_t count = 0;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0) {
        int64_t took = ask(fd);
        worst = took > worst ? took : worst;
        buckets[took < BUCKETS ? took : BUCKETS - 1]++;
        count++;
    }
    printf("%.3f %.3f %llu\n", (double)worst / 1000,
           (double)percentile_us(buckets, count / 1000) / 1000, (unsigned long long)count);
    free(buckets);
    return 0;
}
