"""Real Sentinels of the distribution over nodes of either kind, and failovers told in numbers.

    with Watched("oro") as watched:          # three nodes, three Sentinels, all of one mind
        failover = watched.crash_primary()   # waits until Sentinel has promoted another
        watched.restart(failover.old)        # waits until it is a replica of the new one

Times, and what is waited for, follow Sentinel's own clock: it asks PING each second and INFO each
ten, each second where something is wrong; takes a node for down after `down_after_ms`; and puts a
node that claims to be primary back into its place after 8 s. A failover in which all three Sentinels
vote for themselves is tried again after twice failover-timeout: such *split votes* are Sentinel's
own and are counted apart."""
import collections
import os
import random
import re
import subprocess
import threading
import time

from harness import Conn, Error, Server, die_with_parent, wait_until
from replication import Group, wait_in_sync, wait_up

SENTINEL_COUNT = 3
QUORUM = 2
# Pings are a second apart: with less, Sentinel takes a node for down that it has just connected to.
DOWN_AFTER_MS = 2000
# Short, so that a split vote costs little here; docs/operations.md tells what to take elsewhere.
FAILOVER_TIMEOUT_MS = 6000
AGREE_SECONDS = 60
SWITCH_SECONDS = 90
PAUSE_SECONDS = 0.002
NAME = "mymaster"
SWITCHED = re.compile(rb"\+switch-master " + NAME.encode() + rb" \S+ \d+ \S+ (\d+)")
SPLIT = b"-failover-abort-not-elected"

Failover = collections.namedtuple("Failover", "old new seconds split_votes")


class Sentinel(Server):
    """One Sentinel: redis-server in its Sentinel mode, a configuration that it rewrites itself."""

    def __init__(self, primary_port, settings=()):
        lines = ["sentinel monitor %s 127.0.0.1 %d %d" % (NAME, primary_port, QUORUM),
                 "sentinel down-after-milliseconds %s %d" % (NAME, DOWN_AFTER_MS),
                 "sentinel failover-timeout %s %d" % (NAME, FAILOVER_TIMEOUT_MS),
                 "sentinel parallel-syncs %s 2" % NAME]
        super().__init__(config="\n".join(lines + list(settings)) + "\n", kind="redis")

    def launch(self, port):
        path = os.path.join(self.directory, "server.conf")
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write(self.config + "dir %s\nbind 127.0.0.1\nport %d\n" % (self.directory, port))
        self.port = port
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, path, "--sentinel"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, preexec_fn=die_with_parent)
        return self.process

    def ask(self, *words):
        with Conn(self.port) as conn:
            reply = conn.call("SENTINEL", *words)
        if isinstance(reply, Error):
            raise AssertionError("SENTINEL %s: %s" % (" ".join(words), reply))
        return reply

    def primary(self):
        """What it tells clients: (host, port)."""
        host, port = self.ask("GET-MASTER-ADDR-BY-NAME", NAME)
        return host.decode(), int(port)

    def state(self):
        return pairs(self.ask("MASTER", NAME))

    def replicas(self):
        """{port: facts} of the replicas that it knows."""
        known = [pairs(one) for one in self.ask("REPLICAS", NAME)]
        return {int(one["port"]): one for one in known}


def pairs(flat):
    words = [word.decode("utf-8", "replace") for word in flat]
    return dict(zip(words[::2], words[1::2]))


def is_settled_replica(facts):
    """Whether a Sentinel holds the replica for one, and has heard so from itself: a Sentinel that
    still remembers a primary turns it back into a replica half a second after its promotion."""
    return (facts.get("flags") == "slave" and facts.get("role-reported") == "slave"
            and facts.get("master-link-status") == "ok")


