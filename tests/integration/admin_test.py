"""SHUTDOWN, TIME, LOLWUT, DEBUG, MEMORY, signals and the crash report."""
import signal
import time

from harness import Case, Verbatim, main, wait_until


class Shutdown(Case):
    def test_shutdown_closes_without_a_reply_and_ends_with_status_0(self):
        for words in ((), ("NOSAVE",), ("SAVE",), ("NOW", "FORCE")):
            with self.own_server() as server:
                conn = server.connect()
                conn.send(b"PING\r\n")
                self.assertEqual(conn.read(), "PONG")
                conn.send_command("SHUTDOWN", *words)
                self.assertEqual(conn.read_to_end(), b"")
                self.assertEqual(server.process.wait(20), 0)

    def test_what_was_pipelined_behind_it_is_not_executed(self):
        with self.own_server() as server:
            conn = server.connect()
            conn.send(b"PING\r\nSHUTDOWN NOSAVE\r\nPING\r\n")
            self.assertEqual(conn.read_to_end(), b"+PONG\r\n")
            self.assertEqual(server.process.wait(20), 0)

    def test_errors(self):
        for words in (("X",), ("SAVE", "NOSAVE"), ("ABORT", "NOW"), ("NOW", "ABORT")):
            self.assertEqual(self.raw("SHUTDOWN", *words), b"-ERR syntax error\r\n")
        self.assertEqual(self.raw("SHUTDOWN", "ABORT"), b"-ERR No shutdown in progress.\r\n")
        self.assertEqual(self.call("PING"), "PONG")


class Signals(Case):
    def test_sigterm_and_sigint_end_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.own_server() as server:
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(20), 0)
                self.assertIn(b"bye bye", server.log())

    def test_a_second_sigterm_ends_at_once(self):
        with self.own_server("--enable-debug-command", "yes") as server:
            conn = server.connect()
            conn.send_command("DEBUG", "SLEEP", "15")
            # The sleep is under way when another client is not answered.
            other = server.connect(timeout=0.3)
            start = time.monotonic()
            with self.assertRaises(OSError):
                for _ in range(100):
                    other.call("PING")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: self.is_interrupted(server), 5, "the first signal's arrival")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.process.poll() is not None, 10, "the end")
            self.assertLess(time.monotonic() - start, 14)
            server.kill()  # An end with status 1 is what this test wants; stop() would object.

    @staticmethod
    def is_interrupted(server):
        """No signal waits for delivery any more (SigPnd and ShdPnd are empty)."""
        if server.process.poll() is not None:
            return True
        with open("/proc/%d/status" % server.pid) as file:
            return all(int(line.split()[1], 16) == 0 for line in file if line.startswith(("SigPnd", "ShdPnd")))


class CrashReport(Case):
    def crash(self, word, expected):
        server = self.own_server("--enable-debug-command", "yes")
        self.addCleanup(server.remove)
        self.addCleanup(server.kill)
        server.start()
        conn = server.connect()
        conn.send_command("DEBUG", word, "telltale")
        conn.is_closed()
        self.assertNotEqual(server.process.wait(30), 0)
        log = server.log()
        for text in (b"CRASH REPORT: start", b"STACK TRACE", b'argv[1] = "%s"' % word.encode(), b"telltale",
                     b"redis_version:", b"CRASH REPORT: end") + expected:
            self.assertIn(text, log)

    def test_of_a_segmentation_fault_names_the_command(self):
        self.crash("SEGFAULT", (b"signal 11",))

    def test_of_a_failed_assertion_names_it(self):
        self.crash("ASSERT", (b"1 == 2",))

    def test_of_a_panic_names_the_command(self):
        self.crash("PANIC", (b"DEBUG PANIC",))


