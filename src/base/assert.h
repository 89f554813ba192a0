/* ASSERT stays in every build: a failed one is a bug, is reported and ends the process.
 * DEBUG_ASSERT is for hot paths and vanishes from release builds. Bytes from a socket or a file are
 * parsed, never asserted. */
#pragma once

#include <stdnoreturn.h>

/* Called with the failed expression and its place; must not return. Installed once at start by the
 * composition root so that a failure ends in its crash report; the default prints and aborts. */
typedef void (*assert_hook_fn)(const char *expression, const char *file, int line);

void assert_set_hook(assert_hook_fn hook);
noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(expression)                                                                         \
    (__builtin_expect(!!(expression), 1) ? (void)0 : assert_failed(#expression, __FILE__, __LINE__))

#ifdef OURO_DEBUG
#define DEBUG_ASSERT(expression) ASSERT(expression)
#else
#define DEBUG_ASSERT(expression) ((void)sizeof(expression))
#endif
