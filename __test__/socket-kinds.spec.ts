/** What only datagrams, Unix-domain sockets and sockets that listen can do. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer as createNodeServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConcurrentObjectUseError, GreenletExit, idle, sleep, spawn, waitFor } from 'greenstack';
import { createConnection, createServer, Socket, socketPair } from 'greenstack/socket';
import { openDescriptors } from './support/descriptors.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { hasIpv6 } from './support/network.js';
import { recvAll } from './support/streams.js';
import { freshName, freshPath } from './support/transports.js';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/** A bound UDP socket. */
function udp(host = '127.0.0.1'): Socket {
  const socket = new Socket({ type: 'datagram', family: host.includes(':') ? 6 : 4 });
  socket.bind({ host, port: 0 });
  return socket;
}

// UDP

for (const [title, host, available] of [
  ['IPv4', '127.0.0.1', true],
  ['IPv6', '::1', hasIpv6],
] as const) {
  hubTestIf(available, `datagrams over ${title} keep their bounds and tell their sender`, (t) => {
    using left = udp(host);
    using right = udp(host);
    t.is(left.sendTo('one', right.localAddress), 3);
    left.sendTo('', right.localAddress);
    left.sendTo(Buffer.alloc(1000, 'x'), right.localAddress);
    t.deepEqual(right.recvFrom(), { data: Buffer.from('one'), address: left.localAddress, truncated: false });
    t.is(right.recvFrom().data.length, 0, 'an empty datagram is one');
    const { data, truncated } = right.recvFrom(10);
    t.deepEqual([data.toString(), truncated], ['x'.repeat(10), true]);
  });
}

hubTest('recv() and recvInto() take datagrams too', (t) => {
  using left = udp();
  using right = udp();
  for (const text of ['one', 'two', 'three']) left.sendTo(text, right.localAddress);
  t.is(right.recv().toString(), 'one');
  const buffer = Buffer.alloc(5, '.');
  t.is(right.recvInto(buffer, { offset: 1, length: 2 }), 2);
  t.is(buffer.toString(), '.tw..');
  t.is(right.recv(3).toString(), 'thr');
});

hubTest('a datagram of the greatest size goes through, and a larger one is EMSGSIZE', (t) => {
  using left = udp();
  using right = udp();
  const largest = Buffer.alloc(65_507, 'x');
  left.sendTo(largest, right.localAddress);
  t.true(right.recvFrom().data.equals(largest));
  const error = thrownBy(() => left.sendTo(Buffer.alloc(65_508), right.localAddress)) as SystemError;
  t.deepEqual([error.code, error.syscall, error.port], ['EMSGSIZE', 'sendTo', right.localAddress.port]);
});

hubTest('a connected datagram socket sends and receives with one peer only', (t) => {
  using left = udp();
  using right = udp();
  using stranger = udp();
  left.connect(right.localAddress);
  t.deepEqual(left.remoteAddress, right.localAddress);
  stranger.sendTo('not for you', left.localAddress);
  left.sendAll('ping');
  t.deepEqual(right.recvFrom().address, left.localAddress);
  right.sendTo('pong', left.localAddress);
  t.is(left.recv().toString(), 'pong');
});

hubTest('a connected datagram socket whose peer has gone is ECONNREFUSED, once for each datagram', (t) => {
  using left = udp();
  const gone = udp();
  left.connect(gone.localAddress);
  gone.close();
  for (let round = 0; round < 3; round++) {
    left.send('x');
    t.throws(() => left.recv(), { code: 'ECONNREFUSED' });
    t.throws(() => left.recv(10, 0), { code: 'ETIMEDOUT' });
  }
});

hubTest('a parked receiver of datagrams is told that its peer has gone', (t) => {
  using left = udp();
  const gone = udp();
  left.connect(gone.localAddress);
  gone.close();
  const receiver = spawn(() => thrownBy(() => left.recvFrom()));
  idle();
  left.send('x');
  t.is((receiver.get() as SystemError).code, 'ECONNREFUSED');
});

hubTest('node:dgram is understood, both ways', (t) => {
  const node = createSocket('udp4');
  node.bind(0, '127.0.0.1');
  waitFor(once(node, 'listening'));
  node.on('message', (message, { port, address }) => node.send(`${String(message)}!`, port, address));
  using socket = udp();
  for (let round = 0; round < 100; round++) {
    socket.sendTo(`round ${round}`, { host: '127.0.0.1', port: node.address().port });
    t.is(socket.recvFrom().data.toString(), `round ${round}!`);
  }
  waitFor(new Promise<void>((resolve) => void node.close(resolve)));
});

