/** Spawns greenlets that never block, all at once, then joins them all. */
import { joinAll, run, spawn } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const greenlets = count(100_000);
const nothing = () => {};

await run(() => {
  report({
    'spawn-run': sample(greenlets, () => {
      const spawned = [];
      for (let i = 0; i < greenlets; i++) spawned.push(spawn(nothing));
      joinAll(spawned);
    }),
  });
});
