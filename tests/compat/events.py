#!/usr/bin/python3
"""Sends the same random commands to redis-server and to Ouro and demands the same events of keys.

usage: events.py [--count N] [--families strings,keys,...] [--round N] [--seed N]

The commands are those of differential.py. A second connection to each server is subscribed to all
events (notify-keyspace-events KEAmn), and after every command a mark is published, so that each
event belongs to a command. Names, keys, databases and order must be the same.

SORT of a set looks its elements up in the order of a hash table, and after an error no further: its
misses are not compared.
Commands that draw lots are left out. A difference is shrunk and printed as differential.py does it.
"""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), HERE]

import differential  # noqa: E402
from differential import Difference, Rounds, Vocabulary  # noqa: E402
from harness import Server, as_bytes, finish  # noqa: E402

BATCH_COMMANDS = 100
# Random choices decide how many events these cause, and what becomes of the rest of the round.
CHANCE = {"spop", "srandmember", "randomkey", "hrandfield", "zrandmember"}


def name_of(command):
    return as_bytes(command[0]).lower().decode("latin-1")


def agree(command, theirs, ours):
    if name_of(command) in ("sort", "sort_ro"):
        return without_misses(theirs) == without_misses(ours)
    return theirs == ours


def without_misses(events):
    return [(channel, payload) for channel, payload in events
            if payload != b"keymiss" and not channel.endswith("__:keymiss")]


class Listener:
    """A connection that hears every event, and marks between them."""

    def __init__(self, server):
        self.conn = server.connect()
        for words in (("PSUBSCRIBE", "__key*__:*"), ("SUBSCRIBE", "mark")):
            self.conn.call(*words)

    def events_until(self, mark):
        """[(mark, [event...])...]: the events before each mark."""
        found, events = [], []
        while True:
            message = self.conn.read()
            if message[0] != b"message":
                events.append((message[2].decode("latin-1"), message[3]))
                continue
            found.append(events)
            events = []
            if message[2] == b"%d" % mark:
                return found


def play(servers, commands):
    """Run one round; return the Difference, with the commands up to it, or None."""
    conns = [server.connect() for server in servers]
    for conn in conns:
        conn.call("FLUSHALL")
    listeners = [Listener(server) for server in servers]
    try:
        for start in range(0, len(commands), BATCH_COMMANDS):
            batch = commands[start:start + BATCH_COMMANDS]
            marked = []
            for index, command in enumerate(batch):
                marked += [command, ("PUBLISH", "mark", index)]
            for conn in conns:
                conn.pipeline(marked)
            theirs, ours = [listener.events_until(len(batch) - 1) for listener in listeners]
            for index, (left, right) in enumerate(zip(theirs, ours)):
                if not agree(batch[index], left, right):
                    return Difference(commands[:start + index + 1], left, right)
    finally:
        for conn in conns + [listener.conn for listener in listeners]:
            conn.close()
    return None


def is_fair(command):
    """Chance must not decide, and nobody may turn the events off."""
    return name_of(command) not in CHANCE | {"config", "hello", "reset", "quit", "debug", "client"}


def main():
    options = differential.read_options(
        differential.rounds_parser("The same events from redis-server and Ouro.", 50000))
    start = time.monotonic()
    differential.play = play  # Shrinking plays as we do.
    # Nodes of few entries, so that trimming by whole nodes stops at the same places.
    listen = ("--notify-keyspace-events", "KEAmn", "--stream-node-max-entries", 5, "--stream-node-max-bytes",
              60000)
    with Server(*listen, kind="redis") as redis, Server(*listen) as ouro:
        with redis.connect() as redis_conn, ouro.connect() as conn:
            # What a queue holds comes as events only later, and would be executed without MULTI.
            rounds = Rounds(options.seed, options.families, Vocabulary(conn, redis_conn), {"transactions"})
            made = rounds.commands
            rounds.commands = lambda number: [c for c in made(number) if is_fair(c)]
            sent, passed, failed = differential.run_rounds((redis, ouro), rounds, options)
    print("%d commands in %.1f s" % (sent, time.monotonic() - start))
    finish(passed, failed)


if __name__ == "__main__":
    main()
