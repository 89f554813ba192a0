/* Tests of base/work.c. */
#include "base/work.h"

#include "tests/unit/test.h"

enum { TRACE_MAX = 64 };

struct trace {
    char names[TRACE_MAX];
    int len;
};

struct countdown {
    struct work_job job;
    struct trace *trace;
    struct work_queue *queue;
    struct work_job *cancels; /* Cancelled in the first step; may be NULL. */
    char name;
    int left;
};

static bool countdown_step(struct work_job *job)
{
    struct countdown *owner = (struct countdown *)(void *)job;
    CHECK(!list_is_linked(&job->link));
    CHECK(owner->trace->len < TRACE_MAX - 1);
    owner->trace->names[owner->trace->len++] = owner->name;
    if (owner->cancels != NULL) {
        work_cancel(owner->queue, owner->cancels);
    }
    owner->left--;
    bool is_finished = owner->left == 0;
    if (is_finished) {
        free(owner);
    }
    return is_finished;
}

static struct countdown *start(struct work_queue *queue, struct trace *trace, char name, int steps)
{
    struct countdown *owner = calloc(1, sizeof(*owner));
    owner->trace = trace;
    owner->queue = queue;
    owner->name = name;
    owner->left = steps;
    work_add(queue, &owner->job, countdown_step);
    return owner;
}

TEST(work, jobs_take_turns_until_they_finish)
{
    struct work_queue queue;
    struct trace trace = {0};
    work_queue_init(&queue);
    start(&queue, &trace, 'a', 3);
    start(&queue, &trace, 'b', 1);
    start(&queue, &trace, 'c', 2);
    CHECK(queue.job_count == 3);
    work_drain(&queue);
    CHECK(strcmp(trace.names, "abcaca") == 0);
    CHECK(work_is_idle(&queue));
}

TEST(work, a_spent_budget_still_runs_one_step)
{
    struct work_queue queue;
    struct trace trace = {0};
    work_queue_init(&queue);
    CHECK(!work_run(&queue, 0));
    start(&queue, &trace, 'a', 2);
    CHECK(work_run(&queue, 0));
    CHECK(trace.len == 1 && queue.job_count == 1);
    CHECK(!work_run(&queue, 0));
    CHECK(trace.len == 2);
}

TEST(work, an_ample_budget_finishes_everything)
{
    struct work_queue queue;
    struct trace trace = {0};
    work_queue_init(&queue);
    start(&queue, &trace, 'a', 5);
    start(&queue, &trace, 'b', 5);
    CHECK(!work_run(&queue, INT64_MAX));
    CHECK(trace.len == 10);
}

TEST(work, a_cancelled_job_never_runs_again)
{
    struct work_queue queue;
    struct trace trace = {0};
    work_queue_init(&queue);
    struct countdown *a = start(&queue, &trace, 'a', 2);
    struct countdown *b = start(&queue, &trace, 'b', 2);
    a->cancels = &b->job;
    work_drain(&queue);
    CHECK(strcmp(trace.names, "aa") == 0);
    CHECK(queue.job_count == 0);
    work_cancel(&queue, &b->job);
    CHECK(queue.job_count == 0);
    free(b);
    struct work_job never = {0};
    work_cancel(&queue, &never);
    CHECK(queue.job_count == 0);
}
