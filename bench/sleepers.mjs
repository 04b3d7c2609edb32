/** Lets many greenlets sleep until the same moment: the time from the first that runs again to the last, for each. */
import { joinAll, run, sleep, spawn } from 'greenstack';
import { count, now, report } from './measure.mjs';

/** @param {number} greenlets  @param {number} ms - until all are due: long enough for all to have gone to sleep */
function wakeSleepers(greenlets, ms) {
  const due = now() + ms * 1e6;
  let first = 0;
  let last = 0;
  joinAll(
    Array.from({ length: greenlets }, () =>
      spawn(() => {
        sleep((due - now()) / 1e6);
        last = now();
        first ||= last;
      }),
    ),
  );
  return (last - first) / greenlets;
}

await run(() => {
  wakeSleepers(100, 50); // warms up
  report({ sleepers: wakeSleepers(count(20_000), 1_500) });
});
