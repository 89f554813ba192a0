"""redis-py of the distribution doing what everybody starts with; it speaks RESP2 only."""
import redis

from harness import Case, main

PIPELINE_COMMANDS = 10000
BIG_BYTES = 100 * 1000 * 1000


class Basics(Case):
    def setUp(self):
        super().setUp()
        self.client = redis.Redis(port=self.server.port)
        self.addCleanup(self.client.close)

    def test_it_connects_writes_and_reads(self):
        self.assertTrue(self.client.ping())
        self.assertTrue(self.client.set("text", "héllo", ex=1000))
        self.assertEqual(self.client.get("text").decode(), "héllo")
        self.assertIsNone(self.client.get("missing"))
        self.assertEqual(self.client.incr("count", 5), 5)
        self.assertTrue(990 <= self.client.ttl("text") <= 1000)
        self.assertEqual(self.client.delete("text", "count"), 2)

    def test_ten_thousand_pipelined_commands_stay_in_order(self):
        with self.client.pipeline(transaction=False) as pipeline:
            for number in range(PIPELINE_COMMANDS):
                pipeline.set("n", number, get=True)
            answers = pipeline.execute()
        self.assertEqual(answers, [None] + [b"%d" % number
                                            for number in range(PIPELINE_COMMANDS - 1)])

    def test_a_value_of_100_mb_goes_there_and_back(self):
        value = (b"\x00\r\n0123456789abcdef" * (BIG_BYTES // 19 + 1))[:BIG_BYTES]
        self.assertTrue(self.client.set("big", value))
        self.assertTrue(self.client.get("big") == value)

    def test_errors_become_exceptions_and_the_connection_goes_on(self):
        self.client.set("word", "abc")
        with self.assertRaisesRegex(redis.ResponseError, "value is not an integer"):
            self.client.incr("word")
        with self.assertRaisesRegex(redis.ResponseError, "unknown command"):
            self.client.execute_command("NOSUCH", "a")
        self.assertEqual(self.client.get("word"), b"abc")

    def test_a_name_and_a_database_of_its_own(self):
        other = redis.Redis(port=self.server.port, db=3, client_name="worker")
        self.addCleanup(other.close)
        other.set("k", "three")
        self.assertEqual(other.client_getname(), "worker")
        self.assertIsNone(self.client.get("k"))

    def test_a_scan_sees_every_key(self):
        self.client.mset({"key:%d" % number: number for number in range(1000)})
        self.assertEqual(len(set(self.client.scan_iter(match="key:*", count=50))), 1000)


if __name__ == "__main__":
    main()
