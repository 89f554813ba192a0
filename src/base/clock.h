/* Time is read once per turn of the loop and handed in; nothing else calls the kernel's clocks. */
#pragma once

#include <stdint.h>

struct clock_now {
    int64_t wall_ms; /* Unix time, milliseconds: what expiry times are measured in. */
    int64_t wall_us; /* Unix time, microseconds. */
    int64_t mono_us; /* Monotonic, microseconds: for durations. */
};

struct clock_now clock_read(void);

/* Monotonic microseconds now, for measuring how long one command took. About 20 ns. */
int64_t clock_mono_us(void);

/* A counter that runs at a constant, unknown rate: for durations that are measured too often for
 * the kernel's clock. About 8 ns. Its rate is found by comparing it with clock_mono_us. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)clock_mono_us();
#endif
}
