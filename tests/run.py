#!/usr/bin/python3
"""Finds and runs every test of Ouro, and ends with one line: N passed, N failed.

usage: tests/run.py [--only WORD[,WORD...]] [--engine auto|uring|epoll] [--flavor asan] [--list]

A job is one program: a unit test's binary, a test file, a check. Jobs and what they need:

    check/*          format, layers, tidy, globals, lint, compilers: one make goal and case each
    unit/ model/ sim/    C programs, built with the sanitizers, and again with tiny limits (hostile)
    fuzz/*           fuzzers on inputs of their own making: fixed seed, bounded count
    integration/*    tests/integration/*_test.py, on each engine with asan, on one with hostile
    bugs/*           tests/bugs/NNNN_*.py, the same way
    compat/*         the same commands to Ouro and to redis-server; the table of bad inputs
    replication/*    groups of nodes, redis-server among them, and Sentinels: with asan, on one engine
    release/*        tests/release/*_test.py: resident memory, against the release build
    clients/*        real client libraries (node, Python) against the release build

Builds come first, one after the other, each in parallel; then three jobs run at a time. A program
tells its cases as lines `ok NAME` and `FAILED NAME` and its totals as a last line `N passed, N
failed`, with `, N skipped` behind it where some were; one that crashes or runs out of time adds a
failed case. The totals at the end are the sums. Every job has a time limit; a job that exceeds it
is ended with its whole process group, and servers die with the test that started them.

The random tests take their seed from OURO_SEED; it is 1 when unset, so that a plain run repeats.
"""
import argparse
import collections
import concurrent.futures
import ctypes
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = sys.executable
WORKERS = 3  # One more than most machines of CI have cores: some wait more than they work.
TAIL_LINES = 60
FUZZ_COUNT = 500
DIFFERENTIAL_COUNT = 500000
STREAM_COUNT = 60000
TOTALS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")
SECONDS = {"check": 900, "build": 900, "unit": 240, "model": 240, "sim": 300, "fuzz": 240,
           "integration": 300, "bugs": 120, "compat": 240, "clients": 240,
           "release": 240, "replication": 300}

Job = collections.namedtuple("Job", "name command environment needs")
Result = collections.namedtuple("Result", "passed failed skipped output seconds")


def family(job):
    return job.name.split("/", 1)[0]


# ----------------------------------------------------------------------------------------- the jobs


def make(*words):
    return ["make", "--no-print-directory", *words]


def found(pattern):
    return sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, pattern)))


def server_path(flavor):
    folder = "build" if flavor == "release" else "build/" + flavor
    return os.path.join(ROOT, folder, "ouro-server")


def check_jobs():
    goals = (("lint", "lint"), ("compilers", "compilers"), ("globals", "globals"),
             ("format", "check-format"), ("layers", "layers"), ("tidy", "tidy"))
    return [Job("check/" + name, make(goal), {}, ()) for name, goal in goals]


def binary_jobs(flavors):
    """Unit tests, models and simulations."""
    sources = found("tests/unit/*/test_*.c") + found("tests/unit/*/*/test_*.c")
    sources += found("tests/model/*.c") + found("tests/sim/*.c")
    for flavor in flavors:
        for source in sources:
            stem = source[:-len(".c")]
            yield Job("%s %s" % (stem[len("tests/"):], flavor),
                      [os.path.join(ROOT, "build", flavor, stem)], {}, (flavor,))


def fuzz_jobs(flavor):
    for source in found("tests/fuzz/fuzz_*.c"):
        stem = source[:-len(".c")]
        binary = os.path.join(ROOT, "build", flavor, stem)
        command = [binary, str(FUZZ_COUNT), os.environ.get("OURO_SEED", "1")]
        yield Job("%s %s" % (stem[len("tests/"):], flavor), command, {}, (flavor,))


def server_jobs(files, combinations):
    """Integration tests and tests of fixed bugs, for each (flavor, engine)."""
    for flavor, engine in combinations:
        for file in files:
            name = re.sub(r"(_test)?\.py$", "", file[len("tests/"):])
            environment = {"OURO_BINARY": server_path(flavor), "OURO_FLAVOR": flavor,
                           "ENGINE": engine,
                           "PYTHONPATH": os.path.join(ROOT, "tests", "integration")}
            yield Job("%s %s %s" % (name, flavor, engine), [PYTHON, file], environment, (flavor,))


