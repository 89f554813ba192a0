"""DUMP and RESTORE: payloads travel between Ouro and redis-server in both directions."""
import random
import struct

from harness import Case, Server, main

READ = {"string": ("GET",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",), "hash": ("HGETALL",),
        "zset": ("ZRANGE", 0, -1, "WITHSCORES"), "stream": ("XINFO", "STREAM")}


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
    fill_streams(call, texts)
    call("ZADD", "zset:long", *[word for n in range(1000) for word in (n / 7, "member:%d" % n)])


def fill_streams(call, texts):
    """Nodes with shared fields and without, holes, tombstones, groups with and without an owner."""
    for number in range(300):
        fields = ("f", number) if number % 7 else ("f", number, "g%d" % number, "x")
        call("XADD", "stream:long", "%d-%d" % (1700000000000 + number * 37, number), *fields)
    for number, text in enumerate(texts):
        call("XADD", "stream:texts", "5-%d" % (number + 1), text, text, "same", text)
    call("XADD", "stream:ids", "1-18446744073709551615", "a", 1)
    call("XADD", "stream:ids", "18446744073709551615-3", "a", 2)
    call("XDEL", "stream:long", *["%d-%d" % (1700000000000 + number * 37, number) for number in (0, 5, 150, 299)])
    call("XGROUP", "CREATE", "stream:long", "readers", "0")
    call("XGROUP", "CREATE", "stream:long", "idle", "$", "ENTRIESREAD", 7)
    for consumer, count in (("ann", 20), ("bob", 5), ("ann", 5)):
        call("XREADGROUP", "GROUP", "readers", consumer, "COUNT", count, "STREAMS", "stream:long", ">")
    call("XGROUP", "CREATECONSUMER", "stream:long", "readers", "lazy")
    call("XDEL", "stream:long", "%d-%d" % (1700000000000 + 10 * 37, 10))
    call("XGROUP", "CREATE", "stream:empty", "only", "0", "MKSTREAM")
    call("XADD", "stream:gone", "7-7", "a", "b")
    call("XTRIM", "stream:gone", "MAXLEN", 0)


def stream_content(call, key):
    """All that a dump keeps: times of activity are not in the form of Redis 7.0."""
    def kept(value):
        if not isinstance(value, list):
            return value
        items = iter(value)
        result = []
        for item in items:
            if item in (b"active-time", b"radix-tree-keys", b"radix-tree-nodes"):
                next(items)
            else:
                result.append(kept(item))
        return result
    return "stream", kept(call("XINFO", "STREAM", key, "FULL", "COUNT", 0))


def content(call, key):
    kind = call("TYPE", key)
    if kind == "stream":
        return stream_content(call, key)
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


def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def payload_of(kind, data, version=12):
    payload = bytes([kind]) + data + struct.pack("<H", version)
    return payload + struct.pack("<Q", crc64(payload))


LATER = 4102444800000  # 2100-01-01, in the payloads below too.
BYTES = struct.pack("<Q", LATER)

# What Redis 6.2 and 7.4 wrote: type, bytes, the kind and the content.
WRITTEN = [
    (11, "0e0200000003000000010002000300", "set", [b"1", b"2", b"3"]),
    (11, "1004000000020000000100000070110100", "set", [b"1", b"70000"]),
    (11, "1808000000020000000100000000000000ffe30b5402000000", "set", [b"1", b"9999999999"]),
    (18, "010213130000000500816102816202010102010301ff", "list", [b"a", b"b", b"1", b"2", b"3"]),
    (14, "01171700000014000000050000016103016203f202f302f4ff", "list", [b"a", b"b", b"1", b"2", b"3"]),
    (17, "1d1d0000000600816302842d696e6605816102010181620283322e3504ff", "zset",
     [b"c", b"-inf", b"a", b"1", b"b", b"2.5"]),
    (12, "21210000001b000000060000016303042d696e6606016103f20201620303322e35ff", "zset",
     [b"c", b"-inf", b"a", b"1", b"b", b"2.5"]),
    (16, "121200000004008166028176028167020c01ff", "hash", [(b"f", b"v"), (b"g", b"12")]),
    (13, "1616000000130000000400000166030176030167" "03fdff", "hash", [(b"f", b"v"), (b"g", b"12")]),
]

# The same hash as candidates of 7.4 and 7.4 wrote it: a 1 with a moment, b 2 without.
TRIPLES = b"\x1d\x1d\0\0\0\x06\0\x81a\x02\x01\x01\xf4" + BYTES + b"\x09\x81b\x02\x02\x01\x00\x01\xff"
VOLATILE = [
    (22, b"\x02\x81" + BYTES[::-1] + b"\x01a\x011\x00\x01b\x012"),
    (23, TRIPLES),
    (24, BYTES + b"\x02\x01\x01a\xc0\x01\x00\x01b\xc0\x02"),
    (25, BYTES + TRIPLES),
]


class Versions(Case):
    def test_payloads_of_redis_six_to_seven_four_are_read(self):
        for kind, data, name, wanted in WRITTEN:
            payload = payload_of(kind, bytes.fromhex(data), 9)
            self.assertEqual(self.call("RESTORE", "k", 0, payload, "REPLACE"), "OK", kind)
            self.assertEqual(content(self.call, "k"), (name, wanted), kind)


class Moments(Case):
    def setUp(self):
        super().setUp()
        self.needs_command("HPEXPIRE")

    def test_a_set_as_a_listpack_is_read(self):
        payload = payload_of(20, bytes.fromhex("10100000000300816102816202816302ff"), 11)
        self.assertEqual(self.call("RESTORE", "k", 0, payload), "OK")
        self.assertEqual(content(self.call, "k"), ("set", [b"a", b"b", b"c"]))

    def test_fields_keep_their_moments(self):
        for entries in (512, 1, 0):
            self.call("CONFIG", "SET", "hash-max-listpack-entries", entries)
            for kind, data in VOLATILE:
                payload = payload_of(kind, data)
                self.assertEqual(self.call("RESTORE", "k", 0, payload, "REPLACE"), "OK", kind)
                self.assertEqual(content(self.call, "k"), ("hash", [(b"a", b"1"), (b"b", b"2")]))
                self.assertEqual(self.call("HPEXPIRETIME", "k", "FIELDS", 2, "a", "b"), [LATER, -1])
        self.call("CONFIG", "SET", "hash-max-listpack-entries", 512)
        self.assertEqual(self.call("DUMP", "k"), payload_of(*VOLATILE[2]))

    def test_a_dump_has_the_lowest_version_that_can_carry_it(self):
        self.call("HSET", "h", "a", "1")
        plain = self.call("DUMP", "h")
        self.assertEqual(plain[-10:-8], b"\x0a\x00")
        self.call("HPEXPIREAT", "h", LATER, "FIELDS", 1, "a")
        self.assertEqual(self.call("DUMP", "h"), payload_of(24, BYTES + b"\x01\x01\x01a\xc0\x01"))
        self.call("HPERSIST", "h", "FIELDS", 1, "a")
        self.assertEqual(self.call("DUMP", "h"), plain)

    def test_many_moments_survive_a_dump_in_both_encodings(self):
        for count in (100, 2000):
            fields = ["f%d" % n for n in range(count)]
            self.call("HSET", "h", *[word for field in fields for word in (field, "v")])
            for n in range(0, count, 3):
                self.call("HPEXPIREAT", "h", LATER + n * n, "FIELDS", 1, fields[n])
            moments = self.call("HPEXPIRETIME", "h", "FIELDS", count, *fields)
            self.assertEqual(self.call("RESTORE", "copy", 0, self.call("DUMP", "h")), "OK")
            self.assertEqual(self.call("HPEXPIRETIME", "copy", "FIELDS", count, *fields), moments)
            self.assertEqual(content(self.call, "copy"), content(self.call, "h"))
            self.call("DEL", "h", "copy")

    def test_fields_whose_time_is_over_go_after_restoring(self):
        past = struct.pack("<Q", 1000)
        payload = payload_of(24, past + b"\x02\x01\x01a\x011\x00\x01b\x012")
        self.assertEqual(self.call("RESTORE", "k", 0, payload), "OK")
        self.assertEqual(content(self.call, "k"), ("hash", [(b"b", b"2")]))
        payload = payload_of(24, past + b"\x01\x01\x01a\x011")
        self.assertEqual(self.call("RESTORE", "gone", 0, payload), "OK")
        self.assertEqual(self.call("EXISTS", "gone"), 0)


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
