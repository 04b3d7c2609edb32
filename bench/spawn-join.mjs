/** Spawns greenlets one by one, the parent waiting for each to end. */
import { run, spawn } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const greenlets = count(100_000);
const nothing = () => {};

await run(() => {
  report({
    'spawn-join': sample(greenlets, () => {
      for (let i = 0; i < greenlets; i++) spawn(nothing).join();
    }),
  });
});
