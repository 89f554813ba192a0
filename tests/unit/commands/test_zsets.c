/* Sorted-set and geo commands, spoken by fake clients. */
#include "tests/unit/commands/family.h"

FAMILY_TEST(zsets, zadd_reports_what_changed)
{
    CHECK_DOES(family, "ZADD z 1 a 2 b", ":2\r\n", "ZADD z 1 a 2 b;", "zadd:z;");
    CHECK_ANSWERS(family, "ZADD z 1 a", ":0\r\n");
    CHECK_DOES(family, "ZADD z CH GT 0 a 5 b", ":1\r\n", "ZADD z CH GT 0 a 5 b;", "zadd:z;");
    CHECK_ANSWERS(family, "ZADD z NX INCR 1 a", "$-1\r\n");
    CHECK_DOES(family, "ZINCRBY z 1.5 a", "$3\r\n2.5\r\n", "ZINCRBY z 1.5 a;", "zincr:z;");
    CHECK_THROUGH(&family->fixture, "ZADD z NX XX 1 a",
                  "-ERR XX and NX options at the same time are not compatible\r\n");
    CHECK_THROUGH(&family->fixture, "ZADD z 1 c nan d", "-ERR value is not a valid float\r\n");
    CHECK_THROUGH(&family->fixture, "ZCARD z", ":2\r\n");
}

FAMILY_TEST(zsets, a_set_that_loses_its_last_member_is_gone)
{
    family_say(family, "ZADD z 1 a 2 b");
    CHECK_DOES(family, "ZREM z a x", ":1\r\n", "ZREM z a x;", "zrem:z;");
    CHECK_DOES(family, "ZMPOP 2 q z MIN COUNT 5",
               "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n", "ZPOPMIN z 1;",
               "zpopmin:z;del:z;");
    CHECK_THROUGH(&family->fixture, "EXISTS z", ":0\r\n");
}

FAMILY_TEST(zsets, ranges_by_rank_score_and_member)
{
    family_say(family, "ZADD z 1 a 2 b 3 c");
    CHECK_THROUGH(&family->fixture, "ZRANGE z 0 0 REV", "*1\r\n$1\r\nc\r\n");
    CHECK_THROUGH(&family->fixture, "ZRANGE z (1 +inf BYSCORE LIMIT 1 1", "*1\r\n$1\r\nc\r\n");
    CHECK_THROUGH(&family->fixture, "ZRANGE z [b + BYLEX LIMIT 0 1", "*1\r\n$1\r\nb\r\n");
    CHECK_THROUGH(&family->fixture, "ZCOUNT z 2 3", ":2\r\n");
    CHECK_THROUGH(&family->fixture, "ZRANK z b WITHSCORE", "*2\r\n:1\r\n$1\r\n2\r\n");
    CHECK_DOES(family, "ZRANGESTORE d z 0 1", ":2\r\n", "ZRANGESTORE d z 0 1;", "zrangestore:d;");
    CHECK_DOES(family, "ZUNIONSTORE u 2 z d WEIGHTS 1 10", ":3\r\n",
               "ZUNIONSTORE u 2 z d WEIGHTS 1 10;", "zunionstore:u;");
    CHECK_THROUGH(&family->fixture, "ZSCORE u b", "$2\r\n22\r\n");
    CHECK_DOES(family, "ZINTERSTORE u 2 z none", ":0\r\n", "ZINTERSTORE u 2 z none;", "del:u;");
}

FAMILY_TEST(zsets, geoadd_becomes_zadd)
{
    CHECK_DOES(family, "GEOADD g 13.361389 38.115556 Palermo", ":1\r\n",
               "ZADD g 3479099956230698 Palermo;", "zadd:g;");
    family_say(family, "GEOADD g 15.087269 37.502669 Catania");
    CHECK_THROUGH(&family->fixture, "GEODIST g Palermo Catania km", "$8\r\n166.2742\r\n");
    CHECK_THROUGH(&family->fixture, "GEOHASH g Palermo", "*1\r\n$11\r\nsqc8b49rny0\r\n");
    CHECK_THROUGH(&family->fixture, "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 100 km",
                  "*1\r\n$7\r\nCatania\r\n");
}
