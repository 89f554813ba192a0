// Scripts and functions as the libraries offer them: ioredis' defineCommand, node-redis' scripts and
// functions. Both send EVALSHA first and fall back to EVAL; they must notice that a script is unknown
// wherever they meet it: alone, in a pipeline, in a transaction.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { libraries } from "./library.mjs";

const require = createRequire(import.meta.url);
const options = (library) => ({ skip: library.skip, timeout: 30000 });

// Adds to a counter, but never above a limit: what INCRBY alone cannot do.
const ADD_UP_TO = `
  local now = tonumber(redis.call('GET', KEYS[1]) or '0')
  local sum = math.min(now + tonumber(ARGV[1]), tonumber(ARGV[2]))
  redis.call('SET', KEYS[1], sum)
  return sum`;

async function withClient(library, settings, run) {
  const client = await library.open(settings);
  try {
    await run(client);
  } finally {
    await library.close(client);
  }
}

const calls = async (library, client, command) => {
  const stats = String(await library.call(client, "INFO", "commandstats"));
  return Number(stats.match(new RegExp(`cmdstat_${command}:calls=(\\d+)`))?.[1] ?? 0);
};

for (const library of libraries.filter(({ name }) => name.startsWith("ioredis"))) {
  const key = (name) => `${library.name}:scripts:${name}`;
  const scripts = {
    addUpTo: { numberOfKeys: 1, lua: ADD_UP_TO },
    echo: { numberOfKeys: 0, lua: "return ARGV" },
    echoAll: { lua: "return {KEYS, ARGV}" },
    fail: { numberOfKeys: 1, lua: "return redis.call('INCR', KEYS[1])" },
    sumReadonly: {
      numberOfKeys: 2, readOnly: true,
      lua: "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])",
    },
  };
  const withScripts = (run) => withClient(library, { scripts }, async (client) => {
    await client.script("FLUSH");
    await run(client);
  });

  test(`${library.name}: a defined command is sent whole once, then by its digest`, options(library), () =>
    withScripts(async (client) => {
      await client.config("RESETSTAT");
      assert.equal(await client.addUpTo(key("n"), 3, 10), 3);
      assert.equal(await client.addUpTo(key("n"), 5, 10), 8);
      assert.equal(await client.addUpTo(key("n"), 5, 10), 10);
      assert.equal(await calls(library, client, "eval"), 1);
      assert.equal(await calls(library, client, "evalsha"), 2);
      assert.equal(await client.get(key("n")), "10");
      await client.del(key("n"));
    }));

  test(`${library.name}: a defined command survives SCRIPT FLUSH`, options(library), () =>
    withScripts(async (client) => {
      for (let round = 1; round <= 3; round++) {
        assert.equal(await client.addUpTo(key("n"), 1, 10), round);
        assert.equal(await client.script("FLUSH"), "OK");
      }
      await client.del(key("n"));
    }));

  test(`${library.name}: defined commands in a pipeline, known and unknown`, options(library), () =>
    withScripts(async (client) => {
      const run = () => client.pipeline()
        .set(key("n"), 0).addUpTo(key("n"), 4, 10).echo("a", "b").addUpTo(key("n"), 9, 10).get(key("n")).exec();
      const answers = [[null, "OK"], [null, 4], [null, ["a", "b"]], [null, 10], [null, "10"]];
      assert.deepEqual(await run(), answers);
      assert.deepEqual(await run(), answers);
      // Now the library takes the digests for known. It sends those again that were not, after the rest.
      await client.script("FLUSH");
      answers[4] = [null, "0"];
      assert.deepEqual(await run(), answers);
      assert.equal(await client.get(key("n")), "10");
      await client.del(key("n"));
    }));

  test(`${library.name}: defined commands in a transaction, known and unknown`, options(library), () =>
    withScripts(async (client) => {
      const run = () => client.multi().set(key("n"), 1).addUpTo(key("n"), 4, 10).get(key("n")).exec();
      const answers = [[null, "OK"], [null, 5], [null, "5"]];
      assert.deepEqual(await run(), answers);
      assert.deepEqual(await run(), answers);
      // What a transaction takes for known and is not cannot be sent again by the library.
      await client.script("FLUSH");
      const [, [error], after] = await run();
      assert.match(error.message, /^NOSCRIPT No matching script/);
      assert.deepEqual(after, [null, "1"]);
      await client.del(key("n"));
    }));

  test(`${library.name}: a transaction step by step tells of an unknown digest`, options(library), () =>
    withScripts(async (client) => {
      const sha = await client.script("LOAD", ADD_UP_TO);
      await client.script("FLUSH");
      await client.multi({ pipeline: false });
      assert.equal(await client.evalsha(sha, 1, key("n"), 1, 2), "QUEUED");
      const [answer] = await client.exec();
      const error = answer instanceof Error ? answer : answer[0];
      assert.match(error.message, /^NOSCRIPT No matching script\. Please use EVAL\.$/);
    }));

  test(`${library.name}: what a script answers, in bytes and as an error`, options(library), () =>
    withScripts(async (client) => {
      const bytes = Buffer.from([0, 255, 13, 10, 128]);
      assert.deepEqual(await client.echoBuffer(bytes, Buffer.alloc(0)), [bytes, Buffer.alloc(0)]);
      assert.deepEqual(await client.echoAll(2, "k1", "k2", "a1"), [["k1", "k2"], ["a1"]]);
      await client.mset(key("{a}x"), 30, key("{a}y"), 12);
      assert.equal(await client.sumReadonly(key("{a}x"), key("{a}y")), 42);
      await client.lpush(key("list"), "a");
      await assert.rejects(client.fail(key("list")), /WRONGTYPE Operation against a key/);
      await client.del(key("list"), key("{a}x"), key("{a}y"));
    }));

  test(`${library.name}: many runs of a script at once keep its promise`, options(library), () =>
    withScripts(async (client) => {
      const sums = await Promise.all([...Array(200)].map(() => client.addUpTo(key("n"), 1, 150)));
      assert.deepEqual(sums, [...Array(200).keys()].map((n) => Math.min(n + 1, 150)));
      await client.del(key("n"));
    }));

  test(`${library.name}: a prefix of keys is put before the keys of scripts`, options(library), () =>
    withClient(library, { scripts, keyPrefix: "app:" }, async (client) => {
      assert.deepEqual(await client.echoAll(1, "k", "v"), [["app:k"], ["v"]]);
    }));
}

