/* What a long call is while it waits and runs: for the files sliced*.c. Never included from
 * outside src/exec/. */
#pragma once

#include "base/fiber.h"
#include "exec/exec_internal.h"
#include "exec/gather.h"
#include "exec/key_set.h"
#include "keyspace/pin.h"
#include "resp/parse.h"

#ifdef OURO_HOSTILE
enum { SLICE_US = 0 };
#else
enum { SLICE_US = 40 };
#endif

enum {
/* Handlers need a few KiB; the largest local arrays are those of number formatting in libc.
 * Under the sanitizer frames are larger. */
#ifdef OURO_LIBC_MALLOC
    SLICED_STACK_LEN = 1024 << 10,
#else
    SLICED_STACK_LEN = 128 << 10,
#endif
};

struct sliced {
    struct work_job job;
    struct list link; /* Waiting or running. */
    struct exec *exec;
    struct session *session;  /* NULL: gone. */
    struct session *stand_in; /* Owned; for a call whose session has gone. */
    struct fiber *fiber;      /* NULL: has not begun. */
    struct call call;
    struct clock_now now;  /* When it began: what is there then does not expire before its end. */
    struct gather effects; /* To be told at its end. */
    struct reply out;      /* What is not handed over yet. */
    struct reply aside;    /* Pushes that came meanwhile. */
    struct pin *pins;      /* Owned. */
    size_t pin_count;
    struct resp_parser kept; /* Holds the arguments when the client's parser did. */
    struct blob **blobs;     /* Owned, as their references: of each argument, or NULL; or NULL. */
    enum slice_mode mode;
    struct key_set keys; /* Of a crowd; see sliced_crowd.c. */
    struct key_row run;  /* What is not in it yet. */
    bool is_caching;     /* SESSION_CACHING was set. */
    bool is_crowd;
    bool is_bare; /* Holds nothing. */
    bool has_begun;
    bool is_inside;    /* Is what runs just now. */
    bool is_resting;   /* Until its client has read. */
    bool is_hurried;   /* Somebody waits for it. */
    bool is_finishing; /* Somebody cannot wait. */
    bool is_given_up;  /* Nobody wants the result. */
    bool may_send;     /* The last yield said so. */
    bool may_breathe;  /* In the middle of copying something long: see call_breathe. */
    bool must_block;   /* Nothing is there any more that it could have: see exec_sliced_block. */
    int64_t deadline_us;
    uint64_t ns;     /* Spent so far. */
    uint64_t hits;   /* The keyspace's counters before its lookups, which the handler's first run */
    uint64_t misses; /* counted already. */
    enum { SLICED_FRESH, SLICED_LOOKING, SLICED_GOING } stage; /* Not run yet; before a yield. */
    size_t size;
    struct slice args[]; /* Then their bytes. */
};

/* A call that has no fiber yet and is on no list, with arguments of its own. NULL: no memory. */
struct sliced *sliced_try_new(struct call *call);

static inline bool sliced_is_write(const struct sliced *sliced)
{
    return sliced->mode != SLICE_READS;
}

/* Whether it is a command of our primary. */
static inline bool sliced_is_primary(const struct sliced *sliced)
{
    return (sliced->call.session->flags & SESSION_PRIMARY) != 0;
}

/* sliced.c: whether a call may be run later at all, and has it wait for that. */
bool sliced_is_possible(const struct call *call);
void sliced_await(struct sliced *sliced, struct call *call, enum slice_mode mode);

/* One slice; somebody waits for it; the rest in one go; its client has gone. */
bool sliced_on_step(struct work_job *job);
void sliced_hurry(struct sliced *sliced);
void sliced_finish(struct sliced *sliced);
void sliced_on_cancel(struct session *session, void *context);

/* sliced_pins.c: whether what it wants of its keys is not free, and taking and letting go of it. */
bool sliced_is_barred(const struct sliced *sliced, const struct key_position *keys, uint32_t count);
void sliced_pin_all(struct sliced *sliced, const struct key_position *keys, uint32_t count);
void sliced_unpin_all(struct sliced *sliced);

/* sliced_crowd.c: whether all keys are known; whether a crowd may not begin; its beginning and, of
 * any call, its end. */
bool sliced_is_filled(const struct sliced *sliced);
bool sliced_crowd_is_barred(struct sliced *sliced);
void sliced_crowd_begin(struct sliced *sliced);
void sliced_crowd_end(struct sliced *sliced);

/* sliced_tell.c */
void sliced_become_teller(struct sliced *sliced);
void sliced_teller_end(struct sliced *sliced);

/* sliced_unit.c: its transaction, if it is one, is over. */
void sliced_unit_end(struct sliced *sliced);
