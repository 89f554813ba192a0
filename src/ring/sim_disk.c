/* The simulated disks: files by path, each with what the program sees and what a crash leaves.
 *
 *     data     |==================~~~~~~~~|      what was written
 *     durable  |==================|              what was synced
 *     a crash keeps the synced part and a piece, by lot, of the bytes appended since; a file that
 * was written over in place goes back to its synced state.
 *
 * Names (creation, rename, unlink) are durable at once, as on a journaling file system; the
 * contents are not, so a rename before an fsync loses the file's contents in a crash, as it does in
 * life. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"
#include "ring/sim_internal.h"

static struct sim_file *find_file(struct sim_node *node, const char *path)
{
    for (struct list *link = node->files.next; link != &node->files; link = link->next) {
        struct sim_file *file = LIST_OWNER(link, struct sim_file, link);
        if (strcmp(file->path, path) == 0) {
            return file;
        }
    }
    return NULL;
}

static struct sim_file *file_new(struct sim_node *node, const char *path)
{
    struct sim_file *file = mem_zalloc(sizeof(*file));
    memcpy(file->path, path, strlen(path) + 1);
    file->is_named = true;
    list_push_back(&node->files, &file->link);
    return file;
}

static void file_free_if_unused(struct sim_file *file)
{
    if (!file->is_named && file->handle_count == 0) {
        mem_free(file->data);
        mem_free(file->durable);
        mem_free(file);
    }
}

static void file_unname(struct sim_file *file)
{
    list_remove(&file->link);
    file->is_named = false;
    file_free_if_unused(file);
}

static void file_sync(struct sim_file *file)
{
    file->durable = mem_realloc(file->durable, file->len + 1);
    if (file->len > 0) {
        memcpy(file->durable, file->data, file->len);
    }
    file->durable_len = file->len;
    file->is_rewritten = false;
}

static void file_store(struct sim_file *file, size_t offset, const char *data, size_t len)
{
    size_t end = offset + len;
    if (end > file->len) {
        file->data = mem_realloc(file->data, end + 1);
        memset(file->data + file->len, 0, end - file->len);
        file->len = end;
    }
    file->is_rewritten = file->is_rewritten || offset < file->durable_len;
    if (len > 0) {
        memcpy(file->data + offset, data, len);
    }
}

static uint64_t disk_used(const struct sim_node *node)
{
    uint64_t used = 0;
    for (struct list *link = node->files.next; link != &node->files; link = link->next) {
        used += LIST_OWNER(link, struct sim_file, link)->len;
    }
    return used;
}

void sim_file_close(struct sim_handle *handle)
{
    handle->file->handle_count--;
    file_free_if_unused(handle->file);
}

void sim_disk_crash(struct sim_world *world, struct sim_node *node)
{
    for (struct list *link = node->files.next; link != &node->files; link = link->next) {
        struct sim_file *file = LIST_OWNER(link, struct sim_file, link);
        if (file->is_rewritten || file->len < file->durable_len) {
            file->data = mem_realloc(file->data, file->durable_len + 1);
            memcpy(file->data, file->durable, file->durable_len);
            file->len = file->durable_len;
        } else {
            size_t unsynced = file->len - file->durable_len;
            file->len = file->durable_len + rng_below(&world->rng, unsynced + 1);
        }
        file_sync(file);
    }
}

void sim_disk_free(struct sim_node *node)
{
    while (!list_is_empty(&node->files)) {
        file_unname(LIST_OWNER(node->files.next, struct sim_file, link));
    }
}

/* ---- Operations ---- */