hubTest('recvFrom() obeys its time, the timeout of the socket, kills and close()', (t) => {
  using socket = udp();
  t.throws(() => socket.recvFrom(10, 1), { code: 'ETIMEDOUT' });
  socket.timeout = 1;
  t.throws(() => socket.recvFrom(), { code: 'ETIMEDOUT' });
  socket.timeout = null;
  const victim = spawn(() => socket.recvFrom());
  idle();
  t.throws(() => socket.recvFrom(), { instanceOf: ConcurrentObjectUseError });
  victim.kill();
  t.true((victim.value as unknown) instanceof GreenletExit);
  const closed = spawn(() => thrownBy(() => socket.recvFrom()));
  idle();
  socket.close();
  t.is((closed.get() as SystemError).code, 'ECANCELED');
});

for (const [title, call] of [
  ['a name', (socket: Socket) => socket.sendTo('x', 'localhost:1')],
  ['a port that is none', (socket: Socket) => socket.sendTo('x', { host: '127.0.0.1', port: 70_000 })],
  ['data that is none', (socket: Socket) => socket.sendTo(5 as never, 1)],
  ['a negative size', (socket: Socket) => socket.recvFrom(-1)],
  ['a name to be bound', (socket: Socket) => socket.bind('localhost:1')],
] as const) {
  hubTest(`datagrams refuse ${title}`, (t) => {
    using socket = new Socket({ type: 'datagram' });
    const error = thrownBy(() => call(socket));
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
  });
}

// Unix-domain datagrams

for (const [title, fresh] of [
  ['paths', freshPath],
  ['abstract names', freshName],
] as const) {
  hubTest(`Unix-domain datagrams go between ${title}`, (t) => {
    const paths = [fresh(), fresh()] as const;
    using left = new Socket({ family: 'unix', type: 'datagram' });
    using right = new Socket({ family: 'unix', type: 'datagram' });
    left.bind({ path: paths[0] });
    right.bind({ path: paths[1] });
    left.sendTo('there', { path: paths[1] });
    const { data, address } = right.recvFrom();
    t.deepEqual([data.toString(), address?.address], ['there', paths[0]]);
    right.sendTo('and back', address!);
    t.is(left.recv().toString(), 'and back');
    using unnamed = new Socket({ family: 'unix', type: 'datagram' });
    unnamed.sendTo('from nobody', { path: paths[0] });
    t.is(left.recvFrom().address?.address ?? '', '');
    for (const path of paths) rmSync(path.replace('\0', '/nonexistent/'), { force: true });
  });
}

hubTest('sendTo() waits for room with a Unix-domain receiver, which no event tells of', (t) => {
  const path = freshName();
  using receiver = new Socket({ family: 'unix', type: 'datagram' });
  receiver.bind({ path });
  using sender = new Socket({ family: 'unix', type: 'datagram' });
  let sent = 0;
  const filler = spawn(() => {
    for (; sent < 2000; sent++) sender.sendTo(String(sent), { path });
  });
  sleep(5);
  t.true(sent < 2000, 'the queue is bounded');
  t.throws(() => sender.sendTo('no room', { path }, 0), { code: 'ETIMEDOUT' });
  for (let received = 0; received < 2000; received++) {
    if (received % 100 === 0) sleep(0);
    t.is(receiver.recv().toString(), String(received));
  }
  filler.get();
});

hubTest('connected Unix-domain datagrams wait for room, too', (t) => {
  const [left, right] = socketPair({ type: 'datagram' });
  const sender = spawn(() => {
    for (let index = 0; index < 5000; index++) left.send(`datagram ${index}`);
  });
  for (let index = 0; index < 5000; index++) {
    if (right.recv().toString() !== `datagram ${index}`) t.fail(`datagram ${index} is lost`);
  }
  sender.get();
  left.close();
  right.close();
  t.pass();
});

// Files of Unix-domain sockets

hubTest('createServer() makes a file, and removes it when it is closed', (t) => {
  const path = freshPath();
  const server = createServer({ path });
  t.true(statSync(path).isSocket());
  t.deepEqual(server.localAddress, { address: path, port: 0, family: 'unix' });
  server.close();
  t.false(existsSync(path));
});

