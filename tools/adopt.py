#!/usr/bin/python3
"""Moves the primary of a group that Sentinel watches to another node without losing a write: from
Redis to Ouro, and by the same command back.

usage: adopt.py --sentinel HOST:PORT [--sentinel ...] --name mymaster --node HOST:PORT [options]

The node is any server that speaks Redis's replication. What is done, each step waited for:

 1. Sentinel is asked who is primary, and whether all Sentinels are of one mind.
 2. The node becomes a replica of the primary, if it is none yet: one full synchronisation. A node
    that holds data of its own is left alone unless --replace-data is given. --attach-only ends
    here: reads can be compared for as long as one likes.
 3. Its replica-priority is lowered below that of all others, and the Sentinels have noticed.
 4. FAILOVER TO the node: the primary holds writes back for the moment that the node needs to have
    every byte, the node is promoted, and the primary becomes its replica by partial
    resynchronisation. Nothing that was acknowledged is lost, unlike with SENTINEL FAILOVER alone,
    which leaves the old primary taking writes for seconds.
 5. SENTINEL FAILOVER: Sentinel, which would otherwise take some seconds to notice, makes the node
    its primary too, tells clients, and points the other replicas there.
 6. The links of all replicas are up; the former replica-priority is set again.

Between steps 4 and 5, about two seconds, writers get READONLY and must ask Sentinel again, as they
do in any failover. When step 4 fails, the primary stays what it was. To go back, give the address
of the former primary as --node.

A password is read from the environment, REDISCLI_AUTH as redis-cli does, and SENTINEL_AUTH for
Sentinels; --user names the user of REDISCLI_AUTH. The status is 0 when the node is primary (or
attached), 1 when it is not; then the last line tells why."""
import argparse
import os
import socket
import sys
import time

CONNECT_SECONDS = 5
STEP_SECONDS = 60
POLL_SECONDS = 0.2
LAG_BYTES_MAX = 64 * 1024
FAILOVER_TIMEOUT_MS = 10000
SENTINEL_TRIES = 20


class Refused(Exception):
    """What keeps the node from becoming primary, in words for the operator."""


# --------------------------------------------------------------------------------------- connections


class Reply(str):
    """An error reply."""


class Peer:
    """A server or Sentinel; each question has a connection of its own, since a change of roles
    closes connections."""

    def __init__(self, address, user=None, password=None):
        self.host, self.port = address
        self.user = user
        self.password = password

    def __str__(self):
        return "%s:%d" % (self.host, self.port)

    def ask(self, *words):
        """The reply; an error is returned as a Reply."""
        try:
            with socket.create_connection((self.host, self.port), CONNECT_SECONDS) as conn:
                stream = conn.makefile("rb")
                if self.password:
                    login = [self.user] if self.user else []
                    check("AUTH", say(conn, stream, "AUTH", *login, self.password))
                return say(conn, stream, *words)
        except OSError as error:
            raise Refused("%s does not answer: %s" % (self, error)) from error

    def do(self, *words):
        """The reply, which must not be an error."""
        return check("%s at %s" % (" ".join(map(str, words[:2])), self), self.ask(*words))

    def info(self, section):
        text = self.do("INFO", section).decode("utf-8", "replace")
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def setting(self, name):
        return self.do("CONFIG", "GET", name)[1].decode()


def check(what, reply):
    if isinstance(reply, Reply):
        raise Refused("%s: %s" % (what, reply))
    return reply


def say(conn, stream, *words):
    data = [b"*%d\r\n" % len(words)]
    for word in words:
        text = str(word).encode()
        data.append(b"$%d\r\n%s\r\n" % (len(text), text))
    conn.sendall(b"".join(data))
    return read(stream)


