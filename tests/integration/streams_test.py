#!/usr/bin/env python3
"""Streams: entries under rising IDs, trimming, groups of consumers and what they have pending."""
from blocking_test import Blocking
from harness import main, wait_until

MAX_ID = "18446744073709551615-18446744073709551615"
ERR_ID = "ERR Invalid stream ID specified as stream command argument"
ERR_TOP = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


class Streams(Blocking):
    """What tests of streams share."""

    def add(self, key, *ids, fields=("f", "v")):
        for one in ids:
            self.call("XADD", key, one, *fields)

    def ids(self, key, first="-", last="+", *words):
        return [entry[0] for entry in self.call("XRANGE", key, first, last, *words)]

    def about(self, key):
        reply = self.call("XINFO", "STREAM", key)
        return dict(zip(reply[::2], reply[1::2]))

    def groups(self, key):
        return [dict(zip(one[::2], one[1::2])) for one in self.call("XINFO", "GROUPS", key)]

    def is_ouro(self):
        return self.server.kind == "ouro"


class Adding(Streams):
    def test_ids_are_chosen_or_given(self):
        first = self.call("XADD", "s", "*", "a", "1")
        self.assertRegex(first, rb"^\d{13}-0$")
        self.assertEqual(self.call("XADD", "t", "5-1", "a", "1"), b"5-1")
        self.assertEqual(self.call("XADD", "t", "5-*", "a", "1"), b"5-2")
        self.assertEqual(self.call("XADD", "t", "7-*", "a", "1"), b"7-0")
        self.assertEqual(self.call("XADD", "t", "8", "a", "1"), b"8-0")
        self.assertEqual(self.call("XADD", "u", "0-*", "a", "1"), b"0-1")
        self.call("XADD", "far", "99999999999999-5", "a", "1")
        self.assertEqual(self.call("XADD", "far", "*", "a", "1"), b"99999999999999-6")

    def test_ids_rise(self):
        self.add("s", "5-5")
        for one in ("5-5", "5-4", "4", "0-1", "4-*"):
            self.assertEqual(self.call("XADD", "s", one, "a", "1"), ERR_TOP, one)
        self.assertEqual(self.call("XADD", "s", "0-0", "a", "1"), "ERR The ID specified in XADD must be greater than 0-0")
        self.add("s", "5-18446744073709551615")
        if self.is_ouro():  # redis-server 7.0 says that the elements are too large.
            self.assertEqual(self.call("XADD", "s", "5-*", "a", "1"), ERR_TOP)
        self.add("s", MAX_ID)
        self.assertEqual(self.call("XADD", "s", "*", "a", "1"),
                         "ERR The stream has exhausted the last possible ID, unable to add more items")

    def test_what_is_no_id_is_refused(self):
        for one in ("x", "", "1-", "-1", "1-x", "1-2-3", "-", "+", "$", "1--2", "18446744073709551616", "9" * 128):
            self.assertEqual(self.call("XADD", "s", one, "a", "1"), ERR_ID, one)
        self.assertEqual(self.call("EXISTS", "s"), 0)

    def test_fields_come_in_pairs(self):
        for words in (("*", "a"), ("*", "a", "1", "b"), ("1-1", "a", "1", "b"), ("MAXLEN", "1", "*", "a")):
            self.assertEqual(self.call("XADD", "s", *words), "ERR wrong number of arguments for 'xadd' command", words)

    def test_a_missing_stream_can_be_left_alone(self):
        self.assertEqual(self.call("XADD", "s", "NOMKSTREAM", "*", "a", "1"), None)
        self.assertEqual(self.call("EXISTS", "s"), 0)
        self.add("s", "1-1")
        self.assertEqual(self.call("XADD", "s", "NOMKSTREAM", "2-1", "a", "1"), b"2-1")

    def test_texts_and_numbers_come_back_as_they_were(self):
        texts = [b"", b"0", b"-1", b"63", b"64", b"-4096", b"4095", b"70000", b"-9223372036854775808", b"9223372036854775808",
                 b"007", b"+1", b"1.0", b"x" * 127, b"x" * 128, b"y" * 300, b"z" * 70000, bytes(range(256))]
        for number, text in enumerate(texts):
            self.call("XADD", "s", "1-%d" % (number + 1), text, text, "same", text)
        for entry, text in zip(self.call("XRANGE", "s", "-", "+"), texts):
            self.assertEqual(entry[1], [text, text, b"same", text])
        for entry, text in zip(self.call("XREVRANGE", "s", "+", "-"), reversed(texts)):
            self.assertEqual(entry[1], [text, text, b"same", text])
        self.call("COPY", "s", "copy")
        self.assertEqual(self.call("XRANGE", "copy", "-", "+"), self.call("XRANGE", "s", "-", "+"))
        self.assertEqual(self.call("XDEL", "s", "1-17"), 1)
        self.assertEqual(len(self.call("XRANGE", "copy", "1-17", "1-17")[0][1][1]), 70000)

    def test_the_type_is_stream(self):
        self.add("s", "1-1")
        self.call("SET", "text", "x")
        self.assertEqual(self.call("TYPE", "s"), "stream")
        self.assertEqual(self.call("OBJECT", "ENCODING", "s"), b"stream")
        self.assertGreater(self.call("MEMORY", "USAGE", "s"), 50)
        for words in (("XADD", "text", "*", "a", "1"), ("XLEN", "text"), ("XREAD", "STREAMS", "text", "0"), ("XTRIM", "text", "MAXLEN", "1"),
                      ("XGROUP", "CREATE", "text", "g", "0"), ("XINFO", "STREAM", "text"), ("XACK", "text", "g", "1")):
            self.assertTrue(self.call(*words).startswith("WRONGTYPE"), words)


