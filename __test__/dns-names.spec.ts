import { promises } from 'node:dns';
import { hostname } from 'node:os';
import type { ExecutionContext } from 'ava';
import { config, getHub, idle, spawn, waitFor } from 'greenstack';
import {
  getAddrInfo,
  getDefaultResolver,
  getFqdn,
  getHostByAddr,
  getHostByName,
  getHostByNameEx,
  getNameInfo,
  Resolver,
  setDefaultResolver,
} from 'greenstack/dns';
import { type Nameserver, nameserver, zone } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

const names = zone({
  'www.test': [
    { type: 'A', data: '192.0.2.1' },
    { type: 'A', data: '192.0.2.2' },
    { type: 'AAAA', data: '2001:db8::1' },
  ],
  'alias.test': [
    { type: 'CNAME', data: 'www.test' },
    { type: 'A', data: '192.0.2.1', name: 'www.test' },
  ],
  '1.2.0.192.in-addr.arpa': [
    { type: 'PTR', data: 'short' },
    { type: 'PTR', data: 'www.test' },
  ],
  '2.2.0.192.in-addr.arpa': [{ type: 'PTR', data: 'short' }],
});

/** A test whose calls take these options: a resolver that asks one name server, with IPv4 first. */
function nameTest(
  title: string,
  body: (t: ExecutionContext, options: { resolver: Resolver }, server: Nameserver) => void,
): void {
  hubTest(title, (t) => {
    using server = nameserver(names);
    using resolver = new Resolver({
      nameservers: [server.address],
      hosts: false,
      search: [],
      order: 'ipv4first',
    });
    body(t, { resolver }, server);
  });
}

// getAddrInfo()

nameTest('getAddrInfo() returns an entry for each address and kind of socket', (t, options) => {
  t.deepEqual(getAddrInfo('alias.test', 80, { ...options, family: 4 }), [
    { family: 4, type: 'stream', protocol: 'tcp', canonicalName: '', address: '192.0.2.1', port: 80 },
    { family: 4, type: 'datagram', protocol: 'udp', canonicalName: '', address: '192.0.2.1', port: 80 },
    { family: 4, type: 'raw', protocol: 'ip', canonicalName: '', address: '192.0.2.1', port: 80 },
  ]);
});

nameTest('getAddrInfo() gives what is asked for only', (t, options) => {
  const found = (more: object) =>
    getAddrInfo('www.test', 80, { ...options, ...more }).map(({ address, type }) => `${type} ${address}`);
  const addresses = ['192.0.2.1', '192.0.2.2', '2001:db8::1'];
  t.deepEqual(
    found({ type: 'stream' }),
    addresses.map((address) => `stream ${address}`),
  );
  t.deepEqual(found({ protocol: 'udp', family: 6 }), ['datagram 2001:db8::1']);
  t.deepEqual(found({ type: 'stream', protocol: 'tcp', family: 4 }), [
    'stream 192.0.2.1',
    'stream 192.0.2.2',
  ]);
});

nameTest('getAddrInfo() knows services by name', (t, options) => {
  const found = (service: string, more = {}) => getAddrInfo('192.0.2.1', service, { ...options, ...more });
  t.deepEqual(
    found('https', { type: 'stream' }).map(({ port }) => port),
    [443],
  );
  t.deepEqual(
    found('53', { type: 'datagram' }).map(({ port }) => port),
    [53],
  );
  t.throws(() => found('no-such-service'), { code: 'EAI_SERVICE' });
  t.throws(() => found('tftp', { type: 'stream' }), { code: 'EAI_SERVICE' });
  t.throws(() => found('https', { flags: { numericService: true } }), { code: 'EAI_SERVICE' });
  t.deepEqual(
    getAddrInfo('192.0.2.1', null, { ...options, type: 'stream' }).map(({ port }) => port),
    [0],
  );
});

nameTest('getAddrInfo() says what a host is really called', (t, options) => {
  const found = getAddrInfo('alias.test', 80, { ...options, flags: { canonicalName: true }, family: 4 });
  t.deepEqual(
    found.map(({ canonicalName }) => canonicalName),
    ['www.test', '', ''],
  );
});

nameTest('getAddrInfo() without a host means this machine', (t, options, server) => {
  const addresses = (host: string | null, more: object) =>
    getAddrInfo(host, 80, { ...options, type: 'stream', ...more }).map(({ address }) => address);
  t.deepEqual(addresses(null, {}), ['::1', '127.0.0.1']);
  t.deepEqual(addresses('', { family: 4 }), ['127.0.0.1']);
  t.deepEqual(addresses(null, { flags: { passive: true } }), ['0.0.0.0', '::']);
  t.is(server.questions.length, 0);
});

nameTest('getAddrInfo() of an address asks nobody', (t, options, server) => {
  const found = (host: string, more = {}) => getAddrInfo(host, 80, { ...options, type: 'stream', ...more });
  t.is(found('2001:db8::9')[0]!.address, '2001:db8::9');
  t.is(found('fe80::1%lo')[0]!.family, 6);
  t.is(found('192.0.2.9', { flags: { numericHost: true } })[0]!.address, '192.0.2.9');
  t.throws(() => found('www.test', { flags: { numericHost: true } }), { code: 'ENOTFOUND' });
  t.throws(() => found('192.0.2.9', { family: 6 }), { code: 'EAI_ADDRFAMILY' });
  t.is(server.questions.length, 0);
});

