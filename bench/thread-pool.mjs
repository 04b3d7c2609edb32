/** Jobs for four worker threads: ones that block for 1 ms, and ones that do nothing. */
import { run } from 'greenstack';
import { ThreadPool } from 'greenstack/threadpool';
import { count, report, sample, verify } from './measure.mjs';

const jobs = Array.from({ length: count(1_000) }, (_, index) => index);
const module = new URL('compare/jobs.mjs', import.meta.url);

await run(() => {
  const pool = new ThreadPool(4);
  const runAll = (/** @type {string} */ name) =>
    sample(
      jobs.length,
      () => {
        const results = /** @type {number[]} */ (pool.map({ module, name }, jobs));
        verify(
          results.reduce((sum, item) => sum + item, 0),
          (jobs.length * (jobs.length - 1)) / 2,
        );
      },
      5,
    );
  report({ 'thread-pool.block': runAll('block'), 'thread-pool.same': runAll('same') });
  pool.kill();
});