class Ranges(Streams):
    def test_bounds(self):
        self.add("s", "1-1", "1-2", "2-1", "3-0", "3-5")
        for first, last, wanted in (("-", "+", 5), ("1", "1", 2), ("1-2", "3", 4), ("(1-1", "+", 4), ("-", "(3-5", 4), ("2", "1", 0),
                                    ("3-1", "3-4", 0), ("(1", "(3-0", 3), ("0", "18446744073709551615", 5)):
            self.assertEqual(len(self.ids("s", first, last)), wanted, (first, last))
            backward = [entry[0] for entry in self.call("XREVRANGE", "s", last, first)]
            self.assertEqual(backward, self.ids("s", first, last)[::-1])
        self.assertEqual(self.ids("s", "-", "+", "COUNT", "2"), [b"1-1", b"1-2"])
        self.assertEqual(self.call("XRANGE", "s", "-", "+", "COUNT", "0"), None)
        self.assertEqual(self.call("XRANGE", "none", "-", "+", "COUNT", "0"), [])

    def test_errors(self):
        self.assertEqual(self.call("XRANGE", "s", "(" + MAX_ID, "+"), "ERR invalid start ID for the interval")
        self.assertEqual(self.call("XRANGE", "s", "-", "(0-0"), "ERR invalid end ID for the interval")
        self.assertEqual(self.call("XRANGE", "s", "(-", "+"), ERR_ID)
        self.assertEqual(self.call("XRANGE", "s", "-", "+", "COUNT"), "ERR syntax error")
        self.assertEqual(self.call("XRANGE", "s", "-", "+", "COUNT", "x"), "ERR value is not an integer or out of range")

    def test_many_nodes_are_walked_in_both_directions(self):
        count = 2000
        self.conn.pipeline([("XADD", "s", "%d-%d" % (number // 3 + 1, number % 3 + 1), "n", number) for number in range(count)])
        numbers = [int(entry[1][1]) for entry in self.call("XRANGE", "s", "-", "+")]
        self.assertEqual(numbers, list(range(count)))
        numbers = [int(entry[1][1]) for entry in self.call("XREVRANGE", "s", "+", "-")]
        self.assertEqual(numbers, list(range(count))[::-1])
        self.assertEqual(len(self.ids("s", "100", "199")), 300)
        self.assertGreaterEqual(self.about("s")[b"radix-tree-keys"], count // 100)


class Trimming(Streams):
    def fill(self, count=30):
        self.call("CONFIG", "SET", "stream-node-max-entries", 10)
        self.addCleanup(self.call, "CONFIG", "SET", "stream-node-max-entries", 100)
        self.call("DEL", "s")
        self.add("s", *["%d-1" % number for number in range(1, count + 1)])

    def test_to_a_length(self):
        self.fill()
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "25"), 5)
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "=", "100"), 0)
        self.assertEqual(self.ids("s")[0], b"6-1")
        self.assertEqual(self.call("XADD", "s", "MAXLEN", "3", "31-1", "f", "v"), b"31-1")
        self.assertEqual(self.ids("s"), [b"29-1", b"30-1", b"31-1"])
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "0"), 3)
        self.assertEqual(self.call("XLEN", "s"), 0)
        self.assertEqual(self.call("EXISTS", "s"), 1)
        self.assertEqual(self.call("XADD", "s", "31-1", "f", "v"), ERR_TOP)

    def test_from_an_id(self):
        self.fill()
        self.assertEqual(self.call("XTRIM", "s", "MINID", "15"), 14)
        self.assertEqual(self.call("XTRIM", "s", "MINID", "15-2"), 1)
        self.assertEqual(self.ids("s")[0], b"16-1")

    def test_by_whole_nodes(self):
        self.fill()
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "~", "15"), 10)
        self.assertEqual(self.call("XTRIM", "s", "MINID", "~", "19"), 0)
        self.fill()
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "~", "0", "LIMIT", "20"), 20)
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "~", "0", "LIMIT", "9"), 0)
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", "~", "0", "LIMIT", "0"), 10)

    def test_errors(self):
        for words, error in ((("MAXLEN", "-1"), "The MAXLEN argument must be >= 0."),
                             (("MAXLEN", "x"), "value is not an integer or out of range"),
                             (("MINID", "x"), ERR_ID[4:]),
                             (("MAXLEN", "1", "MINID", "1"),
                              "syntax error, MAXLEN and MINID options at the same time are not compatible"),
                             (("LIMIT", "1"), "syntax error, LIMIT cannot be used without specifying a trimming strategy"),
                             (("MAXLEN", "1", "LIMIT", "1"), "syntax error, LIMIT cannot be used without the special ~ option"),
                             (("MAXLEN", "~", "1", "LIMIT", "-1"), "The LIMIT argument must be >= 0.")):
            self.assertEqual(self.call("XTRIM", "s", *words), "ERR " + error, words)
        self.assertEqual(self.call("XTRIM", "s", "x", "1"), "ERR syntax error")


