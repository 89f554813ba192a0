/* Fibers: a switch of stacks by hand.
 *
 *     caller's stack                      fiber's stack
 *     fiber_run ---- switch_stacks -----> loop: fn(context)
 *         <--------- switch_stacks ------   fiber_park
 *     ...turns of the loop...                 .
 *     fiber_resume - switch_stacks ----->     goes on, fn returns
 *         <--------- switch_stacks ------ loop: waits for the next fn
 *
 * To switch is to push the registers that a call must preserve, to store the stack pointer, to load
 * the other one and to pop. The kernel is not asked, which swapcontext does twice for the signal
 * mask: 390 ns for there and back, against about 5 ns here. Other processors than x86-64 and ARM64
 * take swapcontext all the same.
 *
 * The first switch finds a frame that fiber_try_new laid down, whose return address is the entry.
 * The entry never returns: after each function it switches back and waits for the next one, so the
 * frame is laid down once.
 *
 * The address sanitizer is told of each switch, since it keeps a shadow of the stack in use.
 *
 * Invariants:
 *   1. `is_inside` holds exactly while the fiber's stack is the current one.
 *   2. `is_parked`: a function has begun and not returned, and is_inside is false.
 *
 * Rejected: a thread (its own allocator's counters, locks, a switch through the kernel); a nested
 * loop inside the long call, which makes every part of the server re-entrant. */
#include "base/fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#define FIBER_BY_CONTEXT 1
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_SANITIZED 1
#endif
#endif
#ifdef FIBER_SANITIZED
#include <sanitizer/common_interface_defs.h>
#endif

struct fiber {
#ifdef FIBER_BY_CONTEXT
    ucontext_t inside, outside; /* Of the side that is not running. */
#else
    void *inside, *outside; /* Stack pointers of the side that is not running. */
#endif
    char *map; /* Guard page, then the stack. */
    size_t map_len, stack_len;
    fiber_fn fn;
    void *context;
    fiber_fn breathe; /* May be NULL. */
    void *breath_context;
    bool is_inside, is_parked, is_finished;
    void *shadow_inside, *shadow_outside; /* The sanitizer's. */
    const void *outer_stack;
    size_t outer_stack_len;
};

/* The innermost fiber that runs on this thread, for fiber_breathe, whose callers know of none. */
static _Thread_local struct fiber *running;

/* ---- The switch ------------------------------------------------------------------------------ */

/* Stores the stack pointer of this side and goes on at the other. And where a fiber begins: the
 * frame of the first switch leaves the fiber in a register that calls preserve. */
void fiber_switch_stacks(void **store, void *load);
void fiber_begin(void);
void fiber_enter(struct fiber *fiber) __attribute__((__noreturn__));

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl fiber_switch_stacks\n"
        ".hidden fiber_switch_stacks\n"
        ".type fiber_switch_stacks, @function\n"
        "fiber_switch_stacks:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_switch_stacks, . - fiber_switch_stacks\n"
        ".globl fiber_begin\n"
        ".hidden fiber_begin\n"
        ".type fiber_begin, @function\n"
        "fiber_begin:\n"
        "    movq %rbx, %rdi\n"
        "    call fiber_enter\n"
        "    ud2\n"
        ".size fiber_begin, . - fiber_begin\n");
/* Six registers, the return address, and two words so that the stack is a multiple of 16 where
 * fiber_begin calls. */
enum { FRAME_WORDS = 9, FRAME_FIBER = 4, FRAME_RETURN = 6 };
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl fiber_switch_stacks\n"
        ".hidden fiber_switch_stacks\n"
        ".type fiber_switch_stacks, %function\n"
        "fiber_switch_stacks:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size fiber_switch_stacks, . - fiber_switch_stacks\n"
        ".globl fiber_begin\n"
        ".hidden fiber_begin\n"
        ".type fiber_begin, %function\n"
        "fiber_begin:\n"
        "    mov x0, x19\n"
        "    bl fiber_enter\n"
        "    brk #1\n"
        ".size fiber_begin, . - fiber_begin\n");
enum { FRAME_WORDS = 20, FRAME_FIBER = 0, FRAME_RETURN = 11 }; /* x19 and x30. */
#endif

static void switch_in(struct fiber *fiber)
{
    fiber->is_inside = true;
#ifdef FIBER_SANITIZED
    __sanitizer_start_switch_fiber(
        &fiber->shadow_outside, fiber->map + fiber->map_len - fiber->stack_len, fiber->stack_len);
#endif
#ifdef FIBER_BY_CONTEXT
    swapcontext(&fiber->outside, &fiber->inside);
#else
    fiber_switch_stacks(&fiber->outside, fiber->inside);
#endif
#ifdef FIBER_SANITIZED
    __sanitizer_finish_switch_fiber(fiber->shadow_outside, NULL, NULL);
#endif
}

