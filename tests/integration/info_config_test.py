"""INFO's fields and CONFIG: read, change all or nothing, write back."""
import os

from harness import Case, Server, main

ADDED = {"ouro_version", "io_engine", "loop_turns", "loop_longest_turn_usec"}
# Fields of Redis 7.2 and 7.4.
ADDED |= {"watching_clients", "total_watched_keys", "total_blocking_keys",
          "total_blocking_keys_on_nokey", "expired_subkeys"}
# What a save without a fork does.
ADDED |= {"rdb_walk_" + name for name in (
    "usec", "slices", "slice_usec_max", "keys_ahead", "elements_ahead", "collections", "held_bytes",
    "held_bytes_peak", "writers_held_back")} | {"rdb_last_file_bytes"}
LEFT_OUT = set()


def fields_of(text):
    """Names in their order, sections as "# Name"."""
    return [line.split(":", 1)[0] for line in text.decode().split("\r\n") if line]


class Info(Case):
    def info(self, *words):
        return self.call("INFO", *words)

    def value(self, name):
        for line in self.info("everything").decode().split("\r\n"):
            if line.startswith(name + ":"):
                return line.split(":", 1)[1]
        raise AssertionError("no field " + name)

    def test_fields_and_order_are_those_of_redis(self):
        self.call("SET", "k", "v")
        ours = [name for name in fields_of(self.info()) if name not in ADDED]
        with Server(kind="redis") as server:
            conn = server.connect()
            conn.call("SET", "k", "v")
            theirs = [name for name in fields_of(conn.call("INFO")) if name not in LEFT_OUT]
        self.assertEqual([name for name in ours if name not in LEFT_OUT], theirs)

    def test_sections_can_be_chosen(self):
        self.assertEqual(fields_of(self.info("cpu"))[0], "# CPU")
        self.assertEqual([name for name in fields_of(self.info("SERVER", "memory")) if name[0] == "#"],
                         ["# Server", "# Memory"])
        self.assertEqual(self.info("nosuch"), b"")
        self.assertIn("# Commandstats", fields_of(self.info("all")))
        self.assertNotIn("# Commandstats", fields_of(self.info()))

    def test_figures_follow_what_happens(self):
        self.call("CONFIG", "RESETSTAT")
        self.conn.pipeline([("SET", "k", "v"), ("GET", "k"), ("GET", "none"), ("NOSUCH",)])
        self.assertEqual(self.value("keyspace_hits"), "1")
        self.assertEqual(self.value("keyspace_misses"), "1")
        self.assertEqual(self.value("total_error_replies"), "1")
        self.assertEqual(self.value("errorstat_ERR"), "count=1")
        self.assertTrue(self.value("cmdstat_get").startswith("calls=2,"))
        self.assertEqual(self.value("db0"), "keys=1,expires=0,avg_ttl=0")
        self.call("CONFIG", "RESETSTAT")
        self.assertEqual(self.value("keyspace_hits"), "0")
        self.assertNotIn("cmdstat_get", fields_of(self.info("all")))

    def test_codes_of_errors_are_counted_by_words_that_cannot_break_a_line(self):
        for text, counted in (("CODE why", "CODE"), ("A:B,C=1 why", "A_B,C=1"), ("#a why", "_a"),
                              ("A\\r\\nB why", "A"), ("alone", "ERR"), ("X" * 23 + " why", "X" * 23)):
            with self.subTest(text):
                self.call("CONFIG", "RESETSTAT")
                self.call("EVAL", "return {err='%s'}" % text, 0)
                self.assertEqual(fields_of(self.info("errorstats")), ["# Errorstats", "errorstat_" + counted])
        self.call("CONFIG", "RESETSTAT")