class Deleting(Streams):
    def test_deleted_entries_are_gone_and_remembered(self):
        self.add("s", "1-1", "2-1", "3-1", "4-1")
        self.assertEqual(self.call("XDEL", "s", "2-1", "2-1", "9-9", "3-1"), 2)
        self.assertEqual(self.ids("s"), [b"1-1", b"4-1"])
        about = self.about("s")
        self.assertEqual((about[b"length"], about[b"entries-added"], about[b"max-deleted-entry-id"]), (2, 4, b"3-1"))
        self.assertEqual(self.call("XDEL", "s", "1-1", "x"), ERR_ID)
        self.assertEqual(self.call("XDEL", "s", "1-1", "4-1"), 2)
        self.assertEqual(self.about("s")[b"recorded-first-entry-id"], b"0-0")
        self.assertEqual(self.call("XDEL", "none", "1-1"), 0)

    def test_counters_can_be_set(self):
        self.add("s", "1-1", "2-1")
        self.assertEqual(self.call("XSETID", "s", "9-1", "ENTRIESADDED", "7", "MAXDELETEDID", "1-5"), "OK")
        about = self.about("s")
        self.assertEqual([about[name] for name in (b"last-generated-id", b"entries-added", b"max-deleted-entry-id")], [b"9-1", 7, b"1-5"])
        for words, error in ((("1-1",), "The ID specified in XSETID is smaller than the target stream top item"),
                             (("9-1", "ENTRIESADDED", "1"), "The entries_added specified in XSETID is smaller than the target stream length"),
                             (("9-1", "ENTRIESADDED", "-1"), "entries_added must be positive"),
                             (("9-1", "MAXDELETEDID", "9-2"), "The ID specified in XSETID is smaller than the provided max_deleted_entry_id")):
            self.assertEqual(self.call("XSETID", "s", *words), "ERR " + error)
        self.assertEqual(self.call("XSETID", "none", "1-1"), "ERR no such key")
        self.assertEqual(self.call("XSETID", "s", "9-1", "x"), "ERR syntax error")


