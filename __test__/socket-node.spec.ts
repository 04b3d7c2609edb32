/** Sockets from descriptors and from Node's, back to Node's, and files that are sent. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, createServer as createNodeServer, type Server, Socket as NodeSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { pathToFileURL } from 'node:url';
import { BlockingSwitchOutError, idle, run, sleep, spawn, waitFor } from 'greenstack';
import { createConnection, createServer, Socket, socketPair, type SocketTimeout } from 'greenstack/socket';
import test from 'ava';
import { openDescriptors } from './support/descriptors.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { listen } from './support/servers.js';
import { pattern, recvAll, recvExactly, sha1 } from './support/streams.js';
import { freshName } from './support/transports.js';

type SystemError = NodeJS.ErrnoException;

/** A connected pair of Node's. Switches. */
function nodePair(): { client: NodeSocket; server: NodeSocket; close(): void } {
  let server!: NodeSocket;
  const listening = listen((socket) => {
    server = socket;
  });
  const client = connect({ ...listening.address, allowHalfOpen: true });
  waitFor(once(client, 'connect'));
  while (server === undefined) idle();
  return {
    client,
    server,
    close() {
      client.destroy();
      listening[Symbol.dispose]();
    },
  };
}

// fromFd() and detach()

for (const [title, make, expected] of [
  ['a TCP connection', () => new Socket({ family: 4 }), [4, 'stream']],
  ['UDP over IPv6', () => new Socket({ family: 6, type: 'datagram' }), [6, 'datagram']],
  ['a Unix-domain socket', () => new Socket({ family: 'unix' }), ['unix', 'stream']],
] as const) {
  hubTest(`fromFd() finds out that it is ${title}`, (t) => {
    using socket = Socket.fromFd(make().detach());
    t.deepEqual([socket.family, socket.type], expected);
  });
}

hubTest(
  'detach() gives the descriptor away, and fromFd() takes it over, with all that is on its way',
  (t) => {
    const before = openDescriptors();
    const [left, right] = socketPair();
    right.sendAll('before');
    const { fd } = left;
    const descriptor = left.detach();
    t.is(descriptor, fd);
    t.true(left.closed);
    t.is(left.fd, -1);
    right.sendAll(', after');
    const again = Socket.fromFd(descriptor);
    t.is(recvExactly(again, 13).toString(), 'before, after');
    again.close();
    t.is(recvAll(right).length, 0);
    right.close();
    t.is(openDescriptors(), before);
  },
);

hubTest('detach() ends what is parked on the socket', (t) => {
  const [left, right] = socketPair();
  const reader = spawn(() => thrownBy(() => left.recv()));
  idle();
  const descriptor = left.detach();
  t.is((reader.get() as SystemError).code, 'ECANCELED');
  closeSync(descriptor);
  right.close();
});

hubTest('a listener that was inherited as a descriptor accepts', (t) => {
  using listener = Socket.fromFd(createServer({ host: '127.0.0.1', port: 0 }).detach());
  using client = createConnection(listener.localAddress);
  using server = listener.accept();
  client.sendAll('x');
  t.is(server.recv().toString(), 'x');
});

for (const [title, value, check] of [
  ['a negative number', -1, { instanceOf: RangeError }],
  ['a fraction', 1.5, { instanceOf: TypeError }],
  ['nothing', undefined, { instanceOf: TypeError }],
  ['a number that stands for nothing', 1_000_000, { code: 'EBADF' }],
] as const) {
  hubTest(`fromFd() refuses ${title}`, (t) => {
    t.throws(() => Socket.fromFd(value as number), check);
  });
}

hubTest('fromFd() refuses a file, which stays open', (t) => {
  const file = openSync(__filename, 'r');
  t.throws(() => Socket.fromFd(file), { code: 'ENOTSOCK' });
  t.is(readSync(file, Buffer.alloc(1)), 1);
  closeSync(file);
});

// From Node

hubTest('fromNode() goes on with a connection of Node’s, without the peer noticing', (t) => {
  const { client, server, close } = nodePair();
  using socket = Socket.fromNode(client);
  t.true(client.destroyed);
  t.is(socket.remoteAddress.port, server.localPort!);
  socket.sendAll('from us');
  t.is(String(waitFor(once(server, 'data'))), 'from us');
  server.write('to us');
  t.is(socket.recv().toString(), 'to us');
  let ended = false;
  server.on('end', () => (ended = true));
  sleep(1);
  t.false(ended);
  close();
});

