/* The process: everything here is a few system calls done once at start or end. */
#include "server/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

enum { PROCESS_FILES_RESERVED = 64 }; /* Descriptors for listeners, rings, logs and files. */

int process_daemonize(void)
{
    pid_t child = fork();
    if (child < 0) {
        return -errno;
    }
    if (child > 0) {
        _exit(0);
    }
    setsid();
    int null = open("/dev/null", O_RDWR);
    if (null < 0) {
        return -errno;
    }
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO) {
        close(null);
    }
    return 0;
}

static const char *pid_path(const struct config *config)
{
    if (config->pid_file[0] != '\0') {
        return config->pid_file;
    }
    return config->daemonize ? "/var/run/ouro.pid" : NULL;
}

void process_write_pid(const struct config *config)
{
    const char *path = pid_path(config);
    if (path == NULL) {
        return;
    }
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        log_write(LOG_WARNING, "Failed to write PID file: %s", strerror(errno));
        return;
    }
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

void process_remove_pid(const struct config *config)
{
    const char *path = pid_path(config);
    if (path != NULL) {
        unlink(path);
    }
}

void process_raise_files(struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->clients_max + PROCESS_FILES_RESERVED;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = wanted;
    limit.rlim_max = wanted > limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    rlim_t now = setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
    if (now < wanted) {
        config->clients_max =
            now > PROCESS_FILES_RESERVED ? (int64_t)(now - PROCESS_FILES_RESERVED) : 1;
        log_write(LOG_WARNING,
                  "The limit of open files is %llu: maxclients has been reduced to %lld.",
                  (unsigned long long)now, (long long)config->clients_max);
    }
}

bool process_is_supervised(const struct config *config)
{
    return (config->supervised == SUPERVISED_SYSTEMD || config->supervised == SUPERVISED_AUTO) &&
           getenv("NOTIFY_SOCKET") != NULL;
}

void process_notify(const struct config *config, const char *state)
{
    if (!process_is_supervised(config)) {
        return;
    }
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(address.sun_path)) {
        log_write(LOG_WARNING, "NOTIFY_SOCKET is not a usable path");
        return;
    }
    memcpy(address.sun_path, path, len);
    if (address.sun_path[0] == '@') {
        address.sun_path[0] = '\0'; /* An abstract name. */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) {
        log_write(LOG_WARNING, "Cannot notify systemd: %s", strerror(errno));
    }
    close(fd);
}
