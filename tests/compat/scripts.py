#!/usr/bin/python3
"""The same scripts to redis-server and to Ouro: the same bytes, errors and their places included.

usage: scripts.py [--count N] [--seed N]

First the cases of scripts.txt, in both protocols. Then N random ones: values that cjson, cmsgpack
and struct turn into bytes and back, texts and bytes that they must refuse, and return values of all
kinds. The seed is OURO_SEED, 1 when unset; a difference is printed as the words that were sent.

What may differ is left out of scripts.txt: numbers by chance, the order of functions in FUNCTION
LIST, and what ends redis-server (error objects without a text, long patterns).
"""
import argparse
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), HERE]

from harness import Server, finish  # noqa: E402

DIFFERENCES_MAX = 10
RANDOM_COUNT = 4000


def cases():
    with open(os.path.join(HERE, "scripts.txt"), encoding="latin-1") as file:
        texts = file.read().split("\n%%\n")
    texts[0] = "\n".join(line for line in texts[0].splitlines()
                         if not line.startswith("#") and line != "%%")
    for text in texts:
        text = text.strip("\n")
        if text.startswith("!"):
            yield tuple(eval(text[1:], {}, {}))  # pylint: disable=eval-used
        elif text:
            yield ("EVAL", text.encode("latin-1"), "0")


# ----------------------------------------------------------------------------------- random scripts


def text(rng):
    alphabet = rng.choice(["ab\"\\/", "abc 123", "\\0\\1\\127\\200\\255", "\\n\\t\\r\\b\\f", "xyz\\195\\169"])
    pieces = alphabet.split("\\")
    parts = [pieces[0]] + ["\\" + piece for piece in pieces[1:] if piece]
    body = "".join(rng.choice(parts) for _ in range(rng.randrange(5)))
    return "'%s'" % body.replace("'", "") if not body.endswith("\\") else "'x'"


def number(rng):
    return rng.choice([
        lambda: str(rng.randrange(-40, 300)),
        lambda: str(rng.randrange(-2 ** 33, 2 ** 33)),
        lambda: str(rng.randrange(-2 ** 53, 2 ** 53)),
        lambda: repr(rng.uniform(-10, 10)),
        lambda: repr(rng.uniform(-1e20, 1e20)),
        lambda: rng.choice(["0", "-0.0", "1e300", "1e-300", "0.1", "100000000000000", "1e15"]),
    ])()


