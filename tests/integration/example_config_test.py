"""redis.conf.example: it names every directive that exists, with its default, and nothing else."""
import os
import re
import unittest

from harness import Server, main

EXAMPLE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "redis.conf.example")
# Second names of directives, which CONFIG GET shows beside the first.
SECOND_NAMES = re.compile(r"slave|ziplist|^lua-time-limit$")
# What the harness sets for every server.
OWN = {"port", "bind", "dir", "save", "io-engine"}


def example_text():
    with open(EXAMPLE, encoding="utf-8") as file:
        return file.read()


def directives(text):
    return [line.split()[0] for line in text.splitlines() if re.match(r"[a-z]", line)]


def settings(conn):
    words = [word.decode() for word in conn.call("CONFIG", "GET", "*")]
    return dict(zip(words[::2], words[1::2]))


class Example(unittest.TestCase):
    def test_it_names_every_directive_once(self):
        with Server() as server, server.connect() as conn:
            known = {name for name in settings(conn) if not SECOND_NAMES.search(name)}
        named = directives(example_text())
        self.assertEqual(sorted(named), sorted(set(named)))
        self.assertEqual(set(named), known)

    def test_starting_with_it_is_starting_without(self):
        with Server() as server, server.connect() as conn:
            plain = settings(conn)
        with Server(config=example_text()) as server, server.connect() as conn:
            given = settings(conn)
        for name in OWN:
            plain.pop(name, None)
            given.pop(name, None)
        self.assertEqual(given, plain)


if __name__ == "__main__":
    main()