hubTest('fromNode() receives first what Node has received, by whatever call', (t) => {
  const { client, server, close } = nodePair();
  server.write('0123456789');
  client.pause();
  while (client.readableLength < 10) sleep(1);
  using socket = Socket.fromNode(client);
  server.write('abc');
  t.is(socket.recv(2).toString(), '01');
  const buffer = Buffer.alloc(4, '.');
  t.is(socket.recvInto(buffer, { offset: 1, length: 3 }), 3);
  t.is(buffer.toString(), '.234');
  const file = socket.makeFile();
  t.is(file.read(8).toString(), '56789abc');
  close();
});

hubTest('fromNode() calls nobody who listened for data', (t) => {
  const { client, server, close } = nodePair();
  server.write('kept');
  client.pause();
  while (client.readableLength < 4) sleep(1);
  const seen: string[] = [];
  client.on('data', (chunk) => seen.push(String(chunk)));
  client.pause();
  using socket = Socket.fromNode(client);
  t.is(socket.recv().toString(), 'kept');
  t.deepEqual(seen, []);
  close();
});

hubTest('what was taken from Node and not received is neither forgotten nor given away', (t) => {
  const { client, server, close } = nodePair();
  server.write('kept');
  client.pause();
  while (client.readableLength < 4) sleep(1);
  const socket = Socket.fromNode(client);
  t.throws(() => socket.detach(), { code: 'EBUSY' });
  const again = socket.toNodeSocket();
  t.is(String(waitFor(once(again, 'data'))), 'kept');
  again.destroy();
  close();
});

for (const [title, make] of [
  ['a socket that connects', () => connect({ host: '127.0.0.1', port: 9 }).on('error', () => {})],
  ['a socket that is destroyed', () => new NodeSocket().destroy()],
  ['a TLSSocket', () => connectTls({ host: '127.0.0.1', port: 9 }).on('error', () => {})],
  ['what is no socket', () => ({})],
] as const) {
  hubTest(`fromNode() refuses ${title}`, (t) => {
    const socket = make();
    t.throws(() => Socket.fromNode(socket as NodeSocket), {
      instanceOf: TypeError,
      message: /^fromNode\(\)/,
    });
    if (socket instanceof NodeSocket) socket.destroy();
  });
}

hubTest('fromNode() refuses what has something left to send, or an encoding; they go on with Node', (t) => {
  const { client, server, close } = nodePair();
  const large = Buffer.alloc(16 << 20);
  server.pause();
  client.write(large);
  t.throws(() => Socket.fromNode(client), { instanceOf: TypeError, message: /drain/ });
  let received = 0;
  server.on('data', (chunk: Buffer) => (received += chunk.length)).resume();
  while (received < large.length) sleep(1);
  server.setEncoding('utf8');
  t.throws(() => Socket.fromNode(server), { instanceOf: TypeError, message: /encoding/ });
  close();
});

// To Node

hubTest('toNodeSocket() makes a net.Socket that works', (t) => {
  const before = openDescriptors();
  const [left, right] = socketPair();
  right.sendAll('early');
  const socket = left.toNodeSocket();
  t.true(left.closed);
  t.true(socket instanceof NodeSocket);
  t.is(String(waitFor(once(socket, 'data'))), 'early');
  socket.end('late');
  t.is(recvAll(right).toString(), 'late');
  right.close();
  waitFor(once(socket, 'close'));
  t.is(openDescriptors(), before);
});

hubTest('a connection goes to Node and back', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  let here = createConnection(server.localAddress);
  using there = server.accept();
  for (let round = 0; round < 10; round++) {
    there.sendAll(`round ${round}`);
    here = Socket.fromNode(here.toNodeSocket());
    t.is(recvExactly(here, 7).toString(), `round ${round}`);
  }
  here.close();
});

hubTest('toNodeSocket() refuses what is not connected', (t) => {
  using fresh = new Socket();
  t.throws(() => fresh.toNodeSocket(), { code: 'ENOTCONN' });
  using datagrams = new Socket({ type: 'datagram' });
  t.throws(() => datagrams.toNodeSocket(), { instanceOf: TypeError, message: /dgram/ });
  t.false(fresh.closed || datagrams.closed);
  fresh.close();
  t.throws(() => fresh.toNodeSocket(), { code: 'EBADF' });
});

