"""Hashes over a socket: shapes of replies in both protocols, conversion, large ones."""
import time

from harness import Case, main

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Fields(Case):
    def test_fields_are_set_read_and_removed(self):
        self.assertEqual(self.call("HSET", "h", "a", "1", "b", "two"), 2)
        self.assertEqual(self.call("HGET", "h", "b"), b"two")
        self.assertEqual(self.call("HMGET", "h", "a", "x", "b"), [b"1", None, b"two"])
        self.assertEqual(self.call("HINCRBY", "h", "a", "41"), 42)
        self.assertEqual(self.call("HINCRBYFLOAT", "h", "a", "0.5"), b"42.5")
        self.assertEqual(self.call("HDEL", "h", "a", "b"), 2)
        self.assertEqual(self.call("EXISTS", "h"), 0)

    def test_binary_fields_and_values_come_back(self):
        field, value = bytes(range(256)), b"\r\n\x00" * 5000
        self.assertEqual(self.call("HSET", "h", field, value, b"", b""), 2)
        self.assertEqual(self.call("HGET", "h", field), value)
        self.assertEqual(self.call("HGET", "h", b""), b"")
        self.assertEqual(self.call("HSTRLEN", "h", field), 15000)

    def test_another_type_is_refused(self):
        self.call("SET", "s", "v")
        for words in (("HSET", "s", "f", "v"), ("HGET", "s", "f"), ("HGETALL", "s"), ("HSCAN", "s", "0")):
            self.assertEqual(self.call(*words), WRONG_TYPE)

    def test_another_type_is_refused_before_more_is_read(self):
        self.needs_command("HGETEX")
        self.call("SET", "s", "v")
        fields = ("FIELDS", "x", "f")
        for words in (("HEXPIRE", "s", "x", *fields), ("HPEXPIREAT", "s", "-1", "NX", *fields), ("HTTL", "s", *fields),
                      ("HPEXPIRETIME", "s", "x", "1", "f"), ("HPERSIST", "s", *fields), ("HGETDEL", "s", *fields),
                      ("HGETEX", "s", "EX", "x", *fields), ("HGETEX", "s", "x", "1", "f")):
            self.assertEqual(self.call(*words), WRONG_TYPE, words)
        self.assertEqual(self.call("HSETEX", "s", "EX", "x", "FIELDS", 1, "f", "v"),
                         "ERR value is not an integer or out of range")  # Of these, the last.
        self.assertEqual(self.call("HSETEX", "s", "FIELDS", 1, "f", "v"), WRONG_TYPE)

    def test_pairs_behind_fields_are_counted_before_their_number_is_read(self):
        self.needs_command("HSETEX")
        arity = "ERR wrong number of arguments for 'hsetex' command"
        for words in (("FXX", "EX", 10, "FIELDS"), ("EX", 10, "FIELDS", "x"), ("EX", 10, "FIELDS", "x", "f"),
                      ("FIELDS", 1, "f", "v", "g"), ("FIELDS", 2, "f", "v"), ("FIELDS", 1, "f", "v", "g", "w")):
            self.assertEqual(self.call("HSETEX", "h", *words), arity, words)
        for count in ("x", 0, -1, 1 << 31):
            self.assertEqual(self.call("HSETEX", "h", "FIELDS", count, "f", "v"), "ERR invalid number of fields")
        self.assertEqual(self.call("HSETEX", "h", "f", "v", "g", "w"), "ERR unknown argument: f")
        self.assertEqual(self.call("HSETEX", "h", "FNX", "FXX", "FIELDS", 1, "f", "v"),
                         "ERR Only one of FXX or FNX arguments can be specified")
        self.assertEqual(self.call("HSETEX", "h", "KEEPTTL", "PX", 1, "FIELDS", 1, "f", "v"),
                         "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")

    def test_config_sets_when_a_hash_leaves_the_packed_form(self):
        self.call("CONFIG", "SET", "hash-max-listpack-entries", "3", "hash-max-ziplist-value", "10")
        try:
            self.call("HSET", "h", "a", "1", "b", "2", "c", "3")
            self.assertEqual(self.call("OBJECT", "ENCODING", "h"), b"listpack")
            self.call("HSET", "h", "d", "4")
            self.assertEqual(self.call("OBJECT", "ENCODING", "h"), b"hashtable")
            self.call("HSET", "g", "a", "x" * 11)
            self.assertEqual(self.call("OBJECT", "ENCODING", "g"), b"hashtable")
        finally:
            self.call("CONFIG", "SET", "hash-max-listpack-entries", "512", "hash-max-listpack-value", "64")