hubTest('a file that is left of a socket is EADDRINUSE', (t) => {
  const path = freshPath();
  using abandoned = new Socket({ family: 'unix' });
  abandoned.bind({ path });
  abandoned.close();
  t.true(existsSync(path), 'bind() alone removes nothing');
  const before = openDescriptors();
  const error = thrownBy(() => createServer({ path })) as SystemError;
  t.deepEqual([error.code, error.syscall, error.address], ['EADDRINUSE', 'bind', path]);
  t.true(existsSync(path));
  t.is(openDescriptors(), before);
  unlinkSync(path);
  createServer({ path }).close();
});

hubTest('a file that has taken the place of the socket’s is not removed', (t) => {
  const path = freshPath();
  const old = createServer({ path });
  unlinkSync(path);
  using young = createServer({ path });
  old.close();
  t.true(existsSync(path));
  using _connection = createConnection({ path });
  young.accept().close();
  unlinkSync(path);
  writeFileSync(path, 'something else');
  young.close();
  t.true(existsSync(path));
  unlinkSync(path);
});

hubTest('a socket whose file has gone, or cannot be removed, is closed all the same', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'greenstack-'));
  const before = openDescriptors();
  const server = createServer({ path: join(directory, 'socket') });
  unlinkSync(join(directory, 'socket'));
  server.close();
  const other = createServer({ path: join(directory, 'socket') });
  chmodSync(directory, 0o500);
  other.close();
  t.is(openDescriptors(), before);
  chmodSync(directory, 0o700);
  rmSync(directory, { recursive: true });
});

hubTest('Unix-domain sockets of Node are understood, both ways', (t) => {
  const path = freshPath();
  const node = createNodeServer((socket) => void socket.end('from Node'));
  waitFor(new Promise<void>((resolve) => void node.listen(path, resolve)));
  using client = createConnection({ path });
  t.is(recvAll(client).toString(), 'from Node');
  client.close();
  waitFor(new Promise((resolve) => node.close(resolve)));
  using server = createServer({ path });
  const peer = connect(path);
  using accepted = server.accept();
  accepted.sendAll('from us');
  t.is(String(waitFor(once(peer, 'data'))), 'from us');
  peer.destroy();
});

// Listening

hubTest('accept() takes connections in order, with their addresses', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  const clients = Array.from({ length: 5 }, () => createConnection(server.localAddress));
  for (const client of clients) {
    using accepted = server.accept();
    t.deepEqual(accepted.remoteAddress, client.localAddress);
    t.deepEqual(accepted.localAddress, server.localAddress);
    client.close();
  }
});

hubTest('accept() obeys its time, kills and close()', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  t.throws(() => server.accept(0), { code: 'ETIMEDOUT' });
  t.throws(() => server.accept(1), { code: 'ETIMEDOUT' });
  const victim = spawn(() => server.accept());
  idle();
  t.throws(() => server.accept(), { instanceOf: ConcurrentObjectUseError });
  victim.kill();
  const closed = spawn(() => thrownBy(() => server.accept()));
  idle();
  server.close();
  t.is((closed.get() as SystemError).code, 'ECANCELED');
  t.throws(() => server.accept(), { code: 'EBADF' });
});

hubTest('a port in use is EADDRINUSE, and two sockets may share one with reusePort', (t) => {
  using first = createServer({ host: '127.0.0.1', port: 0 }, { reusePort: true });
  const address = first.localAddress;
  using second = createServer(address, { reusePort: true });
  t.deepEqual(second.localAddress, address);
  const error = thrownBy(() => createServer(address)) as SystemError;
  t.deepEqual([error.code, error.syscall, error.port], ['EADDRINUSE', 'bind', address.port]);
});

hubTestIf(hasIpv6, 'a server without a host takes both families, and with ipv6Only one', (t) => {
  using both = createServer(0);
  t.is(both.localAddress.address, '::');
  for (const host of ['127.0.0.1', '::1']) createConnection({ host, port: both.localAddress.port }).close();
  using only = createServer({ host: '::1', port: 0 }, { ipv6Only: true });
  t.throws(() => createConnection({ host: '127.0.0.1', port: only.localAddress.port }), {
    code: 'ECONNREFUSED',
  });
});

for (const [title, address, options] of [
  ['a backlog that is none', 0, { backlog: '5' }],
  ['a negative backlog', 0, { backlog: -1 }],
  ['a flag that is none', 0, { reuseAddr: 1 }],
  ['an empty path', { path: '' }, {}],
  ['a path with NUL inside', { path: 'a\0b' }, {}],
  ['a path that is none', { path: 5 }, {}],
] as const) {
  hubTest(`createServer() refuses ${title}`, (t) => {
    const error = thrownBy(() => createServer(address as never, options as never));
    t.true(error instanceof TypeError || error instanceof RangeError, String(error));
  });
}
