// BullMQ and Bull: queues of jobs whose every step is a Lua program in the server, some of several hundred
// lines. What each of them promises is shown: order, delay, priority, rate, families of jobs, and that a
// job whose worker has died is done by another.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { test } from "node:test";

import { port } from "./library.mjs";

const require = createRequire(import.meta.url);
const Bull = require("bull");

const options = { timeout: 60000 };
const connection = { host: "127.0.0.1", port };
let queues = 0;

// Resolves when the emitter has told `count` times of an event, with what it told.
function heard(emitter, event, count) {
  const told = [];
  return new Promise((resolve) => {
    const listener = (...values) => {
      told.push(values);
      if (told.length === count) {
        emitter.off(event, listener);
        resolve(told);
      }
    };
    emitter.on(event, listener);
  });
}

// A promise that others resolve.
function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { open, opened };
}

for (const major of [5, 6]) {
  const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require(`bullmq-${major}`);

  // A queue of BullMQ and what belongs to it; all is closed when `run` is done. The lock of a job lasts 30
  // seconds unless a test says otherwise, so that a machine that is slow loses none.
  const withBullmq = async (run) => {
    const name = `bullmq-${++queues}`;
    const opened = [];
    const open = (thing) => {
      thing.on("error", () => {});
      opened.push(thing);
      return thing;
    };
    const world = {
      name,
      queue: open(new Queue(name, { connection })),
      worker: (work, more = {}) => open(new Worker(name, work, { connection, ...more })),
      flow: () => open(new FlowProducer({ connection })),
      async events() {
        const events = open(new QueueEvents(name, { connection, lastEventId: "0-0" }));
        await events.waitUntilReady();
        return events;
      },
    };
    try {
      await run(world);
    } finally {
      await Promise.all(opened.filter((thing) => thing instanceof Worker).map((worker) => worker.close(true)));
      await world.queue.obliterate({ force: true });
      await Promise.all(opened.map((thing) => thing.close()));
    }
  };

  test(`BullMQ ${major}: jobs are done in order, and tell what came of them`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const jobs = await queue.addBulk([...Array(20).keys()].map((n) => ({ name: "square", data: { n } })));
      assert.equal(await queue.getWaitingCount(), 20);
      const done = [];
      worker(async (job) => {
        done.push(job.data.n);
        await job.updateProgress(50);
        await job.log(`squared ${job.data.n}`);
        return job.data.n ** 2;
      });
      const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(listener)));
      assert.deepEqual(done, [...Array(20).keys()]);
      assert.deepEqual(results, done.map((n) => n ** 2));
      const job = await queue.getJob(jobs[7].id);
      assert.deepEqual([job.returnvalue, job.progress, await job.getState()], [49, 50, "completed"]);
      assert.deepEqual((await queue.getJobLogs(job.id)).logs, ["squared 7"]);
      assert.equal(await queue.getCompletedCount(), 20);
      assert.equal((await queue.clean(0, 5, "completed")).length, 5);
      assert.equal(await queue.getCompletedCount(), 15);
    }));

  test(`BullMQ ${major}: many workers do each job once`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      const done = [];
      const all = gate();
      for (let n = 0; n < 4; n++) {
        worker(async (job) => {
          done.push(job.data);
          if (done.length === 300) all.open();
        }, { concurrency: 5 });
      }
      await Promise.all([...Array(300).keys()].map((n) => queue.add("job", n, { removeOnComplete: true })));
      await all.opened;
      assert.deepEqual(done.sort((a, b) => a - b), [...Array(300).keys()]);
    }));

  test(`BullMQ ${major}: QueueEvents tells the life of a job in order`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const life = [];
      for (const event of ["added", "waiting", "active", "progress", "completed"]) {
        listener.on(event, ({ jobId }) => life.push(`${event} ${jobId}`));
      }
      const drained = once(listener, "drained");
      worker(async (job) => { await job.updateProgress({ half: true }); });
      await queue.add("job", {}, { jobId: "one" });
      await drained;
      while (life.length < 5) await once(listener, "completed");
      assert.deepEqual(life, ["added", "waiting", "active", "progress", "completed"].map((event) => `${event} one`));
    }));

  test(`BullMQ ${major}: a delayed job waits for its time`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const start = Date.now();
      const late = await queue.add("late", {}, { delay: 150 });
      const long = await queue.add("long", {}, { delay: 1000000 });
      const soon = await queue.add("soon", {});
      assert.equal(await long.getState(), "delayed");
      const done = [];
      worker(async (job) => { done.push([job.name, Date.now() - start]); });
      await Promise.all([late.waitUntilFinished(listener), soon.waitUntilFinished(listener)]);
      assert.deepEqual(done.map(([name]) => name), ["soon", "late"]);
      assert.ok(done[1][1] >= 149, `it was done after ${done[1][1]} ms`);
      await long.promote();
      await long.waitUntilFinished(listener);
      assert.equal(done[2][0], "long");
    }));

  test(`BullMQ ${major}: jobs of higher priority are done first`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const jobs = [];
      for (const priority of [30, 10, 20, 10, 0, 2000000]) {
        jobs.push(await queue.add("job", { n: jobs.length }, { priority }));
      }
      assert.deepEqual(await queue.getCountsPerPriority([0, 10, 20]), { 0: 1, 10: 2, 20: 1 });
      await jobs[5].changePriority({ priority: 15 });
      const done = [];
      worker(async (job) => { done.push(job.data.n); });
      await Promise.all(jobs.map((job) => job.waitUntilFinished(listener)));
      assert.deepEqual(done, [4, 1, 3, 5, 2, 0]);
    }));

  test(`BullMQ ${major}: a limit of rate is kept`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      const start = performance.now();
      const times = [];
      const done = heard(worker(async () => { times.push(performance.now() - start); },
        { limiter: { max: 2, duration: 200 } }), "completed", 5);
      await queue.addBulk([...Array(5)].map(() => ({ name: "job", data: {} })));
      await done;
      // Two in a window: the third waits for the second window, the fifth for the third.
      assert.ok(times[2] >= 190 && times[4] >= 390, times.join(" "));
    }));

  test(`BullMQ ${major}: a worker that was told to slow down waits`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      let limited = false;
      const start = performance.now();
      const limiting = worker(async () => {
        if (limited) return performance.now() - start;
        limited = true;
        await limiting.rateLimit(150);
        throw Worker.RateLimitError();
      }, { limiter: { max: 100, duration: 1000 } });
      const done = once(limiting, "completed");
      await queue.add("job", {});
      const [job, after] = await done;
      assert.ok(after >= 140, `it waited ${after} ms`);
      assert.ok(job.attemptsStarted >= 2);
    }));

  test(`BullMQ ${major}: a scheduler makes a job every so often`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      const ticks = [];
      const done = heard(worker(async (job) => { ticks.push(job.data.n); }), "completed", 3);
      await queue.upsertJobScheduler("tick", { every: 60 }, { name: "tick", data: { n: 1 } });
      await done;
      assert.ok(ticks.length >= 3 && ticks.every((n) => n === 1));
      const [scheduler] = await queue.getJobSchedulers();
      assert.deepEqual([scheduler.key, scheduler.every, scheduler.name], ["tick", 60, "tick"]);
      assert.equal(await queue.removeJobScheduler("tick"), true);
      assert.equal(await queue.getJobSchedulersCount(), 0);
    }));

  test(`BullMQ ${major}: a scheduler with a pattern and a limit ends by itself`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      const done = heard(worker(async () => Date.now()), "completed", 2);
      await queue.upsertJobScheduler("seconds", { pattern: "* * * * * *", limit: 2 }, { name: "second" });
      const times = (await done).map(([, time]) => time);
      assert.ok(Math.floor(times[1] / 1000) > Math.floor(times[0] / 1000));
      assert.equal(await queue.getDelayedCount(), 0);
    }));

  test(`BullMQ ${major}: a parent is done after its children, and knows what came of them`, options, () =>
    withBullmq(async ({ name, queue, worker, flow, events }) => {
      const listener = await events();
      const order = [];
      const child = (n, more) => ({ name: "child", queueName: name, data: { n }, ...more });
      const tree = await flow().add({
        name: "parent", queueName: name, data: {},
        children: [child(1), child(2, { children: [child(20)] }), child(3, { opts: { delay: 50 } })],
      });
      assert.equal(await tree.job.getState(), "waiting-children");
      worker(async (job) => {
        order.push(job.data.n ?? "parent");
        if (job.name === "child") return job.data.n * 10;
        return Object.values(await job.getChildrenValues()).sort((a, b) => a - b);
      }, { concurrency: 3 });
      assert.deepEqual(await tree.job.waitUntilFinished(listener), [10, 20, 30]);
      assert.equal(order.at(-1), "parent");
      assert.ok(order.indexOf(20) < order.indexOf(2));
      const { processed } = await tree.job.getDependencies();
      assert.equal(Object.keys(processed).length, 3);
      assert.equal(await queue.getCompletedCount(), 5);
    }));

  test(`BullMQ ${major}: a child that fails fails its parent, if it was told to`, options, () =>
    withBullmq(async ({ name, worker, flow, events }) => {
      const listener = await events();
      const child = (what, opts) => ({ name: what, queueName: name, data: {}, opts });
      const parents = flow();
      const strict = await parents.add({
        name: "parent", queueName: name, children: [child("bad", { failParentOnFailure: true })],
      });
      const lenient = await parents.add({
        name: "parent", queueName: name, children: [child("bad", { ignoreDependencyOnFailure: true }), child("good")],
      });
      worker(async (job) => {
        if (job.name === "bad") throw new Error("no luck");
        return "fine";
      });
      await assert.rejects(strict.job.waitUntilFinished(listener), /child .* failed/);
      assert.equal(await lenient.job.waitUntilFinished(listener), "fine");
      assert.deepEqual(Object.values(await lenient.job.getIgnoredChildrenFailures()), ["no luck"]);
    }));

  test(`BullMQ ${major}: a job whose worker no longer renews its lock is done by another`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const stalled = once(listener, "stalled");
      const release = gate();
      const started = gate();
      const dead = worker(async () => {
        started.open();
        await release.opened;
        return "too late";
      }, { lockDuration: 100, skipLockRenewal: true, skipStalledCheck: true });
      const refused = once(dead, "error");
      const job = await queue.add("job", {});
      await started.opened;
      assert.equal(await job.getState(), "active");
      worker(async () => "done by the other", { stalledInterval: 50, maxStalledCount: 1 });
      assert.equal((await stalled)[0].jobId, job.id);
      assert.equal(await job.waitUntilFinished(listener), "done by the other");
      release.open();
      // What the first worker says now counts no more.
      assert.match(String((await refused)[0]), /Missing lock|not in the active state|Missing key/);
      assert.equal((await queue.getJob(job.id)).returnvalue, "done by the other");
    }));

  test(`BullMQ ${major}: a job that stalls too often has failed`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const started = gate();
      const release = gate();
      worker(async () => {
        started.open();
        await release.opened;
      }, { lockDuration: 100, skipLockRenewal: true, skipStalledCheck: true });
      const job = await queue.add("job", {});
      await started.opened;
      worker(async () => assert.fail("nobody may do it again"), { stalledInterval: 50, maxStalledCount: 0 });
      await assert.rejects(job.waitUntilFinished(listener), /job stalled more than allowable limit/);
      assert.equal(await job.getState(), "failed");
      release.open();
    }));

  test(`BullMQ ${major}: a job that fails is tried again, later each time`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      const times = [];
      worker(async (job) => {
        times.push(performance.now());
        if (job.name === "hopeless") throw new UnrecoverableError("never");
        if (job.attemptsMade < 3) throw new Error(`attempt ${job.attemptsMade}`);
        return "at last";
      });
      const job = await queue.add("stubborn", {}, { attempts: 4, backoff: { type: "exponential", delay: 40 } });
      assert.equal(await job.waitUntilFinished(listener), "at last");
      const waits = times.slice(1).map((time, n) => time - times[n]);
      assert.ok(waits[0] >= 38 && waits[1] >= 78 && waits[2] >= 158, waits.join(" "));
      assert.equal((await queue.getJob(job.id)).attemptsMade, 4);
      const hopeless = await queue.add("hopeless", {}, { attempts: 5 });
      await assert.rejects(hopeless.waitUntilFinished(listener), /never/);
      const failed = await queue.getJob(hopeless.id);
      assert.deepEqual([failed.attemptsMade, failed.failedReason], [1, "never"]);
      assert.equal(await queue.getFailedCount(), 1);
    }));

  test(`BullMQ ${major}: failed jobs are brought back, by themselves and all at once`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      let broken = true;
      worker(async () => {
        if (broken) throw new Error("broken");
        return "mended";
      });
      const jobs = await queue.addBulk([...Array(3)].map(() => ({ name: "job", data: {} })));
      await Promise.allSettled(jobs.map((job) => job.waitUntilFinished(listener)));
      assert.equal(await queue.getFailedCount(), 3);
      broken = false;
      const completed = heard(listener, "completed", 3);
      await (await queue.getJob(jobs[1].id)).retry();
      await queue.retryJobs({ state: "failed" });
      await completed;
      assert.deepEqual(await queue.getJobCounts("failed", "completed"), { failed: 0, completed: 3 });
    }));

  test(`BullMQ ${major}: a paused queue rests; what is added twice is done once`, options, () =>
    withBullmq(async ({ queue, worker, events }) => {
      const listener = await events();
      await queue.pause();
      const job = await queue.add("job", { n: 1 }, { deduplication: { id: "same" } });
      const twin = await queue.add("job", { n: 2 }, { deduplication: { id: "same" } });
      assert.equal(twin.id, job.id);
      const gone = await queue.add("gone", {});
      await gone.remove();
      const done = [];
      worker(async ({ data }) => { done.push(data.n); });
      assert.equal(await queue.isPaused(), true);
      // From 6 on jobs of a paused queue wait where others do.
      const where = major === 5 ? "paused" : "waiting";
      assert.deepEqual(await queue.getJobCounts(where), { [where]: 1 });
      await queue.resume();
      await job.waitUntilFinished(listener);
      assert.deepEqual(done, [1]);
    }));

  test(`BullMQ ${major}: a limit on all workers together is kept`, options, () =>
    withBullmq(async ({ queue, worker }) => {
      await queue.setGlobalConcurrency(1);
      let inside = 0;
      const work = async () => {
        assert.equal(++inside, 1);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      };
      const done = [1, 2, 3].map(() => worker(work, { concurrency: 4 }));
      let count = 0;
      const all = gate();
      for (const one of done) {
        one.on("completed", () => { if (++count === 30) all.open(); });
        one.on("failed", (job, error) => all.open(error));
      }
      await queue.addBulk([...Array(30)].map(() => ({ name: "job", data: {} })));
      assert.equal(await all.opened, undefined);
    }));
}