class Waiting(Case):
    def wait_until(self, wanted, *words):
        for _ in range(500):
            if self.call(*words) == wanted:
                return
            time.sleep(0.01)
        self.assertEqual(self.call(*words), wanted)


class Expiry(Waiting):
    def test_fields_go_and_take_the_key_along(self):
        self.needs_command("HPEXPIRE")
        for entries in (512, 0):
            self.call("CONFIG", "RESETSTAT")
            self.call("CONFIG", "SET", "hash-max-listpack-entries", entries)
            self.call("HSET", "h", *[word for n in range(100) for word in ("f%d" % n, "v")], "stays", "v")
            self.call("HPEXPIRE", "h", "30", "FIELDS", "100", *["f%d" % n for n in range(100)])
            self.wait_until(1, "HLEN", "h")
            self.assertIn(b"expired_subkeys:100\r\n", self.call("INFO", "stats"))
            self.assertEqual(self.call("HGETALL", "h"), [b"stays", b"v"])
            self.assertEqual(self.call("HPEXPIRE", "h", "30", "FIELDS", "1", "stays"), [1])
            self.wait_until(0, "DBSIZE")
        self.call("CONFIG", "SET", "hash-max-listpack-entries", 512)

    def test_while_a_pause_holds_expiry_back_nothing_expired_is_seen(self):
        self.call("HSET", "h", "short", "v", "long", "v")
        self.call("SET", "key", "v", "PX", 30)
        self.call("CLIENT", "PAUSE", 100000, "WRITE")
        try:
            self.wait_until(None, "GET", "key")
            self.assertEqual(self.call("DBSIZE"), 2)  # It is hidden only.
        finally:
            self.call("CLIENT", "UNPAUSE")
        self.wait_until(1, "DBSIZE")
        self.needs_command("HPEXPIRE")
        self.call("HPEXPIRE", "h", 30, "FIELDS", 1, "short")
        self.call("CLIENT", "PAUSE", 100000, "WRITE")
        try:
            self.wait_until(None, "HGET", "h", "short")
            self.assertEqual(self.call("HGETALL", "h"), [b"long", b"v"])
            self.assertEqual(self.call("HLEN", "h"), 2)
        finally:
            self.call("CLIENT", "UNPAUSE")
        self.assertEqual(self.call("HLEN", "h"), 1)

    def test_a_database_moves_with_its_expiries(self):
        self.needs_command("HSETEX")
        self.call("HSETEX", "h", "PX", "50", "FIELDS", "1", "f", "v")
        self.call("SWAPDB", "0", "5")
        self.assertEqual(self.call("DBSIZE"), 0)
        self.call("SELECT", "5")
        self.wait_until(0, "DBSIZE")
        self.call("SELECT", "0")


class Large(Case):
    def fill(self, count):
        for start in range(0, count, 1000):
            words = []
            for number in range(start, min(start + 1000, count)):
                words += ["field:%d" % number, str(number)]
            self.call("HSET", "big", *words)

    def test_everything_is_there(self):
        self.fill(20000)
        self.assertEqual(self.call("HLEN", "big"), 20000)
        flat = self.call("HGETALL", "big")
        self.assertEqual({flat[i]: flat[i + 1] for i in range(0, len(flat), 2)},
                         {b"field:%d" % n: b"%d" % n for n in range(20000)})

    def test_a_scan_visits_what_stays_while_fields_come_and_go(self):
        self.fill(5000)
        seen, cursor, extra = {}, b"0", 0
        while True:
            cursor, flat = self.call("HSCAN", "big", cursor, "COUNT", "100")
            for i in range(0, len(flat), 2):
                seen[flat[i]] = flat[i + 1]
            self.call("HSET", "big", "extra:%d" % extra, "x")
            self.call("HDEL", "big", "field:%d" % (4000 + extra))
            extra += 1
            if cursor == b"0":
                break
        for number in range(4000):
            self.assertEqual(seen.get(b"field:%d" % number), b"%d" % number)

    def test_copies_and_removals_of_large_ones_are_whole(self):
        self.fill(20000)
        self.assertEqual(self.call("COPY", "big", "twin"), 1)
        self.assertEqual(self.call("UNLINK", "big"), 1)
        self.assertEqual(self.call("HLEN", "twin"), 20000)
        self.assertEqual(self.call("HGET", "twin", "field:777"), b"777")
        self.assertEqual(self.call("RENAME", "twin", "other"), "OK")
        self.assertEqual(len(self.call("HRANDFIELD", "other", "500")), 500)
        self.assertEqual(len(set(self.call("HRANDFIELD", "other", "15000"))), 15000)
        self.assertEqual(len(self.call("HRANDFIELD", "other", "-500")), 500)


