/** What gevent documents for `gevent.resolver`, `gevent.socket` and the hub's resolver, each behaviour one test. */
import { hostname } from 'node:os';
import { config, GreenletExit, getHub, idle, joinAll, sleep, spawn, Timeout } from 'greenstack';
import {
  getAddrInfo,
  getDefaultResolver,
  getFqdn,
  getHostByAddr,
  getHostByName,
  getHostByNameEx,
  getNameInfo,
  lookup,
  Resolver,
  setDefaultResolver,
} from 'greenstack/dns';
import type { ExecutionContext } from 'ava';
import { type Nameserver, nameserver, type Script, zone } from '../support/dns-server.js';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';

const names = zone({
  'www.test': [
    { type: 'A', data: '192.0.2.1' },
    { type: 'AAAA', data: '2001:db8::1' },
  ],
  'alias.test': [
    { type: 'CNAME', data: 'www.test' },
    { type: 'A', data: '192.0.2.1', name: 'www.test' },
  ],
  '1.2.0.192.in-addr.arpa': [{ type: 'PTR', data: 'www.test' }],
});

/** A test in which the default resolver asks one name server. */
function resolverTest(
  title: string,
  body: (t: ExecutionContext, server: Nameserver) => void,
  script: Script = names,
): void {
  hubTest(title, (t) => {
    using server = nameserver(script);
    using resolver = new Resolver({ nameservers: [server.address], order: 'ipv4first', search: [] });
    setDefaultResolver(resolver);
    try {
      body(t, server);
    } finally {
      setDefaultResolver(null);
    }
  });
}

// ---- the hub's resolver

resolverTest('Hub.resolver: is what the functions of sockets use', (t, server) => {
  t.is(getHub().resolver, getDefaultResolver());
  getHostByName('www.test');
  t.true(server.questions.length > 0);
});

hubTest('Hub.resolver: is made at its first use and stays', (t) => {
  t.is(getHub().resolver, getHub().resolver);
});

hubTest('config.resolver: a list means the first that can be made', (t) => {
  const before = config.resolver;
  setDefaultResolver(null);
  config.resolver = ['system', 'hickory'];
  t.is(getHub().resolver.kind, 'system');
  setDefaultResolver(null);
  config.resolver = before;
  t.is(getHub().resolver.kind, 'hickory');
});

hubTest('config.resolver: a name that is none of them is refused', (t) => {
  t.throws(() => Object.assign(config, { resolver: ['dnspython'] }), { instanceOf: TypeError });
});

// ---- cooperation

resolverTest(
  'gevent.resolver: only the greenlet that asks waits',
  (t) => {
    const order: string[] = [];
    const asking = spawn(() => {
      getHostByName('www.test');
      order.push('asked');
    });
    spawn(() => {
      sleep(0);
      order.push('others');
    }).join();
    asking.join();
    t.deepEqual(order, ['others', 'asked']);
  },
  (question) => ({ ...names(question), delay: 20 }),
);

resolverTest(
  'gevent.resolver: many ask at once, and one slow name does not hold up the others',
  (t) => {
    const slow = spawn(() => getHostByName('slow.test'));
    const quick = Array.from({ length: 50 }, () => spawn(() => getHostByName('www.test')));
    joinAll(quick, { raiseError: true });
    t.false(slow.dead);
    slow.kill();
  },
  (question) => (question.name === 'slow.test' ? undefined : names(question)),
);

resolverTest(
  'gevent.resolver: a Timeout goes through a lookup',
  (t) => {
    const timeout = Timeout.startNew(10);
    t.throws(() => getHostByName('silent.test'), { is: timeout });
    t.is(getHub().stats().lookups, 0);
  },
  () => undefined,
);

resolverTest(
  'gevent.resolver: a greenlet that waits for a lookup can be killed',
  (t) => {
    const greenlet = spawn(() => getHostByName('silent.test'));
    idle();
    greenlet.kill();
    t.true((greenlet.value as unknown) instanceof GreenletExit);
    t.is(getHub().stats().lookups, 0);
  },
  () => undefined,
);

resolverTest('resolver.close: is final, and calling it again does nothing', (t) => {
  const resolver = new Resolver();
  resolver.close();
  resolver.close();
  t.throws(() => resolver.lookup('www.test'), { code: 'ECANCELLED' });
});

// ---- names without a name server