def compat_jobs(flavor, engine):
    settings = {"ENGINE": engine}
    release = dict(settings, OURO_BINARY=server_path("release"))
    checked = dict(settings, OURO_BINARY=server_path(flavor))
    count = str(DIFFERENTIAL_COUNT)
    return [
        Job("compat/differential release " + engine,
            [PYTHON, "tests/compat/differential.py", "--count", count], release, ("release",)),
        Job("compat/scripts %s %s" % (flavor, engine), [PYTHON, "tests/compat/scripts.py"], checked,
            (flavor,)),
        Job("compat/events release " + engine,
            [PYTHON, "tests/compat/events.py", "--count", str(DIFFERENTIAL_COUNT // 4)], release, ("release",)),
        Job("compat/stream release " + engine,
            [PYTHON, "tests/compat/stream.py", "--count", str(STREAM_COUNT)], release, ("release",)),
        Job("compat/crowd %s %s" % (flavor, engine), [PYTHON, "tests/compat/crowd.py"], checked,
            (flavor,)),
        Job("compat/badinputs %s %s" % (flavor, engine),
            [PYTHON, "tests/compat/badinputs.py"], checked, (flavor,)),
    ]


def replication_jobs(flavor, engine):
    environment = {"ENGINE": engine, "OURO_BINARY": server_path(flavor),
                   "PYTHONPATH": os.path.join(ROOT, "tests", "integration")}
    for file in found("tests/replication/*_test.py"):
        name = "replication/%s %s %s" % (os.path.basename(file)[:-len("_test.py")], flavor, engine)
        yield Job(name, [PYTHON, file], environment, (flavor,))


def release_jobs(engine):
    environment = {"ENGINE": engine, "OURO_BINARY": server_path("release"),
                   "PYTHONPATH": os.path.join(ROOT, "tests", "integration")}
    for file in found("tests/release/*_test.py"):
        name = "release/%s release %s" % (os.path.basename(file)[:-len("_test.py")], engine)
        yield Job(name, [PYTHON, file], environment, ("release",))


def client_jobs(engine):
    environment = {"ENGINE": engine, "OURO_BINARY": server_path("release"),
                   "PYTHONPATH": os.path.join(ROOT, "tests", "integration")}
    for file in found("tests/clients/*_test.py"):
        name = "clients/" + os.path.basename(file)[:-len("_test.py")]
        yield Job("%s release %s" % (name, engine), [PYTHON, file], environment, ("release",))
    for file in found("tests/clients/*.test.mjs"):
        name = "clients/" + os.path.basename(file)[:-len(".test.mjs")]
        command = [PYTHON, "tests/clients/run_node.py", file]
        yield Job("%s release %s" % (name, engine), command, environment, ("release", "clients"))


BUILDS = {
    "asan": make("FLAVOR=asan", "-k", "server", "unit-binaries", "fuzz-binaries"),
    "hostile": make("FLAVOR=hostile", "-k", "server", "unit-binaries"),
    "cover": make("FLAVOR=cover", "-k", "server", "unit-binaries", "fuzz-binaries"),
    "release": make("FLAVOR=release", "server"),
    "clients": make("clients"),
}


def build_jobs(jobs):
    needed = {need for job in jobs for need in job.needs}
    parallel = "-j%d" % (os.cpu_count() or 2)
    return [Job("build/" + name, command + [parallel], {}, ()) for name, command in BUILDS.items()
            if name in needed]


def has_uring():
    """Whether this kernel and container let us have a ring: asks for one, as a server would."""
    parameters = ctypes.create_string_buffer(120)
    fd = ctypes.CDLL(None, use_errno=True).syscall(425, 2, parameters)
    if fd < 0:
        return False
    os.close(fd)
    return True


def engines_for(choice):
    if choice != "auto":
        return [choice]
    if has_uring():
        return ["uring", "epoll"]
    print("io_uring is denied here: everything runs on epoll only")
    return ["epoll"]


def all_jobs(options):
    engines = engines_for(options.engine)
    if options.flavor != "asan":
        binaries, combinations = [options.flavor], [(options.flavor, engine) for engine in engines]
        waiting = combinations
    else:
        binaries = ["asan", "hostile"]
        combinations = [("asan", engine) for engine in engines] + [("hostile", engines[0])]
        waiting = [("asan", engines[0]), ("hostile", engines[-1])]
    waiters = found("tests/integration/replication_*_test.py")  # Seconds must pass in many.
    files = found("tests/integration/*_test.py") + found("tests/bugs/*.py")
    # The longest first, so that the last to end is a short one.
    return (check_jobs() + list(server_jobs(waiters, waiting))
            + list(compat_jobs(options.flavor, engines[0]))
            + list(replication_jobs(options.flavor, engines[0]))
            + list(release_jobs(engines[0])) + list(client_jobs(engines[0]))
            + list(server_jobs([file for file in files if file not in waiters], combinations))
            + list(fuzz_jobs(options.flavor)) + list(binary_jobs(binaries)))


def choose(jobs, only):
    words = [word.strip() for word in only.split(",") if word.strip()]
    return [job for job in jobs if not words or any(word in job.name for word in words)]


# ------------------------------------------------------------------------------------- running them


class Runner:
    """Runs jobs in process groups of their own and keeps the totals."""

    def __init__(self):
        self.lock = threading.RLock()
        self.running = {}
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        base = {key: value for key, value in os.environ.items()
                if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
        base.setdefault("OURO_SEED", "1")
        base.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:abort_on_error=0")
        base.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
        base["PYTHONUNBUFFERED"] = "1"
        base["PYTHONDONTWRITEBYTECODE"] = "1"
        self.environment = base

    def run(self, job):
        start = time.monotonic()
        try:
            output, note = self.output_of(job)
        except OSError as error:
            output, note = "", "cannot be run: %s" % error
        result = totals(output, note, family(job), time.monotonic() - start)
        with self.lock:
            self.show(job, result)
        return result

    def output_of(self, job):
        """(what the program printed, what was wrong with its end or None)."""
        process = subprocess.Popen(
            job.command, cwd=ROOT, env={**self.environment, **job.environment}, text=True,
            errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        with self.lock:
            self.running[job.name] = process
        try:
            output, _ = process.communicate(timeout=SECONDS[family(job)])
            note = None if process.returncode == 0 else ending(process.returncode)
        except subprocess.TimeoutExpired:
            end_group(process)
            output, _ = process.communicate()
            note = "not done after %d s" % SECONDS[family(job)]
        finally:
            with self.lock:
                del self.running[job.name]
        return output, note

    def show(self, job, result):
        self.passed += result.passed
        self.failed += result.failed
        self.skipped += result.skipped
        skipped = ", %d skipped" % result.skipped if result.skipped else ""
        print("%-6s %-52s %5d passed, %d failed%s  (%.1f s)" % (
            "FAILED" if result.failed else "ok", job.name, result.passed, result.failed, skipped,
            result.seconds), flush=True)
        if result.failed:
            self.failures.append(job.name)
            told = [line for line in result.output.splitlines() if not line.startswith("ok ")]
            for line in told[-TAIL_LINES:]:
                print("    | " + line)
        sys.stdout.flush()

    def end_all(self):
        with self.lock:
            for process in self.running.values():
                end_group(process)


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def ending(status):
    return "status %d" % status if status > 0 else "ended by " + signal.Signals(-status).name


def totals(output, note, kind, seconds):
    """What a program's last words say; without them its `ok` lines count, or its whole run as one
    case."""
    lines = output.splitlines()
    last = next((match for match in map(TOTALS.match, reversed(lines[-5:])) if match), None)
    if last is not None:
        passed, failed, skipped = (int(number or 0) for number in last.groups())
        failed = max(failed, 1) if note else failed
    else:
        passed = sum(line.startswith("ok ") for line in lines)
        skipped = 0
        failed = 1 if note else 0
        if kind in ("check", "build", "fuzz") and not note:
            passed = 1
        elif not note:
            failed, note = 1, "ended without its totals"
    if note:
        output += "\n" + note
    return Result(passed, failed, skipped, output, seconds)


def run_all(jobs):
    runner = Runner()
    signal.signal(signal.SIGTERM, lambda *_: (runner.end_all(), os._exit(1)))
    try:
        for job in build_jobs(jobs):
            result = runner.run(job)
            # A build is not a test: it counts only when it fails.
            runner.passed -= result.passed
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for future in [pool.submit(runner.run, job) for job in jobs]:
                future.result()
    except KeyboardInterrupt:
        runner.end_all()
        raise
    return runner


def main():
    parser = argparse.ArgumentParser(description="Run Ouro's tests.")
    parser.add_argument("--only", default="",
                        help="run jobs whose name contains one of these words")
    parser.add_argument("--engine", default="auto", choices=("auto", "uring", "epoll"))
    parser.add_argument("--flavor", default="asan", help="the checked build: asan, or cover")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and end")
    options = parser.parse_args()
    jobs = choose(all_jobs(options), options.only)
    if options.list:
        print("\n".join(job.name for job in jobs))
        return
    if not jobs:
        sys.exit("no test's name contains any of: " + options.only)
    start = time.monotonic()
    runner = run_all(jobs)
    print("%d programs in %.0f s, seed %s, %d cases skipped" % (
        len(jobs), time.monotonic() - start, os.environ.get("OURO_SEED", "1"), runner.skipped))
    if runner.failures:
        print("failed: " + ", ".join(runner.failures))
    print("%d passed, %d failed" % (runner.passed, runner.failed), flush=True)
    sys.exit(1 if runner.failed else 0)


if __name__ == "__main__":
    main()
