// Loads BullMQ's scripts into the server at the port given, and prints the requests that run two of them,
// as {name: hexadecimal}: the job that is added has a number and two short texts.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../tests/clients/package.json", import.meta.url));
const { Queue, Worker } = require("bullmq-5");
const connection = { host: "127.0.0.1", port: Number(process.argv[2]) };
const queue = new Queue("bench", { connection });
const worker = new Worker("bench", null, { connection, autorun: false, lockDuration: 3600000 });

// The bytes of the EVALSHA that `run` sends. Before, it runs once so that the script is there.
async function captured(client, run) {
  await run();
  let bytes;
  const { sendCommand } = client;
  client.sendCommand = function send(command, ...rest) {
    if (command.name === "evalsha") bytes = Buffer.from(command.toWritable(this.stream));
    return sendCommand.call(this, command, ...rest);
  };
  await run();
  client.sendCommand = sendCommand;
  return bytes.toString("hex");
}

const adding = await queue.client;
const taking = await worker.client;
const requests = {
  addStandardJob: await captured(adding, () => queue.add("mail", { n: 1, user: "somebody", what: "hello" })),
  moveToActive: await captured(taking, () => worker.scripts.moveToActive(taking, "token")),
};
console.log(JSON.stringify(requests));
await worker.close(true);
await queue.close();
