"""SORT: small and long, by other keys, stored, and while others write."""
import random

from harness import Case, main


class Small(Case):
    def test_by_and_get_read_keys_and_fields(self):
        self.call("RPUSH", "ids", 3, 1, 2)
        for number, name in ((1, "one"), (2, "two"), (3, "three")):
            self.call("SET", "name_%d" % number, name)
            self.call("HSET", "user_%d" % number, "rank", 10 - number, "name", name)
        self.assertEqual(self.call("SORT", "ids"), [b"1", b"2", b"3"])
        self.assertEqual(self.call("SORT", "ids", "BY", "user_*->rank", "GET", "#", "GET", "name_*"),
                         [b"3", b"three", b"2", b"two", b"1", b"one"])
        self.assertEqual(self.call("SORT", "ids", "BY", "name_*", "ALPHA", "GET", "user_*->name", "DESC"),
                         [b"two", b"three", b"one"])
        self.assertEqual(self.call("SORT", "ids", "BY", "nosort", "GET", "absent_*"), [None, None, None])

    def test_what_is_no_number_is_refused(self):
        self.call("RPUSH", "l", "1", "x")
        self.assertEqual(self.call("SORT", "l"), "ERR One or more scores can't be converted into double")
        self.assertEqual(self.call("SORT", "l", "ALPHA"), [b"1", b"x"])

    def test_the_result_may_be_stored(self):
        self.call("SADD", "s", 5, 3, 4)
        self.assertEqual(self.call("SORT", "s", "STORE", "to"), 3)
        self.assertEqual(self.call("LRANGE", "to", 0, -1), [b"3", b"4", b"5"])
        self.assertEqual(self.call("SORT", "absent", "STORE", "to"), 0)
        self.assertEqual(self.call("EXISTS", "to"), 0)
        self.assertEqual(self.call("SORT_RO", "s", "STORE", "to"), "ERR syntax error")


class Long(Case):
    COUNT = 50000

    def setUp(self):
        super().setUp()
        self.numbers = list(range(self.COUNT))
        random.Random(1).shuffle(self.numbers)
        self.call("DEL", "l")
        for start in range(0, self.COUNT, 5000):
            self.call("RPUSH", "l", *self.numbers[start:start + 5000])

    def test_a_long_list_is_ordered(self):
        self.assertEqual(self.call("SORT", "l"), [b"%d" % number for number in range(self.COUNT)])
        self.assertEqual(self.call("SORT", "l", "DESC", "LIMIT", 10, 3),
                         [b"%d" % (self.COUNT - 11 - n) for n in range(3)])
        texts = sorted(b"%d" % number for number in self.numbers)
        self.assertEqual(self.call("SORT", "l", "ALPHA"), texts)
        self.assertEqual(self.call("SORT", "l", "BY", "nosort", "LIMIT", 5, 5),
                         [b"%d" % number for number in self.numbers[5:10]])
        self.assertEqual(self.call("SORT", "l", "STORE", "to"), self.COUNT)
        self.assertEqual(self.call("LINDEX", "to", 777), b"777")

    def test_others_go_on_meanwhile_and_the_result_is_of_one_moment(self):
        with self.connect() as slow, self.connect() as other:
            slow.send_command("SORT", "l")
            for _ in range(50):
                other.call("LMOVE", "l", "l", "LEFT", "RIGHT")
            result = slow.read()
            self.assertEqual(result, [b"%d" % number for number in range(self.COUNT)])
            slow.send_command("SORT", "l", "ALPHA")
            other.call("DEL", "l")
            self.assertIn(len(slow.read()), (0, self.COUNT))

    def test_a_client_may_leave_in_the_middle(self):
        for _ in range(10):
            with self.connect() as slow:
                slow.send_command("SORT", "l")
                self.call("PING")
        self.assertEqual(self.call("PING"), "PONG")


if __name__ == "__main__":
    main()
