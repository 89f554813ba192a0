"""Client-side caching: who is told which keys are invalid, in every mode and both protocols."""
import re

from harness import Case, Error, Push, Set, main, wait_until

SWITCH = " mode before disabling tracking for this client, and then re-enabling it with a different mode."


class Tracking(Case):
    def setUp(self):
        super().setUp()
        self.call("CONFIG", "SET", "tracking-table-max-keys", "1000000")

    def client(self, *options, protocol=3):
        conn = self.connect()
        conn.call("HELLO", protocol)
        if options:
            self.assertEqual(conn.call("CLIENT", "TRACKING", *options), "OK")
        return conn

    def invalid(self, *keys):
        return [b"invalidate", [key.encode() for key in keys]]

    def is_ouro(self):
        return self.server.kind == "ouro"

    def assert_silent(self, conn):
        """Nothing came: the reply to PING is the next thing to read."""
        self.assertEqual(conn.call("PING"), "PONG")


class Default(Tracking):
    def test_a_key_that_was_read_is_told_once_when_it_changes(self):
        conn = self.client("ON")
        self.call("MSET", "a", "1", "b", "2")
        conn.call("GET", "a")
        self.call("SET", "a", "3")
        self.call("SET", "a", "4")
        self.call("SET", "b", "4")
        self.assertEqual(conn.read(), self.invalid("a"))
        self.assert_silent(conn)
        conn.call("GET", "a")
        self.call("DEL", "a")
        self.assertEqual(conn.raw("PING"), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n")
        self.assertEqual(conn.read(), "PONG")

    def test_all_keys_of_a_command_are_tracked_absent_ones_too(self):
        conn = self.client("ON")
        conn.call("MGET", "a", "b", "c")
        conn.call("EXISTS", "d")
        conn.call("SET", "e", "1")
        for key in "abcde":
            self.call("SET", key, "x")
        self.assertEqual([conn.read() for _ in "abcd"], [self.invalid(key) for key in "abcd"])
        self.assert_silent(conn)

    def test_ones_own_changes_are_told_behind_the_reply(self):
        conn = self.client("ON")
        conn.call("GET", "k")
        self.assertEqual(conn.call("SET", "k", "1"), "OK")
        self.assertEqual(conn.read(), self.invalid("k"))
        quiet = self.client("ON", "NOLOOP")
        quiet.call("GET", "k")
        quiet.call("SET", "k", "2")
        self.assert_silent(quiet)
        quiet.call("GET", "k")
        self.call("SET", "k", "3")
        self.assertEqual(quiet.read(), self.invalid("k"))

    def test_flushes_tell_null(self):
        conn = self.client("ON")
        conn.call("GET", "k")
        self.call("FLUSHALL")
        self.assertEqual(conn.read_raw(), b">2\r\n$10\r\ninvalidate\r\n_\r\n")
        self.call("FLUSHDB")
        self.assertEqual(conn.read(), [b"invalidate", None])
        self.assertEqual(conn.call("FLUSHDB"), "OK")
        self.assertEqual(conn.read(), [b"invalidate", None])
        self.call("SET", "k", "1")
        self.assert_silent(conn)

    def test_expired_keys_are_told(self):
        conn = self.client("ON")
        self.call("SET", "k", "1", "PX", "80")
        conn.call("GET", "k")
        self.assertEqual(conn.read(), self.invalid("k"))

    def test_evicted_keys_are_told(self):
        self.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        conn = self.client("ON")
        names = ["k%d" % i for i in range(300)]
        for name in names:
            self.call("SET", name, "x" * 1000)
        conn.call("MGET", *names)
        self.call("CONFIG", "SET", "maxmemory", "1")
        self.call("GET", "k0")
        message = conn.read()
        self.call("CONFIG", "SET", "maxmemory", "0")
        self.assertEqual(message[0], b"invalidate")
        self.assertIn(message[1][0].decode(), names)

    def test_off_ends_it(self):
        conn = self.client("ON")
        conn.call("GET", "k")
        self.assertEqual(conn.call("CLIENT", "TRACKING", "OFF"), "OK")
        self.assertEqual(conn.call("CLIENT", "TRACKING", "OFF"), "OK")
        self.call("SET", "k", "1")
        self.assert_silent(conn)
        conn.call("CLIENT", "TRACKING", "ON")
        conn.call("GET", "k")
        self.assertEqual(conn.call("RESET"), "RESET")
        self.call("SET", "k", "2")
        self.assertEqual(conn.call("PING"), "PONG")

    def test_clients_of_resp2_are_told_nothing(self):
        conn = self.client("ON", protocol=2)
        conn.call("GET", "k")
        self.call("SET", "k", "1")
        self.assert_silent(conn)

    def test_transactions(self):
        self.needs_command("MULTI")
        conn = self.client("ON")
        conn.call("MULTI")
        conn.call("GET", "a")
        conn.call("SET", "b", "1")
        conn.call("EXEC")
        self.call("SET", "b", "1")
        self.call("SET", "a", "1")
        self.assertEqual(conn.read(), self.invalid("a"))
        conn.call("GET", "a")
        conn.call("GET", "b")
        conn.call("MULTI")
        conn.call("SET", "a", "2")
        conn.call("SET", "b", "2")
        self.assertEqual(conn.call("EXEC"), ["OK", "OK"])
        self.assertEqual([conn.read(), conn.read()], [self.invalid("a"), self.invalid("b")])

    def test_many_clients_share_a_key(self):
        conns = [self.client("ON") for _ in range(50)]
        for conn in conns:
            conn.call("GET", "k")
            conn.call("GET", "k")
        self.assertIn(b"tracking_total_items:50\r\n", self.call("INFO", "stats"))
        self.call("SET", "k", "1")
        for conn in conns:
            self.assertEqual(conn.read(), self.invalid("k"))
            self.assert_silent(conn)


    def test_what_a_wait_has_read_is_tracked(self):
        self.call("XADD", "s", "1-1", "f", "v")
        conn = self.client("ON")
        conn.send_command("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        wait_until(lambda: b"blocked_clients:1" in self.call("INFO", "clients"), what="the wait")
        self.call("XADD", "s", "2-1", "f", "v")
        self.assertEqual(conn.read(), self.invalid("s"))
        self.assertEqual(conn.read(), {b"s": [[b"2-1", [b"f", b"v"]]]})
        self.call("XADD", "s", "3-1", "f", "v")
        if self.is_ouro():  # redis-server 7.0 forgets here, later ones do not.
            self.assertEqual(conn.read(), self.invalid("s"))
        self.assert_silent(conn)

    def test_a_wait_that_ends_with_nothing_is_not_tracked_twice(self):
        conn = self.client("ON")
        self.assertEqual(conn.call("XREAD", "BLOCK", "1", "STREAMS", "s", "$"), None)
        self.call("XADD", "s", "1-1", "f", "v")
        self.assertEqual(conn.read(), self.invalid("s"))
        self.assert_silent(conn)


class Caching(Tracking):
    def test_a_wait_is_one_command(self):
        conn = self.client("ON", "OPTIN")
        self.assertEqual(conn.call("CLIENT", "CACHING", "YES"), "OK")
        conn.send_command("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        wait_until(lambda: b"blocked_clients:1" in self.call("INFO", "clients"), what="the wait")
        self.call("XADD", "s", "1-1", "f", "v")
        self.assertEqual(conn.read(), self.invalid("s"))
        self.assertEqual(conn.read(), {b"s": [[b"1-1", [b"f", b"v"]]]})
        conn.call("GET", "later")
        self.call("SET", "later", "v")
        self.call("XADD", "s", "2-1", "f", "v")
        if self.is_ouro():
            self.assertEqual(conn.read(), self.invalid("s"))
        self.assert_silent(conn)

    def test_optin_tracks_only_what_it_is_told_to(self):
        conn = self.client("ON", "OPTIN")
        conn.call("GET", "a")
        self.assertEqual(conn.call("CLIENT", "CACHING", "YES"), "OK")
        conn.call("GET", "b")
        conn.call("GET", "c")
        for key in "abc":
            self.call("SET", key, "1")
        self.assertEqual(conn.read(), self.invalid("b"))
        self.assert_silent(conn)

    def test_optout_tracks_all_but_what_it_is_told_not_to(self):
        conn = self.client("ON", "OPTOUT")
        conn.call("GET", "a")
        self.assertEqual(conn.call("CLIENT", "CACHING", "NO"), "OK")
        conn.call("GET", "b")
        conn.call("GET", "c")
        for key in "abc":
            self.call("SET", key, "1")
        self.assertEqual([conn.read(), conn.read()], [self.invalid("a"), self.invalid("c")])
        self.assert_silent(conn)

    def test_it_holds_for_a_whole_transaction(self):
        self.needs_command("MULTI")
        conn = self.client("ON", "OPTIN")
        conn.call("CLIENT", "CACHING", "YES")
        conn.call("MULTI")
        conn.call("GET", "a")
        conn.call("GET", "b")
        conn.call("EXEC")
        conn.call("GET", "c")
        for key in "abc":
            self.call("SET", key, "1")
        self.assertEqual([conn.read(), conn.read()], [self.invalid("a"), self.invalid("b")])
        self.assert_silent(conn)

    def test_other_client_commands_do_not_use_it_up(self):
        conn = self.client("ON", "OPTIN")
        conn.call("CLIENT", "CACHING", "YES")
        conn.call("CLIENT", "ID")
        conn.call("GET", "a")
        self.call("SET", "a", "1")
        self.assertEqual(conn.read(), self.invalid("a"))
        conn.call("CLIENT", "CACHING", "YES")
        conn.call("PING")
        conn.call("GET", "a")
        self.call("SET", "a", "1")
        self.assert_silent(conn)

    def test_errors(self):
        conn = self.client()
        self.assertEqual(conn.call("CLIENT", "CACHING", "YES"),
                         Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with "
                               "OPTIN or OPTOUT mode enabled"))
        conn.call("CLIENT", "TRACKING", "ON")
        self.assertEqual(conn.call("CLIENT", "CACHING", "YES"),
                         Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."))
        self.assertEqual(conn.call("CLIENT", "CACHING", "NO"),
                         Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."))
        self.assertEqual(conn.call("CLIENT", "CACHING", "MAYBE"), Error("ERR syntax error"))


class Broadcast(Tracking):
    def test_changes_below_prefixes_are_told_together_and_sorted(self):
        conn = self.client("ON", "BCAST", "PREFIX", "user:", "PREFIX", "item:")
        self.call("MSET", "user:2", "1", "user:1", "1", "item:1", "1", "other", "1", "user:2", "2")
        self.assertEqual(conn.read(), self.invalid("item:1"))
        self.assertEqual(conn.read(), self.invalid("user:1", "user:2"))
        self.assert_silent(conn)

    def test_without_a_prefix_all_changes_are_told(self):
        conn = self.client("ON", "BCAST")
        self.call("MSET", "b", "1", "a", "1")
        self.assertEqual(conn.read(), self.invalid("a", "b"))
        self.call("FLUSHALL")
        self.assertEqual(conn.read(), [b"invalidate", None])

    def test_noloop_leaves_out_ones_own_changes(self):
        conn, other = self.client("ON", "BCAST", "NOLOOP"), self.client("ON", "BCAST")
        conn.call("SET", "mine", "1")
        self.assertEqual(other.read(), self.invalid("mine"))
        self.call("SET", "others", "1")
        self.assertEqual(conn.read(), self.invalid("others"))
        self.assertEqual(other.read(), self.invalid("others"))

    def test_prefixes_are_added_and_counted(self):
        conn = self.client("ON", "BCAST", "PREFIX", "a")
        conn.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "b")
        self.assertEqual(conn.call("CLIENT", "TRACKINGINFO")[b"prefixes"], [b"a", b"b"])
        self.assertIn(b"tracking_total_prefixes:2\r\n", self.call("INFO", "stats"))
        self.call("SET", "a1", "x")
        self.assertEqual(conn.read(), self.invalid("a1"))
        conn.call("CLIENT", "TRACKING", "OFF")
        self.assertIn(b"tracking_total_prefixes:0\r\n", self.call("INFO", "stats"))

    def test_prefixes_of_a_client_must_not_overlap(self):
        conn = self.client("ON", "BCAST", "PREFIX", "foo")
        text = "ERR Prefix '%s' overlaps with %s prefix '%s'. Prefixes for a single client must not overlap."
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "foobar"),
                         Error(text % ("foobar", "an existing", "foo")))
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "f"),
                         Error(text % ("f", "an existing", "foo")))
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "ab", "PREFIX", "abc"),
                         Error(text % ("ab", "another provided", "abc")))
        self.assertEqual(conn.call("CLIENT", "TRACKINGINFO")[b"prefixes"], [b"foo"])


