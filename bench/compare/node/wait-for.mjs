/** `await` of a promise that is settled already. */
import { count, now, report } from '../../measure.mjs';

const waits = count(100_000);
const settled = Promise.resolve();

async function awaitAll() {
  const start = now();
  for (let i = 0; i < waits; i++) await settled;
  return (now() - start) / waits;
}

await awaitAll();
report({ 'wait-for': [await awaitAll(), await awaitAll(), await awaitAll()] });
