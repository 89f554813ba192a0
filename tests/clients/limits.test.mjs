// Rate limiters and locks, which are scripts because a client may not see a half of them: the store of
// express-rate-limit, rate-limiter-flexible, Redlock on one node.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { libraries } from "./library.mjs";

const require = createRequire(import.meta.url);
const { RedisStore } = require("rate-limit-redis");
const { RateLimiterRedis, RateLimiterQueue, RateLimiterRes, BurstyRateLimiter } = require("rate-limiter-flexible");
const { default: Redlock, ResourceLockedError, ExecutionError } = require("redlock");

const options = (library) => ({ skip: library.skip, timeout: 30000 });
const isIoredis = (library) => library.name.startsWith("ioredis");

async function withClient(library, run) {
  const client = await library.open();
  try {
    await run(client);
  } finally {
    await library.close(client);
  }
}

async function untilGone(library, client, key) {
  while ((await library.call(client, "EXISTS", key)) !== 0);
}

for (const library of libraries) {
  const withStore = (settings, run) =>
    withClient(library, async (client) => {
      const prefix = `${library.name}:store:`;
      const store = new RedisStore({
        sendCommand: (...words) => library.call(client, ...words), prefix, ...settings,
      });
      await run(store, client, `${prefix}someone`);
      await library.call(client, "DEL", `${prefix}someone`);
    });

  test(`${library.name}: rate-limit-redis counts the hits of a window`, options(library), () =>
    withStore({}, async (store, client, key) => {
      store.init({ windowMs: 60000 });
      assert.equal((await store.increment("someone")).totalHits, 1);
      const second = await store.increment("someone");
      assert.equal(second.totalHits, 2);
      const left = second.resetTime.getTime() - Date.now();
      assert.ok(left > 0 && left <= 60000, `${left} ms are left`);
      await store.decrement("someone");
      assert.equal((await store.get("someone")).totalHits, 1);
      await store.resetKey("someone");
      assert.equal(await library.call(client, "EXISTS", key), 0);
      assert.equal((await store.increment("someone")).totalHits, 1);
    }));

  test(`${library.name}: rate-limit-redis loses nothing when hits come at once`, options(library), () =>
    withStore({}, async (store) => {
      store.init({ windowMs: 60000 });
      const hits = await Promise.all([...Array(300)].map(() => store.increment("someone")));
      assert.deepEqual(hits.map((hit) => hit.totalHits), [...Array(300).keys()].map((n) => n + 1));
    }));

  test(`${library.name}: rate-limit-redis begins anew after the window`, options(library), () =>
    withStore({}, async (store, client, key) => {
      store.init({ windowMs: 50 });
      assert.equal((await store.increment("someone")).totalHits, 1);
      await untilGone(library, client, key);
      assert.equal((await store.increment("someone")).totalHits, 1);
    }));

  test(`${library.name}: rate-limit-redis moves the end of the window when told to`, options(library), () =>
    withStore({ resetExpiryOnChange: true }, async (store, client, key) => {
      store.init({ windowMs: 60000 });
      await store.increment("someone");
      await library.call(client, "PEXPIRE", key, "30000");
      await store.increment("someone");
      assert.ok((await library.call(client, "PTTL", key)) > 30000);
    }));

  test(`${library.name}: rate-limit-redis loads its scripts again after SCRIPT FLUSH`, options(library), () =>
    withStore({}, async (store, client) => {
      store.init({ windowMs: 60000 });
      assert.equal((await store.increment("someone")).totalHits, 1);
      await library.call(client, "SCRIPT", "FLUSH");
      assert.equal((await store.increment("someone")).totalHits, 2);
      await library.call(client, "SCRIPT", "FLUSH");
      assert.equal((await store.get("someone")).totalHits, 2);
    }));

  const limiterOf = (client, settings) => new RateLimiterRedis({
    storeClient: client, useRedisPackage: !isIoredis(library), keyPrefix: `${library.name}:limiter`, ...settings,
  });

  test(`${library.name}: rate-limiter-flexible lets through what it may`, options(library), () =>
    withClient(library, async (client) => {
      const limiter = limiterOf(client, { points: 3, duration: 60 });
      for (let n = 1; n <= 3; n++) {
        const passed = await limiter.consume("someone");
        assert.deepEqual([passed.consumedPoints, passed.remainingPoints, passed.isFirstInDuration],
          [n, 3 - n, n === 1]);
      }
      const refused = await limiter.consume("someone").then(assert.fail, (reason) => reason);
      assert.ok(refused instanceof RateLimiterRes);
      assert.equal(refused.remainingPoints, 0);
      assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 60000);
      await limiter.reward("someone", 2);
      assert.equal((await limiter.get("someone")).consumedPoints, 2);
      await limiter.penalty("someone", 1);
      assert.equal((await limiter.get("someone")).remainingPoints, 0);
      await limiter.block("someone", 100);
      assert.ok((await limiter.get("someone")).msBeforeNext > 60000);
      assert.equal(await limiter.delete("someone"), true);
      assert.equal(await limiter.get("someone"), null);
    }));

  test(`${library.name}: rate-limiter-flexible lets no more than it may through at once`, options(library), () =>
    withClient(library, async (client) => {
      const limiter = limiterOf(client, { points: 10, duration: 60 });
      const outcomes = await Promise.allSettled([...Array(50)].map(() => limiter.consume("crowd")));
      assert.equal(outcomes.filter((outcome) => outcome.status === "fulfilled").length, 10);
      const reasons = outcomes.map((outcome) => outcome.reason).filter((reason) => reason !== undefined);
      assert.ok(reasons.every((reason) => reason instanceof RateLimiterRes), String(reasons[0]));
      await limiter.delete("crowd");
    }));

  test(`${library.name}: rate-limiter-flexible blocks for a time, allows bursts`, options(library), () =>
    withClient(library, async (client) => {
      const limiter = limiterOf(client, { points: 1, duration: 60, blockDuration: 100 });
      await limiter.consume("blocked");
      const refused = await limiter.consume("blocked").then(assert.fail, (reason) => reason);
      assert.ok(refused.msBeforeNext > 60000);
      const bursty = new BurstyRateLimiter(
        limiterOf(client, { points: 1, duration: 60 }),
        limiterOf(client, { points: 2, duration: 60, keyPrefix: `${library.name}:burst` }),
      );
      for (let n = 0; n < 3; n++) await bursty.consume("bursty");
      await assert.rejects(bursty.consume("bursty"), (reason) => reason instanceof RateLimiterRes);
      for (const name of ["blocked", "bursty"]) await limiter.delete(name);
      await library.call(client, "DEL", `${library.name}:burst:bursty`);
    }));

  if (library.protocol === 2) continue; // It waits for a second, so three libraries are enough.

  test(`${library.name}: a queue of rate-limiter-flexible waits for the next window`, options(library), () =>
    withClient(library, async (client) => {
      const queue = new RateLimiterQueue(limiterOf(client, { points: 2, duration: 1 }), { maxQueueSize: 10 });
      const start = performance.now();
      await Promise.all([...Array(3)].map(() => queue.removeTokens(1, "waits")));
      assert.ok(performance.now() - start >= 900);
      await library.call(client, "DEL", `${library.name}:limiter:waits`);
    }));
}

