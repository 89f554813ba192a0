"""Replication where things happen at the wrong moment: clients that wait and pause while roles
change, and addresses of the other family."""
import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Conn, Error, main, wait_until  # noqa: E402
from replication import QUIET, SYNC_SECONDS, Group, wait_in_sync, wait_same_data  # noqa: E402

ASKERS = 6


def has_come(node, name, command):
    """Whether the command of the client with this name was executed, or is held back."""
    for line in node.do("CLIENT", "LIST").decode().splitlines():
        facts = dict(fact.split("=", 1) for fact in line.split(" "))
        if facts["name"] == name:
            return facts["cmd"] == command or facts["qbuf"] != "0"
    return False


class Failover(unittest.TestCase):
    """FAILOVER holds writes back until a replica has everything, whatever clients do."""

    def test_clients_cannot_end_its_pause(self):
        with Group("oo", *QUIET) as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            os.kill(replica.pid, signal.SIGSTOP)
            try:
                primary.do("SET", "a", 1)
                self.assertEqual(primary.do("FAILOVER"), "OK")
                primary.do("CLIENT", "UNPAUSE")
                with primary.connect() as writer:
                    writer.call("CLIENT", "SETNAME", "writer")
                    writer.send_command("SET", "a", 2)
                    wait_until(lambda: has_come(primary, "writer", "set"))
                    self.assertEqual(primary.do("GET", "a"), b"1")
                    primary.do("CLIENT", "PAUSE", 1, "ALL")  # Shorter, and stricter.
                    self.assertEqual(primary.do("GET", "a"), b"1")
                    self.assertEqual(primary.do("FAILOVER", "ABORT"), "OK")
                    self.assertEqual(writer.read(), "OK")
                self.assertEqual(primary.do("GET", "a"), b"2")
            finally:
                os.kill(replica.pid, signal.SIGCONT)
            wait_same_data(primary, replica)

    def test_its_end_leaves_the_pause_of_a_client(self):
        with Group("oo", *QUIET) as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            os.kill(replica.pid, signal.SIGSTOP)
            try:
                primary.do("SET", "a", 1)
                primary.do("CLIENT", "PAUSE", 1000000, "WRITE")
                self.assertEqual(primary.do("FAILOVER"), "OK")
                self.assertEqual(primary.do("FAILOVER", "ABORT"), "OK")
                with primary.connect() as writer:
                    writer.call("CLIENT", "SETNAME", "writer")
                    writer.send_command("SET", "a", 2)
                    wait_until(lambda: has_come(primary, "writer", "set"))
                    self.assertEqual(primary.do("GET", "a"), b"1")
                    primary.do("CLIENT", "UNPAUSE")
                    self.assertEqual(writer.read(), "OK")
            finally:
                os.kill(replica.pid, signal.SIGCONT)
            wait_same_data(primary, replica)

    def test_it_succeeds_while_clients_ask_for_acknowledgements(self):
        is_over = threading.Event()

        def ask(port):
            with Conn(port, timeout=SYNC_SECONDS) as conn:
                while not is_over.is_set():
                    if isinstance(conn.call("WAIT", 2, 20), Error):
                        return  # It has become a replica.

        with Group("oo", *QUIET) as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            askers = [threading.Thread(target=ask, args=(primary.port,), daemon=True)
                      for _ in range(ASKERS)]
            try:
                for asker in askers:
                    asker.start()
                self.assertEqual(primary.do("FAILOVER"), "OK")
                wait_until(lambda: replica.info()["role"] == "master", SYNC_SECONDS)
            finally:
                is_over.set()
            for asker in askers:
                asker.join(SYNC_SECONDS)
            wait_in_sync(replica, primary)

    def test_the_replica_may_have_an_address_with_colons(self):
        with Group("oo", *QUIET) as group:
            primary, replica = group.nodes
            for node in group.nodes:
                if isinstance(node.call("CONFIG", "SET", "bind", "127.0.0.1 ::1"), Error):
                    self.skipTest("no IPv6 here")
            replica.do("REPLICAOF", "::1", primary.port)
            wait_in_sync(primary, replica)
            self.assertEqual(primary.do("FAILOVER", "TO", "::1", replica.port), "OK")
            wait_until(lambda: replica.info()["role"] == "master", SYNC_SECONDS)
            wait_in_sync(replica, primary)
            self.assertEqual(primary.info()["master_host"], "::1")
            self.assertEqual(replica.do("FAILOVER"), "OK")
            wait_until(lambda: primary.info()["role"] == "master", SYNC_SECONDS)
            wait_in_sync(primary, replica)
            self.assertEqual(primary.full_count, 1)


class Waiting(unittest.TestCase):
    def test_who_asks_as_the_role_changes_leaves_nothing_in_the_stream(self):
        """WAIT and REPLICAOF are executed in one turn: a pause has held both back."""
        with Group("ooo", *QUIET) as group:
            primary, replica, below = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            with primary.connect() as waiter, primary.connect() as changer:
                waiter.call("SET", "a", 1)
                primary.do("CLIENT", "PAUSE", 300, "ALL")
                waiter.send_command("WAIT", 2, 0)
                changer.send_command("REPLICAOF", "127.0.0.1", replica.port)
                self.assertEqual(changer.read(), "OK")
                self.assertIn("UNBLOCKED", waiter.read())
            replica.lead()
            wait_in_sync(replica, primary)
            below.follow(primary)
            wait_in_sync(replica, primary, below)
            replica.do("SET", "a", 2)
            wait_same_data(replica, primary, below)
            self.assertEqual(replica.full_count, 0)


if __name__ == "__main__":
    main()
