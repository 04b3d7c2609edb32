/** Two greenlets, each waiting for the other, to and fro: by the smallest means there is, and by promises. */
import { joinAll, run, spawn, waitFor, Waiter } from 'greenstack';
import { count, report, sample } from './measure.mjs';

const trips = count(50_000);

/** @param {() => void} one  @param {() => void} other */
const together = (one, other) => sample(trips * 2, () => joinAll([spawn(one), spawn(other)]));

function byWaiter() {
  const there = new Waiter();
  const back = new Waiter();
  return together(
    () => {
      for (let i = 0; i < trips; i++) {
        there.switch(i);
        back.get();
        back.clear();
      }
    },
    () => {
      for (let i = 0; i < trips; i++) {
        there.get();
        there.clear();
        back.switch(i);
      }
    },
  );
}

/** @returns {{ taken: Promise<void>, pass: () => void }} */
function baton() {
  let pass = () => {};
  const taken = /** @type {Promise<void>} */ (new Promise((resolve) => (pass = resolve)));
  return { taken, pass };
}

function byPromise() {
  let there = baton();
  let back = baton();
  return together(
    () => {
      for (let i = 0; i < trips; i++) {
        there.pass();
        waitFor(back.taken);
        back = baton();
      }
    },
    () => {
      for (let i = 0; i < trips; i++) {
        waitFor(there.taken);
        there = baton();
        back.pass();
      }
    },
  );
}

await run(() => report({ 'hand-over.waiter': byWaiter(), 'hand-over.promise': byPromise() }));
