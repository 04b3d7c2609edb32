/** Hands over between two greenlets before and after a million others that parked once and ended. */
import { joinAll, run, sleep, spawn } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const yields = count(300_000);
const batches = count(1_000);

const handOver = () =>
  sample(yields, () => {
    const yielding = () => {
      for (let i = 0; i < yields / 2; i++) sleep(0);
    };
    joinAll([spawn(yielding), spawn(yielding)]);
  });

await run(() => {
  const before = handOver();
  const parkOnce = () => sleep(0);
  for (let i = 0; i < batches; i++) joinAll(Array.from({ length: 1_000 }, () => spawn(parkOnce)));
  report({ 'switch-growth.before': before, 'switch-growth.after': handOver() });
});