hubTest('datagrams go to node:dgram as the error says', (t) => {
  const socket = new Socket({ type: 'datagram' });
  socket.bind({ host: '127.0.0.1', port: 0 });
  const { port } = socket.localAddress;
  const node = createSocket('udp4');
  node.bind({ fd: socket.detach() });
  using sender = new Socket({ type: 'datagram' });
  sender.sendTo('x', { host: '127.0.0.1', port });
  t.is(String((waitFor(once(node, 'message')) as [Buffer])[0]), 'x');
  node.close();
});

hubTest('toNodeServer() makes a net.Server that takes also who connected before', (t) => {
  const listener = createServer({ host: '127.0.0.1', port: 0 });
  using early = createConnection(listener.localAddress);
  const address = listener.localAddress;
  const server: Server = listener.toNodeServer();
  t.true(listener.closed);
  server.on('connection', (socket: NodeSocket) => socket.end('hello'));
  t.is(recvAll(early).toString(), 'hello');
  using late = createConnection(address);
  t.is(recvAll(late).toString(), 'hello');
  early.close();
  late.close();
  waitFor(new Promise((resolve) => server.close(resolve)));
});

hubTest('toNodeServer() refuses what does not listen', (t) => {
  using socket = new Socket();
  t.throws(() => socket.toNodeServer(), { instanceOf: TypeError });
});

// Files

const file = join(tmpdir(), `greenstack-${process.pid}-file`);
const content = pattern(3_000_000);
test.before(() => writeFileSync(file, content));
test.after.always(() => rmSync(file, { force: true }));

for (const [title, source] of [
  ['a path', () => file],
  ['a URL', () => pathToFileURL(file)],
  ['a path in bytes', () => Buffer.from(file)],
] as const) {
  hubTest(`sendFile() takes ${title}`, (t) => {
    const before = openDescriptors();
    const [left, right] = socketPair();
    const receiver = spawn(() => sha1(recvExactly(right, content.length)));
    t.is(left.sendFile(source()), content.length);
    t.is(receiver.get(), sha1(content));
    left.close();
    right.close();
    t.is(openDescriptors(), before);
  });
}

hubTest('sendFile() takes a descriptor and a FileHandle, which stay open where they are', (t) => {
  const [left, right] = socketPair();
  const handle = waitFor(open(file));
  const receiver = spawn(() => recvExactly(right, 20));
  t.is(left.sendFile(handle, { count: 10 }), 10);
  t.is(left.sendFile(handle.fd, { offset: 100, count: 10 }), 10);
  t.true(receiver.get().equals(Buffer.concat([content.subarray(0, 10), content.subarray(100, 110)])));
  const { bytesRead, buffer } = waitFor(handle.read(Buffer.alloc(5), 0, 5, null));
  t.is(bytesRead, 5);
  t.true(buffer.equals(content.subarray(0, 5)));
  waitFor(handle.close());
  left.close();
  right.close();
});

hubTest('sendFile() sends fewer bytes at the end of the file', (t) => {
  const [left, right] = socketPair();
  t.is(left.sendFile(file, { offset: content.length - 3, count: 10 }), 3);
  t.is(left.sendFile(file, { offset: content.length + 3 }), 0);
  t.is(left.sendFile(file, { count: 0 }), 0);
  t.true(recvExactly(right, 3).equals(content.subarray(-3)));
  left.close();
  right.close();
});

hubTest('sendFile() tells how much was sent when its time is up, and can go on from there', (t) => {
  const [left, right] = socketPair();
  const before = openDescriptors();
  const error = thrownBy(() => left.sendFile(file, { timeout: 0 })) as SocketTimeout;
  t.is(error.code, 'ETIMEDOUT');
  t.true(error.bytesSent! > 0 && error.bytesSent! < content.length);
  t.is(openDescriptors(), before);
  const receiver = spawn(() => sha1(recvExactly(right, content.length)));
  t.is(left.sendFile(file, { offset: error.bytesSent! }), content.length - error.bytesSent!);
  t.is(receiver.get(), sha1(content));
  left.close();
  right.close();
});

hubTest(
  'sendFile() sends another file neither if its descriptor is closed nor if that is used again',
  (t) => {
    const [left, right] = socketPair();
    const descriptor = openSync(file, 'r');
    const sender = spawn(() => left.sendFile(descriptor));
    idle();
    closeSync(descriptor);
    const other = openSync('/dev/null', 'r');
    t.is(sha1(recvExactly(right, content.length)), sha1(content));
    sender.get();
    closeSync(other);
    left.close();
    right.close();
  },
);