def value(rng, depth=0):
    """A Lua expression. Tables have at most one key that is no index: the order of keys within a
    table is the same in both servers, but depends on more than the table."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return text(rng)
    if kind in (1, 2):
        return number(rng)
    if kind == 3:
        return rng.choice(["true", "false"])
    if kind == 4:
        return rng.choice(["cjson.null", "nil", "{}", "''"])
    if kind == 5:
        return "{[%s] = %s}" % (rng.choice(["'k'", "'key'", "1", "3", "1.5", "'ok'", "'map'"]),
                                value(rng, depth + 1))
    return "{%s}" % ", ".join(value(rng, depth + 1) for _ in range(rng.randrange(4)))


def json_text(rng, depth=0):
    kind = rng.randrange(7 if depth < 4 else 5)
    if kind == 0:
        return rng.choice(['"a"', '"\\\\u00e9"', '"\\\\ud83d\\\\ude00"', '"\\\\n"', '""', '"a\\\\/b"'])
    if kind == 1:
        return rng.choice(["0", "-1", "1.5", "1e3", "-0", "12345678901234567890", "1E-2"])
    if kind < 5:
        return rng.choice(["true", "false", "null"])
    if kind == 5:
        return "[%s]" % ",".join(json_text(rng, depth + 1) for _ in range(rng.randrange(4)))
    return "{%s}" % ",".join('"%s":%s' % (rng.choice("ab"), json_text(rng, depth + 1))
                             for _ in range(rng.randrange(2)))


def broken(rng, word):
    """The text with a byte changed, dropped or added."""
    at = rng.randrange(len(word) + 1)
    return rng.choice([word[:at] + rng.choice('{}[]:,"\\0x+-.eE ') + word[at:], word[:at],
                       word[:at] + word[at + 1:]])


def script_of(rng):
    """(script, arguments)"""
    kind = rng.randrange(9)
    if kind == 0:
        return "return cjson.encode(%s)" % value(rng), ()
    if kind == 1:
        return "return cjson.encode(cjson.decode(ARGV[1]))", (json_text(rng).replace("\\\\", "\\"),)
    if kind == 2:
        return "return cjson.encode(cjson.decode(ARGV[1]))", (
            broken(rng, json_text(rng).replace("\\\\", "\\")),)
    if kind == 3:
        return "return cmsgpack.pack(%s, %s)" % (value(rng), value(rng)), ()
    if kind == 4:
        return "return {cmsgpack.unpack(cmsgpack.pack(%s))}" % value(rng), ()
    if kind == 5:
        data = bytes(rng.choice([rng.randrange(256), rng.randrange(0x80, 0xE0)])
                     for _ in range(rng.randrange(1, 12)))
        return "return {cmsgpack.unpack(ARGV[1])}", (data,)
    if kind == 6:
        letters = [rng.choice(["b", "B", "h", "H", "l", "L", "i3", "I7", "i", "d", "f", "s", "c3", "x",
                               "<", ">", "!4", "!", " ", "T"]) for _ in range(rng.randrange(1, 6))]
        values = [rng.choice([number(rng), "'abcd'"]) if rng.random() < 0.1 else
                  ("'abcd'" if letter[0] in "sc" else str(rng.randrange(-2 ** 31, 2 ** 31)))
                  for letter in letters if letter[0] in "bBhHlLiIdfscT"]
        return "return struct.pack('%s'%s)" % ("".join(letters), "".join(", " + v for v in values)), ()
    if kind == 7:
        data = bytes(rng.randrange(256) for _ in range(rng.randrange(20)))
        letters = "".join(rng.choice(["b", "B", "h", "H", "l", "i3", "I7", "i", "d", "s", "c2", "x", "<",
                                      ">", "!2"]) for _ in range(rng.randrange(1, 5)))
        return ("local t = {struct.unpack('%s', ARGV[1])} "
                "for i = 1, #t do t[i] = tostring(t[i]) end return t" % letters), (data,)
    return "return " + value(rng), ()


# ---------------------------------------------------------------------------------------- comparing


class Comparison:
    def __init__(self, redis, ouro):
        self.servers = (redis, ouro)
        self.passed = self.failed = 0
        self.connect(2)

    def connect(self, protocol):
        self.conns = [server.connect() for server in self.servers]
        for conn in self.conns:
            for words in (("HELLO", str(protocol)), ("FLUSHALL",), ("SCRIPT", "FLUSH"),
                          ("FUNCTION", "FLUSH")):
                conn.call(*words)

    def send(self, words):
        theirs, ours = (conn.raw(*words) for conn in self.conns)
        if theirs == ours:
            self.passed += 1
            return
        self.failed += 1
        if self.failed <= DIFFERENCES_MAX:
            print("FAILED %r\n    redis-server: %r\n    Ouro:         %r" % (words, theirs, ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=RANDOM_COUNT)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("OURO_SEED", "1")))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with Server(kind="redis") as redis, Server() as ouro:
        comparison = Comparison(redis, ouro)
        for protocol in (2, 3):
            comparison.connect(protocol)
            for words in cases():
                comparison.send(words)
        for i in range(options.count):
            if i % 500 == 0:
                comparison.connect(2 + i // 500 % 2)
            script, arguments = script_of(rng)
            comparison.send(("EVAL", script.encode("latin-1"), "0") + arguments)
    print("seed %d" % options.seed)
    finish(comparison.passed, comparison.failed)


if __name__ == "__main__":
    sys.exit(main())
