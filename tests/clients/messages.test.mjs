// What applications send each other through the server: messages to channels, patterns and shard
// channels in every library, a client-side cache, subscriptions of GraphQL, rooms of Socket.IO
// between two processes.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import test from "node:test";

import { libraries, port } from "./library.mjs";

const require = createRequire(import.meta.url);

// Resolves with the first value of `look` that is not undefined; a push may take a moment.
async function eventually(look) {
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const library of libraries) {
  const isRedis = library.name.startsWith("redis ");

  test(`${library.name}: messages reach a channel in order`, { skip: library.skip }, async () => {
    const subscriber = await library.open();
    const publisher = await library.open();
    const heard = [];
    await library.subscribe(subscriber, "news", (text) => heard.push(text));
    for (let i = 0; i < 100; i++) {
      assert.equal(await library.call(publisher, "PUBLISH", "news", `item ${i}`), 1);
    }
    await eventually(() => (heard.length === 100 ? true : undefined));
    assert.deepEqual(heard, Array.from({ length: 100 }, (_, i) => `item ${i}`));
    assert.deepEqual(await library.call(publisher, "PUBSUB", "NUMSUB", "news"), ["news", 1]);
    await library.close(subscriber);
    await eventually(async () => {
      const [, count] = await library.call(publisher, "PUBSUB", "NUMSUB", "news");
      return count === 0 ? true : undefined;
    });
    await library.close(publisher);
  });

  test(`${library.name}: patterns tell which channel it was`, { skip: library.skip }, async () => {
    const subscriber = await library.open();
    const publisher = await library.open();
    const heard = [];
    if (isRedis) {
      await subscriber.pSubscribe("room:*", (text, channel) => heard.push([channel, text]));
    } else {
      subscriber.on("pmessage", (pattern, channel, text) => heard.push([channel, text]));
      await subscriber.psubscribe("room:*");
    }
    assert.equal(await library.call(publisher, "PUBLISH", "room:7", "hello"), 1);
    assert.equal(await library.call(publisher, "PUBLISH", "hall", "hello"), 0);
    assert.deepEqual(await eventually(() => heard[0]), ["room:7", "hello"]);
    await (isRedis ? subscriber.pUnsubscribe("room:*") : subscriber.punsubscribe("room:*"));
    assert.equal(await library.call(publisher, "PUBLISH", "room:7", "hello"), 0);
    await library.close(subscriber);
    await library.close(publisher);
  });

  test(`${library.name}: shard channels are apart from channels`, { skip: library.skip }, async () => {
    const subscriber = await library.open();
    const publisher = await library.open();
    const heard = [];
    if (isRedis) {
      await subscriber.sSubscribe("shard", (text, channel) => heard.push([channel, text]));
    } else {
      subscriber.on("smessage", (channel, text) => heard.push([channel, text]));
      await subscriber.ssubscribe("shard");
    }
    assert.equal(await library.call(publisher, "PUBLISH", "shard", "not there"), 0);
    assert.equal(await library.call(publisher, "SPUBLISH", "shard", "there"), 1);
    assert.deepEqual(await eventually(() => heard[0]), ["shard", "there"]);
    assert.deepEqual(await library.call(publisher, "PUBSUB", "SHARDCHANNELS"), ["shard"]);
    await library.close(subscriber);
    await library.close(publisher);
  });

  test(`${library.name}: bytes arrive as they were sent`, { skip: library.skip }, async () => {
    const subscriber = await library.open();
    const publisher = await library.open();
    const sent = Buffer.from([0, 13, 10, 255, 0x2a, 0x33]);
    const heard = [];
    if (isRedis) {
      await subscriber.subscribe("bytes", (bytes) => heard.push(bytes), true);
    } else {
      subscriber.on("messageBuffer", (channel, bytes) => heard.push(bytes));
      await subscriber.subscribe("bytes");
    }
    await library.call(publisher, "PUBLISH", "bytes", sent);
    assert.deepEqual(await eventually(() => heard[0]), sent);
    await library.close(subscriber);
    await library.close(publisher);
  });

  test(`${library.name}: expired keys are heard of`, { skip: library.skip }, async () => {
    const subscriber = await library.open();
    const client = await library.open();
    await library.call(client, "CONFIG", "SET", "notify-keyspace-events", "Ex");
    const heard = [];
    await library.subscribe(subscriber, "__keyevent@0__:expired", (key) => heard.push(key));
    await library.call(client, "SET", "session", "1", "PX", "30");
    assert.equal(await eventually(() => heard[0]), "session");
    await library.call(client, "CONFIG", "SET", "notify-keyspace-events", "");
    await library.close(subscriber);
    await library.close(client);
  });
}

for (const major of [5, 6]) {
  test(`redis ${major}: the client-side cache serves and forgets`, async () => {
    const { createClient, BasicClientSideCache } = require(`redis-${major}`);
    const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100 });
    const socket = { port, host: "127.0.0.1", reconnectStrategy: false };
    const reader = createClient({ socket, RESP: 3, clientSideCache: cache });
    const writer = createClient({ socket });
    await Promise.all([reader.connect(), writer.connect()]);
    await writer.set("cached", "one");
    assert.equal(await reader.get("cached"), "one");
    assert.equal(await reader.get("cached"), "one");
    assert.equal(cache.stats().hitCount, 1);
    await writer.set("cached", "two");
    await eventually(async () => ((await reader.get("cached")) === "two" ? true : undefined));
    const hits = cache.stats().hitCount;
    assert.equal(await reader.get("cached"), "two");
    assert.equal(cache.stats().hitCount, hits + 1);
    await writer.flushAll();
    await eventually(async () => ((await reader.get("cached")) === null ? true : undefined));
    await reader.close();
    await writer.close();
  });
}

