/** The package synckit: the promise is another thread's, and this one stands still until it is settled. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { count, report, sample } from '../../measure.mjs';

const { createSyncFn } = createRequire(import.meta.url)(/** @type {string} */ (process.env.BENCH_SYNCKIT));
/** @type {(isImmediate: boolean) => void} */
const wait = createSyncFn(fileURLToPath(new URL('wait-for-worker.mjs', import.meta.url)));
const waits = count(20_000);

/** @param {boolean} isImmediate */
const samples = (isImmediate) =>
  sample(waits, () => {
    for (let i = 0; i < waits; i++) wait(isImmediate);
  });

report({ 'wait-for': samples(false), 'wait-for.immediate': samples(true) });
process.exit();
