import { closeSync, fstatSync } from 'node:fs';
import {
  ConcurrentObjectUseError,
  GreenletExit,
  idle,
  joinAll,
  killAll,
  sleep,
  spawn,
  Timeout,
  withTimeout,
} from 'greenstack';
import {
  createConnection,
  createServer,
  Socket,
  socketPair,
  waitRead,
  waitReadWrite,
  waitWrite,
} from 'greenstack/socket';
import { openDescriptors } from '../support/descriptors.js';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { closedPort, unreachable } from '../support/servers.js';
import { recvAll } from '../support/streams.js';

type SystemError = NodeJS.ErrnoException;

/** Both ends of a TCP connection. */
function tcpPair(): [Socket, Socket] {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  const client = createConnection(server.localAddress);
  return [client, server.accept()];
}

function closeAll(...sockets: Socket[]): void {
  for (const socket of sockets) socket.close();
}

hubTest('gevent.socket: blocks only the greenlet', (t) => {
  const [left, right] = tcpPair();
  const order: string[] = [];
  const reader = spawn(() => {
    order.push('reading');
    order.push(left.recv().toString());
  });
  const other = spawn(() => {
    order.push('running meanwhile');
    right.sendAll('read');
  });
  joinAll([reader, other]);
  t.deepEqual(order, ['reading', 'running meanwhile', 'read']);
  closeAll(left, right);
});

hubTest('gevent.socket.socket.close: whoever is parked on the socket gets an error', (t) => {
  const [left, right] = tcpPair();
  const reader = spawn(() => thrownBy(() => left.recv()));
  const writer = spawn(() => thrownBy(() => left.sendAll(Buffer.alloc(64 << 20))));
  sleep(1);
  left.close();
  t.deepEqual(
    [reader, writer].map((greenlet) => (greenlet.get() as SystemError).code),
    ['ECANCELED', 'ECANCELED'],
  );
  right.close();
});

hubTest('gevent.socket.socket.close: later use is EBADF, another close is nothing', (t) => {
  const [left, right] = tcpPair();
  left.close();
  left.close();
  for (const call of [
    () => left.recv(),
    () => left.send('x'),
    () => left.shutdown('rw'),
    () => left.accept(),
    () => left.bind(0),
    () => left.listen(),
    () => left.getOption('noDelay'),
  ])
    t.throws(call, { code: 'EBADF' });
  t.is(left.fd, -1);
  right.close();
});

hubTest('gevent.socket.socket.recv: two greenlets reading are refused, reading and writing is fine', (t) => {
  const [left, right] = tcpPair();
  const reader = spawn(() => left.recv().toString());
  idle();
  t.throws(() => left.recv(), { instanceOf: ConcurrentObjectUseError });
  left.sendAll('to the right');
  t.is(right.recv().toString(), 'to the right');
  right.sendAll('to the left');
  t.is(reader.get(), 'to the left');
  closeAll(left, right);
});

hubTest('gevent.socket.socket.sendall: its timeout is for all of it', (t) => {
  const [left, right] = tcpPair();
  left.timeout = 30;
  const reader = spawn(() => {
    for (;;) {
      right.recv(1000);
      sleep(1);
    }
  });
  // Each single write has room soon; all of them together do not.
  t.throws(() => left.sendAll(Buffer.alloc(64 << 20)), { code: 'ETIMEDOUT' });
  reader.kill();
  closeAll(left, right);
});

hubTest('gevent.socket.socket.sendall: nothing is sent of nothing', (t) => {
  const [left, right] = tcpPair();
  left.sendAll('');
  left.close();
  t.is(right.recv().length, 0);
  right.close();
});

hubTest('gevent.socket.socket.settimeout: receiving raises the timeout', (t) => {
  const [left, right] = tcpPair();
  left.timeout = 1;
  t.throws(() => left.recv(), { code: 'ETIMEDOUT' });
  left.timeout = 0;
  t.throws(() => left.recv(), { code: 'ETIMEDOUT' });
  right.sendAll('x');
  left.timeout = null;
  t.is(left.recv().toString(), 'x');
  closeAll(left, right);
});

hubTest('gevent.socket.socket.makefile: reading obeys the timeout of the socket', (t) => {
  const [left, right] = tcpPair();
  const file = left.makeFile();
  left.timeout = 1;
  right.sendAll('no end of a line');
  t.throws(() => file.readLine(), { code: 'ETIMEDOUT' });
  closeAll(left, right);
});

