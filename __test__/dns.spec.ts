import { promises } from 'node:dns';
import { getEventListeners } from 'node:events';
import test from 'ava';
import {
  BlockingSwitchOutError,
  GreenletExit,
  Timeout,
  idle,
  joinAll,
  sleep,
  spawn,
  waitFor,
} from 'greenstack';
import { Resolver, lookup } from 'greenstack/dns';
import type { ExecutionContext } from 'ava';
import { type Nameserver, type Record, type Script, nameserver, zone } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { residue } from './support/residue.js';

type LookupError = NodeJS.ErrnoException & { hostname?: string };
type Options = NonNullable<ConstructorParameters<typeof Resolver>[0]> & { search?: string[] };

const a = (data: string): Record => ({ type: 'A', data });
const aaaa = (data: string): Record => ({ type: 'AAAA', data });

const names = zone({
  'www.test': [a('192.0.2.1')],
  'both.test': [a('192.0.2.2'), aaaa('2001:db8::2')],
  'six.test': [aaaa('2001:db8::6')],
  'many.test': [a('192.0.2.10'), a('192.0.2.11'), a('192.0.2.12')],
  'empty.test': [],
  'alias.test': [
    { type: 'CNAME', data: 'www.test' },
    { ...a('192.0.2.1'), name: 'www.test' },
  ],
});

/** A test with a nameserver that answers as `script` says, and a resolver that asks only it. */
function dnsTest(
  title: string,
  script: Script,
  body: (t: ExecutionContext, resolver: Resolver, server: Nameserver) => void,
  options: Options = {},
): void {
  hubTest(title, (t) => {
    using server = nameserver(script);
    const resolver = new Resolver({ nameservers: [server.address], hosts: false, ...options });
    try {
      body(t, resolver, server);
    } finally {
      resolver.close();
    }
  });
}

// Answers

dnsTest('lookup() returns address and family', names, (t, resolver) => {
  t.deepEqual({ ...resolver.lookup('www.test') }, { address: '192.0.2.1', family: 4 });
});

dnsTest('lookup() of a name with IPv6 only returns that', names, (t, resolver) => {
  t.deepEqual({ ...resolver.lookup('six.test') }, { address: '2001:db8::6', family: 6 });
});

dnsTest('lookup() with family 4 asks for IPv4 only', names, (t, resolver, server) => {
  t.deepEqual({ ...resolver.lookup('both.test', { family: 4 }) }, { address: '192.0.2.2', family: 4 });
  t.deepEqual(
    server.questions.map(({ type }) => type),
    ['A'],
  );
});

dnsTest('lookup() with family 6 asks for IPv6 only', names, (t, resolver, server) => {
  t.deepEqual({ ...resolver.lookup('both.test', { family: 6 }) }, { address: '2001:db8::2', family: 6 });
  t.deepEqual(
    server.questions.map(({ type }) => type),
    ['AAAA'],
  );
});

dnsTest('lookup() with family 6 of a name with IPv4 only does not find it', names, (t, resolver) => {
  const error = thrownBy(() => resolver.lookup('www.test', { family: 6 })) as LookupError;
  t.regex(error.code!, /^(ENOTFOUND|ENODATA)$/);
});

dnsTest('lookup() with all returns every address', names, (t, resolver) => {
  const addresses = resolver.lookup('many.test', { all: true }).map(({ address }) => address);
  t.deepEqual(addresses.sort(), ['192.0.2.10', '192.0.2.11', '192.0.2.12']);
});

dnsTest('lookup() with all returns both families', names, (t, resolver) => {
  const families = resolver.lookup('both.test', { all: true }).map(({ family }) => family);
  t.deepEqual(families.sort(), [4, 6]);
});

dnsTest('lookup() with all and a family returns that family', names, (t, resolver) => {
  const found = resolver.lookup('both.test', { all: true, family: 6 });
  t.deepEqual(
    found.map(({ address }) => address),
    ['2001:db8::2'],
  );
});

dnsTest('lookup() follows an alias', names, (t, resolver) => {
  t.is(resolver.lookup('alias.test').address, '192.0.2.1');
});

