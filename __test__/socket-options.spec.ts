/** Options of sockets by name and by number, multicast groups, and scopes of addresses. */
import { networkInterfaces } from 'node:os';
import { createConnection, createServer, Socket, type SocketOptionName } from 'greenstack/socket';
import { thrownBy } from './support/greenlets.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { hasIpv6, linkLocal } from './support/network.js';

type SystemError = NodeJS.ErrnoException;

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_RCVTIMEO = 20;
const SO_KEEPALIVE = 9;

for (const [name, family, type, values] of [
  ['noDelay', 4, 'stream', [true, false]],
  ['keepAlive', 4, 'stream', [true, false]],
  ['keepAliveIdle', 4, 'stream', [1000, 60_000]],
  ['keepAliveInterval', 4, 'stream', [1000, 60_000]],
  ['keepAliveCount', 4, 'stream', [1, 127]],
  ['linger', 4, 'stream', [0, 5000, null]],
  ['reuseAddr', 4, 'stream', [true, false]],
  ['reusePort', 4, 'stream', [true, false]],
  ['broadcast', 4, 'datagram', [true, false]],
  ['ipv6Only', 6, 'stream', [true, false]],
  ['ttl', 4, 'stream', [1, 255]],
  ['ttl', 6, 'stream', [1, 255]],
  ['trafficClass', 4, 'stream', [0, 0xb8]],
  ['trafficClass', 6, 'stream', [0, 0xb8]],
  ['multicastTtl', 4, 'datagram', [0, 255]],
  ['multicastTtl', 6, 'datagram', [0, 255]],
  ['multicastLoop', 4, 'datagram', [false, true]],
  ['multicastLoop', 6, 'datagram', [false, true]],
] as const) {
  hubTestIf(
    family === 4 || hasIpv6,
    `${name} of a ${type} of family ${family} is what it was set to`,
    (t) => {
      using socket = new Socket({ family, type });
      for (const value of values) {
        socket.setOption(name, value as never);
        t.is(socket.getOption(name), value as never);
      }
    },
  );
}

hubTest('sizes of buffers are at least what they were set to', (t) => {
  using socket = new Socket();
  for (const name of ['receiveBufferSize', 'sendBufferSize'] as const) {
    socket.setOption(name, 20_000);
    t.true(socket.getOption(name) >= 20_000);
  }
});

hubTest('times are rounded up to what the system knows', (t) => {
  using socket = new Socket();
  socket.setOption('keepAliveIdle', 1);
  t.is(socket.getOption('keepAliveIdle'), 1000);
  socket.setOption('linger', 1200);
  t.is(socket.getOption('linger'), 2000);
});

hubTest('a socket that does not linger resets its connection', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  using socket = createConnection(server.localAddress);
  using peer = server.accept();
  socket.setOption('linger', 0);
  socket.close();
  t.throws(() => peer.recv(), { code: 'ECONNRESET' });
});

for (const [title, name, value, type] of [
  ['an unknown name', 'nodelay', true, TypeError],
  ['a name of objects', 'constructor', true, TypeError],
  ['no name', undefined, true, TypeError],
  ['a number for a flag', 'noDelay', 1, TypeError],
  ['nothing for a flag', 'noDelay', undefined, TypeError],
  ['a text for a time', 'keepAliveIdle', '1000', TypeError],
  ['NaN for a time', 'keepAliveIdle', NaN, TypeError],
  ['no time', 'keepAliveIdle', 0, RangeError],
  ['too long a time', 'keepAliveIdle', 1e9, RangeError],
  ['a fraction for a number', 'ttl', 1.5, TypeError],
  ['a ttl of 0', 'ttl', 0, RangeError],
  ['a ttl of 256', 'ttl', 256, RangeError],
  ['a negative size', 'receiveBufferSize', -1, RangeError],
  ['null for what is no linger', 'keepAliveIdle', null, TypeError],
  ['a negative linger', 'linger', -1, RangeError],
] as const) {
  hubTest(`setOption() refuses ${title}`, (t) => {
    using socket = new Socket();
    t.throws(() => socket.setOption(name as SocketOptionName, value as never), {
      instanceOf: type,
      message: /^setOption\(\)/,
    });
  });
}

hubTest('getOption() refuses an unknown name', (t) => {
  using socket = new Socket();
  t.throws(() => socket.getOption('nodelay' as SocketOptionName), {
    instanceOf: TypeError,
    message: /getOption\(\).*noDelay.*got 'nodelay'/,
  });
});

hubTest('an option that a socket does not have is an error of the system', (t) => {
  using socket = new Socket({ family: 'unix' });
  const error = thrownBy(() => socket.setOption('noDelay', true)) as SystemError;
  t.deepEqual([error.syscall, typeof error.code], ['setsockopt', 'string']);
  t.is((thrownBy(() => socket.getOption('noDelay')) as SystemError).syscall, 'getsockopt');
});

hubTest('options of a closed socket are EBADF', (t) => {
  const socket = new Socket();
  socket.close();
  t.throws(() => socket.setOption('noDelay', true), { code: 'EBADF' });
  t.throws(() => socket.getOption('noDelay'), { code: 'EBADF' });
  t.throws(() => socket.setOption(SOL_SOCKET, SO_KEEPALIVE, 1), { code: 'EBADF' });
  t.throws(() => socket.getOption(SOL_SOCKET, SO_KEEPALIVE), { code: 'EBADF' });
  t.throws(() => socket.joinGroup('224.0.0.99'), { code: 'EBADF' });
});

// By number

