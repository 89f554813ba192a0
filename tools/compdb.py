#!/usr/bin/python3
"""Turns the commands that `make -n` would run into a compilation database for editors.

usage: make -nB ... | tools/compdb.py >compile_commands.json        (or simply: make compdb)"""
import json
import os
import sys


def entries(lines, directory):
    for line in lines:
        words = line.split()
        if "-c" in words and words[-1].endswith(".c"):
            yield {"directory": directory, "file": words[-1], "command": line.strip()}


def joined(text):
    """Lines as the shell sees them: a backslash at the end continues one."""
    return text.replace("\\\n", " ").splitlines()


if __name__ == "__main__":
    json.dump(list(entries(joined(sys.stdin.read()), os.getcwd())), sys.stdout, indent=1)
    print()
