/** Looks names up that nobody knows yet: one after another, and many at once, by a name server that answers at once. */
import { joinAll, run, spawn } from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { count, dnsPort, now, report, verify } from './measure.mjs';

let asked = 0;

await run(() => {
  const resolver = new Resolver({ nameservers: [`127.0.0.1:${dnsPort}`], search: [], hosts: false });

  /**
   * @param {number} names
   * @param {number} atOnce
   */
  function perSecond(names, atOnce) {
    let left = names;
    function ask() {
      while (left-- > 0) verify(resolver.resolve4(`name${asked++}.test`)[0], '192.0.2.1');
    }
    const start = now();
    joinAll(
      Array.from({ length: atOnce }, () => spawn(ask)),
      { raiseError: true },
    );
    return names / ((now() - start) / 1e9);
  }

  perSecond(count(5_000), 100);
  /** @type {Record<string, number[]>} */
  const figures = { 'dns-query.one': [], 'dns-query.many': [] };
  for (let repetition = 0; repetition < 3; repetition++) {
    figures['dns-query.one'].push(perSecond(count(2_000), 1));
    figures['dns-query.many'].push(perSecond(count(30_000), 100));
  }
  report(figures);
  resolver.close();
});