def read(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the connection was closed")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        return Reply(rest.decode("utf-8", "replace"))
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    length = int(rest)
    if length < 0:
        return None
    if kind == b"$":
        return stream.read(length + 2)[:-2]
    return [read(stream) for _ in range(length)]


def address_of(text):
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("HOST:PORT is wanted, not " + text)
    return host, int(port)


def wait_for(condition, what, timeout=STEP_SECONDS):
    """The first truthy value of `condition()`; a server that is closing connections is asked
    again."""
    deadline = time.monotonic() + timeout
    last = ""
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except Refused as refused:
            last = " (%s)" % refused
        time.sleep(POLL_SECONDS)
    raise Refused("%s did not come about within %d s%s" % (what, timeout, last))


# ----------------------------------------------------------------------------------------- Sentinels


class Sentinels:
    """All Sentinels of a group: those that were named, and those that they know."""

    def __init__(self, addresses, name, password):
        self.name = name
        self.peers = [Peer(address, None, password) for address in addresses]
        known = {(peer.host, peer.port) for peer in self.peers}
        for facts in self.peers[0].do("SENTINEL", "SENTINELS", name):
            one = as_dict(facts)
            if (one["ip"], int(one["port"])) not in known:
                self.peers.append(Peer((one["ip"], int(one["port"])), None, password))
                known.add((one["ip"], int(one["port"])))

    def primaries(self):
        """The addresses that they tell clients; one, when they are of one mind."""
        told = [peer.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name) for peer in self.peers]
        return {(host.decode(), int(port)) for host, port in told}

    def primary(self):
        told = self.primaries()
        if len(told) != 1:
            raise Refused("the Sentinels name different primaries: %s" % sorted(told))
        return told.pop()

    def state(self, peer):
        return as_dict(peer.do("SENTINEL", "MASTER", self.name))

    def replicas(self, peer):
        return [as_dict(facts) for facts in peer.do("SENTINEL", "REPLICAS", self.name)]

    def have_settled_on(self, address):
        """Whether all of them hold the node at `address` for primary, and no failover is under way:
        the one that leads it tells clients of the new primary before it knows all replicas."""
        states = [self.state(peer) for peer in self.peers]
        return all((one["ip"], int(one["port"])) == address and one["flags"] == "master"
                   for one in states)

    def check_calm(self):
        for peer in self.peers:
            flags = self.state(peer)["flags"]
            if flags != "master":
                raise Refused("Sentinel %s holds the primary for '%s'; wait until that is over" % (
                    peer, flags))

    def address_of(self, run_id):
        """How every Sentinel calls the node of this run id, once all know it as a replica whose link
        is up; else None."""
        found = set()
        for peer in self.peers:
            mine = [one for one in self.replicas(peer) if one.get("runid") == run_id]
            if not mine or mine[0]["flags"] != "slave" or mine[0]["master-link-status"] != "ok":
                return None
            found.add((mine[0]["ip"], int(mine[0]["port"])))
        return found.pop() if len(found) == 1 else None

    def prefer(self, run_id):
        """Whether every Sentinel would choose this node before all others."""
        for peer in self.peers:
            replicas = self.replicas(peer)
            mine = [int(one["slave-priority"]) for one in replicas if one.get("runid") == run_id]
            others = [int(one["slave-priority"]) for one in replicas if one.get("runid") != run_id]
            if not mine or any(0 < other <= mine[0] for other in others):
                return False
        return True

    def follow(self, address):
        """Make them take the node at `address` for primary."""
        for _ in range(SENTINEL_TRIES):
            if self.primaries() == {address}:
                return
            reply = self.peers[0].ask("SENTINEL", "FAILOVER", self.name)
            if isinstance(reply, Reply) and not reply.startswith(("INPROG", "NOGOODSLAVE")):
                raise Refused("SENTINEL FAILOVER: " + reply)
            try:
                wait_for(lambda: self.primaries() == {address}, "the Sentinels' consent", 15)
                return
            except Refused:
                continue
        raise Refused("the Sentinels do not take %s:%d for primary" % address)


def as_dict(flat):
    words = [word.decode("utf-8", "replace") for word in flat]
    return dict(zip(words[::2], words[1::2]))


# --------------------------------------------------------------------------------------------- steps


def tell(text):
    print(text, flush=True)


def kind_of(peer):
    facts = peer.info("server")
    is_ouro = "ouro_version" in facts
    return "%s, %s" % (peer, "Ouro " + facts["ouro_version"] if is_ouro
                       else "Redis " + facts["redis_version"])


def key_count(peer):
    counts = [facts for name, facts in peer.info("keyspace").items() if name.startswith("db")]
    return sum(int(facts.split("keys=")[1].split(",")[0]) for facts in counts)


def is_replica_of(node, primary):
    """By the history that it follows, since an address can be spelled in more than one way."""
    facts = node.info("replication")
    return (facts["role"] == "slave" and facts["master_link_status"] == "up"
            and facts["master_replid"] == primary.info("replication")["master_replid"])


def lag_bytes(node, primary):
    """How far the node is behind, or None while it is not connected."""
    facts = node.info("replication")
    if facts.get("master_link_status") != "up":
        return None
    theirs = int(primary.info("replication")["master_repl_offset"])
    return theirs - int(facts["slave_repl_offset"])


def attach(node, primary, options):
    """Step 2. The priority comes first, so that the Sentinels meet the node with it."""
    if is_replica_of(node, primary):
        tell("%s is a replica of %s already" % (node, primary))
        return
    count = key_count(node)
    if count and not options.replace_data:
        raise Refused("%s holds %d keys, which would be lost; --replace-data takes that into account"
                      % (node, count))
    if primary.password:
        node.do("CONFIG", "SET", "masterauth", primary.password)
        node.do("CONFIG", "SET", "masteruser", primary.user or "")
    tell("%s becomes a replica of %s" % (node, primary))
    node.do("REPLICAOF", primary.host, primary.port)

    def is_close():
        lag = lag_bytes(node, primary)
        return lag is not None and lag <= LAG_BYTES_MAX
    wait_for(is_close, "a replica that keeps up", options.timeout)
    tell("it has %d keys and keeps up" % key_count(node))


