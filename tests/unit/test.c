/* The runner behind tests/unit/test.h. */
#include "tests/unit/test.h"

#include <time.h>

static struct test_case *cases;

void test_register(struct test_case *test)
{
    test->next = cases;
    cases = test;
}

uint64_t test_seed(void)
{
    static uint64_t seed;
    if (seed == 0) {
        const char *text = getenv("OURO_SEED");
        seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
        seed |= seed == 0;
    }
    return seed;
}

static unsigned long steps_asked;

unsigned long test_steps(unsigned long preset)
{
    const char *text = getenv("OURO_STEPS");
    unsigned long steps = text != NULL ? strtoul(text, NULL, 10) : preset;
    steps_asked += steps;
    return steps;
}

void test_fail(const char *file, int line, const char *text)
{
    fprintf(stderr, "FAILED %s:%d: %s (OURO_SEED=%llu)\n", file, line, text,
            (unsigned long long)test_seed());
    abort();
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* What has passed is told even if a later case crashes. */
    int count = 0;
    struct test_case *ordered = NULL;
    while (cases != NULL) {
        struct test_case *next = cases->next;
        cases->next = ordered;
        ordered = cases;
        cases = next;
    }
    for (struct test_case *test = ordered; test != NULL; test = test->next) {
        if (argc > 1 && strstr(test->name, argv[1]) == NULL) {
            continue;
        }
        test->run();
        printf("ok %s\n", test->name);
        count++;
    }
    if (steps_asked > 0) {
        printf("ok steps taken: %lu\n", steps_asked);
    }
    printf("%d passed, 0 failed\n", count);
    return 0;
}