dnsTest('lookup() ignores the case of a name', names, (t, resolver) => {
  t.is(resolver.lookup('WwW.TeSt').address, '192.0.2.1');
});

dnsTest('lookup() takes a name with a dot at its end', names, (t, resolver) => {
  t.is(resolver.lookup('www.test.').address, '192.0.2.1');
});

dnsTest(
  'lookup() asks over TCP when the answer was cut',
  (question) => {
    if (question.transport === 'udp') return { truncated: true };
    return names(question);
  },
  (t, resolver, server) => {
    t.is(resolver.lookup('www.test', { family: 4 }).address, '192.0.2.1');
    t.true(server.questions.some(({ transport }) => transport === 'tcp'));
  },
);

dnsTest(
  'lookup() returns an address that is given instead of a name, and asks nobody',
  names,
  (t, resolver, server) => {
    t.deepEqual({ ...resolver.lookup('192.0.2.77') }, { address: '192.0.2.77', family: 4 });
    t.deepEqual({ ...resolver.lookup('2001:db8::77') }, { address: '2001:db8::77', family: 6 });
    t.is(server.questions.length, 0);
  },
);

hubTest('lookup() takes the older forms of IPv4 addresses, as getaddrinfo does', (t) => {
  using resolver = new Resolver({ nameservers: ['127.0.0.1:9'] });
  for (const [text, expected] of [
    ['127.1', '127.0.0.1'],
    ['0x7f.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['255.255.255.255', '255.255.255.255'],
  ]) {
    t.is(resolver.lookup(text!).address, expected);
    t.is(waitFor(promises.lookup(text!)).address, expected);
  }
});

hubTest('lookup() keeps the scope of an IPv6 address', (t) => {
  t.deepEqual({ ...lookup('fe80::1%lo') }, { address: 'fe80::1%lo', family: 6 });
});

hubTest(
  'lookup() finds localhost and names below it without asking, and asks nobody for .onion and .invalid',
  (t) => {
    using server = nameserver(() => ({ code: 'SERVFAIL' }));
    using resolver = new Resolver({ nameservers: [server.address], hosts: false });
    for (const name of ['localhost', 'LOCALHOST.', 'a.b.localhost']) {
      t.is(resolver.lookup(name, { family: 4 }).address, '127.0.0.1');
      t.is(resolver.lookup(name, { family: 6 }).address, '::1');
    }
    for (const name of ['a.onion', 'a.invalid', 'invalid.']) {
      t.throws(() => resolver.lookup(name), { code: 'ENOTFOUND' });
      t.throws(() => resolver.resolve4(name), { code: 'ENOTFOUND' });
    }
    t.is(server.questions.length, 0);
  },
);

dnsTest('lookup() sorts addresses as getaddrinfo does, or as it is told', names, (t, resolver) => {
  const families = (order?: 'sorted' | 'ipv4first' | 'ipv6first' | 'verbatim') =>
    resolver.lookup('both.test', { all: true, ...(order && { order }) }).map(({ family }) => family);
  t.deepEqual(families('ipv4first'), [4, 6]);
  t.deepEqual(families('verbatim'), [4, 6]);
  t.deepEqual(families('ipv6first'), [6, 4]);
  t.deepEqual(families(), families('sorted'));
  const many = resolver.lookup('many.test', { all: true, order: 'verbatim' });
  t.deepEqual(
    many.map(({ address }) => address),
    ['192.0.2.10', '192.0.2.11', '192.0.2.12'],
  );
});

dnsTest(
  'the order of a resolver is that of its lookups',
  names,
  (t, resolver) => {
    t.is(resolver.lookup('both.test').family, 6);
    t.is(resolver.lookup('both.test', { family: 0 }).family, 6);
    t.is(resolver.lookup('both.test', { order: 'ipv4first' }).family, 4);
  },
  { order: 'ipv6first' },
);

dnsTest(
  'lookup() finds addresses of one family while the other fails',
  ({ type }) => (type === 'A' ? { records: [a('192.0.2.1')] } : { code: 'SERVFAIL' }),
  (t, resolver) => {
    t.deepEqual(resolver.lookup('www.test', { all: true }), [{ address: '192.0.2.1', family: 4 }]);
  },
);

dnsTest(
  'lookup() goes on to the next domain if a server fails for one, but tells of the failure',
  ({ name }) => {
    if (name === 'www.good.test') return { records: [a('192.0.2.1')] };
    return { code: name.endsWith('failing.test') ? 'SERVFAIL' : 'NXDOMAIN' };
  },
  (t, resolver, server) => {
    t.is(resolver.lookup('www', { family: 4 }).address, '192.0.2.1');
    t.throws(() => resolver.lookup('other', { family: 4 }), { code: 'ESERVFAIL' });
    t.true(server.questions.some(({ name }) => name === 'other'));
  },
  { search: ['failing.test', 'good.test'], tries: 1 },
);

dnsTest(
  'ndots says how many dots make a name be tried as it is first',
  () => ({ code: 'NXDOMAIN' }),
  (t, resolver, server) => {
    for (const name of ['a.b', 'a.b.c', 'a.b.c.']) thrownBy(() => resolver.lookup(name, { family: 4 }));
    t.deepEqual(
      server.questions.map(({ name }) => name),
      ['a.b.test', 'a.b', 'a.b.c', 'a.b.c.test', 'a.b.c'],
    );
  },
  { search: ['test'], ndots: 2, cache: false },
);

dnsTest(
  'lookup() tries the search domains',
  names,
  (t, resolver) => {
    t.is(resolver.lookup('www').address, '192.0.2.1');
  },
  { search: ['elsewhere', 'test'] },
);

hubTest('lookup() finds names of the hosts file, and asks nobody', (t) => {
  using server = nameserver(() => ({ code: 'NXDOMAIN' }));
  const resolver = new Resolver({ nameservers: [server.address], hosts: true });
  t.is(resolver.lookup('localhost', { family: 4 }).address, '127.0.0.1');
  t.is(server.questions.length, 0);
  resolver.close();
});

hubTest('the lookup() of the module finds localhost', (t) => {
  t.is(lookup('localhost', { family: 4 }).address, '127.0.0.1');
});

hubTest('lookup() asks the next nameserver when the first does not answer', (t) => {
  using deaf = nameserver(() => undefined);
  using server = nameserver(names);
  const resolver = new Resolver({
    nameservers: [deaf.address, server.address],
    hosts: false,
    timeout: 50,
    tries: 100,
  });
  t.is(resolver.lookup('www.test').address, '192.0.2.1');
  resolver.close();
});

dnsTest(
  'lookup() parks its greenlet only',
  (question) => ({ ...names(question), held: true }),
  (t, resolver, server) => {
    const order: string[] = [];
    const asking = spawn(() => {
      resolver.lookup('www.test');
      order.push('answered');
    });
    spawn(() => order.push('others')).join();
    while (server.questions.length < 2) sleep(1);
    server.release();
    asking.join();
    t.deepEqual(order, ['others', 'answered']);
  },
);

dnsTest(
  'five hundred lookups at once each get their own answer',
  ({ name, type }) => {
    const [, number] = /^host(\d+)\.test$/.exec(name)!;
    return {
      records: type === 'A' ? [a(`10.0.${Number(number) >> 8}.${Number(number) & 255}`)] : [],
      delay: Number(number) % 20,
    };
  },
  (t, resolver) => {
    const greenlets = Array.from({ length: 500 }, (_, id) =>
      spawn(() => resolver.lookup(`host${id}.test`, { family: 4 }).address),
    );
    joinAll(greenlets, { raiseError: true });
    t.true(greenlets.every((greenlet, id) => greenlet.value === `10.0.${id >> 8}.${id & 255}`));
  },
);

// Errors

dnsTest('lookup() of a name that does not exist throws ENOTFOUND as Node does', names, (t, resolver) => {
  const error = thrownBy(() => resolver.lookup('nowhere.test')) as LookupError;
  t.true(error instanceof Error);
  t.is(error.code, 'ENOTFOUND');
  t.is(error.hostname, 'nowhere.test');
  t.regex(error.syscall!, /^(getaddrinfo|queryA(aaa)?)$/);
  t.regex(error.message, /ENOTFOUND.*nowhere\.test/);
});

dnsTest('lookup() of a name without addresses throws ENOTFOUND or ENODATA', names, (t, resolver) => {
  const error = thrownBy(() => resolver.lookup('empty.test')) as LookupError;
  t.regex(error.code!, /^(ENOTFOUND|ENODATA)$/);
});

dnsTest(
  'lookup() throws ESERVFAIL when the nameserver fails',
  () => ({ code: 'SERVFAIL' }),
  (t, resolver) => {
    const error = thrownBy(() => resolver.lookup('www.test')) as LookupError;
    t.is(error.code, 'ESERVFAIL');
    t.is(error.hostname, 'www.test');
  },
);

dnsTest(
  'lookup() throws EREFUSED when the nameserver refuses',
  () => ({ code: 'REFUSED' }),
  (t, resolver) => {
    t.throws(() => resolver.lookup('www.test'), { code: 'EREFUSED' });
  },
);

dnsTest(
  'lookup() throws ETIMEOUT when no nameserver answers',
  () => undefined,
  (t, resolver) => {
    const error = thrownBy(() => resolver.lookup('www.test', { family: 4 })) as LookupError;
    t.is(error.code, 'ETIMEOUT');
    t.is(error.hostname, 'www.test');
  },
  { timeout: 30, tries: 1 },
);

dnsTest(
  'lookup() asks as often as tries says',
  () => undefined,
  (t, resolver, server) => {
    t.throws(() => resolver.lookup('www.test', { family: 4 }), { code: 'ETIMEOUT' });
    // They may be in the system still.
    while (server.questions.length < 3) sleep(1);
    t.is(server.questions.length, 3);
  },
  { timeout: 30, tries: 3 },
);

dnsTest(
  'the answer to a second try counts',
  silentAtFirst(names),
  (t, resolver) => {
    t.is(resolver.lookup('www.test', { family: 4 }).address, '192.0.2.1');
  },
  { timeout: 30, tries: 100 },
);

/** Leaves the first question without an answer. */
function silentAtFirst(script: Script): Script {
  let asked = 0;
  return (question) => (asked++ === 0 ? undefined : script(question));
}

dnsTest('the stack of a failed lookup shows the line that asked', names, (t, resolver) => {
  function theAsker() {
    return resolver.lookup('nowhere.test');
  }
  t.regex(String((thrownBy(theAsker) as Error).stack), /theAsker/);
});

// Limits

dnsTest(
  'lookup() throws ETIMEOUT when its own time is up',
  () => undefined,
  (t, resolver) => {
    t.throws(() => resolver.lookup('www.test', { timeout: 10 }), { code: 'ETIMEOUT' });
  },
);

dnsTest(
  'lookup() throws the Timeout it was given',
  () => undefined,
  (t, resolver) => {
    const timeout = new Timeout(10);
    t.throws(() => resolver.lookup('www.test', { timeout }), { is: timeout });
  },
);

dnsTest(
  'an outer Timeout goes through lookup() with a limit of its own',
  () => undefined,
  (t, resolver) => {
    const timeout = Timeout.startNew(10);
    t.throws(() => resolver.lookup('www.test', { timeout: 60_000 }), { is: timeout });
  },
);

dnsTest(
  'lookup() ends with the reason of its signal',
  () => undefined,
  (t, resolver) => {
    const abort = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => abort.abort(reason), 10);
    t.throws(() => resolver.lookup('www.test', { signal: abort.signal }), { is: reason });
    t.is(getEventListeners(abort.signal, 'abort').length, 0);
  },
);

