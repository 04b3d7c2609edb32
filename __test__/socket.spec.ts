import { createHash } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import type { Socket as NodeSocket } from 'node:net';
import { networkInterfaces } from 'node:os';
import test, { type ExecutionContext } from 'ava';
import {
  BlockingSwitchOutError,
  ConcurrentObjectUseError,
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
import { residue } from './support/residue.js';
import { closedPort, echo, listen, silent, unreachable } from './support/servers.js';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((entry) => entry?.address === '::1');

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

/** Reads up to the end of the stream. */
function recvAll(socket: Socket): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk: Buffer; (chunk = socket.recv(65_536)).length > 0;) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Reads exactly `length` bytes. */
function recvExactly(socket: Socket, length: number): Buffer {
  const chunks: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    const chunk = socket.recv(missing);
    if (chunk.length === 0) throw new Error(`the stream ended ${missing} bytes early`);
    chunks.push(chunk);
    missing -= chunk.length;
  }
  return Buffer.concat(chunks);
}

/** `length` bytes that are different everywhere. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8) * 17) & 0xff;
  return bytes;
}

const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');

/** Server side: collects what arrives, and sends its checksum when the client has ended its half. */
function checksum(socket: NodeSocket): void {
  const hash = createHash('sha1');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest('hex')));
}

const greet = (socket: NodeSocket) => void socket.end('hello');

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

// recv()

socketTest(
  'recv() returns a Buffer with what has arrived',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    const received = socket.recv(100);
    t.true(Buffer.isBuffer(received));
    t.is(received.toString(), 'hello');
  },
);

socketTest(
  'recv() returns no more than it was asked for',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    t.is(recvExactly(socket, 2).toString(), 'he');
    t.is(recvExactly(socket, 3).toString(), 'llo');
  },
);

socketTest('recv() parks until something arrives', silent, (t, socket) => {
  const reader = spawn(() => socket.recv(1));
  sleep(10);
  t.false(reader.ready);
  reader.kill();
});

socketTest('recv() returns an empty Buffer at the end of the stream, again and again', greet, (t, socket) => {
  t.is(recvAll(socket).toString(), 'hello');
  t.is(socket.recv(10).length, 0);
  t.is(socket.recv(10).length, 0);
});

socketTest(
  'each recv() has a Buffer of its own',
  (socket) => void socket.write('abcd'),
  (t, socket) => {
    const first = recvExactly(socket, 2);
    const second = recvExactly(socket, 2);
    t.deepEqual([first.toString(), second.toString()], ['ab', 'cd']);
  },
);

socketTest('recv() wakes with what was sent while it was parked', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(100).toString());
  idle();
  socket.sendAll('ping');
  t.is(reader.get(), 'ping');
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

socketTest('recv() throws ETIMEDOUT when its time is up, and the connection goes on', echo, (t, socket) => {
  t.throws(() => socket.recv(1, 5), { code: 'ETIMEDOUT' });
  t.throws(() => socket.recv(1, { timeout: 5 }), { code: 'ETIMEDOUT' });
  socket.sendAll('still here');
  t.is(recvExactly(socket, 10).toString(), 'still here');
});

socketTest('recv() throws the Timeout it was given', silent, (t, socket) => {
  const timeout = new Timeout(5);
  t.throws(() => socket.recv(1, timeout), { is: timeout });
});

socketTest('an outer Timeout goes through recv() with a limit of its own', silent, (t, socket) => {
  const timeout = Timeout.startNew(5);
  t.throws(() => socket.recv(1, 60_000), { is: timeout });
});

socketTest('recv({ block: false }) throws where it would have to wait', silent, (t, socket) => {
  let ran = false;
  const other = spawn(() => (ran = true));
  t.throws(() => socket.recv(1, { block: false }), { instanceOf: Error });
  t.false(ran);
  other.join();
});

socketTest(
  'recv({ block: false }) returns what has arrived',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    sleep(20);
    t.is(socket.recv(5, { block: false }).toString(), 'hello');
  },
);

