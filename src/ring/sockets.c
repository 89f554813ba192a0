/* The kernel's sockets: opening, tuning and naming them. These are rare, short and never wait,
 * so they are plain system calls in both engines. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "ring/ring_internal.h"

struct address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un path;
        struct sockaddr_storage storage;
    };
};

static int address_parse_path(struct address *out, const char *path)
{
    size_t len = strlen(path);
    if (len >= sizeof(out->path.sun_path)) {
        return -ENAMETOOLONG;
    }
    out->path.sun_family = AF_UNIX;
    memcpy(out->path.sun_path, path, len + 1);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return 0;
}

static int address_parse(struct address *out, const char *text, uint16_t port)
{
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        out->len = sizeof(out->v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        out->len = sizeof(out->v6);
        return 0;
    }
    return -EINVAL;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

static int socket_new(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

static int close_with(int fd, int error)
{
    (void)close(fd);
    return error;
}

static int listen_bound(int fd, const struct address *address,
                        const struct ring_listen_options *options)
{
    int error = 0;
    if (!options->is_unix) {
        error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (error == 0 && address->any.sa_family == AF_INET6) {
        error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->is_ipv6_only);
    }
    if (error == 0 && options->is_shared) {
        error = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (error == 0 && bind(fd, &address->any, address->len) != 0) {
        error = -errno;
    }
    if (error == 0 && options->is_unix && options->unix_mode != 0 &&
        chmod(options->address, options->unix_mode) != 0) {
        error = -errno;
    }
    if (error == 0 && listen(fd, options->backlog) != 0) {
        error = -errno;
    }
    if (error == 0 && options->is_shared) { /* From now on its addresses are its own. */
        error = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 0);
    }
    return error;
}

int ring_kernel_share_port(struct ring *ring, int fd, bool is_shared)
{
    (void)ring;
    return set_option(fd, SOL_SOCKET, SO_REUSEPORT, is_shared);
}

int ring_kernel_listen(struct ring *ring, const struct ring_listen_options *options)
{
    (void)ring;
    struct address address = {0};
    int error = options->is_unix ? address_parse_path(&address, options->address)
                                 : address_parse(&address, options->address, options->port);
    if (error != 0) {
        return error;
    }
    int fd = socket_new(address.any.sa_family);
    if (fd < 0) {
        return fd;
    }
    if (options->is_unix) {
        (void)unlink(options->address); /* What an earlier run left behind. */
    }
    error = listen_bound(fd, &address, options);
    return error == 0 ? fd : close_with(fd, error);
}

int ring_kernel_socket(struct ring *ring, int family, const char *source)
{
    (void)ring;
    int fd = socket_new(family);
    if (fd < 0 || source == NULL) {
        return fd;
    }
    struct address address = {0};
    int error = address_parse(&address, source, 0);
    if (error == 0 && address.any.sa_family != family) {
        error = -EAFNOSUPPORT;
    }
    if (error == 0 && bind(fd, &address.any, address.len) != 0) {
        error = -errno;
    }
    return error == 0 ? fd : close_with(fd, error);
}

static int keepalive_set(int fd, int keepalive_s)
{
    int error = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive_s > 0);
    if (error != 0 || keepalive_s <= 0) {
        return error;
    }
    /* A silent peer is found out after twice the time: the wait, then three probes a third
     * apart. */
    int interval_s = keepalive_s / 3 > 0 ? keepalive_s / 3 : 1;
    error = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s);
    if (error == 0) {
        error = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
    }
    return error == 0 ? set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3) : error;
}

static bool address_of(int fd, bool is_peer, struct address *out)
{
    out->len = sizeof(out->storage);
    int failed =
        is_peer ? getpeername(fd, &out->any, &out->len) : getsockname(fd, &out->any, &out->len);
    return failed == 0;
}

int ring_kernel_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s)
{
    (void)ring;
    struct address address = {0};
    if (!address_of(fd, false, &address)) {
        return -errno;
    }
    if (address.any.sa_family == AF_UNIX) {
        return 0;
    }
    int error = set_option(fd, IPPROTO_TCP, TCP_NODELAY, no_delay);
    return error == 0 ? keepalive_set(fd, keepalive_s) : error;
}

void ring_address_text(const struct sockaddr *address, socklen_t len, char *out)
{
    char host[INET6_ADDRSTRLEN];
    (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "?:0");
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else if (address->sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
        const struct sockaddr_un *path = (const void *)address;
        int text_len = (int)(len - offsetof(struct sockaddr_un, sun_path));
        (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "%.*s:0", text_len, path->sun_path);
    }
}

void ring_kernel_address_text(struct ring *ring, int fd, bool is_peer, char *out)
{
    (void)ring;
    struct address address = {0};
    if (!address_of(fd, is_peer, &address)) {
        (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "?:0");
        return;
    }
    /* The connecting end of a unix socket has no name of its own: it goes by the listener's. */
    if (address.any.sa_family == AF_UNIX && address.len <= offsetof(struct sockaddr_un, sun_path)) {
        (void)address_of(fd, !is_peer, &address);
    }
    ring_address_text(&address.any, address.len, out);
}

bool ring_kernel_peer_is_local(struct ring *ring, int fd)
{
    (void)ring;
    struct address address = {0};
    if (!address_of(fd, true, &address)) {
        return false;
    }
    if (address.any.sa_family == AF_INET) {
        return ntohl(address.v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (address.any.sa_family == AF_INET6) {
        const struct in6_addr *host = &address.v6.sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(host) ||
               (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == 127);
    }
    return address.any.sa_family == AF_UNIX;
}

bool ring_kernel_peer_has_ended(struct ring *ring, int fd)
{
    (void)ring;
    struct pollfd wanted = {.fd = fd, .events = POLLRDHUP};
    return poll(&wanted, 1, 0) == 1 && (wanted.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void ring_kernel_shutdown(struct ring *ring, int fd)
{
    (void)ring;
    (void)shutdown(fd, SHUT_RDWR); /* ENOTCONN: there is nothing to shut down. */
}

int64_t ring_kernel_mono_us(const struct ring *ring)
{
    (void)ring;
    return clock_mono_us();
}
