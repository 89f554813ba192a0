"""Lists: their ends, their middle, from one to another, sorted."""


def elements(w):
    return [w.value() for _ in range(1 + w.below(5))]


def push(w):
    name = w.one_of(["LPUSH", "RPUSH", "RPUSH", "LPUSHX", "RPUSHX"])
    if w.chance(0.1):
        return (name, w.key(), *[w.one_of(["a", "b", b"%d" % w.below(9)]) for _ in range(w.below(300) + 1)])
    return (name, w.key(), *elements(w))


def pop(w):
    words = [w.one_of(["LPOP", "RPOP"]), w.key()]
    if w.chance(0.4):
        words.append(w.one_of([0, 1, 2, 5, 100]) if w.chance(0.9) else w.integer())
    return tuple(words)


def lpos(w):
    words = ["LPOS", w.key(), w.one_of(["a", "b", "3"]) if w.chance(0.5) else w.value()]
    if w.chance(0.4):
        words += [w.letter_case("RANK"), w.one_of([1, 2, -1, -2, 0, "x"])]
    if w.chance(0.4):
        words += [w.letter_case("COUNT"), w.one_of([0, 1, 3, -1])]
    if w.chance(0.3):
        words += [w.letter_case("MAXLEN"), w.one_of([0, 1, 3, 100, -1])]
    return tuple(words)


def end(w):
    return w.letter_case(w.one_of(["LEFT", "RIGHT"])) if w.chance(0.97) else "MIDDLE"


def lmpop(w):
    keys = w.keys()
    count = len(keys) if w.chance(0.95) else w.one_of([0, -1, "x", 9])
    words = ["LMPOP", count, *keys, end(w)]
    if w.chance(0.5):
        words += [w.letter_case("COUNT"), w.one_of([1, 2, 10, 0, "x"])]
    return tuple(words)


def linsert(w):
    return ("LINSERT", w.key(), w.one_of(["BEFORE", "after", "AFTER", "x"]), w.one_of(["a", "b", "3", "zz"]),
            w.value())


def sort(w):
    name = w.one_of(["SORT", "SORT", "SORT_RO"])
    words = [name, w.key()]
    is_by = w.chance(0.3)
    if is_by:
        words += ["BY", w.one_of(["k*", "k1*", "nosort", "*", "k*->a", "x*y", ""])]
    elif w.chance(0.3):  # With BY, Redis leaves to chance which of equal elements LIMIT cuts off.
        words += ["LIMIT", w.one_of([0, 1, 5, -1, -5]), w.one_of([0, 1, 10, -1])]
    for _ in range(w.below(3) if w.chance(0.3) else 0):
        words += ["GET", w.one_of(["#", "k*", "k1", "k*->a"])]
    if w.chance(0.3):
        words.append(w.letter_case(w.one_of(["ASC", "DESC"])))
    if w.chance(0.7):
        words.append(w.letter_case("ALPHA"))
    if w.chance(0.3) and not is_by:
        words += ["STORE", w.key()]
    if w.chance(0.02):
        words.append("LIMIT")
    return tuple(words)


def copy_by_dump(w):
    return ("DUMP", w.key()) if w.chance(0.3) else ("RESTORE", w.key(), w.ttl_or_odd(), w.value())


COMMANDS = [
    (40, push),
    (15, pop),
    (5, lambda w: ("LLEN", w.key())),
    (15, lambda w: ("LRANGE", w.key(), w.index(), w.index())),
    (3, lambda w: ("LRANGE", w.key(), 0, -1)),
    (10, lambda w: ("LINDEX", w.key(), w.index())),
    (10, lambda w: ("LSET", w.key(), w.index(), w.value())),
    (10, linsert),
    (8, lambda w: ("LREM", w.key(), w.index(), w.one_of(["a", "b", "3"]) if w.chance(0.7) else w.value())),
    (4, lambda w: ("LTRIM", w.key(), w.index(), w.one_of([-1, -1, 100, 5, -2]))),
    (8, lpos),
    (6, lambda w: ("LMOVE", w.key(), w.key(), end(w), end(w))),
    (4, lambda w: ("RPOPLPUSH", w.key(), w.key())),
    (5, lmpop),
    (8, sort),
    (1, copy_by_dump),
    (2, lambda w: ("DEL", *w.keys())),
    (1, lambda w: ("SET", w.key(), w.value())),
    (2, lambda w: ("OBJECT", "ENCODING", w.key())),
]
