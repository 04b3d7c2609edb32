/** `dns.lookup`, which asks the system on libuv's threads every time: fifty at once, so that all of them are busy. */
import { promises } from 'node:dns';
import { count, now, report, verify } from '../../measure.mjs';

const lookups = count(20_000);

async function lookUpAll() {
  let left = lookups;
  async function ask() {
    while (left-- > 0) verify((await promises.lookup('localhost', { family: 4 })).address, '127.0.0.1');
  }
  const start = now();
  await Promise.all(Array.from({ length: 50 }, ask));
  return (now() - start) / lookups;
}

await lookUpAll();
report({ 'dns-cached.hosts': [await lookUpAll(), await lookUpAll(), await lookUpAll()] });
