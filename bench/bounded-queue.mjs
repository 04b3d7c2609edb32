/** Passes items from one greenlet to another through a bounded queue, which the one fills and the other empties. */
import { joinAll, run, spawn } from 'greenstack';
import { Queue } from 'greenstack/queue';
import { count, report, sample, verify } from './measure.mjs';

const items = count(200_000);

/** @param {number} maxSize */
const passThrough = (maxSize) =>
  sample(items, () => {
    /** @type {Queue<number>} */
    const queue = new Queue(maxSize);
    let sum = 0;
    const get = () => {
      for (let i = 0; i < items; i++) sum += queue.get();
    };
    const put = () => {
      for (let i = 0; i < items; i++) queue.put(i);
    };
    joinAll([spawn(get), spawn(put)]);
    verify(sum, (items * (items - 1)) / 2);
  });

await run(() => report({ 'bounded-queue.ten': passThrough(10), 'bounded-queue.hundred': passThrough(100) }));