static int open_run(struct sim_ring *sim, const struct ring_op *op)
{
    struct sim_node *node = &sim->world->nodes[sim->node];
    int flags = (int)op->offset;
    if (strlen(op->data) >= SIM_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct sim_file *file = find_file(node, op->data);
    if (file != NULL && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        return -EEXIST;
    }
    if (file == NULL && (flags & (O_CREAT | O_DIRECTORY)) == 0) {
        return -ENOENT;
    }
    struct sim_handle *handle = mem_zalloc(sizeof(*handle));
    int fd = sim_fd_new(sim->world, sim->node, handle);
    if (fd < 0) {
        mem_free(handle);
        return fd;
    }
    file = file != NULL ? file : file_new(node, op->data);
    if ((flags & O_TRUNC) != 0) {
        file->is_rewritten = file->is_rewritten || file->durable_len > 0;
        file->len = 0;
    }
    file->handle_count++;
    *handle =
        (struct sim_handle){.kind = SIM_FILE, .node = sim->node, .file = file, .flags = flags};
    return fd;
}

static int read_run(const struct ring_op *op, struct sim_handle *handle)
{
    const struct sim_file *file = handle->file;
    size_t offset = (size_t)(op->offset < 0 ? handle->position : op->offset);
    size_t left = offset < file->len ? file->len - offset : 0;
    size_t take = op->len < left ? op->len : left;
    if (take > 0) {
        memcpy(op->data, file->data + offset, take);
    }
    if (op->offset < 0) {
        handle->position += (int64_t)take;
    }
    return (int)take;
}

static int write_run(struct sim_ring *sim, const struct ring_op *op, struct sim_handle *handle)
{
    struct sim_node *node = &sim->world->nodes[sim->node];
    struct sim_file *file = handle->file;
    int64_t offset = op->offset < 0 ? handle->position : op->offset;
    offset = (handle->flags & O_APPEND) != 0 ? (int64_t)file->len : offset;
    int error = node->disk.write_failures > 0 ? -EIO : 0;
    size_t len = op->len;
    uint64_t used = disk_used(node);
    uint64_t room = used < node->disk.capacity_bytes ? node->disk.capacity_bytes - used : 0;
    if (error == 0 && len > room) {
        error = -ENOSPC;
        len = (size_t)room;
    } else if (error != 0) {
        node->disk.write_failures--;
        len = rng_below(&sim->world->rng, len + 1); /* A failed write may have moved a part. */
    }
    file_store(file, (size_t)offset, op->data, len);
    if (op->offset < 0) {
        handle->position = offset + (int64_t)len;
    }
    return error != 0 ? error : (int)len;
}

static int fsync_run(struct sim_ring *sim, struct sim_handle *handle)
{
    struct sim_disk *disk = &sim->world->nodes[sim->node].disk;
    if (disk->fsync_failures > 0) {
        disk->fsync_failures--;
        return -EIO;
    }
    file_sync(handle->file);
    return 0;
}

static int rename_run(struct sim_node *node, const struct ring_op *op)
{
    const char *to = (const char *)(intptr_t)op->offset;
    struct sim_file *file = find_file(node, op->data);
    if (file == NULL) {
        return -ENOENT;
    }
    if (strlen(to) >= SIM_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct sim_file *replaced = find_file(node, to);
    if (replaced == file) {
        return 0;
    }
    if (replaced != NULL) {
        file_unname(replaced);
    }
    memcpy(file->path, to, strlen(to) + 1);
    return 0;
}

static int unlink_run(struct sim_node *node, const struct ring_op *op)
{
    struct sim_file *file = find_file(node, op->data);
    if (file == NULL) {
        return -ENOENT;
    }
    file_unname(file);
    return 0;
}

int sim_file_op_run(struct sim_ring *sim, struct ring_op *op)
{
    struct sim_node *node = &sim->world->nodes[sim->node];
    if (op->kind == RING_OP_OPEN) {
        return open_run(sim, op);
    }
    if (op->kind == RING_OP_RENAME) {
        return rename_run(node, op);
    }
    if (op->kind == RING_OP_UNLINK) {
        return unlink_run(node, op);
    }
    struct sim_handle *handle = sim_handle_at(sim, op->fd);
    if (handle == NULL || handle->kind != SIM_FILE) {
        return -EBADF;
    }
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_READ:
        return read_run(op, handle);
    case RING_OP_WRITE:
        return write_run(sim, op, handle);
    default:
        return fsync_run(sim, handle);
    }
}

/* ---- For the test's own hands ---- */

const char *sim_file_peek(struct sim_world *world, unsigned node, const char *path, size_t *len)
{
    struct sim_file *file = find_file(&world->nodes[node], path);
    if (file == NULL) {
        return NULL;
    }
    *len = file->len;
    return file->data != NULL ? file->data : "";
}

void sim_file_put(struct sim_world *world, unsigned node, const char *path, const void *data,
                  size_t len)
{
    ASSERT(strlen(path) < SIM_PATH_MAX);
    struct sim_file *file = find_file(&world->nodes[node], path);
    file = file != NULL ? file : file_new(&world->nodes[node], path);
    file->len = 0;
    file_store(file, 0, data, len);
    file_sync(file);
}
