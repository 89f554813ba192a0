"""make bench: every server under the same loads, side by side; tables, verdicts and plots.

Options, as variables of make or of the environment:
    ROUNDS=5            how often each load is run on each server; other commands at most 3 times
    SCALE=1             multiplies operations and keys; 0.01 is a quick run
    SIZES=1000000,...   numbers of keys; the first gets every load, the others the pipelined ones
    ONLY="GET, pipe"    only loads whose title holds this
    SERVERS="uring"     only servers whose name holds one of these (and the floor)
    PEERS="name=command;name=command"   more servers; commands may say {port}, {path} and {dir}
"""
import json
import os

from page import number, preamble, replace_part, table, verdict, whole
from plots import bars
from servers import (FLOOR_NAME, OURO_EPOLL, OURO_URING, ROOT, Failed, chunked, contenders, encode,
                     exit_on_signals, raise_open_files, redis_name, rounds, say, scaled, short)
from speed import Case, above_floor, median, own_share, ratio, run_cases

SIZES = "1000000,7000000,10000000"
SIZE_MAIN = 1000000
NOISE = 0.02  # Ratios closer to 1 than this are not told apart.
RATIO_MOST = {("set", 16, SIZE_MAIN): 1.25, ("get", 16, SIZE_MAIN): 1.25,
              ("set", 1, SIZE_MAIN): 1.03, ("get", 1, SIZE_MAIN): 1.03,
              ("set", 16, 7000000): 1.6, ("get", 16, 7000000): 1.4}
SHARE_MOST = {16: 0.25, 1: 0.06}
ABOVE_MOST = 0.5
RAW = os.path.join(ROOT, "build/bench/speed.json")


def main_cases(sizes):
    cases = [Case(test, pipeline, clients, sizes[0], transport)
             for transport in ("tcp", "unix") for clients in (50, 1000) for pipeline in (16, 1)
             for test in ("set", "get")]
    cases += [Case(test, 16, 50, size) for size in sizes[1:] for test in ("set", "get")]
    return cases


def large_cases(case, size):
    """Whole collections read or combined, and a sorted set of as many members as there are keys."""
    def fields():
        return chunked(1000, lambda n: encode("HSET", "large:hash", "field:%d" % n, "x" * 16))

    def scores():
        return chunked(1000, lambda n: encode("ZADD", "large:zset", n, "member:%d" % n))

    def sets():
        for key, first in (("large:set1", 0), ("large:set2", 50000)):
            yield from chunked(100000, lambda n: encode("SADD", key, "member:%d" % (first + n)))

    def elements():
        return chunked(scaled(size), lambda n: encode("ZADD", "large:board", n * 7919 % size,
                                                      "element:%012d" % n))

    def entries():
        for requests, count in chunked(10000, lambda n: encode("XADD", "large:stream",
                                                               "%d-1" % (n + 1), "field", n)):
            yield requests, 2 * count  # A bulk string is two lines.

    return [
        case("hgetall_1000", count=8000, fill=fields, filled=["large:hash"],
             words=["HGETALL", "large:hash"]),
        case("zrange_1000", count=8000, fill=scores, filled=["large:zset"],
             words=["ZRANGE", "large:zset", "0", "-1"]),
        case("sinter_100000", count=60, pipeline=1, clients=2, fill=sets,
             filled=["large:set1", "large:set2"], words=["SINTER", "large:set1", "large:set2"]),
        case("xread_10", fill=entries, filled=["large:stream"],
             words=["XREAD", "COUNT", "10", "STREAMS", "large:stream", "5000"]),
        case("zadd_1m", fill=elements, filled=["large:board"],
             words=["ZADD", "large:board", "__rand_int__", "element:__rand_int__"]),
    ]


def other_cases(size):
    """What redis-benchmark does to other types, with its own names and value lengths."""
    def case(test, count=300000, **options):
        return Case(test, size=size, count=count, value_len=3, rounds_max=3, **options)
    return large_cases(case, size) + [
        case("ping_mbulk"),
        case("incr"),
        case("mset", count=60000),
        case("lpush", drop="mylist"),
        case("lpop", before=["lpush"]),
        case("lrange_100", count=40000, before=["lpush"], words=["LRANGE", "mylist", "0", "99"]),
        case("lrange_300", count=20000, before=["lpush"], words=["LRANGE", "mylist", "0", "299"]),
        case("sadd"),
        case("spop", before=["sadd"]),
        case("hset"),
        case("zadd"),
        case("zpopmin", before=["zadd"]),
        case("xadd", drop="mystream",
             words=["XADD", "mystream", "*", "field", "__rand_int__"]),
    ]


def names_of(results):
    names = []
    for rows in results.values():
        names += [name for name in rows if name not in names]
    return names


def speed_rows(results, cases):
    rows = []
    for case in cases:
        for name, found in results[case].items():
            if found:
                rows.append([name, whole(median(found, "rps")), number(median(found, "p50"), 3),
                             number(median(found, "p99"), 3), number(median(found, "max"), 3),
                             number(median(found, "cpu_us")), number(ratio(results[case], name)),
                             "" if name == FLOOR_NAME else number(own_share(results[case], name))])
            else:
                rows.append([name] + ["-"] * 7)
    return rows


