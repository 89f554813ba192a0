/* Saving: what the server wants of the saver, and the save before the end.
 *
 * SHUTDOWN and the signals save unless they say otherwise: by default when there are save points,
 * as in Redis. All commands are held back from the moment of that save on, so that nothing is
 * acknowledged which the file does not have. When it fails the end is off, unless it was forced: a
 * server whose data cannot be saved is better than none. */
#include <stdio.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/log.h"
#include "persist/rdb_format.h"
#include "persist/rdb_write.h"
#include "repl/repl.h"
#include "script/script.h"
#include "server/process.h"
#include "server/server.h"

/* Libraries of functions, those included that a loaded file brought and that could not be loaded.
 */
unsigned server_write_functions(void *context, struct codec_out *out)
{
    const struct server *server = context;
    const struct server_loading *loading = &server->loading;
    struct slice code;
    size_t count = 0;
    for (; script_library_at(server->script, count, &code); count++) {
        if (out != NULL) {
            rdb_write_function(out, code);
        }
    }
    for (unsigned i = 0; out != NULL && i < loading->function_count; i++) {
        rdb_write_function(out, blob_slice(loading->functions[i]));
    }
    return count + loading->function_count > 0 ? RDB_VERSION_FUNCTIONS : 0;
}

/* What stands in a file of ours before the databases. */
static unsigned write_more(void *context, struct codec_out *out)
{
    struct server *server = context;
    if (out != NULL) {
        repl_write_facts(server->repl, out);
    }
    return server_write_functions(server, out);
}

void server_init_saver(struct server *server, bool is_threaded)
{
    server->saver = saver_new(&(struct saver_options){.exec = server->exec,
                                                      .ring = server->ring,
                                                      .speaks = slice_from_text(OURO_REDIS_VERSION),
                                                      .pid = (long)getpid(),
                                                      .is_threaded = is_threaded,
                                                      .on_refusal = server_update_write_gate,
                                                      .context = server});
    saver_set_more(server->saver, write_more, server);
}

/* "3600 1 300 100", as config_set_save has left it. */
static unsigned read_points(const char *text, struct save_point points[SAVER_POINTS_MAX])
{
    unsigned count = 0;
    long long seconds;
    long long changes;
    int len;
    while (count < SAVER_POINTS_MAX && sscanf(text, "%lld %lld%n", &seconds, &changes, &len) == 2) {
        points[count++] = (struct save_point){.seconds = seconds, .changes = changes};
        text += len;
    }
    return count;
}

void server_apply_saver(struct server *server)
{
    const struct config *config = server->config;
    struct saver_config saver = {
        .dir = config->dir,
        .file_name = config->db_filename,
        .has_packing = config->rdb_compression,
        .has_checksum = config->rdb_checksum,
        .is_syncing_along = config->rdb_incremental_fsync,
        .stops_writes = config->stops_writes,
        .share_percent = (unsigned)config->rdb_share,
    };
    saver.point_count = read_points(config->save, saver.points);
    saver_configure(server->saver, &saver);
}

/* ---- The end ---- */

static bool wants_save(const struct server *server)
{
    const struct shutdown_request *shutdown = &server->shutdown;
    if (server_is_loading(server)) {
        return false; /* The file has more than we do. */
    }
    return shutdown->must_save || (!shutdown->must_not_save && saver_has_points(server->saver));
}

static bool save_alone(struct server *server)
{
    log_write(LOG_NOTICE, "Saving the final RDB snapshot before exiting.");
    process_notify(server->config, "STATUS=Saving the final RDB snapshot\n");
    exec_pause(server->exec, PAUSE_BY_END, PAUSE_ALL, INT64_MAX);
    if (saver_save_now(server->saver)) {
        return true;
    }
    log_write(LOG_WARNING, "Error trying to save the DB, %s",
              server->shutdown.is_forced ? "exit anyway." : "can't exit.");
    return server->shutdown.is_forced;
}

/* Who asked is told that the end is off. */
static void stay(struct server *server)
{
    struct session *session = server->shutdown.session;
    log_write(LOG_WARNING,
              "Errors trying to shut down the server. Check the logs for more information.");
    process_notify(server->config, "STATUS=Error trying to save the DB, can't exit.\n");
    server->shutdown = (struct shutdown_request){.is_requested = false};
    exec_unpause(server->exec, PAUSE_BY_END);
    if (session != NULL) {
        reply_error(session->out, "ERR Errors trying to SHUTDOWN. Check logs.");
        session_resume(session);
    }
}

bool server_save_at_end(struct server *server)
{
    script_abort(server->script); /* One that is in the middle would never see its end. */
    exec_make_whole(server->exec);
    if (!wants_save(server)) {
        saver_abort(server->saver);
    } else if (!save_alone(server)) {
        stay(server);
        return false;
    }
    if (server->shutdown.session != NULL) {
        session_close(server->shutdown.session, true);
    }
    return true;
}

/* ---- DEBUG RELOAD ---- */

void server_reload(struct server *server)
{
    const struct reload_request *reload = &server->reload;
    const char *reply = NULL;
    if (server->reload.has_save && !saver_save_now(server->saver)) {
        reply = "ERR";
    } else if (!loading_reload(server, reload->has_flush, reload->is_merge)) {
        reply = "ERR Error trying to load the RDB dump";
    } else {
        exec_stats(server->exec)->dirty = 0;
        log_write(LOG_WARNING, "DB reloaded by DEBUG RELOAD");
    }
    struct session *session = server->reload.session; /* NULL: has gone while we saved. */
    server->reload = (struct reload_request){.is_requested = false};
    if (session != NULL && reply == NULL) {
        reply_status(session->out, "OK");
    } else if (session != NULL) {
        reply_error(session->out, reply);
    }
    if (session != NULL) {
        session_resume(session);
    }
}
