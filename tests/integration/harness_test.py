"""The harness tests itself: a test tool that cannot fail proves nothing."""
import os
import signal
import unittest

from harness import Case, Error, NeedMore, Push, Server, encode, main, parse, reply_end


class Replies(unittest.TestCase):
    ALL = (b"+OK\r\n", b"-ERR no\r\n", b":-7\r\n", b"$3\r\na\r\n\r\n", b"$-1\r\n", b"*-1\r\n",
           b"*0\r\n",
           b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n", b"%1\r\n+a\r\n:1\r\n", b"~2\r\n:1\r\n:2\r\n", b"_\r\n",
           b"#t\r\n",
           b",1.5\r\n", b"(123\r\n", b"=7\r\ntxt:abc\r\n", b">2\r\n+a\r\n+b\r\n",
           b"!5\r\nERR x\r\n",
           b"|1\r\n+a\r\n:1\r\n:2\r\n")

    def test_every_reply_ends_where_it_ends_and_not_before(self):
        for reply in self.ALL:
            self.assertEqual(reply_end(reply + b"+next\r\n"), len(reply))
            self.assertEqual(parse(reply)[1], len(reply))
            for cut in range(len(reply)):
                with self.assertRaises(NeedMore):
                    reply_end(reply[:cut])

    def test_values_come_out_as_they_were_sent(self):
        self.assertEqual(parse(b"%1\r\n+a\r\n*2\r\n:1\r\n_\r\n")[0], {"a": [1, None]})
        self.assertIsInstance(parse(b">1\r\n+a\r\n")[0], Push)
        self.assertIsInstance(parse(b"-ERR x\r\n")[0], Error)
        self.assertEqual(encode("GET", b"\xff", 12),
                         b"*3\r\n$3\r\nGET\r\n$1\r\n\xff\r\n$2\r\n12\r\n")


class Processes(Case):
    def test_cpu_and_memory_of_the_server_can_be_read(self):
        self.assertGreaterEqual(self.server.cpu_seconds(), 0)
        self.assertGreater(self.server.rss_bytes(), 1 << 20)
        self.assertGreater(self.server.fd_count(), 2)

    def test_a_killed_server_starts_again_on_its_port(self):
        with self.own_server() as server:
            port = server.port
            server.restart(crash=True)
            self.assertEqual(server.port, port)
            self.assertEqual(server.connect().call("PING"), "PONG")

    def test_an_unexpected_end_fails_the_case(self):
        server = self.own_server()
        self.addCleanup(server.remove)
        server.start()
        os.kill(server.pid, signal.SIGKILL)
        with self.assertRaises(AssertionError):
            server.stop()

    def test_a_server_that_refuses_its_arguments_fails_the_start(self):
        server = Server("--no-such-directive", "1")
        self.addCleanup(server.remove)
        with self.assertRaises(AssertionError):
            server.start()


if __name__ == "__main__":
    main()
