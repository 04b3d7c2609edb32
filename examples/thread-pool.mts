/**
 * Four jobs that block their thread for a second each, on three threads: done in two seconds. Greenlets run meanwhile.
 *
 *     node examples/thread-pool.mts [MS]      (by default 1000)
 */
import { run, sleep, spawn } from 'greenstack';
import { ThreadPool } from 'greenstack/threadpool';

const ms = Number(process.argv[2] ?? 1000);

/** Blocks the thread that it runs in. It is sent there by its source, so it sees nothing of this file. */
function block(duration: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, duration);
}

await run(() => {
  const pool = new ThreadPool(3);
  let ticks = 0;
  const ticker = spawn(() => {
    for (;;) {
      sleep(ms / 20);
      ticks++;
    }
  });

  const start = performance.now();
  for (let job = 1; job <= 4; job++) {
    pool.spawn(block, ms); // the fourth waits until a thread is free
    console.log(`job ${job} has begun`);
  }
  pool.join();
  const elapsed = Math.round(performance.now() - start);

  ticker.kill();
  console.log(`4 jobs of ${ms} ms on ${pool.size} threads: ${elapsed} ms`);
  console.log(ticks > 0 ? 'greenlets ran meanwhile' : 'nobody ran meanwhile');
});