HEAD = ["", "op/s", "p50 ms", "p99 ms", "max ms", "CPU us/op", "x floor", "own share"]


def speed_part(results, cases):
    lines = []
    for case in cases:
        command = " ".join(case.load_words(None, case.count))
        lines += ["**%s**" % case.title(), "", "`%s`" % command, ""]
        lines += table(HEAD, speed_rows(results, [case]))
    return lines


def plain_cases(mains):
    """The loads that targets are set for, but for their number of keys."""
    return [case for case in mains if case.transport == "tcp" and case.clients == 50]


def target_row(what, figure_now, most, name):
    return [what, name, number(figure_now), "<= " + number(most), verdict(figure_now, most)]


def targets_part(results, mains, others):
    """Every target of speed with what was measured."""
    plain = plain_cases(mains)
    rows = []
    for case in plain:
        most = RATIO_MOST.get((case.test, case.pipeline, case.size))
        if most is not None:
            rows.append(target_row(case.title(), ratio(results[case], OURO_URING), most,
                                   "CPU, x floor"))
    for case in plain:
        if case.size == SIZE_MAIN:
            rows.append(target_row(case.title(), own_share(results[case], OURO_URING),
                                   SHARE_MOST[case.pipeline], "own share, x floor"))
    for case in others:
        if case.test not in ("ping_mbulk", "incr"):
            share = above_floor(results[case], OURO_URING, redis_name())
            rows.append(target_row(case.title(), share, ABOVE_MOST,
                                   "CPU above the floor, x that of %s" % redis_name()))
    return table(["load", "figure of Ouro (uring)", "measured", "target", "verdict"], rows)


def engines_part(results, cases):
    """io_uring against epoll, load by load."""
    rows = []
    for case in cases:
        cpu = ratio(results[case], OURO_URING, OURO_EPOLL)
        rate = ratio(results[case], OURO_URING, OURO_EPOLL, "rps")
        rows.append([case.title(), number(cpu), number(rate), verdict(cpu, 1 + NOISE)])
    return table(["load", "CPU per operation, x epoll", "op/s, x epoll", "not slower"], rows)


def plot(results, mains, others):
    names = names_of(results)

    def series(cases, value, chosen=names):
        return {name: [value(results[case], name) for case in cases] for name in chosen}

    def cpu(found, name):
        return median(found.get(name, []), "cpu_us")

    def rate(found, name):
        value = median(found.get(name, []), "rps")
        return None if value is None else value / 1000

    def label(case):
        return "%s\npipeline %d" % (case.test.upper(), case.pipeline)

    plain = plain_cases(mains)
    small = [case for case in plain if case.size == mains[0].size]
    deep = [case for case in plain if case.pipeline == 16]
    if small:
        size = short(small[0].size)
        bars("cpu", "CPU of the server per operation, %s keys" % size, "microseconds",
             [label(case) for case in small], series(small, cpu))
        bars("floor", "The same as multiples of the floor", "x floor",
             [label(case) for case in small], series(small, ratio),
             [RATIO_MOST.get((case.test, case.pipeline, case.size)) for case in small])
        bars("throughput", "Throughput, %s keys" % size, "thousand operations per second",
             [label(case) for case in small], series(small, rate), digits=0)
    if deep:
        bars("sizes", "CPU by number of keys, pipeline 16", "x floor",
             ["%s\n%s keys" % (case.test.upper(), short(case.size)) for case in deep],
             series(deep, ratio),
             [RATIO_MOST.get((case.test, case.pipeline, case.size)) for case in deep])
    if others:
        bars("others", "CPU of the server per operation, other commands, pipeline 16",
             "microseconds", [case.test.upper().replace("_", "\n") for case in others],
             series(others, cpu), digits=1, is_log=True)


def write_raw(results):
    with open(RAW, "w", encoding="utf-8") as file:
        json.dump({case.title(): rows for case, rows in results.items()}, file, indent=1)


def main():
    exit_on_signals()
    raise_open_files()
    sizes = [int(size) for size in (os.environ.get("SIZES") or SIZES).split(",")]
    only = (os.environ.get("ONLY") or "").lower()
    mains = [case for case in main_cases(sizes) if only in case.title().lower()]
    others = [case for case in other_cases(sizes[0]) if only in case.title().lower()]
    if not mains + others:
        raise SystemExit("no load's title holds ONLY=%s" % only)
    try:
        results, versions = run_cases(mains + others, contenders(), rounds(5))
    except Failed as failure:
        raise SystemExit("bench: %s" % failure) from failure
    write_raw(results)
    plot(results, mains, others)
    intro = preamble("bench", versions)
    verdicts = intro + targets_part(results, mains, others)
    engines = intro + engines_part(results, mains + others)
    loads = intro + speed_part(results, mains + others)
    for name, lines in (("targets", verdicts), ("engines", engines), ("speed", loads)):
        replace_part(name, lines)
    say("")
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
