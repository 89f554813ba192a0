#!/usr/bin/env python3
"""RESET made a client on the loopback interface a remote one, so that what is allowed to local
clients only was refused to it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, main


class ResetForgetsLocality(Case):
    def test_a_local_client_is_local_after_reset(self):
        with self.own_server("--enable-debug-command", "local") as server:
            with server.connect() as conn:
                self.assertEqual(conn.call("DEBUG", "SLEEP", "0"), "OK")
                self.assertEqual(conn.call("RESET"), "RESET")
                self.assertEqual(conn.call("DEBUG", "SLEEP", "0"), "OK")


if __name__ == "__main__":
    main()