socketTest('recv() ends with the reason of its signal, and the connection goes on', echo, (t, socket) => {
  const abort = new AbortController();
  const reason = new Error('enough');
  setImmediate(() => abort.abort(reason));
  t.throws(() => socket.recv(1, { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
  socket.sendAll('x');
  t.is(socket.recv(1).toString(), 'x');
});

socketTest('a killed recv() loses nothing of the stream', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(1));
  idle();
  reader.kill();
  socket.sendAll('kept');
  t.is(recvExactly(socket, 4).toString(), 'kept');
});

// The timeout of a socket

socketTest('a new socket has no timeout', silent, (t, socket) => {
  t.is(socket.timeout, null);
});

socketTest('the timeout of a socket is that of its calls', silent, (t, socket) => {
  socket.timeout = 5;
  t.is(socket.timeout, 5);
  t.throws(() => socket.recv(1), { code: 'ETIMEDOUT' });
});

socketTest('the limit of a call goes before the timeout of its socket', echo, (t, socket) => {
  socket.timeout = 1;
  const reader = spawn(() => socket.recv(1, { timeout: null }).toString());
  sleep(30);
  socket.sendAll('x');
  t.is(reader.get(), 'x');
});

socketTest('the timeout of a socket can be taken away', silent, (t, socket) => {
  socket.timeout = 1;
  socket.timeout = null;
  const reader = spawn(() => socket.recv(1));
  sleep(20);
  t.false(reader.ready);
  reader.kill();
});

for (const [title, value, type] of [
  ['NaN', NaN, TypeError],
  ['a string', '5', TypeError],
] as const) {
  socketTest(`the timeout of a socket cannot be ${title}`, silent, (t, socket) => {
    t.throws(() => (socket.timeout = value as number), { instanceOf: type });
    t.is(socket.timeout, null);
  });
}

// recvInto()

socketTest(
  'recvInto() fills a buffer and says how far',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    const buffer = Buffer.alloc(10, '.');
    t.is(socket.recvInto(buffer), 5);
    t.is(buffer.toString(), 'hello.....');
  },
);

socketTest(
  'recvInto() writes at its offset, and no more than its length',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    const buffer = Buffer.alloc(8, '.');
    let filled = 0;
    while (filled < 3) filled += socket.recvInto(buffer, { offset: 2 + filled, length: 3 - filled });
    t.is(buffer.toString(), '..hel...');
    t.is(recvExactly(socket, 2).toString(), 'lo');
  },
);

socketTest(
  'recvInto() takes any view of a buffer',
  (socket) => void socket.write('abcd'),
  (t, socket) => {
    const memory = new ArrayBuffer(8);
    const view = new DataView(memory, 2, 4);
    let filled = 0;
    while (filled < 4) filled += socket.recvInto(view, { offset: filled });
    t.is(Buffer.from(memory).toString('latin1'), '\0\0abcd\0\0');
  },
);

socketTest(
  'recvInto() returns 0 at the end of the stream',
  (socket) => void socket.end(),
  (t, socket) => {
    t.is(socket.recvInto(Buffer.alloc(1)), 0);
  },
);

socketTest(
  'recvInto() writes into the buffer that was given, also after a park and a collection',
  echo,
  (t, socket) => {
    const buffer = Buffer.alloc(4);
    const reader = spawn(() => socket.recvInto(buffer));
    idle();
    for (let round = 0; round < 100; round++) Array.from({ length: 1_000 }, () => ({ round }));
    socket.sendAll('data');
    const length = reader.get();
    t.is(buffer.toString('latin1', 0, length), 'data'.slice(0, length));
  },
);

socketTest('recvInto() throws ETIMEDOUT when its time is up', silent, (t, socket) => {
  t.throws(() => socket.recvInto(Buffer.alloc(1), { timeout: 5 }), { code: 'ETIMEDOUT' });
});

for (const [title, options] of [
  ['a negative offset', { offset: -1 }],
  ['an offset beyond the end', { offset: 11 }],
  ['a length beyond the end', { length: 11 }],
  ['offset and length beyond the end together', { offset: 6, length: 5 }],
] as const) {
  socketTest(
    `recvInto() refuses ${title}`,
    (socket) => void socket.write('x'),
    (t, socket) => {
      t.throws(() => socket.recvInto(Buffer.alloc(10), options), { instanceOf: RangeError });
      t.is(socket.recv(1).toString(), 'x');
    },
  );
}

socketTest('recvInto() refuses what is not a view of a buffer', silent, (t, socket) => {
  t.throws(() => socket.recvInto('buffer' as never), { instanceOf: TypeError });
});

