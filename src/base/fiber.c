/* Fibers over ucontext, the switch of stacks that every libc for Linux offers.
 *
 *     mmap:  | guard page | <-- the stack grows down ... |     128 KiB, of which touched pages
 * count
 *
 * A fiber that runs over its stack hits the guard page and crashes, with a report, instead of
 * writing into somebody's data. Handlers need a few KiB; the largest local arrays are those of
 * number formatting in libc.
 *
 * Costs. Two switches per slice, about 0.3 us each: they save and restore the signal mask, a system
 * call that slices of 40 us can afford. A new fiber costs an mmap and its first page faults, about
 * 5 us, which only commands that take a millisecond or more pay.
 *
 * AddressSanitizer has to hear of every switch, for it knows one stack per thread.
 *
 * Rejected: a switch in assembly (20 ns instead of 300, once in 40 us, for two architectures);
 * threads (locks around everything that a command may touch). */
#include "base/fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_HAS_ASAN 1
#endif
#endif

#ifdef FIBER_HAS_ASAN
#include <sanitizer/common_interface_defs.h>
enum { FIBER_STACK_LEN = 1024 * 1024 };
#else
enum { FIBER_STACK_LEN = 128 * 1024 };
#endif

/* A stack as the sanitizer wants to hear of it. */
struct fiber_bounds {
    const void *bottom;
    size_t len;
};

struct fiber {
    ucontext_t inside, outside;
    void (*run)(void *context);
    void *context;
    char *mapping; /* Guard page, then the stack. */
    size_t guard_len;
    bool is_done;
    struct fiber_bounds caller; /* The stack of whoever resumed it. */
};

/* ---- The sanitizer ---- */

static void switch_begin(void **save, struct fiber_bounds to)
{
#ifdef FIBER_HAS_ASAN
    __sanitizer_start_switch_fiber(save, to.bottom, to.len);
#else
    (void)save;
    (void)to;
#endif
}

static void switch_end(void *saved, struct fiber_bounds *from)
{
#ifdef FIBER_HAS_ASAN
    __sanitizer_finish_switch_fiber(saved, from == NULL ? NULL : &from->bottom,
                                    from == NULL ? NULL : &from->len);
#else
    (void)saved;
    (void)from;
#endif
}

static struct fiber_bounds stack_of(const struct fiber *fiber)
{
    return (struct fiber_bounds){.bottom = fiber->mapping + fiber->guard_len,
                                 .len = FIBER_STACK_LEN};
}

/* ---- Switches ---- */

/* makecontext passes ints: the address comes in two halves. */
static void fiber_main(unsigned high, unsigned low)
{
    struct fiber *fiber = (struct fiber *)((uintptr_t)high << 32 | (uintptr_t)low);
    switch_end(NULL, &fiber->caller);
    fiber->run(fiber->context);
    fiber->is_done = true;
    switch_begin(NULL, fiber->caller); /* NULL: this stack is left for good. */
    setcontext(&fiber->outside);
    ASSERT(false);
}

bool fiber_resume(struct fiber *fiber)
{
    void *save = NULL;
    ASSERT(!fiber->is_done);
    switch_begin(&save, stack_of(fiber));
    int status = swapcontext(&fiber->outside, &fiber->inside);
    ASSERT(status == 0);
    switch_end(save, NULL);
    return fiber->is_done;
}

void fiber_yield(struct fiber *fiber)
{
    void *save = NULL;
    switch_begin(&save, fiber->caller);
    int status = swapcontext(&fiber->inside, &fiber->outside);
    ASSERT(status == 0);
    switch_end(save, &fiber->caller);
}

/* ---- Life ---- */

struct fiber *fiber_try_new(void (*run)(void *context), void *context)
{
    struct fiber *fiber = mem_try_alloc(sizeof(*fiber));
    if (fiber == NULL) {
        return NULL;
    }
    *fiber = (struct fiber){.run = run, .context = context};
    fiber->guard_len = (size_t)sysconf(_SC_PAGESIZE);
    fiber->mapping = mmap(NULL, fiber->guard_len + FIBER_STACK_LEN, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (fiber->mapping == MAP_FAILED || mprotect(fiber->mapping, fiber->guard_len, PROT_NONE) < 0 ||
        getcontext(&fiber->inside) < 0) {
        if (fiber->mapping != MAP_FAILED) {
            munmap(fiber->mapping, fiber->guard_len + FIBER_STACK_LEN);
        }
        mem_free_sized(fiber, sizeof(*fiber));
        return NULL;
    }
    fiber->inside.uc_stack.ss_sp = fiber->mapping + fiber->guard_len;
    fiber->inside.uc_stack.ss_size = FIBER_STACK_LEN;
    fiber->inside.uc_link = NULL;
    uintptr_t address = (uintptr_t)fiber;
    makecontext(&fiber->inside, (void (*)(void))(uintptr_t)fiber_main, 2, (unsigned)(address >> 32),
                (unsigned)(address & UINT32_MAX));
    return fiber;
}

void fiber_free(struct fiber *fiber)
{
    munmap(fiber->mapping, fiber->guard_len + FIBER_STACK_LEN);
    mem_free_sized(fiber, sizeof(*fiber));
}
