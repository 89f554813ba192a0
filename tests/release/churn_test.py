#!/usr/bin/python3
"""Resident memory stays near maxmemory whatever happens to the sizes of values.

Only the release build has the allocator whose pages this is about; others skip it. Nothing depends
on time: the limit is kept by those who write, command by command."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, encode, main

LIMIT = 256 << 20
PIPELINE = 200      # Commands between two looks at the process.
SHARE_MAX = 1.1


class Churn(Case):
    # The tenacity lets a writer take its time, so that none of this depends on time.
    args = ("--maxmemory", LIMIT, "--maxmemory-policy", "allkeys-lru", "--maxmemory-eviction-tenacity", "100")

    def setUp(self):
        super().setUp()
        if self.info("mem_allocator").startswith("libc"):
            self.skipTest("this build has the C library's allocator")
        self.random = random.Random(int(os.environ.get("OURO_SEED", "1")))
        self.count = 0

    def info(self, field):
        lines = self.call("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)[field]

    def write(self, total, size_of):
        """Sets new keys until `total` bytes were written; returns the highest resident share of
        the limit."""
        worst = 0
        while total > 0:
            requests = []
            for _ in range(PIPELINE):
                size = size_of()
                self.count += 1
                requests.append(encode("SET", "key:%012d" % self.count, b"v" * size))
                total -= size + 40
            self.conn.send(b"".join(requests))
            self.assertEqual(self.conn.read_bytes(5 * PIPELINE), b"+OK\r\n" * PIPELINE)
            worst = max(worst, self.server.rss_bytes() / LIMIT)
        return worst

    def test_resident_memory_follows_the_limit_when_sizes_shift(self):
        self.write(LIMIT + LIMIT // 4, lambda: 100)
        for size in (300, 150, 1000):
            worst = self.write(LIMIT // 2, lambda size=size: size)
            self.assertLess(worst, SHARE_MAX, "with values of %d bytes" % size)
        worst = self.write(LIMIT // 2, lambda: self.random.randrange(200, 700))
        self.assertLess(worst, SHARE_MAX, "with values of mixed sizes")
        self.assertGreater(int(self.info("used_memory_dataset")), LIMIT * 0.85)
        self.assertGreater(int(self.info("evicted_keys")), 0)


if __name__ == "__main__":
    main()
