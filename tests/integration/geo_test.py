"""Places on the globe over a socket: positions, distances, searches against a haversine of our own."""
import math
import random

from harness import Case, main

RADIUS_M = 6372797.560856  # Redis's earth.
PALERMO = (13.361389, 38.115556)
CATANIA = (15.087269, 37.502669)


def distance(a, b):
    lon1, lat1, lon2, lat2 = map(math.radians, (*a, *b))
    u, v = math.sin((lat2 - lat1) / 2), math.sin((lon2 - lon1) / 2)
    return 2 * RADIUS_M * math.asin(math.sqrt(u * u + math.cos(lat1) * math.cos(lat2) * v * v))


class Places(Case):
    def setUp(self):
        super().setUp()
        self.call("GEOADD", "g", *PALERMO, "Palermo", *CATANIA, "Catania")

    def test_what_the_documentation_of_redis_shows(self):
        self.assertEqual(self.call("GEODIST", "g", "Palermo", "Catania"), b"166274.1516")
        self.assertEqual(self.call("GEODIST", "g", "Palermo", "Catania", "km"), b"166.2742")
        self.assertEqual(self.call("GEODIST", "g", "Palermo", "nobody"), None)
        self.assertEqual(self.call("GEOHASH", "g", "Palermo", "Catania", "nobody"),
                         [b"sqc8b49rny0", b"sqdtr74hyu0", None])
        self.assertEqual(self.call("GEORADIUS", "g", 15, 37, 200, "km", "WITHDIST", "ASC"),
                         [[b"Catania", b"56.4413"], [b"Palermo", b"190.4424"]])
        self.assertEqual(self.call("GEOSEARCH", "g", "FROMMEMBER", "Palermo", "BYRADIUS", 1, "km"), [b"Palermo"])

    def test_a_place_is_the_score_of_a_sorted_set(self):
        self.assertEqual(self.call("TYPE", "g"), "zset")
        self.assertEqual(self.call("ZSCORE", "g", "Palermo"), b"3479099956230698")
        self.assertEqual(self.call("ZREM", "g", "Palermo"), 1)
        self.assertEqual(self.call("GEOPOS", "g", "Palermo"), [None])

    def test_options_of_geoadd(self):
        self.assertEqual(self.call("GEOADD", "g", "NX", 1, 1, "Palermo", 2, 2, "New"), 1)
        self.assertEqual(self.call("GEOADD", "g", "XX", "CH", 1, 1, "Palermo", 3, 3, "Newer"), 1)
        self.assertEqual(self.call("ZCARD", "g"), 3)
        self.assertEqual(self.call("GEOADD", "g", 181, 0, "x"),
                         "ERR invalid longitude,latitude pair 181.000000,0.000000")
        self.assertEqual(self.call("GEOADD", "g", 0, 86, "x"), "ERR invalid longitude,latitude pair 0.000000,86.000000")

    def test_shapes_of_both_protocols(self):
        self.assertEqual(len(self.call("GEOPOS", "g", "Palermo")[0]), 2)
        self.assertEqual(self.raw("GEOPOS", "g", "nobody"), b"*1\r\n*-1\r\n")
        found = self.call("GEOSEARCH", "g", "FROMLONLAT", 15, 37, "BYBOX", 400, 400, "km", "ASC", "WITHCOORD", "WITHDIST",
                          "WITHHASH")
        self.assertEqual([item[0] for item in found], [b"Catania", b"Palermo"])
        self.assertEqual(found[0][1:3], [b"56.4413", 3479447370796909])
        self.call("HELLO", 3)
        position = self.call("GEOPOS", "g", "Palermo")[0]
        self.assertTrue(all(isinstance(number, float) for number in position))
        self.assertEqual(self.raw("GEOPOS", "g", "nobody"), b"*1\r\n_\r\n")

    def test_stored_searches(self):
        self.assertEqual(self.call("GEOSEARCHSTORE", "d", "g", "FROMLONLAT", 15, 37, "BYRADIUS", 100, "km"), 1)
        self.assertEqual(self.call("ZSCORE", "d", "Catania"), self.call("ZSCORE", "g", "Catania"))
        self.assertEqual(self.call("GEOSEARCHSTORE", "d", "g", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "STOREDIST"),
                         2)
        self.assertAlmostEqual(float(self.call("ZSCORE", "d", "Catania")), 56.4413, places=3)
        nearest = ("FROMLONLAT", 15, 37, "BYRADIUS", 200, "km", "COUNT", 1)
        self.assertEqual(self.call("GEOSEARCHSTORE", "d", "g", *nearest), 1)
        self.assertEqual(self.call("ZRANGE", "d", 0, -1), [b"Catania"])
        self.assertEqual(self.call("GEOSEARCHSTORE", "d", "g", *nearest, "DESC"), 1)
        self.assertEqual(self.call("ZRANGE", "d", 0, -1), [b"Palermo"])
        self.assertEqual(self.call("GEORADIUS", "g", 15, 37, 1, "m", "STORE", "d"), 0)
        self.assertEqual(self.call("EXISTS", "d"), 0)

    def test_errors(self):
        search = ("GEOSEARCH", "g")
        for rest, error in (
                (("FROMMEMBER", "nobody", "BYRADIUS", 1, "km"), "ERR could not decode requested zset member"),
                (("FROMLONLAT", 15, 37, "BYRADIUS", 1, "ell"), "ERR unsupported unit provided. please use M, KM, FT, MI"),
                (("FROMLONLAT", 15, 37, "BYRADIUS", -1, "km"), "ERR radius cannot be negative"),
                (("BYRADIUS", 1, "km", "ASC", "DESC", "COUNT", 1),
                 "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"),
                (("FROMLONLAT", 15, 37, "ASC", "COUNT", 1),
                 "ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH"),
                (("FROMLONLAT", 15, 37, "BYRADIUS", 1, "km", "ANY"), "ERR the ANY argument requires COUNT argument"),
                (("FROMLONLAT", 15, 37, "BYRADIUS", 1, "km", "COUNT", 0), "ERR COUNT must be > 0")):
            self.assertEqual(self.call(*search, *rest), error)


