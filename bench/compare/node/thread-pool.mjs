/** Jobs for four worker threads of piscina: ones that block for 1 ms, and ones that do nothing. */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { count, now, report, verify } from '../../measure.mjs';

const jobs = Array.from({ length: count(1_000) }, (_, index) => index);
const filename = fileURLToPath(new URL('../jobs.mjs', import.meta.url));
const pool = new Piscina({ filename, minThreads: 4, maxThreads: 4, recordTiming: false });

async function runAll(/** @type {string} */ name) {
  const start = now();
  const results = await Promise.all(jobs.map((job) => pool.run(job, { name })));
  const elapsed = now() - start;
  verify(
    results.reduce((sum, item) => sum + item, 0),
    (jobs.length * (jobs.length - 1)) / 2,
  );
  return elapsed / jobs.length;
}

/** @param {string} name */
async function sampleAll(name) {
  await runAll(name);
  const samples = [];
  for (let i = 0; i < 5; i++) samples.push(await runAll(name));
  return samples;
}

report({ 'thread-pool.block': await sampleAll('block'), 'thread-pool.same': await sampleAll('same') });
await pool.destroy();
