/** `createConnection` to names with several addresses, and to Unix-domain sockets whose queue is full. */
import test from 'ava';
import { GreenletExit, run, sleep, spawn, Timeout } from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { type ConnectOptions, createConnection, createServer, type Socket } from 'greenstack/socket';
import { nameserver, zone } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { hasIpv6 } from './support/network.js';
import { residue } from './support/residue.js';
import { closedPort, listen, silent, unreachable } from './support/servers.js';
import { freshName } from './support/transports.js';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/** Runs `body` with a way to connect to a name that has these addresses. */
function withName(
  addresses: string[],
  body: (connect: (port: number, options?: ConnectOptions) => Socket) => void,
): void {
  const records = addresses.map((data) => ({ type: data.includes(':') ? 'AAAA' : 'A', data }) as const);
  using names = nameserver(zone({ 'www.test': records }));
  using resolver = new Resolver({ nameservers: [names.address], hosts: false });
  body((port, options) => createConnection({ host: 'www.test', port }, { resolver, ...options }));
}

/** What attempts hold. Not descriptors: the resolver has some at times. */
function count(): { sockets: number; timers: number } {
  const { sockets, timers } = residue();
  return { sockets, timers };
}

hubTest('an address that does not answer is given up for the next after attemptDelay', (t) => {
  using stalled = unreachable();
  const { port } = stalled.address;
  using _other = listen(silent, { host: '127.0.0.2', port });
  withName(['127.0.0.1', '127.0.0.2'], (connect) => {
    const before = count();
    const socket = connect(port, { attemptDelay: 10 });
    t.is(socket.remoteAddress.address, '127.0.0.2');
    t.is(residue().sockets, before.sockets + 1, 'the loser is closed');
    socket.close();
  });
});

hubTest('an address that refuses makes room for the next at once', (t) => {
  using server = listen(silent, { host: '127.0.0.2' });
  const { port } = server.address;
  withName(['127.0.0.3', '127.0.0.4', '127.0.0.2'], (connect) => {
    // One after another: only a failure starts the next.
    using socket = connect(port, { attemptDelay: Infinity });
    t.is(socket.remoteAddress.address, '127.0.0.2');
  });
});

hubTest('no other address is tried while the first one may still answer', (t) => {
  using stalled = unreachable();
  const { port } = stalled.address;
  using server = listen(silent, { host: '127.0.0.2', port });
  withName(['127.0.0.1', '127.0.0.2'], (connect) => {
    const error = thrownBy(() => connect(port, { attemptDelay: Infinity, timeout: 30 })) as SystemError;
    t.is(error.code, 'ETIMEDOUT');
    t.is(error.syscall, 'connect');
    t.deepEqual([error.address, error.port], ['127.0.0.1', port]);
  });
  t.is(server.accepted, 0);
});

hubTestIf(hasIpv6, 'addresses of both families are tried by turns', (t) => {
  using stalled = unreachable();
  const { port } = stalled.address;
  using _other = listen(silent, { host: '::1', port, ipv6Only: true });
  // The second is of the other family, wherever it stands in the answer.
  withName(['127.0.0.1', '127.0.0.1', '127.0.0.1', '::1'], (connect) => {
    using socket = connect(port, { attemptDelay: 200 });
    t.is(socket.remoteAddress.address, '::1');
  });
});

hubTestIf(hasIpv6, 'family keeps to addresses of one', (t) => {
  using server = listen(silent, { host: '::1', ipv6Only: true });
  const { port } = server.address;
  withName(['127.0.0.1', '::1'], (connect) => {
    using socket = connect(port, { family: 6 });
    t.is(socket.family, 6);
    const error = thrownBy(() => connect(port, { family: 4 })) as SystemError;
    t.is(error.code, 'ECONNREFUSED');
    t.false(error instanceof AggregateError);
  });
});

hubTestIf(hasIpv6, 'localAddress keeps to addresses of its family', (t) => {
  using server = listen(silent, { host: '127.0.0.1' });
  withName(['::1', '127.0.0.1'], (connect) => {
    using socket = connect(server.address.port, { localAddress: { host: '127.0.0.9' } });
    t.is(socket.localAddress.address, '127.0.0.9');
  });
});

hubTest('if all addresses refuse, the error has the errors of all', (t) => {
  const port = closedPort();
  withName(['127.0.0.3', '127.0.0.4'], (connect) => {
    const before = count();
    const error = thrownBy(() => connect(port)) as AggregateError & SystemError;
    t.true(error instanceof AggregateError);
    t.is(error.code, 'ECONNREFUSED');
    t.deepEqual(
      error.errors.map(({ code, syscall, address, port: tried }) => ({
        code,
        syscall,
        address,
        port: tried,
      })),
      ['127.0.0.3', '127.0.0.4'].map((address) => ({
        code: 'ECONNREFUSED',
        syscall: 'connect',
        address,
        port,
      })),
    );
    t.deepEqual(count(), before);
  });
});

for (const [title, end] of [
  ['a kill', (greenlet: { kill(): void }) => greenlet.kill()],
  [
    'an error thrown in it',
    (greenlet: { kill(error?: unknown): void }) => greenlet.kill(new Error('enough')),
  ],
] as const) {
  hubTest(`${title} in the middle of several attempts leaves nothing open`, (t) => {
    using stalled = unreachable();
    const { port } = stalled.address;
    withName(['127.0.0.1', '127.0.0.1', '127.0.0.1'], (connect) => {
      const before = count();
      const connecting = spawn(() => thrownBy(() => connect(port, { attemptDelay: 10 })));
      while (residue().sockets < before.sockets + 3) sleep(1);
      end(connecting);
      connecting.join();
      t.deepEqual(count(), before);
    });
  });
}

