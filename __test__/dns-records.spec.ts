import { promises } from 'node:dns';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { getHub, idle, joinAll, sleep, spawn, waitFor } from 'greenstack';
import * as dns from 'greenstack/dns';
import { Resolver, type RecordType } from 'greenstack/dns';
import { VirtualClock } from 'greenstack/testing';
import { type Nameserver, nameserver, type Record, type Script, zone } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

type QueryError = NodeJS.ErrnoException & { hostname?: string };
type Options = NonNullable<ConstructorParameters<typeof Resolver>[0]>;

const soa: Record = {
  type: 'SOA',
  data: ['ns.test', 'admin.test', 4_000_000_000, 7200, 900, 1_209_600, 300],
  ttl: 60,
};

const records = zone({
  'all.test': [
    { type: 'A', data: '192.0.2.1', ttl: 300 },
    { type: 'A', data: '192.0.2.2', ttl: 200 },
    { type: 'AAAA', data: '2001:db8::1', ttl: 300 },
    { type: 'CAA', data: [128, 'issue', 'ca.test; policy=ev'] },
    { type: 'CAA', data: [0, 'iodef', 'mailto:admin@test'] },
    { type: 'MX', data: [10, 'mail.test'] },
    { type: 'MX', data: [20, 'Backup.test'] },
    { type: 'NAPTR', data: [100, 50, 's', 'SIP+D2U', '', '_sip._udp.test'] },
    { type: 'NS', data: 'ns.test' },
    { type: 'PTR', data: 'one.test' },
    { type: 'PTR', data: 'other.test' },
    { type: 'SRV', data: [5, 10, 5060, 'sip.test'] },
    { type: 'TXT', data: ['v=spf1', ' -all'] },
    { type: 'TXT', data: ['other'] },
    soa,
  ],
  'alias.test': [
    { type: 'CNAME', data: 'all.test', ttl: 100 },
    { type: 'A', data: '192.0.2.1', name: 'all.test', ttl: 300 },
  ],
  'none.test': [],
  '1.2.0.192.in-addr.arpa': [
    { type: 'PTR', data: 'one.test' },
    { type: 'PTR', data: 'other.test' },
  ],
  '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa': [
    { type: 'PTR', data: 'six.test' },
  ],
});

/** A test with a nameserver that answers as `script` says, a resolver that asks only it, and one of Node's. */
function recordTest(
  title: string,
  script: Script,
  body: (t: ExecutionContext, resolver: Resolver, server: Nameserver, nodes: promises.Resolver) => void,
  options: Options = {},
): void {
  hubTest(title, (t) => {
    using server = nameserver(script);
    using resolver = new Resolver({ nameservers: [server.address], hosts: false, search: [], ...options });
    const nodes = new promises.Resolver({ timeout: 30_000, tries: 1 });
    nodes.setServers([server.address]);
    body(t, resolver, server, nodes);
  });
}

// Shapes

/** Later versions of Node say in some records of which type they are. */
function withoutType(found: unknown): unknown {
  if (Array.isArray(found)) return found.map(withoutType);
  if (typeof found !== 'object' || found === null) return found;
  return Object.fromEntries(Object.entries(found).filter(([name]) => name !== 'type'));
}

