"""Expiry: conditions, units, and keys that go when their time has come."""
import time

from harness import Case, main, wait_until

NOT_WITH_NX = "ERR NX and XX, GT or LT options at the same time are not compatible"


class Expire(Case):
    def setUp(self):
        super().setUp()
        self.call("SET", "k", "v")

    def test_units_and_forms_agree(self):
        now = int(time.time())
        self.assertEqual(self.call("EXPIRE", "k", "100"), 1)
        self.assertEqual(self.call("TTL", "k"), 100)
        self.assertEqual(self.call("PEXPIRE", "k", "200000"), 1)
        self.assertEqual(self.call("TTL", "k"), 200)
        self.assertEqual(self.call("EXPIREAT", "k", now + 1000), 1)
        self.assertEqual(self.call("EXPIRETIME", "k"), now + 1000)
        self.assertEqual(self.call("PEXPIREAT", "k", now * 1000 + 2000000), 1)
        self.assertEqual(self.call("PEXPIRETIME", "k"), now * 1000 + 2000000)
        self.assertEqual(self.call("PERSIST", "k"), 1)
        self.assertEqual(self.call("PERSIST", "k"), 0)
        self.assertEqual((self.call("TTL", "k"), self.call("PTTL", "none")), (-1, -2))

    def test_conditions(self):
        self.assertEqual(self.call("EXPIRE", "k", "100", "XX"), 0)
        self.assertEqual(self.call("EXPIRE", "k", "100", "GT"), 0)
        self.assertEqual(self.call("EXPIRE", "k", "100", "LT"), 1)
        self.assertEqual(self.call("EXPIRE", "k", "100", "NX"), 0)
        self.assertEqual(self.call("EXPIRE", "k", "200", "GT", "XX"), 1)
        self.assertEqual(self.call("EXPIRE", "k", "300", "LT"), 0)
        self.assertEqual(self.call("TTL", "k"), 200)
        self.assertEqual(self.call("EXPIRE", "k", "1", "NX", "GT"), NOT_WITH_NX)
        self.assertEqual(self.call("EXPIRE", "k", "1", "GT", "LT"),
                         "ERR GT and LT options at the same time are not compatible")
        self.assertEqual(self.call("EXPIRE", "k", "1", "SOON"), "ERR Unsupported option SOON")

    def test_a_moment_that_has_passed_removes_at_once(self):
        for words in (("EXPIRE", "k", "-1"), ("EXPIRE", "k", "0"), ("PEXPIREAT", "k", "1"),
                      ("EXPIREAT", "k", "-5")):
            self.call("SET", "k", "v")
            self.assertEqual(self.call(*words), 1)
            self.assertEqual(self.call("DBSIZE"), 0)

    def test_overflow_is_an_error(self):
        self.assertEqual(self.call("EXPIRE", "k", 2 ** 63 - 1), "ERR invalid expire time in 'expire' command")
        self.assertEqual(self.call("PEXPIRE", "k", 2 ** 63 - 1), "ERR invalid expire time in 'pexpire' command")
        self.assertEqual(self.call("EXPIRE", "k", -2 ** 63), "ERR invalid expire time in 'expire' command")


class Time(Case):
    def test_keys_go_when_nobody_looks(self):
        for n in range(100):
            self.call("SET", "k%d" % n, "v")
        self.assertEqual(self.call("DBSIZE"), 100)
        for n in range(100):
            self.assertEqual(self.call("PEXPIRE", "k%d" % n, "30"), 1)
        wait_until(lambda: self.call("DBSIZE") == 0, what="all keys expired")

    def test_an_expired_key_is_never_seen(self):
        self.call("SET", "k", "v", "PX", "20")
        wait_until(lambda: self.call("GET", "k") is None, what="the key expired")
        self.assertEqual(self.call("EXISTS", "k"), 0)
        self.assertEqual(self.call("TTL", "k"), -2)
        self.assertEqual(self.call("SETNX", "k", "w"), 1)

    def test_every_change_of_the_whole_value_drops_the_expiry(self):
        for words in (("SET", "k", "new"), ("GETSET", "k", "new"), ("MSET", "k", "new")):
            self.call("SET", "k", "v", "EX", "100")
            self.call(*words)
            self.assertEqual(self.call("TTL", "k"), -1)


if __name__ == "__main__":
    main()