class Config(Case):
    def value(self, name):
        return self.call("CONFIG", "GET", name)[1]

    def test_get_takes_patterns_and_any_case(self):
        names = self.call("CONFIG", "GET", "MAXMEMORY*", "timeout")[::2]
        self.assertIn(b"maxmemory-policy", names)
        self.assertIn(b"timeout", names)
        self.assertEqual(self.call("CONFIG", "GET", "nosuch"), [])

    def test_set_changes_several_at_once(self):
        self.assertEqual(self.call("CONFIG", "SET", "timeout", "77", "maxmemory", "10mb"), "OK")
        self.assertEqual((self.value("timeout"), self.value("maxmemory")), (b"77", b"10485760"))
        self.call("CONFIG", "SET", "timeout", "0", "maxmemory", "0")

    def test_sizes_of_packed_items_are_memory_values(self):
        for name in ("hash-max-listpack-value", "zset-max-ziplist-value", "hll-sparse-max-bytes"):
            before = self.value(name)
            self.assertEqual(self.call("CONFIG", "SET", name, "1kb"), "OK")
            self.assertEqual(self.value(name), b"1024")
            failed = "ERR CONFIG SET failed (possibly related to argument '%s') - argument must be " % name
            self.assertEqual(self.call("CONFIG", "SET", name, "5x"), failed + "a memory value")
            self.assertEqual(self.call("CONFIG", "SET", name, 1 << 63),
                             failed + "between 0 and 9223372036854775807 inclusive")
            self.assertEqual(self.call("CONFIG", "SET", name, before), "OK")

    def test_set_changes_nothing_when_one_is_wrong(self):
        before = self.value("timeout")
        for name, value, why in (("port", "x", ""), ("maxmemory-policy", "nosuch", ""), ("timeout", "5", "duplicate"),
                                 ("daemonize", "yes", "immutable")):
            reply = self.call("CONFIG", "SET", "timeout", "55", name, value)
            self.assert_error(reply, "ERR CONFIG SET failed (possibly related to argument '%s') - " % name)
            self.assertIn(why, reply)
            self.assertEqual(self.value("timeout"), before)
        self.assert_error(self.call("CONFIG", "SET", "timeout", "55", "nosuch", "1"),
                          "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")
        self.assertEqual(self.value("timeout"), before)
        self.assert_error(self.call("CONFIG", "SET", "timeout"), "ERR wrong number of arguments")

    def test_a_port_that_cannot_be_had_leaves_all_as_it_was(self):
        with self.own_server() as server, self.own_server() as other:
            conn = server.connect()
            reply = conn.call("CONFIG", "SET", "timeout", "55", "port", other.port)
            self.assert_error(reply, "ERR CONFIG SET failed (possibly related to argument 'port') - ")
            self.assertEqual(conn.call("CONFIG", "GET", "port")[1], b"%d" % server.port)
            self.assertNotEqual(conn.call("CONFIG", "GET", "timeout")[1], b"55")
            self.assertEqual(server.connect().call("PING"), "PONG")

    def test_rewrite_needs_a_file(self):
        self.assertEqual(self.raw("CONFIG", "REWRITE"), b"-ERR The server is running without a config file\r\n")


class Rewrite(Case):
    config = "# my comment\ntimeout 5\n\n# about memory\nmaxmemory 1mb\n"

    def test_keeps_comments_and_order_and_is_read_again(self):
        self.call("CONFIG", "SET", "maxmemory", "2mb", "slowlog-max-len", "7")
        self.assertEqual(self.call("CONFIG", "REWRITE"), "OK")
        path = os.path.join(self.server.directory, "server.conf")
        with open(path) as file:
            lines = file.read().split("\n")
        self.assertEqual(lines[:4], ["# my comment", "timeout 5", "", "# about memory"])
        self.assertRegex(lines[4], r"^maxmemory (2mb|2097152)$")
        self.assertIn("slowlog-max-len 7", lines)
        self.assertEqual(sum(line.startswith("maxmemory ") for line in lines), 1)
        self.server.restart()
        conn = self.server.connect()
        self.addCleanup(conn.close)
        self.assertEqual(conn.call("CONFIG", "GET", "slowlog-max-len")[1], b"7")
        self.assertEqual(conn.call("CONFIG", "GET", "maxmemory")[1], b"2097152")

    def test_lists_of_one_word_are_written_as_several(self):
        values = {"client-output-buffer-limit": "normal 0 0 0 slave 9 8 7 pubsub 1 2 3",
                  "oom-score-adj-values": "1 2 3", "latency-tracking-info-percentiles": "50 99",
                  "shutdown-on-sigterm": "now force", "replicaof": "127.0.0.1 1"}
        config = "".join('%s "%s"\n' % item for item in values.items())
        with self.own_server(config=config) as server:
            conn = server.connect()
            self.assertEqual(conn.call("CONFIG", "REWRITE"), "OK")
            with open(os.path.join(server.directory, "server.conf")) as file:
                words = [line.split() for line in file.read().splitlines()]
            for name, value in values.items():
                written = [word for line in words if line[:1] == [name] for word in line[1:]]
                self.assertEqual(" ".join(written)[:len(value)], value)
            server.restart()
            conn = server.connect()
            for name, value in values.items():
                self.assertEqual(conn.call("CONFIG", "GET", name)[1], value.encode(), name)
            conn.close()


if __name__ == "__main__":
    main()
