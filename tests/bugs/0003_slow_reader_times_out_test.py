#!/usr/bin/env python3
"""A client that reads a large reply slowly was closed as idle, though bytes were on their way to it
all the time."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import socket
import time

from harness import Case, main


class SlowReaderTimesOut(Case):
    def test_a_client_that_reads_is_not_idle(self):
        size = 40_000_000
        with self.own_server("--timeout", "2") as server, server.connect() as conn:
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            conn.call("SETRANGE", "k", size - 1, "x")
            conn.send_command("GET", "k")
            received, began = 0, time.monotonic()
            while received < size:
                data = conn.socket.recv(400000)
                self.assertTrue(data, "closed after %d bytes" % received)
                received += len(data)
                if time.monotonic() - began < 6:
                    time.sleep(0.05)  # This is what is tested: reading, slowly.


if __name__ == "__main__":
    main()