static void switch_out(struct fiber *fiber)
{
    fiber->is_inside = false;
#ifdef FIBER_SANITIZED
    __sanitizer_start_switch_fiber(&fiber->shadow_inside, fiber->outer_stack,
                                   fiber->outer_stack_len);
#endif
#ifdef FIBER_BY_CONTEXT
    swapcontext(&fiber->inside, &fiber->outside);
#else
    fiber_switch_stacks(&fiber->inside, fiber->outside);
#endif
#ifdef FIBER_SANITIZED
    __sanitizer_finish_switch_fiber(fiber->shadow_inside, &fiber->outer_stack,
                                    &fiber->outer_stack_len);
#endif
}

/* ---- The fiber's side ------------------------------------------------------------------------ */

__attribute__((used, __noreturn__, visibility("hidden"))) void fiber_enter(struct fiber *fiber)
{
#ifdef FIBER_SANITIZED
    __sanitizer_finish_switch_fiber(NULL, &fiber->outer_stack, &fiber->outer_stack_len);
#endif
    for (;;) {
        fiber->fn(fiber->context);
        fiber->is_finished = true;
        switch_out(fiber);
    }
}

#ifdef FIBER_BY_CONTEXT
/* makecontext hands over ints alone. */
static void enter_halves(unsigned high, unsigned low)
{
    fiber_enter((struct fiber *)(uintptr_t)((uint64_t)high << 32 | low));
}
#endif

/* Lays down what the first switch pops. */
static void prepare(struct fiber *fiber)
{
#ifdef FIBER_BY_CONTEXT
    int result = getcontext(&fiber->inside);
    ASSERT(result == 0);
    fiber->inside.uc_stack.ss_sp = fiber->map + fiber->map_len - fiber->stack_len;
    fiber->inside.uc_stack.ss_size = fiber->stack_len;
    makecontext(&fiber->inside, (void (*)(void))enter_halves, 2, (unsigned)((uintptr_t)fiber >> 32),
                (unsigned)(uintptr_t)fiber);
#else
    uintptr_t top = (uintptr_t)(fiber->map + fiber->map_len) & ~(uintptr_t)15;
    uintptr_t *frame = (uintptr_t *)top - FRAME_WORDS;
    for (unsigned i = 0; i < FRAME_WORDS; i++) {
        frame[i] = 0;
    }
    frame[FRAME_FIBER] = (uintptr_t)fiber;
    frame[FRAME_RETURN] = (uintptr_t)fiber_begin;
    fiber->inside = frame;
#endif
}

/* ---- Life and use ---------------------------------------------------------------------------- */

struct fiber *fiber_try_new(size_t stack_len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    stack_len = (stack_len + page - 1) / page * page;
    char *map = mmap(NULL, stack_len + page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(map, page, PROT_NONE) != 0) {
        munmap(map, stack_len + page);
        return NULL;
    }
    struct fiber *fiber = mem_zalloc(sizeof(*fiber));
    fiber->map = map;
    fiber->map_len = stack_len + page;
    fiber->stack_len = stack_len;
    prepare(fiber);
    return fiber;
}

void fiber_free(struct fiber *fiber)
{
    ASSERT(!fiber->is_inside && !fiber->is_parked);
    munmap(fiber->map, fiber->map_len);
    mem_free(fiber);
}

/* Runs the fiber's side until it finishes or parks. */
static bool turn(struct fiber *fiber)
{
    fiber->is_finished = false;
    fiber->is_parked = false;
    struct fiber *outer = running;
    running = fiber;
    switch_in(fiber);
    running = outer;
    fiber->is_parked = !fiber->is_finished;
    return fiber->is_finished;
}

bool fiber_run(struct fiber *fiber, fiber_fn fn, void *context)
{
    ASSERT(!fiber->is_inside && !fiber->is_parked);
    fiber->fn = fn;
    fiber->context = context;
    return turn(fiber);
}

void fiber_park(struct fiber *fiber)
{
    ASSERT(fiber->is_inside);
    switch_out(fiber);
}

bool fiber_resume(struct fiber *fiber)
{
    ASSERT(fiber->is_parked);
    return turn(fiber);
}

void fiber_set_breath(struct fiber *fiber, fiber_fn breathe, void *context)
{
    fiber->breathe = breathe;
    fiber->breath_context = context;
}

void fiber_breathe(void)
{
    if (running != NULL && running->breathe != NULL) {
        running->breathe(running->breath_context);
    }
}

bool fiber_is_inside(const struct fiber *fiber)
{
    return fiber->is_inside;
}

bool fiber_is_parked(const struct fiber *fiber)
{
    return fiber->is_parked;
}
