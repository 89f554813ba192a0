#!/usr/bin/python3
"""Line coverage of src/, read from what gcov says about a build with FLAVOR=cover.

usage: tools/coverage.py build/cover        (or simply: make cover)

Prints, per file, lines run, lines there are, their share and the ranges of lines that never ran;
the last line is the total. A line that several objects share counts as run when it ran in one of
them."""
import collections
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile


def counts_of(folder):
    """{source file: {line: times run}}."""
    folder = os.path.abspath(folder)
    notes = glob.glob(os.path.join(folder, "**", "*.gcno"), recursive=True)
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    with tempfile.TemporaryDirectory() as scratch:
        command = ["gcov", "--json-format", "--preserve-paths", *notes]
        subprocess.run(command, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=True)
        for path in glob.glob(os.path.join(scratch, "*.gcov.json.gz")):
            with gzip.open(path) as file:
                for source in json.load(file)["files"]:
                    for line in source["lines"]:
                        lines[source["file"]][line["line_number"]] += line["count"]
    return {source: found for source, found in lines.items() if source.startswith("src/")}


def ranges(numbers):
    spans = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return " ".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in spans)


def main():
    run_total = total = 0
    for source, lines in sorted(counts_of(sys.argv[1]).items()):
        missed = sorted(number for number, count in lines.items() if count == 0)
        run = len(lines) - len(missed)
        run_total, total = run_total + run, total + len(lines)
        print("%5d of %5d  %5.1f %%  %s  %s" % (run, len(lines), 100 * run / len(lines), source,
                                                ranges(missed)))
    print("%5d of %5d  %5.1f %%  of all lines" % (run_total, total,
                                                  100 * run_total / max(total, 1)))


if __name__ == "__main__":
    main()
