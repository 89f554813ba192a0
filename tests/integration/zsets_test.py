"""Sorted sets over a socket: scores and shapes in both protocols, ranges of every kind, large ones."""
import random

from harness import Case, main

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def words(*text):
    return [word.encode() for word in text]


class Small(Case):
    """Up to 128 members of up to 64 bytes: one pack."""

    def fill(self, *members):
        self.assertEqual(self.call("ZADD", "z", *members), len(members) // 2)

    def test_scores_print_as_redis_prints_them(self):
        for given, printed in (("3.0", b"3"), ("1e3", b"1000"), ("0.1", b"0.10000000000000001"), ("1e20", b"1e+20"),
                               ("1e300", b"1.0000000000000001e+300"), ("1e-7", b"9.9999999999999995e-08"),
                               ("123456789012345678", b"1.2345678901234568e+17"), ("inf", b"inf"),
                               ("-INFINITY", b"-inf"), ("17179869184.5", b"17179869184.5")):
            for others in (0, 200):  # Packed, and large.
                self.call("DEL", "z")
                self.call("ZADD", "z", given, "m", *[word for n in range(others) for word in (n, n)])
                self.assertEqual(self.call("ZSCORE", "z", "m"), printed)
                self.call("HELLO", 3)
                self.assertEqual(self.raw("ZSCORE", "z", "m"), b",%s\r\n" % printed)
                self.call("HELLO", 2)

    def test_conditions_of_zadd(self):
        self.fill("1", "a", "2", "b")
        self.assertEqual(self.call("ZADD", "z", "NX", "9", "a", "9", "c"), 1)
        self.assertEqual(self.call("ZADD", "z", "XX", "CH", "3", "a", "9", "d"), 1)
        self.assertEqual(self.call("ZADD", "z", "GT", "CH", "2", "a", "5", "b"), 1)
        self.assertEqual(self.call("ZADD", "z", "LT", "CH", "2", "a", "6", "b"), 1)
        self.assertEqual(self.call("ZRANGE", "z", 0, -1, "WITHSCORES"), words("a", "2", "b", "5", "c", "9"))
        self.assertEqual(self.call("ZADD", "z", "INCR", "0.5", "a"), b"2.5")
        self.assertEqual(self.call("ZADD", "z", "NX", "INCR", "1", "a"), None)
        self.assertEqual(self.call("ZADD", "z", "NX", "XX", "1", "a"),
                         "ERR XX and NX options at the same time are not compatible")
        self.assertEqual(self.call("ZADD", "z", "NX", "GT", "1", "a"),
                         "ERR GT, LT, and/or NX options at the same time are not compatible")
        self.assertEqual(self.call("ZADD", "z", "INCR", "1", "a", "2", "b"),
                         "ERR INCR option supports a single increment-element pair")
        self.assertEqual(self.call("ZADD", "z", "1", "x", "nan", "y"), "ERR value is not a valid float")
        self.assertEqual(self.call("ZSCORE", "z", "x"), None)  # All or nothing.

    def test_zeros_of_opposite_sign_add_up_to_zero(self):
        self.fill("-0", "m")
        self.call("ZADD", "plus", "0", "m")
        for words in (("WEIGHTS", -1, 1), ("WEIGHTS", 1, -1), ("WEIGHTS", 1, 1)):
            self.assertEqual(self.call("ZUNION", 2, "z", "plus", *words, "WITHSCORES"), [b"m", b"0"], words)
        self.assertEqual(self.call("ZUNION", 2, "z", "plus", "WEIGHTS", -1, -1, "WITHSCORES"), [b"m", b"-0"])
        self.assertEqual(self.call("ZUNION", 2, "z", "plus", "WEIGHTS", -1, 1, "AGGREGATE", "MAX", "WITHSCORES"),
                         [b"m", b"-0"])  # Neither is above the other, so the first stays.
        self.assertEqual(self.call("ZINTER", 2, "z", "plus", "WEIGHTS", -1, 1, "WITHSCORES"), [b"m", b"0"])

    def test_infinities_of_opposite_sign_do_not_add(self):
        self.fill("inf", "a")
        self.assertEqual(self.call("ZINCRBY", "z", "-inf", "a"), "ERR resulting score is not a number (NaN)")
        self.assertEqual(self.call("ZINCRBY", "z", "1", "a"), b"inf")

    def test_equal_scores_are_ordered_by_their_bytes(self):
        self.fill("0", "b", "0", "\xff", "0", "", "0", "ab", "0", "a", "0", "10", "0", "9")
        self.assertEqual(self.call("ZRANGE", "z", 0, -1), words("", "10", "9", "a", "ab", "b", "\xff"))
        self.assertEqual(self.call("ZRANGE", "z", "[a", "(b", "BYLEX"), words("a", "ab"))
        self.assertEqual(self.call("ZREVRANGEBYLEX", "z", "(b", "-", "LIMIT", 1, 2), words("a", "9"))
        self.assertEqual(self.call("ZLEXCOUNT", "z", "-", "+"), 7)
        self.assertEqual(self.call("ZREMRANGEBYLEX", "z", "-", "(a"), 3)
        self.assertEqual(self.call("ZRANGEBYLEX", "z", "x", "+"), "ERR min or max not valid string range item")

    def test_ranges_by_score_and_their_limits(self):
        self.fill(*[word for n in range(1, 8) for word in (n, "m%d" % n)])
        self.assertEqual(self.call("ZRANGEBYSCORE", "z", "(2", "4"), words("m3", "m4"))
        self.assertEqual(self.call("ZRANGE", "z", "4", "(2", "BYSCORE", "REV"), words("m4", "m3"))
        self.assertEqual(self.call("ZRANGEBYSCORE", "z", "-inf", "+inf", "LIMIT", 5, -1), words("m6", "m7"))
        self.assertEqual(self.call("ZRANGEBYSCORE", "z", "-inf", "+inf", "LIMIT", -1, 2), [])
        self.assertEqual(self.call("ZRANGE", "z", "0", "1", "LIMIT", 0, 1),
                         "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        self.assertEqual(self.call("ZCOUNT", "z", "(1", "(7"), 5)
        self.assertEqual(self.call("ZREVRANGE", "z", 0, 1, "WITHSCORES"), words("m7", "7", "m6", "6"))
        self.assertEqual(self.call("ZREMRANGEBYSCORE", "z", "(5", "inf"), 2)
        self.assertEqual(self.call("ZREMRANGEBYRANK", "z", -2, -1), 2)
        self.assertEqual(self.call("ZRANGE", "z", 0, -1), words("m1", "m2", "m3"))
        self.assertEqual(self.call("ZRANGESTORE", "y", "z", 1, 5), 2)
        self.assertEqual(self.call("ZRANGE", "y", 0, -1, "WITHSCORES"), words("m2", "2", "m3", "3"))

    def test_shapes_of_both_protocols(self):
        self.fill("1", "a", "2.5", "b")
        self.assertEqual(self.raw("ZRANGE", "z", 0, -1, "WITHSCORES"),
                         b"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n")
        self.assertEqual(self.raw("ZMSCORE", "z", "a", "x"), b"*2\r\n$1\r\n1\r\n$-1\r\n")
        self.assertEqual(self.raw("ZMPOP", 2, "none", "z", "MIN"), b"*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n")
        self.assertEqual(self.raw("ZPOPMAX", "z"), b"*2\r\n$1\r\nb\r\n$3\r\n2.5\r\n")
        self.assertEqual(self.raw("ZPOPMAX", "z"), b"*0\r\n")
        self.fill("1", "a", "2.5", "b")
        self.call("HELLO", 3)
        self.assertEqual(self.raw("ZRANGE", "z", 0, -1, "WITHSCORES"),
                         b"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n")
        self.assertEqual(self.raw("ZMSCORE", "z", "a", "x"), b"*2\r\n,1\r\n_\r\n")
        self.assertEqual(self.raw("ZPOPMIN", "z", 1), b"*1\r\n*2\r\n$1\r\na\r\n,1\r\n")
        self.assertEqual(self.raw("ZPOPMIN", "z"), b"*2\r\n$1\r\nb\r\n,2.5\r\n")
        self.assertEqual(self.raw("ZADD", "z", "INCR", "1.5", "a"), b",1.5\r\n")

    def test_ranks_from_either_end(self):
        self.fill("1", "a", "2", "b", "3", "c")
        self.assertEqual([self.call("ZRANK", "z", m) for m in "abcx"], [0, 1, 2, None])
        self.assertEqual([self.call("ZREVRANK", "z", m) for m in "abcx"], [2, 1, 0, None])

    def test_algebra_with_weights_and_aggregates(self):
        self.call("ZADD", "x", 1, "a", 2, "b", 3, "c")
        self.call("ZADD", "y", 10, "b", 20, "c", 30, "d")
        self.call("SADD", "s", "c", "d")
        self.assertEqual(self.call("ZUNION", 2, "x", "y", "WEIGHTS", 2, "0.5", "WITHSCORES"),
                         words("a", "2", "b", "9", "d", "15", "c", "16"))
        self.assertEqual(self.call("ZINTER", 2, "x", "y", "AGGREGATE", "MAX", "WITHSCORES"),
                         words("b", "10", "c", "20"))
        self.assertEqual(self.call("ZINTER", 3, "x", "y", "s", "WITHSCORES"), words("c", "24"))
        self.assertEqual(self.call("ZDIFF", 2, "x", "s", "WITHSCORES"), words("a", "1", "b", "2"))
        self.assertEqual(self.call("ZINTERCARD", 2, "x", "y", "LIMIT", 1), 1)
        self.assertEqual(self.call("ZUNIONSTORE", "x", 2, "x", "none"), 3)  # The target is a source too.
        self.assertEqual(self.call("ZDIFFSTORE", "x", 1, "none"), 0)
        self.assertEqual(self.call("EXISTS", "x"), 0)

    def test_another_type_is_refused(self):
        self.call("SET", "k", "v")
        for command in (("ZADD", "k", 1, "m"), ("ZSCORE", "k", "m"), ("ZRANGE", "k", 0, -1), ("ZPOPMIN", "k"),
                        ("ZUNION", 1, "k"), ("ZSCAN", "k", 0), ("ZRANGESTORE", "d", "k", 0, -1)):
            self.assertEqual(self.call(*command), WRONG_TYPE)

    def test_limits_of_the_configuration_make_it_large(self):
        self.call("ZADD", "z", 1, "x" * 64)
        self.assertEqual(self.call("OBJECT", "ENCODING", "z"), b"listpack")
        self.call("ZADD", "z", 1, "x" * 65)
        self.assertEqual(self.call("OBJECT", "ENCODING", "z"), b"skiplist")
        self.call("ZADD", "y", *[word for n in range(128) for word in (n, n)])
        self.assertEqual(self.call("OBJECT", "ENCODING", "y"), b"listpack")
        self.call("ZADD", "y", 1, "one more")
        self.assertEqual(self.call("OBJECT", "ENCODING", "y"), b"skiplist")


class Large(Case):
    """Against a twin: a dict of scores, sorted when it is asked."""

    def fill(self, count, seed=1):
        rng, twin = random.Random(seed), {}
        for start in range(0, count, 500):
            batch = {b"member:%d" % rng.randrange(count): rng.randrange(count) / 4 for _ in range(500)}
            twin.update(batch)
            self.call("ZADD", "z", *[word for member, score in batch.items() for word in (score, member)])
        return twin, sorted(twin, key=lambda member: (twin[member], member))

    def test_ranks_scores_and_ranges_are_those_of_a_sorted_list(self):
        twin, order = self.fill(20000)
        self.assertEqual(self.call("ZCARD", "z"), len(order))
        self.assertEqual(self.call("ZRANGE", "z", 0, -1), order)
        self.assertEqual(self.call("ZREVRANGE", "z", 0, -1), order[::-1])
        rng = random.Random(2)
        for _ in range(300):
            rank = rng.randrange(len(order))
            self.assertEqual(self.call("ZRANK", "z", order[rank]), rank)
            self.assertEqual(float(self.call("ZSCORE", "z", order[rank])), twin[order[rank]])
            self.assertEqual(self.call("ZRANGE", "z", rank, rank + 20), order[rank:rank + 21])
            low, high = sorted(rng.randrange(5000) for _ in range(2))
            inside = [member for member in order if low < twin[member] <= high]
            self.assertEqual(self.call("ZCOUNT", "z", "(%d" % low, high), len(inside))
            self.assertEqual(self.call("ZRANGEBYSCORE", "z", "(%d" % low, high, "LIMIT", 7, 5), inside[7:12])
            self.assertEqual(self.call("ZREVRANGEBYSCORE", "z", high, "(%d" % low, "LIMIT", 7, 5),
                             inside[::-1][7:12])

    def test_removal_from_all_sides(self):
        twin, order = self.fill(10000)
        self.assertEqual(self.call("ZREMRANGEBYRANK", "z", 100, 3099), 3000)
        del order[100:3100]
        popped = self.call("ZPOPMAX", "z", 500)
        self.assertEqual(popped[::2], order[:-501:-1])
        del order[-500:]
        self.assertEqual(self.call("ZREM", "z", *order[::2]), len(order[::2]))
        del order[::2]
        self.assertEqual(self.call("ZRANGE", "z", 0, -1), order)
        low, high = twin[order[10]], twin[order[-10]]
        left = [member for member in order if not low <= twin[member] <= high]
        self.assertEqual(self.call("ZREMRANGEBYSCORE", "z", low, high), len(order) - len(left))
        self.assertEqual(self.call("ZRANGE", "z", 0, -1), left)

    def test_algebra_of_large_ones_agrees_with_pythons(self):
        twin, _ = self.fill(6000)
        other = {b"member:%d" % n: n for n in range(0, 12000, 3)}
        self.call("ZADD", "y", *[word for member, score in other.items() for word in (score, member)])
        both = {member: twin[member] + other[member] for member in twin.keys() & other.keys()}
        self.assertEqual(self.call("ZINTERSTORE", "i", 2, "z", "y"), len(both))
        self.assertEqual(self.call("ZRANGE", "i", 0, -1), sorted(both, key=lambda m: (both[m], m)))
        self.assertEqual(self.call("ZUNIONSTORE", "u", 2, "z", "y"), len(twin.keys() | other.keys()))
        self.assertEqual(set(self.call("ZDIFF", 2, "z", "y")), twin.keys() - other.keys())

    def test_a_scan_visits_what_stays_while_members_come_and_go(self):
        stays = {b"stays:%d" % n for n in range(1000)}
        self.call("ZADD", "z", *[word for member in stays for word in (1, member)])
        seen, cursor, step = set(), b"0", 0
        while True:
            cursor, found = self.call("ZSCAN", "z", cursor, "COUNT", 50)
            seen |= set(found[::2])
            self.call("ZADD", "z", *[word for n in range(20) for word in (2, "extra:%d:%d" % (step, n))])
            self.call("ZREM", "z", "extra:%d:0" % step)
            step += 1
            if cursor == b"0":
                break
        self.assertEqual(stays - seen, set())

    def test_random_members_are_members(self):
        twin, _ = self.fill(3000)
        self.assertIn(self.call("ZRANDMEMBER", "z"), twin)
        some = self.call("ZRANDMEMBER", "z", 1000)
        self.assertEqual(len(set(some)), 1000)
        self.assertTrue(set(some) <= twin.keys())
        flat = self.call("ZRANDMEMBER", "z", -500, "WITHSCORES")
        self.assertTrue(all(float(flat[i + 1]) == twin[flat[i]] for i in range(0, 1000, 2)))


if __name__ == "__main__":
    main()
