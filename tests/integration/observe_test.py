"""SLOWLOG, LATENCY and MONITOR: what the server tells about commands as they run."""
import re

from harness import Case, Error, main, wait_until


class Slowlog(Case):
    args = ("--slowlog-log-slower-than", "0", "--enable-debug-command", "yes")

    def setUp(self):
        super().setUp()
        self.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "128")
        self.call("SLOWLOG", "RESET")

    def newest(self):
        return self.call("SLOWLOG", "GET", "1")[0]

    def test_an_entry_tells_id_time_duration_arguments_address_and_name(self):
        self.call("CLIENT", "SETNAME", "watchful")
        self.call("SET", "k", "v")
        now = int(self.call("TIME")[0])
        entries = self.call("SLOWLOG", "GET", "-1")
        entry = [e for e in entries if e[3][0] == b"SET"][0]
        self.assertEqual(entry[3], [b"SET", b"k", b"v"])
        self.assertLess(abs(entry[1] - now), 3)
        self.assertGreaterEqual(entry[2], 0)
        self.assertEqual(entry[4], b"127.0.0.1:%d" % self.conn.socket.getsockname()[1])
        self.assertEqual(entry[5], b"watchful")
        ids = [e[0] for e in entries]
        self.assertEqual(ids, sorted(ids, reverse=True))

    def test_long_arguments_and_long_lists_are_cut(self):
        self.call("GET", "x" * 200)
        self.assertEqual(self.newest()[3], [b"GET", b"x" * 128 + b"... (72 more bytes)"])
        self.call("GET", "x" * 128)
        self.assertEqual(self.newest()[3], [b"GET", b"x" * 128])
        self.call("DEL", *range(40))
        args = self.newest()[3]
        self.assertEqual(len(args), 32)
        self.assertEqual(args[31], b"... (10 more arguments)")
        self.call("DEL", *range(31))
        self.assertEqual(self.newest()[3][31], b"30")

    def test_passwords_are_redacted(self):
        self.call("AUTH", "secret")
        self.assertEqual(self.newest()[3], [b"AUTH", b"(redacted)"])
        self.call("HELLO", "2", "AUTH", "default", "secret")
        self.assertEqual(self.newest()[3][2:], [b"AUTH", b"(redacted)", b"(redacted)"])
        self.call("CONFIG", "SET", "timeout", "0", "requirepass", "")
        self.assertEqual(self.newest()[3], [b"CONFIG", b"SET", b"timeout", b"0", b"requirepass", b"(redacted)"])

    def test_the_log_keeps_the_newest_entries_only(self):
        self.call("CONFIG", "SET", "slowlog-max-len", "3")
        for number in range(10):
            self.call("GET", number)
        self.assertEqual(self.call("SLOWLOG", "LEN"), 3)
        self.call("CONFIG", "SET", "slowlog-max-len", "1")
        self.assertEqual(self.call("SLOWLOG", "LEN"), 1)
        self.call("CONFIG", "SET", "slowlog-max-len", "0")
        self.assertEqual(self.call("SLOWLOG", "GET"), [])

    def test_a_negative_threshold_switches_it_off(self):
        self.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        self.call("SLOWLOG", "RESET")
        self.call("GET", "k")
        self.assertEqual(self.call("SLOWLOG", "LEN"), 0)

    def test_only_what_is_slower_than_the_threshold_is_logged(self):
        self.call("CONFIG", "SET", "slowlog-log-slower-than", "1000000")
        self.call("SLOWLOG", "RESET")
        self.call("GET", "k")
        self.assertEqual(self.call("SLOWLOG", "LEN"), 0)
        self.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        self.call("DEBUG", "SLEEP", "0.02")
        entry = self.newest()
        self.assertEqual(entry[3], [b"DEBUG", b"SLEEP", b"0.02"])
        self.assertGreaterEqual(entry[2], 20000)

    def test_get_gives_ten_unless_told_otherwise(self):
        for number in range(15):
            self.call("GET", number)
        self.assertEqual(len(self.call("SLOWLOG", "GET")), 10)
        self.assertEqual(len(self.call("SLOWLOG", "GET", "2")), 2)
        self.assertGreaterEqual(len(self.call("SLOWLOG", "GET", "-1")), 15)
        self.assertEqual(self.call("SLOWLOG", "GET", "0"), [])

    def test_errors(self):
        wrong = b"-ERR count should be greater than or equal to -1\r\n"
        self.assertEqual(self.raw("SLOWLOG", "GET", "-2"), wrong)
        self.assertEqual(self.raw("SLOWLOG", "GET", "x"), wrong)
        self.assertEqual(self.raw("SLOWLOG", "GET", "1", "2"),
                         b"-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.\r\n")
        self.assertEqual(self.raw("SLOWLOG", "NO"), b"-ERR unknown subcommand 'NO'. Try SLOWLOG HELP.\r\n")
        self.assertEqual(len(self.call("SLOWLOG", "HELP")), 12)


