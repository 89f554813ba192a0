/* Sends GET over one connection as fast as replies come and remembers how long each took, until its standard input ends;
 * then prints the longest and the 99.9th percentile in milliseconds, and the count.
 *
 *     probe PORT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 1000000 }; /* One per microsecond; longer ones share the last. */

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int connect_to(int port)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static int64_t ask(int fd)
{
    static const char request[] = "*2\r\n$3\r\nGET\r\n$6\r\nabsent\r\n";
    char reply[256];
    int64_t begin = now_us();
    if (write(fd, request, sizeof(request) - 1) < 0 || read(fd, reply, sizeof(reply)) <= 0) {
        perror("probe");
        exit(1);
    }
    return now_us() - begin;
}

int main(int argc, char **argv)
{
    static uint32_t buckets[BUCKETS];
    int fd = connect_to(argc > 1 ? atoi(argv[1]) : 6379);
    int64_t worst = 0;
    uint64_t count = 0;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    puts("ready");
    fflush(stdout);
    while (poll(&input, 1, 0) == 0) {
        int64_t took = ask(fd);
        worst = took > worst ? took : worst;
        buckets[took < BUCKETS ? took : BUCKETS - 1]++;
        count++;
    }
    uint64_t above = count / 1000;
    int64_t at = BUCKETS;
    for (uint64_t seen = 0; at > 0 && seen <= above; at--) {
        seen += buckets[at - 1];
    }
    printf("%.3f %.3f %llu\n", (double)worst / 1000, (double)at / 1000, (unsigned long long)count);
    return 0;
}
