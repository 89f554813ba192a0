/* A unit test file lists cases that read as sentences: TEST(room, what_holds) { CHECK(...); }.
 * Cases register themselves before main runs; `argv[1]`, when given, selects the cases whose name
 * contains it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*test_fn)(void);

struct test_case {
    const char *name;
    test_fn run;
    struct test_case *next;
};

void test_register(struct test_case *test);
void test_fail(const char *file, int line, const char *text);

/* Seed for randomised tests: from OURO_SEED when set, else fixed per run; printed on failure. */
uint64_t test_seed(void);

/* Steps that one run of a model takes: OURO_STEPS when that is set, else `preset`. All that were
 * asked for are counted, and told at the end. */
unsigned long test_steps(unsigned long preset);

#define TEST(room, sentence)                                                                       \
    static void test_##room##_##sentence(void);                                                    \
    __attribute__((constructor)) static void register_##room##_##sentence(void)                    \
    {                                                                                              \
        static struct test_case test = {.name = #room ": " #sentence,                              \
                                        .run = test_##room##_##sentence};                          \
        test_register(&test);                                                                      \
    }                                                                                              \
    static void test_##room##_##sentence(void)

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            test_fail(__FILE__, __LINE__, #expression);                                            \
        }                                                                                          \
    } while (0)
