import { readdirSync, readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import type { ExecutionContext } from 'ava';
import { GreenletExit, getHub, idle, joinAll, sleep, spawn, waitFor } from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { pki } from './support/certificates.js';
import { type Answer, type Nameserver, nameserver, type Record, type Script } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

type Options = NonNullable<ConstructorParameters<typeof Resolver>[0]>;

const address: Record = { type: 'A', data: '192.0.2.1' };
const good: Answer = { records: [address] };

/** Answers well for all names but those that begin with `bad`. */
function exceptBad(bad: Script): Script {
  return (question) => (question.name.startsWith('bad') ? bad(question) : good);
}

/** A test with a nameserver that misbehaves, and a resolver that asks only it. Whatever happens, another name is found. */
function failureTest(
  title: string,
  bad: Script,
  body: (t: ExecutionContext, resolver: Resolver, server: Nameserver) => void,
  options: Options = {},
): void {
  hubTest(title, (t) => {
    using server = nameserver(exceptBad(bad));
    using resolver = new Resolver({
      nameservers: [server.address],
      hosts: false,
      search: [],
      timeout: 5000,
      tries: 1,
      cache: false,
      ...options,
    });
    const before = getHub().stats().lookups;
    body(t, resolver, server);
    t.deepEqual(
      patiently(() => resolver.resolve4('good.test')),
      ['192.0.2.1'],
    );
    t.is(getHub().stats().lookups, before);
  });
}

/** Asks again as long as no answer has come in time: the machine may stand still for longer than that. */
function patiently<T>(ask: () => T): T {
  for (;;) {
    try {
      return ask();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ETIMEOUT') throw error;
    }
  }
}

/** Every question for `bad.test` fails with this code, whoever asks. */
function failsWith(title: string, code: string, bad: Script, options?: Options): void {
  failureTest(
    `${title}: ${code}`,
    bad,
    (t, resolver) => {
      t.throws(() => resolver.resolve4('bad.test'), { code });
      t.throws(() => resolver.lookup('bad.test', { family: 4 }), { code });
    },
    { ...(code === 'ETIMEOUT' ? { timeout: 100 } : {}), ...options },
  );
}

// Answers that are none

failsWith('a server that fails', 'ESERVFAIL', () => ({ code: 'SERVFAIL' }));
failsWith('a server that refuses', 'EREFUSED', () => ({ code: 'REFUSED' }));
failsWith('a server that does not understand', 'EFORMERR', () => ({ code: 'FORMERR' }));
failsWith('a server that cannot do that', 'ENOTIMP', () => ({ code: 'NOTIMP' }));
failsWith('a server that is silent', 'ETIMEOUT', () => undefined);
failsWith('an answer with nothing in it', 'ENODATA', () => ({}));
failsWith('an answer of another type', 'ENODATA', () => ({ records: [{ type: 'TXT', data: ['x'] }] }));
failsWith('an answer for another name', 'ENODATA', () => ({ records: [{ ...address, name: 'else.test' }] }));

// Nonsense

const instead =
  (packets: NonNullable<Answer['packets']>): Script =>
  () => ({ ...good, packets });

failsWith(
  'garbage behind a header',
  'EBADRESP',
  instead((response) => [Buffer.concat([response.subarray(0, 26), Buffer.alloc(30, 0xff)])]),
);
failsWith(
  'an answer that ends in the middle of a record',
  'EBADRESP',
  instead((response) => [response.subarray(0, -2)]),
);
failsWith(
  'a pointer that points to itself',
  'EBADRESP',
  instead((response, query) => [withPointer(response, query, (at) => at)]),
);
failsWith(
  'two pointers that point to one another',
  'EBADRESP',
  instead((response, query) => [withPointer(response, query, (at) => at + 2)]),
);
failsWith(
  'a pointer beyond the end',
  'EBADRESP',
  instead((response, query) => [withPointer(response, query, () => 0x3fff)]),
);

/** An answer whose record is named by a pointer; where it leads depends on where it is. */
function withPointer(response: Buffer, query: Buffer, target: (at: number) => number): Buffer {
  const question = query.subarray(12, query.indexOf(0, 12) + 5);
  const at = 12 + question.length;
  const pointers = Buffer.alloc(4);
  pointers.writeUInt16BE(0xc000 | target(at), 0);
  pointers.writeUInt16BE(0xc000 | at, 2);
  const rest = Buffer.from([0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 66]);
  return Buffer.concat([response.subarray(0, 12), question, pointers, rest]);
}

failsWith('an alias of itself', 'ENODATA', () => ({ records: [{ type: 'CNAME', data: 'bad.test' }] }));
failsWith('aliases that go around', 'ENODATA', () => ({
  records: [
    { type: 'CNAME', data: 'bad2.test' },
    { type: 'CNAME', data: 'bad.test', name: 'bad2.test' },
  ],
}));
failsWith('aliases without end, one an answer', 'ENODATA', ({ name }) => ({
  records: [{ type: 'CNAME', data: `bad${Number(name.slice(3, -5) || 0) + 1}.test` }],
}));

// Forgeries

const forged = (response: Buffer): Buffer => Buffer.concat([response.subarray(0, -1), Buffer.from([66])]);

function withOtherId(packet: Buffer): Buffer {
  const other = Buffer.from(packet);
  other.writeUInt16BE(packet.readUInt16BE(0) ^ 0xffff, 0);
  return other;
}

function withOtherQuestion(packet: Buffer): Buffer {
  const other = Buffer.from(packet);
  other[13] = other[13]! + 1;
  return other;
}

const forgeries: Array<[title: string, forge: (response: Buffer) => Buffer]> = [
  ['with the wrong id', (response) => withOtherId(forged(response))],
  ['to another question', (response) => withOtherQuestion(forged(response))],
  [
    'that is a question',
    (response) => Buffer.concat([response.subarray(0, 2), Buffer.from([1, 0]), forged(response).subarray(4)]),
  ],
  ['that is too short', (response) => response.subarray(0, 3)],
  ['that is empty', () => Buffer.alloc(0)],
  [
    'without a question',
    (response) => Buffer.concat([response.subarray(0, 4), Buffer.alloc(2), response.subarray(6, 12)]),
  ],
];

for (const [title, forge] of forgeries) {
  failureTest(
    `a packet ${title} is ignored, and the true answer counts`,
    instead((response) => [forge(response), response]),
    (t, resolver) => t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']),
  );

  failsWith(
    `nothing but a packet ${title}`,
    'ETIMEOUT',
    instead((response) => [forge(response)]),
  );
}

failureTest(
  'an answer that changes the case of the name counts',
  instead((response) => {
    const changed = Buffer.from(response);
    changed.write('BAD', 13, 'latin1');
    return [changed];
  }),
  (t, resolver) => t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']),
);

failureTest(
  'a packet from elsewhere is ignored',
  () => ({ ...good, held: true }),
  (t, resolver, server) => {
    const stranger = createSocket('udp4');
    waitFor(new Promise<void>((resolve) => stranger.bind(0, '127.0.0.1', resolve)));
    const asking = spawn(() => resolver.resolve4('bad.test'));
    while (server.questions.length === 0) sleep(1);
    const ports = socketsTo(server.port, 'udp');
    t.is(ports.length, 1);
    for (const port of ports)
      waitFor(new Promise((resolve) => stranger.send(Buffer.alloc(40), port, '127.0.0.1', resolve)));
    server.release();
    t.deepEqual(asking.get(), ['192.0.2.1']);
    waitFor(new Promise<void>((resolve) => stranger.close(() => resolve())));
  },
  { timeout: 5000 },
);

/** The local ports of the sockets that are connected to a port, on either end of TCP. */
function socketsTo(port: number, protocol: 'udp' | 'tcp'): number[] {
  const lines = readFileSync(`/proc/net/${protocol}`, 'latin1').split('\n').slice(1, -1);
  const portOf = (field: string | undefined) => parseInt(field!.split(':')[1]!, 16);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, , , , , , , inode]) => portOf(remote) === port && inode !== '0')
    .map(([, local]) => portOf(local));
}

