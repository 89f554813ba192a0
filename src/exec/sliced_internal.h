/* What a long call is while it waits and runs: for sliced.c and sliced_new.c. Never included from
 * outside src/exec/. */
#pragma once

#include "base/fiber.h"
#include "exec/exec_internal.h"
#include "exec/gather.h"
#include "keyspace/pin.h"
#include "resp/parse.h"

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
