"""HyperLogLogs over a socket: byte for byte what redis-server makes, with every limit of the sparse form."""
from harness import Case, Server, main

LIMITS = (0, 18, 100, 3000, 12304, 16000, 1000000)


class Form(Case):
    def test_the_limit_decides_when_a_sparse_one_becomes_dense(self):
        self.call("CONFIG", "SET", "hll-sparse-max-bytes", 100)
        try:
            forms = []
            for number in range(60):
                self.call("PFADD", "h", number)
                forms.append(self.call("STRLEN", "h"))
            self.assertTrue(all(length <= 100 or length == 12304 for length in forms))
            self.assertEqual(forms[-1], 12304)
            self.assertGreater(max(length for length in forms if length < 12304), 95)
            self.call("CONFIG", "SET", "hll-sparse-max-bytes", 3000)
            self.call("PFADD", "h", "another")
            self.assertEqual(self.call("STRLEN", "h"), 12304)  # There is no way back.
        finally:
            self.call("CONFIG", "SET", "hll-sparse-max-bytes", 3000)

    def test_every_limit_makes_the_bytes_of_redis(self):
        with Server(kind="redis") as redis, redis.connect() as conn:
            for limit in LIMITS:
                for call in (self.call, conn.call):
                    self.assertEqual(call("CONFIG", "SET", "hll-sparse-max-bytes", limit), "OK")
                    call("DEL", "one", "many", "merged")
                for step in range(60):
                    numbers = range(step * 40, step * 40 + 1 + step * 2)
                    for call in (self.call, conn.call):
                        call("PFADD", "one", step)
                        call("PFADD", "many", *numbers)
                    for key in ("one", "many"):
                        self.assertEqual(self.call("GET", key), conn.call("GET", key), (limit, step))
                for call in (self.call, conn.call):
                    call("PFADD", "many", *range(20000))
                    self.assertEqual(call("PFMERGE", "merged", "one", "many"), "OK")
                for key in ("many", "merged"):
                    self.assertEqual(self.call("GET", key), conn.call("GET", key), limit)
                    self.assertEqual(self.call("PFCOUNT", key), conn.call("PFCOUNT", key))
        self.call("CONFIG", "SET", "hll-sparse-max-bytes", 3000)


if __name__ == "__main__":
    main()
