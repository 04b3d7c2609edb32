/** Hands items from one greenlet to another through a channel, which keeps none. */
import { joinAll, run, spawn } from 'greenstack';
import { Channel } from 'greenstack/queue';
import { count, report, sample, verify } from './measure.mjs';

const items = count(100_000);

function handOn() {
  /** @type {Channel<number>} */
  const channel = new Channel();
  let sum = 0;
  const get = () => {
    for (let i = 0; i < items; i++) sum += channel.get();
  };
  const put = () => {
    for (let i = 0; i < items; i++) channel.put(i);
  };
  joinAll([spawn(get), spawn(put)]);
  verify(sum, (items * (items - 1)) / 2);
}

await run(() => report({ channel: sample(items, handOn) }));
