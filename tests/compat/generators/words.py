"""The vocabulary that generators draw from: keys, values, numbers and times, odd ones included."""

KEYS = [b"k%d" % number for number in range(24)] + [b"", b"a key\r\n", b"\x00\xff",
                                                    b"user:{1}:name"]
DATABASES = 16
FAR_SECONDS = 1000000
SMALL = list(range(-3, 12))
EDGE_INTEGERS = [
    0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 53,
    (1 << 63) - 1, -(1 << 63), 1 << 63, -(1 << 63) - 1, 1 << 64, 10 ** 17, -(10 ** 17)]
ODD_NUMBERS = [
    b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"0x10", b"abc", b"nan", b"inf",
    b"-inf",
    b"1e400", b"-1e-400", b"3.0e0", b"0.1", b"1e-10", b"17179869184.5", b"1_000"]
SHORT = [b"", b"a", b"abc", b"hello world", b"0", b"10", b"-5", b"3.14", b"x" * 44, b"x" * 45,
         b"\x00\x01\x02", b"12345678901234567890", b"9223372036854775807", b"caf\xc3\xa9"]


class Words:
    """Draws words from one seeded generator."""

    def __init__(self, rng):
        self.rng = rng
        self.random = rng.random

    def one_of(self, items):
        return items[int(self.random() * len(items))]

    def chance(self, probability):
        return self.random() < probability

    def below(self, limit):
        return int(self.random() * limit)

    def key(self):
        return KEYS[int(self.random() * len(KEYS))]

    def keys(self, count_max=4):
        return [self.key() for _ in range(1 + self.below(count_max))]

    def value(self):
        draw = self.random()
        if draw < 0.5:
            return self.one_of(SHORT)
        if draw < 0.75:
            return b"%d" % self.integer_in_range()
        if draw < 0.97:
            return self.rng.randbytes(self.below(64))
        return bytes([97 + self.below(26)]) * self.below(20000)

    def integer_in_range(self):
        return self.rng.randint(-1000,
                                1000) if self.chance(0.8) else self.one_of(EDGE_INTEGERS[:16])

    def integer(self):
        """Mostly an integer; now and then one out of range, or something that is none."""
        draw = self.random()
        if draw < 0.6:
            return self.one_of(SMALL)
        if draw < 0.9:
            return self.one_of(EDGE_INTEGERS)
        return self.one_of(ODD_NUMBERS)

    def index(self):
        return self.one_of(SMALL) if self.chance(0.9) else self.integer()

    def decimal(self):
        draw = self.random()
        if draw < 0.4:
            return b"%.2f" % (self.random() * 200 - 100)
        if draw < 0.6:
            return b"%.17g" % (self.random() * 10 ** self.rng.randint(-10, 16))
        return self.integer()

    def ttl_seconds(self):
        return FAR_SECONDS + self.below(1000)

    def ttl_or_odd(self):
        """Seconds or milliseconds from now that are far, past or refused. Far ones are a minute apart, so
        that GT and LT do not depend on when they are compared."""
        draw = self.random()
        if draw < 0.7:
            return FAR_SECONDS * 1000 + self.below(1000) * 60000
        if draw < 0.85:
            return -1 - self.below(1000)
        return self.one_of([0, (1 << 63) - 1, 1 << 63, -(1 << 63), b"abc", b"1.5", b""])

    def pattern(self):
        return self.one_of([b"*", b"k*", b"k1?", b"k[1-3]", b"k[^1]*", b"*:*", b"nothing", b"\\k1",
                            b"", b"k[",
                            b"**1**", b"?"])

    def letter_case(self, word):
        """Options are recognised in any case."""
        return word.lower() if self.chance(0.2) else word
