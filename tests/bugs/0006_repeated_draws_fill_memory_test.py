#!/usr/bin/env python3
"""HRANDFIELD and ZRANDMEMBER with a huge negative count built a reply that had no end but that of
memory, and SRANDMEMBER one of as many gigabytes as its members were long."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, Error, main

NO_MEMORY = "ERR out of memory"
COUNT_MAX = 2**63 - 1


class RepeatedDraws(Case):
    def setUp(self):
        super().setUp()
        self.call("HSET", "hash", "a" * 9_000_000, "1")
        self.call("SADD", "set", "a" * 9_000_000)
        self.call("ZADD", "zset", 1, "a" * 9_000_000)

    def refused(self, *command):
        reply = self.call(*command)
        self.assertIsInstance(reply, Error)
        self.assertEqual(reply, NO_MEMORY)

    def test_a_huge_count_is_refused(self):
        self.refused("HRANDFIELD", "hash", -COUNT_MAX)
        self.refused("SRANDMEMBER", "set", -COUNT_MAX)
        self.refused("ZRANDMEMBER", "zset", -COUNT_MAX)
        self.refused("HRANDFIELD", "hash", -(COUNT_MAX // 2), "WITHVALUES")
        self.refused("ZRANDMEMBER", "zset", -(COUNT_MAX // 2), "WITHSCORES")

    def test_long_elements_are_refused_by_their_bytes(self):
        self.refused("HRANDFIELD", "hash", -100)
        self.refused("SRANDMEMBER", "set", -100)
        self.refused("ZRANDMEMBER", "zset", -100)

    def test_what_is_not_too_much_is_told(self):
        self.call("DEL", "hash", "set", "zset")
        self.call("HSET", "hash", "a", "1")
        self.call("SADD", "set", "a")
        self.call("ZADD", "zset", 1, "a")
        self.assertEqual(self.call("SRANDMEMBER", "set", -9000), [b"a"] * 9000)
        self.assertEqual(self.call("HRANDFIELD", "hash", -9000, "WITHVALUES"), [b"a", b"1"] * 9000)
        self.assertEqual(self.call("ZRANDMEMBER", "zset", -9000, "WITHSCORES"), [b"a", b"1"] * 9000)


if __name__ == "__main__":
    main()
