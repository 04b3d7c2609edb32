/**
 * Worker threads that use all of `greenstack/shared` in every way, terminated at random moments.
 *
 * Argument: how many workers. Prints `<terminated> terminated, all items done`.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { run, sleep, spawn, waitFor } from 'greenstack';
import {
  SharedAsyncResult,
  SharedEvent,
  type SharedHandle,
  SharedQueue,
  SharedSemaphore,
} from 'greenstack/shared';

const COUNT = Number(process.argv[2] ?? 30);
const AT_ONCE = 3;
const CONSUMERS = 4;

interface Shared {
  jobs: SharedHandle<'SharedQueue'>;
  results: SharedHandle<'SharedQueue'>;
  tokens: SharedHandle<'SharedSemaphore'>;
  tick: SharedHandle<'SharedEvent'>;
  latest: SharedHandle<'SharedAsyncResult'>;
  acquired: Int32Array;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function main(): void {
  const jobs = new SharedQueue<number>(20);
  const results = new SharedQueue<number>();
  const tokens = new SharedSemaphore(0);
  const tick = new SharedEvent();
  const latest = new SharedAsyncResult<number[]>();
  const acquired = new Int32Array(new SharedArrayBuffer(4));
  const shared: Shared = {
    jobs: jobs.handle,
    results: results.handle,
    tokens: tokens.handle,
    tick: tick.handle,
    latest: latest.handle,
    acquired,
  };
  let terminated = 0;
  let released = 0;
  let put = 0;
  const done = new Map<number, number>();

  const startWorker = (): Worker => {
    const worker = new Worker(__filename, { argv: process.argv.slice(2), workerData: shared });
    worker.on('error', (error) => {
      console.error(error);
      process.exit(1);
    });
    return worker;
  };
  const terminators = Array.from({ length: AT_ONCE }, () =>
    spawn(() => {
      for (let left = COUNT / AT_ONCE; left > 0; left--) {
        const worker = startWorker();
        waitFor(once(worker, left % 3 === 0 ? 'online' : 'message'));
        sleep(Math.random() * 20);
        waitFor(worker.terminate());
        terminated++;
      }
    }),
  );
  const producer = spawn(() => {
    for (;;) {
      jobs.put(put++);
      tokens.release();
      released++;
      tick.set();
      tick.clear();
      const value = latest.wait(0);
      check(value?.every((number) => number === value[0]) ?? true, 'parts of two values');
    }
  });
  const collector = spawn(() => {
    for (const id of results) done.set(id, (done.get(id) ?? 0) + 1);
  });
  for (const terminator of terminators) terminator.get();
  producer.kill();
  while (!jobs.empty) results.put(jobs.getNowait());
  // Those that are under way, or went down with their threads.
  while (results.size > 0) sleep(1);

  const lost = put - done.size;
  // The last one put may have been taken back.
  check(lost <= terminated * CONSUMERS + 1, `${lost} items lost by ${terminated} threads`);
  check(
    [...done.values()].every((times) => times === 1),
    'items got twice',
  );
  const missing = released - tokens.counter - acquired[0]!;
  check(missing >= 0 && missing <= terminated, `${missing} permits lost by ${terminated} threads`);

  // Whatever has happened, it still works.
  const workers = [startWorker(), startWorker()];
  const last = put + 1000;
  for (let id = put; id < last; id++) jobs.put(id);
  while (done.size < 1000 + put - lost) tick.wait(1);
  for (let id = put; id < last; id++) check(done.get(id) === 1, 'an item was not got once');
  for (const worker of workers) waitFor(worker.terminate());
  collector.kill();
  console.log(`${terminated} terminated, all items done`);
}

function worker({ jobs, results, tokens, tick, latest, acquired }: Shared): void {
  const target = SharedQueue.from<number>(results);
  for (let count = 0; count < CONSUMERS; count++) {
    spawn(() => {
      for (const id of SharedQueue.from<number>(jobs)) target.put(id);
    });
  }
  spawn(() => {
    const semaphore = SharedSemaphore.from(tokens);
    for (;;) if (semaphore.acquire(1)) Atomics.add(acquired, 0, 1);
  });
  spawn(() => {
    for (;;) SharedEvent.from(tick).wait();
  });
  spawn(() => {
    const result = SharedAsyncResult.from<number[]>(latest);
    for (let round = 0; ; round++) {
      result.set(Array.from({ length: (round * 7) % 200 }, () => round));
      if (round % 20 === 0) sleep(0);
    }
  });
  sleep(2);
  parentPort?.postMessage('busy');
  sleep(3_600_000);
}

run(isMainThread ? main : () => worker(workerData as Shared)).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