class Watched:
    """Nodes, the first of them primary, and Sentinels that watch them."""

    def __init__(self, letters, *settings, preferred=None, sentinel_settings=(), binary=None):
        """`preferred` is the index of the node that is promoted rather than others."""
        self.group = Group(letters, *settings, binary=binary)
        self.preferred = preferred
        self.sentinel_settings = list(sentinel_settings)
        self.nodes = self.group.nodes
        self.sentinels = []

    def __enter__(self):
        self.group.__enter__()
        try:
            primary, *replicas = self.nodes
            for replica in replicas:
                replica.follow(primary)
            wait_up(*replicas)
            if self.preferred is not None:
                self.nodes[self.preferred].do("CONFIG", "SET", "replica-priority", 10)
            for _ in range(SENTINEL_COUNT):
                sentinel = Sentinel(primary.port, self.sentinel_settings)
                self.sentinels.append(sentinel)
                sentinel.start()
            self.wait_settled()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind, error, trace):
        for sentinel in self.sentinels:
            if error is not None:
                print("--- log of the Sentinel at port %s\n%s" % (sentinel.port,
                                                                  sentinel.log_tail(60)))
            sentinel.kill()
            sentinel.remove()
        self.group.__exit__(kind, error, trace)

    def node_at(self, port):
        return next(node for node in self.nodes if node.port == port)

    @property
    def primary(self):
        """The node that the first Sentinel tells clients to use."""
        return self.node_at(self.sentinels[0].primary()[1])

    @property
    def replicas(self):
        primary = self.primary
        return [node for node in self.nodes if node is not primary]

    # ------------------------------------------------------------------------------- being settled

    def is_settled(self):
        """Whether every Sentinel sees the others, the same primary and all its replicas, and has
        heard from each node that it is what it should be."""
        expected = {node.port for node in self.nodes}
        primaries = {sentinel.primary() for sentinel in self.sentinels}
        if len(primaries) != 1:
            return False
        for sentinel in self.sentinels:
            state, replicas = sentinel.state(), sentinel.replicas()
            if state["flags"] != "master" or state["role-reported"] != "master":
                return False
            if int(state["num-other-sentinels"]) != SENTINEL_COUNT - 1:
                return False
            if set(replicas) | {int(state["port"])} != expected:
                return False
            if not all(is_settled_replica(facts) for facts in replicas.values()):
                return False
        return True

    def wait_settled(self, timeout=AGREE_SECONDS):
        wait_until(self.is_settled, timeout, "one mind of all Sentinels")
        wait_up(*self.replicas)

    # ----------------------------------------------------------------------------------- failovers

    def split_votes(self):
        return sum(sentinel.log(whole=True).count(SPLIT) for sentinel in self.sentinels)

    def wait_switch(self, old, begun, split_votes):
        """Until a Sentinel tells clients of another primary, and that one takes writes."""
        def switched():
            for sentinel in self.sentinels:
                port = sentinel.primary()[1]
                if port != old.port and takes_writes(self.node_at(port)):
                    return self.node_at(port)
            return None
        new = wait_until(switched, SWITCH_SECONDS, "another primary")
        seconds = time.monotonic() - begun
        wait_until(lambda: {one.primary()[1] for one in self.sentinels} == {new.port}, AGREE_SECONDS,
                   "one primary of all Sentinels")
        return Failover(old, new, seconds, self.split_votes() - split_votes)

    def crash_primary(self):
        """Kill the primary; returns the Failover."""
        old, split_votes = self.primary, self.split_votes()
        begun = time.monotonic()
        old.kill()
        return self.wait_switch(old, begun, split_votes)

    def restart(self, node):
        """Start a node that crashed, and wait until everybody holds it for a replica."""
        node.start()
        self.wait_settled()
        wait_in_sync(self.primary, *self.replicas)

    def ask_for_failover(self):
        """SENTINEL FAILOVER, once everything has settled."""
        self.wait_settled()
        old, split_votes = self.primary, self.split_votes()
        begun = time.monotonic()
        self.sentinels[0].ask("FAILOVER", NAME)
        return self.wait_switch(old, begun, split_votes)


def takes_writes(node):
    try:
        with Conn(node.port, timeout=2) as conn:
            return b"role:master" in conn.call("INFO", "replication")
    except (OSError, TypeError):
        return False


# -------------------------------------------------------------------------------------- application


class Application:
    """A client as applications are: it asks the Sentinels who the primary is, writes numbers there,
    waits for its replicas, and goes on after errors by asking again.

    `acknowledged` are the numbers whose write was answered with OK, `replicated` those that WAIT
    then found on as many replicas as were asked for."""

    def __init__(self, sentinels, replica_count=2, wait_ms=300):
        self.ports = [sentinel.port for sentinel in sentinels]
        self.replica_count = replica_count
        self.wait_ms = wait_ms
        self.acknowledged = []
        self.replicated = []
        self.error_texts = collections.Counter()
        self.longest_gap_s = 0.0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.is_over.set()
        self.thread.join(60)

    def wait_for(self, count, numbers=None, timeout=60):
        """Until so many more numbers are replicated, or among `numbers`, one of the two lists."""
        if numbers is None:
            numbers = self.replicated if self.replica_count else self.acknowledged
        wanted = len(numbers) + count
        wait_until(lambda: len(numbers) >= wanted, timeout, "%d more writes (%s)" % (
            count, dict(self.error_texts)))

    def _primary_port(self):
        with Conn(random.choice(self.ports), timeout=2) as conn:
            return int(conn.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def _work(self):
        number, last = 0, time.monotonic()
        while not self.is_over.is_set():
            try:
                with Conn(self._primary_port(), timeout=2) as conn:
                    while not self.is_over.is_set():
                        number += 1
                        if not self._write(conn, number):
                            break
                        time.sleep(PAUSE_SECONDS)
                        now = time.monotonic()
                        self.longest_gap_s = max(self.longest_gap_s, now - last)
                        last = now
            except (OSError, TypeError, ValueError) as error:
                self.error_texts[type(error).__name__] += 1
            time.sleep(0.01)

    def _write(self, conn, number):
        """False when this connection is to be given up."""
        reply = conn.call("SET", "app:%d" % number, number)
        if reply != "OK":
            self.error_texts[str(reply).split(" ", 1)[0]] += 1
            return False
        self.acknowledged.append(number)
        if self.replica_count == 0:
            return True
        count = conn.call("WAIT", self.replica_count, self.wait_ms)
        if isinstance(count, Error):
            self.error_texts[str(count).split(" ", 1)[0]] += 1
            return False
        if count >= self.replica_count:
            self.replicated.append(number)
        return True

    @staticmethod
    def missing(node, numbers):
        """Those of `numbers` that the node does not have."""
        with node.connect() as conn:
            found = conn.pipeline([("GET", "app:%d" % number) for number in numbers])
        return [number for number, value in zip(numbers, found) if value != b"%d" % number]