class Small(Case):
    def test_time_is_now(self):
        seconds, micros = map(int, self.call("TIME"))
        self.assertLess(abs(seconds + micros / 1e6 - time.time()), 5)
        self.assertLess(micros, 1000000)
        self.assert_error(self.call("TIME", "x"), "ERR wrong number of arguments for 'time' command")

    def test_lolwut_draws_and_tells_the_version(self):
        for words in ((), ("VERSION", "5"), ("VERSION", "6", "1", "2"), ("VERSION",), ("a", "b")):
            text = self.call("LOLWUT", *words)
            self.assertRegex(text, rb"\nRedis ver\. \d+\.\d+\.\d+\n$")
        self.assert_error(self.call("LOLWUT", "VERSION", "x"), "ERR value is not an integer")
        self.call("HELLO", "3")
        self.assertIsInstance(self.call("LOLWUT"), Verbatim)


class Debug(Case):
    args = ("--enable-debug-command", "local")

    def test_is_refused_unless_it_is_enabled(self):
        with self.own_server() as server:
            for words in (("SLEEP", "0"), ("HELP",), ("NOSUCH",)):
                self.assertEqual(
                    server.connect().raw("DEBUG", *words),
                    b"-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "
                    b"can run it from a local connection, otherwise you need to set this option in the "
                    b"configuration file, and then restart the server.\r\n")

    def test_a_wrong_subcommand_or_count_of_arguments_is_one_error(self):
        for words in (("NOSUCH",), ("SLEEP",), ("SLEEP", "1", "2"), ("POPULATE",), ("JMAP",)):
            self.assertEqual(
                self.raw("DEBUG", *words),
                b"-ERR unknown subcommand or wrong number of arguments for '%s'. Try DEBUG HELP.\r\n"
                % words[0].encode())

    def test_object_describes_a_key(self):
        self.call("SET", "k", "hello")
        self.assertRegex(self.call("DEBUG", "OBJECT", "k"),
                         r"^Value at:0x[0-9a-f]+ refcount:1 encoding:embstr serializedlength:6 lru:\d+ "
                         r"lru_seconds_idle:0$")
        self.assertEqual(self.raw("DEBUG", "OBJECT", "none"), b"-ERR no such key\r\n")

    def test_populate_adds_what_is_not_there(self):
        self.call("SET", "key:1", "mine")
        self.assertEqual(self.call("DEBUG", "POPULATE", "5"), "OK")
        self.assertEqual(self.call("DBSIZE"), 5)
        self.assertEqual(self.call("GET", "key:0"), b"value:0")
        self.assertEqual(self.call("GET", "key:1"), b"mine")
        self.call("DEBUG", "POPULATE", "2", "p", "10")
        self.assertEqual(self.call("GET", "p:1"), b"value:1\0\0\0")
        self.call("DEBUG", "POPULATE", "1", "q", "5")
        self.assertEqual(self.call("GET", "q:0"), b"value")
        self.assertEqual(self.raw("DEBUG", "POPULATE", "-1"), b"-ERR value is out of range, must be positive\r\n")

    def test_digests_depend_on_the_data_and_not_on_its_order(self):
        empty = self.call("DEBUG", "DIGEST")
        self.assertEqual(empty, "0" * 40)
        self.conn.pipeline([("SET", "a", "1"), ("SET", "b", "2")])
        both = self.call("DEBUG", "DIGEST")
        self.call("FLUSHALL")
        self.conn.pipeline([("SET", "b", "2"), ("SET", "a", "1")])
        self.assertEqual(self.call("DEBUG", "DIGEST"), both)
        self.call("SET", "a", "3")
        self.assertNotEqual(self.call("DEBUG", "DIGEST"), both)
        self.call("SET", "c", "2")
        same, other, none = self.call("DEBUG", "DIGEST-VALUE", "b", "a", "none")
        self.assertEqual(self.call("DEBUG", "DIGEST-VALUE", "c"), [same])
        self.assertNotEqual(same, other)
        self.assertEqual(none, "0" * 40)

    def test_digests_are_those_of_redis(self):
        self.conn.pipeline([
            ("SET", "text", "a\0b"), ("SET", "number", "-42"), ("SET", "going", "v", "EX", "10000"),
            ("RPUSH", "list", "a", "1", "x" * 3000), ("SADD", "integers", "1", "2", "3"),
            ("SADD", "set", "a", "b", "7"), ("ZADD", "zset", "1.5", "a", "-inf", "b", "3", "c"),
            ("HSET", "hash", "f", "v", "g", "12"), ("XADD", "stream", "5-1", "f", "v", "g", "7"),
            ("XADD", "stream", "6-1", "h", "-9"), ("SELECT", "3"), ("SET", "elsewhere", "v")])
        self.assertEqual(self.call("DEBUG", "DIGEST-VALUE", "elsewhere"),
                         ["d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f"])
        self.assertEqual(self.call("DEBUG", "DIGEST"), "ba620137b410d8c352cb8b371117d90caa26a2bf")
        self.conn.call("SELECT", "0")
        self.assertEqual(self.call("DEBUG", "DIGEST-VALUE", "text", "number", "going", "list", "integers", "set",
                                   "zset", "hash", "stream"), [
            "f413128cff81091b05397a0354869b5f313b3a7a",
            "ce70a5674f228eaf3e2c2d01f6152e36f7e792a7",
            "311b17018163335616e089f6b951c82c477335ac",
            "e6144db7ca509b563727af15caadd86727ffabf9",
            "2a462a3f51a1db89738ebbeef0c47ce1bbc85246",
            "4db2915dc242371e719444ddc8b328e38ac18e1c",
            "da0323ff4d88ffcab003f39cbd63a803c404701b",
            "8530acc75d5274eb0fc0da86f28ed5533274a6d4",
            "55ab774ccc901f88dd2a0a84dd9b6e4abbf66e65"])

    def test_every_reply_type_of_resp2(self):
        for kind, expected in (
                ("string", b"$11\r\nHello World\r\n"), ("integer", b":12345\r\n"), ("double", b"$5\r\n3.141\r\n"),
                ("null", b"$-1\r\n"), ("array", b"*3\r\n:0\r\n:1\r\n:2\r\n"), ("set", b"*3\r\n:0\r\n:1\r\n:2\r\n"),
                ("map", b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n"), ("true", b":1\r\n"), ("false", b":0\r\n"),
                ("verbatim", b"$25\r\nThis is a verbatim\nstring\r\n"),
                ("attrib", b"$39\r\nSome real reply following the attribute\r\n"),
                ("push", b"-ERR RESP2 is not supported by this command\r\n"),
                ("bignum", b"$37\r\n1234567999999999999999999999999999999\r\n")):
            self.assertEqual(self.raw("DEBUG", "PROTOCOL", kind), expected, kind)
        self.assert_error(self.call("DEBUG", "PROTOCOL", "x"), "ERR Wrong protocol type name.")

    def test_every_reply_type_of_resp3(self):
        self.call("HELLO", "3")
        for kind, expected in (
                ("double", b",3.141\r\n"), ("null", b"_\r\n"), ("set", b"~3\r\n:0\r\n:1\r\n:2\r\n"),
                ("map", b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n"), ("true", b"#t\r\n"), ("false", b"#f\r\n"),
                ("verbatim", b"=29\r\ntxt:This is a verbatim\nstring\r\n"),
                ("bignum", b"(1234567999999999999999999999999999999\r\n")):
            self.assertEqual(self.raw("DEBUG", "PROTOCOL", kind), expected, kind)
        for kind, expected in (
                ("attrib", b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"
                           b"$39\r\nSome real reply following the attribute\r\n"),
                ("push", b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n")):
            self.conn.send_command("DEBUG", "PROTOCOL", kind)
            self.assertEqual(self.conn.read_bytes(len(expected)), expected)

    def test_set_active_expire_stops_and_restarts_reclaiming(self):
        self.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        self.addCleanup(self.conn.call, "DEBUG", "SET-ACTIVE-EXPIRE", "1")
        self.call("SET", "k", "v", "PX", "1")
        end = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end)
        self.assertEqual(self.call("DBSIZE"), 1)
        self.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        wait_until(lambda: self.call("DBSIZE") == 0, what="the key's removal")

    def test_small_ones(self):
        self.assertEqual(self.raw("DEBUG", "ERROR", "MYCODE some\r\ntext")[:12], b"-MYCODE some")
        self.assertEqual(self.call("DEBUG", "LOG", "a message"), "OK")
        self.assertIn(b"DEBUG LOG: a message", self.server.log())
        self.assertEqual(self.call("DEBUG", "STRINGMATCH-LEN", "a*c", "abc"), 1)
        self.assertEqual(self.call("DEBUG", "STRINGMATCH-LEN", "a*c", "abd"), 0)
        self.assertEqual(self.call("DEBUG", "SLEEP", "0"), "OK")
        for word in ("SET-DISABLE-DENY-SCRIPTS", "CLIENT-ENFORCE-REPLY-LIST", "PAUSE-CRON"):
            self.assertEqual(self.call("DEBUG", word, "0"), "OK")
        self.assertIn(b"number of elements: 0", self.call("DEBUG", "HTSTATS", "0"))
        self.assertEqual(self.raw("DEBUG", "HTSTATS", "99"), b"-ERR Out of range database\r\n")


class Memory(Case):
    FIELDS = (b"peak.allocated total.allocated startup.allocated replication.backlog clients.slaves clients.normal "
              b"cluster.links aof.buffer lua.caches functions.caches db.0 overhead.total keys.count "
              b"keys.bytes-per-key dataset.bytes dataset.percentage peak.percentage allocator.allocated "
              b"allocator.active allocator.resident allocator-fragmentation.ratio allocator-fragmentation.bytes "
              b"allocator-rss.ratio allocator-rss.bytes rss-overhead.ratio rss-overhead.bytes fragmentation "
              b"fragmentation.bytes").split()

    def test_usage_grows_with_the_value_and_the_expiry(self):
        self.call("SET", "k", "v")
        small = self.call("MEMORY", "USAGE", "k")
        self.assertTrue(16 < small < 100, small)
        self.call("EXPIRE", "k", "100")
        self.assertGreater(self.call("MEMORY", "USAGE", "k"), small)
        self.call("SET", "k", "v" * 100000)
        self.assertTrue(100000 < self.call("MEMORY", "USAGE", "k") < 140000)
        self.assertIsNone(self.call("MEMORY", "USAGE", "none"))

    def test_usage_checks_its_options_first(self):
        for words in (("SAMPLES",), ("SAMPLES", "-1"), ("X", "1")):
            self.assertEqual(self.raw("MEMORY", "USAGE", "none", *words), b"-ERR syntax error\r\n")
        self.assert_error(self.call("MEMORY", "USAGE", "none", "SAMPLES", "x"), "ERR value is not an integer")
        self.assertIsNone(self.call("MEMORY", "USAGE", "none", "SAMPLES", "0"))

    def test_stats_has_the_fields_of_redis_in_their_order(self):
        self.call("SET", "k", "v")
        reply = self.call("MEMORY", "STATS")
        self.assertEqual(reply[::2], self.FIELDS)
        values = dict(zip(reply[::2], reply[1::2]))
        self.assertEqual(values[b"keys.count"], 1)
        self.assertEqual(values[b"db.0"][::2], [b"overhead.hashtable.main", b"overhead.hashtable.expires",
                                                b"overhead.hashtable.slot-to-keys"])
        self.call("HELLO", "3")
        values = self.call("MEMORY", "STATS")
        self.assertEqual(list(values), self.FIELDS)
        self.assertIsInstance(values[b"fragmentation"], float)

    def test_the_rest(self):
        self.assertEqual(self.call("MEMORY", "PURGE"), "OK")
        self.assertIn(b"memory", self.call("MEMORY", "DOCTOR").lower())
        self.assertIn(b"Allocated:", self.call("MEMORY", "MALLOC-STATS"))
        self.assertEqual(len(self.call("MEMORY", "HELP")), 14)


if __name__ == "__main__":
    main()
