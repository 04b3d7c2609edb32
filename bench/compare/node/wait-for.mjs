/** `await` of a promise that is settled already, and of one that `setImmediate` settles. */
import { count, now, report } from '../../measure.mjs';

const waits = count(100_000);
const immediates = count(20_000);
const settled = Promise.resolve();
const immediate = () => new Promise((resolve) => setImmediate(resolve));

/**
 * @param {number} times
 * @param {() => Promise<unknown>} make
 */
async function awaitAll(times, make) {
  const start = now();
  for (let i = 0; i < times; i++) await make();
  return (now() - start) / times;
}

/**
 * @param {number} times
 * @param {() => Promise<unknown>} make
 */
async function samples(times, make) {
  await awaitAll(times, make);
  return [await awaitAll(times, make), await awaitAll(times, make), await awaitAll(times, make)];
}

report({
  'wait-for': await samples(waits, () => settled),
  'wait-for.immediate': await samples(immediates, immediate),
});
