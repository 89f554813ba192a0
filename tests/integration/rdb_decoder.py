"""A decoder of RDB files that shares nothing with the server: what tests believe files to hold.

    for record in records(data): record.db, .key, .kind, .value, .expire_ms, .type, .start, .end

A value is bytes, a list, a set, a dict of members to scores, or a dict of fields to values; of a hash
with fields that expire, to pairs of value and moment (0: none). Of a stream it is None.
"""
import struct
from collections import namedtuple

Record = namedtuple("Record", "db key kind value expire_ms type start end")


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, count):
        part = self.data[self.at:self.at + count]
        if len(part) != count:
            raise ValueError("the data end at %d" % self.at)
        self.at += count
        return part

    def byte(self):
        return self.take(1)[0]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def length(self):
        head = self.byte()
        if head >> 6 == 0:
            return head
        if head >> 6 == 1:
            return (head & 63) << 8 | self.byte()
        if head == 0x80:
            return self.number(">I")
        if head == 0x81:
            return self.number(">Q")
        raise ValueError("no length at %d" % self.at)

    def text(self):
        head = self.data[self.at]
        if head >> 6 != 3:
            return self.take(self.length())
        self.at += 1
        if head & 63 < 3:
            return b"%d" % self.number("<" + "bhi"[head & 63])
        packed, size = self.length(), self.length()
        return unpack_lzf(self.take(packed), size)


def unpack_lzf(packed, size):
    out, at = bytearray(), 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at:at + control + 1]
            at += control + 1
            continue
        count, distance = control >> 5, (control & 31) << 8
        if count == 7:
            count += packed[at]
            at += 1
        distance |= packed[at]
        at += 1
        for _ in range(count + 2):
            out.append(out[-distance - 1])
    if len(out) != size:
        raise ValueError("unpacked to %d, not %d" % (len(out), size))
    return bytes(out)


def signed(number, bits):
    return number - (1 << bits) if number >> (bits - 1) else number


def listpack(data):
    at, items = 6, []
    while data[at] != 255:
        head, start = data[at], at
        if head < 0x80:
            item, at = b"%d" % head, at + 1
        elif head < 0xc0:
            item, at = data[at + 1:at + 1 + (head & 63)], at + 1 + (head & 63)
        elif head < 0xe0:
            item, at = b"%d" % signed((head & 31) << 8 | data[at + 1], 13), at + 2
        elif head < 0xf0:
            count = (head & 15) << 8 | data[at + 1]
            item, at = data[at + 2:at + 2 + count], at + 2 + count
        elif head == 0xf0:
            count = struct.unpack_from("<I", data, at + 1)[0]
            item, at = data[at + 5:at + 5 + count], at + 5 + count
        else:
            width = {0xf1: 2, 0xf2: 3, 0xf3: 4, 0xf4: 8}[head]
            item, at = b"%d" % int.from_bytes(data[at + 1:at + 1 + width], "little", signed=True), at + 1 + width
        size = at - start
        at += 1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4
        items.append(bytes(item))
    return items


def ziplist(data):
    at, items = 10, []
    while data[at] != 255:
        at += 5 if data[at] == 254 else 1
        head = data[at]
        if head >> 6 < 3:
            if head >> 6 == 0:
                count, at = head & 63, at + 1
            elif head >> 6 == 1:
                count, at = (head & 63) << 8 | data[at + 1], at + 2
            else:
                count, at = struct.unpack_from(">I", data, at + 1)[0], at + 5
            items.append(bytes(data[at:at + count]))
            at += count
            continue
        width = {0xc0: 2, 0xd0: 4, 0xe0: 8, 0xf0: 3, 0xfe: 1}.get(head, 0)
        number = int.from_bytes(data[at + 1:at + 1 + width], "little", signed=True) if width else (head & 15) - 1
        items.append(b"%d" % number)
        at += 1 + width
    return items


def intset(data):
    width, count = struct.unpack_from("<II", data)
    return [b"%d" % number for number in
            struct.unpack_from("<%d%s" % (count, {2: "h", 4: "i", 8: "q"}[width]), data, 8)]


def pairs(items):
    return dict(zip(items[::2], items[1::2]))


def scores(items):
    return {member: float(score) for member, score in pairs(items).items()}


