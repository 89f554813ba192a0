"""Strings of many megabytes: what changes, reads, moves and frees them is right to the byte, is seen before or after
and never in the middle, and gives its memory back. What runs in slices does so from half a MiB on, in the hostile
build from some tens of bytes."""
import random

from harness import Case, Error, encode, main, wait_until

MIB = 1 << 20
TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def text_of(size, seed=1):
    return random.Random(seed).randbytes(size)


class Changes(Case):
    def check(self, key, wanted):
        self.assertEqual(self.call("STRLEN", key), len(wanted))
        self.assertTrue(self.call("GET", key) == wanted)

    def test_a_string_grows_through_all_its_forms(self):
        wanted = bytearray()
        sizes = (3, 41, 900, 31000, 1500, 60000, 900000, 200000, 3000000, 7, 9000000, 1)
        for n, size in enumerate(sizes):
            piece = text_of(size, n)
            wanted += piece
            self.assertEqual(self.call("APPEND", "k", piece), len(wanted))
            self.check("k", wanted)

    def test_what_a_copy_shares_is_left_to_it(self):
        text = bytearray(text_of(3 * MIB))
        deeds = ((("SETBIT", 15, 1), lambda b: b[:1] + bytes([b[1] | 1]) + b[2:], None),
                 (("APPEND", "tail"), lambda b: b + b"tail", 3 * MIB + 4),
                 (("SETRANGE", MIB, "middle"), lambda b: b[:MIB] + b"middle" + b[MIB + 6:], 3 * MIB),
                 (("SETRANGE", 4 * MIB, "end"), lambda b: b.ljust(4 * MIB, b"\0") + b"end", 4 * MIB + 3),
                 (("BITFIELD", "SET", "u16", "#3", 258), lambda b: b[:6] + b"\1\2" + b[8:], None))
        self.call("SET", "k", bytes(text))
        for words, change, reply in deeds:
            with self.subTest(words=words):
                self.call("COPY", "k", "copy", "REPLACE")
                got = self.call(words[0], "copy", *words[1:])
                self.assertFalse(isinstance(got, Error))
                if reply is not None:
                    self.assertEqual(got, reply)
                self.check("copy", change(bytes(text)))
                self.check("k", text)

    def test_a_long_text_is_written_into_short_missing_and_long_ones(self):
        text = text_of(2 * MIB)
        self.assertEqual(self.call("SETRANGE", "missing", 5, text), len(text) + 5)
        self.check("missing", bytes(5) + text)
        self.call("SET", "short", "abcdefgh")
        self.assertEqual(self.call("SETRANGE", "short", 3, text), len(text) + 3)
        self.check("short", b"abc" + text)
        self.call("SET", "number", 12345, "EX", 1000)
        self.assertEqual(self.call("APPEND", "number", text), len(text) + 5)
        self.check("number", b"12345" + text)
        self.assertGreater(self.call("TTL", "number"), 900)
        self.assertEqual(self.call("OBJECT", "ENCODING", "number"), b"raw")
        self.call("SET", "long", bytes(10 * MIB))
        self.assertEqual(self.call("SETRANGE", "long", 4 * MIB, text), 10 * MIB)
        self.check("long", bytes(4 * MIB) + text + bytes(4 * MIB))
        self.call("RPUSH", "list", "a")
        self.assertTrue(self.call("SETRANGE", "list", 3, text).startswith("WRONGTYPE"))
        self.assertTrue(self.call("APPEND", "list", text).startswith("WRONGTYPE"))

    def test_the_last_byte_and_the_first_too_far(self):
        self.assertEqual(self.call("SETRANGE", "k", 536870911, "x"), 536870912)
        self.assertEqual(self.call("GETRANGE", "k", -3, -1), b"\0\0x")
        self.assertEqual(self.call("GETRANGE", "k", 0, 2), b"\0\0\0")
        for words in (("APPEND", "k", "x"), ("SETRANGE", "k", 536870912, "x"), ("SETRANGE", "new", 536870911, "xy")):
            self.assertEqual(self.call(*words), TOO_LONG)
        self.assertEqual(self.call("SETBIT", "k", 4294967295, 1), 0)
        self.assertEqual(self.call("SETBIT", "k", 4294967296, 1), "ERR bit offset is not an integer or out of range")
        self.assertEqual(self.call("BITFIELD", "k", "GET", "u8", "#536870911"), [ord("y")])
        self.assertEqual(self.call("DEL", "k"), 1)

    def test_many_fields_at_once(self):
        words = [word for n in range(3000) for word in ("SET", "u8", "#%d" % n, n % 256, "GET", "u8", "#%d" % n)]
        replies = self.call("BITFIELD", "k", *words)
        self.assertEqual(replies, [number for n in range(3000) for number in (0, n % 256)])
        self.check("k", bytes(n % 256 for n in range(3000)))
        self.assertEqual(self.call("BITFIELD_RO", "k", *["GET", "u8", "8"] * 4000), [1] * 4000)
        self.assertEqual(self.call("BITFIELD", "k", *words, "SET", "u8", 0, "x"),
                         "ERR value is not an integer or out of range")
        self.assertEqual(self.call("BITFIELD", "k", *["GET", "u8", "8"] * 4000, "GET"), "ERR syntax error")

    def test_inside_transactions_and_scripts(self):
        text = text_of(MIB)
        self.call("SET", "k", text)
        self.call("COPY", "k", "copy")
        self.call("MULTI")
        self.call("APPEND", "copy", text)
        self.call("SETRANGE", "copy", 3 * MIB, text)
        self.call("STRLEN", "k")
        self.assertEqual(self.call("EXEC"), [2 * MIB, 4 * MIB, MIB])
        self.check("copy", text + text + bytes(MIB) + text)
        script = "redis.call('append', KEYS[1], ARGV[1]); return redis.call('strlen', KEYS[1])"
        self.assertEqual(self.call("EVAL", script, 1, "k", text), 2 * MIB)
        self.check("k", text + text)


