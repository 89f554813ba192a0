"""Places on the globe and searches among them."""

GEO_KEYS = [b"geo0", b"geo1", b"geo2"]
MEMBERS = [b"p%d" % number for number in range(60)] + [b"1", b"22", b""]
UNITS = ["m", "km", "ft", "mi", "M", "KM"]


def key(w):
    return w.one_of(GEO_KEYS) if w.chance(0.93) else w.key()


def point(w):
    draw = w.random()
    if draw < 0.5:
        return b"%.6f" % (w.random() * 360 - 180), b"%.6f" % (w.random() * 170.1 - 85.05)
    if draw < 0.9:
        return b"%.9f" % (w.random() * 2 + 13), b"%.9f" % (w.random() * 2 + 37)
    if draw < 0.95:
        # Near the edges, but never twice the same: the order of equal distances is nobody's promise.
        longitude, latitude = w.one_of([(0, 0), (-179.9, -85), (179.9, 85), (179.999, 10), (-179.999, 10), (0, 84)])
        return b"%.9f" % (longitude + w.random() / 1000), b"%.9f" % (latitude + w.random() / 1000)
    return w.one_of([(181, 0), (0, 86), (b"x", 1), (1, b"nan")])


def geoadd(w):
    words = ["GEOADD", key(w), *w.one_of([(), (), (), ("NX",), ("XX",), ("CH",), ("NX", "XX"), ("nx", "ch")])]
    for _ in range(1 + w.below(20)):
        words += [*point(w), w.one_of(MEMBERS)]
    return tuple(words[:-1] if w.chance(0.02) else words)


def radius(w):
    draw = w.random()
    if draw < 0.7:
        return b"%.3f" % (10 ** (w.random() * 7.5))
    return w.one_of([0, 1, 10, 100, 1000, 20000, 50000, -1, b"x", 100000000])


def options(w):
    words = []
    for option, probability in (("WITHDIST", 0.3), ("WITHCOORD", 0.2), ("WITHHASH", 0.2)):
        if w.chance(probability):
            words.append(option)
    words += plain_options(w)
    return words


def plain_options(w, can_count=True):
    """Which of places that are equally far COUNT takes is left to chance, so what is stored has none."""
    words = list(w.one_of([(), (), ("ASC",), ("DESC",)]))
    if can_count and w.chance(0.3):
        words += ["COUNT", w.one_of([1, 2, 5, 100, 0, -1, b"x"])]
        if w.chance(0.3):
            words.append("ANY")
    elif w.chance(0.02):
        words.append(w.one_of(["ANY", "STORE", "x"]))
    return words


def middle(w):
    if w.chance(0.5):
        return ["FROMMEMBER", w.one_of(MEMBERS)]
    return ["FROMLONLAT", *point(w)]


def shape(w):
    unit = w.one_of(UNITS) if w.chance(0.97) else "x"
    if w.chance(0.5):
        return ["BYRADIUS", radius(w), unit]
    return ["BYBOX", radius(w), radius(w), unit]


def search(w):
    parts = [middle(w), shape(w)]
    if w.chance(0.03):
        parts = parts[:1]
    return [word for part in parts for word in part]


def geosearchstore(w):
    stored = ["STOREDIST"] if w.chance(0.3) else []
    if w.chance(0.03):
        stored.append("WITHDIST")
    return ("GEOSEARCHSTORE", w.one_of([b"geostore", w.key()]), key(w), *search(w), *plain_options(w, False), *stored)


def georadius(w):
    unit = w.one_of(UNITS)
    readonly = "_RO" if w.chance(0.4) else ""
    if w.chance(0.5):
        words = ["GEORADIUS" + readonly, key(w), *point(w), radius(w), unit]
    else:
        words = ["GEORADIUSBYMEMBER" + readonly, key(w), w.one_of(MEMBERS), radius(w), unit]
    if w.chance(0.2):
        words += [*plain_options(w, False), w.one_of(["STORE", "STOREDIST"]), b"geostore"]
    else:
        words += options(w)
    return tuple(words)


def members(w):
    return [w.one_of(MEMBERS) for _ in range(1 + w.below(4))]


COMMANDS = [
    (20, geoadd),
    (8, lambda w: ("GEOPOS", key(w), *members(w))),
    (8, lambda w: ("GEOHASH", key(w), *members(w))),
    (10, lambda w: ("GEODIST", key(w), w.one_of(MEMBERS), w.one_of(MEMBERS), *w.one_of([(), ("km",), ("mi",), ("x",), ("m", "m")]))),
    (50, lambda w: ("GEOSEARCH", key(w), *search(w), *options(w))),
    (12, geosearchstore),
    (25, georadius),
    (5, lambda w: ("ZRANGE", b"geostore", 0, -1, "WITHSCORES")),
    (5, lambda w: ("ZRANGE", key(w), 0, -1, "WITHSCORES")),
    (2, lambda w: ("ZREM", key(w), *members(w))),
    (1, lambda w: ("DEL", key(w))),
    (1, lambda w: ("ZADD", key(w), w.decimal(), w.one_of(MEMBERS))),
]
