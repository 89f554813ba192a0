// A queue of jobs as applications build it: consumers that wait in BLPOP or BLMOVE, producers that push,
// counters that are changed under WATCH.
import assert from "node:assert/strict";
import { test } from "node:test";

import { libraries } from "./library.mjs";

const CONSUMERS = 8;
const JOBS = 400;
const STOP = "stop";

const isIoredis = (library) => library.name.startsWith("ioredis");

// What each library calls its own blocking pop, transaction and end.
const faces = {
  ioredis: {
    pop: async (client, key, seconds) => (await client.blpop(key, seconds))?.[1] ?? null,
    move: (client, from, to, seconds) => client.blmove(from, to, "LEFT", "RIGHT", seconds),
    watch: (client, key) => client.watch(key),
    // null: a watched key has changed.
    set: (client, key, value) => client.multi().set(key, value).exec(),
    end: (client) => client.disconnect(),
  },
  redis: {
    pop: async (client, key, seconds) => (await client.blPop(key, seconds))?.element ?? null,
    move: (client, from, to, seconds) => client.blMove(from, to, "LEFT", "RIGHT", seconds),
    watch: (client, key) => client.watch(key),
    set: (client, key, value) =>
      client.multi().set(key, value).exec().catch((error) => {
        if (error.constructor.name === "WatchError") return null;
        throw error;
      }),
    end: (client) => (client.destroy ? client.destroy() : client.disconnect()),
  },
};

async function withClients(library, count, run) {
  const clients = await Promise.all([...Array(count)].map(() => library.open()));
  try {
    await run(...clients);
  } finally {
    await Promise.all(clients.map((client) => library.close(client)));
  }
}

async function consume(face, client, key, done) {
  for (;;) {
    const job = await face.pop(client, key, 0);
    if (job === STOP) return;
    done.push(job);
  }
}

for (const library of libraries) {
  const options = { skip: library.skip, timeout: 60000 };
  const face = faces[isIoredis(library) ? "ioredis" : "redis"];
  const key = (name) => `${library.name}:jobs:${name}`;

  test(`${library.name}: ${CONSUMERS} waiting consumers do each job once`, options, () =>
    withClients(library, CONSUMERS + 1, async (producer, ...consumers) => {
      const done = [];
      const loops = consumers.map((client) => consume(face, client, key("queue"), done));
      for (let n = 0; n < JOBS; n++) await library.call(producer, "RPUSH", key("queue"), String(n));
      for (const _ of consumers) await library.call(producer, "RPUSH", key("queue"), STOP);
      await Promise.all(loops);
      assert.deepEqual(done.map(Number).sort((a, b) => a - b), [...Array(JOBS).keys()]);
      assert.equal(await library.call(producer, "EXISTS", key("queue")), 0);
    }));

  test(`${library.name}: a job moves to the list of what is being done`, options, () =>
    withClients(library, 2, async (producer, consumer) => {
      const moved = face.move(consumer, key("waiting"), key("doing"), 0);
      await library.call(producer, "RPUSH", key("waiting"), "a");
      assert.equal(await moved, "a");
      assert.deepEqual(await library.call(producer, "LRANGE", key("doing"), "0", "-1"), ["a"]);
      await library.call(producer, "DEL", key("doing"));
    }));

  test(`${library.name}: a wait ends after its time, or when it is unblocked`, options, () =>
    withClients(library, 2, async (client, other) => {
      const start = performance.now();
      assert.equal(await face.pop(client, key("nothing"), 0.05), null);
      assert.ok(performance.now() - start >= 49);
      const id = await library.call(client, "CLIENT", "ID");
      const waits = face.pop(client, key("nothing"), 0);
      while ((await library.call(other, "CLIENT", "UNBLOCK", String(id))) === 0);
      assert.equal(await waits, null);
    }));

  test(`${library.name}: a consumer that goes away while it waits takes no job with it`, options, () =>
    withClients(library, 1, async (producer) => {
      const gone = await library.open();
      const id = await library.call(gone, "CLIENT", "ID");
      face.pop(gone, key("left"), 0).catch(() => {});
      const list = async () => String(await library.call(producer, "CLIENT", "LIST", "ID", String(id)));
      while (!(await list()).includes("cmd=blpop"));
      face.end(gone);
      while ((await list()) !== "");
      assert.equal(await library.call(producer, "RPUSH", key("left"), "a"), 1);
      assert.deepEqual(await library.call(producer, "LRANGE", key("left"), "0", "-1"), ["a"]);
      await library.call(producer, "DEL", key("left"));
    }));

  test(`${library.name}: a transaction answers for each command`, options, () =>
    withClients(library, 1, async (client) => {
      const answers = await library.transaction(client, [
        ["SET", key("n"), "5"],
        ["INCR", key("n")],
        ["GET", key("n")],
        ["DEL", key("n")],
      ]);
      assert.deepEqual(answers, ["OK", 6, "6", 1]);
    }));

  test(`${library.name}: counters that are changed under WATCH lose nothing`, options, () =>
    withClients(library, 4, async (...clients) => {
      let conflicts = 0;
      await library.call(clients[0], "SET", key("counter"), "0");
      await Promise.all(clients.map(async (client) => {
        for (let n = 0; n < 25; ) {
          await face.watch(client, key("counter"));
          const value = Number(await library.call(client, "GET", key("counter")));
          if ((await face.set(client, key("counter"), String(value + 1))) === null) conflicts++;
          else n++;
        }
      }));
      assert.equal(await library.call(clients[0], "GET", key("counter")), "100");
      assert.ok(conflicts > 0, "nobody was ever in the way");
      await library.call(clients[0], "DEL", key("counter"));
    }));
}
