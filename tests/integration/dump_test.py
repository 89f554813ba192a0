"""DUMP and RESTORE: payloads travel between Ouro and redis-server in both directions."""
import random

from harness import Case, Server, main

READ = {"string": ("GET",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",), "hash": ("HGETALL",),
        "zset": ("ZRANGE", 0, -1, "WITHSCORES")}


def fill(call):
    """Values of every kind, small and large, in every encoding."""
    rng = random.Random(1)
    texts = [b"", b"a", b"12", b"-129", b"70000", b"-2147483649", b"9223372036854775807", b"1.5", b"x" * 63, b"y" * 64,
             b"z" * 300, rng.randbytes(5000), b"w" * 20000]
    for index, text in enumerate(texts):
        call("SET", "string:%d" % index, text)
    call("RPUSH", "list:all", *texts)
    call("RPUSH", "list:long", *range(5000))
    call("SADD", "set:int", 1, -5, 70000)
    call("SADD", "set:int64", 1, 1 << 40)
    call("SADD", "set:text", *texts)
    call("SADD", "set:long", *["member:%d" % number for number in range(1000)])
    call("HSET", "hash:small", "f", "v", "1", "2", "", "empty")
    call("HSET", "hash:long", *[word for n in range(1000) for word in ("field:%d" % n, n)])
    call("HSET", "hash:text", *[word for text in texts for word in (text, text)])
    call("ZADD", "zset:small", 1, "a", -1.5, "b", "inf", "c", "-inf", "d", 3, "7")
    call("ZADD", "zset:long", *[word for n in range(1000) for word in (n / 7, "member:%d" % n)])


def content(call, key):
    kind = call("TYPE", key)
    value = call(*READ[kind][:1], key, *READ[kind][1:])
    if kind == "hash":
        value = value.items() if isinstance(value, dict) else zip(value[::2], value[1::2])
    return kind, sorted(value) if kind in ("set", "hash") else value


class Interchange(Case):
    def carry(self, source, target):
        fill(source)
        keys = sorted(source("KEYS", "*"))
        self.assertGreater(len(keys), 20)
        for key in keys:
            payload = source("DUMP", key)
            self.assertEqual(target("RESTORE", key, 0, payload), "OK", key)
            self.assertEqual(content(target, key), content(source, key))
            self.assertEqual(target("RESTORE", key, 0, payload, "REPLACE"), "OK")

    def test_redis_reads_what_ouro_dumps(self):
        with Server(kind="redis") as redis, redis.connect() as conn:
            self.carry(self.call, conn.call)

    def test_ouro_reads_what_redis_dumps(self):
        for compression in ("yes", "no"):
            with Server("--rdbcompression", compression, kind="redis") as redis, redis.connect() as conn:
                self.call("FLUSHALL")
                self.carry(conn.call, self.call)


class Restore(Case):
    def test_options_and_errors(self):
        self.call("SET", "k", "v")
        payload = self.call("DUMP", "k")
        self.assertEqual(self.call("RESTORE", "k", 0, payload), "BUSYKEY Target key name already exists.")
        self.assertEqual(self.call("RESTORE", "k", -1, payload, "REPLACE"), "ERR Invalid TTL value, must be >= 0")
        self.assertEqual(self.call("RESTORE", "k", "x", payload, "REPLACE"),
                         "ERR value is not an integer or out of range")
        self.assertEqual(self.call("RESTORE", "n", 0, payload[:-1]),
                         "ERR DUMP payload version or checksum are wrong")
        self.assertEqual(self.call("RESTORE", "n", 0, b""), "ERR DUMP payload version or checksum are wrong")
        self.assertEqual(self.call("RESTORE", "n", 0, payload, "IDLETIME", -1),
                         "ERR Invalid IDLETIME value, must be >= 0")
        self.assertEqual(self.call("RESTORE", "n", 0, payload, "FREQ", 256),
                         "ERR Invalid FREQ value, must be >= 0 and <= 255")
        self.assertEqual(self.call("RESTORE", "n", 0, payload, "FREQ", 1, "IDLETIME", 1), "ERR syntax error")
        self.assertEqual(self.call("RESTORE", "n", 100000, payload, "IDLETIME", 1000), "OK")
        self.assertEqual(self.call("TTL", "n"), 100)
        self.assertGreaterEqual(self.call("OBJECT", "IDLETIME", "n"), 1000)
        self.assertEqual(self.call("RESTORE", "n", 1, payload, "REPLACE", "ABSTTL"), "OK")
        self.assertEqual(self.call("EXISTS", "n"), 0)
        self.assertEqual(self.call("DUMP", "n"), None)


if __name__ == "__main__":
    main()
