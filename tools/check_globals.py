#!/usr/bin/python3
"""Checks that nothing but the known few is a mutable global.

Runs nm on the given objects and archives and reports every symbol in .data, .bss or common storage that
is not on the list below. Constant pointers are no violation: they lie in .data.rel.ro, which is
read-only once the program runs. Function-local statics count too: they are globals with a
narrow name (nm shows them as name.123).

Objects of link-time optimisation hold no sections yet, so give it those of the debug flavor.

usage: check_globals.py object-or-archive...
"""

import os
import re
import subprocess
import sys

# object file's name: symbols that may live there, and why
ALLOWED = {
    "log.o": {"log_sink"},  # The log sink.
    "signals.o": {"signals"},  # What a signal handler, which has no argument, reports on.
    "assert.o": {"assert_hook"},  # Where a failed assertion goes.
    # The allocator's state: its options, read by jemalloc before main, its counters, the place
    # of a query, and the countdown with which tests make it fail.
    "mem.o": {
        "malloc_conf",
        "thread_slots",
        "slot_count",
        "departed",
        "libc_used",
        "fail_countdown",
        "query_path",
        "region_bytes",
    },
    "fiber.o": {"running"},  # The fiber that the thread is on.
    "region.o": {"regions"},  # How many there are, and what a thread is to give back.
}

MUTABLE = frozenset("DdBbCGgSs")
# Symbols that compilers and sanitizers add.
COMPILER = re.compile(r"^(__|\.|_GLOBAL_|asan\.|ubsan|\$)|^completed\.|^\*?\.L|odr_asan")


def symbols(path):
    """Yields (object name, symbol, class letter, section) for each defined symbol."""
    run = subprocess.run(
        ["nm", "--format=sysv", "--defined-only", path], capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise RuntimeError(f"{path}: nm: {run.stderr.strip()}")
    member = os.path.basename(path)
    for line in run.stdout.splitlines():
        head = re.match(r"^Symbols from (.*):$", line)
        if head is not None:
            named = re.search(r"\[([^\]]+)\]$", head.group(1))
            member = os.path.basename(named.group(1) if named else head.group(1))
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 7 and fields[0] != "Name":
            yield member, fields[0], fields[2], fields[6]


def is_mutable(name, letter, section):
    if letter not in MUTABLE or COMPILER.search(name):
        return False
    return not section.startswith((".data.rel.ro", ".rodata", ".tm_clone_table"))


def main():
    if len(sys.argv) < 2:
        print(__doc__.strip().splitlines()[-1], file=sys.stderr)
        return 2
    errors = []
    count = 0
    for path in sys.argv[1:]:
        is_known_lto = False
        for member, name, letter, section in symbols(path):
            count += 1
            is_known_lto = is_known_lto or (letter == "T" and section == "")
            plain = re.sub(r"\.\d+$", "", name)
            if is_mutable(name, letter, section) and plain not in ALLOWED.get(member, ()):
                errors.append(f"{path}({member}): {name} is a mutable global in {section or '?'}")
        if is_known_lto:
            errors.append(f"{path}: holds no code yet (link-time optimisation)")
    for error in errors:
        print(error)
    print(f"globals: {count} symbols, {len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
