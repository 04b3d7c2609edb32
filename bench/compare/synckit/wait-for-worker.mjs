import { createRequire } from 'node:module';

const { runAsWorker } = createRequire(import.meta.url)(/** @type {string} */ (process.env.BENCH_SYNCKIT));
const settled = Promise.resolve();

runAsWorker((/** @type {boolean} */ isImmediate) =>
  isImmediate ? new Promise((resolve) => setImmediate(resolve)) : settled,
);
