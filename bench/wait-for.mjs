/** Waits for a promise that is settled already. */
import { run, waitFor } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const waits = count(100_000);
const settled = Promise.resolve();

await run(() => {
  report({
    'wait-for': sample(waits, () => {
      for (let i = 0; i < waits; i++) waitFor(settled);
    }),
  });
});
