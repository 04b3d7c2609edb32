/** Starts a timeout and cancels it, with more and more others pending. */
import { run, Timeout } from 'greenstack';
import { collect, count, now, report, sample } from './measure.mjs';

const timeouts = count(100_000);
const few = 1_000;
const many = count(1_000_000);

await run(() => {
  /** @type {Timeout[]} */
  const pending = [];
  /** Starts timeouts that end long after this program, in no order, until `total` are pending. */
  const fill = (/** @type {number} */ total) => {
    for (let i = pending.length; i < total; i++) {
      const timeout = new Timeout(3_600_000 + ((i * 7_919) % 3_600_000));
      timeout.start();
      pending.push(timeout);
    }
  };
  const startAndCancel = () =>
    sample(timeouts, () => {
      for (let i = 0; i < timeouts; i++) {
        const timeout = new Timeout(10_000);
        timeout.start();
        timeout.cancel();
      }
    });

  const alone = startAndCancel();
  fill(few);
  collect();
  const amongFew = startAndCancel();
  const start = now();
  fill(many);
  const filled = (now() - start) / (many - few);
  collect();
  const amongMany = startAndCancel();
  for (const timeout of pending) timeout.cancel();
  report({
    'timeout.alone': alone,
    'timeout.amongFew': amongFew,
    'timeout.amongMany': amongMany,
    'timeout.fill': filled,
  });
});
