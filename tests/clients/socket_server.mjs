// A Socket.IO server as an application runs several of: a process of its own, joined to the others by
// @socket.io/redis-adapter. Tells its port to the test that forked it.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis-5");

const socket = { port: Number(process.env.OURO_PORT), host: "127.0.0.1" };
const publisher = createClient({ socket });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber) });
io.on("connection", (client) => {
  client.on("join", (room, done) => { client.join(room); done("joined"); });
  client.on("say", (room, text) => { client.to(room).emit("chat", text); });
  client.on("count", async (room, done) => { done((await io.in(room).fetchSockets()).length); });
  client.on("servers", async (done) => { done(await io.of("/").adapter.serverCount()); });
});
http.listen(0, "127.0.0.1", () => process.send({ port: http.address().port }));
