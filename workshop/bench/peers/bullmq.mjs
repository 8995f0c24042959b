// The trials on BullMQ with its defaults, four jobs at a time: node bullmq.mjs VERB URL COUNT [NAP]. See __init__.py.
import { Queue, Worker } from "bullmq";
import Redis from "ioredis";

const WARM_UP = 100;
const [verb, url, countText, napText] = process.argv.slice(2);
const count = Number(countText);
const connect = () => new Redis(url, { maxRetriesPerRequest: null });
const queue = new Queue("bench", { connection: connect() });
const options = { attempts: 3, removeOnComplete: true, backoff: { type: "fixed", delay: 1000 } };
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const now = () => Number(process.hrtime.bigint()) / 1e9;
const cpu = () => Object.values(process.cpuUsage()).reduce((a, b) => a + b) / 1e6;

const begun = new Map();
let seen = 0;
let ended = 0;
let cpuThen = 0;
let firstMeasured = 0;
let lastEnd = 0;

function work() {
  const worker = new Worker(
    "bench",
    async (job) => {
      seen += 1;
      if (seen === WARM_UP + 1) [firstMeasured, cpuThen] = [now(), cpu()];
      const times = begun.get(job.data.number) ?? [];
      begun.set(job.data.number, [...times, now()]);
      if (job.data.nap) await sleep(job.data.nap * 1000);
      lastEnd = now();
      ended += 1;
      if (job.data.failsOnce && times.length === 0) throw new Error("on purpose");
    },
    { connection: connect(), concurrency: 4 },
  );
  return worker.waitUntilReady();
}

async function waitFor(total) {
  const deadline = now() + 300;
  while (ended < total) {
    if (now() > deadline) throw new Error(`only ${ended} jobs have ended`);
    await sleep(2);
  }
}

function summary(delays) {
  delays.sort((a, b) => a - b);
  return { median: delays[Math.floor(delays.length / 2)], worst: delays.at(-1) };
}

const verbs = {
  async enqueue() {
    const [began, cpuBefore] = [now(), cpu()];
    const nap = Number(napText ?? 0);
    const jobs = Array.from({ length: count }, (_, number) => ({ name: "nap", data: { number, nap }, opts: options }));
    await queue.addBulk(jobs);
    return { seconds: now() - began, cpu: cpu() - cpuBefore };
  },
  async drain() {
    await work();
    await waitFor(count);
    await sleep(50); // the last ones are being settled
    return { jobs: count - WARM_UP, seconds: lastEnd - firstMeasured, cpu: cpu() - cpuThen };
  },
  async pickup() {
    await work();
    await sleep(1500);
    const delays = [];
    for (let number = 0; number < count; number += 1) {
      const pushed = now();
      await queue.add("nap", { number, nap: 0 }, options);
      await waitFor(number + 1);
      delays.push(begun.get(number)[0] - pushed);
      await sleep(50);
    }
    return summary(delays);
  },
  async retry() {
    await work();
    await sleep(500);
    const delays = [];
    for (let number = 0; number < count; number += 1) {
      await queue.add("nap", { number, nap: 0, failsOnce: true }, options);
      await waitFor(2 * (number + 1));
      const [first, second] = begun.get(number);
      delays.push(second - first);
    }
    return summary(delays);
  },
};

console.log(JSON.stringify(await verbs[verb]()));
process.exit(0);
