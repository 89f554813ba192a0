"""Sets over a socket: replies of both protocols, forms, and large sets."""
import random

from harness import Case, main


class Members(Case):
    def setUp(self):
        super().setUp()
        self.needs_command("SADD")

    def test_forms_change_with_what_a_set_holds(self):
        self.call("SADD", "s", *range(512))
        self.assertEqual(self.call("OBJECT", "ENCODING", "s"), b"intset")
        self.call("SADD", "s", 512)
        self.assertEqual(self.call("OBJECT", "ENCODING", "s"), b"hashtable")
        self.call("SADD", "t", "a", 1, 2)
        self.assertEqual(self.call("OBJECT", "ENCODING", "t"), b"listpack")
        self.call("SADD", "t", "x" * 65)
        self.assertEqual(self.call("OBJECT", "ENCODING", "t"), b"hashtable")

    def test_a_large_set_is_what_was_added_and_not_removed(self):
        rng = random.Random(7)
        twin = set()
        for _ in range(200):
            some = [b"m:%d" % rng.randrange(5000) for _ in range(50)]
            if rng.random() < 0.7:
                self.assertEqual(self.call("SADD", "s", *some), len(set(some) - twin))
                twin |= set(some)
            else:
                self.assertEqual(self.call("SREM", "s", *some), len(set(some) & twin))
                twin -= set(some)
        self.assertEqual(self.call("SCARD", "s"), len(twin))
        self.assertEqual(set(self.call("SMEMBERS", "s")), twin)

    def test_popping_all_members_leaves_no_key(self):
        wanted = {b"m:%d" % i for i in range(1000)}
        self.call("SADD", "s", *wanted)
        got = []
        while len(got) < 1000:
            got += self.call("SPOP", "s", "70")
        self.assertEqual(set(got), wanted)
        self.assertEqual(self.call("EXISTS", "s"), 0)

    def test_algebra_agrees_with_pythons(self):
        rng = random.Random(8)
        sets = []
        for i in range(4):
            sets.append({b"%d" % rng.randrange(3000) if rng.random() < 0.5 else b"m%d" % rng.randrange(3000)
                         for _ in range(10 ** i * 3)})
            self.call("SADD", "s%d" % i, *sets[i])
        for a in range(4):
            for b in range(4):
                keys = ("s%d" % a, "s%d" % b)
                self.assertEqual(set(self.call("SINTER", *keys)), sets[a] & sets[b])
                self.assertEqual(set(self.call("SUNION", *keys)), sets[a] | sets[b])
                self.assertEqual(set(self.call("SDIFF", *keys)), sets[a] - sets[b])
                self.assertEqual(self.call("SINTERCARD", 2, *keys), len(sets[a] & sets[b]))
                self.assertEqual(self.call("SUNIONSTORE", "d", *keys), len(sets[a] | sets[b]))
                self.assertEqual(set(self.call("SMEMBERS", "d")), sets[a] | sets[b])

    def test_scanning_finds_what_stays_while_the_set_changes(self):
        stays = {b"stays:%d" % i for i in range(500)}
        self.call("SADD", "s", *stays)
        seen, cursor, step = set(), b"0", 0
        while True:
            cursor, found = self.call("SSCAN", "s", cursor, "COUNT", 20)
            seen |= set(found)
            self.call("SADD", "s", *["extra:%d:%d" % (step, i) for i in range(30)])
            step += 1
            if cursor == b"0":
                break
        self.assertEqual(stays - seen, set())


if __name__ == "__main__":
    main()
