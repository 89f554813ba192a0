"""Unmodified Sentinels over Ouro and over mixed groups: primaries that crash, a primary that comes
back empty, and tools/adopt.py, which takes a live Redis over to Ouro and back again.

Several groups run at the same time, since most of a failover is waiting; each test reports one.
OURO_FAILOVERS=20 does as many crashes in each group, one after the other, and then insists on what
Sentinel promises: another primary within down-after and two seconds, split votes counted apart.
Without it there is one in each group, and only what does not depend on the machine's speed is
checked."""
import concurrent.futures
import os
import statistics
import subprocess
import sys
import time
import unittest

from harness import ROOT, main, wait_until
from replication import Group, load, wait_in_sync, wait_same_data
from sentinels import DOWN_AFTER_MS, NAME, Application, Watched

ADOPT = os.path.join(ROOT, "tools", "adopt.py")
ADOPT_SECONDS = 150
FAILOVERS = int(os.environ.get("OURO_FAILOVERS", "0"))
SECONDS_MAX = DOWN_AFTER_MS / 1000 + 2
SETTLE_SECONDS = 60
WRITES = 20
LETTERS = {"redis": "r", "ouro": "o"}


def expect(truth, what):
    """Raises in the thread of a group, where there is no TestCase."""
    if not truth:
        raise AssertionError(what)


# ------------------------------------------------------------------------------------------- crashes


def crash(watched, application):
    """Kill the primary, let Sentinel promote another. Who was a replica before goes on by the
    second id; what was on all replicas is there."""
    full = {node.port: node.full_count for node in watched.nodes}
    failover = watched.crash_primary()
    new = failover.new
    expect(application.missing(new, list(application.replicated)) == [], "replicated writes were lost")
    application.wait_for(WRITES, application.acknowledged)
    others = [node for node in watched.nodes if node not in (failover.old, new)]
    wait_until(lambda: all(node.is_up() for node in others), SETTLE_SECONDS, "the links")
    expect(new.full_count == full[new.port], "a full resynchronisation by the promoted node")
    print("  %s to %s in %.2f s, %d split votes" % (
        LETTERS[failover.old.kind], LETTERS[new.kind], failover.seconds, failover.split_votes),
        flush=True)
    return failover


def crash_again_and_again(letters):
    """([Failover...], Application) of one group. The second node is promoted whenever it can be, so
    that mixed groups go from one kind to the other and back."""
    failovers = []
    with Watched(letters, preferred=1) as watched, Application(watched.sentinels) as application:
        for number in range(max(FAILOVERS, 1)):
            if number:
                watched.wait_settled()
            application.wait_for(WRITES)
            failovers.append(crash(watched, application))
            old = failovers[-1].old
            old.start()
            wait_until(lambda node=old: node.info()["role"] == "slave", SETTLE_SECONDS,
                       "the old primary's return as a replica")
        application.wait_for(WRITES)
        application.stop()
        wait_same_data(watched.primary, *watched.replicas)
        expect(application.missing(watched.primary, application.replicated) == [],
               "replicated writes were lost")
    return failovers, application


def come_back_empty(letters):
    """A primary without a file is killed and back before anybody notices."""
    with Watched(letters) as watched:
        primary = watched.primary
        for number in range(100):
            primary.do("SET", "k%d" % number, number)
        wait_in_sync(primary, *watched.replicas)
        split_votes, begun = watched.split_votes(), time.monotonic()
        primary.kill()
        primary.start()
        failover = watched.wait_switch(primary, begun, split_votes)
        counts = [failover.new.do("DBSIZE")]
        wait_until(lambda: primary.info()["role"] == "slave", SETTLE_SECONDS, "its being a replica")
        wait_in_sync(failover.new, *[node for node in watched.nodes if node is not failover.new])
        counts += [node.do("DBSIZE") for node in watched.nodes]
    expect(counts == [100] * 4, "keys were lost: %r" % counts)
    expect(failover.new is not primary, "the empty node is primary")


# ------------------------------------------------------------------------------------------ adoption


def adopt(watched, application, node):
    """Let the script make the node primary; nothing may be lost."""
    done = subprocess.run(
        [sys.executable, ADOPT, "--sentinel", "127.0.0.1:%d" % watched.sentinels[0].port, "--name",
         NAME, "--node", "127.0.0.1:%d" % node.port, "--timeout", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=ADOPT_SECONDS, text=True,
        check=False)
    expect(done.returncode == 0, done.stdout)
    expect("0 full resynchronisations were needed for the change" in done.stdout, done.stdout)
    expect(watched.primary is node, "another primary")
    application.wait_for(50)
    expect(application.missing(node, list(application.acknowledged)) == [], "writes were lost")


def adopt_and_return():
    """From Redis to Ouro and back, under load. The first attachment of each replica is the only full
    synchronisation."""
    with Watched("rr") as watched, Group("o") as joining:
        first, node = watched.primary, joining.nodes[0]
        load(first, 1500)
        with Application(watched.sentinels, replica_count=0) as application:
            application.wait_for(50)
            watched.nodes.append(node)
            adopt(watched, application, node)
            adopt(watched, application, first)
            application.stop()
        wait_same_data(first, *watched.replicas)
        counts = [one.full_count for one in watched.nodes]
        watched.nodes.remove(node)
        expect(sum(counts) == 2, "full resynchronisations: %r" % counts)
        expect(node.do("CONFIG", "GET", "replica-priority")[1] == b"100", "another priority")
    return application


# --------------------------------------------------------------------------------------------- tests


class Sentinels(unittest.TestCase):
    crashing = ("ooo", "oro", "ror")

    @classmethod
    def setUpClass(cls):
        cls.pool = concurrent.futures.ThreadPoolExecutor(len(cls.crashing) + 2)
        cls.addClassCleanup(cls.pool.shutdown)
        cls.crashes = {letters: cls.pool.submit(crash_again_and_again, letters)
                       for letters in cls.crashing}
        cls.adoption = cls.pool.submit(adopt_and_return)
        is_ouro = os.environ.get("OURO_KIND", "ouro") == "ouro"
        cls.empty = cls.pool.submit(come_back_empty, "oor") if is_ouro else None

    def check(self, letters):
        failovers, application = self.crashes[letters].result()
        quick = [one.seconds for one in failovers if not one.split_votes] or [0]
        print("  %s: %d failovers, median %.2f s, longest %.2f s; %d more with split votes; %d writes"
              " on all nodes, longest gap %.2f s" % (
                  letters, len(quick), statistics.median(quick), max(quick),
                  len(failovers) - len(quick), len(application.replicated),
                  application.longest_gap_s))
        if FAILOVERS:
            self.assertLessEqual(max(quick), SECONDS_MAX)

    def test_three_of_ouro(self):
        self.check("ooo")

    def test_redis_between_two_of_ouro(self):
        self.check("oro")

    def test_ouro_between_two_of_redis(self):
        self.check("ror")

    def test_a_primary_that_comes_back_empty_is_replaced(self):
        if self.empty is None:
            self.skipTest("redis-server lets its replicas be wiped")
        self.empty.result()

    def test_adoption_and_return_lose_no_write(self):
        application = self.adoption.result()
        print("  %d writes, longest gap %.2f s" % (len(application.acknowledged),
                                                   application.longest_gap_s))


if __name__ == "__main__":
    main()
