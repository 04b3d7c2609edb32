import { getEventListeners, once } from 'node:events';
import type { Socket as NodeSocket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import {
  BlockingSwitchOutError,
  type Greenlet,
  GreenletExit,
  Timeout,
  idle,
  joinAll,
  run,
  sleep,
  spawn,
  waitFor,
} from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { Socket, createConnection } from 'greenstack/socket';
import { nameserver, zone } from './support/dns-server.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { hasIpv6 } from './support/network.js';
import { residue } from './support/residue.js';
import { closedPort, echo, greet, listen, silent, unreachable } from './support/servers.js';
import { recvAll, recvExactly } from './support/streams.js';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/** A test with one connection to a server that does `onConnection`. */
function socketTest(
  title: string,
  onConnection: (socket: NodeSocket) => void,
  body: (t: ExecutionContext, socket: Socket) => void,
): void {
  hubTest(title, (t) => {
    using server = listen(onConnection);
    using socket = createConnection(server.address);
    body(t, socket);
  });
}

// Connecting

hubTest('createConnection() takes an object with host and port', (t) => {
  using server = listen(greet);
  using socket = createConnection(server.address);
  t.true(socket instanceof Socket);
  t.is(recvAll(socket).toString(), 'hello');
});

hubTest("createConnection() takes 'host:port'", (t) => {
  using server = listen(greet);
  using socket = createConnection(`127.0.0.1:${server.address.port}`);
  t.is(recvAll(socket).toString(), 'hello');
});

hubTest('createConnection() takes a port, which is one of this host', (t) => {
  using server = listen(greet);
  using socket = createConnection(server.address.port);
  t.is(recvAll(socket).toString(), 'hello');
});

hubTest('createConnection() without a host goes to this one', (t) => {
  using server = listen(greet);
  using socket = createConnection({ port: server.address.port });
  t.is(recvAll(socket).toString(), 'hello');
});

hubTest('createConnection() looks localhost up', (t) => {
  using server = listen(greet);
  using socket = createConnection({ host: 'localhost', port: server.address.port });
  t.is(recvAll(socket).toString(), 'hello');
});

hubTestIf(hasIpv6, 'createConnection() takes an IPv6 address', (t) => {
  using server = listen(greet, { host: '::1' });
  using socket = createConnection({ host: '::1', port: server.address.port });
  t.is(recvAll(socket).toString(), 'hello');
  t.is(socket.remoteAddress.address, '::1');
});

hubTestIf(hasIpv6, "createConnection() takes '[address]:port'", (t) => {
  using server = listen(greet, { host: '::1' });
  using socket = createConnection(`[::1]:${server.address.port}`);
  t.is(recvAll(socket).toString(), 'hello');
});

hubTest('createConnection() looks the name up with the resolver it is given', (t) => {
  using names = nameserver(zone({ 'www.test': [{ type: 'A', data: '127.0.0.1' }] }));
  using server = listen(greet);
  const resolver = new Resolver({ nameservers: [names.address], hosts: false });
  using socket = createConnection({ host: 'www.test', port: server.address.port }, { resolver });
  t.is(recvAll(socket).toString(), 'hello');
  t.is(socket.remoteAddress.address, '127.0.0.1');
  resolver.close();
});

hubTest('createConnection() tries the next address of a name when one refuses', (t) => {
  using names = nameserver(
    zone({
      'www.test': [
        { type: 'A', data: '127.0.0.3' },
        { type: 'A', data: '127.0.0.1' },
      ],
    }),
  );
  using server = listen(greet);
  const resolver = new Resolver({ nameservers: [names.address], hosts: false });
  using socket = createConnection({ host: 'www.test', port: server.address.port }, { resolver });
  t.is(recvAll(socket).toString(), 'hello');
  resolver.close();
});

hubTest('createConnection() to a name that does not exist throws the error of the lookup', (t) => {
  using names = nameserver(zone({}));
  const resolver = new Resolver({ nameservers: [names.address], hosts: false });
  const error = thrownBy(() =>
    createConnection({ host: 'nowhere.test', port: 80 }, { resolver }),
  ) as SystemError & {
    hostname?: string;
  };
  t.is(error.code, 'ENOTFOUND');
  t.is(error.hostname, 'nowhere.test');
  resolver.close();
});

hubTest('a refused connection throws an error like Node’s', (t) => {
  const port = closedPort();
  const error = thrownBy(() => createConnection({ host: '127.0.0.1', port })) as SystemError;
  const { code, syscall, address } = error;
  t.true(error instanceof Error);
  t.deepEqual(
    { code, syscall, address, port: error.port },
    { code: 'ECONNREFUSED', syscall: 'connect', address: '127.0.0.1', port },
  );
  t.true(error.errno! < 0);
  t.regex(error.message, /ECONNREFUSED/);
});

hubTest('the stack of a refused connection shows the line that connected', (t) => {
  const port = closedPort();
  function theConnector() {
    return createConnection({ host: '127.0.0.1', port });
  }
  t.regex(String((thrownBy(theConnector) as Error).stack), /theConnector/);
});

hubTest('a connection that is not accepted in time throws ETIMEDOUT', (t) => {
  using host = unreachable();
  const error = thrownBy(() => createConnection(host.address, { timeout: 20 })) as SystemError;
  t.is(error.code, 'ETIMEDOUT');
});

hubTest('a connection attempt throws the Timeout it was given', (t) => {
  using host = unreachable();
  const timeout = new Timeout(20);
  t.throws(() => createConnection(host.address, { timeout }), { is: timeout });
});

hubTest('a connection attempt ends with the reason of its signal', (t) => {
  using host = unreachable();
  const abort = new AbortController();
  const reason = new Error('enough');
  setTimeout(() => abort.abort(reason), 10);
  t.throws(() => createConnection(host.address, { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
});

hubTest('a killed connection attempt reaches no server', (t) => {
  using host = unreachable();
  const before = residue();
  const greenlet = spawn(() => createConnection(host.address));
  idle();
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.is(residue().sockets, before.sockets);
});

hubTest('createConnection() with an aborted signal does not connect', (t) => {
  using server = listen(silent);
  const error = thrownBy(() => createConnection(server.address, { signal: AbortSignal.abort() })) as Error;
  t.is(error.name, 'AbortError');
  sleep(20);
  t.is(server.accepted, 0);
});

hubTest('localAddress is where the connection comes from', (t) => {
  using server = listen((socket) => void socket.end(socket.remoteAddress!));
  using socket = createConnection(server.address, { localAddress: { host: '127.0.0.2' } });
  t.is(recvAll(socket).toString(), '127.0.0.2');
  t.is(socket.localAddress.address, '127.0.0.2');
});

hubTest('a localAddress that is not one of this host is refused by the system', (t) => {
  using server = listen(silent);
  const error = thrownBy(() =>
    createConnection(server.address, { localAddress: { host: '192.0.2.1' } }),
  ) as SystemError;
  t.is(error.code, 'EADDRNOTAVAIL');
});

hubTest('a thousand connections can be open at once', (t) => {
  using server = listen(echo);
  const greenlets = Array.from({ length: 1000 }, (_, id) =>
    spawn(() => {
      using socket = createConnection(server.address);
      socket.sendAll(`number ${id}`);
      socket.shutdown('w');
      return recvAll(socket).toString();
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.true(greenlets.every((greenlet, id) => greenlet.value === `number ${id}`));
  t.is(server.accepted, 1000);
});

// What a socket knows

hubTest('a socket knows both addresses', (t) => {
  let seen: { address?: string; port?: number } = {};
  using server = listen((socket) => {
    seen = { address: socket.remoteAddress!, port: socket.remotePort! };
    socket.end('x');
  });
  using socket = createConnection(server.address);
  socket.recv(1);
  t.is(socket.remoteAddress.address, '127.0.0.1');
  t.is(socket.remoteAddress.port, server.address.port);
  t.deepEqual({ address: socket.localAddress.address, port: socket.localAddress.port }, seen);
});

socketTest('a socket is open until it is closed', silent, (t, socket) => {
  t.false(socket.closed);
  socket.close();
  t.true(socket.closed);
});

hubTest('using a socket closes it at the end of the block', (t) => {
  using server = listen(echo);
  const before = residue();
  let held: Socket;
  {
    using socket = createConnection(server.address);
    held = socket;
    t.is(residue().sockets, before.sockets + 1);
  }
  t.true(held.closed);
  t.is(residue().sockets, before.sockets);
});

socketTest(
  'recv() throws ECONNRESET when the peer resets',
  (peer) => {
    peer.resume();
    peer.once('data', () => peer.resetAndDestroy());
  },
  (t, socket) => {
    socket.sendAll('x');
    const error = thrownBy(() => socket.recv(1)) as SystemError;
    t.is(error.code, 'ECONNRESET');
    t.is(typeof error.syscall, 'string');
    t.true(error.errno! < 0);
  },
);

// Bad input

const badAddresses: [string, unknown, typeof TypeError | typeof RangeError][] = [
  ['nothing', undefined, TypeError],
  ['null', null, TypeError],
  ['an object without a port', { host: '127.0.0.1' }, TypeError],
  ['a port that is no number', { host: '127.0.0.1', port: 'http' }, TypeError],
  ['a host that is no string', { host: 5, port: 80 }, TypeError],
  ['a port of NaN', { port: NaN }, TypeError],
  ['a port of 65536', { port: 65_536 }, RangeError],
  ['a negative port', -1, RangeError],
  ['a port that is no integer', 80.5, TypeError],
  ['a string without a port', '127.0.0.1', TypeError],
  ['a string with a port too large', '127.0.0.1:70000', RangeError],
];

for (const [title, address, type] of badAddresses) {
  hubTest(`createConnection() refuses ${title}`, (t) => {
    const before = residue();
    const error = thrownBy(() => createConnection(address as never));
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
    t.true(error instanceof type, `expected ${type.name}, got ${String(error)}`);
    t.deepEqual(residue(), before);
  });
}

hubTest('createConnection() refuses a timeout of NaN', (t) => {
  t.throws(() => createConnection({ port: 1 }, { timeout: NaN }), { instanceOf: TypeError });
});

hubTest('createConnection() refuses a signal that is no AbortSignal', (t) => {
  t.throws(() => createConnection({ port: 1 }, { signal: {} as never }), { instanceOf: TypeError });
});

hubTest('createConnection() refuses a resolver that is none', (t) => {
  t.throws(() => createConnection({ host: 'localhost', port: 1 }, { resolver: {} as never }), {
    instanceOf: TypeError,
  });
});

test.serial('createConnection() in plain code is refused with advice', (t) => {
  const before = residue();
  t.throws(() => createConnection({ host: '127.0.0.1', port: 9 }), {
    instanceOf: BlockingSwitchOutError,
    message: /\b(run|spawn)\(/,
  });
  t.deepEqual(residue(), before);
});

test.serial('recv() in plain code is refused while nothing has arrived', async (t) => {
  await run(() => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    const error = waitFor(
      new Promise((resolve) => setImmediate(() => resolve(thrownBy(() => socket.recv(1))))),
    );
    t.true(error instanceof BlockingSwitchOutError);
  });
});

// Beside Node's own sockets

hubTest('a thousand requests by twenty greenlets to one server all get their answer', (t) => {
  using server = listen((socket) => {
    socket.on('data', (chunk: Buffer) => socket.write(chunk.toString().toUpperCase()));
    socket.on('end', () => socket.end());
  });
  const client = (id: number) => {
    using socket = createConnection(server.address);
    for (let request = 0; request < 50; request++) {
      const text = `client ${id} request ${request}`;
      socket.sendAll(text);
      const answer = recvExactly(socket, text.length).toString();
      if (answer !== text.toUpperCase()) throw new Error(`asked ${text}, got ${answer}`);
    }
    return id;
  };
  const greenlets: Greenlet<number>[] = Array.from({ length: 20 }, (_, id) => spawn(client, id));
  t.is(joinAll(greenlets, { raiseError: true }).length, 20);
});

hubTest('the end of a server is the end of the stream', (t) => {
  const server = listen(echo);
  using socket = createConnection(server.address);
  socket.sendAll('x');
  t.is(socket.recv(1).toString(), 'x');
  server[Symbol.dispose]();
  t.true(['', 'ECONNRESET'].includes(endOf(socket)));
});

/** An empty string for an orderly end, otherwise the code of the error. */
function endOf(socket: Socket): string {
  try {
    return recvAll(socket).toString();
  } catch (error) {
    return (error as SystemError).code!;
  }
}

hubTest('events of Node emitters can be waited for beside sockets', (t) => {
  using server = listen(greet);
  using socket = createConnection(server.address);
  const timer = waitFor(once(AbortSignal.timeout(1), 'abort')) as unknown[];
  t.is(timer.length, 1);
  t.is(recvAll(socket).toString(), 'hello');
});