class Others(Case):
    def test_who_looks_sees_it_before_or_after(self):
        text = text_of(4 * MIB)
        self.call("SET", "k", text)
        for n, words in enumerate((("APPEND", "copy", text), ("SETRANGE", "copy", 8 * MIB - 1, "x"),
                                   ("SETRANGE", "copy", 4 * MIB, text))):
            with self.subTest(words=words[0]), self.connect() as doer, self.connect() as watcher:
                self.call("COPY", "k", "copy", "REPLACE")
                doer.send_command(*words)
                for _ in range(5):
                    self.assertIn(watcher.call("STRLEN", "copy"), (4 * MIB, 8 * MIB))
                self.assertEqual(doer.read(), 8 * MIB)
                self.assertEqual(watcher.call("STRLEN", "copy"), 8 * MIB)

    def test_a_watched_key_breaks_the_transaction(self):
        self.call("SET", "k", text_of(2 * MIB))
        self.call("COPY", "k", "copy")
        with self.connect() as other:
            self.call("WATCH", "copy")
            self.assertEqual(other.call("APPEND", "copy", "x"), 2 * MIB + 1)
            self.call("MULTI")
            self.call("PING")
            self.assertIsNone(self.call("EXEC"))

    def test_events_are_told_once(self):
        self.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
        self.call("SET", "k", text_of(2 * MIB))
        self.call("COPY", "k", "copy")
        with self.connect() as listener:
            listener.call("SUBSCRIBE", "__keyspace@0__:copy")
            for words in (("APPEND", "copy", "x"), ("COPY", "k", "copy", "REPLACE"), ("SETRANGE", "copy", 9, "x"),
                          ("SETBIT", "copy", 30000000, 1)):
                self.call(*words)
            events = [listener.read()[2] for _ in range(4)]
        self.assertEqual(events, [b"append", b"copy_to", b"setrange", b"setbit"])
        self.call("CONFIG", "SET", "notify-keyspace-events", "")

    def test_a_string_that_is_being_sent_is_not_changed(self):
        text = text_of(8 * MIB)
        self.call("SET", "k", text)
        with self.connect() as reader:
            reader.send_command("GET", "k")
            self.assertEqual(self.call("SETRANGE", "k", 7 * MIB, "changed"), 8 * MIB)
            changed = self.call("GET", "k")
            self.assertEqual(self.call("APPEND", "k", "more"), 8 * MIB + 4)
            self.assertTrue(reader.read() in (text, changed, changed + b"more"))
            self.assertTrue(self.call("GET", "k") == changed + b"more")

    def test_a_string_that_is_being_read_is_replaced_and_not_overwritten(self):
        texts = [text_of(8 * MIB), b"y" * (8 * MIB)]
        commands = [("DUMP", "k"), ("DIGEST", "k"), ("BITCOUNT", "k"), ("BITPOS", "k", 1, 7 * MIB)]
        if self.server.kind == "redis":
            commands.remove(("DIGEST", "k"))
        for words in commands:
            answers = []
            for text in texts:
                self.call("SET", "k", text)
                answers.append(self.call(*words))
            for store in (("SET", "k"), ("SET", "k", texts[0], "XX"), ("MSET", "k")):
                with self.connect() as reader:
                    self.call("SET", "k", texts[1])
                    reader.send_command(*words)
                    self.call(*store, *([texts[0]] if len(store) == 2 else []))
                    self.assertTrue(reader.read() in answers)

    def test_the_server_may_end_in_the_middle(self):
        self.call("SET", "k", text_of(8 * MIB))
        self.call("RPUSH", "list", text_of(8 * MIB))
        for words in (("DUMP", "k"), ("DUMP", "list"), ("APPEND", "k", text_of(4 * MIB))):
            with self.connect() as doer:
                doer.send_command(*words)
                self.server.stop()
            self.server.start()
            self.conn = self.connect()

    def test_clients_may_leave_in_the_middle(self):
        text = text_of(4 * MIB)
        self.call("SET", "k", text)
        self.call("COPY", "k", "copy")
        with self.connect() as doer:
            doer.send_command("APPEND", "copy", text)
            self.call("PING")
        wait_until(lambda: self.call("STRLEN", "copy") in (4 * MIB, 8 * MIB) and self.call("DEL", "copy") == 1,
                   what="the end of the change")
        self.assertTrue(self.call("GET", "k") == text)

    def test_a_save_and_a_flush_come_before_or_after(self):
        for words in (("SAVE",), ("FLUSHALL",), ("RENAME", "copy", "other"), ("DEL", "copy")):
            with self.subTest(words=words), self.connect() as doer:
                self.call("SET", "k", text_of(4 * MIB))
                self.call("COPY", "k", "copy", "REPLACE")
                doer.send_command("APPEND", "copy", "tail")
                self.assertFalse(isinstance(self.call(*words), Error))
                self.assertIn(doer.read(), (4, 4 * MIB + 4))

    def test_memory_comes_back(self):
        before = int(self.info("used_memory"))
        for _ in range(3):
            self.call("SETRANGE", "k", 400 * MIB, "x")
            self.call("SET", "other", bytes(20 * MIB))
            self.call("APPEND", "other", bytes(20 * MIB))
            self.assertGreater(int(self.info("used_memory")), before + 420 * MIB)
            self.call("DEL", "k", "other")
        wait_until(lambda: int(self.info("used_memory")) < before + 10 * MIB, what="memory that comes back")

    def info(self, field):
        for line in self.call("INFO", "memory").decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return None