const types: RecordType[] = ['A', 'AAAA', 'CAA', 'CNAME', 'MX', 'NAPTR', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'];

for (const type of types) {
  const name = type === 'CNAME' ? 'alias.test' : 'all.test';

  recordTest(`resolve(name, '${type}') returns what node:dns returns`, records, (t, resolver, _, nodes) => {
    const found: unknown = resolver.resolve(name, type);
    t.deepEqual(found, withoutType(waitFor(nodes.resolve(name, type))));
  });

  recordTest(`resolve(name, '${type}') fails as node:dns does`, records, (t, resolver, _, nodes) => {
    for (const [missing, code] of [
      ['none.test', 'ENODATA'],
      ['nowhere.test', 'ENOTFOUND'],
    ] as const) {
      const error = thrownBy(() => resolver.resolve(missing, type)) as QueryError;
      const expected = thrownBy(() => waitFor(nodes.resolve(missing, type))) as QueryError;
      t.is(error.code, code);
      t.is(error.code, expected.code);
      t.is(error.syscall, expected.syscall);
      t.is(error.hostname, expected.hostname);
      t.true(error.message.startsWith(expected.message), error.message);
    }
  });
}

recordTest('each resolve… has the type of its name', records, (t, resolver) => {
  t.deepEqual(resolver.resolve('all.test'), ['192.0.2.1', '192.0.2.2']);
  t.deepEqual(resolver.resolve4('all.test'), ['192.0.2.1', '192.0.2.2']);
  t.deepEqual(resolver.resolve6('all.test'), ['2001:db8::1']);
  t.deepEqual(resolver.resolveCaa('all.test'), [
    { critical: 128, issue: 'ca.test; policy=ev' },
    { critical: 0, iodef: 'mailto:admin@test' },
  ]);
  t.deepEqual(resolver.resolveCname('alias.test'), ['all.test']);
  t.deepEqual(resolver.resolveMx('all.test'), [
    { exchange: 'mail.test', priority: 10 },
    { exchange: 'Backup.test', priority: 20 },
  ]);
  t.deepEqual(resolver.resolveNaptr('all.test'), [
    {
      flags: 's',
      service: 'SIP+D2U',
      regexp: '',
      replacement: '_sip._udp.test',
      order: 100,
      preference: 50,
    },
  ]);
  t.deepEqual(resolver.resolveNs('all.test'), ['ns.test']);
  t.deepEqual(resolver.resolvePtr('all.test'), ['one.test', 'other.test']);
  t.is(resolver.resolveSoa('all.test').serial, 4_000_000_000);
  t.deepEqual(resolver.resolveSrv('all.test'), [{ name: 'sip.test', port: 5060, priority: 5, weight: 10 }]);
  t.deepEqual(resolver.resolveTxt('all.test'), [['v=spf1', ' -all'], ['other']]);
});

hubTest('the functions of the module use the default resolver', (t) => {
  using server = nameserver(records);
  using resolver = new Resolver({ nameservers: [server.address], hosts: false });
  dns.setDefaultResolver(resolver);
  t.is(getHub().resolver, resolver);
  try {
    t.deepEqual(dns.resolve('all.test', 'MX'), resolver.resolveMx('all.test'));
    t.deepEqual(dns.resolve4('all.test'), resolver.resolve4('all.test'));
    t.deepEqual(dns.resolve4('all.test', { ttl: true })[0], { address: '192.0.2.1', ttl: 300 });
    t.deepEqual(dns.resolve6('all.test'), resolver.resolve6('all.test'));
    t.deepEqual(dns.resolveCaa('all.test'), resolver.resolveCaa('all.test'));
    t.deepEqual(dns.resolveCname('alias.test'), ['all.test']);
    t.deepEqual(dns.resolveMx('all.test'), resolver.resolveMx('all.test'));
    t.deepEqual(dns.resolveNaptr('all.test'), resolver.resolveNaptr('all.test'));
    t.deepEqual(dns.resolveNs('all.test'), ['ns.test']);
    t.deepEqual(dns.resolvePtr('all.test'), ['one.test', 'other.test']);
    t.deepEqual(dns.resolveSoa('all.test'), resolver.resolveSoa('all.test'));
    t.deepEqual(dns.resolveSrv('all.test'), resolver.resolveSrv('all.test'));
    t.deepEqual(dns.resolveTxt('all.test'), resolver.resolveTxt('all.test'));
    t.deepEqual(dns.reverse('192.0.2.1'), ['one.test', 'other.test']);
  } finally {
    dns.setDefaultResolver(null);
  }
});

recordTest('addresses come with their time to live if they are to', records, (t, resolver, _, nodes) => {
  const expected = waitFor(nodes.resolve4('all.test', { ttl: true }));
  t.deepEqual(expected, [
    { address: '192.0.2.1', ttl: 300 },
    { address: '192.0.2.2', ttl: 200 },
  ]);
  t.deepEqual(resolver.resolve4('all.test', { ttl: true }), expected);
  t.deepEqual(resolver.resolve('all.test', 'A', { ttl: true }), expected);
  t.deepEqual(resolver.resolve6('all.test', { ttl: true }), [{ address: '2001:db8::1', ttl: 300 }]);
  t.deepEqual(resolver.resolve4('all.test', { ttl: false }), ['192.0.2.1', '192.0.2.2']);
});

recordTest('resolve4() follows an alias, as node:dns does', records, (t, resolver, _, nodes) => {
  t.deepEqual(resolver.resolve4('alias.test'), waitFor(nodes.resolve4('alias.test')));
});

recordTest(
  'an alias whose target is not in the answer is followed',
  ({ name, type }) => {
    const number = Number(/^a(\d)\.test$/.exec(name)?.[1]);
    return number < 4
      ? { records: [{ type: 'CNAME', data: `a${number + 1}.test` }] }
      : { records: type === 'A' ? [{ type: 'A', data: '192.0.2.4' }] : [] };
  },
  (t, resolver) => {
    t.deepEqual(resolver.resolve4('a0.test'), ['192.0.2.4']);
    t.is(resolver.lookup('a0.test').address, '192.0.2.4');
    t.deepEqual(resolver.resolveCname('a0.test'), ['a1.test']);
  },
);

recordTest(
  'texts are UTF-8, or else Latin-1',
  ({ name }) => ({
    records: [{ type: 'TXT', data: [name === 'utf.test' ? 'grün' : 'x'] }],
    packets: (response) => [
      name === 'utf.test' ? response : Buffer.concat([response.subarray(0, -1), Buffer.from([0xfc])]),
    ],
  }),
  (t, resolver) => {
    t.deepEqual(resolver.resolveTxt('utf.test'), [['grün']]);
    t.deepEqual(resolver.resolveTxt('latin.test'), [['ü']]);
  },
);

recordTest(
  'a name in another script is asked for in Punycode',
  ({ name }) => ({ records: name === 'xn--mnchen-3ya.test' ? [{ type: 'A', data: '192.0.2.1' }] : [] }),
  (t, resolver) => {
    t.deepEqual(resolver.resolve4('München.test'), ['192.0.2.1']);
    t.is(resolver.lookup('münchen.test', { family: 4 }).address, '192.0.2.1');
  },
);

// reverse()

recordTest('reverse() returns the names of an address', records, (t, resolver, _, nodes) => {
  t.deepEqual(resolver.reverse('192.0.2.1'), ['one.test', 'other.test']);
  t.deepEqual(resolver.reverse('192.0.2.1'), waitFor(nodes.reverse('192.0.2.1')));
  t.deepEqual(resolver.reverse('2001:db8::1'), ['six.test']);
});

recordTest(
  'reverse() of an address without a name fails as node:dns does',
  records,
  (t, resolver, _, nodes) => {
    const error = thrownBy(() => resolver.reverse('192.0.2.99')) as QueryError;
    const expected = thrownBy(() => waitFor(nodes.reverse('192.0.2.99'))) as QueryError;
    t.is(error.code, 'ENOTFOUND');
    t.is(error.code, expected.code);
    t.is(error.syscall, expected.syscall);
    t.is(error.hostname, expected.hostname);
  },
);

hubTest('reverse() looks into the hosts file, and asks nobody', (t) => {
  using server = nameserver(() => ({ code: 'NXDOMAIN' }));
  using resolver = new Resolver({ nameservers: [server.address] });
  t.true(resolver.reverse('127.0.0.1').includes('localhost'));
  t.is(server.questions.length, 0);
});

// The cache

recordTest('an answer is kept as long as it allows', records, (t, resolver, server) => {
  VirtualClock.run((clock) => {
    t.is(resolver.resolve4('all.test', { ttl: true })[1]!.ttl, 200);
    clock.advance(150_000);
    t.is(resolver.resolve4('all.test', { ttl: true })[1]!.ttl, 50);
    t.is(server.questions.length, 1);
    clock.advance(50_000);
    t.is(resolver.resolve4('all.test', { ttl: true })[1]!.ttl, 200);
    t.is(server.questions.length, 2);
  });
});

recordTest('lookup() keeps what all of it allows', records, (t, resolver, server) => {
  VirtualClock.run((clock) => {
    for (let count = 0; count < 3; count++) resolver.lookup('alias.test', { family: 4 });
    t.is(server.questions.length, 1);
    clock.advance(100_000);
    resolver.lookup('alias.test', { family: 4 });
    t.is(server.questions.length, 2);
  });
});

recordTest(
  'that there is nothing is kept as long as the SOA record allows',
  ({ name }) => ({ code: name === 'nowhere.test' ? 'NXDOMAIN' : 'NOERROR', authority: [soa] }),
  (t, resolver, server) => {
    VirtualClock.run((clock) => {
      for (const [name, code] of [
        ['nowhere.test', 'ENOTFOUND'],
        ['none.test', 'ENODATA'],
      ] as const) {
        const before = server.questions.length;
        t.throws(() => resolver.resolve4(name), { code });
        t.throws(() => resolver.resolve4(name), { code });
        t.throws(() => resolver.lookup(name, { family: 4 }), { code });
        t.is(server.questions.length, before + 1);
        clock.advance(60_000);
        t.throws(() => resolver.resolve4(name), { code });
        t.is(server.questions.length, before + 2);
      }
    });
  },
);

recordTest(
  'failures and answers without time are not kept',
  ({ name }) =>
    name === 'fails.test'
      ? { code: 'SERVFAIL' }
      : name === 'none.test'
        ? { code: 'NXDOMAIN' }
        : { records: [{ type: 'A', data: '192.0.2.1' }] },
  (t, resolver, server) => {
    for (const name of ['fails.test', 'none.test', 'brief.test']) {
      const before = server.questions.length;
      for (let count = 0; count < 2; count++)
        thrownBy.call(null, () => attempt(() => resolver.resolve4(name)));
      t.is(server.questions.length, before + 2, name);
    }
  },
  { tries: 1 },
);

/** Fails always, so that `thrownBy` takes it. */
function attempt(call: () => unknown): never {
  call();
  throw new Error('done');
}

recordTest(
  'maxTtl and minTtl bound how long answers are kept',
  ({ name }) => ({ records: [{ type: 'A', data: '192.0.2.1', ttl: name === 'long.test' ? 3600 : 0 }] }),
  (t, resolver, server) => {
    VirtualClock.run((clock) => {
      resolver.resolve4('long.test');
      resolver.resolve4('short.test');
      clock.advance(4_999);
      resolver.resolve4('short.test');
      t.is(server.questions.length, 2);
      clock.advance(1);
      resolver.resolve4('short.test');
      t.is(server.questions.length, 3);
      clock.advance(5_000);
      resolver.resolve4('long.test');
      t.is(server.questions.length, 4);
    });
  },
  { cache: { minTtl: 5_000, maxTtl: 10_000 } },
);

recordTest(
  'a cache keeps at most as many answers as its size',
  () => ({ records: [{ type: 'A', data: '192.0.2.1', ttl: 3600 }] }),
  (t, resolver, server) => {
    for (const name of ['a.test', 'b.test', 'a.test', 'c.test', 'a.test']) resolver.resolve4(name);
    t.is(server.questions.length, 3);
    resolver.resolve4('b.test');
    t.is(server.questions.length, 4);
  },
  { cache: { size: 2 } },
);

recordTest(
  'without a cache everything is asked for',
  records,
  (t, resolver, server) => {
    for (let count = 0; count < 3; count++) resolver.resolve4('all.test');
    for (let count = 0; count < 3; count++) resolver.lookup('all.test', { family: 4 });
    t.is(server.questions.length, 6);
  },
  { cache: false },
);

recordTest('an answer that is known is given to plain code too', records, (t, resolver) => {
  resolver.lookup('all.test');
  const seen: unknown[] = [];
  getHub().runCallback(() => seen.push(resolver.lookup('all.test').address));
  idle();
  t.is(seen.length, 1);
});

recordTest(
  'equal questions at the same time are asked once, and all are answered',
  (question) => ({ ...records(question)!, held: true }),
  (t, resolver, server) => {
    const asking = Array.from({ length: 100 }, (_, index) =>
      spawn(() => resolver.resolve4(index % 2 === 0 ? 'all.test' : 'ALL.test.')),
    );
    idle();
    while (server.questions.length === 0) sleep(1);
    server.release();
    joinAll(asking, { raiseError: true });
    t.is(server.questions.length, 1);
    t.true(asking.every((greenlet) => greenlet.get().length === 2));
  },
);

recordTest(
  'killing one who asks does not take along others who ask the same',
  (question) => ({ ...records(question)!, held: true }),
  (t, resolver, server) => {
    const asking = Array.from({ length: 10 }, () => spawn(() => resolver.resolve4('all.test')));
    idle();
    t.is(getHub().stats().lookups, 10);
    for (const greenlet of asking.slice(0, 9)) greenlet.kill();
    t.is(getHub().stats().lookups, 1);
    while (server.questions.length === 0) sleep(1);
    server.release();
    t.deepEqual(asking[9]!.get(), ['192.0.2.1', '192.0.2.2']);
    t.is(server.questions.length, 1);
  },
);

// Bad input

const badCalls: Array<[title: string, call: (resolver: Resolver) => unknown]> = [
  ['resolve() of a number', (resolver) => resolver.resolve(5 as never)],
  ['resolve() of an empty name', (resolver) => resolver.resolve('')],
  ['resolve() of an unknown type', (resolver) => resolver.resolve('a.test', 'XYZ' as never)],
  ['resolve() of a type that is no text', (resolver) => resolver.resolve('a.test', 1 as never)],
  ['resolve() of a type that objects have', (resolver) => resolver.resolve('a.test', 'toString' as never)],
  ['resolveMx() with a text as limits', (resolver) => resolver.resolveMx('a.test', 'soon' as never)],
  ['resolve4() with a time of NaN', (resolver) => resolver.resolve4('a.test', NaN)],
  ['resolve4() with a ttl of 1', (resolver) => resolver.resolve4('a.test', { ttl: 1 as never })],
  ['reverse() of a name', (resolver) => resolver.reverse('a.test')],
  ['reverse() of nothing', (resolver) => resolver.reverse(undefined as never)],
  ['lookup() with an order of its own', (resolver) => resolver.lookup('a.test', { order: 'mine' as never })],
  ['lookup() with all: 1', (resolver) => resolver.lookup('a.test', { all: 1 as never })],
];

for (const [title, call] of badCalls) {
  recordTest(`${title} is refused, and nobody is asked`, records, (t, resolver, server) => {
    const error = thrownBy(() => call(resolver)) as Error;
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    t.is(server.questions.length, 0);
  });
}

recordTest('what is no name is EBADNAME, as for node:dns', records, (t, resolver, server, nodes) => {
  for (const name of ['a..b', `${'x'.repeat(64)}.test`, '.a.test']) {
    t.throws(() => resolver.resolve4(name), { code: 'EBADNAME' }, name);
    t.throws(() => waitFor(nodes.resolve4(name)), { code: 'EBADNAME' }, name);
  }
  t.throws(() => resolver.resolve4(`${'abc.'.repeat(80)}test`), { code: 'EBADNAME' });
  t.is(server.questions.length, 0);
});

const badOptions: Array<[title: string, options: object]> = [
  ['an unknown kind', { kind: 'dns' }],
  ['name servers of the system', { kind: 'system', nameservers: ['127.0.0.1'] }],
  ['rotate: 1', { rotate: 1 }],
  ['hosts: 1', { hosts: 1 }],
  ['ndots of −1', { ndots: -1 }],
  ['a cache of true', { cache: true }],
  ['a cache with a size of −1', { cache: { size: -1 } }],
  ['a cache with a maxTtl of NaN', { cache: { maxTtl: NaN } }],
  ['an unknown order', { order: 'random' }],
  ['a search domain that is no name', { search: ['a b'] }],
  ['an unknown transport', { nameservers: ['quic://127.0.0.1'] }],
  ['a server name without TLS', { nameservers: ['127.0.0.1#name'] }],
  ['an address that is a name', { nameservers: [{ address: 'localhost' }] }],
  ['a port of 0', { nameservers: [{ address: '127.0.0.1', port: 0 }] }],
  ['a transport of http', { nameservers: [{ address: '127.0.0.1', transport: 'http' }] }],
  [
    'a server name with a space',
    { nameservers: [{ address: '127.0.0.1', transport: 'tls', serverName: 'a b' }] },
  ],
  ['a certificate that is none', { nameservers: ['tls://127.0.0.1'], ca: 'no certificate' }],
  ['certificates that are no texts', { nameservers: ['tls://127.0.0.1'], ca: [5] }],
];

for (const [title, options] of badOptions) {
  test.serial(`new Resolver() refuses ${title}`, (t) => {
    const error = thrownBy(() => new Resolver(options)) as Error;
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    t.regex(error.message, /^new Resolver\(\)/);
  });
}