class LargeExpiry(Waiting):
    """Large hashes of which many fields expire: when, after whatever happens to them."""
    args = ("--enable-debug-command", "local")
    COUNT = 6000
    FAR_MS = 4102444800000  # The year 2100.
    LAST_MS = ((1 << 48) - 2) >> 2  # Later ones are refused.

    def setUp(self):
        super().setUp()
        self.needs_command("HPEXPIREAT")
        self.want = {}
        for start in range(0, self.COUNT, 500):
            numbers = range(start, start + 500)
            self.call("HSET", "big", *[word for n in numbers for word in ("f%d" % n, "1" * (n % 18 + 1))])
        for number in range(0, self.COUNT, 3):
            self.expire_at(number, self.FAR_MS + 7919 * number % 1000003)

    def expire_at(self, number, moment_ms):
        reply = self.call("HPEXPIREAT", "big", moment_ms, "FIELDS", 1, "f%d" % number)
        self.assertEqual(reply, [1])
        self.want[number] = moment_ms

    def check(self, key="big"):
        for start in range(0, self.COUNT, 500):
            numbers = range(start, start + 500)
            replies = self.call("HPEXPIRETIME", key, "FIELDS", 500, *["f%d" % n for n in numbers])
            self.assertEqual(replies, [self.want.get(number, -1) for number in numbers])
        self.assertEqual(self.call("HLEN", key), sum(1 for moment in self.want.values() if moment != -2) +
                         self.COUNT - len(self.want))

    def test_moments_are_exact_however_far(self):
        self.check()
        self.expire_at(1, self.LAST_MS)
        self.expire_at(2, self.FAR_MS * 15)
        self.expire_at(3, self.FAR_MS + 1)
        self.check()

    def test_changes_keep_or_drop_a_moment(self):
        self.call("HSET", "big", "f0", "other", "f3", "a value that is longer than its size class allowed")
        self.assertEqual(self.call("HINCRBY", "big", "f18", 5), 6)
        self.assertEqual(self.call("HPERSIST", "big", "FIELDS", 3, "f6", "f7", "nothing"), [1, -1, -2])
        self.assertEqual(self.call("HDEL", "big", "f9", "f10"), 2)
        for number in (0, 3, 6):
            del self.want[number]
        self.want[9] = self.want[10] = -2
        self.check()

    def test_moments_go_wherever_the_hash_goes(self):
        self.assertEqual(self.call("COPY", "big", "copy"), 1)
        self.assertEqual(self.call("RESTORE", "restored", 0, self.call("DUMP", "big")), "OK")
        self.assertEqual(self.call("RENAME", "big", "renamed"), "OK")
        for key in ("copy", "restored", "renamed"):
            self.check(key)
        self.assertEqual(self.call("DEBUG", "RELOAD"), "OK")
        for key in ("copy", "restored", "renamed"):
            self.check(key)
        self.assertEqual(self.call("UNLINK", "copy"), 1)
        self.check("renamed")

    def test_those_that_are_due_go_and_no_others(self):
        due = [number for number in self.want if number % 2 == 0]
        for start in range(0, len(due), 500):
            some = due[start:start + 500]
            self.call("HPEXPIRE", "big", 50, "FIELDS", len(some), *["f%d" % number for number in some])
        for number in due:
            self.want[number] = -2
        self.wait_until(self.COUNT - len(due), "HLEN", "big")
        self.check()
        self.assertEqual(len(self.call("HKEYS", "big")), self.COUNT - len(due))

    def test_a_field_that_expires_costs_sixteen_bytes_at_most(self):
        if self.call("MEMORY", "USAGE", "big", "SAMPLES", 0) < 0 or "libc" in str(
                self.call("INFO", "memory")):
            self.skipTest("the C library's blocks have no size classes")
        for number in self.want:
            self.call("HPERSIST", "big", "FIELDS", 1, "f%d" % number)
        plain = self.call("MEMORY", "USAGE", "big", "SAMPLES", 0)
        for number in range(self.COUNT):
            self.expire_at(number, self.FAR_MS + number)
        self.assertLessEqual(self.call("MEMORY", "USAGE", "big", "SAMPLES", 0) - plain, 16 * self.COUNT)


if __name__ == "__main__":
    main()