class Travels(Case):
    def test_payloads_of_long_strings_and_elements(self):
        texts = (text_of(3 * MIB), bytes(5 * MIB), b"abc" * MIB)
        for n, text in enumerate(texts):
            self.call("SET", "string:%d" % n, text)
            self.call("RPUSH", "list:%d" % n, "a", text, "b")
            self.call("HSET", "hash:%d" % n, "a", "b", "f", text)
            self.call("SADD", "set:%d" % n, "a", text)
            self.call("ZADD", "zset:%d" % n, 1, "a", 2, text)
            self.call("XADD", "stream:%d" % n, "1-1", "f", text)
        looks = {"string": ("GET",), "list": ("LRANGE", 0, -1), "hash": ("HGETALL",), "set": ("SMEMBERS",),
                 "zset": ("ZRANGE", 0, -1, "WITHSCORES"), "stream": ("XRANGE", "-", "+")}
        for kind, look in looks.items():
            for n in range(len(texts)):
                key = "%s:%d" % (kind, n)
                with self.subTest(key=key):
                    payload = self.call("DUMP", key)
                    self.assertEqual(self.call("RESTORE", "to", 0, payload, "REPLACE"), "OK")
                    got, wanted = self.call(look[0], "to", *look[1:]), self.call(look[0], key, *look[1:])
                    self.assertTrue(sorted(got) == sorted(wanted) if kind == "set" else got == wanted)
                    flipped = bytearray(payload)
                    flipped[len(payload) // 2] ^= 1
                    self.assertEqual(self.call("RESTORE", "other", 0, bytes(flipped)),
                                     "ERR DUMP payload version or checksum are wrong")

    def test_a_long_value_enters_a_hash_of_any_form(self):
        text, other = text_of(3 * MIB, 1), text_of(2 * MIB, 2)
        self.assertEqual(self.call("HSET", "new", "f", text, "g", "short"), 2)
        self.assertTrue(self.call("HGETALL", "new") == [b"f", text, b"g", b"short"] or
                        self.call("HGETALL", "new") == [b"g", b"short", b"f", text])
        self.call("HSET", "packed", "a", 1, "b", 2)
        self.call("EXPIRE", "packed", 1000)
        self.assertEqual(self.call("HSET", "packed", "b", text), 0)
        self.assertEqual(self.call("HSET", "packed", "c", text, "b", other, "a", other), 1)
        self.assertTrue(self.call("HMGET", "packed", "a", "b", "c", "d") == [other, other, text, None])
        self.assertGreater(self.call("TTL", "packed"), 900)
        self.assertEqual(self.call("HMSET", "packed", "d", text), "OK")
        self.assertEqual(self.call("HSETNX", "packed", "d", "no"), 0)
        self.assertEqual(self.call("HSETNX", "packed", "e", other), 1)
        self.assertEqual(self.call("HLEN", "packed"), 5)
        self.assertTrue(self.call("HGET", "packed", "b") == other)
        self.assertTrue(self.call("HGET", "packed", "c") == text)
        self.assertIsNone(self.call("HGET", "packed", "none"))
        self.assertEqual(self.call("HSET", "packed", "e", text, "odd"),
                         "ERR wrong number of arguments for 'hset' command")
        self.call("SET", "string", "x")
        self.assertTrue(self.call("HSET", "string", "f", text).startswith("WRONGTYPE"))
        with self.connect() as doer, self.connect() as watcher:
            doer.send_command("HSET", "packed", "x", text, "y", other, "z", text)
            for _ in range(5):
                self.assertIn(watcher.call("HLEN", "packed"), (5, 8))
            self.assertEqual(doer.read(), 3)

    def test_messages_reach_all_without_a_change(self):
        text = text_of(2 * MIB)
        with self.connect() as two, self.connect() as three, self.connect() as pattern:
            three.call("HELLO", 3)
            two.call("SUBSCRIBE", "channel")
            three.call("SUBSCRIBE", "channel")
            pattern.call("PSUBSCRIBE", "chan*")
            for size in (2 * MIB, 40000, 5):
                self.assertEqual(self.call("PUBLISH", "channel", text[:size]), 3)
                self.assertTrue(two.read() == [b"message", b"channel", text[:size]])
                self.assertTrue(three.read()[1:] == [b"channel", text[:size]])
                self.assertTrue(pattern.read() == [b"pmessage", b"chan*", b"channel", text[:size]])
        self.assertEqual(self.call("PUBLISH", "channel", text), 0)
        self.assertTrue(self.call("ECHO", text) == text)


class Limits(Case):
    def test_a_limit_of_memory_refuses_and_changes_nothing(self):
        self.call("SET", "k", "abc")
        used = int([line for line in self.call("INFO", "memory").decode().splitlines()
                    if line.startswith("used_memory:")][0].split(":")[1])
        self.call("CONFIG", "SET", "maxmemory", used + 50 * MIB)
        try:
            self.assertEqual(self.call("SETRANGE", "k", 300 * MIB, "x"), 300 * MIB + 1)
            self.assertTrue(self.call("APPEND", "k", "y").startswith("OOM command not allowed"))
            self.assertEqual(self.call("STRLEN", "k"), 300 * MIB + 1)
            self.assertEqual(self.call("DEL", "k"), 1)
            self.assertEqual(self.call("APPEND", "k", "y"), 1)
        finally:
            self.call("CONFIG", "SET", "maxmemory", 0)


if __name__ == "__main__":
    main()
