#!/usr/bin/env python3
"""CLIENT PAUSE did not hold back expiry and eviction: the data set changed while it was to stand
still."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, main, wait_until


def info(conn, field):
    lines = conn.call("INFO", "everything").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)[field]


class PauseLetsKeysGo(Case):
    def test_a_key_that_expires_in_a_pause_is_hidden_and_goes_afterwards(self):
        before = info(self.conn, "expired_keys")
        self.call("SET", "k", "v", "PX", "20")
        self.call("CLIENT", "PAUSE", "60000", "WRITE")
        wait_until(lambda: self.call("GET", "k") is None)
        self.assertEqual(self.call("DBSIZE"), 1)
        self.assertEqual(info(self.conn, "expired_keys"), before)
        self.call("CLIENT", "UNPAUSE")
        wait_until(lambda: self.call("DBSIZE") == 0)

    def test_nothing_is_evicted_in_a_pause(self):
        with self.own_server("--maxmemory-policy", "allkeys-random") as server:
            with server.connect() as conn:
                for number in range(50):
                    conn.call("SET", "k%d" % number, "x" * 100000)
                conn.call("CLIENT", "PAUSE", "60000", "WRITE")
                conn.call("CONFIG", "SET", "maxmemory", "3mb")
                turns = int(info(conn, "total_commands_processed"))
                wait_until(lambda: int(info(conn, "total_commands_processed")) > turns + 200)
                self.assertEqual(info(conn, "evicted_keys"), "0")
                conn.call("CLIENT", "UNPAUSE")
                wait_until(lambda: info(conn, "evicted_keys") != "0")


if __name__ == "__main__":
    main()
