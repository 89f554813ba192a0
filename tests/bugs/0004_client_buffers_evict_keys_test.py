#!/usr/bin/env python3
"""Memory of clients was counted as data until some later moment, or for ever, and keys were evicted
for it: replies that KEYS collects, replies written within a turn, what MONITOR shows, buffers to
receive into."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, encode, main

KEY = "key:000001:" + "x" * 200


def info(conn, field):
    lines = conn.call("INFO", "everything").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)[field]


class ClientBuffersEvictKeys(Case):
    args = ("--maxmemory-policy", "allkeys-random")

    def fill(self, count, value_len, room):
        """`count` keys, and a limit that leaves `room` bytes."""
        self.call("CONFIG", "SET", "maxmemory", "0")
        self.conn.pipeline([("SET", "key:%06d:" % number + "x" * 200, "v" * value_len)
                            for number in range(count)])
        used = int(info(self.conn, "used_memory"))
        self.call("CONFIG", "SET", "maxmemory", used + room)
        self.call("CONFIG", "RESETSTAT")

    def check_none_evicted(self):
        self.assertEqual(info(self.conn, "evicted_keys"), "0")

    def tearDown(self):
        self.call("CONFIG", "SET", "maxmemory", "0")
        super().tearDown()

    def test_the_reply_of_keys_evicts_none(self):
        self.fill(60000, 1, 3_000_000)
        other = self.connect(timeout=60)
        other.send_command("KEYS", "*")
        for _ in range(500):
            self.call("SET", KEY, "v")
        self.assertEqual(len(other.read()), 60000)
        self.check_none_evicted()

    def test_replies_that_are_not_read_evict_none(self):
        self.fill(3000, 3000, 3_000_000)
        others = [self.connect() for _ in range(3)]
        for other in others:
            other.send(encode("GET", KEY) * 8000)
        for _ in range(500):
            self.call("SET", KEY, "v" * 3000)
        self.check_none_evicted()

    def test_what_monitor_shows_evicts_none(self):
        self.fill(3000, 3000, 3_000_000)
        other = self.connect()
        other.call("MONITOR")
        for _ in range(10):
            self.conn.pipeline([("SET", KEY, "v" * 3000)] * 500)
        self.check_none_evicted()

    def test_buffers_to_receive_into_are_no_data(self):
        others = [self.connect() for _ in range(200)]
        for other in others:
            other.send(b"PING\r\n" * 2000)
        for other in others:
            other.read()
        self.assertLess(int(info(self.conn, "used_memory_dataset")), 1_000_000)


if __name__ == "__main__":
    main()
