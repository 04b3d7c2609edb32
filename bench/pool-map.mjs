/** Maps many items by a function that never blocks, at most a hundred greenlets at a time. */
import { run } from 'greenstack';
import { Pool } from 'greenstack/pool';
import { count, report, sample, verify } from './measure.mjs';

const items = Array.from({ length: count(10_000) }, (_, index) => index);
/** @param {number} item */
const same = (item) => item;

function mapAll() {
  const results = new Pool(100).map(same, items);
  verify(
    results.reduce((sum, result) => sum + result, 0),
    (items.length * (items.length - 1)) / 2,
  );
}

await run(() => report({ 'pool-map': sample(items.length, mapAll, 5) }));