// The same for Bull, of which there are still many.
async function withBull(settings, run) {
  const name = `bull-${++queues}`;
  const opened = [];
  const open = (more = {}) => {
    const queue = new Bull(name, { redis: connection, ...settings, ...more });
    queue.on("error", () => {});
    opened.push(queue);
    return queue;
  };
  try {
    await run(open(), open);
  } finally {
    await opened[0].obliterate({ force: true });
    await Promise.all(opened.map((queue) => queue.close(true)));
  }
}

test("Bull: jobs are done and tell so", options, () =>
  withBull({}, async (queue) => {
    const completed = heard(queue, "completed", 10);
    const progress = once(queue, "progress");
    queue.process(async (job) => {
      await job.progress(42);
      return job.data.n * 2;
    });
    await queue.addBulk([...Array(10).keys()].map((n) => ({ data: { n } })));
    assert.equal((await progress)[1], 42);
    assert.deepEqual((await completed).map(([, result]) => result), [...Array(10).keys()].map((n) => n * 2));
    assert.equal((await queue.getJobCounts()).completed, 10);
  }));

test("Bull: a job that fails is tried again, and tells when it is given up", options, () =>
  withBull({}, async (queue) => {
    const failed = heard(queue, "failed", 3);
    const times = [];
    queue.process(async () => {
      times.push(performance.now());
      throw new Error("no luck");
    });
    const job = await queue.add({}, { attempts: 3, backoff: 50 });
    await assert.rejects(job.finished(), /no luck/);
    assert.deepEqual((await failed).map(([, error]) => error.message), Array(3).fill("no luck"));
    assert.ok(times[1] - times[0] >= 48 && times[2] - times[1] >= 48);
    assert.equal((await queue.getFailed())[0].attemptsMade, 3);
  }));

