/** Sets an event that many greenlets wait for: the time until the last of them has gone on, for each. */
import { run, spawn } from 'greenstack';
import { Event } from 'greenstack/event';
import { collect, count, now, report, verify } from './measure.mjs';

/** @param {number} greenlets */
function setForAll(greenlets) {
  const allParked = new Event();
  const event = new Event();
  const allWoken = new Event();
  let parked = 0;
  let woken = 0;
  let end = 0;
  const waiter = () => {
    if (++parked === greenlets) allParked.set();
    event.wait();
    if (++woken < greenlets) return;
    end = now();
    allWoken.set();
  };
  for (let i = 0; i < greenlets; i++) spawn(waiter);
  allParked.wait();
  collect();
  verify(woken, 0);

  const start = now();
  event.set();
  allWoken.wait();
  verify(woken, greenlets);
  return (end - start) / greenlets;
}

await run(() => {
  const greenlets = count(10_000);
  setForAll(greenlets); // warms up
  report({ event: Array.from({ length: 5 }, () => setForAll(greenlets)) });
});
