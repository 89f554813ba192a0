"""What a connection can ask about itself and the server, protocol switches and database choices
included."""

ODD = [
    ("SELECT",), ("SELECT", "1", "2"), ("ECHO",), ("ECHO", "a", "b"), ("PING", "a", "b"),
    ("HELLO", "4"),
    ("HELLO", "abc"), ("HELLO", "3", "NOSUCH"), ("HELLO", "3", "SETNAME"),
    ("HELLO", "2", "SETNAME", "a b"),
    ("HELLO", "3", "AUTH", "default"), ("HELLO", "3", "AUTH", "nobody", "x"), ("AUTH",),
    ("AUTH", "secret"),
    ("AUTH", "nobody", "x"), ("AUTH", "a", "b", "c"), ("CLIENT",), ("CLIENT", "NOSUCH"),
    ("CLIENT", "SETNAME"),
    ("CLIENT", "SETNAME", "a b"), ("CLIENT", "REPLY", "MAYBE"), ("CLIENT", "KILL", "ID", "abc"),
    ("CLIENT", "NO-EVICT", "maybe"), ("CLIENT", "UNBLOCK", "x"), ("SWAPDB", "0"),
    ("SWAPDB", "0", "99"),
    ("SWAPDB", "a", "1"), ("SWAPDB", "0", "b"), ("RESET", "x"), ("", "x"), ("GE T",),
    ("SUBSCRIBE",)]

COMMANDS = [
    (6, lambda w: ("PING", *w.one_of([(), (w.value(),)]))),
    (6, lambda w: ("ECHO", w.value())),
    (3, lambda w: ("SELECT", w.below(3))),
    (4, lambda w: ("SELECT", 0)),
    (1, lambda w: ("SELECT", w.one_of([15, 16, -1, b"abc", b"", 1 << 63, b"01"]))),
    (1, lambda w: ("SWAPDB", w.below(3), w.below(3))),
    (2, lambda w: ("CLIENT", "SETNAME", w.one_of([b"worker", b"", b"a-b", b"caf\xc3\xa9",
                                                  b"two words"]))),
    (2, lambda w: ("CLIENT", "GETNAME")),
    (1, lambda w: ("CLIENT", "ID")),
    (1, lambda w: ("CLIENT", "NO-EVICT", w.one_of(["ON", "OFF", "on"]))),
    (1, lambda w: ("HELLO", w.one_of([2, 3]))),
    (1, lambda w: ("HELLO", w.one_of([2, 3]), "SETNAME", "me")),
    (1, lambda w: ("RESET",)),
    (1, lambda w: ("TIME",)),
    (4, lambda w: w.one_of(ODD)),
]
