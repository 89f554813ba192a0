"""Connections: greeting, protocol switch, pipelines, broken input, and clients that leave."""
from harness import Case, Error, encode, main, wait_until


class Pings(Case):
    def test_ping_is_answered_in_both_forms(self):
        self.assertEqual(self.raw("PING"), b"+PONG\r\n")
        self.assertEqual(self.raw("PING", "hello"), b"$5\r\nhello\r\n")
        self.conn.send(b"PING\r\nping\r\n")
        self.assertEqual(self.conn.read_bytes(14), b"+PONG\r\n+PONG\r\n")

    def test_a_command_may_arrive_byte_by_byte(self):
        for byte in encode("ECHO", "slow"):
            self.conn.send(bytes([byte]))
        self.assertEqual(self.conn.read(), b"slow")

    def test_an_unknown_command_names_itself(self):
        self.assertEqual(self.raw("NOSUCH", "a"),
                         b"-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n")

    def test_quit_says_ok_and_closes(self):
        conn = self.connect()
        conn.send_command("QUIT")
        self.assertEqual(conn.read_to_end(), b"+OK\r\n")


class Pipelines(Case):
    def test_ten_thousand_commands_in_one_write_come_back_in_order(self):
        commands = [("ECHO", number) for number in range(10000)]
        self.assertEqual(self.conn.pipeline(commands), [b"%d" % n for n in range(10000)])

    def test_commands_of_one_connection_see_each_other_in_order(self):
        commands = [command for n in range(500) for command in (("SET", "k", n), ("GET", "k"))]
        replies = self.conn.pipeline(commands)
        self.assertEqual(replies[1::2], [b"%d" % n for n in range(500)])

    def test_a_value_of_100_mb_goes_in_and_out_whole(self):
        value = bytes(range(256)) * (100 * 1000 * 1000 // 256)
        self.assertEqual(self.call("SET", "big", value), "OK")
        self.assertTrue(self.call("GET", "big") == value)
        self.assertEqual(self.call("STRLEN", "big"), len(value))
        self.assertEqual(self.call("DEL", "big"), 1)

    def test_a_reader_that_is_slow_gets_all_of_its_replies(self):
        self.call("SET", "k", b"x" * 100000)
        other = self.connect()
        self.conn.send(encode("GET", "k") * 200)
        self.assertEqual(other.call("PING"), "PONG")
        for _ in range(200):
            self.assertEqual(len(self.conn.read()), 100000)


class Protocols(Case):
    def test_hello_3_switches_to_resp3_and_2_back(self):
        hello = self.call("HELLO", "3")
        self.assertEqual(hello[b"proto"], 3)
        self.assertEqual(self.raw("GET", "none"), b"_\r\n")
        self.assertEqual(self.conn.call("HELLO", "2")[4:6], [b"proto", 2])
        self.assertEqual(self.raw("GET", "none"), b"$-1\r\n")

    def test_hello_of_another_version_is_refused(self):
        self.assertEqual(self.raw("HELLO", "4"), b"-NOPROTO unsupported protocol version\r\n")

    def test_a_protocol_error_is_told_and_ends_the_connection(self):
        for bad, text in ((b"*x\r\n", b"invalid multibulk length"),
                          (b"*1\r\n$-5\r\n", b"invalid bulk length"),
                          (b"*1\r\n!5\r\n", b"expected '$', got '!'")):
            conn = self.connect()
            conn.send(bad)
            self.assertEqual(conn.read_to_end(), b"-ERR Protocol error: " + text + b"\r\n")

    def test_commands_before_a_protocol_error_are_answered(self):
        conn = self.connect()
        conn.send(b"PING\r\n*x\r\n")
        self.assertEqual(conn.read_to_end(),
                         b"+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n")


class Departures(Case):
    def test_clients_that_vanish_leave_nothing_behind(self):
        self.call("PING")
        before = self.server.fd_count()
        for step in range(200):
            conn = self.server.connect()
            conn.send(encode("SET", "k%d" % step, "v") + b"*2\r\n$3\r\nGE")
            conn.close()
        wait_until(lambda: self.call("DBSIZE") == 200, what="all SETs done")
        wait_until(lambda: self.server.fd_count() <= before, what="all sockets closed")

    def test_the_half_closed_still_get_their_replies(self):
        conn = self.connect()
        conn.send(encode("SET", "k", "v") + encode("GET", "k"))
        conn.socket.shutdown(1)
        self.assertEqual(conn.read_to_end(), b"+OK\r\n$1\r\nv\r\n")


class Limits(Case):
    def admitted(self, server):
        """A connection that the server has taken in, or None: it may still be about to see that
        others left."""
        conn = server.connect()
        try:
            if conn.call("PING") == "PONG":
                return conn
        except ConnectionError:
            pass
        conn.close()
        return None

    def test_too_many_clients_are_told_so(self):
        with self.own_server("--maxclients", "3") as server:
            kept = [wait_until(lambda: self.admitted(server), what="a place") for _ in range(3)]
            with server.connect() as extra:
                self.assertEqual(extra.read_to_end(), b"-ERR max number of clients reached\r\n")
            kept.pop().close()
            kept.append(wait_until(lambda: self.admitted(server), what="a free place"))
            for conn in kept:
                conn.close()

    def test_a_password_guards_everything_but_auth(self):
        with self.own_server("--requirepass", "secret") as server, server.connect() as conn:
            self.assert_error(conn.call("GET", "k"), "NOAUTH ")
            self.assert_error(conn.call("AUTH", "wrong"), "WRONGPASS ")
            self.assertIsInstance(conn.call("HELLO", "3"), Error)
            self.assertEqual(conn.call("AUTH", "secret"), "OK")
            self.assertEqual(conn.call("GET", "k"), None)


if __name__ == "__main__":
    main()
