#!/usr/bin/env python3
"""CONFIG SET of port or bind closed the listeners before it opened the new ones. When these could
not be had, another process could take the old port meanwhile, and clients waiting to be accepted
were lost even where the address stayed the same."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, Conn, free_port, main, wait_until


def listening_sockets(server):
    """Inodes of the listening sockets of a server's port, by address as the kernel writes it."""
    found = {}
    for name in ("tcp", "tcp6"):
        with open("/proc/%d/net/%s" % (server.pid, name)) as table:
            for line in list(table)[1:]:
                words = line.split()
                address, port = words[1].split(":")
                if words[3] == "0A" and int(port, 16) == server.port:
                    found[address] = words[9]
    return found


LOOPBACK, SECOND, ANY = "0100007F", "0200007F", "00000000"


class ListeningAnew(Case):
    def setUp(self):
        super().setUp()
        self.changed = self.own_server()
        self.changed.start()
        self.addCleanup(self.changed.remove)
        self.addCleanup(self.changed.stop)
        self.client = self.changed.connect()
        self.addCleanup(self.client.close)

    def set(self, *words):
        return self.client.call("CONFIG", "SET", *words)

    def check_is_at(self, host, port):
        with Conn(port, host) as conn:
            self.assertEqual(conn.call("CONFIG", "GET", "port")[1], b"%d" % port)

    def taken(self, host="127.0.0.1", port=0):
        other = socket.socket()
        self.addCleanup(other.close)
        other.bind((host, port))
        other.listen(1)
        return other.getsockname()[1]

    def test_a_failure_has_closed_nothing(self):
        before = listening_sockets(self.changed)
        port = self.taken()
        reply = self.set("port", port)
        self.assertEqual(reply, "ERR CONFIG SET failed (possibly related to argument 'port') - "
                                "Unable to listen on this port. Check server logs.")
        self.assertEqual(listening_sockets(self.changed), before)
        self.assertEqual(self.client.call("CONFIG", "GET", "port")[1], b"%d" % self.changed.port)
        reply = self.set("bind", "127.0.0.1 10.255.255.1")
        self.assertEqual(reply, "ERR CONFIG SET failed (possibly related to argument 'bind') - "
                                "Failed to bind to specified addresses.")
        self.assertEqual(listening_sockets(self.changed), before)
        self.assertEqual(self.client.call("CONFIG", "GET", "bind")[1], b"127.0.0.1")

    def test_what_was_opened_before_a_failure_is_closed_again(self):
        self.taken("127.0.0.3", self.changed.port)
        before = listening_sockets(self.changed)
        self.assert_error(self.set("bind", "127.0.0.2 127.0.0.3 127.0.0.1"), "ERR CONFIG SET failed")
        wait_until(lambda: listening_sockets(self.changed).keys() == before.keys() | {"0300007F"})
        self.assertEqual(listening_sockets(self.changed)[LOOPBACK], before[LOOPBACK])

    def test_an_address_that_stays_keeps_its_socket(self):
        before = listening_sockets(self.changed)[LOOPBACK]
        self.assertEqual(self.set("bind", "127.0.0.2 127.0.0.1"), "OK")
        self.assertEqual(listening_sockets(self.changed)[LOOPBACK], before)
        self.check_is_at("127.0.0.2", self.changed.port)
        self.assertEqual(self.set("bind", "127.0.0.1"), "OK")
        wait_until(lambda: SECOND not in listening_sockets(self.changed))
        self.assertEqual(listening_sockets(self.changed)[LOOPBACK], before)

    def test_lists_that_overlap_replace_each_other(self):
        for bind, wanted in (("0.0.0.0", {ANY}), ("127.0.0.1 127.0.0.2", {LOOPBACK, SECOND}), ("*", {ANY})):
            self.assertEqual(self.set("bind", bind), "OK")
            wait_until(lambda wanted=wanted: set(listening_sockets(self.changed)) == wanted)
            self.check_is_at("127.0.0.1", self.changed.port)

    def test_an_address_in_vain_beside_one_that_overlaps_closes_nothing(self):
        before = listening_sockets(self.changed)
        for bind in ("0.0.0.0 10.255.255.1", "0.0.0.0 127.0.0.1", "127.0.0.1 127.0.0.1"):
            self.assert_error(self.set("bind", bind), "ERR CONFIG SET failed")
            wait_until(lambda: listening_sockets(self.changed) == before)

    def test_another_process_is_never_overlapped(self):
        port = self.changed.port
        self.taken("127.0.0.2", port)
        self.assert_error(self.set("bind", "0.0.0.0"), "ERR CONFIG SET failed")
        self.check_is_at("127.0.0.1", port)
        self.assertEqual(self.set("bind", "127.0.0.3 127.0.0.1"), "OK")
        self.assertEqual(self.set("bind", "127.0.0.1"), "OK")

    def test_a_port_that_is_free_replaces_the_old_one(self):
        old, new = self.changed.port, free_port()
        self.assertEqual(self.set("port", new), "OK")
        self.check_is_at("127.0.0.1", new)
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", old))
        self.assertEqual(self.set("port", old), "OK")
        self.assertEqual(self.client.call("PING"), "PONG")

    def test_a_unix_socket_stays(self):
        with self.own_server("--unixsocket", "s.sock") as server:
            path = os.path.join(server.directory, "s.sock")
            inode = os.stat(path).st_ino
            conn = server.connect()
            self.assertEqual(conn.call("CONFIG", "SET", "bind", "127.0.0.2 127.0.0.1"), "OK")
            self.assertEqual(os.stat(path).st_ino, inode)
            with Conn(path=path) as other:
                self.assertEqual(other.call("PING"), "PONG")
            conn.close()


if __name__ == "__main__":
    main()
