/* The families of this room, in one call for the composition root. */
#include "observe/observe.h"

#include "observe/observe_internal.h"

void observe_register(struct exec *exec, struct slowlog *slowlog, struct latency *latency,
                      struct monitor *monitor)
{
    slowlog_register(exec, slowlog);
    latency_register(exec, latency);
    monitor_register(exec, monitor);
}