socketTest('recvInto() refuses a view whose memory was given away', silent, (t, socket) => {
  const view = new Uint8Array(8);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  t.throws(() => socket.recvInto(view, { length: 8 }), { instanceOf: Error });
});

// send() and sendAll()

const payloads: [string, string | Uint8Array | ArrayBuffer | DataView][] = [
  ['a string, as UTF-8', 'abcdé'],
  ['a Buffer', Buffer.from('abcdé')],
  ['a part of a typed array', new Uint8Array([0, ...Buffer.from('abcdé'), 0]).subarray(1, 7)],
  ['an ArrayBuffer', new Uint8Array(Buffer.from('abcdé')).buffer as ArrayBuffer],
  ['a DataView', new DataView(new Uint8Array([0, ...Buffer.from('abcdé'), 0]).buffer, 1, 6)],
];

for (const [title, payload] of payloads) {
  socketTest(`sendAll() takes ${title}`, echo, (t, socket) => {
    socket.sendAll(payload);
    t.is(recvExactly(socket, 6).toString(), 'abcdé');
  });

  socketTest(`send() takes ${title}`, echo, (t, socket) => {
    t.is(socket.send(payload), 6);
    t.is(recvExactly(socket, 6).toString(), 'abcdé');
  });
}

socketTest('send() of nothing sends nothing', echo, (t, socket) => {
  t.is(socket.send(''), 0);
  socket.sendAll(Buffer.alloc(0));
  socket.sendAll('x');
  t.is(recvExactly(socket, 1).toString(), 'x');
});

socketTest('send() returns how much of the data fitted', silent, (t, socket) => {
  const sent = socket.send(Buffer.alloc(64 << 20));
  t.true(sent > 0 && sent < 64 << 20, String(sent));
});

socketTest(
  'send() parks while the buffers are full, and goes on when the peer reads',
  (socket) => {
    socket.pause();
    setTimeout(() => socket.resume(), 50);
  },
  (t, socket) => {
    const chunk = Buffer.alloc(1 << 20);
    let sent = 0;
    while (sent < 64 << 20) sent += socket.send(chunk);
    t.true(sent >= 64 << 20);
  },
);

socketTest('send() throws ETIMEDOUT while the buffers are full', silent, (t, socket) => {
  const error = thrownBy(() => {
    for (;;) socket.send(Buffer.alloc(1 << 20), 10);
  }) as SystemError;
  t.is(error.code, 'ETIMEDOUT');
});

socketTest('the limit of sendAll() is for all of it', silent, (t, socket) => {
  t.throws(() => socket.sendAll(Buffer.alloc(64 << 20), 20), { code: 'ETIMEDOUT' });
});