dnsTest(
  'a killed lookup() leaves nothing behind, and the resolver goes on',
  silentFor('deaf.test', names),
  (t, resolver) => {
    const before = residue();
    const greenlet = spawn(() => resolver.lookup('deaf.test'));
    idle();
    t.is(residue().lookups, before.lookups + 1);
    greenlet.kill();
    t.true((greenlet.value as unknown) instanceof GreenletExit);
    t.is(residue().lookups, before.lookups);
    t.is(resolver.lookup('www.test').address, '192.0.2.1');
  },
);

/** Does not answer for one name. */
function silentFor(name: string, script: Script): Script {
  return (question) => (question.name === name ? undefined : script(question));
}

dnsTest(
  'an answer that comes after the time was up is ignored',
  (question) => ({ ...names(question), held: question.name === 'www.test' }),
  (t, resolver, server) => {
    // Until the question was sent before the time was up.
    do {
      t.throws(() => resolver.lookup('www.test', { timeout: 5 }), { code: 'ETIMEOUT' });
      idle();
    } while (server.questions.length === 0);
    server.release();
    t.is(resolver.lookup('both.test', { family: 4 }).address, '192.0.2.2');
  },
);

// close()

dnsTest(
  'close() ends the lookups that are under way with ECANCELLED',
  () => undefined,
  (t, resolver) => {
    const greenlet = spawn(() => thrownBy(() => resolver.lookup('www.test')));
    idle();
    resolver.close();
    t.regex((greenlet.get() as LookupError).code!, /^ECANCELL?ED$/);
  },
);

