#!/usr/bin/python3
"""Checks that includes point only where the architecture allows.

The table below is the architecture: each room has a floor and a list of the rooms
that it may include. The rules:

  1. A file may include its own room and the rooms listed for it, nothing else.
  2. A listed room lies on a lower floor. So every chain of includes only descends: there are no
     cycles, and two rooms of one floor cannot see each other, not even through others.
  3. Includes of Ouro's headers are written as paths from src/, and the header exists.
  4. A *_internal.h is included only from its own folder.
  5. Below types/<kind>/ only the header named after the kind, types/<kind>/<kind>.h, is public.

Prints each violation as file:line and ends with 1 when there is one.

usage: check_layers.py [root]        root is the folder that holds src/, default: this one's parent
"""

import re
import sys
from pathlib import Path

ALL = None  # May include every room.

# room: (floor, rooms it may include)
ROOMS = {
    "base": (0, ""),
    "ds": (1, "base"),
    "resp": (1, "base"),
    "ring": (1, "base"),
    "types": (2, "base ds"),
    "keyspace": (3, "base ds types"),
    "exec": (4, "base ds types keyspace resp"),
    "commands": (5, "base ds types keyspace resp exec"),
    "net": (5, "base ds resp ring exec"),
    "persist": (5, "base ds types keyspace resp ring exec"),
    "pubsub": (5, "base ds resp exec"),
    "script": (5, "base ds resp exec"),
    "observe": (5, "base ds resp exec"),
    "repl": (6, "base ds keyspace resp ring exec net persist"),
    "cluster": (6, "base ds types keyspace resp exec net persist"),
    "server": (7, ALL),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def allowed_rooms(room):
    names = ROOMS[room][1]
    return set(ROOMS) if names is ALL else set(names.split()) | {room}


def table_errors():
    """Rule 2 holds for the table itself."""
    for room, (floor, _) in ROOMS.items():
        for other in allowed_rooms(room) - {room}:
            if ROOMS[other][0] >= floor:
                yield f"tools/check_layers.py: {room} may include {other}, which is not below it"


def private_kind_error(path, target):
    """Rule 5: what is inside types/<kind>/ stays there, but for the kind's face."""
    parts = target.parts
    if len(parts) < 3 or parts[0] != "types" or path.parent == target.parent:
        return None
    if target.name == parts[1] + ".h":
        return None
    return f"{target} is private to types/{parts[1]}/"


def include_error(path, kind, name, src):
    """The broken rule of one include, or None. `path` is relative to src/."""
    target = Path(name)
    room = path.parts[0]
    first = target.parts[0]
    if kind == "<":
        return f"<{name}> is Ouro's: write it in quotes" if (src / name).is_file() else None
    if len(target.parts) == 1 or first in ("..", "."):
        return f'"{name}" is not a path from src/'
    if first not in ROOMS:
        return f'"{name}" is in no room'
    if not (src / name).is_file():
        return f'"{name}" does not exist'
    if first not in allowed_rooms(room):
        return f"{room}/ may not include {first}/ ({name})"
    if target.name.endswith("_internal.h") and path.parent != target.parent:
        return f"{name} is internal to {target.parent}/"
    return private_kind_error(path, target)


def file_errors(file, src):
    path = file.relative_to(src)
    shown = f"src/{path}"
    if len(path.parts) < 2 or path.parts[0] not in ROOMS:
        yield f"{shown}:1: is in no room"
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found is None:
            continue
        error = include_error(path, found.group(1), found.group(2), src)
        if error is not None:
            yield f"{shown}:{number}: {error}"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    src = root / "src"
    files = sorted(file for file in src.rglob("*") if file.suffix in (".c", ".h"))
    errors = list(table_errors())
    for file in files:
        errors.extend(file_errors(file, src))
    for error in errors:
        print(error)
    print(f"layers: {len(files)} files, {len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
