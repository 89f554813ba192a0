/* File operations for engines whose kernel interface has none that do not block: one helper thread
 * does them in the order in which they were started. Never included outside this folder. */
#pragma once

#include "ring/ring_internal.h"

struct files;

/* Opens the queue; the thread starts with the first operation. Returns 0 or negative errno. */
int files_open(struct files **out) __attribute__((warn_unused_result));

/* Waits for what the thread is doing, drops the rest without calling back, and frees. */
void files_close(struct files *files);

/* Becomes readable when operations have completed. */
int files_event_fd(const struct files *files);

void files_start(struct files *files, struct ring_op *op);

/* True when the operation had not begun: it is off the queue now. */
bool files_cancel(struct files *files, struct ring_op *op);

/* Moves completed operations to the ring's finished list. Returns how many. */
unsigned files_collect(struct files *files, struct ring *ring);
