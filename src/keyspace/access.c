/* When and how often a value was used: the 24 bits of its header that eviction compares.
 *
 *     LRU   | seconds : 24                 |      wraps after 194 days
 *     LFU   | minutes : 16 | counter : 8   |      wraps after 45 days
 *
 * The LFU counter is logarithmic: it rises with a chance that falls as it grows, so 255 stands for
 * about a million uses at the default factor of 10, and it loses one for every lfu_decay_minutes of
 * rest. New values begin at LFU_FIRST, or they would go before they could prove themselves. The
 * formulas are Redis's, so its tuning advice holds.
 *
 * Cost: the time is that of the last lookup, in whole seconds, and a touch that would change
 * nothing writes nothing, so reading hot keys leaves their cache lines clean. */
#include "base/assert.h"
#include "keyspace/keyspace_internal.h"

enum { LFU_FIRST = 5, LFU_MAX = 255, ACCESS_MASK = 0xffffff };

static uint32_t lfu_minutes(uint32_t now_s)
{
    return now_s / 60 & 0xffff;
}

/* The counter after the rest since its last use. */
static unsigned lfu_decayed(const struct keyspace *keyspace, uint32_t access, uint32_t now_s)
{
    unsigned counter = access & 0xff;
    unsigned decay = keyspace->config.lfu_decay_minutes;
    if (decay == 0) {
        return counter;
    }
    unsigned rested = (lfu_minutes(now_s) - (access >> 8)) & 0xffff;
    unsigned lost = rested / decay;
    return lost > counter ? 0 : counter - lost;
}

static unsigned lfu_raised(const struct keyspace *keyspace, unsigned counter)
{
    if (counter == LFU_MAX) {
        return counter;
    }
    double above = counter > LFU_FIRST ? (double)(counter - LFU_FIRST) : 0;
    double chance = 1.0 / (above * (double)keyspace->config.lfu_log_factor + 1.0);
    return rng_unit(keyspace->rng) < chance ? counter + 1 : counter;
}

uint32_t access_first(const struct keyspace *keyspace)
{
    if (keyspace->is_lfu) {
        return lfu_minutes(keyspace->now_s) << 8 | LFU_FIRST;
    }
    return keyspace->now_s & ACCESS_MASK;
}

void access_touch_lfu(struct keyspace *keyspace, struct value *value)
{
    unsigned counter = lfu_decayed(keyspace, value->access, keyspace->now_s);
    counter = lfu_raised(keyspace, counter);
    uint32_t access = lfu_minutes(keyspace->now_s) << 8 | counter;
    if (value->access != access) {
        value->access = access & ACCESS_MASK;
    }
}

int64_t keyspace_idle_s(const struct keyspace *keyspace, const struct value *value, int64_t now_ms)
{
    (void)keyspace;
    return ((uint32_t)(now_ms / 1000) - value->access) & ACCESS_MASK;
}

unsigned keyspace_frequency(const struct keyspace *keyspace, const struct value *value,
                            int64_t now_ms)
{
    return lfu_decayed(keyspace, value->access, (uint32_t)(now_ms / 1000));
}

void keyspace_set_access(struct keyspace *keyspace, struct value *value, int64_t idle_s,
                         int frequency, int64_t now_ms)
{
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    if (keyspace->is_lfu && frequency >= 0) {
        unsigned counter = frequency > LFU_MAX ? LFU_MAX : (unsigned)frequency;
        value->access = (lfu_minutes(now_s) << 8 | counter) & ACCESS_MASK;
    } else if (!keyspace->is_lfu && idle_s >= 0) {
        int64_t most = idle_s > ACCESS_MASK ? ACCESS_MASK : idle_s;
        value->access = (now_s - (uint32_t)most) & ACCESS_MASK;
    }
}
