"""Strings over a socket: what redis-server answers, and large values that travel without a copy."""
import os
import random
import time

from harness import Case, main

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class SetAndGet(Case):
    def test_set_options_may_stand_in_any_order(self):
        self.assertEqual(self.call("SET", "k", "1", "GET", "EX", "100", "NX"), None)
        self.assertEqual(self.call("TTL", "k"), 100)
        self.assertEqual(self.call("SET", "k", "2", "XX", "KEEPTTL", "GET"), b"1")
        self.assertEqual(self.call("TTL", "k"), 100)
        self.assertEqual(self.call("SET", "k", "3", "NX", "GET"), b"2")
        self.assertEqual(self.call("SET", "k", "4"), "OK")
        self.assertEqual(self.call("TTL", "k"), -1)

    def test_options_that_contradict_each_other_are_refused(self):
        for options in (("NX", "XX"), ("EX", "1", "PX", "1"), ("EX",), ("KEEPTTL", "EX", "1"), ("X",)):
            self.assertEqual(self.call("SET", "k", "v", *options), "ERR syntax error")
        self.assertEqual(self.call("EXISTS", "k"), 0)

    def test_times_that_make_no_sense_are_refused(self):
        for word, time_text in (("EX", 0), ("PX", -1), ("EX", 2 ** 63 - 1), ("PX", 2 ** 63 - 1),
                                ("EXAT", 2 ** 62), ("PXAT", 0)):
            self.assertEqual(self.call("SET", "k", "v", word, time_text),
                             "ERR invalid expire time in 'set' command")
        self.assertEqual(self.call("SET", "k", "v", "EX", "soon"),
                         "ERR value is not an integer or out of range")

    def test_a_moment_in_the_past_leaves_no_key(self):
        self.assertEqual(self.call("SET", "k", "v", "PXAT", "1"), "OK")
        self.assertEqual(self.call("GET", "k"), None)

    def test_getex_sets_drops_and_outlives_the_expiry(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.call("GETEX", "k", "PX", "100000"), b"v")
        self.assertEqual(self.call("TTL", "k"), 100)
        self.assertEqual(self.call("GETEX", "k", "PERSIST"), b"v")
        self.assertEqual(self.call("TTL", "k"), -1)
        self.assertEqual(self.call("GETEX", "k", "PXAT", "1"), b"v")
        self.assertEqual(self.call("EXISTS", "k"), 0)

    def test_getdel_and_getset_return_what_was_there(self):
        self.call("SET", "k", "old", "EX", "100")
        self.assertEqual(self.call("GETSET", "k", "new"), b"old")
        self.assertEqual(self.call("TTL", "k"), -1)
        self.assertEqual(self.call("GETDEL", "k"), b"new")
        self.assertEqual(self.call("GETDEL", "k"), None)

    def test_a_string_command_refuses_another_type(self):
        self.needs_command("LPUSH")
        self.call("LPUSH", "l", "x")
        for words in (("GET", "l"), ("APPEND", "l", "x"), ("INCR", "l"), ("GETDEL", "l"), ("STRLEN", "l"),
                      ("SET", "l", "v", "GET")):
            self.assertEqual(self.call(*words), WRONG_TYPE)
        self.assertEqual(self.call("SET", "l", "v"), "OK")


class Bits(Case):
    def test_bitcount_reads_both_numbers_before_their_unit(self):
        self.call("SET", "k", "abc")
        not_integer = "ERR value is not an integer or out of range"
        self.assertEqual(self.call("BITCOUNT", "k", 0, "x", "x"), not_integer)
        self.assertEqual(self.call("BITCOUNT", "k", 0, 1, "x"), "ERR syntax error")
        self.assertEqual(self.call("BITCOUNT", "k", -1, -2, "x"), 0)  # Empty in any unit.
        self.assertEqual(self.call("BITCOUNT", "k", 0), "ERR syntax error")
        self.assertEqual(self.call("BITCOUNT", "k", 0, 1, "BIT", "x"), "ERR syntax error")
        self.assertEqual(self.call("BITPOS", "k", 1, 0, "x", "x"), "ERR syntax error")  # The other way round.
        self.assertEqual(self.call("BITCOUNT", "k", 1, 2, "bit"), 2)
        self.assertEqual(self.call("BITCOUNT", "k", -2, -1, "byte"), 7)


