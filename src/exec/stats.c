/* Statistics of commands: calls, time, errors.
 *
 * The histogram is log-linear: eight buckets per power of two of nanoseconds, so a value is known
 * to 12.5 % whether it is 100 ns or 100 s. 512 counters of 32 bits, 2 KiB per command that was ever
 * called; one counter is touched per call.
 *
 *     ns   0..7        one bucket each
 *     ns   2^e + m     bucket (e - 2) x 8 + the three bits after the leading one
 *
 * A counter that is full stays full. */
#include "exec/exec_internal.h"

#include "base/mem.h"

unsigned command_histogram_bucket(uint64_t ns)
{
    if (ns < 8) {
        return (unsigned)ns;
    }
    unsigned exponent = 63U - (unsigned)__builtin_clzll(ns);
    return (exponent - 2) * 8 + (unsigned)(ns >> (exponent - 3) & 7);
}

uint64_t command_histogram_bound_ns(unsigned bucket)
{
    if (bucket < 8) {
        return bucket;
    }
    unsigned exponent = bucket / 8 + 2;
    uint64_t step = UINT64_C(1) << (exponent - 3);
    return (8 + (uint64_t)(bucket % 8)) * step + (step - 1);
}

void exec_stats_record(struct command_entry *entry, uint64_t ns, bool is_tracking)
{
    struct command_stats *stats = &entry->stats;
    stats->calls++;
    stats->usec_e3 += ns;
    if (!is_tracking) {
        return;
    }
    if (stats->histogram == NULL) {
        stats->histogram = mem_zalloc(COMMAND_HISTOGRAM_BUCKETS * sizeof(*stats->histogram));
    }
    uint32_t *counter = &stats->histogram[command_histogram_bucket(ns)];
    *counter += *counter != UINT32_MAX;
}

uint64_t command_stats_percentile_ns(const struct command_stats *stats, double percent)
{
    if (stats->histogram == NULL) {
        return 0;
    }
    uint64_t total = 0;
    for (unsigned i = 0; i < COMMAND_HISTOGRAM_BUCKETS; i++) {
        total += stats->histogram[i];
    }
    uint64_t wanted = (uint64_t)((double)total * percent / 100.0 + 0.5);
    wanted = wanted == 0 ? 1 : wanted;
    uint64_t seen = 0;
    for (unsigned i = 0; i < COMMAND_HISTOGRAM_BUCKETS; i++) {
        seen += stats->histogram[i];
        if (seen >= wanted) {
            return command_histogram_bound_ns(i);
        }
    }
    return 0;
}

void exec_note_errors(struct exec *exec, const struct reply *out, uint64_t count)
{
    if (count == 0) {
        return;
    }
    exec->stats.errors_count += count;
    for (unsigned i = 0; i < exec->error_code_count; i++) {
        if (strcmp(exec->errors[i].code, out->error_code) == 0) {
            exec->errors[i].count += count;
            return;
        }
    }
    if (exec->error_code_count == EXEC_ERROR_CODES_MAX) {
        return; /* Codes come from scripts too: a bound keeps them from filling memory. */
    }
    struct error_stat *error = &exec->errors[exec->error_code_count++];
    static_assert(sizeof(error->code) == sizeof(out->error_code), "a code fits");
    memcpy(error->code, out->error_code, sizeof(error->code));
    error->count = count;
}

unsigned exec_error_stats(const struct exec *exec, const struct error_stat **out)
{
    *out = exec->errors;
    return exec->error_code_count;
}

static void entry_reset(struct command_entry *entry)
{
    mem_free(entry->stats.histogram);
    memset(&entry->stats, 0, sizeof(entry->stats));
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        entry_reset(&entry->subcommands[i]);
    }
}

void exec_reset_stats(struct exec *exec)
{
    for (unsigned i = 0; i < exec->entry_count; i++) {
        entry_reset(exec->entries[i]);
    }
    exec->stats.commands_count = 0;
    exec->stats.errors_count = 0;
    exec->error_code_count = 0;
}

void exec_set_latency_tracking(struct exec *exec, bool is_on)
{
    exec->is_tracking = is_on;
}