// Redlock speaks through ioredis only; on one node it is the lock that most applications have.
for (const library of libraries.filter(isIoredis)) {
  const resource = (name) => `${library.name}:lock:${name}`;
  const withLocks = (settings, run) =>
    withClient(library, (client) =>
      withClient(library, (other) => run(new Redlock([client], settings), new Redlock([other], settings), client)));

  // The refusal of `promise`, which must be for the one reason that somebody else holds the lock.
  const refusal = async (promise) => {
    const error = await promise.then(assert.fail, (reason) => reason);
    assert.ok(error instanceof ExecutionError, String(error));
    for (const attempt of await Promise.all(error.attempts)) {
      for (const vote of attempt.votesAgainst.values()) assert.ok(vote instanceof ResourceLockedError, String(vote));
    }
    return error;
  };

  test(`${library.name}: a lock of Redlock is had by one`, options(library), () =>
    withLocks({ retryCount: 2, retryDelay: 1, retryJitter: 1 }, async (one, other, client) => {
      const lock = await one.acquire([resource("a"), resource("b")], 60000);
      assert.equal(await client.get(resource("a")), lock.value);
      assert.ok((await client.pttl(resource("b"))) > 0);
      const refused = await refusal(other.acquire([resource("b"), resource("c")], 60000));
      assert.equal(refused.attempts.length, 3);
      assert.equal(await client.exists(resource("c")), 0, "a refused lock holds nothing");
      await lock.release();
      const next = await other.acquire([resource("b"), resource("c")], 60000);
      await next.release();
      assert.equal(await client.exists(resource("a"), resource("b"), resource("c")), 0);
    }));

  test(`${library.name}: who contends for a lock of Redlock gets it in the end`, options(library), () =>
    withLocks({ retryCount: 2000, retryDelay: 2, retryJitter: 2 }, async (one, other, client) => {
      let inside = 0;
      await client.set(resource("counter"), 0);
      await Promise.all([one, other, one, other].map(async (locks) => {
        for (let n = 0; n < 10; n++) {
          const lock = await locks.acquire([resource("shared")], 60000);
          assert.equal(++inside, 1);
          const value = Number(await client.get(resource("counter")));
          await client.set(resource("counter"), value + 1);
          inside--;
          await lock.release();
        }
      }));
      assert.equal(await client.get(resource("counter")), "40");
      await client.del(resource("counter"));
    }));

  test(`${library.name}: a lock of Redlock is extended by its owner alone`, options(library), () =>
    withLocks({ retryCount: 0 }, async (one, other, client) => {
      let lock = await one.acquire([resource("long")], 10000);
      lock = await lock.extend(60000);
      assert.ok((await client.pttl(resource("long"))) > 10000);
      await client.set(resource("long"), "somebody else");
      await refusal(lock.extend(60000));
      await refusal(lock.release());
      assert.equal(await client.get(resource("long")), "somebody else");
      await client.del(resource("long"));
    }));

  test(`${library.name}: a lock of Redlock ends by itself when its owner is gone`, options(library), () =>
    withLocks({ retryCount: 2000, retryDelay: 5, retryJitter: 1 }, async (one, other) => {
      const start = performance.now();
      await one.acquire([resource("left")], 100);
      const lock = await other.acquire([resource("left")], 60000);
      assert.ok(performance.now() - start >= 99);
      await lock.release();
    }));

  test(`${library.name}: Redlock extends a lock for as long as it is used`, options(library), () =>
    withLocks({ retryCount: 0, automaticExtensionThreshold: 4800 }, async (one, other, client) => {
      await one.using([resource("using")], 5000, async (signal) => {
        const value = await client.get(resource("using"));
        let left = await client.pttl(resource("using"));
        for (let extended = 0; extended < 2;) {
          const now = await client.pttl(resource("using"));
          if (now > left) extended++;
          left = now;
        }
        assert.equal(signal.aborted, false);
        assert.equal(await client.get(resource("using")), value);
        await refusal(other.acquire([resource("using")], 100));
      });
      assert.equal(await client.exists(resource("using")), 0);
    }));
}