socketTest('sendAll() ends with the reason of its signal', silent, (t, socket) => {
  const abort = new AbortController();
  const reason = new Error('enough');
  setTimeout(() => abort.abort(reason), 10);
  t.throws(() => socket.sendAll(Buffer.alloc(64 << 20), { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
});

socketTest(
  'sendAll() sends the data it was given, though it changes while the greenlet is parked elsewhere',
  checksum,
  (t, socket) => {
    const data = pattern(1 << 20);
    const expected = sha1(data);
    socket.sendAll(data);
    data.fill(0);
    socket.shutdown('w');
    t.is(recvAll(socket).toString(), expected);
  },
);

socketTest(
  'a large transfer arrives whole though the peer reads slowly',
  (socket) => {
    const hash = createHash('sha1');
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      socket.pause();
      setImmediate(() => socket.resume());
    });
    socket.on('end', () => socket.end(hash.digest('hex')));
  },
  (t, socket) => {
    const data = pattern(8 << 20);
    socket.sendAll(data);
    socket.shutdown('w');
    t.is(recvAll(socket).toString(), sha1(data));
  },
);

socketTest('ten megabytes come back whole from an echo', echo, (t, socket) => {
  const data = pattern(10 << 20);
  const writer = spawn(() => {
    socket.sendAll(data);
    socket.shutdown('w');
  });
  t.is(sha1(recvAll(socket)), sha1(data));
  writer.get();
});

socketTest('a stream of small messages keeps its order', echo, (t, socket) => {
  const messages = Array.from({ length: 2_000 }, (_, index) => `message ${index}\n`);
  const writer = spawn(() => messages.forEach((message) => socket.sendAll(message)));
  t.is(recvExactly(socket, messages.join('').length).toString(), messages.join(''));
  writer.join();
});

/** Sends for ever, as fast as the client reads. */
function flood(socket: NodeSocket): void {
  const pour = () => {
    while (socket.write(Buffer.alloc(65_536)));
  };
  socket.on('drain', pour);
  pour();
}

socketTest('a greenlet whose data is always there lets others run', flood, (t, socket) => {
  let others = 0;
  let done = false;
  const other = spawn(() => {
    while (!done) {
      others++;
      sleep(0);
    }
  });
  // One byte at a time never has to wait: only a budget makes room for others.
  for (let count = 0; count < 20_000; count++) socket.recv(1);
  done = true;
  t.true(others > 10, String(others));
  other.join();
});

socketTest('a greenlet whose data is always there can be killed', flood, (t, socket) => {
  const reader = spawn(() => {
    for (;;) socket.recv(1);
  });
  sleep(20);
  reader.kill(undefined, 5_000);
  t.true((reader.value as unknown) instanceof GreenletExit);
});

socketTest('a timeout ends a greenlet whose data is always there', flood, (t, socket) => {
  const timeout = Timeout.startNew(20);
  const error = thrownBy(() => {
    for (const end = performance.now() + 10_000; performance.now() < end;) socket.recv(1);
  });
  t.is(error, timeout);
});

socketTest(
  'a greenlet that never has to wait to send can be killed',
  (socket) => void socket.resume(),
  (t, socket) => {
    const writer = spawn(() => {
      for (;;) socket.send('x');
    });
    sleep(20);
    writer.kill(undefined, 5_000);
    t.true((writer.value as unknown) instanceof GreenletExit);
  },
);

socketTest(
  'sendAll() to a peer that has gone throws EPIPE or ECONNRESET',
  (socket) => void socket.resetAndDestroy(),
  (t, socket) => {
    const error = thrownBy(() => {
      for (;;) {
        socket.sendAll('x');
        sleep(1);
      }
    }) as SystemError;
    t.true(['EPIPE', 'ECONNRESET'].includes(error.code!), error.code);
  },
);

// shutdown()

socketTest("shutdown('w') ends the stream for the peer, and reading goes on", checksum, (t, socket) => {
  socket.sendAll('data');
  socket.shutdown('w');
  t.is(recvAll(socket).toString(), sha1(Buffer.from('data')));
});

socketTest("send() after shutdown('w') throws EPIPE", silent, (t, socket) => {
  socket.shutdown('w');
  t.throws(() => socket.send('x'), { code: 'EPIPE' });
});

socketTest("shutdown('r') ends the stream for a parked reader", silent, (t, socket) => {
  const reader = spawn(() => socket.recv(1).length);
  idle();
  socket.shutdown('r');
  t.is(reader.get(), 0);
});

socketTest("shutdown('rw') ends both", silent, (t, socket) => {
  socket.shutdown('rw');
  t.is(socket.recv(1).length, 0);
  t.throws(() => socket.send('x'), { code: 'EPIPE' });
});

socketTest(
  'the peer may end its half first',
  (socket) => {
    socket.end('bye');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => Object.assign(globalThis, { receivedAfterEnd: Buffer.concat(chunks).toString() }));
  },
  (t, socket) => {
    t.is(recvAll(socket).toString(), 'bye');
    socket.sendAll('after your end');
    socket.close();
    const received = () => (globalThis as { receivedAfterEnd?: string }).receivedAfterEnd;
    while (received() === undefined) sleep(1);
    t.is(received(), 'after your end');
    Reflect.deleteProperty(globalThis, 'receivedAfterEnd');
  },
);

socketTest('shutdown() refuses what is neither r nor w nor rw', silent, (t, socket) => {
  t.throws(() => socket.shutdown('x' as never), { instanceOf: TypeError });
});

// close()

socketTest('close() twice is harmless', silent, (t, socket) => {
  socket.close();
  t.notThrows(() => socket.close());
});

socketTest(
  'close() tells the peer',
  (socket) => {
    socket.resume();
    socket.once('end', () => Object.assign(globalThis, { sawTheEnd: true }));
  },
  (t, socket) => {
    socket.close();
    for (let turn = 0; turn < 1000 && !('sawTheEnd' in globalThis); turn++) sleep(1);
    t.true('sawTheEnd' in globalThis);
    Reflect.deleteProperty(globalThis, 'sawTheEnd');
  },
);