def prepare(sentinels, node, timeout):
    """Step 3: (the address by which the Sentinels know the node, its priority before)."""
    run_id = node.info("server")["run_id"]
    address = wait_for(lambda: sentinels.address_of(run_id), "a replica that all Sentinels know",
                       timeout)
    before = node.setting("replica-priority")
    lowest = min([int(one["slave-priority"]) for peer in sentinels.peers
                  for one in sentinels.replicas(peer)
                  if one.get("runid") != run_id and int(one["slave-priority"]) > 0] or [100])
    if lowest <= 1:
        raise Refused("another replica has replica-priority 1; raise it, so that %s can be preferred"
                      % node)
    if not 0 < int(before) < lowest:
        node.do("CONFIG", "SET", "replica-priority", lowest - 1)
    wait_for(lambda: sentinels.prefer(run_id), "the preference of all Sentinels", timeout)
    tell("all %d Sentinels know it as %s:%d and prefer it" % (len(sentinels.peers), *address))
    return address, before


def hand_over(primary, node, address):
    """Step 4."""
    tell("FAILOVER TO %s:%d" % address)
    primary.do("FAILOVER", "TO", *address, "TIMEOUT", FAILOVER_TIMEOUT_MS)

    def is_decided():
        return primary.info("replication")["master_failover_state"] == "no-failover"
    wait_for(is_decided, "the end of FAILOVER")
    if node.info("replication")["role"] != "master":
        raise Refused("FAILOVER was given up; %s is still primary" % primary)
    tell("%s is primary" % node)


def replicas_of(sentinels, options):
    """The other nodes, as the Sentinels know them."""
    password = os.environ.get("REDISCLI_AUTH")
    known = {(one["ip"], int(one["port"])) for one in sentinels.replicas(sentinels.peers[0])}
    return [Peer(address, options.user, password) for address in sorted(known)]


def move(sentinels, node, primary, options):
    """Steps 3 to 6."""
    address, priority = prepare(sentinels, node, options.timeout)
    before = int(node.info("stats")["sync_full"])
    try:
        hand_over(primary, node, address)
    except Refused:
        node.do("CONFIG", "SET", "replica-priority", priority)
        raise
    # From here on the priority stays low until all is done: should this fail, Sentinel comes to the
    # same end by itself, and chooses by it.
    sentinels.follow(address)
    tell("the Sentinels tell clients of %s:%d" % address)
    wait_for(lambda: sentinels.have_settled_on(address), "the end of Sentinel's failover",
             options.timeout)
    for replica in replicas_of(sentinels, options):
        wait_for(lambda peer=replica: is_replica_of(peer, node), "the link of the replica %s" % replica,
                 options.timeout)
        tell("%s follows it" % replica)
    node.do("CONFIG", "SET", "replica-priority", priority)
    node.ask("CONFIG", "REWRITE")  # Sentinel has had the low one written, where there is a file.
    count = int(node.info("stats")["sync_full"]) - before
    tell("%d full resynchronisations were needed for the change" % count)


def run(options):
    password = os.environ.get("REDISCLI_AUTH")
    sentinels = Sentinels(options.sentinel, options.name, os.environ.get("SENTINEL_AUTH"))
    primary = Peer(sentinels.primary(), options.user, password)
    node = Peer(options.node, options.user, password)
    sentinels.check_calm()
    tell("primary: " + kind_of(primary))
    tell("node:    " + kind_of(node))
    if node.info("server")["run_id"] == primary.info("server")["run_id"]:
        tell("%s is primary already" % node)
        return
    if primary.info("replication")["role"] != "master":
        raise Refused("%s is not a primary, whatever the Sentinels say" % primary)
    if options.check:
        return
    attach(node, primary, options)
    if not options.attach_only:
        move(sentinels, node, primary, options)


def main():
    parser = argparse.ArgumentParser(
        description="Make a node primary of a group that Sentinel watches, without a lost write.")
    parser.add_argument("--sentinel", action="append", required=True, type=address_of,
                        metavar="HOST:PORT", help="a Sentinel; those that it knows are found")
    parser.add_argument("--name", required=True, help="the group's name, as in sentinel monitor")
    parser.add_argument("--node", required=True, type=address_of, metavar="HOST:PORT",
                        help="who is to be primary")
    parser.add_argument("--user", help="the user of the password in REDISCLI_AUTH")
    parser.add_argument("--timeout", type=int, default=3600,
                        help="seconds for each wait that depends on the amount of data")
    parser.add_argument("--attach-only", action="store_true",
                        help="end when the node is a replica that keeps up")
    parser.add_argument("--replace-data", action="store_true",
                        help="the node's own data may be lost")
    parser.add_argument("--check", action="store_true", help="look only; change nothing")
    try:
        run(parser.parse_args())
    except Refused as refused:
        tell("adopt.py: %s" % refused)
        sys.exit(1)


if __name__ == "__main__":
    main()