class Conditions(Case):
    def setUp(self):
        super().setUp()
        self.needs_command("DELEX")

    def test_set_ifeq_compares_before_it_sets(self):
        self.assertEqual(self.call("SET", "k", "v", "IFEQ", "x"), None)
        self.assertEqual(self.call("EXISTS", "k"), 0)
        self.call("SET", "k", "one")
        self.assertEqual(self.call("SET", "k", "two", "IFEQ", "x"), None)
        self.assertEqual(self.call("SET", "k", "two", "IFEQ", "one", "EX", "100"), "OK")
        self.assertEqual(self.call("SET", "k", "three", "IFEQ", "two", "GET"), b"two")
        self.assertEqual(self.call("SET", "k", "four", "IFEQ", "two", "GET"), b"three")
        self.assertEqual(self.call("GET", "k"), b"three")
        self.assertEqual(self.call("SET", "k", "v", "IFEQ", "three", "NX"), "ERR syntax error")

    def test_delifeq_removes_only_what_it_names(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.call("DELIFEQ", "k", "x"), 0)
        self.assertEqual(self.call("DELIFEQ", "k", "v"), 1)
        self.assertEqual(self.call("DELIFEQ", "k", "v"), 0)

    def test_delex_compares_texts_and_digests(self):
        self.call("SET", "k", "v")
        digest = self.call("DIGEST", "k")
        self.assertEqual(len(digest), 16)
        self.assertEqual(self.call("DELEX", "k", "IFNE", "v"), 0)
        self.assertEqual(self.call("DELEX", "k", "IFDNE", digest), 0)
        self.assertEqual(self.call("DELEX", "k", "IFDEQ", digest.upper()), 1)
        self.call("SET", "k", "v")
        self.assertEqual(self.call("DELEX", "k"), 1)
        self.assertEqual(self.call("DELEX", "k", "IFEQ"), "ERR syntax error")
        self.assertEqual(self.call("DIGEST", "k"), None)

    def test_long_texts_are_compared_to_their_last_byte(self):
        text = b"0123456789abcdef" * 70000
        for end, is_equal in ((b"end", True), (b"enD", False)):
            with self.subTest(end=end):
                self.call("SET", "k", text + b"end")
                self.call("SET", "other", text + end)
                self.assertEqual(self.call("DIGEST", "k") == self.call("DIGEST", "other"), is_equal)
                self.assertEqual(self.call("SET", "k", "one", "IFNE", text + end), None if is_equal else "OK")
                self.call("SET", "k", text + b"end", "EX", 1000)
                self.assertEqual(self.call("SET", "k", "two", "IFEQ", text + end, "KEEPTTL"), "OK" if is_equal else None)
                self.assertEqual(self.call("TTL", "k") > 900, True)
                self.assertEqual(self.call("STRLEN", "k"), 3 if is_equal else len(text) + 3)
                self.call("SET", "k", text + b"end")
                self.assertEqual(self.call("SET", "k", "x", "IFDEQ", self.call("DIGEST", "other"), "GET"), text + b"end")
                self.call("SET", "k", text + b"end")
                self.assertEqual(self.call("DELEX", "k", "IFNE", text + end), 0 if is_equal else 1)
                self.call("SET", "k", text + b"end")
                self.assertEqual(self.call("DELIFEQ", "k", text + end), 1 if is_equal else 0)

    def test_msetex_sets_all_or_none(self):
        self.assertEqual(self.call("MSETEX", "2", "a", "1", "b", "2", "EX", "100"), 1)
        self.assertEqual(self.call("TTL", "b"), 100)
        self.assertEqual(self.call("MSETEX", "2", "b", "3", "c", "4", "NX"), 0)
        self.assertEqual(self.call("MSETEX", "2", "b", "3", "c", "4", "XX"), 0)
        self.assertEqual(self.call("MSETEX", "1", "b", "3", "XX", "KEEPTTL"), 1)
        self.assertEqual(self.call("MGET", "a", "b", "c"), [b"1", b"3", None])
        self.assertEqual(self.call("TTL", "b"), 100)
        self.assertEqual(self.call("COMMAND", "GETKEYS", "MSETEX", "2", "b", "3", "c", "4", "XX"), [b"b", b"c"])