socketTest('close() throws ECANCELED in whoever is parked in recv()', silent, (t, socket) => {
  const reader = spawn(() => thrownBy(() => socket.recv(1)));
  idle();
  socket.close();
  t.is((reader.get() as SystemError).code, 'ECANCELED');
});

socketTest('close() throws ECANCELED in whoever is parked in sendAll()', silent, (t, socket) => {
  const writer = spawn(() => thrownBy(() => socket.sendAll(Buffer.alloc(64 << 20))));
  sleep(10);
  socket.close();
  t.is((writer.get() as SystemError).code, 'ECANCELED');
});

socketTest('close() from a plain callback throws ECANCELED in whoever is parked', silent, (t, socket) => {
  setImmediate(() => socket.close());
  t.throws(() => socket.recv(1), { code: 'ECANCELED' });
});

for (const [call, use] of [
  ['recv()', (socket: Socket) => socket.recv(1)],
  ['recvInto()', (socket: Socket) => socket.recvInto(Buffer.alloc(1))],
  ['send()', (socket: Socket) => socket.send('x')],
  ['sendAll()', (socket: Socket) => socket.sendAll('x')],
  ['shutdown()', (socket: Socket) => socket.shutdown('w')],
] as const) {
  socketTest(`${call} on a closed socket throws an error with a code`, silent, (t, socket) => {
    socket.close();
    const error = thrownBy(() => use(socket)) as SystemError;
    t.true(error instanceof Error);
    t.regex(error.code!, /^E[A-Z_]+$/);
  });
}

// Several greenlets on one socket

socketTest('a second reader is refused, and the first is not disturbed', echo, (t, socket) => {
  const first = spawn(() => socket.recv(1).toString());
  idle();
  t.throws(() => socket.recv(1), { instanceOf: ConcurrentObjectUseError });
  socket.sendAll('x');
  t.is(first.get(), 'x');
});

socketTest('a second writer is refused, and the first is not disturbed', silent, (t, socket) => {
  const first = spawn(() => socket.sendAll(Buffer.alloc(64 << 20)));
  sleep(10);
  t.throws(() => socket.sendAll('x'), { instanceOf: ConcurrentObjectUseError });
  t.false(first.ready);
  first.kill();
});

socketTest('one greenlet may read while another writes', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(1).toString());
  const writer = spawn(() => socket.sendAll('x'));
  t.deepEqual([reader.get(), writer.get()], ['x', undefined]);
});

socketTest('after a killed reader another one may read', echo, (t, socket) => {
  const first = spawn(() => socket.recv(1));
  idle();
  first.kill();
  socket.sendAll('x');
  t.is(socket.recv(1).toString(), 'x');
});

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

for (const [title, length, type] of [
  ['a negative length', -1, RangeError],
  ['a length of NaN', NaN, TypeError],
  ['a length that is no number', '10', TypeError],
  ['a length that is no integer', 1.5, TypeError],
] as const) {
  socketTest(
    `recv() refuses ${title}`,
    (socket) => void socket.write('x'),
    (t, socket) => {
      const error = thrownBy(() => socket.recv(length as number));
      t.true(error instanceof TypeError || error instanceof RangeError, String(error));
      t.true(error instanceof type, `expected ${type.name}, got ${String(error)}`);
      t.is(socket.recv(1).toString(), 'x');
    },
  );
}

for (const [title, data] of [
  ['a number', 5],
  ['nothing', undefined],
  ['an object', {}],
  ['an array', [1, 2]],
] as const) {
  socketTest(`sendAll() refuses ${title}`, echo, (t, socket) => {
    t.throws(() => socket.sendAll(data as never), { instanceOf: TypeError });
    socket.sendAll('x');
    t.is(socket.recv(1).toString(), 'x');
  });

  socketTest(`send() refuses ${title}`, echo, (t, socket) => {
    t.throws(() => socket.send(data as never), { instanceOf: TypeError });
    socket.sendAll('x');
    t.is(socket.recv(1).toString(), 'x');
  });
}

socketTest('recv() refuses limits that are not limits', silent, (t, socket) => {
  t.throws(() => socket.recv(1, 'soon' as never), { instanceOf: TypeError });
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