class Searches(Case):
    def fill(self, count, middle, spread):
        rng = random.Random(count)
        places = {}
        for n in range(count):
            lon = (middle[0] + rng.uniform(-spread, spread) + 180) % 360 - 180
            lat = max(-85, min(85, middle[1] + rng.uniform(-spread, spread)))
            places[b"p%d" % n] = (lon, lat)
        for start in range(0, count, 500):
            names = list(places)[start:start + 500]
            self.call("GEOADD", "g", *[word for name in names for word in (*places[name], name)])
        held = self.call("GEOPOS", "g", *places)
        for name, position in zip(places, held):
            exact = tuple(map(float, position))
            self.assertLess(distance(exact, places[name]), 1)  # 52 bits are good for less than a metre.
            places[name] = exact
        return places

    def check(self, count, middle, spread):
        places = self.fill(count, middle, spread)
        for radius_km in (1, 30, 300, 2000):
            limit = radius_km * 1000
            away = {name: distance(middle, place) for name, place in places.items()}
            wanted = {name for name in away if away[name] <= limit}
            unsure = {name for name in away if abs(away[name] - limit) < 0.01}
            found = self.call("GEOSEARCH", "g", "FROMLONLAT", *middle, "BYRADIUS", radius_km, "km", "WITHDIST", "ASC")
            self.assertLessEqual(wanted ^ {item[0] for item in found}, unsure, (middle, radius_km))
            meters = [float(item[1]) for item in found]
            self.assertEqual(meters, sorted(meters))
            for name, meter in found:
                self.assertAlmostEqual(float(meter) * 1000, away[name], delta=0.2)
            nearest = self.call("GEOSEARCH", "g", "FROMLONLAT", *middle, "BYRADIUS", radius_km, "km", "ASC", "COUNT", 5)
            self.assertEqual(nearest, [item[0] for item in found[:5]])
            some = self.call("GEOSEARCH", "g", "FROMLONLAT", *middle, "BYRADIUS", radius_km, "km", "COUNT", 3, "ANY")
            self.assertEqual(len(some), min(3, len(found)))
        self.call("DEL", "g")

    def test_a_search_finds_what_a_look_at_every_place_finds(self):
        self.check(2000, (2.35, 48.85), 5)
        self.check(50, (2.35, 48.85), 1)

    def test_searches_cross_the_date_line(self):
        self.check(2000, (179.9, -17), 5)

    def test_searches_near_the_ends_of_the_map(self):
        self.check(1000, (20, 80), 4)
        self.check(1000, (-100, -80), 4)

    def test_a_box_holds_what_lies_within_its_sides(self):
        places = self.fill(1500, (10, 50), 4)
        found = self.call("GEOSEARCH", "g", "FROMLONLAT", 10, 50, "BYBOX", 300, 100, "km")
        for name, (lon, lat) in places.items():
            inside = distance((10, lat), (10, 50)) <= 50000 and distance((lon, lat), (10, lat)) <= 150000
            near = abs(distance((10, lat), (10, 50)) - 50000) < 1 or abs(distance((lon, lat), (10, lat)) - 150000) < 1
            self.assertTrue(near or (name in found) == inside, (name, lon, lat))


if __name__ == "__main__":
    main()
