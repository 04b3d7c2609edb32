/** Looks names up that are known: one of the hosts file, and one that a name server has answered before. */
import { run } from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { count, dnsPort, report, sample, verify } from './measure.mjs';

const lookups = count(200_000);

await run(() => {
  const resolver = new Resolver({ nameservers: [`127.0.0.1:${dnsPort}`] });
  report({
    'dns-cached.hosts': sample(lookups, () => {
      for (let i = 0; i < lookups; i++)
        verify(resolver.lookup('localhost', { family: 4 }).address, '127.0.0.1');
    }),
    'dns-cached.kept': sample(lookups, () => {
      for (let i = 0; i < lookups; i++)
        verify(resolver.lookup('keep.test', { family: 4 }).address, '192.0.2.1');
    }),
  });
  resolver.close();
});
