#!/usr/bin/env python3
"""BITPOS and BITCOUNT of an empty string read the byte behind it, and told what they saw there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Case, main


class EmptyBitmap(Case):
    def test_an_empty_string_has_no_bits(self):
        # Keys of several lengths: the byte behind differs.
        for key in ("k", "k" * 20, "k" * 700):
            self.call("SET", key, "")
            for bit in (0, 1):
                for bounds in ((), (0,), (0, -1), (0, 0), (-1, -1), (-9, 9), (0, -1, "BIT")):
                    self.assertEqual(self.call("BITPOS", key, bit, *bounds), -1)
            for bounds in ((), (0, -1), (0, 0), (-9, 9), (0, -1, "BIT")):
                self.assertEqual(self.call("BITCOUNT", key, *bounds), 0)


if __name__ == "__main__":
    main()