class Reading(Streams):
    def test_several_streams(self):
        self.add("s", "1-1", "2-1", "3-1")
        self.add("t", "1-1")
        entry = [b"3-1", [b"f", b"v"]]
        self.assertEqual(self.call("XREAD", "STREAMS", "s", "t", "none", "2-1", "1-1", "0"), [[b"s", [entry]]])
        reply = self.call("XREAD", "COUNT", "1", "STREAMS", "s", "t", "0", "0")
        self.assertEqual([(key, len(entries)) for key, entries in reply], [(b"s", 1), (b"t", 1)])
        self.assertEqual(self.call("XREAD", "STREAMS", "s", "$"), None)
        self.assertEqual(self.conn.raw("XREAD", "STREAMS", "s", "3-1"), b"*-1\r\n")

    def test_replies_are_maps_in_the_third_protocol(self):
        self.add("s", "1-1")
        conn = self.connect()
        conn.call("HELLO", "3")
        self.assertEqual(conn.raw("XREAD", "STREAMS", "s", "0"),
                         b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")
        self.assertEqual(conn.raw("XREAD", "STREAMS", "s", "$"), b"_\r\n")
        conn.call("XGROUP", "CREATE", "s", "g", "0")
        self.assertEqual(list(conn.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")), [b"s"])
        self.assertEqual(conn.call("XINFO", "STREAM", "s")[b"length"], 1)
        self.assertEqual(conn.call("XINFO", "GROUPS", "s")[0][b"lag"], 0)
        self.assertEqual(conn.call("XINFO", "CONSUMERS", "s", "g")[0][b"pending"], 1)
        full = conn.call("XINFO", "STREAM", "s", "FULL")
        self.assertEqual(full[b"groups"][0][b"consumers"][0][b"pel-count"], 1)

    def test_errors(self):
        self.add("s", "1-1")
        for words, error in ((("XREAD", "STREAMS", "s", "t", "0"), "ERR Unbalanced XREAD list of streams: for each stream key an ID or "
                                                                   "'$' must be specified."),
                             (("XREAD", "COUNT", "1", "x"), "ERR syntax error"),
                             (("XREAD", "BLOCK", "-1", "STREAMS", "s", "0"), "ERR timeout is negative"),
                             (("XREAD", "BLOCK", "x", "STREAMS", "s", "0"), "ERR timeout is not an integer or out of range"),
                             (("XREAD", "STREAMS", "s", ">"), "ERR The > ID can be specified only when calling XREADGROUP using the "
                                                              "GROUP <group> <consumer> option."),
                             (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"),
                              "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"),
                             (("XREADGROUP", "COUNT", "1", "NOACK", "STREAMS", "s", ">"), "ERR Missing GROUP option for XREADGROUP")):
            self.assertEqual(self.call(*words), error, words)

    def test_the_last_entry(self):
        if not self.is_ouro():
            self.skipTest("newer than redis-server 7.0")
        self.add("s", "1-1", "2-0")
        self.assertEqual(self.call("XREAD", "STREAMS", "s", "+"), [[b"s", [[b"2-0", [b"f", b"v"]]]]])
        self.assertEqual(self.call("XREAD", "STREAMS", "none", "+"), None)

    def test_keys_are_found(self):
        self.assertEqual(self.call("COMMAND", "GETKEYS", "XREAD", "COUNT", "1", "STREAMS", "a", "b", "0", "0"), [b"a", b"b"])
        self.assertEqual(self.call("COMMAND", "GETKEYS", "XREADGROUP", "GROUP", "streams", "c", "STREAMS", "a", ">"), [b"a"])


class Waiting(Streams):
    def test_who_waits_for_the_end_gets_what_comes(self):
        self.add("s", "1-1")
        conn = self.waiter("XREAD", "BLOCK", "0", "STREAMS", "t", "s", "$", "$")
        self.add("s", "2-1", "3-1")
        self.assertEqual(conn.read(), [[b"s", [[b"2-1", [b"f", b"v"]]]]])

    def test_a_wait_ends(self):
        self.add("s", "1-1")
        self.assertEqual(self.call("XREAD", "BLOCK", "1", "STREAMS", "s", "$"), None)
        self.assertEqual(self.call("XREAD", "BLOCK", "1", "STREAMS", "s", "0"), [[b"s", [[b"1-1", [b"f", b"v"]]]]])

    def test_many_get_the_same_entry(self):
        conns = [self.waiter("XREAD", "BLOCK", "0", "STREAMS", "s", "0") for _ in range(3)]
        self.add("s", "1-1")
        for conn in conns:
            self.assertEqual(conn.read(), [[b"s", [[b"1-1", [b"f", b"v"]]]]])

    def test_consumers_of_a_group_share(self):
        self.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        first = self.waiter("XREADGROUP", "GROUP", "g", "ann", "BLOCK", "0", "STREAMS", "s", ">")
        second = self.waiter("XREADGROUP", "GROUP", "g", "bob", "BLOCK", "0", "STREAMS", "s", ">")
        self.add("s", "1-1")
        self.assertEqual(first.read(), [[b"s", [[b"1-1", [b"f", b"v"]]]]])
        self.assert_waits(second)
        self.add("s", "2-1")
        self.assertEqual(second.read(), [[b"s", [[b"2-1", [b"f", b"v"]]]]])
        self.assertEqual(self.call("XPENDING", "s", "g")[3], [[b"ann", b"1"], [b"bob", b"1"]])

    def test_a_group_or_key_that_goes_ends_the_wait(self):
        gone = "UNBLOCKED the stream key no longer exists"
        wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value" if self.is_ouro() else gone  # As 7.2.
        for words, error in ((("DEL", "s"), gone), (("SET", "s", "x"), wrong_type),
                             (("XGROUP", "DESTROY", "s", "g"), "NOGROUP the consumer group this client was blocked on no longer exists")):
            self.call("DEL", "s")
            self.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
            conn = self.waiter("XREADGROUP", "GROUP", "g", "ann", "BLOCK", "0", "STREAMS", "s", ">")
            self.call(*words)
            self.assertEqual(conn.read(), error)

    def test_a_deleted_key_does_not_end_a_read(self):
        self.add("s", "1-1")
        conn = self.waiter("XREAD", "BLOCK", "0", "STREAMS", "s", "5-0")
        self.call("DEL", "s")
        self.add("s", "6-1")
        self.assertEqual(conn.read(), [[b"s", [[b"6-1", [b"f", b"v"]]]]])


class Groups(Streams):
    def test_creation(self):
        self.assertTrue(self.call("XGROUP", "CREATE", "s", "g", "0").startswith("ERR The XGROUP subcommand requires the key to exist."))
        self.assertEqual(self.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"), "OK")
        self.assertEqual(self.call("XGROUP", "CREATE", "s", "g", "0"), "BUSYGROUP Consumer Group name already exists")
        self.assertEqual(self.call("XGROUP", "CREATE", "s", "h", "x"), ERR_ID)
        self.assertEqual(self.call("XGROUP", "CREATE", "s", "h", "0", "ENTRIESREAD", "-2"),
                         "ERR value for ENTRIESREAD must be positive or -1")
        self.assertEqual(self.call("XGROUP", "CREATECONSUMER", "s", "g", "ann"), 1)
        self.assertEqual(self.call("XGROUP", "CREATECONSUMER", "s", "g", "ann"), 0)
        self.assertEqual(self.call("XGROUP", "CREATECONSUMER", "s", "no", "ann"), "NOGROUP No such consumer group 'no' for key name 's'")
        self.assertEqual(self.call("XGROUP", "DELCONSUMER", "s", "g", "ann"), 0)
        self.assertEqual(self.call("XGROUP", "DESTROY", "s", "g"), 1)
        self.assertEqual(self.call("XGROUP", "DESTROY", "s", "g"), 0)

    def test_entries_are_delivered_once_and_acknowledged(self):
        self.add("s", "1-1", "2-1", "3-1")
        self.call("XGROUP", "CREATE", "s", "g", "0")
        read = ("XREADGROUP", "GROUP", "g")
        self.assertEqual(len(self.call(*read, "ann", "COUNT", "2", "STREAMS", "s", ">")[0][1]), 2)
        self.assertEqual(len(self.call(*read, "bob", "STREAMS", "s", ">")[0][1]), 1)
        self.assertEqual(self.call(*read, "bob", "STREAMS", "s", ">"), None)
        self.assertEqual([entry[0] for entry in self.call(*read, "ann", "STREAMS", "s", "0")[0][1]], [b"1-1", b"2-1"])
        self.assertEqual(self.call("XACK", "s", "g", "1-1", "1-1", "9-9"), 1)
        self.call("XDEL", "s", "2-1")
        self.assertEqual(self.call(*read, "ann", "STREAMS", "s", "0"), [[b"s", [[b"2-1", None]]]])
        self.assertEqual(self.call("XPENDING", "s", "g"), [2, b"2-1", b"3-1", [[b"ann", b"1"], [b"bob", b"1"]]])
        self.assertEqual(self.call("XACK", "s", "g", "2-1", "x"), ERR_ID)
        self.assertEqual(self.call("XGROUP", "DELCONSUMER", "s", "g", "ann"), 1)
        self.assertEqual(self.call("XPENDING", "s", "g"), [1, b"3-1", b"3-1", [[b"bob", b"1"]]])
        self.assertEqual(self.call(*read, "bob", "NOACK", "STREAMS", "s", ">"), None)

    def test_lag(self):
        self.add("s", *["%d-0" % number for number in range(1, 6)])
        self.call("XGROUP", "CREATE", "s", "g", "0")
        self.call("XGROUP", "CREATE", "s", "middle", "3-0")
        self.assertEqual([(one[b"entries-read"], one[b"lag"]) for one in self.groups("s")], [(None, 5), (None, None)])
        self.call("XREADGROUP", "GROUP", "g", "ann", "COUNT", "2", "STREAMS", "s", ">")
        self.assertEqual((self.groups("s")[0][b"entries-read"], self.groups("s")[0][b"lag"]), (2, 3))
        self.call("XDEL", "s", "4-0")
        self.assertEqual((self.groups("s")[0][b"entries-read"], self.groups("s")[0][b"lag"]), (2, None))
        self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">")
        self.assertEqual((self.groups("s")[0][b"entries-read"], self.groups("s")[0][b"lag"]), (5, 0))
        self.call("XGROUP", "SETID", "s", "g", "$")
        self.assertEqual((self.groups("s")[0][b"entries-read"], self.groups("s")[0][b"lag"]), (None, 0))

    def test_pending_entries_are_told(self):
        self.add("s", "1-1", "2-1", "3-1")
        self.call("XGROUP", "CREATE", "s", "g", "0")
        self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">")
        reply = self.call("XPENDING", "s", "g", "(1-1", "+", "10", "ann")
        self.assertEqual([(one[0], one[1], one[3]) for one in reply], [(b"2-1", b"ann", 1), (b"3-1", b"ann", 1)])
        self.assertEqual(self.call("XPENDING", "s", "g", "IDLE", "1000000", "-", "+", "10"), [])
        self.assertEqual(self.call("XPENDING", "s", "g", "-", "+", "10", "none"), [])
        self.assertEqual(self.call("XPENDING", "s", "g", "-", "+"), "ERR syntax error")
        self.assertEqual(self.call("XPENDING", "s", "no"), "NOGROUP No such key 's' or consumer group 'no'")

    def test_what_a_consumer_lost_is_recovered(self):
        self.add("s", "1-1", "2-1", "3-1", "4-1")
        self.call("XGROUP", "CREATE", "s", "g", "0")
        self.call("XREADGROUP", "GROUP", "g", "lost", "STREAMS", "s", ">")
        self.call("XDEL", "s", "3-1")
        self.assertEqual(self.call("XCLAIM", "s", "g", "ann", "1000000", "1-1"), [])
        self.assertEqual(self.call("XCLAIM", "s", "g", "ann", "0", "1-1", "9-9"), [[b"1-1", [b"f", b"v"]]])
        self.assertEqual(self.call("XAUTOCLAIM", "s", "g", "ann", "0", "-", "COUNT", "2", "JUSTID"), [b"3-1", [b"1-1", b"2-1"], []])
        self.assertEqual(self.call("XAUTOCLAIM", "s", "g", "ann", "0", "3-1"), [b"0-0", [[b"4-1", [b"f", b"v"]]], [b"3-1"]])
        self.assertEqual(self.call("XPENDING", "s", "g")[3], [[b"ann", b"3"]])
        counts = [one[3] for one in self.call("XPENDING", "s", "g", "-", "+", "10")]
        self.assertEqual(counts, [2, 1, 2])

    def test_options_of_claims(self):
        self.add("s", "1-1", "2-1")
        self.call("XGROUP", "CREATE", "s", "g", "0")
        self.assertEqual(self.call("XCLAIM", "s", "g", "ann", "0", "1-1", "FORCE", "JUSTID", "RETRYCOUNT", "7", "TIME", "1000", "LASTID", "2-1"),
                         [b"1-1"])
        entry = self.call("XPENDING", "s", "g", "-", "+", "10")[0]
        self.assertEqual((entry[0], entry[1], entry[3]), (b"1-1", b"ann", 7))
        self.assertGreater(entry[2], 10 ** 12)
        self.assertEqual(self.groups("s")[0][b"last-delivered-id"], b"2-1")
        for words, error in ((("x", "1-1"), "ERR Invalid min-idle-time argument for XCLAIM"),
                             (("0", "1-1", "IDLE", "x"), "ERR Invalid IDLE option argument for XCLAIM"),
                             (("0", "1-1", "x"), "ERR Unrecognized XCLAIM option 'x'"),
                             (("0", "1-1", "LASTID", "x"), ERR_ID)):
            self.assertEqual(self.call("XCLAIM", "s", "g", "ann", *words), error)
        self.assertEqual(self.call("XAUTOCLAIM", "s", "g", "ann", "0", "0", "COUNT", "0"), "ERR COUNT must be > 0")
        self.assertEqual(self.call("XAUTOCLAIM", "s", "no", "ann", "0", "0"), "NOGROUP No such key 's' or consumer group 'no'")

    def test_counters_stop_at_the_largest_number(self):
        if not self.is_ouro():
            self.skipTest("in Redis they go on with the smallest number")
        most = 2 ** 63 - 1
        self.add("s", "1-1", "2-1")
        self.call("XGROUP", "CREATE", "s", "g", "0", "ENTRIESREAD", most)
        self.call("XSETID", "s", "2-1", "ENTRIESADDED", most)
        self.add("s", "3-1")
        self.assertEqual(self.about("s")[b"entries-added"], most)
        self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">")
        self.assertEqual(self.groups("s")[0][b"entries-read"], most)
        self.call("XCLAIM", "s", "g", "ann", "0", "1-1", "RETRYCOUNT", most, "JUSTID")
        self.call("XCLAIM", "s", "g", "ann", "0", "1-1")
        self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", "0")
        self.assertEqual(self.call("XPENDING", "s", "g", "-", "+", "1")[0][3], most)
        # What is told of it can be read again.
        self.assertEqual(self.call("RESTORE", "t", "0", self.call("DUMP", "s")), "OK")
        self.assertEqual(self.groups("t"), self.groups("s"))
        self.assertEqual(self.call("XPENDING", "t", "g", "-", "+", "1")[0][3], most)

    def test_times_of_consumers(self):
        if not self.is_ouro():
            self.skipTest("newer than redis-server 7.0")
        self.add("s", "1-1")
        self.call("XGROUP", "CREATE", "s", "g", "$")
        self.assertEqual(self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">"), None)
        self.assertEqual(self.call("XINFO", "CONSUMERS", "s", "g")[0][-2:], [b"inactive", -1])
        self.add("s", "2-1")
        self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">")
        self.assertGreaterEqual(self.call("XINFO", "CONSUMERS", "s", "g")[0][-1], 0)

    def test_events(self):
        self.call("CONFIG", "SET", "notify-keyspace-events", "Et")
        self.addCleanup(self.call, "CONFIG", "SET", "notify-keyspace-events", "")
        conn = self.connect()
        conn.call("PSUBSCRIBE", "*")
        for words in (("XADD", "s", "MAXLEN", "1", "1-1", "a", "b"), ("XADD", "s", "MAXLEN", "1", "2-1", "a", "b"), ("XDEL", "s", "2-1"),
                      ("XSETID", "s", "9-1"), ("XGROUP", "CREATE", "s", "g", "0"), ("XGROUP", "CREATECONSUMER", "s", "g", "c"),
                      ("XGROUP", "SETID", "s", "g", "0"), ("XGROUP", "DELCONSUMER", "s", "g", "c"), ("XGROUP", "DESTROY", "s", "g"),
                      ("XADD", "s", "10-1", "a", "b"), ("XTRIM", "s", "MAXLEN", "0")):
            self.call(*words)
        events = [conn.read()[2].split(b":")[1] for _ in range(12)]
        self.assertEqual(events, [b"xadd", b"xadd", b"xtrim", b"xdel", b"xsetid", b"xgroup-create", b"xgroup-createconsumer",
                                  b"xgroup-setid", b"xgroup-delconsumer", b"xgroup-destroy", b"xadd", b"xtrim"])

    def test_many_pending_entries_are_freed(self):
        count = 5000
        self.conn.pipeline([("XADD", "s", "%d-1" % number, "f", "v") for number in range(1, count + 1)])
        for group in ("g", "h"):
            self.call("XGROUP", "CREATE", "s", group, "0")
            for consumer in ("ann", "bob"):
                self.call("XREADGROUP", "GROUP", group, consumer, "COUNT", count // 2, "STREAMS", "s", ">")
        self.assertEqual(self.call("XGROUP", "DELCONSUMER", "s", "g", "ann"), count // 2)
        self.assertEqual(self.call("XGROUP", "DESTROY", "s", "h"), 1)
        self.assertEqual(self.call("XPENDING", "s", "g")[0], count // 2)
        self.assertEqual(self.call("UNLINK", "s"), 1)
        wait_until(lambda: self.call("EXISTS", "s") == 0)


del Blocking, Streams  # The loader shall not find what they inherit.

if __name__ == "__main__":
    main()