hubTest('an option by number is an int', (t) => {
  using socket = new Socket();
  t.is(socket.getOption(SOL_SOCKET, SO_TYPE), 1);
  socket.setOption(SOL_SOCKET, SO_KEEPALIVE, 1);
  t.is(socket.getOption(SOL_SOCKET, SO_KEEPALIVE), 1);
  t.true(socket.getOption('keepAlive'));
});

hubTest('an option by number may have any bytes', (t) => {
  using socket = new Socket();
  const time = Buffer.alloc(16);
  time.writeInt32LE(7);
  socket.setOption(SOL_SOCKET, SO_RCVTIMEO, time);
  t.deepEqual(socket.getOption(SOL_SOCKET, SO_RCVTIMEO, 16), time);
  t.is(socket.getOption(SOL_SOCKET, SO_RCVTIMEO, 100).length, 16);
});

hubTest('an option by a number that there is not is ENOPROTOOPT', (t) => {
  using socket = new Socket();
  t.throws(() => socket.setOption(SOL_SOCKET, 9999, 1), { code: 'ENOPROTOOPT' });
  t.throws(() => socket.getOption(SOL_SOCKET, 9999), { code: 'ENOPROTOOPT' });
});

hubTest('options by number refuse what is no number', (t) => {
  using socket = new Socket();
  const set = socket.setOption.bind(socket) as (...args: unknown[]) => void;
  const get = socket.getOption.bind(socket) as (...args: unknown[]) => void;
  t.throws(() => set(1.5, 1, 1), { instanceOf: TypeError });
  t.throws(() => set(1, '9', 1), { instanceOf: TypeError });
  t.throws(() => set(1, 9, 'x'), { instanceOf: TypeError });
  t.throws(() => set(1, 9, 2 ** 40), { instanceOf: RangeError });
  t.throws(() => get(1), { instanceOf: TypeError });
  t.throws(() => get(1, 9, 0), { instanceOf: RangeError });
});

// Multicast

/** Datagram sockets that receive what is sent to a group, by the loopback. */
function receiver(port = 0): Socket {
  const socket = new Socket({ type: 'datagram' });
  socket.setOption('reuseAddr', true);
  socket.bind({ host: '0.0.0.0', port });
  return socket;
}

const GROUP = '239.255.77.1';

hubTest('datagrams to a group come to whoever has joined it', (t) => {
  using first = receiver();
  using second = receiver(first.localAddress.port);
  using other = receiver();
  first.joinGroup(GROUP, '127.0.0.1');
  second.joinGroup(GROUP, 'lo');
  using sender = new Socket({ type: 'datagram' });
  sender.setMulticastInterface('lo');
  sender.sendTo('to all', { host: GROUP, port: first.localAddress.port });
  t.is(first.recvFrom().data.toString(), 'to all');
  t.is(second.recvFrom().data.toString(), 'to all');
  t.throws(() => other.recvFrom(10, 0), { code: 'ETIMEDOUT' });
});

hubTest('datagrams to a group do not come to who has left it', (t) => {
  using socket = receiver();
  socket.joinGroup(GROUP, 'lo');
  socket.leaveGroup(GROUP, 'lo');
  t.throws(() => socket.leaveGroup(GROUP, 'lo'), { code: 'EADDRNOTAVAIL' });
});

hubTestIf(hasIpv6, 'a group of IPv6 is joined on an interface', (t) => {
  using socket = new Socket({ family: 6, type: 'datagram' });
  socket.bind({ host: '::', port: 0 });
  socket.joinGroup('ff02::114', 'lo');
  t.throws(() => socket.joinGroup('ff02::114', 'lo'), { code: 'EADDRINUSE' });
  socket.leaveGroup('ff02::114', '::1');
});

for (const [title, call] of [
  ['a group that is no address', (socket: Socket) => socket.joinGroup('all')],
  ['a group of another family', (socket: Socket) => socket.joinGroup('ff02::114')],
  ['no group', (socket: Socket) => socket.joinGroup(undefined as never)],
  ['an interface that there is not', (socket: Socket) => socket.joinGroup(GROUP, 'none0')],
  ['an address that no interface has', (socket: Socket) => socket.joinGroup(GROUP, '192.0.2.77')],
  ['an interface that is no text', (socket: Socket) => socket.joinGroup(GROUP, 1 as never)],
  ['an interface to send by that there is not', (socket: Socket) => socket.setMulticastInterface('none0')],
] as const) {
  hubTest(`multicast refuses ${title}`, (t) => {
    using socket = receiver();
    t.throws(() => call(socket), { instanceOf: TypeError });
  });
}

// Scopes

hubTestIf(linkLocal !== undefined, 'the scope of an address may be a name or a number', (t) => {
  const { address = '', name = '' } = linkLocal ?? {};
  const scope = networkInterfaces()[name]!.find((entry) => entry.address === address) as { scopeid: number };
  using server = createServer({ host: `${address}%${name}`, port: 0 });
  t.is(server.localAddress.address, `${address}%${scope.scopeid}`);
  using byNumber = createConnection(server.localAddress);
  using _first = server.accept();
  using byName = createConnection(`[${address}%${name}]:${server.localAddress.port}`);
  using _second = server.accept();
  t.is(byNumber.remoteAddress.address, byName.remoteAddress.address);
});

for (const host of ['fe80::1%none0', 'fe80::1%', '127.0.0.1%lo', 'localhost%lo', 'fe80::1%lo%lo']) {
  hubTest(`an address with a scope refuses ${host}`, (t) => {
    t.throws(() => createConnection({ host, port: 1 }), {
      instanceOf: TypeError,
      message: /^createConnection\(\)/,
    });
  });
}
