"""Ten thousand connections at once: each is answered, and while idle costs next to nothing."""
import resource

from harness import Case, encode, main, wait_until

COUNT = 10000
SPARE = 200          # Descriptors of each side that are no connections.
IDLE_BYTES_MAX = 1000
POOLS_BYTES_MAX = 20 << 20  # Buffers that all connections share, kept warm after a burst.


def raise_descriptor_limit(wanted):
    """The limit that this process and the servers it starts get at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class ManyConnections(Case):
    args = ("--maxclients", COUNT + SPARE // 2, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")

    @classmethod
    def setUpClass(cls):
        cls.descriptors = raise_descriptor_limit(COUNT + SPARE)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        if self.descriptors < COUNT + SPARE:
            self.skipTest("the hard limit of open files is below %d" % (COUNT + SPARE))

    def info(self, section, field):
        lines = self.call("INFO", section).decode().splitlines()
        return int(dict(line.split(":", 1) for line in lines if ":" in line)[field])

    def ask_all(self, conns, *words):
        """Every connection has its command under way before the first reply is read."""
        request = encode(*words)
        for conn in conns:
            conn.send(request)
        return [conn.read() for conn in conns]

    def test_each_of_ten_thousand_is_answered_and_idle_ones_are_small(self):
        conns = [self.connect(timeout=60) for _ in range(COUNT)]
        self.assertEqual(self.ask_all(conns, "PING"), ["PONG"] * COUNT)
        ids = self.ask_all(conns, "CLIENT", "ID")
        self.assertEqual(len(set(ids)), COUNT)
        self.assertEqual(sorted(self.ask_all(conns, "INCR", "n")), list(range(1, COUNT + 1)))
        self.assertEqual(self.info("clients", "connected_clients"), COUNT + 1)
        opened = self.info("memory", "mem_clients_normal")
        line = self.call("CLIENT", "LIST", "ID", ids[COUNT // 2]).decode()
        fields = dict(word.split("=", 1) for word in line.split())
        self.assertLessEqual(int(fields["tot-mem"]), IDLE_BYTES_MAX)
        self.assertEqual(self.info("stats", "evicted_keys") + self.info("stats", "evicted_clients"), 0)
        for conn in conns:
            conn.close()
        wait_until(lambda: self.info("clients", "connected_clients") == 1, timeout=60)
        closed = self.info("memory", "mem_clients_normal")
        self.assertLessEqual((opened - closed) / COUNT, IDLE_BYTES_MAX)
        self.assertLessEqual(closed, POOLS_BYTES_MAX)
        self.assertEqual(self.call("GET", "n"), b"%d" % COUNT)


if __name__ == "__main__":
    main()
