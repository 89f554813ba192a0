// What the tests of the node libraries share: one face for five versions of two libraries.
//
// A library opens a client and says how to call a command, read bytes, pipeline, run a transaction,
// subscribe and quit with it. Each test file runs the same cases on all of `libraries`.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
export const port = Number(process.env.OURO_PORT);
const nodeMajor = Number(process.versions.node.split(".")[0]);

function ioredis(major, protocol) {
  return {
    name: `ioredis ${major}, RESP${protocol}`,
    protocol,
    skip: major >= 6 && nodeMajor < 20 ? "needs node 20" : false,
    async open(options = {}) {
      const Redis = require(`ioredis-${major}`);
      const client = new Redis({ port, host: "127.0.0.1", protocol, retryStrategy: null, ...options });
      await new Promise((resolve, reject) => client.once("ready", resolve).once("error", reject));
      return client;
    },
    call: (client, ...words) => client.call(...words),
    getBuffer: (client, key) => client.getBuffer(key),
    async pipeline(client, commands) {
      const answers = await client.pipeline(commands.map(([name, ...rest]) => ["call", name, ...rest])).exec();
      return answers.map(([error, value]) => error ?? value);
    },
    async transaction(client, commands) {
      let multi = client.multi();
      for (const [name, ...rest] of commands) multi = multi.call(name, ...rest);
      return (await multi.exec()).map(([error, value]) => error ?? value);
    },
    subscribe: async (client, channel, listener) => {
      client.on("message", (from, text) => listener(text, from));
      await client.subscribe(channel);
    },
    close: async (client) => { await client.quit(); },
  };
}

function nodeRedis(major, protocol) {
  const asText = (words) => words.map((word) => (Buffer.isBuffer(word) ? word : String(word)));
  return {
    name: `redis ${major}, RESP${protocol}`,
    protocol,
    skip: major >= 6 && nodeMajor < 20 ? "needs node 20" : false,
    async open(options = {}) {
      const { createClient } = require(`redis-${major}`);
      const client = createClient({
        socket: { port, host: "127.0.0.1", reconnectStrategy: false },
        ...(major >= 5 ? { RESP: protocol } : {}),
        ...options,
      });
      client.on("error", () => {});
      await client.connect();
      return client;
    },
    call: (client, ...words) => client.sendCommand(asText(words)),
    getBuffer(client, key) {
      if (major === 4) {
        const { commandOptions } = require("redis-4");
        return client.get(commandOptions({ returnBuffers: true }), key);
      }
      const { RESP_TYPES } = require(`redis-${major}`);
      return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get(key);
    },
    pipeline: (client, commands) =>
      Promise.all(commands.map((words) => client.sendCommand(asText(words)).catch((error) => error))),
    async transaction(client, commands) {
      let multi = client.multi();
      for (const words of commands) {
        multi = multi.addCommand(asText(words));
      }
      return multi.exec();
    },
    subscribe: (client, channel, listener) => client.subscribe(channel, listener),
    close: async (client) => { await client.quit(); },
  };
}

// Protocols that a library can be told to speak: node-redis 4 and ioredis 5 know only RESP2.
export const libraries = [
  ioredis(5, 2),
  ioredis(6, 2),
  ioredis(6, 3),
  nodeRedis(4, 2),
  nodeRedis(5, 2),
  nodeRedis(5, 3),
  nodeRedis(6, 2),
  nodeRedis(6, 3),
];
