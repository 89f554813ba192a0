"""Expiry: never visible after its time, and gone by itself without being asked for."""
import time

from harness import Case, main, wait_until


class Deadlines(Case):
    def test_a_key_is_gone_when_its_time_has_come(self):
        self.call("SET", "k", "v", "PX", 30)
        start = time.monotonic()
        wait_until(lambda: self.call("GET", "k") is None, what="the end of the key")
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(self.call("TTL", "k"), -2)

    def test_keys_vanish_from_memory_without_being_asked_for(self):
        self.conn.pipeline([("SET", "k%d" % n, "v", "PX", 20 + n % 30) for n in range(5000)])
        self.call("SET", "stays", "v")
        wait_until(lambda: self.call("DBSIZE") == 1, what="5000 keys expired")

    def test_a_deadline_in_the_past_deletes_at_once(self):
        for command in (("EXPIRE", "k", -1), ("PEXPIRE", "k", 0), ("EXPIREAT", "k", 1),
                        ("PEXPIREAT", "k", 1)):
            self.call("SET", "k", "v")
            self.assertEqual(self.call(*command), 1)
            self.assertEqual(self.call("EXISTS", "k"), 0)

    def test_conditions_compare_with_the_deadline_there_is(self):
        self.call("SET", "k", "v")
        steps = (("XX", 100, 0), ("GT", 100, 0), ("NX", 100, 1), ("NX", 200, 0), ("GT", 50, 0),
                 ("GT", 200, 1),
                 ("LT", 300, 0), ("LT", 100, 1), ("XX", 500, 1))
        for option, seconds, expected in steps:
            self.assertEqual(self.call("EXPIRE", "k", seconds, option), expected, (option, seconds))
        self.assertTrue(490 < self.call("TTL", "k") <= 500)

    def test_persist_takes_the_deadline_away(self):
        self.call("SET", "k", "v", "EX", 100)
        self.assertEqual(self.call("PERSIST", "k"), 1)
        self.assertEqual(self.call("PERSIST", "k"), 0)
        self.assertEqual(self.call("PTTL", "k"), -1)

    def test_getex_changes_only_the_deadline(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.call("GETEX", "k", "EX", 100), b"v")
        self.assertTrue(90 < self.call("TTL", "k") <= 100)
        self.assertEqual(self.call("GETEX", "k", "PERSIST"), b"v")
        self.assertEqual(self.call("TTL", "k"), -1)

    def test_times_are_told_in_both_units_and_as_a_moment(self):
        self.call("SET", "k", "v", "PXAT", 4102444800123)
        self.assertEqual(self.call("PEXPIRETIME", "k"), 4102444800123)
        self.assertEqual(self.call("EXPIRETIME", "k"), 4102444800)
        self.assertEqual(self.call("EXPIRETIME", "none"), -2)

    def test_a_key_written_anew_forgets_the_old_deadline(self):
        self.call("SET", "k", "old", "PX", 40)
        self.call("SET", "k", "new")
        self.call("SET", "clock", "v", "PX", 60)
        wait_until(lambda: self.call("EXISTS", "clock") == 0, what="the later deadline")
        self.assertEqual(self.call("GET", "k"), b"new")


if __name__ == "__main__":
    main()