class Long(Tracking):
    """Commands that wait for their turn, and read what has changed meanwhile."""
    args = ("--enable-debug-command", "local")

    def processed(self):
        return int(re.search(rb"total_commands_processed:(\d+)", self.call("INFO", "stats"))[1])

    def send_and_wait(self, conn, *words):
        """Sends a command and waits until the server has seen it, if not more."""
        before, looks = self.processed(), [0]
        conn.send_command(*words)

        def is_seen():
            looks[0] += 1
            return self.processed() > before + looks[0]
        wait_until(is_seen, what="the server's look at %s" % words[0])

    def test_what_changes_before_it_is_read_is_told_when_it_changes_again(self):
        if not self.is_ouro():
            self.skipTest("there no command waits")
        keys = ["k:%d" % n for n in range(2000)]
        self.call("SADD", "set", *range(5000))
        with self.connect() as store:
            for mode in ((), ("OPTIN",), ("OPTOUT",)):
                self.call("SET", "k:7", "old")
                conn = self.client("ON", *mode)
                self.call("DEBUG", "PAUSE-SLICES", 1)
                self.send_and_wait(store, "SUNIONSTORE", "to", "set")
                if mode == ("OPTIN",):
                    conn.call("CLIENT", "CACHING", "YES")
                self.send_and_wait(conn, "MGET", *keys, "to")
                self.call("SET", "k:7", "new")
                self.call("DEBUG", "PAUSE-SLICES", 0)
                self.assertEqual(store.read(), 5000)
                while isinstance(reply := conn.read(), Push):
                    pass
                self.assertEqual(reply[7], b"new")
                self.call("SET", "k:7", "newer")
                self.assertEqual(conn.read(), self.invalid("k:7"))
                self.assert_silent(conn)
                conn.close()


