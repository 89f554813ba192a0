// The node libraries in Sentinel mode: the primary dies, and each client writes and hears messages again
// by itself.
//
// run_node.py gives this file three nodes and three Sentinels. All libraries are connected when the
// primary is killed, so one failover serves all; each test then tells of one library.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(import.meta.url);
const sentinels = process.env.OURO_SENTINELS.split(",").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const name = process.env.OURO_SENTINEL_NAME;
const nodeMajor = Number(process.versions.node.split(".")[0]);
const RECOVERY_MS = 60000;
const WRITES = 10;

function ioredis(major, protocol) {
  return {
    name: `ioredis ${major}, RESP${protocol}`,
    skip: major >= 6 && nodeMajor < 20 ? "needs node 20" : false,
    async open() {
      const Redis = require(`ioredis-${major}`);
      const client = new Redis({ sentinels, name, protocol });
      const listener = client.duplicate();
      for (const one of [client, listener]) one.on("error", () => {});
      return {
        set: (key, value) => client.set(key, value),
        publish: (channel, text) => client.publish(channel, text),
        subscribe: async (channel, hear) => {
          listener.on("message", (_, text) => hear(text));
          await listener.subscribe(channel);
        },
        close: () => { client.disconnect(); listener.disconnect(); },
      };
    },
  };
}

function nodeRedis(major, protocol) {
  return {
    name: `redis ${major}, RESP${protocol}`,
    skip: major >= 6 && nodeMajor < 20 ? "needs node 20" : false,
    async open() {
      const { createSentinel } = require(`redis-${major}`);
      const client = createSentinel({ name, sentinelRootNodes: sentinels, RESP: protocol, scanInterval: 1000 });
      client.on("error", () => {});
      await client.connect();
      return {
        set: (key, value) => client.set(key, value),
        publish: (channel, text) => client.publish(channel, text),
        subscribe: (channel, hear) => client.subscribe(channel, hear),
        close: () => client.destroy(),
      };
    },
  };
}

const libraries = [ioredis(5, 2), ioredis(6, 2), ioredis(6, 3), nodeRedis(5, 2), nodeRedis(5, 3), nodeRedis(6, 2), nodeRedis(6, 3)];
const used = libraries.filter((library) => !library.skip);
const states = new Map();
let killedAt = 0;
let isOver = false;

// Writes and publishes until the end, whatever happens.
async function work(state, key) {
  for (let n = 0; !isOver; n++) {
    try {
      const begun = performance.now();
      await state.client.set(key, String(n));
      await state.client.publish(key, String(n));
      state.writes.push(begun);
    } catch (error) {
      state.errors.push(String(error));
    }
    await sleep(20);
  }
}

async function until(condition, what) {
  const deadline = performance.now() + RECOVERY_MS;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `${what()} within ${RECOVERY_MS} ms`);
    await sleep(10);
  }
}

const since = (times) => times.filter((time) => killedAt && time > killedAt);

before(async () => {
  for (const library of used) {
    const key = `sentinel:${library.name}`;
    const state = { client: await library.open(), writes: [], heard: [], errors: [] };
    states.set(library, state);
    await state.client.subscribe(key, () => state.heard.push(performance.now()));
    state.work = work(state, key);
  }
  for (const [library, state] of states) {
    await until(() => state.writes.length >= WRITES && state.heard.length > 0,
      () => `${library.name} writes and hears (${state.errors.slice(-1)})`);
  }
  process.kill(Number(process.env.OURO_PRIMARY_PID), "SIGKILL");
  killedAt = performance.now();
}, { timeout: 2 * RECOVERY_MS });

after(() => {
  isOver = true;
  for (const state of states.values()) state.client.close();
  // A library may still be connecting somewhere.
  setTimeout(() => process.exit(), 500).unref();
});

for (const library of libraries) {
  test(`${library.name} goes on by itself after a failover`, { skip: library.skip, timeout: 2 * RECOVERY_MS }, async (t) => {
    const state = states.get(library);
    await until(() => since(state.writes).length >= WRITES, () => `writes of ${library.name} (${state.errors.slice(-1)})`);
    await until(() => since(state.heard).length > 0, () => `messages to ${library.name}`);
    const first = Math.round(since(state.writes)[0] - killedAt);
    t.diagnostic(`written again ${first} ms after the primary's death`);
  });
}
