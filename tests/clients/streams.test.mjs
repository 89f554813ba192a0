// Consumers of a group through the node libraries: one is lost with what it was given, another recovers it, and
// one waits for what comes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { libraries } from "./library.mjs";

const ENTRIES = 20;

// A reply of XREADGROUP as [[key, entries]], which is a map in RESP3.
function streamsOf(reply) {
  if (reply === null) return [];
  if (reply instanceof Map) return [...reply];
  if (!Array.isArray(reply)) return Object.entries(reply);
  return Array.isArray(reply[0]) ? reply : [reply];
}

const idsOf = (entries) => entries.map(([id]) => String(id));

for (const library of libraries) {
  const options = { skip: library.skip, timeout: 60000 };

  test(`${library.name} recovers what a lost consumer had pending`, options, async () => {
    const key = `${library.name}:jobs`;
    const lost = await library.open();
    const other = await library.open();
    await library.call(other, "DEL", key);
    await library.call(other, "XGROUP", "CREATE", key, "workers", "$", "MKSTREAM");
    const added = [];
    for (let n = 0; n < ENTRIES; n++) added.push(await library.call(other, "XADD", key, "*", "job", String(n)));

    const read = ["XREADGROUP", "GROUP", "workers"];
    const given = streamsOf(await library.call(lost, ...read, "lost", "COUNT", "15", "STREAMS", key, ">"))[0][1];
    assert.deepEqual(idsOf(given), added.slice(0, 15));
    assert.equal(await library.call(lost, "XACK", key, "workers", added[0]), 1);
    await library.close(lost); // It never comes back.

    const rest = streamsOf(await library.call(other, ...read, "other", "STREAMS", key, ">"))[0][1];
    assert.deepEqual(idsOf(rest), added.slice(15));
    const recovered = [];
    for (let cursor = "0-0"; ;) {
      const [next, entries] = await library.call(other, "XAUTOCLAIM", key, "workers", "other", "0", cursor, "COUNT", "4");
      recovered.push(...idsOf(entries));
      cursor = String(next);
      if (cursor === "0-0") break;
    }
    assert.deepEqual(recovered, added.slice(1));
    assert.equal(await library.call(other, "XACK", key, "workers", ...recovered), ENTRIES - 1);
    assert.equal((await library.call(other, "XPENDING", key, "workers"))[0], 0);
    await library.call(other, "DEL", key);
    await library.close(other);
  });

  test(`${library.name} waits for an entry`, options, async () => {
    const key = `${library.name}:wait`;
    const reader = await library.open();
    const writer = await library.open();
    await library.call(writer, "DEL", key);
    await library.call(writer, "XGROUP", "CREATE", key, "g", "$", "MKSTREAM");
    const waiting = library.call(reader, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", key, ">");
    const id = await library.call(writer, "XADD", key, "*", "text", "héllo");
    const [[, entries]] = streamsOf(await waiting);
    assert.deepEqual(idsOf(entries), [id]);
    assert.deepEqual([...entries[0][1]].map(String), ["text", "héllo"]);
    await library.call(writer, "DEL", key);
    await library.close(reader);
    await library.close(writer);
  });
}
