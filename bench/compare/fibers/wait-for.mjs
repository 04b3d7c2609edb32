/** Futures of the package fibers, that a promise resolves. */
import { createRequire } from 'node:module';
import { count, report, sample } from '../../measure.mjs';

const require = createRequire(import.meta.url);
const path = /** @type {string} */ (process.env.BENCH_FIBERS);
const Fiber = require(path);
const Future = require(`${path}/future`);
const waits = count(100_000);
const immediates = count(20_000);
const settled = Promise.resolve();
const immediate = () => new Promise((resolve) => setImmediate(resolve));

Fiber(() => {
  report({
    'wait-for': sample(waits, () => {
      for (let i = 0; i < waits; i++) Future.fromPromise(settled).wait();
    }),
    'wait-for.immediate': sample(immediates, () => {
      for (let i = 0; i < immediates; i++) Future.fromPromise(immediate()).wait();
    }),
  });
}).run();