nameTest('getAddrInfo() fails as lookup() does', (t, options) => {
  t.throws(() => getAddrInfo('nowhere.test', 80, options), { code: 'ENOTFOUND' });
});

// getNameInfo()

nameTest('getNameInfo() returns the names of an address and a port', (t, options) => {
  t.deepEqual(getNameInfo('192.0.2.2', 443, options), { hostname: 'short', service: 'https' });
  t.deepEqual(getNameInfo('192.0.2.2', 1, { ...options, numericService: true }), {
    hostname: 'short',
    service: '1',
  });
  t.deepEqual(getNameInfo('192.0.2.2', 69, { ...options, datagram: true }), {
    hostname: 'short',
    service: 'tftp',
  });
});

nameTest(
  'getNameInfo() returns an address that has no name, unless one is required',
  (t, options, server) => {
    t.is(getNameInfo('192.0.2.9', 80, options).hostname, '192.0.2.9');
    t.throws(() => getNameInfo('192.0.2.9', 80, { ...options, nameRequired: true }), {
      code: 'ENOTFOUND',
    });
    const before = server.questions.length;
    t.is(getNameInfo('192.0.2.2', 80, { ...options, numericHost: true }).hostname, '192.0.2.2');
    t.is(server.questions.length, before);
  },
);

hubTest('getNameInfo() of loopback is that of node:dns', (t) => {
  t.deepEqual({ ...getNameInfo('127.0.0.1', 80) }, { ...waitFor(promises.lookupService('127.0.0.1', 80)) });
});

// getHostBy…() and getFqdn()

nameTest('getHostByName() returns an IPv4 address', (t, options) => {
  t.is(getHostByName('www.test', options), '192.0.2.1');
  t.is(getHostByName('192.0.2.9', options), '192.0.2.9');
  t.is(getHostByName('', options), '0.0.0.0');
  t.is(getHostByName('<broadcast>', options), '255.255.255.255');
  t.throws(() => getHostByName('nowhere.test', options), { code: 'ENOTFOUND' });
  t.throws(() => getHostByName('::1', options), { code: 'EAI_ADDRFAMILY' });
});

nameTest('getHostByNameEx() returns names and all IPv4 addresses', (t, options) => {
  t.deepEqual(getHostByNameEx('www.test', options), {
    name: 'www.test',
    aliases: [],
    addresses: ['192.0.2.1', '192.0.2.2'],
  });
  t.deepEqual(getHostByNameEx('alias.test', options), {
    name: 'www.test',
    aliases: ['alias.test'],
    addresses: ['192.0.2.1'],
  });
});

nameTest('getHostByAddr() returns the names of an address', (t, options) => {
  t.deepEqual(getHostByAddr('192.0.2.1', options), {
    name: 'short',
    aliases: ['www.test'],
    addresses: ['192.0.2.1'],
  });
  t.is(getHostByAddr('alias.test', options).name, 'short');
  t.throws(() => getHostByAddr('192.0.2.9', options), { code: 'ENOTFOUND' });
});

nameTest('getFqdn() prefers a name with a dot, and else keeps what it was given', (t, options) => {
  t.is(getFqdn('192.0.2.1', options), 'www.test');
  t.is(getFqdn('192.0.2.2', options), 'short');
  t.is(getFqdn('192.0.2.9', options), '192.0.2.9');
  t.is(getFqdn('nowhere.test', options), 'nowhere.test');
  t.is(getFqdn('', options), hostname());
  t.is(getFqdn(undefined, options), hostname());
});

// Bad input

const badCalls: Array<[title: string, call: () => unknown]> = [
  ['getAddrInfo() of a number', () => getAddrInfo(5 as never)],
  ['getAddrInfo() with a port of −1', () => getAddrInfo('a.test', -1)],
  ['getAddrInfo() with a port of 65536', () => getAddrInfo('a.test', '65536')],
  ['getAddrInfo() with a port that is an object', () => getAddrInfo('a.test', {} as never)],
  ['getAddrInfo() with a family of 5', () => getAddrInfo('a.test', 1, { family: 5 as never })],
  ['getAddrInfo() with an unknown type', () => getAddrInfo('a.test', 1, { type: 'tcp' as never })],
  ['getAddrInfo() with an unknown protocol', () => getAddrInfo('a.test', 1, { protocol: 'sctp' as never })],
  ['getAddrInfo() with a flag of 1', () => getAddrInfo('a.test', 1, { flags: { passive: 1 as never } })],
  ['getAddrInfo() with a resolver that is none', () => getAddrInfo('a.test', 1, { resolver: {} as never })],
  ['getAddrInfo() with a time of NaN', () => getAddrInfo('a.test', 1, { timeout: NaN })],
  ['getNameInfo() of a name', () => getNameInfo('a.test', 80)],
  ['getNameInfo() with a port that is a text', () => getNameInfo('127.0.0.1', '80' as never)],
  ['getNameInfo() with a port of 1.5', () => getNameInfo('127.0.0.1', 1.5)],
  ['getNameInfo() with a flag of 1', () => getNameInfo('127.0.0.1', 80, { datagram: 1 as never })],
  ['getHostByName() of nothing', () => getHostByName(undefined as never)],
  ['getHostByAddr() of a number', () => getHostByAddr(5 as never)],
  ['getFqdn() of null', () => getFqdn(null as never)],
];

