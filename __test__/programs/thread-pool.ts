/** What a thread pool does to the life of its process. The first argument says which way. */
import { writeFileSync } from 'node:fs';
import { getHub, run } from 'greenstack';
import { ThreadPool } from 'greenstack/threadpool';
import { Latch, failDeaf, hold, spin } from '../support/latch.js';

const pool = new ThreadPool(2, { idleTimeout: Infinity });
const latch = new Latch();

const ways: Record<string, () => void> = {
  /** Its threads would stay for ever. */
  idle() {
    console.log(pool.apply(() => 'done'));
  },
  /** Nothing but the job keeps the process alive. */
  busy() {
    const result = pool.spawn((ms: number) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
      return 'done';
    }, 100);
    console.log(result.get());
  },
  /** Nobody waits for the job. */
  forgotten() {
    pool.spawn(() => console.log('done'));
  },
  exit() {
    pool.spawn(spin, latch.flags);
    pool.spawn(hold, latch.flags);
    latch.waitForBegun(2);
    console.log('exiting');
    process.exit(3);
  },
  failure() {
    pool.spawn(spin, latch.flags);
    latch.waitForBegun(1);
    using _ending = pool;
    throw new Error('the end');
  },
  /** Its thread loses the first request to end. */
  deaf() {
    const result = pool.spawn(failDeaf, latch.flags);
    latch.waitForBegun(1);
    result.cancel();
    console.log(pool.size);
  },
  /** With a preloaded file that fails in worker threads. */
  broken() {
    for (const attempt of [1, 2]) {
      try {
        pool.apply(() => 'done');
      } catch (error) {
        console.log(attempt, (error as Error).name, (error as Error).message);
      }
    }
    console.log(pool.join());
  },
  /** With a preloaded file that fails in the first worker thread, and holds the others until that is reported. */
  halfBroken() {
    getHub().handleError = (_, error) => {
      console.log(String(error));
      writeFileSync(process.env.REPORTED!, '');
    };
    console.log(pool.map((value: number) => value * value, [1, 2, 3]));
  },
  /** With a job in the pool of the hub. */
  destroyed() {
    const { threadpool } = getHub();
    threadpool.spawn(spin, latch.flags);
    latch.waitForBegun(1);
    getHub().destroy();
    console.log(threadpool.size);
    try {
      console.log(getHub().threadpool);
    } catch (error) {
      console.log((error as Error).name);
    }
  },
  /** Without the permission to make threads. */
  forbidden() {
    try {
      pool.map((value: number) => value, [1, 2, 3]);
    } catch (error) {
      console.log((error as Error).name, ((error as Error).cause as { code: string }).code);
    }
    console.log(pool.join());
  },
};

void run(ways[process.argv[2]!]!);
