/* Running a script: from its function to the reply, and what happens when it takes too long.
 *
 *     run_start -> aside_run -> enter: arguments, lua_pcall -> value or error -> reply
 *                                        |   ^
 *                    every 2,000         v   |  (rounds of Lua's own machine)
 *                    instructions      hook -+- over the threshold: park, others are told BUSY
 *                                            '- killed: raise
 *
 * A script runs on the stack aside (exec/aside.h), so that the hook can leave it in the middle: the
 * loop turns, other clients are told BUSY, SCRIPT KILL comes through. The first look at the clock
 * is where the time begins, so that short scripts never ask for it.
 *
 * An instruction may take a nanosecond, or half a second when it compares two texts of 500 MiB. So
 * the hook measures what it was not called for, and is called after fewer instructions when that
 * was long, down to each. What takes long inside a single call of C looks by itself: run_look, and
 * run_breathe where nothing may be raised.
 *
 * A killed script gets an error at every line from then on, so that no pcall of its own keeps it
 * alive, and no more memory.
 *
 * Rejected: a timer and a signal that sets the hook (it would have to know which coroutine runs;
 * the hook costs less than 1 % of Lua 5.1's interpreter). */
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "exec/aside.h"
#include "script/script_internal.h"

enum {
#ifdef OURO_HOSTILE
    LOOK_INSTRUCTIONS = 50,
    SLICE_US = 0,
#else
    LOOK_INSTRUCTIONS = 2000, /* Between two looks at the clock at most: about 10 us. */
    SLICE_US = 150,           /* Of a slow script, between two turns of the loop. */
#endif
    LOOK_US_MAX = 1000, /* If more has passed, looks come closer. */
};

static const char busy_script[] =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
static const char busy_function[] =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

/* ---- The hook -------------------------------------------------------------------------------- */

static void hook(lua_State *lua, lua_Debug *where);

static void raise_killed(lua_State *lua, const struct script_run *run)
{
    lua_sethook(lua, hook, LUA_MASKLINE | LUA_MASKCOUNT, 1);
    const char *text = run->is_function ? "ERR Script killed by user with FUNCTION KILL."
                                        : "ERR Script killed by user with SCRIPT KILL.";
    value_push_error(lua, slice_from_text(text));
    lua_error(lua);
}

/* Keeps the command for FUNCTION STATS: its words are the client's, which may go. */
static void keep_words(struct script_run *run)
{
    enum { WORDS_MAX = 1000 };
    struct script *script = run->script;
    const struct slice *words = run->arguments - 3; /* Command, script and count before them. */
    uint32_t count = run->argument_count + 3;
    script->slow_count = count < WORDS_MAX ? count : WORDS_MAX;
    buf_clear(&script->slow_words);
    for (uint32_t i = 0; i < script->slow_count; i++) {
        buf_printf(&script->slow_words, "$%zu\r\n", words[i].len);
        buf_append(&script->slow_words, words[i]);
        buf_append_text(&script->slow_words, "\r\n");
    }
}

static void note_slow(struct script_run *run, int64_t passed_ms)
{
    run->is_slow = true;
    keep_words(run);
    log_write(LOG_WARNING,
              "Slow script detected: still in execution after %lld milliseconds. You can try "
              "killing the script using the %s command. Script name is: %s.",
              (long long)passed_ms, run->is_function ? "FUNCTION KILL" : "SCRIPT KILL", run->name);
}

/* Notes how long it takes, and lets others go first if that is too long. Returns the time. */
static int64_t look(struct script_run *run)
{
    struct script *script = run->script;
    int64_t now_us = clock_mono_us();
    if (run->start_us == 0) {
        run->start_us = run->slice_us = now_us;
    }
    int64_t passed_ms = (now_us - run->start_us) / 1000;
    int64_t threshold_ms = script->options.threshold_ms;
    if (!run->is_slow && threshold_ms > 0 && passed_ms >= threshold_ms) {
        note_slow(run, passed_ms);
    }
    if (run->is_slow && !run->is_killed && now_us - run->slice_us >= SLICE_US &&
        aside_may_park(script->exec)) {
        aside_park(script->exec);
        now_us = run->slice_us = clock_mono_us();
    }
    return now_us;
}

/* After how many instructions the next look comes, when the last ones took so long. */
static int next_look(int instructions, int64_t us)
{
    if (us > LOOK_US_MAX) {
        return (int)(instructions * (int64_t)LOOK_US_MAX / us) + 1;
    }
    return instructions < LOOK_INSTRUCTIONS / 2 ? instructions * 2 : LOOK_INSTRUCTIONS;
}

