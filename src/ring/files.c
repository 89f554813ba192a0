/* One helper thread for file operations, so that an fsync of 50 ms does not hold up the ring.
 *
 *     ring thread                       helper thread
 *     files_start --> [waiting] ------> open, read, write, fsync, rename, unlink
 *     files_collect <-- [completed] <-- result, and a count in the event descriptor
 *
 * The thread owns an operation from the moment it takes it off `waiting` until it is on
 * `completed`; it reads and writes the operation's own fields only, and keeps no data of the ring.
 * One thread is enough: the log and the snapshot write in sequence anyway, and the order stays the
 * order of starts.
 *
 * Costs: two context switches per operation, one eventfd write per batch that finds `completed`
 * empty.
 *
 * Invariants: 1. `lock` guards the lists and is_stopping. 2. An operation is on one list, or it is
 * `running`. Rejected: doing them in the ring's thread (a slow disk would stop every client), and a
 * thread per file (an order that nobody asked for). */
#include "ring/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

struct files {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct list waiting;
    struct list completed;
    pthread_t thread;
    bool has_thread;
    bool is_stopping;
    int event_fd;
};

static int result_of(ssize_t returned)
{
    return returned < 0 ? -errno : (int)returned;
}

static int write_all(struct ring_op *op)
{
    for (;;) {
        ssize_t moved = op->offset < 0 ? write(op->fd, op->data, op->len)
                                       : pwrite(op->fd, op->data, op->len, op->offset);
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved <= 0) {
            return moved == 0 ? -EIO : -errno;
        }
        if (ring_op_advance(op, (size_t)moved)) {
            return (int)op->done_len;
        }
    }
}

static int file_op_run(struct ring_op *op)
{
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_OPEN:
        return result_of(open(op->data, (int)op->offset, (mode_t)op->len));
    case RING_OP_READ:
        return result_of(op->offset < 0 ? read(op->fd, op->data, op->len)
                                        : pread(op->fd, op->data, op->len, op->offset));
    case RING_OP_WRITE:
        return write_all(op);
    case RING_OP_FSYNC:
        return result_of(op->len != 0 ? fdatasync(op->fd) : fsync(op->fd));
    case RING_OP_RENAME:
        return result_of(rename(op->data, (const char *)(intptr_t)op->offset));
    default:
        ASSERT(op->kind == RING_OP_UNLINK);
        return result_of(unlink(op->data));
    }
}

static void *files_thread_run(void *argument)
{
    struct files *files = argument;
    (void)pthread_mutex_lock(&files->lock);
    for (;;) {
        while (list_is_empty(&files->waiting) && !files->is_stopping) {
            (void)pthread_cond_wait(&files->has_work, &files->lock);
        }
        if (files->is_stopping) {
            break;
        }
        struct ring_op *op = LIST_OWNER(files->waiting.next, struct ring_op, link);
        list_remove(&op->link);
        (void)pthread_mutex_unlock(&files->lock);
        op->result = file_op_run(op);
        (void)pthread_mutex_lock(&files->lock);
        if (list_is_empty(&files->completed)) {
            (void)eventfd_write(files->event_fd, 1);
        }
        list_push_back(&files->completed, &op->link);
    }
    (void)pthread_mutex_unlock(&files->lock);
    return NULL;
}

int files_open(struct files **out)
{
    int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_fd < 0) {
        return -errno;
    }
    struct files *files = mem_zalloc(sizeof(*files));
    files->event_fd = event_fd;
    (void)pthread_mutex_init(&files->lock, NULL);
    (void)pthread_cond_init(&files->has_work, NULL);
    list_init(&files->waiting);
    list_init(&files->completed);
    *out = files;
    return 0;
}

static void drop_all(struct list *ops)
{
    while (!list_is_empty(ops)) {
        struct ring_op *op = LIST_OWNER(ops->next, struct ring_op, link);
        list_remove(&op->link);
        op->in_flight = false;
    }
}

void files_close(struct files *files)
{
    if (files->has_thread) {
        (void)pthread_mutex_lock(&files->lock);
        files->is_stopping = true;
        (void)pthread_cond_signal(&files->has_work);
        (void)pthread_mutex_unlock(&files->lock);
        (void)pthread_join(files->thread, NULL);
    }
    drop_all(&files->waiting);
    drop_all(&files->completed);
    (void)pthread_cond_destroy(&files->has_work);
    (void)pthread_mutex_destroy(&files->lock);
    (void)close(files->event_fd);
    mem_free(files);
}

int files_event_fd(const struct files *files)
{
    return files->event_fd;
}

/* Signals belong to the main thread: the helper starts with all of them blocked. */
static bool thread_start(struct files *files)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    files->has_thread = pthread_create(&files->thread, NULL, files_thread_run, files) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return files->has_thread;
}

void files_start(struct files *files, struct ring_op *op)
{
    bool has_thread = files->has_thread || thread_start(files);
    (void)pthread_mutex_lock(&files->lock);
    if (has_thread) {
        list_push_back(&files->waiting, &op->link);
        (void)pthread_cond_signal(&files->has_work);
    } else { /* No thread to be had: better slow than not at all. */
        op->result = file_op_run(op);
        list_push_back(&files->completed, &op->link);
        (void)eventfd_write(files->event_fd, 1);
    }
    (void)pthread_mutex_unlock(&files->lock);
}

bool files_cancel(struct files *files, struct ring_op *op)
{
    bool is_waiting = false;
    (void)pthread_mutex_lock(&files->lock);
    for (struct list *node = files->waiting.next; node != &files->waiting; node = node->next) {
        if (node == &op->link) {
            is_waiting = true;
            list_remove(&op->link);
            break;
        }
    }
    (void)pthread_mutex_unlock(&files->lock);
    return is_waiting;
}

unsigned files_collect(struct files *files, struct ring *ring)
{
    unsigned count = 0;
    eventfd_t events;
    (void)eventfd_read(files->event_fd, &events);
    (void)pthread_mutex_lock(&files->lock);
    while (!list_is_empty(&files->completed)) {
        struct ring_op *op = LIST_OWNER(files->completed.next, struct ring_op, link);
        list_remove(&op->link);
        ring_op_finish(ring, op, op->result);
        count++;
    }
    (void)pthread_mutex_unlock(&files->lock);
    return count;
}
