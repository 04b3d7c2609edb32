/**
 * Worker threads with parked and busy greenlets, terminated at random moments: before, during and after start-up.
 *
 * Argument: how many workers. Prints `<terminated> terminated`.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { AsyncLocalStorage } from 'node:async_hooks';
import { joinAll, run, sleep, spawn, Timeout, waitFor } from 'greenstack';
import { fiberChecks } from './fibers.js';
import { checks } from './primitives.js';

const COUNT = Number(process.argv[2] ?? 30);
const AT_ONCE = 3;

async function terminateOne(index: number): Promise<void> {
  const worker = new Worker(__filename, { argv: process.argv.slice(2) });
  const failed = once(worker, 'error').then(([error]) => Promise.reject(error as Error));
  const ready = index % 3 === 0 ? once(worker, 'online') : once(worker, 'message');
  await Promise.race([ready, failed]);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 25));
  await worker.terminate();
  failed.catch(() => undefined);
}

function terminateAll(): void {
  let next = 0;
  const terminators = Array.from({ length: AT_ONCE }, () =>
    spawn(() => {
      while (next < COUNT) waitFor(terminateOne(next++));
    }),
  );
  joinAll(terminators, { raiseError: true });
  console.log(`${next} terminated`);
}

const storage = new AsyncLocalStorage<object>();

function busy(id: number): void {
  for (let round = 0; ; round++) {
    storage.run({ id, round, young: Array.from({ length: 10 }, () => round) }, () => {
      [3, 1, 2].sort((a, b) => (sleep(0), a - b));
      const timeout = Timeout.startNew(1000);
      waitFor(Promise.resolve(round));
      timeout.cancel();
      sleep(id % 3);
    });
    const [name, check] = primitives[(id + round) % primitives.length]!;
    if (!check(round)) throw new Error(`${name} went wrong`);
  }
}

/** Threads of threads take too long to start. */
const primitives = Object.entries({ ...checks, ...fiberChecks }).filter(([name]) => name !== 'threads');

function fillWorker(): void {
  for (let count = 0; count < 100; count++) spawn(() => sleep(3_600_000));
  for (let id = 0; id < 20; id++) spawn(busy, id);
  sleep(5);
  parentPort?.postMessage('busy');
  for (;;) {
    let sum = 0;
    for (let index = 0; index < 100_000; index++) sum += index;
    sleep(sum > 0 ? 0 : 1);
  }
}

run(isMainThread ? terminateAll : fillWorker).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