hubTest('a timeout in the middle of several attempts leaves nothing open', (t) => {
  using stalled = unreachable();
  const { port } = stalled.address;
  withName(['127.0.0.1', '127.0.0.1', '127.0.0.1'], (connect) => {
    const before = count();
    t.throws(() => connect(port, { attemptDelay: 10, timeout: 60 }), { code: 'ETIMEDOUT' });
    t.deepEqual(count(), before);
    const timeout = new Timeout(60);
    t.throws(() => connect(port, { attemptDelay: 10, timeout }), { is: timeout });
    t.deepEqual(count(), before);
  });
});

hubTest('a signal in the middle of several attempts leaves nothing open', (t) => {
  using stalled = unreachable();
  const { port } = stalled.address;
  withName(['127.0.0.1', '127.0.0.1'], (connect) => {
    const before = count();
    const abort = new AbortController();
    const connecting = spawn(() => thrownBy(() => connect(port, { attemptDelay: 10, signal: abort.signal })));
    while (residue().sockets < before.sockets + 2) sleep(1);
    const reason = new Error('not wanted any more');
    abort.abort(reason);
    t.is(connecting.get(), reason);
    t.deepEqual(count(), before);
  });
});

hubTest('a local address that cannot be bound fails for each address', (t) => {
  withName(['127.0.0.1', '127.0.0.2'], (connect) => {
    const error = thrownBy(() => connect(1, { localAddress: { host: '192.0.2.77' } })) as AggregateError;
    t.true(error instanceof AggregateError);
    t.true(
      error.errors.every((each: SystemError) => each.code === 'EADDRNOTAVAIL' && each.syscall === 'bind'),
    );
  });
});

// Options

hubTest('noDelay and keepAlive are set on the connection', (t) => {
  using server = listen(silent);
  using plain = createConnection(server.address);
  t.deepEqual([plain.getOption('noDelay'), plain.getOption('keepAlive')], [false, false]);
  using eager = createConnection(server.address, { noDelay: true, keepAlive: true });
  t.deepEqual([eager.getOption('noDelay'), eager.getOption('keepAlive')], [true, true]);
  using careful = createConnection(server.address, { keepAlive: 7000 });
  t.deepEqual([careful.getOption('keepAlive'), careful.getOption('keepAliveIdle')], [true, 7000]);
});

for (const [title, options, type] of [
  ['an attemptDelay of NaN', { attemptDelay: NaN }, TypeError],
  ['an attemptDelay that is no number', { attemptDelay: '250' }, TypeError],
  ['a family that there is not', { family: 5 }, TypeError],
  ['a noDelay that is no flag', { noDelay: 1 }, TypeError],
  ['a keepAlive that is neither flag nor time', { keepAlive: '1' }, TypeError],
  ['a keepAlive of no time', { keepAlive: 0 }, RangeError],
  ['a localAddress that is a name', { localAddress: { host: 'localhost' } }, TypeError],
  ['a localAddress of another family', { localAddress: { host: '::1' } }, TypeError],
  ['a localAddress and another family', { localAddress: { host: '127.0.0.1' }, family: 6 }, TypeError],
] as const) {
  hubTest(`createConnection() refuses ${title}`, (t) => {
    const before = count();
    t.throws(() => createConnection({ host: '127.0.0.1', port: 1 }, options as ConnectOptions), {
      instanceOf: type,
      message: /^createConnection\(\)/,
    });
    t.deepEqual(count(), before);
  });
}

// Unix-domain sockets whose queue is full

hubTest('connecting to a Unix-domain socket waits for room in its queue', (t) => {
  using server = createServer({ path: freshName() }, { backlog: 0 });
  const address = server.localAddress;
  using first = createConnection(address);
  const second = spawn(() => createConnection(address));
  sleep(5);
  t.false(second.ready, 'the queue has room for one');
  using accepted = server.accept();
  using connected = second.get();
  using other = server.accept();
  connected.sendAll('x');
  first.sendAll('y');
  t.deepEqual([accepted.recv().toString(), other.recv().toString()], ['y', 'x']);
});

hubTest('a Unix-domain socket whose queue stays full is ETIMEDOUT', (t) => {
  using server = createServer({ path: freshName() }, { backlog: 0 });
  const address = server.localAddress;
  using _first = createConnection(address);
  const before = count();
  for (const timeout of [0, 10]) {
    const error = thrownBy(() => createConnection(address, { timeout })) as SystemError;
    t.is(error.code, 'ETIMEDOUT');
    t.is(error.address, address.address);
  }
  const waiting = spawn(() => createConnection(address));
  sleep(5);
  waiting.kill();
  t.true((waiting.value as unknown) instanceof GreenletExit);
  t.deepEqual(count(), before);
});

hubTest('connecting to a path that nobody listens on fails as Node does', (t) => {
  const error = thrownBy(() => createConnection({ path: '/nonexistent/socket' })) as SystemError;
  t.deepEqual(
    [error.code, error.syscall, error.address, error.port],
    ['ENOENT', 'connect', '/nonexistent/socket', undefined],
  );
  t.throws(() => createConnection({ path: freshName() }), { code: 'ECONNREFUSED' });
  t.throws(() => createConnection({ path: 'x'.repeat(200) }), { code: 'ENAMETOOLONG' });
});

test.serial('the race of several addresses ends with the program that runs it', async (t) => {
  const result = await run(() => {
    using stalled = unreachable();
    const timeout = Timeout.startNew(40);
    let error: unknown;
    withName(['127.0.0.1', '127.0.0.1'], (connect) => {
      error = thrownBy(() => connect(stalled.address.port, { attemptDelay: 10 }));
    });
    return error === timeout;
  });
  t.true(result);
});