class Redirect(Tracking):
    def redirected(self, target, *options, protocol=2):
        return self.client("ON", "REDIRECT", target.call("CLIENT", "ID"), *options, protocol=protocol)

    def test_resp2_clients_are_told_through_a_subscriber(self):
        target = self.client(protocol=2)
        conn = self.redirected(target)
        conn.call("GET", "a")
        self.call("SET", "a", "1")
        self.assert_silent(target)
        target.call("SUBSCRIBE", "__redis__:invalidate")
        conn.call("GET", "a")
        self.call("SET", "a", "1")
        self.assertEqual(target.read_raw(),
                         b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\na\r\n")
        self.call("FLUSHALL")
        self.assertEqual(target.read(), [b"message", b"__redis__:invalidate", None])
        self.assertEqual(conn.call("PING"), "PONG")

    def test_resp3_targets_get_pushes(self):
        target = self.client()
        conn = self.redirected(target, "BCAST")
        self.call("SET", "a", "1")
        self.assertEqual(target.read(), self.invalid("a"))
        self.assertEqual(conn.call("CLIENT", "GETREDIR"), target.call("CLIENT", "ID"))

    def test_a_target_that_has_gone_is_told(self):
        target = self.client()
        number = target.call("CLIENT", "ID")
        conn = self.redirected(target, protocol=3)
        conn.call("GET", "a")
        target.close()
        wait_until(lambda: b"id=%d " % number not in self.call("CLIENT", "LIST"))
        self.call("SET", "a", "1")
        self.assertEqual(conn.read(), [b"tracking-redir-broken", number])
        info = conn.call("CLIENT", "TRACKINGINFO")
        self.assertEqual(sorted(info[b"flags"]), [b"broken_redirect", b"on"])
        self.assertEqual(info[b"redirect"], number)
        self.assertIn(b"flags=tR ", conn.call("CLIENT", "INFO"))

    def test_errors(self):
        conn = self.client()
        mine = conn.call("CLIENT", "ID")
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "REDIRECT", "99999999"),
                         Error("ERR The client ID you want redirect to does not exist"))
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "REDIRECT", "x"),
                         Error("ERR value is not an integer or out of range"))
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "REDIRECT", mine, "REDIRECT", mine),
                         Error("ERR A client can only redirect to a single other client"))
        self.assertEqual(conn.call("CLIENT", "GETREDIR"), -1)


