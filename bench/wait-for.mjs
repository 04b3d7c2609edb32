/** Waits for a promise that is settled already, and for one that `setImmediate` settles. */
import { run, waitFor } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const waits = count(100_000);
const immediates = count(20_000);
const settled = Promise.resolve();
const immediate = () => new Promise((resolve) => setImmediate(resolve));

await run(() => {
  report({
    'wait-for': sample(waits, () => {
      for (let i = 0; i < waits; i++) waitFor(settled);
    }),
    'wait-for.immediate': sample(immediates, () => {
      for (let i = 0; i < immediates; i++) waitFor(immediate());
    }),
  });
});