failureTest(
  'an answer that comes late is nobody’s',
  ({ name }) => ({
    records: [{ ...address, data: name === 'bad1.test' ? '192.0.2.66' : '192.0.2.1' }],
    held: name === 'bad1.test',
  }),
  (t, resolver, server) => {
    t.throws(() => resolver.resolve4('bad1.test'), { code: 'ETIMEOUT' });
    while (server.questions.length === 0) sleep(1);
    server.release();
    for (let count = 0; count < 20; count++) {
      t.deepEqual(
        patiently(() => resolver.resolve4('bad2.test')),
        ['192.0.2.1'],
      );
    }
  },
  { timeout: 100 },
);

// Old servers

failureTest(
  'a server that does not know EDNS is asked without, and from then on',
  ({ edns }) => (edns ? { code: 'FORMERR' } : good),
  (t, resolver, server) => {
    t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']);
    t.deepEqual(resolver.resolve4('bad2.test'), ['192.0.2.1']);
    t.deepEqual(
      server.questions.map(({ edns }) => edns),
      [true, false, false],
    );
  },
);

failureTest(
  'a server that leaves the question out of its failure is believed',
  ({ edns }) =>
    edns
      ? {
          code: 'FORMERR',
          packets: (response) => [Buffer.concat([response.subarray(0, 4), Buffer.alloc(8)])],
        }
      : good,
  (t, resolver) => t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']),
);