test("Bull: delayed jobs wait, jobs of higher priority come first", options, () =>
  withBull({}, async (queue) => {
    const start = Date.now();
    await queue.pause();
    const late = await queue.add({ n: "late" }, { delay: 150 });
    const jobs = [late];
    for (const priority of [3, 1, 2]) jobs.push(await queue.add({ n: priority }, { priority }));
    assert.equal(await late.getState(), "delayed");
    const done = [];
    queue.process(async (job) => { done.push([job.data.n, Date.now() - start]); });
    const finished = heard(queue, "completed", 4);
    await queue.resume();
    await finished;
    assert.deepEqual(done.map(([n]) => n).filter((n) => n !== "late"), [1, 2, 3]);
    assert.ok(done.find(([n]) => n === "late")[1] >= 149);
  }));

test("Bull: other processes hear of jobs, repeated ones among them", options, () =>
  withBull({}, async (queue, open) => {
    const other = open();
    await other.isReady();
    const heardAfar = heard(other, "global:completed", 3);
    queue.process("tick", async () => "tock");
    await queue.add("tick", {}, { repeat: { every: 60 } });
    assert.deepEqual((await heardAfar).map(([, result]) => result), Array(3).fill('"tock"'));
    const [repeated] = await queue.getRepeatableJobs();
    assert.equal(Number(repeated.every), 60);
    await queue.removeRepeatableByKey(repeated.key);
    assert.deepEqual(await queue.getRepeatableJobs(), []);
  }));

test("Bull: a limit of rate is kept", options, () =>
  withBull({ limiter: { max: 2, duration: 200 } }, async (queue) => {
    const start = performance.now();
    const times = [];
    queue.process(async () => { times.push(performance.now() - start); });
    const completed = heard(queue, "completed", 5);
    await queue.addBulk([...Array(5)].map(() => ({ data: {} })));
    await completed;
    assert.ok(times[2] >= 190 && times[4] >= 390, times.join(" "));
  }));

test("Bull: a job whose worker no longer renews its lock is done by another", options, () =>
  withBull({}, async (queue, open) => {
    const dead = open({ settings: { lockDuration: 100, lockRenewTime: 1000000, stalledInterval: 0 } });
    const started = gate();
    const release = gate();
    dead.process(async () => {
      started.open();
      await release.opened;
    }).catch(() => {});
    const job = await queue.add({});
    await started.opened;
    const other = open({ settings: { stalledInterval: 50 } });
    const stalled = once(other, "stalled");
    other.process(async () => "done by the other");
    assert.equal((await stalled)[0].id, job.id);
    assert.equal(await job.finished(), "done by the other");
    release.open();
  }));
