/** Parks many greenlets and lets them end, ten times: the memory that stays with the process. */
import { Greenlet, joinAll, run, spawn } from 'greenstack';
import { count, memory, report } from './measure.mjs';

const greenlets = count(10_000);
const rounds = 10;
const nothing = () => {};

function parkAndEnd() {
  const gate = new Greenlet(nothing);
  let parked = 0;
  const spawned = Array.from({ length: greenlets }, () =>
    spawn(() => {
      if (++parked === greenlets) gate.start();
      gate.join();
    }),
  );
  joinAll(spawned);
}

await run(() => {
  const before = memory().resident;
  const kept = [];
  for (let round = 0; round < rounds; round++) {
    parkAndEnd();
    kept.push(memory().resident - before);
  }
  report({
    'finished.first': kept[0],
    'finished.last': kept[rounds - 1],
    // From the fifth on: until then the pool fills, and V8 makes room for its young generation.
    'finished.growth': (kept[rounds - 1] - kept[4]) / ((rounds - 5) * greenlets),
  });
});