// TCP

const cut: Script = ({ transport }) => (transport === 'udp' ? { truncated: true } : good);

failureTest('an answer that was cut off is asked for by TCP', cut, (t, resolver, server) => {
  for (let count = 0; count < 5; count++) t.deepEqual(resolver.resolve4(`bad${count}.test`), ['192.0.2.1']);
  t.is(server.connections, 1);
});

failureTest(
  'a large answer arrives',
  ({ transport }) =>
    transport === 'udp'
      ? { truncated: true }
      : {
          records: Array.from({ length: 2000 }, (_, index) => ({
            ...address,
            data: `10.0.${index >> 8}.${index & 255}`,
          })),
        },
  (t, resolver) => {
    const found = resolver.resolve4('bad.test');
    t.is(found.length, 2000);
    t.is(found[1999], '10.0.7.207');
  },
  { timeout: 5000 },
);

failureTest(
  'a connection that the server has closed is made anew',
  cut,
  (t, resolver, server) => {
    t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']);
    server.disconnect();
    t.deepEqual(resolver.resolve4('bad.test'), ['192.0.2.1']);
    t.is(server.connections, 2);
  },
  { timeout: 5000 },
);

for (const bytes of [0, 1, 2, 20]) {
  failsWith(
    `TCP that is closed after ${bytes} bytes`,
    'ECONNREFUSED',
    ({ transport }) => (transport === 'udp' ? { truncated: true } : { ...good, closeAfter: bytes }),
    { timeout: 5000 },
  );
}

failsWith('TCP that is silent', 'ETIMEOUT', ({ transport }) =>
  transport === 'udp' ? { truncated: true } : undefined,
);
failsWith('an answer that is cut off by TCP too', 'EBADRESP', () => ({ truncated: true }));
failsWith('garbage by TCP', 'ETIMEOUT', ({ transport }) =>
  transport === 'udp'
    ? { truncated: true }
    : { ...good, packets: (response) => [Buffer.concat([response.subarray(0, 20), Buffer.alloc(30, 0xff)])] },
);
failsWith('an answer to another question by TCP', 'EBADRESP', ({ transport }) =>
  transport === 'udp'
    ? { truncated: true }
    : { ...good, packets: (response) => [withOtherQuestion(response)] },
);

hubTest('a name server can be asked by TCP only', (t) => {
  using server = nameserver(() => good);
  using resolver = new Resolver({ nameservers: [`tcp://${server.address}`], hosts: false });
  t.deepEqual(resolver.resolve4('a.test'), ['192.0.2.1']);
  t.deepEqual(
    server.questions.map(({ transport }) => transport),
    ['tcp'],
  );
});