class Options(Tracking):
    def test_trackinginfo_tells_the_mode(self):
        conn = self.client()
        for options, flags in (([], [b"on"]), (["BCAST"], [b"on", b"bcast"]),
                               (["OPTIN"], [b"on", b"optin"]), (["OPTOUT", "NOLOOP"], [b"on", b"optout", b"noloop"])):
            conn.call("CLIENT", "TRACKING", "ON", *options)
            info = conn.call("CLIENT", "TRACKINGINFO")
            self.assertEqual(info[b"flags"], Set(flags))
            self.assertEqual(info[b"redirect"], 0)
            conn.call("CLIENT", "TRACKING", "OFF")
        conn.call("CLIENT", "TRACKING", "ON", "OPTIN")
        conn.call("CLIENT", "CACHING", "YES")
        self.assertEqual(conn.call("CLIENT", "TRACKINGINFO")[b"flags"], [b"on", b"optin", b"caching-yes"])
        conn.call("CLIENT", "TRACKING", "OFF")
        self.assertEqual(conn.raw("CLIENT", "TRACKINGINFO"),
                         b"%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n")

    def test_client_list_and_info_tell_who_tracks(self):
        conn = self.client("ON", "BCAST")
        self.assertIn(b"flags=tB ", conn.call("CLIENT", "INFO"))
        self.assertIn(b"redir=0 ", conn.call("CLIENT", "INFO"))
        self.assertIn(b"tracking_clients:1\r\n", self.call("INFO", "clients"))
        conn.call("CLIENT", "TRACKING", "OFF")
        self.assertIn(b"flags=N ", conn.call("CLIENT", "INFO"))
        self.assertIn(b"redir=-1 ", conn.call("CLIENT", "INFO"))
        self.assertIn(b"tracking_clients:0\r\n", self.call("INFO", "clients"))

    def test_options_that_do_not_go_together(self):
        conn = self.client()
        for words, error in (
                (["ON", "PREFIX", "a"], "PREFIX option requires BCAST mode to be enabled"),
                (["ON", "BCAST", "OPTIN"], "OPTIN and OPTOUT are not compatible with BCAST"),
                (["ON", "OPTIN", "OPTOUT"], "You can't specify both OPTIN mode and OPTOUT mode"),
                (["ON", "SOMETHING"], "syntax error"), (["MAYBE"], "syntax error"),
                (["ON", "PREFIX"], "syntax error"), (["ON", "REDIRECT"], "syntax error")):
            self.assertEqual(conn.call("CLIENT", "TRACKING", *words), Error("ERR " + error))
        self.assertEqual(conn.call("CLIENT", "TRACKING"),
                         Error("ERR wrong number of arguments for 'client|tracking' command"))
        conn.call("CLIENT", "TRACKING", "ON", "OPTIN")
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "BCAST"),
                         Error("ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
                               "and then re-enabling it with a different mode."))
        self.assertEqual(conn.call("CLIENT", "TRACKING", "ON", "OPTOUT"),
                         Error("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
                               "and then re-enabling it with a different mode."))


