"""KEYS and SCAN: complete, each key once, and out of everybody's way."""
from harness import Case, main, wait_until

COUNT = 20000


class Walks(Case):
    def fill(self, count=COUNT, prefix="key:"):
        for start in range(0, count, 1000):
            names = ["%s%d" % (prefix, n) for n in range(start, min(start + 1000, count))]
            self.call("MSET", *[word for name in names for word in (name, "v")])
        return {b"%s%d" % (prefix.encode(), n) for n in range(count)}

    def scan(self, *options):
        cursor, found = b"0", []
        while True:
            cursor, keys = self.call("SCAN", cursor, *options)
            found += keys
            if cursor == b"0":
                return found

    def test_keys_lists_a_large_database_once(self):
        names = self.fill()
        found = self.call("KEYS", "*")
        self.assertEqual(len(found), len(names))
        self.assertEqual(set(found), names)
        self.assertEqual(set(self.call("KEYS", "key:1999?")), {b"key:1999%d" % n for n in range(10)})
        self.assertEqual(self.call("KEYS", "nothing*"), [])

    def test_a_pipeline_goes_on_behind_a_long_keys(self):
        self.fill()
        replies = self.conn.pipeline([("SET", "a", "1"), ("KEYS", "a"), ("GET", "a"), ("DEL", "a"), ("KEYS", "a")])
        self.assertEqual(replies, ["OK", [b"a"], b"1", 1, []])

    def test_scan_visits_every_key_whatever_count_is(self):
        names = self.fill(3000)
        for count in ("1", "10", "999", "1500", "100000"):
            found = self.scan("COUNT", count)
            self.assertEqual(set(found), names)
            if self.server.kind == "ouro":
                self.assertEqual(len(found), len(names))

    def test_scan_sees_what_stays_while_the_database_grows_and_shrinks(self):
        names = self.fill(2000)
        cursor, found, turn = b"0", set(), 0
        while True:
            cursor, keys = self.call("SCAN", cursor, "COUNT", "50")
            found |= set(keys)
            if cursor == b"0":
                break
            turn += 1
            self.call("MSET", *[word for n in range(100) for word in ("new:%d:%d" % (turn, n), "v")])
            self.call("DEL", *["new:%d:%d" % (turn - 1, n) for n in range(100)])
        self.assertTrue(names <= found)

    def test_filters(self):
        self.fill(1500)
        self.call("SET", "other", "v")
        self.assertEqual(self.scan("MATCH", "oth*", "COUNT", "100"), [b"other"])
        self.assertEqual(len(self.scan("TYPE", "string", "COUNT", "5000")), 1501)
        self.assertEqual(self.scan("TYPE", "zset", "COUNT", "5000"), [])

    def test_arguments_that_make_no_sense(self):
        self.assertEqual(self.call("SCAN", "x"), "ERR invalid cursor")
        self.assertEqual(self.call("SCAN", "0", "COUNT", "0"), "ERR syntax error")
        self.assertEqual(self.call("SCAN", "0", "COUNT", "many"), "ERR value is not an integer or out of range")
        self.assertEqual(self.call("SCAN", "0", "MATCH"), "ERR syntax error")
        self.assertEqual(self.call("SCAN", "0", "FOO", "x"), "ERR syntax error")

    def test_a_walk_survives_flushes_and_swaps(self):
        other = self.connect()
        for change in (("FLUSHALL",), ("SWAPDB", "0", "1"), ("FLUSHDB", "ASYNC")):
            self.call("FLUSHALL")
            self.fill(5000)
            self.conn.send_command("KEYS", "*")
            self.assertEqual(other.call(*change), "OK")
            self.assertLessEqual(len(self.conn.read()), 5000)
            self.assertEqual(self.call("PING"), "PONG")

    def test_a_client_that_leaves_takes_its_walk_along(self):
        self.fill()
        for _ in range(20):
            conn = self.connect()
            conn.send_command("KEYS", "*")
            conn.close()
        wait_until(lambda: self.call("DBSIZE") == COUNT, what="the server answers")

    def test_keys_answers_in_both_protocols(self):
        self.fill(2000)
        conn = self.connect()
        conn.call("HELLO", "3")
        self.assertEqual(len(conn.call("KEYS", "*")), 2000)

    def test_a_muted_client_hears_nothing(self):
        self.fill(3000)
        self.conn.send_command("CLIENT", "REPLY", "SKIP")
        self.conn.send_command("KEYS", "*")
        self.assertEqual(self.call("PING"), "PONG")


if __name__ == "__main__":
    main()