hubTest('gevent.socket.socket.makefile: reads all to the end', (t) => {
  const [left, right] = tcpPair();
  const sender = spawn(() => {
    for (let index = 0; index < 100; index++) right.sendAll(`line ${index}\n`);
    right.close();
  });
  t.is([...left.makeFile()].length, 100);
  sender.get();
  left.close();
});

hubTest('gevent.socket.socket.shutdown: interrupts waiting reads', (t) => {
  const [left, right] = tcpPair();
  const reader = spawn(() => left.recv().length);
  idle();
  left.shutdown('r');
  t.is(reader.get(), 0);
  closeAll(left, right);
});

hubTest('gevent.socket.socket.detach: the descriptor stays open', (t) => {
  const [left, right] = tcpPair();
  const descriptor = left.detach();
  t.true(left.closed);
  t.true(fstatSync(descriptor).isSocket());
  closeSync(descriptor);
  t.is(recvAll(right).length, 0);
  right.close();
});

hubTest('gevent.socket.socket.connect: checks what has become of it', (t) => {
  using socket = new Socket();
  t.throws(() => socket.connect({ host: '127.0.0.1', port: closedPort() }), { code: 'ECONNREFUSED' });
});

hubTest('gevent.socket.socket.connect: its timeout is for the whole of it', (t) => {
  using host = unreachable();
  using socket = new Socket();
  socket.timeout = 5;
  t.throws(() => socket.connect(host.address), { code: 'ETIMEDOUT' });
});

hubTest('gevent.socket.create_connection: a kill or Timeout closes the socket at once', (t) => {
  using host = unreachable();
  const before = openDescriptors();
  const victims = Array.from({ length: 3 }, () => spawn(() => createConnection(host.address)));
  sleep(1);
  t.is(openDescriptors(), before + 3);
  killAll(victims);
  t.is(openDescriptors(), before);
  t.is(
    withTimeout(1, () => createConnection(host.address), { timeoutValue: null }),
    null,
  );
  t.is(openDescriptors(), before);
});

hubTest('gevent.socket.create_server: accepts what create_connection connects', (t) => {
  using server = createServer({ host: '127.0.0.1', port: 0 });
  const accepting = spawn(() => server.accept());
  using client = createConnection(server.localAddress);
  using accepted = accepting.get();
  t.deepEqual(accepted.remoteAddress, client.localAddress);
});

hubTest('gevent.socket.socketpair: gives two connected sockets', (t) => {
  const [left, right] = socketPair();
  left.sendAll('x');
  t.is(right.recv().toString(), 'x');
  closeAll(left, right);
});

hubTest('gevent.socket.fromfd: gives a socket for a descriptor', (t) => {
  const [left, right] = socketPair();
  using again = Socket.fromFd(left.detach());
  again.sendAll('x');
  t.is(right.recv().toString(), 'x');
  right.close();
});

hubTest('gevent.socket.wait_read: returns when there is something to read', (t) => {
  const [left, right] = socketPair();
  const waiting = spawn(() => waitRead(left.fd));
  idle();
  t.false(waiting.ready);
  right.sendAll('x');
  waiting.get();
  t.is(left.recv().toString(), 'x');
  closeAll(left, right);
});

hubTest('gevent.socket.wait_write, wait_readwrite: return when there is room', (t) => {
  const [left, right] = socketPair();
  t.notThrows(() => waitWrite(left));
  t.is(waitReadWrite(left), 'w');
  closeAll(left, right);
});

hubTest('gevent.socket.wait_read: raises timeout_exc when its time is up', (t) => {
  const [left, right] = socketPair();
  t.throws(() => waitRead(left, 1), { code: 'ETIMEDOUT' });
  const error = new RangeError('too late');
  t.throws(() => waitRead(left, new Timeout(1, error)), { is: error });
  closeAll(left, right);
});

hubTest('gevent.socket.cancel_wait: closing the socket cancels the wait', (t) => {
  const [left, right] = socketPair();
  const waiting = spawn(() => thrownBy(() => waitRead(left)));
  idle();
  left.close();
  t.is((waiting.get() as SystemError).code, 'ECANCELED');
  right.close();
});

hubTest('gevent.socket: a killed greenlet leaves its socket usable', (t) => {
  const [left, right] = tcpPair();
  const victim = spawn(() => left.recv());
  idle();
  victim.kill();
  t.true((victim.value as unknown) instanceof GreenletExit);
  right.sendAll('x');
  t.is(left.recv().toString(), 'x');
  closeAll(left, right);
});

hubTest('gevent.socket: cannot be pickled', (t) => {
  using socket = new Socket();
  t.is((thrownBy(() => structuredClone(socket)) as Error).name, 'DataCloneError');
});
