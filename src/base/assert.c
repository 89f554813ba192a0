/* Where a failed ASSERT ends: in the hook that the composition root installed, else in one line on
 * the log and an abort. The hook pointer is written once at start, before any second thread runs.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static assert_hook_fn assert_hook;

void assert_set_hook(assert_hook_fn hook)
{
    assert_hook = hook;
}

void assert_failed(const char *expression, const char *file, int line)
{
    if (assert_hook != NULL) {
        assert_hook(expression, file, line);
    }
    char text[512];
    snprintf(text, sizeof(text), "ASSERTION FAILED: %s:%d: %s\n", file, line, expression);
    log_raw(text);
    abort();
}