static void hook(lua_State *lua, lua_Debug *where)
{
    (void)where;
    struct script_run *run = vm_of(lua)->script->run;
    if (run == NULL) {
        return;
    }
    int64_t before_us = run->look_us;
    run->look_us = look(run);
    if (run->is_killed) {
        raise_killed(lua, run);
    }
    int wanted = next_look(lua_gethookcount(lua), before_us != 0 ? run->look_us - before_us : 0);
    if (wanted != lua_gethookcount(lua)) {
        lua_sethook(lua, hook, LUA_MASKCOUNT, wanted);
    }
}

void run_look(lua_State *lua)
{
    struct script_run *run = vm_of(lua)->script->run;
    if (run != NULL) {
        run->look_us = look(run);
        if (run->is_killed) {
            raise_killed(lua, run);
        }
    }
}

bool run_breathe(struct script *script)
{
    if (script->run == NULL) {
        return true;
    }
    script->run->look_us = look(script->run);
    return !script->run->is_killed;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

int run_on_error(lua_State *lua)
{
    lua_Debug place;
    bool has_place = lua_getstack(lua, 1, &place) != 0 && lua_getinfo(lua, "Sl", &place) != 0;
    if (has_place && place.currentline < 0) {
        has_place = lua_getstack(lua, 2, &place) != 0 && lua_getinfo(lua, "Sl", &place) != 0;
    }
    lua_settop(lua, 1);
    if (!lua_istable(lua, 1)) {
        const char *text = lua_tostring(lua, 1);
        lua_createtable(lua, 0, 3);
        lua_pushfstring(lua, "ERR %s", text != NULL ? text : luaL_typename(lua, 1));
        lua_setfield(lua, -2, "err");
    }
    if (has_place) { /* Without metamethods: it may be a script's table. */
        lua_pushliteral(lua, "source");
        lua_pushstring(lua, place.source);
        lua_rawset(lua, -3);
        lua_pushliteral(lua, "line");
        lua_pushinteger(lua, place.currentline);
        lua_rawset(lua, -3);
    }
    return 1;
}

/* The text in the field of the table on top of the stack; "" when there is none. Stays valid: the
 * table refers to it. */
static const char *text_field(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "";
    lua_pop(lua, 1);
    return text;
}

static int line_field(lua_State *lua)
{
    lua_pushliteral(lua, "line");
    lua_rawget(lua, -2);
    int line = (int)lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    return line;
}

/* Answers with the error on top of the stack. */
static void reply_failure(lua_State *lua, const struct script_run *run)
{
    if (!lua_istable(lua, -1)) {
        const char *text = lua_tostring(lua, -1);
        reply_errorf(run->out, "ERR %s script: %s", text != NULL ? text : "unknown error",
                     run->name);
        return;
    }
    const char *text = text_field(lua, "err");
    if (*text == '\0') {
        text = "ERR unknown error";
    }
    const char *source = text_field(lua, "source");
    if (*source == '\0') {
        reply_errorf(run->out, "%s script: %s", text, run->name);
    } else {
        reply_errorf(run->out, "%s script: %s, on %s:%d.", text, run->name, source,
                     line_field(lua));
    }
}

/* ---- Running --------------------------------------------------------------------------------- */

static void push_slices(lua_State *lua, const struct slice *texts, uint32_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(lua, texts[i].len != 0 ? texts[i].data : "", texts[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

/* What is at hand whenever a script is entered: looking them up by name would cost more than to run
 * some scripts. */
enum { ENTER_ON_ERROR = 1, ENTER_GLOBALS, ENTER_KEYS, ENTER_ARGV };

/* A function gets its keys and arguments, a script finds them as globals. */
static void push_arguments(lua_State *lua, const struct script_run *run)
{
    const struct slice *rest = run->arguments + run->key_count;
    uint32_t rest_count = run->argument_count - run->key_count;
    if (run->is_function) {
        push_slices(lua, run->arguments, run->key_count);
        push_slices(lua, rest, rest_count);
        return;
    }
    lua_pushvalue(lua, lua_upvalueindex(ENTER_KEYS));
    push_slices(lua, run->arguments, run->key_count);
    lua_rawset(lua, lua_upvalueindex(ENTER_GLOBALS));
    lua_pushvalue(lua, lua_upvalueindex(ENTER_ARGV));
    push_slices(lua, rest, rest_count);
    lua_rawset(lua, lua_upvalueindex(ENTER_GLOBALS));
}

/* Prepares and calls the run that is its argument. */
static int enter(lua_State *lua)
{
    struct script_run *run = lua_touserdata(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(ENTER_ON_ERROR));
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->function);
    push_arguments(lua, run);
    run->is_failed = lua_pcall(lua, run->is_function ? 2 : 0, 1, 2) != 0;
    return 1;
}

void run_push_enter(lua_State *lua)
{
    lua_pushcfunction(lua, run_on_error);
    sandbox_push_globals(lua);
    lua_pushliteral(lua, "KEYS");
    lua_pushliteral(lua, "ARGV");
    lua_pushcclosure(lua, enter, ENTER_ARGV);
}

/* Runs aside. */
static void run_body(void *context)
{
    struct script *script = context;
    struct script_run *run = script->run;
    lua_State *lua = run->vm->lua;
    vm_pace(run->vm);
    lua_sethook(lua, hook, LUA_MASKCOUNT, LOOK_INSTRUCTIONS);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->vm->enter);
    lua_pushlightuserdata(lua, run);
    if (lua_pcall(lua, 1, 1, 0) != 0) {
        run->is_failed = true;
    }
    script->is_unbounded = true;
    int protocol = script->reply.protocol;
    if (run->is_failed) {
        reply_failure(lua, run);
    } else {
        value_reply(lua, run->out, protocol);
    }
    script->is_unbounded = false;
    lua_settop(lua, 0);
    while (!vm_collect_step(run->vm)) {
        if (run->is_slow && aside_may_park(script->exec)) {
            aside_park(script->exec);
        }
    }
    reply_deinit(&script->reply);
    buf_deinit(&script->slow_words);
    buf_init(&script->slow_words);
    if (run->has_audience) {
        exec_set_audience(script->exec, EFFECT_FOR_ALL);
    }
    script->run = NULL;
}

static void prepare_session(struct script *script, const struct session *caller)
{
    script->session.db = caller->db;
    script->session.gate_bits = caller->gate_bits & GATE_ACCESS;
    script->session.flags =
        SESSION_INTERNAL | (caller->flags & (SESSION_NO_TOUCH | SESSION_PRIMARY));
    script->reply.protocol = 2;
}

void run_start(struct call *call, const struct script_run *run)
{
    struct script *script = run->script;
    ASSERT(script->run == NULL);
    script->storage = *run;
    script->run = &script->storage;
    script->run->caller = call->session;
    script->run->out = call->out;
    script->run->was_full = script->options.is_memory_full(script->options.context);
    prepare_session(script, call->session);
    call_no_effect(call);
    bool is_finished = aside_run(call, run_body, script);
    (void)is_finished; /* Otherwise its session was suspended and is answered later. */
}

/* ---- Permission ------------------------------------------------------------------------------ */

bool run_is_allowed(struct call *call, const struct script_run *run)
{
    const struct script *script = run->script;
    bool is_writing = (run->flags & (SCRIPT_NO_WRITES | SCRIPT_IS_COMPAT)) == 0;
    const struct script_wish wish = {.has_flags = (run->flags & SCRIPT_IS_COMPAT) == 0,
                                     .is_writing = is_writing,
                                     .allows_stale = (run->flags & SCRIPT_ALLOW_STALE) != 0};
    const char *refusal =
        script->options.refuses == NULL
            ? NULL
            : script->options.refuses(script->options.context, call->session, &wish);
    if (refusal != NULL) {
        reply_error(call->out, refusal);
        return false;
    }
    if (run->is_read_only && is_writing) {
        reply_error(call->out, "ERR Can not execute a script with write flag using *_ro command.");
        return false;
    }
    bool is_careful = (run->flags & (SCRIPT_IS_COMPAT | SCRIPT_ALLOW_OOM)) == 0;
    if (is_careful && is_writing && script->options.is_memory_full(script->options.context)) {
        reply_error(call->out, "OOM allow-oom flag is not set on the script, can not run it when "
                               "used memory > 'maxmemory'");
        return false;
    }
    return true;
}

enum gate_result run_refuse_busy(void *context, struct call *call)
{
    const char *error = script_busy_error(context);
    call_refuse(call, error != NULL ? error : busy_script);
    return GATE_REFUSED;
}

const char *script_busy_error(const struct script *script)
{
    if (script->run == NULL || !aside_is_parked(script->exec)) {
        return NULL;
    }
    return script->run->is_function ? busy_function : busy_script;
}

void run_kill(struct call *call, bool is_function)
{
    struct script *script = call->family;
    struct script_run *run = script->run;
    if (run == NULL) {
        reply_error(call->out, "NOTBUSY No scripts in execution right now.");
        return;
    }
    if ((run->caller->flags & SESSION_PRIMARY) != 0) {
        reply_error(call->out, "UNKILLABLE The busy script was sent by a master instance in the "
                               "context of replication and cannot be killed.");
        return;
    }
    if (run->has_written) {
        reply_error(call->out,
                    "UNKILLABLE Sorry the script already executed write commands against the "
                    "dataset. You can either wait the script termination or kill the server in a "
                    "hard way using the SHUTDOWN NOSAVE command.");
        return;
    }
    if (run->is_function != is_function) {
        reply_error(call->out, run->is_function ? busy_function : busy_script);
        return;
    }
    run->is_killed = true;
    reply_ok(call->out);
}