class Limit(Tracking):
    def totals(self):
        info = self.call("INFO", "stats").decode()
        return [int(info.split("tracking_total_%s:" % name)[1].split("\r\n")[0]) for name in ("keys", "items")]

    def test_the_table_is_bounded_and_what_it_forgets_is_told(self):
        self.call("CONFIG", "SET", "tracking-table-max-keys", "100")
        conn = self.client("ON")
        names = [b"k%d" % i for i in range(300)]
        for name in names:
            conn.send_command("GET", name)
        told = []
        for _ in names:
            while isinstance(value := conn.read(), Push):
                told += value[1]

        def is_trimmed():
            conn.send_command("PING")
            while isinstance(value := conn.read(), Push):
                told.extend(value[1])
            return self.totals()[0] <= 100
        wait_until(is_trimmed)
        self.assertGreaterEqual(len(told), 200)
        self.assertLessEqual(set(told), set(names))

    def test_a_lower_limit_takes_effect(self):
        conn = self.client("ON")
        for i in range(500):
            conn.call("GET", "k%d" % i)
        self.assertEqual(self.totals(), [500, 500])
        self.call("CONFIG", "SET", "tracking-table-max-keys", "10")

        def is_trimmed():
            self.call("GET", "x")
            conn.send_command("GET", "y")
            while isinstance(conn.read(), Push):
                pass
            return self.totals()[0] <= 10
        wait_until(is_trimmed)

    def test_the_table_evicts_no_data(self):
        if self.server.kind == "redis":
            self.skipTest("there it counts as data")
        with self.own_server("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru") as server:
            conn = server.connect()
            for i in range(200):
                conn.call("SET", "key:%d" % i, "x" * 1000)
            reader = server.connect()
            reader.call("HELLO", "3")
            reader.call("CLIENT", "TRACKING", "ON")
            for start in range(0, 200000, 1000):
                reader.call("MGET", *["absent key with a long name:%d" % i for i in range(start, start + 1000)])
            conn.call("SET", "another", "x")
            self.assertEqual(conn.call("DBSIZE"), 201)
            self.assertIn(b"tracking_total_keys:200000\r\n", conn.call("INFO", "stats"))
            conn.close()
            reader.close()


if __name__ == "__main__":
    main()