hubTest('a name server that is not there is ECONNREFUSED', (t) => {
  const closed = nameserver(() => good);
  const { address: gone } = closed;
  closed[Symbol.dispose]();
  for (const transport of ['udp', 'tcp']) {
    using resolver = new Resolver({
      nameservers: [`${transport}://${gone}`],
      hosts: false,
      timeout: 5000,
      tries: 1,
    });
    t.throws(() => resolver.resolve4('a.test'), { code: 'ECONNREFUSED' }, transport);
  }
});

// Several servers

const silent: Script = () => undefined;

for (const [title, first] of [
  ['is silent', silent],
  ['fails', () => ({ code: 'SERVFAIL' })],
  ['refuses', () => ({ code: 'REFUSED' })],
  ['answers nonsense', instead((response) => [response.subarray(0, -2)])],
] as Array<[string, Script]>) {
  hubTest(`a server that ${title} is made up for by the next one, which is preferred from then on`, (t) => {
    using broken = nameserver(first);
    using server = nameserver(() => good);
    using resolver = new Resolver({
      nameservers: [broken.address, server.address],
      hosts: false,
      cache: false,
      // Long for the second, which has to answer in time.
      timeout: first === silent ? 1000 : 10_000,
      tries: 1,
    });
    for (let count = 0; count < 5; count++) t.deepEqual(resolver.resolve4('a.test'), ['192.0.2.1']);
    t.is(broken.questions.length, 1);
  });
}

hubTest('a name that does not exist is not asked for at the next server', (t) => {
  using first = nameserver(() => ({ code: 'NXDOMAIN' }));
  using second = nameserver(() => good);
  using resolver = new Resolver({ nameservers: [first.address, second.address], hosts: false });
  t.throws(() => resolver.resolve4('a.test'), { code: 'ENOTFOUND' });
  t.is(second.questions.length, 0);
});

hubTest('with rotate, the servers take turns', (t) => {
  using first = nameserver(() => good);
  using second = nameserver(() => good);
  using resolver = new Resolver({
    nameservers: [first.address, second.address],
    hosts: false,
    cache: false,
    rotate: true,
  });
  for (let count = 0; count < 10; count++) resolver.resolve4('a.test');
  t.deepEqual([first.questions.length, second.questions.length], [5, 5]);
});

hubTest('each server is asked as often as tries says', (t) => {
  using first = nameserver(silent);
  using second = nameserver(silent);
  using resolver = new Resolver({
    nameservers: [first.address, second.address],
    hosts: false,
    timeout: 20,
    tries: 3,
  });
  t.throws(() => resolver.resolve4('a.test'), { code: 'ETIMEOUT' });
  // They may be in the system still.
  while (first.questions.length + second.questions.length < 6) sleep(1);
  t.deepEqual([first.questions.length, second.questions.length], [3, 3]);
});

hubTest('a name server of IPv6 is asked', (t) => {
  using server = nameserver(() => good, { host: '::1' });
  using resolver = new Resolver({ nameservers: [server.address], hosts: false });
  t.deepEqual(resolver.resolve4('a.test'), ['192.0.2.1']);
});

// Many, and ends

failureTest(
  'ten thousand names at once each get their own answer',
  ({ name }) => {
    const number = Number(name.slice(3, -5));
    return { records: [{ ...address, data: `10.0.${number >> 8}.${number & 255}` }] };
  },
  (t, resolver) => {
    const asking = Array.from({ length: 10_000 }, (_, number) =>
      spawn(() => resolver.resolve4(`bad${number}.test`)[0]),
    );
    joinAll(asking, { raiseError: true });
    t.true(asking.every(({ value }, number) => value === `10.0.${number >> 8}.${number & 255}`));
  },
  { timeout: 10_000, tries: 5 },
);