resolverTest('socket.gethostbyname: an address is its own', (t, server) => {
  for (const address of ['192.0.2.9', '127.0.0.1', '0.0.0.0', '255.255.255.255']) {
    t.is(getHostByName(address), address);
  }
  t.is(server.questions.length, 0);
});

resolverTest('socket.gethostbyname: numeric shortcuts are addresses', (t, server) => {
  t.is(getHostByName('127.1'), '127.0.0.1');
  t.is(getHostByName('1'), '0.0.0.1');
  t.is(server.questions.length, 0);
});

resolverTest("socket.gethostbyname: '' is any address, '<broadcast>' is all", (t, server) => {
  t.is(getHostByName(''), '0.0.0.0');
  t.is(getHostByName('<broadcast>'), '255.255.255.255');
  t.is(server.questions.length, 0);
});

resolverTest('socket.gethostbyname: localhost comes from the hosts file', (t, server) => {
  t.is(getHostByName('localhost'), '127.0.0.1');
  t.is(getHostByName('LocalHost'), '127.0.0.1');
  t.is(server.questions.length, 0);
});

resolverTest('socket.getaddrinfo: the scope of an IPv6 address is kept', (t) => {
  t.is(getAddrInfo('fe80::1%lo', 80, { type: 'stream' })[0]!.address, 'fe80::1%lo');
});

// ---- names

resolverTest('socket.gethostbyname: gives an IPv4 address', (t) => {
  t.is(getHostByName('www.test'), '192.0.2.1');
});

resolverTest('socket.gethostbyname_ex: gives the real name, other names and addresses', (t) => {
  t.deepEqual(getHostByNameEx('alias.test'), {
    name: 'www.test',
    aliases: ['alias.test'],
    addresses: ['192.0.2.1'],
  });
});

resolverTest('socket.gethostbyaddr: gives the names of an address', (t) => {
  t.deepEqual(getHostByAddr('192.0.2.1'), { name: 'www.test', aliases: [], addresses: ['192.0.2.1'] });
});

resolverTest('socket.getaddrinfo: gives families, types, protocols and addresses', (t) => {
  const found = getAddrInfo('www.test', 'http', { type: 'stream' });
  t.deepEqual(
    found.map(({ family, protocol, address, port }) => [family, protocol, address, port]),
    [
      [4, 'tcp', '192.0.2.1', 80],
      [6, 'tcp', '2001:db8::1', 80],
    ],
  );
});

resolverTest('socket.getnameinfo: gives names for an address and a port, or numbers', (t) => {
  t.deepEqual(getNameInfo('192.0.2.1', 80), { hostname: 'www.test', service: 'http' });
  t.deepEqual(getNameInfo('192.0.2.1', 80, { numericHost: true, numericService: true }), {
    hostname: '192.0.2.1',
    service: '80',
  });
});

resolverTest('socket.getfqdn: gives the full name, or what it was given', (t) => {
  t.is(getFqdn('192.0.2.1'), 'www.test');
  t.is(getFqdn('nowhere.test'), 'nowhere.test');
  t.is(getFqdn(), getFqdn(hostname()));
});

resolverTest('socket.gethostbyname: other scripts are asked for as IDNA says', (t, server) => {
  thrownBy(() => getHostByName('münchen.test'));
  t.is(server.questions[0]!.name, 'xn--mnchen-3ya.test');
});

// ---- failures

resolverTest('socket.gaierror: a name that does not exist', (t) => {
  for (const call of [getHostByName, getHostByNameEx, getAddrInfo, (name: string) => lookup(name)]) {
    t.throws(() => call('nowhere.test'), { code: 'ENOTFOUND' });
  }
});

resolverTest('socket.herror: an address without a name', (t) => {
  t.throws(() => getHostByAddr('192.0.2.99'), { code: 'ENOTFOUND' });
});

hubTest(
  'GEVENT_RESOLVER=ares: a name server that does not answer is given up after timeout and tries',
  (t) => {
    using silent = nameserver(() => undefined);
    using resolver = new Resolver({ nameservers: [silent.address], timeout: 20, tries: 2, search: [] });
    t.throws(() => getHostByName('www.test', { resolver }), { code: 'ETIMEOUT' });
    // They may be in the system still.
    while (silent.questions.length < 2) sleep(1);
    t.is(silent.questions.length, 2);
  },
);
