"""What people do with redis-cli and redis-benchmark, as these programs print it.

Both programs ask more of a server than the commands that are typed: redis-cli reads COMMAND DOCS
for its hints, tells by replies which prompt it shows, walks with SCAN and asks TYPE, lengths,
MEMORY USAGE or OBJECT FREQ of every key; redis-benchmark reads the configuration. Each test runs a
mode to its end, or to the lines it waits for, and then ends it. `OURO_KIND=redis` shows what the
same mode prints against redis-server: every line that is named here.

A mode that never ends by itself, and everything interactive, runs in a terminal (`Terminal`)."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness import Case, die_with_parent, encode, main

RUN_SECONDS = 60
BENCHMARK_SECONDS = 150
WINDOW = struct.pack("HHHH", 50, 250, 0, 0)
COLOR = re.compile(rb"\x1b\[[0-9;]*m")
SLOW = re.compile(rb"\(\d+\.\d\ds\)\r\n")
BENCHMARKS = [
    "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD",
    "HSET", "SPOP", "ZADD", "ZPOPMIN", "LPUSH (needed to benchmark LRANGE)",
    "LRANGE_100 (first 100 elements)", "LRANGE_300 (first 300 elements)",
    "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)", "MSET (10 keys)"]


def take_terminal():
    """In the child: standard input becomes the terminal whose keys send signals."""
    die_with_parent()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program in a terminal of its own. `expect` reads until something is on the screen."""

    def __init__(self, command, environment):
        self.screen, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, WINDOW)
        self.process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            env=dict(environment, TERM="xterm"), preexec_fn=take_terminal)
        os.close(inner)
        self.unread = b""

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.screen)

    def type(self, keys):
        os.write(self.screen, keys)

    def expect(self, pattern):
        """The match of `pattern` in what was written since the last one; redis-cli's word about how
        long a reply took is not part of it."""
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            self.unread = SLOW.sub(b"", self.unread)
            found = re.search(pattern, self.unread)
            if found:
                self.unread = self.unread[found.end():]
                return found
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.screen], [], [], left)[0]:
                raise AssertionError("%r is not in %r" % (pattern, self.unread))
            try:
                self.unread += os.read(self.screen, 65536)
            except OSError:
                raise AssertionError("ended before %r: %r" % (pattern, self.unread)) from None


class Tool(Case):
    """redis-cli against the server of the class, with nothing of its user's."""

    def environment(self):
        clean = {name: value for name, value in os.environ.items() if "REDISCLI" not in name}
        return dict(clean, HOME=self.server.directory)

    def command(self, words, program="redis-cli"):
        return [program, "-h", "127.0.0.1", "-p", str(self.server.port), *map(str, words)]

    def run_tool(self, *words, stdin=b"", program="redis-cli", seconds=RUN_SECONDS):
        """(status, output and errors) of a run that ends by itself."""
        ended = subprocess.run(self.command(words, program), input=stdin, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=seconds, check=False,
                               cwd=self.server.directory, env=self.environment(),
                               preexec_fn=die_with_parent)
        return ended.returncode, ended.stdout.decode("utf-8", "replace")

    def lines(self, *words, **options):
        status, output = self.run_tool(*words, **options)
        self.assertEqual(status, 0, output)
        return output.splitlines()

    def terminal(self, *words):
        terminal = Terminal(self.command(words), self.environment())
        self.addCleanup(terminal.close)
        return terminal

    def fill(self):
        """A key of every type, and a second string."""
        self.call("SET", "small", "x")
        self.call("SET", "large", "x" * 1000)
        self.call("RPUSH", "list", "1", "2", "3")
        self.call("SADD", "set", "1", "2")
        self.call("HSET", "hash", "a", "1", "b", "2", "c", "3", "d", "4")
        self.call("ZADD", "zset", "1", "a")
        self.call("XADD", "stream", "1-1", "a", "1")


