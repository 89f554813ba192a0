// A Socket.IO server as an application runs several of: a process of its own, joined to the others by
// @socket.io/redis-adapter, or by @socket.io/redis-streams-adapter when OURO_ADAPTER says so; the
// latter keeps the sessions of clients that went away without a word. Tells its port to the test
// that forked it.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { Server } = require("socket.io");
const { createClient } = require("redis-5");

const socket = { port: Number(process.env.OURO_PORT), host: "127.0.0.1" };
const publisher = createClient({ socket });
await publisher.connect();

async function settings() {
  if (process.env.OURO_ADAPTER === "streams") {
    const { createAdapter } = require("@socket.io/redis-streams-adapter");
    return { adapter: createAdapter(publisher), connectionStateRecovery: {} };
  }
  const { createAdapter } = require("@socket.io/redis-adapter");
  const subscriber = publisher.duplicate();
  await subscriber.connect();
  return { adapter: createAdapter(publisher, subscriber) };
}

const http = createServer();
const io = new Server(http, await settings());
io.on("connection", (client) => {
  client.on("join", (room, done) => { client.join(room); done("joined"); });
  client.on("say", (room, text) => { client.to(room).emit("chat", text); });
  client.on("count", async (room, done) => { done((await io.in(room).fetchSockets()).length); });
  client.on("servers", async (done) => { done(await io.of("/").adapter.serverCount()); });
});
http.listen(0, "127.0.0.1", () => process.send({ port: http.address().port }));