class Latency(Case):
    args = ("--latency-monitor-threshold", "10", "--enable-debug-command", "yes")

    def setUp(self):
        super().setUp()
        self.call("CONFIG", "SET", "latency-monitor-threshold", "10")
        self.call("LATENCY", "RESET")

    def test_a_slow_command_is_an_event(self):
        self.call("DEBUG", "SLEEP", "0.03")
        (name, time, latest, worst), = self.call("LATENCY", "LATEST")
        self.assertEqual(name, b"command")
        self.assertGreaterEqual(latest, 30)
        self.assertGreaterEqual(worst, latest)
        self.assertEqual(self.call("LATENCY", "HISTORY", "command")[-1], [time, latest])

    def test_samples_of_one_second_become_their_longest(self):
        for _ in range(5):
            self.call("DEBUG", "SLEEP", "0.011")
        history = self.call("LATENCY", "HISTORY", "command")
        self.assertLessEqual(len(history), 2)
        times = [time for time, _ in history]
        self.assertEqual(len(set(times)), len(times))

    def test_reset_counts_the_events_that_it_dropped(self):
        self.call("DEBUG", "SLEEP", "0.011")
        self.assertEqual(self.call("LATENCY", "RESET", "none"), 0)
        self.assertEqual(self.call("LATENCY", "RESET", "none", "command"), 1)
        self.assertEqual(self.call("LATENCY", "LATEST"), [])
        self.call("DEBUG", "SLEEP", "0.011")
        self.assertEqual(self.call("LATENCY", "RESET"), 1)

    def test_a_threshold_of_zero_switches_it_off(self):
        self.call("CONFIG", "SET", "latency-monitor-threshold", "0")
        self.call("DEBUG", "SLEEP", "0.011")
        self.assertEqual(self.call("LATENCY", "LATEST"), [])
        self.assertIn(b"disabled", self.call("LATENCY", "DOCTOR"))

    def test_the_graph_has_its_head_and_a_column_per_sample(self):
        self.assertEqual(self.raw("LATENCY", "GRAPH", "none"), b"-ERR No samples available for event 'none'\r\n")
        self.call("DEBUG", "SLEEP", "0.011")
        lines = self.call("LATENCY", "GRAPH", "command").split(b"\n")
        self.assertRegex(lines[0], rb"^command - high \d+ ms, low \d+ ms \(all time high \d+ ms\)$")
        self.assertEqual(lines[1], b"-" * 80)
        self.assertRegex(lines[-2], rb"^s+$")

    def test_the_doctor_names_the_event(self):
        self.assertNotIn(b"command:", self.call("LATENCY", "DOCTOR"))
        self.call("DEBUG", "SLEEP", "0.011")
        self.assertIn(b"1. command: 1 latency spikes", self.call("LATENCY", "DOCTOR"))

    def test_the_histogram_is_cumulative(self):
        self.call("CONFIG", "RESETSTAT")
        for _ in range(20):
            self.call("SET", "k", "v")
        name, fields = self.call("LATENCY", "HISTOGRAM", "set", "nosuch")
        self.assertEqual(name, b"set")
        self.assertEqual(fields[:2] + fields[2:3], [b"calls", 20, b"histogram_usec"])
        bounds, counts = fields[3][::2], fields[3][1::2]
        self.assertEqual(counts[-1], 20)
        self.assertEqual(counts, sorted(set(counts)))
        self.assertTrue(set(bounds) <= {(1024 << step) // 1000 for step in range(40)}, bounds)

    def test_the_histogram_of_a_container_is_that_of_its_subcommands(self):
        self.call("CONFIG", "RESETSTAT")
        self.call("CONFIG", "GET", "port")
        names = self.call("LATENCY", "HISTOGRAM", "config")[::2]
        self.assertIn(b"config|get", names)
        self.assertEqual(self.call("LATENCY", "HISTOGRAM", "config|get")[0], b"config|get")
        self.assertIn(b"config|get", self.call("LATENCY", "HISTOGRAM")[::2])
        self.assertEqual(self.call("LATENCY", "HISTOGRAM", "nosuch"), [])


class Monitor(Case):
    LINE = re.compile(r"^(\d+\.\d{6}) \[(\d+) ([^\]]+)\] (.*)$")

    def setUp(self):
        super().setUp()
        self.watcher = self.connect()
        self.assertEqual(self.watcher.call("MONITOR"), "OK")

    def line(self):
        found = self.LINE.match(self.watcher.read())
        self.assertIsNotNone(found)
        return found.groups()

    def test_a_line_tells_time_database_client_and_arguments(self):
        self.call("SELECT", "3")
        self.call("keys", 'a"\n\x01\\')
        seconds, db, address, args = self.line()
        self.assertEqual((db, args), ("3", '"SELECT" "3"'))
        self.assertEqual(address, "127.0.0.1:%d" % self.conn.socket.getsockname()[1])
        self.assertLess(abs(float(seconds) - int(self.call("TIME")[0])), 5)
        self.assertEqual(self.line()[3], '"keys" "a\\"\\n\\x01\\\\"')

    def test_passwords_are_redacted_and_admin_commands_are_not_shown(self):
        self.call("AUTH", "secret")
        self.call("CONFIG", "GET", "port")
        self.call("HELLO", "2", "AUTH", "default", "secret")
        self.call("PING")
        self.assertEqual(self.line()[3], '"AUTH" "(redacted)"')
        self.assertEqual(self.line()[3], '"HELLO" "2" "AUTH" "(redacted)" "(redacted)"')
        self.assertEqual(self.line()[3], '"PING"')

    def test_refused_commands_are_not_shown(self):
        self.assertIsInstance(self.call("NOSUCH"), Error)
        self.assertIsInstance(self.call("GET"), Error)
        self.call("PING")
        self.assertEqual(self.line()[3], '"PING"')

    def test_a_watcher_gets_its_reply_before_its_line_and_may_not_use_keys(self):
        self.watcher.send_command("PING")
        self.assertEqual(self.watcher.read(), "PONG")
        self.assertEqual(self.line()[3], '"PING"')
        self.assertEqual(self.watcher.raw("GET", "k"), b"-ERR Replica can't interact with the keyspace\r\n")
        self.assertIn(b" flags=O ", self.conn.call("CLIENT", "LIST"))

    def test_reset_ends_watching(self):
        self.assertEqual(self.watcher.call("RESET"), "RESET")
        self.call("PING")
        self.assertEqual(self.watcher.call("GET", "k"), None)

    def test_quit_ends_watching_and_others_go_on(self):
        other = self.connect()
        other.call("MONITOR")
        self.watcher.send_command("QUIT")
        self.assertTrue(self.watcher.read_to_end().startswith(b"+OK\r\n"))
        self.call("ECHO", "still")
        wait_until(lambda: '"ECHO" "still"' in other.read(), what="the line")

    def test_a_watcher_that_does_not_read_is_cut_off(self):
        self.call("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
        self.addCleanup(self.conn.call, "CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")

        def is_gone():
            self.conn.pipeline([("ECHO", "x" * 20000)] * 50)
            return b" flags=O " not in self.call("CLIENT", "LIST")

        wait_until(is_gone, 20, "the end of the watcher")

    def test_without_a_limit_memory_is_bounded_all_the_same(self):
        def is_gone():
            self.conn.pipeline([("ECHO", "x" * 100000)] * 50)
            return b" flags=O " not in self.call("CLIENT", "LIST")

        wait_until(is_gone, 30, "the end of the watcher")


if __name__ == "__main__":
    main()
