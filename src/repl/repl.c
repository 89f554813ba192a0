/* The life of replication: who we are, the identity of our history, and its configuration.
 *
 * A history is named by an id, 40 random digits, and a place in it by an offset. Two servers with
 * the same id and the same offset hold the same data. An id is drawn anew whenever the bytes of the
 * stream that follow are not those that another holder of the id would get:
 *
 *     start                          new id, offset 0 (or as the loaded file says)
 *     first replica of a primary     new id: what changed before was not written down
 *     backlog freed, or broken       new id, for the same reason
 *     promotion                      new id; the old one stays as id2, valid up to the end
 *     full synchronisation           the primary's id
 *
 * With id2 the other replicas of a primary that has gone continue with the one that was promoted,
 * as long as they have nothing that it has not. */
#include "repl/repl.h"

#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "persist/rdb_format.h"
#include "persist/rdb_write.h"
#include "repl/repl_internal.h"

static const char no_id[REPL_ID_LEN + 1] = "0000000000000000000000000000000000000000";

bool repl_is_host(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool is_control = (unsigned char)byte < ' ' || byte == 127;
        if (is_control || strchr(" ,=\"'\\", byte) != NULL) {
            return false;
        }
    }
    return text.len > 0 && text.len <= REPL_HOST_LEN_MAX;
}

/* ---- Ids ---- */

void repl_draw_id(struct repl *repl)
{
    static const char digits[] = "0123456789abcdef";
    struct rng *rng = exec_rng(repl->exec);
    for (int i = 0; i < REPL_ID_LEN; i++) {
        repl->id[i] = digits[rng_below(rng, 16)];
    }
    repl->id[REPL_ID_LEN] = '\0';
}

void repl_forget_id2(struct repl *repl)
{
    memcpy(repl->id2, no_id, sizeof no_id);
    repl->id2_offset = -1;
}

void repl_shift_id(struct repl *repl)
{
    memcpy(repl->id2, repl->id, sizeof repl->id2);
    repl->id2_offset = backlog_end(&repl->backlog) + 1;
    repl_draw_id(repl);
    log_write(LOG_NOTICE,
              "Setting secondary replication ID to %s, valid up to offset: %lld. New replication "
              "ID is %s",
              repl->id2, (long long)repl->id2_offset, repl->id);
}

void repl_change_id(struct repl *repl)
{
    repl_draw_id(repl);
    repl_forget_id2(repl);
}

/* ---- The backlog ---- */

void repl_open_backlog(struct repl *repl)
{
    if (backlog_is_open(&repl->backlog)) {
        return;
    }
    repl_draw_id(repl);
    repl_forget_id2(repl);
    backlog_open(&repl->backlog, backlog_end(&repl->backlog));
    feed_update(repl);
    log_write(LOG_NOTICE, "Replication backlog created, my new replication IDs are '%s' and '%s'",
              repl->id, repl->id2);
}

/* What follows is not written down. */
static void close_backlog(struct repl *repl)
{
    backlog_close(&repl->backlog);
    feed_update(repl);
    repl_draw_id(repl);
    repl_forget_id2(repl);
}

void repl_lose_backlog(struct repl *repl, const char *why)
{
    replicas_drop_all(repl, why);
    close_backlog(repl);
}

/* On a primary without replicas the history is freed in the end. */
static void tick_backlog(struct repl *repl)
{
    if (!backlog_is_open(&repl->backlog)) {
        return;
    }
    (void)backlog_trim(&repl->backlog);
    int64_t ttl_s = repl->config.backlog_ttl_s;
    if (repl->is_replica || repl->replica_count != 0 || ttl_s == 0) {
        return;
    }
    if (repl->now->mono_us - repl->alone_since_us > ttl_s * 1000000) {
        close_backlog(repl);
        log_write(LOG_NOTICE,
                  "Replication backlog freed after %lld seconds without connected replicas.",
                  (long long)ttl_s);
    }
}

/* ---- Configuration ---- */

static void config_deinit(struct repl_config *config)
{
    mem_free((void *)(uintptr_t)config->announce_ip);
    mem_free((void *)(uintptr_t)config->user);
    mem_free((void *)(uintptr_t)config->password);
    mem_free((void *)(uintptr_t)config->dir);
    mem_free((void *)(uintptr_t)config->file_name);
}

