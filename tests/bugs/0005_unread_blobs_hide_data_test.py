#!/usr/bin/env python3
"""A large value that waited in many replies was taken off the size of the data set once for each of
them, so that the data could grow far beyond maxmemory."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, encode, main


def info(conn, field):
    lines = conn.call("INFO", "everything").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)[field]


class UnreadBlobsHideData(Case):
    def test_a_value_in_many_replies_is_counted_once(self):
        with self.own_server("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-random") as server:
            with server.connect() as conn:
                conn.call("SET", "big", "x" * 1_000_000)
                others = [server.connect() for _ in range(10)]
                for other in others:
                    other.send(encode("GET", "big") * 50)
                for number in range(150):
                    conn.call("SET", "k%d" % number, "y" * 1_000_000)
                    conn.call("GET", "big")
                self.assertLess(int(info(conn, "used_memory")), 90_000_000)
                for other in others:
                    other.close()

    def test_a_value_that_only_replies_have_is_no_data(self):
        with self.own_server("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-random") as server:
            with server.connect() as conn:
                for number in range(20):
                    conn.call("SET", "k%d" % number, "y" * 1_000_000)
                others = [server.connect() for _ in range(4)]
                for number in range(40):
                    conn.call("SET", "big", "%02d" % number * 500_000)
                    for other in others:
                        other.send(encode("GET", "big"))
                    conn.call("GET", "big")
                self.assertEqual(info(conn, "evicted_keys"), "0")
                for other in others:
                    other.close()


if __name__ == "__main__":
    main()
