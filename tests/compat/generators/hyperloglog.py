"""HyperLogLogs, whose bytes are compared too, and bit fields."""


def pfadd(w):
    return ("PFADD", w.key(), *[w.below(3000) for _ in range(w.below(60))])


def field_type(w):
    return w.one_of([b"u8", b"i8", b"u4", b"i5", b"u63", b"i64", b"u1", b"i16", b"u64", b"i0", b"x", b""])


def field_offset(w):
    return w.one_of([b"#%d" % w.below(40), w.below(400), w.below(400), -1, b"#", b"abc", 1 << 33])


def bitfield(w):
    words = [w.one_of(["BITFIELD", "BITFIELD", "BITFIELD_RO"]), w.key()]
    for _ in range(w.below(4)):
        if w.chance(0.3):
            words += [w.letter_case("OVERFLOW"), w.one_of(["WRAP", "SAT", "FAIL", "fail", "NONE"])]
        name = w.one_of(["GET", "SET", "INCRBY", "get"])
        words += [name, field_type(w), field_offset(w)]
        if name.upper() != "GET":
            words.append(w.integer())
    return tuple(words)


COMMANDS = [
    (10, pfadd),
    (5, lambda w: ("PFCOUNT", *w.keys())),
    (3, lambda w: ("PFMERGE", w.key(), *w.keys())),
    (5, lambda w: ("GET", w.key())),
    (1, lambda w: ("PFDEBUG", w.one_of(["ENCODING", "DECODE", "TODENSE", "other"]), w.key())),
    (8, bitfield),
    (2, lambda w: ("DEL", w.key())),
]