static const char *copy_text(const char *text)
{
    size_t size = text == NULL ? 1 : strlen(text) + 1;
    return memcpy(mem_alloc(size), text == NULL ? "" : text, size);
}

void repl_configure(struct repl *repl, const struct repl_config *config)
{
    struct repl_config old = repl->config;
    repl->config = *config;
    repl->config.announce_ip = copy_text(config->announce_ip);
    repl->config.user = copy_text(config->user);
    repl->config.password = copy_text(config->password);
    repl->config.dir = copy_text(config->dir);
    repl->config.file_name = copy_text(config->file_name);
    config_deinit(&old);
    backlog_set_size(&repl->backlog, config->backlog_size);
    replicas_count_good(repl);
}

/* ---- Life ---- */

struct repl *repl_new(const struct repl_options *options)
{
    struct repl *repl = mem_zalloc(sizeof *repl);
    repl->options = *options;
    repl->exec = options->exec;
    repl->now = exec_now(options->exec);
    list_init(&repl->replicas);
    backlog_init(&repl->backlog, options->lent_bytes);
    backlog_set_work(&repl->backlog, exec_work(repl->exec));
    repl_draw_id(repl);
    repl_forget_id2(repl);
    feed_init(repl);
    waits_init(repl);
    repl->sync = sync_new(repl);
    link_new(repl);
    return repl;
}

void repl_stop(struct repl *repl)
{
    if (repl != NULL) {
        sync_abort(repl->sync, "Disconnecting replica, the server ends");
        link_stop(repl);
        repl_lose_backlog(repl, "Disconnecting replica, the server ends");
        backlog_deinit(&repl->backlog); /* While those live to whom its blobs were lent. */
    }
}

void repl_free(struct repl *repl)
{
    if (repl == NULL) {
        return;
    }
    ASSERT(list_is_empty(&repl->replicas));
    sync_free(repl->sync);
    link_free(repl);
    config_deinit(&repl->config);
    mem_free_sized(repl, sizeof *repl);
}

void repl_register(struct repl *repl)
{
    primary_register(repl);
    report_register(repl);
    waits_register(repl);
    role_register(repl);
}

/* ---- What files tell ---- */

static void write_fact(struct codec_out *out, const char *name, int64_t number)
{
    char digits[NUM_I64_TEXT_MAX + 1];
    rdb_write_aux(out, name, slice_of(digits, num_format_i64(digits, number)));
}

void repl_write_facts(const struct repl *repl, struct codec_out *out)
{
    struct repl_facts facts;
    if (repl_facts(repl, &facts)) {
        write_fact(out, RDB_AUX_REPL_DB, facts.db < 0 ? 0 : facts.db);
        rdb_write_aux(out, RDB_AUX_REPL_ID, slice_of(facts.id, REPL_ID_LEN));
        write_fact(out, RDB_AUX_REPL_OFFSET, facts.offset);
    }
}

/* ---- The turn ---- */

bool repl_drain(struct repl *repl, int64_t deadline_mono_us)
{
    return link_drain(repl, deadline_mono_us);
}

bool repl_is_ready(const struct repl *repl)
{
    return link_is_ready(repl);
}

void repl_step(struct repl *repl)
{
    if (waits_due_us(repl) <= repl->now->mono_us) {
        waits_step(repl);
    }
    if (sync_due_us(repl->sync) <= ring_mono_us(repl->options.ring)) {
        sync_step(repl->sync);
    }
}

int64_t repl_due_us(const struct repl *repl)
{
    int64_t waits_us = waits_due_us(repl);
    int64_t sync_us = sync_due_us(repl->sync);
    return waits_us < sync_us ? waits_us : sync_us;
}

void repl_tick(struct repl *repl)
{
    link_tick(repl);
    replicas_tick(repl);
    tick_backlog(repl);
}

/* ---- Who we are ---- */

bool repl_is_replica(const struct repl *repl)
{
    return repl->is_replica;
}

size_t repl_memory(const struct repl *repl)
{
    return sizeof *repl + backlog_memory(&repl->backlog) + sync_memory(repl->sync) +
           link_memory(repl);
}
