// The node libraries doing what everybody starts with: connect, read and write, pipelines, big values,
// errors as the library shows them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { libraries } from "./library.mjs";

const PIPELINE_COMMANDS = 10000;
const BIG_BYTES = 100 * 1000 * 1000;

async function withClient(library, run) {
  const client = await library.open();
  try {
    await run(client);
  } finally {
    await library.close(client);
  }
}

for (const library of libraries) {
  const options = { skip: library.skip, timeout: 60000 };
  const key = (name) => `${library.name}:${name}`;

  test(`${library.name} connects, writes and reads`, options, () =>
    withClient(library, async (client) => {
      assert.equal(await library.call(client, "PING"), "PONG");
      assert.equal(await library.call(client, "SET", key("text"), "héllo"), "OK");
      assert.equal(await library.call(client, "GET", key("text")), "héllo");
      assert.equal(await library.call(client, "GET", key("missing")), null);
      assert.equal(await library.call(client, "INCR", key("count")), 1);
      assert.equal(await library.call(client, "DEL", key("text"), key("count")), 2);
    }));

  test(`${library.name} keeps ${PIPELINE_COMMANDS} pipelined commands in order`, options, () =>
    withClient(library, async (client) => {
      const numbers = [...Array(PIPELINE_COMMANDS).keys()];
      const answers = await library.pipeline(client, numbers.map((n) => ["SET", key("n"), String(n), "GET"]));
      assert.equal(answers[0], null);
      assert.deepEqual(answers.slice(1), numbers.slice(0, -1).map(String));
      await library.call(client, "DEL", key("n"));
    }));

  test(`${library.name} moves a value of 100 MB there and back`, options, () =>
    withClient(library, async (client) => {
      const value = Buffer.alloc(BIG_BYTES, "\x00\r\n0123456789abcdef");
      assert.equal(await library.call(client, "SET", key("big"), value), "OK");
      const back = await library.getBuffer(client, key("big"));
      assert.equal(back.length, BIG_BYTES);
      assert.ok(value.equals(back));
      await library.call(client, "DEL", key("big"));
    }));

  test(`${library.name} passes on an error and goes on`, options, () =>
    withClient(library, async (client) => {
      await library.call(client, "SET", key("word"), "abc");
      await assert.rejects(library.call(client, "INCR", key("word")), /^\w*Error: ERR value is not an integer/);
      await assert.rejects(library.call(client, "NOSUCH", "a"), /unknown command/);
      assert.equal(await library.call(client, "GET", key("word")), "abc");
      await library.call(client, "DEL", key("word"));
    }));
}
