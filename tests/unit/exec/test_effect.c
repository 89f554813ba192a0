/* Effects and events: what sinks are told, and the classes of names. */
#include "exec/effect.h"
#include "tests/unit/test.h"

static void check_class(enum event_class event_class, const char *names)
{
    char event[64];
    int len;
    for (const char *at = names; sscanf(at, " %63s%n", event, &len) == 1; at += len) {
        if (event_class_of(event) != event_class) {
            fprintf(stderr, "class of %s\n", event);
            CHECK(false);
        }
    }
}

TEST(effect, every_event_has_the_class_that_redis_gives_it)
{
    check_class(EVENT_GENERIC, "del expire persist rename_from rename_to move_from move_to copy_to "
                               "restore");
    check_class(EVENT_STRING, "set setrange setbit incrby incrbyfloat decrby append pfadd");
    check_class(EVENT_LIST, "lpush rpush lpop rpop linsert lset lrem ltrim sortstore");
    check_class(EVENT_SET, "sadd srem spop sinterstore sunionstore sdiffstore");
    check_class(EVENT_HASH, "hset hincrby hincrbyfloat hdel hexpire hexpired hpersist");
    check_class(EVENT_ZSET, "zadd zincr zrem zremrangebyscore zremrangebyrank zdiffstore "
                            "zinterstore zunionstore zrangestore zpopmin zpopmax geosearchstore "
                            "georadiusstore");
    check_class(EVENT_STREAM, "xadd xtrim xdel xsetid xgroup-create xgroup-destroy xclaim");
    check_class(EVENT_EXPIRED, "expired");
    check_class(EVENT_EVICTED, "evicted");
    check_class(EVENT_MISS, "keymiss");
    check_class(EVENT_NEW, "new");
}
