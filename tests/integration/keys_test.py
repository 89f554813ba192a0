"""Keys whatever they hold: removal, renaming, copies, databases, OBJECT."""
from harness import Case, main


class Removal(Case):
    def test_del_counts_what_was_there(self):
        self.call("MSET", "a", "1", "b", "2", "c", "3")
        self.assertEqual(self.call("DEL", "a", "none", "a", "b"), 2)
        self.assertEqual(self.call("UNLINK", "c", "c"), 1)
        self.assertEqual(self.call("DBSIZE"), 0)

    def test_many_keys_in_one_command(self):
        count = 5000
        self.call("MSET", *[word for n in range(count) for word in ("key:%d" % n, n)])
        names = ["key:%d" % n for n in range(count)]
        self.assertEqual(self.call("EXISTS", *names), count)
        self.assertEqual(self.call("MGET", *names), [b"%d" % n for n in range(count)])
        self.assertEqual(self.call("DEL", *names), count)
        self.assertEqual(self.call("DBSIZE"), 0)

    def test_flush_empties_one_database_or_all(self):
        self.call("SET", "a", "1")
        self.call("SELECT", "1")
        self.call("SET", "b", "1")
        self.assertEqual(self.call("FLUSHDB", "ASYNC"), "OK")
        self.call("SELECT", "0")
        self.assertEqual(self.call("DBSIZE"), 1)
        self.assertEqual(self.call("FLUSHALL", "SYNC"), "OK")
        self.assertEqual(self.call("DBSIZE"), 0)
        self.assertEqual(self.call("FLUSHALL", "LATER"), "ERR syntax error")


class Renaming(Case):
    def test_the_expiry_goes_along_and_the_old_one_goes(self):
        self.call("SET", "a", "1", "EX", "100")
        self.call("SET", "b", "2", "EX", "500")
        self.assertEqual(self.call("RENAME", "a", "b"), "OK")
        self.assertEqual((self.call("GET", "b"), self.call("TTL", "b")), (b"1", 100))
        self.call("SET", "c", "3")
        self.assertEqual(self.call("RENAME", "c", "b"), "OK")
        self.assertEqual((self.call("GET", "b"), self.call("TTL", "b")), (b"3", -1))
        self.assertEqual(self.call("DBSIZE"), 1)

    def test_onto_itself_and_from_nothing(self):
        self.call("SET", "a", "1")
        self.assertEqual(self.call("RENAME", "a", "a"), "OK")
        self.assertEqual(self.call("RENAMENX", "a", "a"), 0)
        self.assertEqual(self.call("GET", "a"), b"1")
        self.assertEqual(self.call("RENAME", "none", "none"), "ERR no such key")

    def test_renamenx_leaves_what_is_there(self):
        self.call("MSET", "a", "1", "b", "2")
        self.assertEqual(self.call("RENAMENX", "a", "b"), 0)
        self.assertEqual(self.call("RENAMENX", "a", "c"), 1)
        self.assertEqual(self.call("MGET", "a", "b", "c"), [None, b"2", b"1"])

    def test_long_names_and_large_values(self):
        value = b"v" * 200000
        self.call("SET", "k" * 1000, value)
        self.assertEqual(self.call("RENAME", "k" * 1000, "s"), "OK")
        self.assertEqual(self.call("RENAME", "s", "q" * 300), "OK")
        self.assertTrue(self.call("GET", "q" * 300) == value)


class Copies(Case):
    def test_a_copy_is_independent_of_its_source(self):
        for value in (b"12", b"text", b"x" * 100000):
            self.call("SET", "a", value, "EX", "100")
            self.assertEqual(self.call("COPY", "a", "b", "REPLACE"), 1)
            self.call("APPEND", "b", "1")
            self.assertTrue(self.call("GET", "a") == value)
            self.assertTrue(self.call("GET", "b") == value + b"1")
            self.assertEqual(self.call("TTL", "b"), 100)

    def test_copies_between_databases(self):
        self.call("SET", "a", "1")
        self.assertEqual(self.call("COPY", "a", "a", "DB", "1"), 1)
        self.assertEqual(self.call("COPY", "a", "a", "DB", "1"), 0)
        self.assertEqual(self.call("COPY", "a", "a"), "ERR source and destination objects are the same")
        self.call("SET", "a", "2")
        self.assertEqual(self.call("COPY", "a", "a", "DB", "1", "REPLACE"), 1)
        self.call("SELECT", "1")
        self.assertEqual(self.call("GET", "a"), b"2")

    def test_move_needs_a_free_place(self):
        self.call("SET", "a", "1", "EX", "100")
        self.assertEqual(self.call("MOVE", "a", "1"), 1)
        self.assertEqual(self.call("EXISTS", "a"), 0)
        self.call("SET", "a", "2")
        self.assertEqual(self.call("MOVE", "a", "1"), 0)
        self.assertEqual(self.call("MOVE", "a", "0"), "ERR source and destination objects are the same")
        self.call("SELECT", "1")
        self.assertEqual((self.call("GET", "a"), self.call("TTL", "a")), (b"1", 100))

    def test_swapdb_exchanges_what_clients_see(self):
        other = self.connect()
        other.call("SELECT", "1")
        self.call("SET", "k", "zero")
        other.call("SET", "k", "one")
        self.assertEqual(self.call("SWAPDB", "0", "1"), "OK")
        self.assertEqual((self.call("GET", "k"), other.call("GET", "k")), (b"one", b"zero"))
        self.assertEqual(self.call("SWAPDB", "0", "99"), "ERR DB index is out of range")


class Objects(Case):
    def test_encodings_of_strings(self):
        for value, name in (("12", b"int"), ("x" * 44, b"embstr"), ("x" * 45, b"raw"), ("x" * 99999, b"raw")):
            self.call("SET", "k", value)
            self.assertEqual(self.call("OBJECT", "ENCODING", "k"), name)
        self.assertEqual(self.call("OBJECT", "ENCODING", "none"), None)

    def test_freq_needs_an_lfu_policy(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.call("OBJECT", "IDLETIME", "k"), 0)
        self.assert_error(self.call("OBJECT", "FREQ", "k"), "ERR An LFU maxmemory policy is not selected")
        self.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        self.assert_error(self.call("OBJECT", "IDLETIME", "k"), "ERR An LFU maxmemory policy is selected")
        self.assertIsInstance(self.call("OBJECT", "FREQ", "k"), int)
        self.call("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def test_types_by_name(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.call("TYPE", "k"), "string")
        self.assertEqual(self.call("TYPE", "none"), "none")


class RandomKeys(Case):
    def test_every_key_comes_up(self):
        self.assertEqual(self.call("RANDOMKEY"), None)
        names = [b"k%d" % n for n in range(20)]
        self.call("MSET", *[word for name in names for word in (name, "v")])
        seen = set(self.conn.pipeline([("RANDOMKEY",)] * 2000))
        self.assertEqual(seen, set(names))


if __name__ == "__main__":
    main()
