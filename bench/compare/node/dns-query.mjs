/** The same by c-ares: `resolve4` of a `Resolver` of `node:dns`. */
import { promises } from 'node:dns';
import { count, dnsPort, now, report, verify } from '../../measure.mjs';

const resolver = new promises.Resolver();
resolver.setServers([`127.0.0.1:${dnsPort}`]);
let asked = 0;

/**
 * @param {number} names
 * @param {number} atOnce
 */
async function perSecond(names, atOnce) {
  let left = names;
  async function ask() {
    while (left-- > 0) verify((await resolver.resolve4(`name${asked++}.test`))[0], '192.0.2.1');
  }
  const start = now();
  await Promise.all(Array.from({ length: atOnce }, ask));
  return names / ((now() - start) / 1e9);
}

await perSecond(count(5_000), 100);
/** @type {Record<string, number[]>} */
const figures = { 'dns-query.one': [], 'dns-query.many': [] };
for (let repetition = 0; repetition < 3; repetition++) {
  figures['dns-query.one'].push(await perSecond(count(2_000), 1));
  figures['dns-query.many'].push(await perSecond(count(30_000), 100));
}
report(figures);
