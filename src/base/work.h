/* Work that is too long for one turn of the loop is cut into slices: a job is a struct embedded in
 * its owner with a function that does a little and says whether it is finished. Queues run in the
 * turn within a time budget, round robin, so that freeing ten million keys never holds up a GET.
 *
 *     queue: [free table] -> [KEYS of client 7] -> [free set]
 *                 ^ step() until the budget is spent; unfinished jobs go to the back
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct work_job;

/* Does about 20 to 50 microseconds of work. Returns true when the job is finished; the queue has
 * then already unlinked it, so the function may free its owner. */
typedef bool (*work_step_fn)(struct work_job *job);

struct work_job {
    struct list link;
    work_step_fn step;
};

struct work_queue {
    struct list jobs;
    uint64_t job_count;
};

void work_queue_init(struct work_queue *queue);
void work_add(struct work_queue *queue, struct work_job *job, work_step_fn step);

/* Takes an unfinished job off its queue; harmless for one that is on none. */
void work_cancel(struct work_queue *queue, struct work_job *job);

/* A job that must wait for something else is parked on a list, and goes to a queue later. */
void work_park(struct list *parked, struct work_job *job, work_step_fn step);
void work_unpark(struct list *parked, struct work_queue *queue);

static inline bool work_is_idle(const struct work_queue *queue)
{
    return queue->job_count == 0;
}

/* Runs steps until `deadline_mono_us` has passed or nothing is left. At least one step runs.
 * Returns true if work is left. */
bool work_run(struct work_queue *queue, int64_t deadline_mono_us);

/* Runs everything to its end: for shutdown, tests and SYNC forms. */
void work_drain(struct work_queue *queue);