def quicklist(reader, is_second):
    items = []
    for _ in range(reader.length()):
        container = reader.length() if is_second else 0
        node = reader.text()
        items += [node] if container == 1 else listpack(node) if is_second else ziplist(node)
    return items


def text_score(reader):
    size = reader.byte()
    if size >= 253:
        return {253: float("nan"), 254: float("inf"), 255: float("-inf")}[size]
    return float(reader.take(size))


def expiring(reader, has_least):
    base = reader.number("<Q") - 1 if has_least else 0
    fields = {}
    for _ in range(reader.length()):
        ttl = reader.length()
        field = reader.text()
        fields[field] = (reader.text(), ttl + base if ttl else 0)
    return fields


def expiring_pack(reader, has_least):
    if has_least:
        reader.take(8)
    items = listpack(reader.text())
    return {field: (value, int(moment)) for field, value, moment in zip(items[::3], items[1::3], items[2::3])}


def skip_stream(reader, version):
    for _ in range(reader.length()):
        reader.text(), reader.text()
    for _ in range(3 if version == 1 else 8):
        reader.length()
    for _ in range(reader.length()):
        reader.text()
        for _ in range(2 if version == 1 else 3):
            reader.length()
        for _ in range(reader.length()):
            reader.take(24), reader.length()
        for _ in range(reader.length()):
            reader.text()
            reader.take(16 if version == 3 else 8)
            reader.take(16 * reader.length())


def texts(reader):
    return [reader.text() for _ in range(reader.length())]


def flat(reader):
    return [reader.text() for _ in range(2 * reader.length())]


TYPES = {
    0: ("string", Reader.text),
    1: ("list", texts),
    2: ("set", lambda reader: set(texts(reader))),
    3: ("zset", lambda reader: {reader.text(): text_score(reader) for _ in range(reader.length())}),
    4: ("hash", lambda reader: pairs(flat(reader))),
    5: ("zset", lambda reader: {reader.text(): reader.number("<d") for _ in range(reader.length())}),
    10: ("list", lambda reader: ziplist(reader.text())),
    11: ("set", lambda reader: set(intset(reader.text()))),
    12: ("zset", lambda reader: scores(ziplist(reader.text()))),
    13: ("hash", lambda reader: pairs(ziplist(reader.text()))),
    14: ("list", lambda reader: quicklist(reader, False)),
    15: ("stream", lambda reader: skip_stream(reader, 1)),
    16: ("hash", lambda reader: pairs(listpack(reader.text()))),
    17: ("zset", lambda reader: scores(listpack(reader.text()))),
    18: ("list", lambda reader: quicklist(reader, True)),
    19: ("stream", lambda reader: skip_stream(reader, 2)),
    20: ("set", lambda reader: set(listpack(reader.text()))),
    21: ("stream", lambda reader: skip_stream(reader, 3)),
    22: ("expiring", lambda reader: expiring(reader, False)),
    23: ("expiring", lambda reader: expiring_pack(reader, False)),
    24: ("expiring", lambda reader: expiring(reader, True)),
    25: ("expiring", lambda reader: expiring_pack(reader, True)),
}


def records(data):
    """Every key of a file. ValueError or KeyError when it is broken."""
    reader = Reader(data, 9)
    db, expire_ms, start = 0, None, None
    while True:
        begin = reader.at
        opcode = reader.byte()
        start = begin if start is None else start
        if opcode == 0xff:
            return
        if opcode == 0xfc:
            expire_ms = reader.number("<Q")
        elif opcode == 0xfd:
            expire_ms = reader.number("<I") * 1000
        elif opcode == 0xf9:
            reader.byte()
        elif opcode == 0xf8:
            reader.length()
        elif opcode in TYPES:
            key = reader.text()
            kind, decode = TYPES[opcode]
            yield Record(db, key, kind, decode(reader), expire_ms, opcode, start, reader.at)
            expire_ms = start = None
        else:
            start = None
            if opcode == 0xfe:
                db = reader.length()
            elif opcode == 0xfb:
                reader.length(), reader.length()
            elif opcode == 0xfa:
                reader.text(), reader.text()
            elif opcode == 0xf5:
                reader.text()
            elif opcode == 0xf4:
                reader.length(), reader.length(), reader.length()
            else:
                raise ValueError("an unknown opcode %#x at %d" % (opcode, begin))