hubTest('a file that becomes shorter while it is sent ends there', (t) => {
  const shrinking = `${file}-shrinking`;
  writeFileSync(shrinking, content);
  const [left, right] = socketPair();
  const sender = spawn(() => left.sendFile(shrinking));
  idle();
  truncateSync(shrinking, 1000);
  const receiver = spawn(() => recvAll(right).length);
  const sent = sender.get();
  left.close();
  t.is(receiver.get(), sent);
  t.true(sent < content.length);
  right.close();
  rmSync(shrinking);
});

hubTest('sendFile() ends when the connection is closed', (t) => {
  const [left, right] = socketPair();
  const before = openDescriptors();
  const sender = spawn(() => thrownBy(() => left.sendFile(file)));
  idle();
  left.close();
  const error = sender.get() as SocketTimeout & SystemError;
  t.is(error.code as string, 'ECANCELED');
  t.true(error.bytesSent! > 0);
  right.close();
  t.is(openDescriptors(), before - 2);
});

for (const [title, call, check] of [
  ['a path that there is not', (socket: Socket) => socket.sendFile('/nonexistent'), { code: 'ENOENT' }],
  ['a directory', (socket: Socket) => socket.sendFile('/tmp'), { code: 'EINVAL' }],
  ['a descriptor that stands for nothing', (socket: Socket) => socket.sendFile(1_000_000), { code: 'EBADF' }],
  ['nothing', (socket: Socket) => socket.sendFile(undefined as never), { instanceOf: TypeError }],
  [
    'an object without a descriptor',
    (socket: Socket) => socket.sendFile({} as never),
    { instanceOf: TypeError },
  ],
  [
    'a negative offset',
    (socket: Socket) => socket.sendFile(file, { offset: -1 }),
    { instanceOf: RangeError },
  ],
  [
    'a count that is none',
    (socket: Socket) => socket.sendFile(file, { count: NaN }),
    { instanceOf: TypeError },
  ],
] as const) {
  hubTest(`sendFile() refuses ${title}`, (t) => {
    const before = openDescriptors();
    const [left, right] = socketPair();
    t.throws(() => call(left), check);
    left.close();
    t.throws(() => left.sendFile(file), { code: 'EBADF' });
    right.close();
    t.is(openDescriptors(), before);
  });
}

hubTest('a FIFO that nobody writes to does not keep sendFile() waiting', (t) => {
  const fifo = `${file}-fifo`;
  execFileSync('mkfifo', [fifo]);
  const [left, right] = socketPair();
  const result = (() => {
    try {
      return left.sendFile(fifo);
    } catch (error) {
      return (error as SystemError).code;
    }
  })();
  t.true([0, 'EINVAL', 'ESPIPE'].includes(result!), String(result));
  left.close();
  right.close();
  rmSync(fifo);
});

test.serial('sendFile() in plain code is refused', async (t) => {
  await run(() => {
    const [left, right] = socketPair();
    const error = waitFor(
      new Promise((resolve) => setImmediate(() => resolve(thrownBy(() => left.sendFile(file))))),
    );
    t.true(error instanceof BlockingSwitchOutError);
    left.close();
    right.close();
  });
});

// Beside Node

hubTest('what Node sends without a pause arrives unchanged', (t) => {
  const source = randomBytes(1 << 20);
  const rounds = 64;
  const server = createNodeServer({ allowHalfOpen: true }, (socket) => {
    let round = 0;
    const pour = (): void => {
      while (round < rounds) {
        round++;
        if (!socket.write(source)) return void socket.once('drain', pour);
      }
      socket.end();
    };
    pour();
    socket.resume();
  });
  waitFor(
    new Promise<void>((resolve) => server.listen({ path: freshName().replace('\0', '/tmp/') }, resolve)),
  );
  using socket = createConnection({ path: server.address() as string });
  let received = 0;
  let equal = true;
  const memory = Buffer.alloc(source.length);
  for (let filled = 0; ;) {
    const count = socket.recvInto(memory, { offset: filled });
    if (count === 0) break;
    received += count;
    filled = (filled + count) % memory.length;
    if (filled === 0) equal &&= memory.equals(source);
  }
  t.is(received, rounds * source.length);
  t.true(equal);
  socket.close();
  waitFor(new Promise((resolve) => server.close(resolve)));
});