class Surveys(Tool):
    args = ("--maxmemory-policy", "allkeys-lfu")

    def test_bigkeys_sums_up_every_type(self):
        self.fill()
        lines = self.lines("--bigkeys")
        self.assertIn("Sampled 7 keys in the keyspace!", lines)
        self.assertIn("Total key length in bytes is 31 (avg len 4.43)", lines)
        for line in ('Biggest string found \'"large"\' has 1000 bytes',
                     'Biggest   list found \'"list"\' has 3 items',
                     'Biggest    set found \'"set"\' has 2 members',
                     'Biggest   hash found \'"hash"\' has 4 fields',
                     'Biggest   zset found \'"zset"\' has 1 members',
                     'Biggest stream found \'"stream"\' has 1 entries',
                     "2 strings with 1001 bytes (28.57% of keys, avg size 500.50)",
                     "1 hashs with 4 fields (14.29% of keys, avg size 4.00)",
                     "1 streams with 1 entries (14.29% of keys, avg size 1.00)"):
            self.assertIn(line, lines)

    def test_bigkeys_walks_a_database_of_many_keys(self):
        self.conn.pipeline([("SET", "key:%d" % n, "v" * (n % 50)) for n in range(3000)])
        lines = self.lines("--bigkeys")
        self.assertIn("Sampled 3000 keys in the keyspace!", lines)
        self.assertIn("3000 strings with 73500 bytes (100.00% of keys, avg size 24.50)", lines)

    def test_memkeys_sums_up_what_memory_usage_says(self):
        self.fill()
        lines = self.lines("--memkeys")
        for kind, key in (("string", "large"), ("list", "list"), ("set", "set"), ("hash", "hash"),
                          ("zset", "zset"), ("stream", "stream")):
            size = self.call("MEMORY", "USAGE", key)
            self.assertIn("Biggest %6s found '\"%s\"' has %d bytes" % (kind, key, size), lines)

    def test_hotkeys_names_the_key_that_is_read_most(self):
        self.fill()
        self.conn.pipeline([("GET", "small")] * 3000)
        lines = self.lines("--hotkeys")
        found = [re.fullmatch(r'hot key found with counter: (\d+)\tkeyname: "(.*)"', line)
                 for line in lines if line.startswith("hot key found")]
        self.assertEqual(len(found), 7)
        self.assertEqual(found[0].group(2), "small")
        counters = [int(match.group(1)) for match in found]
        self.assertEqual(counters, sorted(counters, reverse=True))
        self.assertGreater(counters[0], counters[1])

    def test_hotkeys_says_when_nobody_counts(self):
        self.fill()
        self.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.addCleanup(self.call, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        status, output = self.run_tool("--hotkeys")
        self.assertEqual(status, 1)
        self.assertIn("ERR An LFU maxmemory policy is not selected, access frequency not tracked.",
                      output)

    def test_scan_lists_keys_and_those_of_a_pattern(self):
        names = ["key:%d" % n for n in range(2000)]
        self.call("MSET", *[word for name in names for word in (name, "v")])
        self.assertEqual(set(self.lines("--scan")), set(names))
        self.assertEqual(set(self.lines("--scan", "--pattern", "key:199?")),
                         {"key:199%d" % n for n in range(10)})
        self.assertEqual(self.lines("--scan", "--pattern", "none*"), [])


class Watching(Tool):
    def test_stat_prints_a_line_a_turn(self):
        self.conn.pipeline([("SET", "key:%d" % n, "v") for n in range(12)])
        screen = self.terminal("--stat", "-i", "0.05")
        screen.expect(rb"keys +mem +clients blocked requests +connections *\r\n")
        first = screen.expect(rb"12 +\S+[KM] +(\d+) +0 +(\d+) \(\+0\) +(\d+) *\r\n")
        second = screen.expect(rb"12 +\S+[KM] +(\d+) +0 +(\d+) \(\+1\) +(\d+) *\r\n")
        self.assertEqual(first.group(1, 3), second.group(1, 3))
        self.assertEqual(int(second.group(2)), int(first.group(2)) + 1)

    def test_latency_tells_least_most_mean_and_count(self):
        [line] = self.lines("--latency", "--raw", "-i", "0.1")
        least, most, mean, count = map(float, line.split())
        self.assertLessEqual(least, mean)
        self.assertLessEqual(mean, most)
        self.assertGreaterEqual(count, 1)
        [line] = self.lines("--latency", "--csv", "-i", "0.1")
        self.assertEqual(len(line.split(",")), 4)

    def test_latency_in_a_terminal(self):
        screen = self.terminal("--latency-history", "-i", "0.1")
        for _ in range(2):
            screen.expect(rb"min: \d+, max: \d+, avg: \d+\.\d\d \(\d+ samples\)"
                          rb" -- \d+\.\d\d seconds range\r\n")

    def test_a_subscriber_prints_what_it_hears(self):
        screen = self.terminal("--raw", "SUBSCRIBE", "news")
        screen.expect(rb"subscribe\r\nnews\r\n1\r\n")
        self.assertEqual(self.call("PUBLISH", "news", "first"), 1)
        screen.expect(rb"message\r\nnews\r\nfirst\r\n")
        self.assertEqual(self.call("PUBLISH", "news", "second"), 1)
        screen.expect(rb"message\r\nnews\r\nsecond\r\n")

    def test_a_monitor_prints_what_others_do(self):
        self.needs_command("MONITOR")
        screen = self.terminal("MONITOR")
        screen.expect(rb"OK\r\n")
        self.call("SET", "k", "two words")
        screen.expect(rb'\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "k" "two words"\r\n')


class Batches(Tool):
    def test_pipe_inserts_ten_thousand_keys(self):
        commands = b"".join(encode("SET", "key:%d" % n, n) for n in range(10000))
        lines = self.lines("--pipe", stdin=commands)
        self.assertEqual(lines[-1], "errors: 0, replies: 10000")
        self.assertEqual(self.call("DBSIZE"), 10000)
        self.assertEqual(self.call("GET", "key:9999"), b"9999")

    def test_pipe_counts_errors(self):
        commands = b"SET k v\r\nINCR k\r\nNO SUCH\r\nGET k\r\n"
        status, output = self.run_tool("--pipe", stdin=commands)
        self.assertEqual(status, 1)
        self.assertIn("ERR value is not an integer or out of range\n", output)
        self.assertIn("ERR unknown command 'NO', with args beginning with: 'SUCH' \n", output)
        self.assertIn("errors: 2, replies: 4", output)

    def test_eval_runs_a_file(self):
        path = os.path.join(self.server.directory, "sum.lua")
        with open(path, "w", encoding="ascii") as file:
            file.write("redis.call('SET', KEYS[1], ARGV[1])\n"
                       "return {KEYS[1], ARGV[1], ARGV[2] + 1, #KEYS, #ARGV}\n")
        self.assertEqual(self.lines("--eval", path, "k", ",", "20", "22"),
                         ["k", "20", "23", "1", "2"])
        self.assertEqual(self.call("GET", "k"), b"20")

    def test_a_copy_of_the_data_arrives(self):
        self.needs_command("SYNC")
        self.fill()
        path = os.path.join(self.server.directory, "copy.rdb")
        self.assertIn("Transfer finished with success", self.lines("--rdb", path)[-1])
        with open(path, "rb") as file:
            self.assertEqual(file.read(5), b"REDIS")

    def test_commands_come_from_arguments_and_from_input(self):
        self.assertEqual(self.lines("-x", "SET", "k", stdin=b"from input"), ["OK"])
        self.assertEqual(self.lines("GET", "k"), ["from input"])
        self.assertEqual(self.lines("-r", "3", "INCR", "n"), ["1", "2", "3"])
        self.assertEqual(self.lines(stdin=b"MULTI\nINCR n\nEXEC\n"), ["OK", "QUEUED", "4"])
        self.assertEqual(self.lines("-n", "3", "DBSIZE"), ["0"])
        self.assertEqual(self.run_tool("-e", "INCR", "k")[0], 1)

    def test_values_in_the_newer_protocol(self):
        self.fill()
        for words, lines in ((("HGETALL", "hash"), ['1# "a" => "1"', '2# "b" => "2"',
                                                    '3# "c" => "3"', '4# "d" => "4"']),
                             (("ZSCORE", "zset", "a"), ["(double) 1"]),
                             (("SMEMBERS", "set"), ['1~ "1"', '2~ "2"']),
                             (("GET", "missing"), ["(nil)"]),
                             (("LRANGE", "list", "0", "1"), ['1) "1"', '2) "2"'])):
            self.assertEqual(self.lines("-3", "--no-raw", *words), lines)
        self.assertEqual(self.lines("--json", "LRANGE", "list", "0", "-1"), ['["1","2","3"]'])
        self.assertEqual(self.lines("--csv", "LRANGE", "list", "0", "-1"), ['"1","2","3"'])


class Conversation(Tool):
    """At the prompt: each line is typed once the prompt is there."""

    def setUp(self):
        super().setUp()
        self.address = re.escape(b"127.0.0.1:%d" % self.server.port)
        self.screen = self.terminal()
        self.screen.expect(self.address + b"> $")

    def say(self, line, reply, state=b""):
        """Type a line; `reply` is a pattern of what follows it, `state` what the prompt tells."""
        self.screen.type(line + b"\r")
        return self.screen.expect(
            b"\r\n" + reply + b"\r\n" + self.address + re.escape(state) + b"> $")

    def test_values_are_shown_by_kind(self):
        self.say(b"SET k 1", rb"OK")
        self.say(b"GET k", rb'"1"')
        self.say(b"INCR k", rb"\(integer\) 2")
        self.say(b"GET missing", rb"\(nil\)")
        self.say(b"MGET k missing", rb'1\) "2"\r\n2\) \(nil\)')
        self.say(b"NOSUCH a", rb"\(error\) ERR unknown command 'NOSUCH', "
                              rb"with args beginning with: 'a' ")
        self.say(b"GET", rb"\(error\) ERR wrong number of arguments for 'get' command")

    def test_the_prompt_tells_of_databases_and_transactions(self):
        self.say(b"SELECT 3", rb"OK", b"[3]")
        self.say(b"MULTI", rb"OK", b"[3](TX)")
        self.say(b"SET k 1", rb"QUEUED", b"[3](TX)")
        self.say(b"INCR k", rb"QUEUED", b"[3](TX)")
        self.say(b"EXEC", rb"1\) OK\r\n2\) \(integer\) 2", b"[3]")
        self.say(b"MULTI", rb"OK", b"[3](TX)")
        self.say(b"DISCARD", rb"OK", b"[3]")
        self.say(b"SELECT 0", rb"OK")

    def test_hints_and_help_come_from_the_server(self):
        self.screen.type(b"GET ")
        self.screen.expect(rb"GET \x1b\[0;90;49mkey\x1b\[0m")
        self.screen.type(b"\x15EXPIRE ")
        self.screen.expect(rb"EXPIRE \x1b\[0;90;49mkey seconds \[NX\|XX\|GT\|LT\]\x1b\[0m")
        self.screen.type(b"\x15")
        shown = COLOR.sub(b"", self.say(b"help getrange", rb"[\s\S]*group:[\s\S]*").group(0))
        self.assertRegex(shown, rb"\n  GETRANGE key start end\r+\n  summary: [A-Z][^\n]{20,}\n"
                                rb"  since: 2\.4\.0\r+\n  group: string\r+\n")

    def test_a_subscriber_returns_to_the_prompt(self):
        self.screen.type(b"SUBSCRIBE news\r")
        self.screen.expect(rb'1\) "subscribe"\r\n2\) "news"\r\n3\) \(integer\) 1\r\n')
        self.assertEqual(self.call("PUBLISH", "news", "hello"), 1)
        self.screen.expect(rb'1\) "message"\r\n2\) "news"\r\n3\) "hello"\r\n')
        self.screen.type(b"\x03")
        self.screen.expect(self.address + b"> $")
        self.say(b"PING", rb"PONG")

    def test_the_newer_protocol_and_pushes(self):
        hello = self.say(b"HELLO 3", rb'1# "server" => "redis"\r\n[\s\S]*"role" => "master"'
                                     rb"[\s\S]*")
        self.assertIn(b'"proto" => (integer) 3', hello.group(0))
        self.say(b"HSET h a 1", rb"\(integer\) 1")
        self.say(b"HGETALL h", rb'1# "a" => "1"')
        self.say(b"CLIENT TRACKING ON", rb"OK")
        self.say(b"GET k", rb"\(nil\)")
        self.call("SET", "k", "changed")
        self.say(b"PING", rb'-> invalidate: \'k\'\r\nPONG')


class Benchmark(Tool):
    def benchmark(self, *words):
        """The lines of a run as they stand in the end: progress is written over."""
        status, output = self.run_tool(*words, program="redis-benchmark",
                                       seconds=BENCHMARK_SECONDS)
        self.assertEqual(status, 0, output)
        self.assertNotRegex(output, "(?i)error|warning|could not")
        return [line.split("\r")[-1].strip() for line in re.split(r"\n", output)]

    def test_every_benchmark_ends_without_an_error(self):
        lines = self.benchmark("-n", "2000", "-q")
        done = [re.fullmatch(r"(.*): \d+\.\d\d requests per second, p50=\d+\.\d+ msec", line)
                for line in lines if line]
        self.assertEqual([match and match.group(1) for match in done], BENCHMARKS, lines)

    def test_the_servers_configuration_is_told(self):
        lines = self.benchmark("-n", "200", "-t", "get")
        self.assertIn('host configuration "save":', lines)
        self.assertIn('host configuration "appendonly": no', lines)
        self.assertIn("====== GET ======", lines)


if __name__ == "__main__":
    main()