dnsTest('close() twice is harmless', names, (t, resolver) => {
  resolver.close();
  t.notThrows(() => resolver.close());
});

dnsTest('lookup() of a closed resolver throws', names, (t, resolver) => {
  resolver.close();
  t.throws(() => resolver.lookup('www.test'), { instanceOf: Error });
});

hubTest('a hundred resolvers can be made and closed', (t) => {
  using server = nameserver(names);
  for (let count = 0; count < 100; count++) {
    const resolver = new Resolver({ nameservers: [server.address], hosts: false });
    t.is(resolver.lookup('www.test', { family: 4 }).address, '192.0.2.1');
    resolver.close();
  }
});

// Bad input

const badOptions: [string, unknown][] = [
  ['nameservers that are no list', { nameservers: '127.0.0.1' }],
  ['a nameserver that is no string', { nameservers: [5] }],
  ['a nameserver that is no address', { nameservers: ['not an address'] }],
  ['a nameserver with a port too large', { nameservers: ['127.0.0.1:70000'] }],
  ['a timeout of NaN', { timeout: NaN }],
  ['a timeout that is no number', { timeout: '5' }],
  ['tries of 0', { tries: 0 }],
  ['tries that are no integer', { tries: 1.5 }],
  ['search domains that are no list', { search: 'test' }],
];

