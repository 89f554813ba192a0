#!/usr/bin/python3
"""Runs one file of node tests against a server of its own and tells the outcome as every test here
does.

usage: run_node.py FILE.test.mjs

A file named sentinel* gets three nodes that Sentinels watch instead of one server. node's own test runner speaks TAP; its lines become `ok NAME`, `FAILED NAME`, and the totals."""
import contextlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Server, finish  # noqa: E402
from sentinels import NAME, Watched  # noqa: E402

FILE_SECONDS = 200
POINT = re.compile(r"^\s*(not )?ok \d+ - (.*?)( # (SKIP)\b(.*))?$")


def lines_of_tests(tap):
    """(verdict, name) of each test; the point of the file itself, which sums up others, is left
    out."""
    for line in tap.splitlines():
        point = POINT.match(line)
        if point is None or point.group(2).endswith(".test.mjs"):
            continue
        verdict = "skipped" if point.group(4) else "FAILED" if point.group(1) else "ok"
        yield verdict, point.group(2) + (point.group(5) or "")


def failures(tap):
    """What node says about the tests that failed: each from its `not ok` to the end of its
    block."""
    blocks = re.findall(r"^\s*not ok .*\n(?:\s*---\n(?:.*\n)*?\s*\.\.\.\n)?", tap, re.M)
    return "".join(blocks) or tap


@contextlib.contextmanager
def servers_for(file):
    """What the file's tests talk to: the environment that tells of it."""
    if os.path.basename(file).startswith("sentinel"):
        with Watched("ooo") as watched:
            primary = watched.primary
            yield {"OURO_SENTINELS": ",".join(str(one.port) for one in watched.sentinels),
                   "OURO_SENTINEL_NAME": NAME, "OURO_PRIMARY_PID": str(primary.pid)}
            primary.kill()  # The tests have done it; this takes notice.
        return
    with Server() as server:
        yield {"OURO_PORT": str(server.port)}
        server.check_alive()


def main():
    with servers_for(sys.argv[1]) as settings:
        environment = dict(os.environ, NODE_NO_WARNINGS="1", **settings)
        command = ["node", "--test", "--test-reporter=tap", sys.argv[1]]
        ended = subprocess.run(command, env=environment, text=True, errors="replace",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=FILE_SECONDS, check=False)
    verdicts = list(lines_of_tests(ended.stdout))
    for verdict, name in verdicts:
        print("%s %s" % (verdict, name))
    count = {word: sum(verdict == word for verdict, _ in verdicts)
             for word in ("ok", "FAILED", "skipped")}
    failed = count["FAILED"]
    if ended.returncode != 0 or not verdicts:
        print(failures(ended.stdout))
        failed = max(failed, 1)
    finish(count["ok"], failed, count["skipped"])


if __name__ == "__main__":
    main()
