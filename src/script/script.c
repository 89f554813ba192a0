/* The room's life: states, sandbox, commands, and what is told of them. */
#include "script/script.h"

#include "base/assert.h"
#include "base/mem.h"
#include "exec/aside.h"
#include "script/library.h"

struct script *script_new(struct exec *exec, const struct script_options *options)
{
    struct script *script = mem_zalloc(sizeof(*script));
    list_init(&script->retired);
    script->exec = exec;
    script->options = *options;
    script->eval.script = script->functions.script = script;
    reply_pool_init(&script->pool);
    reply_init(&script->reply, &script->pool);
    buf_init(&script->flat);
    buf_init(&script->slow_words);
    session_init(&script->session, exec, &script->reply, NULL, SESSION_INTERNAL);
    script->cache = cache_new();
    script->libraries = libraries_new();
    exec_set_gate(exec, GATE_BUSY, run_refuse_busy, script);
    eval_register(script);
    function_register(script);
    return script;
}

void script_free(struct script *script)
{
    ASSERT(script->run == NULL);
    retire_finish(script);
    cache_free(script->cache, NULL);
    libraries_free(script->libraries, NULL);
    vm_close(&script->eval);
    vm_close(&script->functions);
    session_deinit(&script->session);
    reply_deinit(&script->reply);
    reply_pool_deinit(&script->pool);
    buf_deinit(&script->flat);
    buf_deinit(&script->slow_words);
    mem_free(script);
}

void script_configure(struct script *script, int64_t threshold_ms, size_t memory_max)
{
    script->options.threshold_ms = threshold_ms;
    script->options.memory_max = memory_max;
}

void script_abort(struct script *script)
{
    if (script->run != NULL) {
        script->run->is_killed = true;
        aside_finish(script->exec);
    }
}

struct script_stats script_stats(const struct script *script)
{
    struct script_stats stats = script->stats;
    stats.eval_memory = script->eval.memory;
    stats.function_memory = script->functions.memory;
    stats.cache_memory = script->pieces - script->library_pieces;
    stats.library_memory = script->library_pieces;
    stats.script_count = cache_count(script->cache);
    stats.library_count = script->libraries->count;
    stats.function_count = script->libraries->function_count;
    return stats;
}

size_t script_memory(const struct script *script)
{
    return script->eval.memory + script->functions.memory + script->pieces + retire_memory(script) +
           script->flat.cap + reply_pool_memory(&script->pool);
}

/* ---- For snapshots and replication ----------------------------------------------------------- */

bool script_library_at(const struct script *script, size_t index, struct slice *code)
{
    if (index >= script->libraries->count) {
        return false;
    }
    const struct library *library = script->libraries->at[index];
    *code = slice_of(library->code, library->code_len);
    return true;
}

const char *script_load_library(struct script *script, struct slice code, bool may_replace)
{
    buf_clear(&script->flat);
    bool is_loaded = libraries_load(script, code, may_replace, &script->flat);
    buf_append_byte(&script->flat, '\0');
    return is_loaded ? NULL : script->flat.data;
}

void script_flush_libraries(struct script *script)
{
    libraries_flush(script);
}
