/** `setTimeout` and `clearTimeout`, with more and more others pending. */
import { collect, count, now, report, sample } from '../../measure.mjs';

const timeouts = count(100_000);
const few = 1_000;
const many = count(1_000_000);
const nothing = () => {};

/** @type {NodeJS.Timeout[]} */
const pending = [];

/** Starts timers that end long after this program, in no order, until `total` are pending. */
function fill(/** @type {number} */ total) {
  for (let i = pending.length; i < total; i++)
    pending.push(setTimeout(nothing, 3_600_000 + ((i * 7_919) % 3_600_000)));
}

const startAndCancel = () =>
  sample(timeouts, () => {
    for (let i = 0; i < timeouts; i++) clearTimeout(setTimeout(nothing, 10_000));
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
report({
  'timeout.alone': alone,
  'timeout.amongFew': amongFew,
  'timeout.amongMany': amongMany,
  'timeout.fill': filled,
});
process.exit();
