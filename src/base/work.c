/* The queue of sliced work: see the header for the idea.
 *
 * Invariants:
 *   1. job_count is the number of jobs on the list; the one that is running is not on it.
 *   2. A job is on at most one queue.
 *
 * A step is measured by the clock and not by count, because steps differ by a factor of ten;
 * reading the clock costs 20 ns against 20 us or more of work. */
#include "base/work.h"

#include "base/assert.h"
#include "base/clock.h"

void work_queue_init(struct work_queue *queue)
{
    list_init(&queue->jobs);
    queue->job_count = 0;
}

void work_add(struct work_queue *queue, struct work_job *job, work_step_fn step)
{
    job->step = step;
    list_push_back(&queue->jobs, &job->link);
    queue->job_count++;
}

void work_park(struct list *parked, struct work_job *job, work_step_fn step)
{
    job->step = step;
    list_push_back(parked, &job->link);
}

void work_unpark(struct list *parked, struct work_queue *queue)
{
    while (!list_is_empty(parked)) {
        struct work_job *job = LIST_OWNER(parked->next, struct work_job, link);
        list_remove(&job->link);
        work_add(queue, job, job->step);
    }
}

/* A zeroed job was never on a queue, so its link may be NULL. */
void work_cancel(struct work_queue *queue, struct work_job *job)
{
    if (job->link.next == NULL || !list_is_linked(&job->link)) {
        return;
    }
    list_remove(&job->link);
    queue->job_count--;
}

/* Runs one step of the first job. */
static void work_step(struct work_queue *queue)
{
    struct work_job *job = LIST_OWNER(queue->jobs.next, struct work_job, link);
    work_step_fn step = job->step;
    work_cancel(queue, job);
    if (!step(job)) {
        work_add(queue, job, step);
    }
}

bool work_run(struct work_queue *queue, int64_t deadline_mono_us)
{
    while (!work_is_idle(queue)) {
        work_step(queue);
        if (clock_mono_us() >= deadline_mono_us) {
            break;
        }
    }
    return !work_is_idle(queue);
}

void work_drain(struct work_queue *queue)
{
    while (!work_is_idle(queue)) {
        work_step(queue);
    }
    ASSERT(list_is_empty(&queue->jobs));
}
