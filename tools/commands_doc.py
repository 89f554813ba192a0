#!/usr/bin/python3
"""Writes docs/commands.md from what the running server says about its commands, which is what their
rows say.

usage: tools/commands_doc.py build/ouro-server >docs/commands.md        (or simply: make docs)"""
import collections
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests",
                                "integration"))

from harness import Server  # noqa: E402

INTRODUCTION = """# Commands

Made by `make docs` from the commands' own rows; `COMMAND DOCS` tells the same to clients. Arity
counts the name itself; a negative arity is a minimum. """


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2])) if isinstance(flat, list) else flat


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value or "")


def rows(name, documentation, infos):
    """(group, line of the table) of a command and of each of its subcommands."""
    fields = pairs(documentation)
    info = infos.get(name, [None] * 3)
    flags = ", ".join(sorted(text(flag) for flag in info[2] or []))
    cells = (name.upper().replace("|", " "), info[1], text(fields.get(b"since")), flags,
             text(fields.get(b"summary")).replace("|", "\\|"),
             text(fields.get(b"complexity")).replace("|", "\\|"))
    yield text(fields.get(b"group")), "| %s | %s | %s | %s | %s | %s |" % cells
    for sub, inner in pairs(fields.get(b"subcommands", [])).items():
        yield from rows(text(sub), inner, infos)


def all_infos(listed):
    infos = {}
    for info in listed:
        infos[text(info[0])] = info
        infos.update((text(sub[0]), sub) for sub in (info[9] if len(info) > 9 else []))
    return infos


def main():
    with Server(binary=os.path.abspath(sys.argv[1])) as server, server.connect() as conn:
        infos = all_infos(conn.call("COMMAND"))
        documentation = pairs(conn.call("COMMAND", "DOCS"))
    groups = collections.defaultdict(list)
    for name, fields in documentation.items():
        for group, row in rows(text(name), fields, infos):
            groups[group].append(row)
    print(INTRODUCTION)
    for group in sorted(groups):
        print("## %s\n" % (group or "other").replace("-", " ").capitalize())
        print("| command | arity | since | flags | what it does | cost |")
        print("|---|---|---|---|---|---|")
        print("\n".join(sorted(groups[group])) + "\n")


if __name__ == "__main__":
    main()
