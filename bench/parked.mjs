/** Parks many greenlets on one event (the end of a greenlet): the memory each takes, and the time to wake each. */
import { Greenlet, run, spawn } from 'greenstack';
import { count, memory, now, report } from './measure.mjs';

const nothing = () => {};

/** Parks so many greenlets and wakes them. */
function parkAndWake(/** @type {number} */ greenlets) {
  const allParked = new Greenlet(nothing);
  const gate = new Greenlet(nothing);
  const allWoken = new Greenlet(nothing);
  let parked = 0;
  let woken = 0;
  let end = 0;

  const before = memory();
  for (let i = 0; i < greenlets; i++) {
    spawn(() => {
      if (++parked === greenlets) allParked.start();
      gate.join();
      if (++woken < greenlets) return;
      end = now();
      allWoken.start();
    });
  }
  allParked.join();
  const after = memory();

  const start = now();
  gate.start();
  allWoken.join();
  return {
    'parked.bytes': (after.resident - before.resident) / greenlets,
    'parked.pageTables': (after.pageTables - before.pageTables) / greenlets,
    'parked.wake': (end - start) / greenlets,
  };
}

await run(() => {
  parkAndWake(100); // warms up
  report(parkAndWake(count(100_000)));
});
