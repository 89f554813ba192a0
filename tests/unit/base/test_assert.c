/* Tests of base/assert.c. */
#include "base/assert.h"

#include <setjmp.h>

#include "tests/unit/test.h"

static jmp_buf escape;
static char seen[64];

static void hook(const char *expression, const char *file, int line)
{
    snprintf(seen, sizeof(seen), "%s", expression);
    CHECK(strstr(file, "test_assert.c") != NULL && line > 0);
    longjmp(escape, 1);
}

TEST(assert, a_failed_one_reaches_the_hook)
{
    volatile int two = 2;
    assert_set_hook(hook);
    if (setjmp(escape) == 0) {
        ASSERT(two + two == 5);
        seen[0] = '\0'; /* Not reached. */
    }
    assert_set_hook(NULL);
    CHECK(strcmp(seen, "two + two == 5") == 0);
}

TEST(assert, one_that_holds_does_nothing)
{
    int evaluated = 0;
    ASSERT(++evaluated == 1);
    CHECK(evaluated == 1);
}