for (const library of libraries.filter(({ name }) => name.startsWith("redis"))) {
  const major = Number(library.name.match(/\d+/)[0]);
  const key = (name) => `${library.name}:scripts:${name}`;

  // Version 4 builds arguments as an array; from 5 on a parser is told what is a key.
  const face = (numberOfKeys, more) => ({
    NUMBER_OF_KEYS: numberOfKeys,
    ...(major === 4
      ? { transformArguments: (...words) => words.map(String) }
      : {
          parseCommand: (parser, ...words) => {
            words.forEach((word, i) => (i < numberOfKeys ? parser.pushKey(word) : parser.push(String(word))));
          },
        }),
    transformReply: undefined,
    ...more,
  });
  const defined = () => {
    const { defineScript } = require(`redis-${major}`);
    return { addUpTo: defineScript(face(1, { SCRIPT: ADD_UP_TO })) };
  };

  test(`${library.name}: a defined script is sent whole once, then by its digest`, options(library), () =>
    withClient(library, library.skip ? {} : { scripts: defined() }, async (client) => {
      await client.scriptFlush();
      await client.configResetStat();
      assert.equal(await client.addUpTo(key("n"), 3, 10), 3);
      assert.equal(await client.addUpTo(key("n"), 5, 10), 8);
      await client.scriptFlush();
      assert.equal(await client.addUpTo(key("n"), 5, 10), 10);
      assert.equal(await calls(library, client, "eval"), 2);
      assert.equal(await calls(library, client, "evalsha"), 3);
      await client.del(key("n"));
    }));

  test(`${library.name}: a defined script in a transaction`, options(library), () =>
    withClient(library, { scripts: defined() }, async (client) => {
      await client.scriptFlush();
      for (let round = 0; round < 2; round++) {
        const answers = await client.multi().set(key("n"), "1").addUpTo(key("n"), 4, 10).get(key("n")).exec();
        assert.deepEqual(answers, ["OK", 5, "5"]);
      }
      await client.del(key("n"));
    }));

  test(`${library.name}: EVAL, EVALSHA, EVAL_RO and SCRIPT by their names`, options(library), () =>
    withClient(library, {}, async (client) => {
      const sha = await client.scriptLoad(ADD_UP_TO);
      assert.match(sha, /^[0-9a-f]{40}$/);
      assert.deepEqual((await client.scriptExists([sha, "0".repeat(40)])).map(Number), [1, 0]);
      assert.equal(await client.evalSha(sha, { keys: [key("n")], arguments: ["7", "9"] }), 7);
      assert.equal(await client.evalRo("return redis.call('GET', KEYS[1])", { keys: [key("n")] }), "7");
      await assert.rejects(
        client.evalRo("return redis.call('DEL', KEYS[1])", { keys: [key("n")] }),
        /Write commands are not allowed from read-only scripts/,
      );
      assert.deepEqual(await client.eval("return {1, 'two', {3, false}, 'four'}"), [1, "two", [3, null], "four"]);
      await client.del(key("n"));
    }));

  if (library.protocol === 3) {
    test(`${library.name}: a script that asks for protocol 3 answers in its types`, options(library), () =>
      withClient(library, {}, async (client) => {
        const answer = await client.eval("redis.setresp(3); return {true, {double = 1.5}, {map = {a = 1}}}");
        assert.equal(answer[0], true);
        assert.equal(answer[1], 1.5);
        assert.deepEqual({ ...answer[2] }, { a: 1 });
      }));
  }

  const name = `stock_${major}_${library.protocol}`;
  const LIBRARY = `#!lua name=${name}
    local function take(keys, args)
      local left = tonumber(redis.call('GET', keys[1]) or '0') - tonumber(args[1])
      if left < 0 then return redis.error_reply('SOLDOUT nothing left') end
      redis.call('SET', keys[1], left)
      return left
    end
    redis.register_function('${name}_take', take)
    redis.register_function{function_name = '${name}_left', flags = {'no-writes'},
      callback = function(keys) return redis.call('GET', keys[1]) end}`;

  test(`${library.name}: a library of functions is loaded, called, listed and deleted`, options(library), () =>
    withClient(library, library.skip ? {} : {
      functions: {
        [name]: {
          [`${name}_take`]: face(1),
          [`${name}_left`]: face(1, { IS_READ_ONLY: true }),
        },
      },
    }, async (client) => {
      assert.equal(await client.functionLoad(LIBRARY), name);
      await assert.rejects(client.functionLoad(LIBRARY), /Library '.*' already exists/);
      assert.equal(await client.functionLoad(LIBRARY, { REPLACE: true }), name);
      await client.set(key("stock"), "3");
      const [take, left] = [`${name}_take`, `${name}_left`];
      assert.equal(await client[name][take](key("stock"), 2), 1);
      assert.equal(await client[name][left](key("stock")), "1");
      await assert.rejects(client[name][take](key("stock"), 2), /SOLDOUT nothing left/);
      const once = { keys: [key("stock")], arguments: ["1"] };
      assert.equal(await client.fCall(take, once), 0);
      assert.equal(await client.fCallRo(left, { keys: [key("stock")] }), "0");
      await assert.rejects(client.fCallRo(take, once), /Can not execute a script with write flag/);
      const multi = await client.multi().set(key("stock"), "9")[name][take](key("stock"), 4).exec();
      assert.deepEqual(multi, ["OK", 5]);

      const nameOf = (one) => one.library_name ?? one.libraryName;
      const listed = (await client.functionList()).find((one) => nameOf(one) === name);
      assert.equal(listed.engine, "LUA");
      assert.deepEqual(listed.functions.map((one) => one.name).sort(), [left, take]);
      assert.equal((await client.functionDelete(name)), "OK");
      await assert.rejects(client[name][left](key("stock")), /Function not found/);
      await client.del(key("stock"));
    }));

  test(`${library.name}: functions move to another place by DUMP and RESTORE`, options(library), () =>
    withClient(library, {}, async (client) => {
      await client.functionLoad(LIBRARY, { REPLACE: true });
      let blob;
      if (major === 4) {
        const { commandOptions } = require("redis-4");
        blob = await client.functionDump(commandOptions({ returnBuffers: true }));
      } else {
        const { RESP_TYPES } = require(`redis-${major}`);
        blob = await client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).functionDump();
      }
      await client.functionDelete(name);
      assert.equal(await client.functionRestore(blob, major === 4 ? "REPLACE" : { mode: "REPLACE" }), "OK");
      await client.set(key("stock"), "3");
      assert.equal(await client.fCall(`${name}_take`, { keys: [key("stock")], arguments: ["1"] }), 2);
      const stats = await client.functionStats();
      assert.equal(stats.running_script ?? stats.runningScript ?? null, null);
      await client.functionDelete(name);
      await client.del(key("stock"));
    }));
}