test("graphql-redis-subscriptions: what one server publishes the other's clients get", async () => {
  const { RedisPubSub } = require("graphql-redis-subscriptions");
  const Redis = require("ioredis-5");
  const options = { port, host: "127.0.0.1", retryStrategy: null };
  const servers = [1, 2].map(() => new RedisPubSub({ publisher: new Redis(options), subscriber: new Redis(options) }));
  const iterator = servers[0].asyncIterator(["COMMENT_ADDED"]);
  const matching = servers[0].asyncIterator("ROOM.*", { pattern: true });
  const first = iterator.next();
  const other = matching.next();
  await eventually(async () => {
    const counts = await servers[1].getPublisher().call("PUBSUB", "NUMSUB", "COMMENT_ADDED");
    const patterns = await servers[1].getPublisher().call("PUBSUB", "NUMPAT");
    return counts[1] === 1 && patterns === 1 ? true : undefined;
  });
  await servers[1].publish("COMMENT_ADDED", { commentAdded: { id: 1, text: "hello" } });
  await servers[1].publish("ROOM.7", { joined: "ann" });
  assert.deepEqual((await first).value, { commentAdded: { id: 1, text: "hello" } });
  assert.deepEqual((await other).value, { joined: "ann" });
  await iterator.return();
  await matching.return();
  await Promise.all(servers.map((server) => server.close()));
});

// Two Socket.IO servers in processes of their own, and their ports.
async function socketServers(context, adapter) {
  const env = { ...process.env, OURO_PORT: port, OURO_ADAPTER: adapter };
  const children = [1, 2].map(() => fork(new URL("socket_server.mjs", import.meta.url), { env }));
  context.after(() => children.forEach((child) => child.kill()));
  const ports = await Promise.all(children.map(async (child) => (await once(child, "message"))[0].port));
  return { children, ports };
}

// A client of Socket.IO for each of the ports, each in the room "lobby".
async function inTheLobby(context, ports, options) {
  const { io } = require("socket.io-client");
  const sockets = ports.map((number) => io(`http://127.0.0.1:${number}`, { transports: ["websocket"], ...options }));
  context.after(() => sockets.forEach((socket) => socket.close()));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  await Promise.all(sockets.map((socket) => socket.emitWithAck("join", "lobby")));
  return sockets;
}

test("Socket.IO: two servers share their rooms through the adapter", async (context) => {
  const { children, ports } = await socketServers(context, "channels");
  const sockets = await inTheLobby(context, ports);

  // To everybody in a room, from the other process.
  const heard = once(sockets[1], "chat");
  sockets[0].emit("say", "lobby", "hello");
  assert.deepEqual(await heard, ["hello"]);

  // Who is in the room, on all servers: a request and its answers.
  assert.equal(await sockets[0].emitWithAck("count", "lobby"), 2);
  assert.equal(await sockets[1].emitWithAck("servers"), 2);

  // A server that is killed leaves at once.
  children[0].kill("SIGKILL");
  await eventually(async () => ((await sockets[1].emitWithAck("servers")) === 1 ? true : undefined));
});

test("Socket.IO: rooms through a stream, and a client that comes back elsewhere", { timeout: 60000 }, async (context) => {
  const Redis = require("ioredis-5");
  const watch = new Redis({ port, host: "127.0.0.1", retryStrategy: null });
  context.after(() => watch.quit());
  const { ports } = await socketServers(context, "streams");
  const [away, present] = await inTheLobby(context, ports, { reconnection: false });
  // Both servers wait at the end of the stream, and both hear requests.
  await eventually(async () => (/^blocked_clients:2\r$/m.test(await watch.info("clients")) ? true : undefined));
  await eventually(async () => ((await away.emitWithAck("servers")) === 2 ? true : undefined));

  // To everybody in a room, from the other process, both ways; and to nobody in another room.
  for (const [from, to] of [[away, present], [present, away]]) {
    const heard = once(to, "chat");
    from.emit("say", "nobody here", "unheard");
    from.emit("say", "lobby", { text: "hello", bytes: Buffer.from([0, 13, 10, 255]) });
    const [message] = await heard;
    assert.equal(message.text, "hello");
    assert.deepEqual([...message.bytes], [0, 13, 10, 255]);
  }
  assert.equal(await present.emitWithAck("count", "lobby"), 2);

  // One loses its connection, misses a message, and gets it from the other server: the session is
  // under a key that expires, what was said since is in the stream.
  const before = away.id;
  away.io.engine.close();
  const key = await eventually(async () => (await watch.keys("sio:session:*"))[0]);
  assert.ok(await watch.pttl(key) > 0);
  const length = await watch.xlen("socket.io");
  present.emit("say", "lobby", "while you were out");
  await eventually(async () => ((await watch.xlen("socket.io")) > length ? true : undefined));
  const missed = once(away, "chat");
  const back = once(away, "connect");
  away.io.uri = `http://127.0.0.1:${ports[1]}`;
  away.connect();
  await back;
  assert.equal(away.recovered, true);
  assert.equal(away.id, before);
  assert.equal((await missed)[0], "while you were out");
  assert.equal(await watch.exists(key), 0);
  assert.equal(await present.emitWithAck("count", "lobby"), 2);
});