for (const [title, call] of badCalls) {
  hubTest(`${title} is refused`, (t) => {
    const error = thrownBy(call) as Error;
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    t.regex(error.message, /^get\w+\(\)/);
  });
}

// The resolver of the system

hubTest('the resolver of the system finds what node:dns finds', (t) => {
  using system = new Resolver({ kind: 'system' });
  const expected = waitFor(promises.lookup('localhost', { all: true, verbatim: true }));
  t.deepEqual(system.lookup('localhost', { all: true }), expected);
  t.deepEqual(system.lookup('localhost', { family: 4 }), { address: '127.0.0.1', family: 4 });
  t.deepEqual(system.lookup('192.0.2.1'), { address: '192.0.2.1', family: 4 });
  t.is(getHostByName('localhost', { resolver: system }), '127.0.0.1');
  t.deepEqual(
    { ...getNameInfo('127.0.0.1', 80, { resolver: system }) },
    { ...waitFor(promises.lookupService('127.0.0.1', 80)) },
  );
  t.true(getAddrInfo('localhost', 80, { resolver: system }).length > 0);
});

hubTest('the resolver of the system fails as node:dns does', (t) => {
  using system = new Resolver({ kind: 'system', timeout: 50, tries: 1 });
  const error = thrownBy(() => system.lookup('a..invalid')) as NodeJS.ErrnoException;
  const expected = thrownBy(() => waitFor(promises.lookup('a..invalid'))) as NodeJS.ErrnoException;
  t.is(error.code, expected.code);
  t.is(error.syscall, 'getaddrinfo');
  t.regex(error.stack!, /dns-names\.spec/);
});

hubTest('the resolver of the system orders by family if it is to', (t) => {
  using system = new Resolver({ kind: 'system' });
  const families = (order: 'ipv4first' | 'ipv6first') =>
    system.lookup('localhost', { all: true, order }).map(({ family }) => family);
  t.deepEqual(families('ipv4first'), families('ipv4first').sort());
  t.deepEqual(families('ipv6first'), families('ipv6first').sort().reverse());
});

hubTest('a call of the resolver of the system can be limited, killed and cancelled', (t) => {
  const system = new Resolver({ kind: 'system', timeout: 60_000 });
  // Reserved for documentation: whoever is asked, nobody answers at once.
  const ask = () => system.resolve4('www.example');
  const slow = spawn(() => thrownBy(ask));
  const killed = spawn(ask);
  idle();
  killed.kill();
  const limited = thrownBy(() => system.resolve4('www.example', 0)) as NodeJS.ErrnoException;
  t.is(limited.code, 'ETIMEOUT');
  t.is(limited.syscall, 'queryA');
  system.close();
  const { code } = slow.get() as NodeJS.ErrnoException;
  t.regex(code!, /^E(CANCELLED|CONNREFUSED|SERVFAIL|NOTFOUND)$/);
  t.throws(() => system.lookup('localhost'), { code: 'ECANCELLED' });
});

// The default resolver

/** Runs `body` with some settings, and without a default resolver made before. */
function configured(settings: Partial<typeof config>, body: () => void): void {
  const before = { ...config };
  setDefaultResolver(null);
  Object.assign(config, settings);
  try {
    body();
  } finally {
    getDefaultResolver().close();
    setDefaultResolver(null);
    for (const name of Object.keys(settings)) Object.assign(config, { [name]: before[name as 'resolver'] });
  }
}

hubTest('the default resolver is made as config says', (t) => {
  using server = nameserver(names);
  configured({ resolverNameservers: [server.address], resolverOrder: 'ipv6first' }, () => {
    t.is(getHub().resolver, getDefaultResolver());
    t.is(getDefaultResolver().lookup('www.test').family, 6);
    t.is(getHostByName('www.test'), '192.0.2.1');
  });
  configured({ resolverNameservers: [server.address], resolverCacheSize: 0 }, () => {
    const before = server.questions.length;
    getDefaultResolver().resolve4('www.test');
    getDefaultResolver().resolve4('www.test');
    t.is(server.questions.length, before + 2);
  });
});

hubTest('the default resolver is the first of its kinds that can be made', (t) => {
  configured({ resolver: ['hickory', 'system'], resolverNameservers: ['nonsense'] }, () => {
    t.is(getDefaultResolver().lookup('localhost', { family: 4 }).address, '127.0.0.1');
  });
  config.resolverNameservers = ['nonsense'];
  t.throws(() => getDefaultResolver(), { instanceOf: TypeError, message: /nonsense/ });
  config.resolverNameservers = [];
});