failureTest(
  'names that nobody answers do not keep others waiting',
  silent,
  (t, resolver) => {
    const stuck = Array.from({ length: 500 }, (_, number) =>
      spawn(() => resolver.resolve4(`bad${number}.test`)),
    );
    idle();
    t.deepEqual(resolver.resolve4('good1.test'), ['192.0.2.1']);
    t.true(stuck.every(({ dead }) => !dead));
    for (const greenlet of stuck) greenlet.kill();
    t.true(stuck.every(({ value }) => (value as unknown) instanceof GreenletExit));
  },
  { timeout: 60_000 },
);

failureTest('close() ends all that is under way with ECANCELLED', silent, (t, resolver, server) => {
  const other = new Resolver({ nameservers: [server.address], hosts: false });
  const asking = Array.from({ length: 100 }, (_, number) =>
    spawn(() =>
      thrownBy(() => (number % 2 === 0 ? other.resolve4('bad.test') : other.lookup(`bad${number}.test`))),
    ),
  );
  idle();
  other.close();
  joinAll(asking, { raiseError: true });
  t.true(asking.every(({ value }) => (value as NodeJS.ErrnoException).code === 'ECANCELLED'));
  t.throws(() => other.resolve4('good.test'), { code: 'ECANCELLED' });
  t.deepEqual(resolver.resolve4('good.test'), ['192.0.2.1']);
});

hubTest('resolvers that are closed leave no descriptors behind', (t) => {
  using server = nameserver(cut);
  const before = readdirSync('/proc/self/fd').length;
  for (let count = 0; count < 50; count++) {
    using resolver = new Resolver({ nameservers: [server.address], hosts: false });
    t.deepEqual(resolver.resolve4('a.test'), ['192.0.2.1']);
    t.true(socketsTo(server.port, 'udp').length > 0);
  }
  server.disconnect();
  while (socketsTo(server.port, 'udp').length + socketsTo(server.port, 'tcp').length > 0) sleep(1);
  // The thread that asks may have been started by this.
  t.true(readdirSync('/proc/self/fd').length < before + 10);
});

// TLS

hubTest('a name server is asked by TLS', (t) => {
  using server = nameserver(() => good, { tls: pki.server() });
  for (const nameservers of [
    [server.address],
    [`${server.address}#a.test`],
    [{ address: '127.0.0.1', port: server.port, transport: 'tls' as const, serverName: 'x.wild.test' }],
  ]) {
    using resolver = new Resolver({ nameservers, ca: pki.root().cert, hosts: false, cache: false });
    t.deepEqual(resolver.resolve4('a.test'), ['192.0.2.1']);
    t.deepEqual(resolver.resolve4('b.test'), ['192.0.2.1']);
  }
  t.is(server.connections, 3);
  t.is(server.questions.length, 6);
});

const untrusted: Array<[title: string, options: () => Options & { name?: string }]> = [
  ['that is for another name', () => ({ ca: pki.root().cert, name: '#elsewhere.test' })],
  ['of an unknown authority', () => ({ ca: pki.otherRoot().cert })],
  ['of an authority that Node does not know', () => ({})],
];

for (const [title, options] of untrusted) {
  hubTest(`a name server with a certificate ${title} is not asked`, (t) => {
    using server = nameserver(() => good, { tls: pki.server() });
    const { name = '', ...others } = options();
    using resolver = new Resolver({
      nameservers: [`${server.address}${name}`],
      hosts: false,
      tries: 1,
      ...others,
    });
    t.throws(() => resolver.resolve4('a.test'), { code: 'ECONNREFUSED', message: /certificate/i });
    t.is(server.questions.length, 0);
  });
}

hubTest('a name server that does not speak TLS is not asked by it', (t) => {
  using server = nameserver(() => good);
  using resolver = new Resolver({
    nameservers: [`tls://${server.address}`],
    ca: pki.root().cert,
    hosts: false,
    timeout: 300,
    tries: 1,
  });
  const error = thrownBy(() => resolver.resolve4('a.test')) as NodeJS.ErrnoException;
  t.regex(error.code!, /^(ECONNREFUSED|ETIMEOUT)$/);
});