class Numbers(Case):
    def test_counting_stops_at_the_limits(self):
        self.call("SET", "k", 2 ** 63 - 2)
        self.assertEqual(self.call("INCR", "k"), 2 ** 63 - 1)
        self.assertEqual(self.call("INCR", "k"), "ERR increment or decrement would overflow")
        self.assertEqual(self.call("DECRBY", "k", -2 ** 63), "ERR decrement would overflow")
        self.assertEqual(self.call("GET", "k"), b"%d" % (2 ** 63 - 1))

    def test_counting_keeps_the_expiry(self):
        self.call("SET", "k", "5", "EX", "100")
        self.assertEqual(self.call("INCRBY", "k", "10"), 15)
        self.assertEqual(self.call("INCRBYFLOAT", "k", "0.5"), b"15.5")
        self.assertEqual(self.call("TTL", "k"), 100)
        self.assertEqual(self.call("INCR", "k"), "ERR value is not an integer or out of range")


class LargeValues(Case):
    def test_values_of_every_size_come_back_whole(self):
        for size in (0, 1, 44, 45, 1000, 16384, 32767, 32768, 32769, 100000, 5000000):
            value = os.urandom(size)
            self.assertEqual(self.call("SET", "k", value), "OK")
            self.assertTrue(self.call("GET", "k") == value)
            self.assertTrue(self.call("GETRANGE", "k", "1", "-2") == value[1:-1])
            self.assertEqual(self.call("APPEND", "k", "tail"), size + 4)
            self.assertTrue(self.call("GET", "k") == value + b"tail")
            self.assertTrue(self.call("SET", "k", value, "GET") == value + b"tail")
            self.assertEqual(self.call("MSET", "a", value, "b", value), "OK")
            self.assertTrue(self.call("MGET", "a", "b") == [value, value])

    def test_a_reply_on_its_way_does_not_see_the_next_change(self):
        value = b"x" * 300000
        self.call("SET", "k", value)
        replies = self.conn.pipeline([("GET", "k"), ("SETRANGE", "k", "0", "yyy"), ("GET", "k"),
                                      ("SET", "k", "z"), ("GET", "k")])
        self.assertTrue(replies[0] == value)
        self.assertTrue(replies[2] == b"yyy" + value[3:])
        self.assertEqual(replies[4], b"z")

    def test_a_string_cannot_pass_512_mb(self):
        for words in (("SETRANGE", "k", 512 * 1024 * 1024, "x"), ("SETRANGE", "k", 2 ** 63 - 1, "x")):
            self.assertEqual(self.call(*words), "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        self.assertEqual(self.call("EXISTS", "k"), 0)


class Lcs(Case):
    def test_the_known_example(self):
        self.call("MSET", "a", "ohmytext", "b", "mynewtext")
        self.assertEqual(self.call("LCS", "a", "b"), b"mytext")
        self.assertEqual(self.call("LCS", "a", "b", "IDX", "MINMATCHLEN", "4", "WITHMATCHLEN"),
                         [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6])

    def test_a_long_one_is_computed_while_others_are_served(self):
        chance = random.Random(7)
        text = bytes(chance.choice(b"ab") for _ in range(3000))
        self.call("MSET", "a", text, "b", text[::-1])
        expected = self.call("LCS", "a", "b")
        other = self.connect()
        self.conn.send_command("LCS", "a", "b")
        self.assertEqual(other.call("DEL", "a", "b"), 2)
        self.assertTrue(self.conn.read() in (expected, b""))

    def test_a_client_that_leaves_takes_its_work_along(self):
        self.call("MSET", "a", b"ab" * 4000, "b", b"ba" * 4000)
        for _ in range(20):
            conn = self.connect()
            conn.send_command("LCS", "a", "b", "IDX")
            conn.close()
        self.assertEqual(self.call("PING"), "PONG")


class Latency(Case):
    def test_a_long_lcs_does_not_hold_up_a_get(self):
        self.call("MSET", "a", b"ab" * 5000, "b", b"ba" * 5000, "k", "v")
        other = self.connect()
        self.conn.send_command("LCS", "a", "b", "LEN")
        started = time.monotonic()
        self.assertEqual(other.call("GET", "k"), b"v")
        waited = time.monotonic() - started
        self.conn.read()
        if self.server.kind == "ouro":
            self.assertLess(waited, 5)


if __name__ == "__main__":
    main()
