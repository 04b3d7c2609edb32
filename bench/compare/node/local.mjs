/** Reads and writes a property of what an `AsyncLocalStorage` holds. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { count, report, sample, verify } from '../../measure.mjs';

const rounds = count(200_000);
/** @type {AsyncLocalStorage<{ count: number }>} */
const storage = new AsyncLocalStorage();
const own = () => /** @type {{ count: number }} */ (storage.getStore());

function body() {
  const before = own().count;
  for (let i = 0; i < rounds; i++) own().count = own().count + 1;
  verify(own().count, before + rounds);
}

report({ 'local.property': storage.run({ count: 0 }, () => sample(rounds * 2, body)) });