for (const [title, options] of badOptions) {
  test.serial(`new Resolver() refuses ${title}`, (t) => {
    const error = thrownBy(() => new Resolver(options as never)) as Error;
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
  });
}

const badLookups: [string, unknown[]][] = [
  ['a host that is no string', [5]],
  ['no host', []],
  ['an empty host', ['']],
  ['a family of 5', ['www.test', { family: 5 }]],
  ['a family that is no number', ['www.test', { family: 'IPv4' }]],
  ['a timeout of NaN', ['www.test', { timeout: NaN }]],
  ['a signal that is no AbortSignal', ['www.test', { signal: 5 }]],
];

for (const [title, args] of badLookups) {
  dnsTest(`lookup() refuses ${title}, and asks nobody`, names, (t, resolver, server) => {
    const ask = resolver.lookup.bind(resolver) as unknown as (...args: unknown[]) => unknown;
    const error = thrownBy(() => ask(...args)) as Error;
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    t.is(server.questions.length, 0);
  });
}

dnsTest('lookup() of a label that is too long throws ENOTFOUND or a TypeError', names, (t, resolver) => {
  const error = thrownBy(() => resolver.lookup(`${'x'.repeat(64)}.test`)) as LookupError;
  t.true(
    error instanceof TypeError || error.code === 'ENOTFOUND' || error.code === 'EBADNAME',
    String(error),
  );
});

test.serial('lookup() in plain code is refused with advice', (t) => {
  const before = residue();
  t.throws(() => lookup('www.test'), { instanceOf: BlockingSwitchOutError, message: /\b(run|spawn)\(/ });
  t.deepEqual(residue(), before);
});
