import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { connect as connectByNode } from 'node:net';
import { connect as connectByNodeTls } from 'node:tls';
import { createSocket } from 'node:dgram';
import { execFile, spawn as spawnProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AsyncLocalStorage } from 'node:async_hooks';
import { promisify } from 'node:util';
import test from 'ava';
import {
  BlockingSwitchOutError,
  GreenletExit,
  ConcurrentObjectUseError,
  getHub,
  idle,
  joinAll,
  sleep,
  spawn,
  TaskGroup,
  Timeout,
  wait,
  waitFor,
} from 'greenstack';
import { Group, Pool } from 'greenstack/pool';
import { DatagramServer, StreamServer } from 'greenstack/server';
import { createConnection, createServer, Socket, type SocketAddress, socketPair } from 'greenstack/socket';
import {
  connect as connectByTls,
  createSecureContext,
  type TlsConnectOptions,
  TlsSocket,
} from 'greenstack/tls';
import { pki } from './support/certificates.js';
import { openDescriptors } from './support/descriptors.js';
import { Gate, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { ask, drain, echo, exchange, readAll, reportsOf, serve, until } from './support/stream-servers.js';

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

/** A directory for one test. */
class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'greenstack-'));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

// ---- arguments

hubTest('what is no listener is refused', (t) => {
  const wrong = [
    undefined,
    null,
    true,
    {},
    -1,
    70_000,
    1.5,
    '',
    'localhost',
    { host: 'x', port: -1 },
    { path: '' },
    { fd: -1 },
    { fd: 'x' },
  ];
  for (const listener of wrong)
    t.throws(() => new StreamServer(listener as never, echo), { message: /new StreamServer\(\)/ });
});

hubTest('what is no option is refused', (t) => {
  const wrong: Array<[object, RegExp]> = [
    [{ spawn: 'other' }, /spawn/],
    [{ spawn: undefined, maxAccept: Number.NaN }, /maxAccept/],
    [{ spawn: Number.NaN }, /size/],
    [{ spawn: 0 }, /size/],
    [{ minDelay: 'x' }, /minDelay/],
    [{ maxDelay: Number.NaN }, /maxDelay/],
    [{ stopTimeout: {} }, /stopTimeout/],
    [{ noDelay: 1 }, /noDelay/],
    [{ awaitData: 'yes' }, /awaitData/],
    [{ shutdownOnSignal: 1 }, /shutdownOnSignal/],
    [{ workers: 0 }, /workers/],
    [{ workers: Infinity }, /workers/],
  ];
  for (const [options, message] of wrong)
    t.throws(
      () => new StreamServer('127.0.0.1:0', echo, options as never),
      { message },
      JSON.stringify(options),
    );
  t.throws(() => new StreamServer('127.0.0.1:0', echo, 5 as never), { instanceOf: TypeError });
  t.throws(() => new DatagramServer('127.0.0.1:0', () => {}, { maxSize: 0 }), { message: /maxSize/ });
});

hubTest('a socket of the wrong type is refused', (t) => {
  using datagrams = new Socket({ type: 'datagram' });
  using stream = new Socket();
  t.throws(() => new StreamServer(datagrams, echo), { instanceOf: TypeError, message: /stream socket/ });
  t.throws(() => new DatagramServer(stream, () => {}), { instanceOf: TypeError, message: /datagram socket/ });
});

hubTest('a closed socket is refused', (t) => {
  const socket = createServer('127.0.0.1:0');
  socket.close();
  t.is(codeOf(thrownBy(() => new StreamServer(socket, echo))), 'EBADF');
});

hubTest('options of listening are passed on', (t) => {
  using first = new StreamServer('127.0.0.1:0', echo, { reusePort: true });
  first.start();
  using second = new StreamServer({ host: '127.0.0.1', port: first.port }, echo, {
    reusePort: true,
    backlog: 1,
  });
  second.start();
  t.is(second.port, first.port);
  using only6 = new StreamServer('[::]:0', echo, { ipv6Only: true });
  only6.start();
  t.is(codeOf(thrownBy(() => createConnection({ host: '127.0.0.1', port: only6.port }))), 'ECONNREFUSED');
});

hubTest('connections send small pieces at once unless told otherwise', (t) => {
  for (const noDelay of [true, false]) {
    let found: unknown;
    using server = serve(
      (socket) => {
        found = socket.getOption('noDelay');
        socket.sendAll('x');
      },
      { noDelay },
    );
    ask(server);
    t.is(found, noDelay);
  }
});

// ---- descriptors

hubTest('an inherited descriptor is listened on, and closed with the server', (t) => {
  const before = openDescriptors();
  const fd = createServer('127.0.0.1:0').detach();
  const server = new StreamServer({ fd }, echo);
  server.start();
  t.true(server.port > 0);
  t.is(ask(server, 'hello'), 'hello');
  until(() => server.activeCount === 0);
  server.stop();
  t.is(openDescriptors(), before);
  t.is(codeOf(thrownBy(() => server.start())), 'EBADF');
});

hubTest('a descriptor that is no socket of the right type is refused and left alone', (t) => {
  const [left, right] = socketPair({ type: 'datagram' });
  const fd = left.detach();
  const before = openDescriptors();
  t.throws(() => new StreamServer({ fd }, echo).start(), { instanceOf: TypeError });
  t.is(codeOf(thrownBy(() => new StreamServer({ fd: 9999 }, echo).start())), 'EBADF');
  const file = openSync('/dev/null', 'r');
  t.is(codeOf(thrownBy(() => new StreamServer({ fd: file }, echo).start())), 'ENOTSOCK');
  closeSync(file);
  const [connected, peer] = socketPair();
  const stream = connected.detach();
  t.is(codeOf(thrownBy(() => new StreamServer({ fd: stream }, echo).start())), 'EINVAL');
  closeSync(stream);
  peer.close();
  t.is(openDescriptors(), before);
  const server = new DatagramServer({ fd }, () => {});
  server.start();
  server.stop();
  right.close();
});

// ---- Unix-domain

hubTest('a path is listened on, and its file removed', (t) => {
  using directory = new Directory();
  const path = join(directory.path, 'socket');
  using server = new StreamServer({ path }, echo);
  server.start();
  t.deepEqual(server.address, { address: path, port: 0, family: 'unix' });
  using socket = createConnection({ path });
  t.is(exchange(socket, 'hello'), 'hello');
  server.stop();
  t.false(existsSync(path));
});

hubTest('the file of another server that has the path by now is left alone', (t) => {
  using directory = new Directory();
  const path = join(directory.path, 'socket');
  using first = new StreamServer(`unix:${path}`, echo);
  first.start();
  rmSync(path);
  using second = new StreamServer({ path }, echo);
  second.start();
  first.stop();
  t.true(existsSync(path));
  using socket = createConnection({ path });
  t.is(exchange(socket, 'hello'), 'hello');
});

hubTest('an abstract name is listened on', (t) => {
  const path = `\0greenstack-${process.pid}`;
  using server = new StreamServer({ path }, echo);
  server.start();
  using socket = createConnection({ path });
  t.is(exchange(socket, 'hello'), 'hello');
});

// ---- life

test.serial('a server is started and awaited by plain code', async (t) => {
  const server = new StreamServer('127.0.0.1:0', echo);
  server.start();
  const client = connectByNode(server.port, '127.0.0.1');
  client.end('hello');
  t.is(String((await once(client, 'data'))[0]), 'hello');
  await once(client, 'close');
  setImmediate(() => server.close());
  await server.closed;
  t.false(server.started);
});

hubTest('the end of a server can be joined, and waited for with others', (t) => {
  using server = serve(echo);
  t.false(server.closed.join(10));
  t.false(server.closed.join(0));
  const other = spawn(() => sleep(5));
  t.deepEqual(wait([server.closed, other], { count: 1 }), [other]);
  spawn(() => server.close());
  t.true(server.closed.join());
});

hubTest('stop in the hub is refused if it has to wait, and changes nothing', (t) => {
  using server = serve(parkForLong, { spawn: 2, stopTimeout: 0 });
  using _client = createConnection(server.address);
  until(() => server.activeCount === 1);
  const error = waitFor(
    new Promise((resolve) => setImmediate(() => resolve(thrownBy(() => server.stop(10))))),
  );
  t.true(error instanceof BlockingSwitchOutError);
  t.true(server.started);
});

hubTest('a timeout around serveForever stops the server and is thrown', (t) => {
  const server = new StreamServer('127.0.0.1:0', drain, { spawn: 2 });
  const limit = new Timeout(20);
  t.is(
    thrownBy(() => {
      using _limit = limit;
      limit.start();
      server.serveForever(0);
    }),
    limit,
  );
  t.false(server.started);
});

hubTest('greenlets that send datagrams at the same time wait no longer than they are told', (t) => {
  const server = new DatagramServer('127.0.0.1:0', () => {});
  server.start();
  t.is(codeOf(thrownBy(() => server.sendTo('x', 'nowhere:1'))), undefined);
  t.is(server.sendTo('x', server.address, 1000), 1);
  server.stop();
});

hubTest('a handler may stop its own server', (t) => {
  const server = serve(
    (socket) => {
      socket.recv();
      server.stop();
      socket.sendAll('stopped');
    },
    { spawn: 3 },
  );
  t.is(ask(server), 'stopped');
  t.false(server.started);
});

hubTest('stop closes connections that wait for room in the pool or for their first bytes', (t) => {
  const gate = new Gate();
  const pass = (socket: Socket): void => {
    socket.recv();
    gate.pass();
  };
  const server = serve(pass, { spawn: 1, awaitData: true, stopTimeout: 0 });
  using first = createConnection(server.address);
  first.sendAll('x');
  until(() => server.activeCount === 1);
  t.is(server.idleCount, 0);
  server.setSpawn(new Pool(10));
  using silent = createConnection(server.address);
  until(() => server.idleCount === 1);
  server.stop();
  t.is(readAll(silent), '');
  gate.open();
  t.is(readAll(first), '');
  until(() => server.activeCount === 0);
});

hubTest('a timeout and an aborted signal end the wait of stop', (t) => {
  const server = serve(parkForLong, { spawn: 2 });
  using _client = createConnection(server.address);
  until(() => server.activeCount === 1);
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error('enough')), 5);
  t.is(
    (thrownBy(() => server.stop({ timeout: null, signal: controller.signal })) as Error).message,
    'enough',
  );
  t.false(server.started);
  const limit = new Timeout(5);
  server.stop(limit);
  t.is(server.activeCount, 0);
});

hubTest('handlers inherit the async context of start', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  for (const awaitData of [false, true]) {
    using server = new StreamServer(
      '127.0.0.1:0',
      (socket) => {
        seen.push(storage.getStore());
        socket.sendAll('x');
      },
      { awaitData },
    );
    storage.run('of start', () => server.start());
    ask(server);
  }
  t.deepEqual(seen, ['of start', 'of start']);
});

hubTest('a server shows where it listens', (t) => {
  using server = serve(echo);
  t.is(String(server), `<StreamServer at 127.0.0.1:${server.port}>`);
  server.stop();
  t.regex(String(server), /closed/);
});

hubTest('a socket that another greenlet accepts on cannot be served', (t) => {
  const listener = createServer('127.0.0.1:0');
  const accepting = spawn(() => thrownBy(() => listener.accept()));
  idle();
  const server = new StreamServer(listener, echo);
  t.throws(() => server.start(), { instanceOf: ConcurrentObjectUseError });
  t.false(server.started);
  t.is(codeOf(accepting.get()), 'ECANCELED');
});

// ---- handlers

hubTest('an async handler is waited for, and its error reported', (t) => {
  const reports = reportsOf(() => {
    for (const spawnMode of ['default', null] as const) {
      using server = serve(
        async (socket) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          socket.sendAll('later', 0);
          throw new Error('async');
        },
        { spawn: spawnMode },
      );
      using socket = createConnection(server.address);
      t.is(readAll(socket), 'later');
    }
  });
  t.deepEqual(
    reports.map(([, { message }]) => message),
    ['async', 'async'],
  );
});

hubTest('a handler that is killed before it has begun leaves no connection open', (t) => {
  const before = openDescriptors();
  const group = new Group();
  const server = serve(() => t.fail('it has begun'), {
    spawn: (fn, ...args) => {
      const greenlet = group.spawn(fn, ...args);
      greenlet.kill(undefined, { block: false });
      return greenlet;
    },
  });
  using socket = createConnection(server.address);
  t.is(readAll(socket), '');
  server.stop();
  socket.close();
  t.is(server.activeCount, 0);
  t.is(openDescriptors(), before);
});

hubTest('handlers may run in a task group', (t) => {
  TaskGroup.run((group) => {
    const server = serve(echo, { spawn: (fn, ...args) => group.spawn(fn, ...args) });
    t.is(ask(server, 'hello'), 'hello');
    server.stop();
  });
});

hubTest('a killed handler closes its connection and is not reported', (t) => {
  const reports = reportsOf(() => {
    const group = new Group();
    using server = serve(drain, { spawn: group });
    using socket = createConnection(server.address);
    until(() => group.count === 1);
    const [handler] = group;
    handler!.kill();
    t.is(readAll(socket), '');
    t.true((handler as { value?: unknown }).value instanceof GreenletExit);
  });
  t.deepEqual(reports, []);
});

hubTest('changing the pool lets a server go on that has waited for room', (t) => {
  const gate = new Gate();
  let begun = 0;
  using server = serve(
    () => {
      begun++;
      gate.pass();
    },
    { spawn: 1 },
  );
  const clients = [1, 2, 3].map(() => createConnection(server.address));
  until(() => begun === 1 && !server.accepting);
  server.setSpawn('default');
  until(() => begun === 3);
  t.is(server.activeCount, 3);
  gate.open();
  for (const client of clients) client.close();
});

// ---- connections without a stack

hubTest('awaitData: a connection has no handler until its first bytes come', (t) => {
  let begun = 0;
  using server = serve(
    (socket) => {
      begun++;
      echo(socket);
    },
    { awaitData: true },
  );
  using socket = createConnection(server.address);
  until(() => server.idleCount === 1);
  sleep(5);
  t.deepEqual([begun, server.activeCount], [0, 0]);
  t.is(exchange(socket, 'hello'), 'hello');
  t.deepEqual([begun, server.activeCount, server.idleCount], [1, 1, 0]);
});

hubTest('awaitData: the end of a connection that has sent nothing calls the handler', (t) => {
  const received: number[] = [];
  using server = serve((socket) => void received.push(socket.recv().length), { awaitData: true });
  createConnection(server.address).close();
  until(() => received.length === 1);
  t.deepEqual(received, [0]);
});

hubTest('awaitData: a client that resets before it has sent anything does no harm', (t) => {
  const reports = reportsOf(() => {
    using server = serve(drain, { awaitData: true });
    const client = connectByNode(server.port, '127.0.0.1');
    until(() => server.idleCount === 1);
    client.resetAndDestroy();
    until(() => server.idleCount === 0 && server.activeCount === 0);
    using socket = createConnection(server.address);
    socket.sendAll('still there');
  });
  t.deepEqual(
    reports.map(([, error]) => codeOf(error)),
    ['ECONNRESET'],
  );
});

hubTest('awaitData: those whose bytes have come wait for room in the pool, in their order', (t) => {
  const gates = [new Gate(), new Gate(), new Gate()];
  const order: string[] = [];
  using server = serve(
    (socket) => {
      order.push(socket.recv().toString());
      gates[order.length - 1]!.pass();
    },
    { awaitData: true, spawn: 1 },
  );
  const clients = ['a', 'b', 'c'].map(() => createConnection(server.address));
  until(() => server.idleCount === 3);
  for (const [index, name] of ['a', 'b', 'c'].entries()) {
    clients[index]!.sendAll(name);
    until(() => server.idleCount === 2 - index);
  }
  t.deepEqual(order, ['a']);
  for (const gate of gates) {
    gate.open();
    idle();
  }
  until(() => order.length === 3);
  t.deepEqual(order, ['a', 'b', 'c']);
  for (const client of clients) client.close();
});

hubTest('awaitData: close lets connections go on that have sent nothing', (t) => {
  const server = serve(echo, { awaitData: true });
  using socket = createConnection(server.address);
  until(() => server.idleCount === 1);
  server.close();
  t.is(exchange(socket, 'after close'), 'after close');
});

// ---- what clients do

hubTest('clients that reset before they are accepted do no harm', (t) => {
  using server = serve(drain);
  server.stopAccepting();
  const clients = Array.from({ length: 20 }, () => connectByNode(server.port, '127.0.0.1'));
  waitFor(Promise.all(clients.map((client) => once(client, 'connect'))));
  for (const client of clients) client.resetAndDestroy();
  const reports = reportsOf(() => {
    server.startAccepting();
    using socket = createConnection(server.address);
    socket.sendAll('x');
    until(() => server.activeCount === 1);
  });
  t.deepEqual([...new Set(reports.map(([, error]) => codeOf(error)))], ['ECONNRESET']);
});

hubTest('a slow client stops neither others nor the memory of the server from being bounded', (t) => {
  const block = Buffer.alloc(1 << 16);
  let [sent, full] = [0, false];
  using server = serve((socket) => {
    if (socket.recv()[0] !== 115) return socket.sendAll('fast');
    for (;;) {
      try {
        sent += socket.send(block, 0);
      } catch {
        full = true;
        sent += socket.send(block);
      }
    }
  });
  const reports = reportsOf(() => {
    const slow = createConnection(server.address);
    slow.sendAll('slow');
    until(() => full);
    t.is(ask(server, 'f'), 'fast');
    t.true(sent < 64 << 20, `${sent} bytes`);
    slow.close();
    until(() => server.activeCount === 0);
  });
  t.is(reports.length, 1);
});

hubTest('an end of the client that comes early leaves the other direction open', (t) => {
  using server = serve((socket) => socket.sendAll(`received ${readAll(socket)}`));
  using socket = createConnection(server.address);
  socket.sendAll('all of it');
  socket.shutdown('w');
  t.is(readAll(socket), 'received all of it');
});

hubTest('socat talks to it by TCP and by a path', (t) => {
  using directory = new Directory();
  using byPath = new StreamServer({ path: join(directory.path, 'socket') }, echo);
  using byPort = serve(echo);
  byPath.start();
  for (const target of [`TCP:127.0.0.1:${byPort.port}`, `UNIX-CONNECT:${byPath.host}`]) {
    const child = spawnProcess('socat', ['-t5', '-', target], { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    child.stdin.end('from socat');
    waitFor(once(child, 'close'));
    t.is(text, 'from socat');
  }
});

hubTest('curl gets what a handler sends', (t) => {
  using server = serve((socket) => {
    let head = '';
    while (!head.includes('\r\n\r\n')) head += socket.recv().toString();
    socket.sendAll(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n${head.slice(0, 5)}`);
  });
  const { stdout } = waitFor(
    promisify(execFile)('curl', ['--silent', '--show-error', `http://127.0.0.1:${server.port}/path`]),
  );
  t.is(stdout, 'GET /');
});

hubTest('many clients at once are all served, and nothing is left', (t) => {
  const before = openDescriptors();
  const server = serve(echo, { maxAccept: 3 });
  const clients = Array.from({ length: 200 }, (_, number) =>
    spawn(() => {
      using socket = createConnection(server.address);
      return exchange(socket, `${number}`);
    }),
  );
  joinAll(clients, { raiseError: true });
  t.deepEqual(
    clients.map(({ value }) => value),
    clients.map((_, number) => `${number}`),
  );
  until(() => server.activeCount === 0);
  server.stop();
  t.is(openDescriptors(), before);
  t.is(getHub().stats().sockets, 0);
});

for (const [maxAccept, rounds] of [
  [undefined, 1],
  [100, 3],
] as const) {
  hubTest(
    `with maxAccept: ${maxAccept}, 250 connections are taken in ${rounds} rounds of 300 who are ready`,
    (t) => {
      let round = 0;
      let stopped = false;
      const taken: number[] = [];
      const handle = (socket: Socket): void => {
        taken.push(round);
        socket.close();
      };
      using server = serve(handle, { maxAccept, spawn: null });
      server.stopAccepting();
      const clients = Array.from({ length: 250 }, () => createConnection(server.address));
      const others = Array.from({ length: 300 }, (_, index) =>
        spawn(() => {
          while (!stopped) {
            if (index === 0) round++;
            sleep(0);
          }
        }),
      );
      server.startAccepting();
      while (taken.length < 250) sleep(0);
      stopped = true;
      joinAll(others);
      t.is(new Set(taken).size, rounds);
      for (const client of clients) client.close();
    },
  );
}

hubTest('what is sent both ways at once comes whole', (t) => {
  const piece = Buffer.from(Array.from({ length: 100_003 }, (_, index) => index % 251));
  using server = serve(echo);
  using socket = createConnection(server.address);
  const sending = spawn(() => {
    for (let count = 0; count < 40; count++) socket.sendAll(piece);
    socket.shutdown('w');
  });
  let received = 0;
  let wrong = 0;
  for (let data = socket.recv(); data.length > 0; data = socket.recv())
    for (const byte of data) if (byte !== (received++ % piece.length) % 251) wrong++;
  sending.get();
  t.deepEqual([received, wrong], [piece.length * 40, 0]);
});

// ---- TLS

const trusted = (): TlsConnectOptions => ({ ca: pki.root().cert, servername: 'a.test' });

hubTest('with tls handlers are given encrypted connections', (t) => {
  let inside: unknown;
  let from: SocketAddress | undefined;
  const greet = (socket: TlsSocket, address: SocketAddress): void => {
    inside = socket;
    from = address;
    socket.sendAll(`hello ${socket.recv().toString()}`);
  };
  for (const awaitData of [false, true]) {
    using server = new StreamServer('127.0.0.1:0', greet, { tls: pki.server(), awaitData });
    server.start();
    using socket = connectByTls(server.address, trusted());
    const { localAddress } = socket;
    socket.sendAll('Anna');
    // The end is told properly, or recv() would throw.
    t.is(readAll(socket), 'hello Anna');
    t.true(inside instanceof TlsSocket);
    t.deepEqual(from, localAddress);
  }
});

hubTest('tls takes a context that was made before', (t) => {
  const secureContext = createSecureContext(pki.server());
  using server = serve((socket) => socket.sendAll('encrypted'), { tls: { secureContext } });
  const socket = connectByNodeTls({ ...server.address, host: '127.0.0.1', ...trusted() } as object);
  let text = '';
  socket.on('data', (data) => (text += data.toString()));
  waitFor(once(socket, 'end'));
  t.is(text, 'encrypted');
});

hubTest('a client that is slow to shake hands stops nobody', (t) => {
  using server = serve(echo, { tls: pki.server() });
  using slow = createConnection(server.address);
  until(() => server.activeCount === 1);
  using socket = connectByTls(server.address, trusted());
  t.is(exchange(socket, 'hello'), 'hello');
  const reports = reportsOf(() => {
    slow.close();
    until(() => server.activeCount === 1);
  });
  t.is(reports.length, 1);
});

hubTest('a handshake takes no longer than allowed', (t) => {
  const reports = reportsOf(() => {
    using server = serve(echo, { tls: { ...pki.server(), handshakeTimeout: 20 } });
    using slow = createConnection(server.address);
    t.is(readAll(slow), '');
  });
  t.deepEqual(
    reports.map(([, error]) => codeOf(error)),
    ['ETIMEDOUT'],
  );
});

hubTest('garbage instead of a handshake is reported, and the server goes on', (t) => {
  const reports = reportsOf(() => {
    using server = serve(echo, { tls: pki.server() });
    using wrong = createConnection(server.address);
    wrong.sendAll('GET / HTTP/1.1\r\n\r\n');
    thrownBy(() => {
      for (;;) if (wrong.recv().length === 0) throw new Error('the end');
    });
    using socket = connectByTls(server.address, trusted());
    t.is(exchange(socket, 'hello'), 'hello');
  });
  t.is(reports.length, 1);
});

hubTest('an async handler keeps its encrypted connection until it has ended', (t) => {
  const handler = async (socket: TlsSocket): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    socket.sendAll('later', 0);
  };
  using server = new StreamServer('127.0.0.1:0', handler, { tls: pki.server() });
  server.start();
  using socket = connectByTls(server.address, trusted());
  t.is(readAll(socket), 'later');
});

hubTest('what is wrong with tls shows when the server is made', (t) => {
  const wrong: Array<[object, RegExp]> = [
    [{ tls: {} }, /cert and key/],
    [{ tls: 5 }, /options/],
    [{ tls: { cert: 'no pem', key: 'no pem' } }, /./],
    [{ tls: { ...pki.server(), handshakeTimeout: 'x' } }, /handshakeTimeout/],
    [{ tls: pki.server(), spawn: null }, /spawn cannot be null/],
  ];
  for (const [options, message] of wrong)
    t.throws(
      () => new StreamServer('127.0.0.1:0', echo, options as never),
      { message },
      JSON.stringify(options),
    );
});

// ---- datagrams

hubTest('whole datagrams come, up to the longest of UDP', (t) => {
  const lengths: number[] = [];
  using server = new DatagramServer('127.0.0.1:0', (data) => void lengths.push(data.length));
  server.start();
  using client = new Socket({ type: 'datagram' });
  client.sendTo(Buffer.alloc(65_507, 'x'), server.address);
  client.sendTo(Buffer.alloc(0), server.address);
  until(() => lengths.length === 2);
  t.deepEqual(lengths, [65_507, 0]);
});

hubTest('a datagram that is too long is dropped and reported', (t) => {
  const lengths: number[] = [];
  const reports = reportsOf(() => {
    using server = new DatagramServer('127.0.0.1:0', (data) => void lengths.push(data.length), {
      maxSize: 100,
      minDelay: 1,
    });
    server.start();
    using client = new Socket({ type: 'datagram' });
    client.sendTo(Buffer.alloc(101), server.address);
    client.sendTo(Buffer.alloc(100), server.address);
    until(() => lengths.length === 1);
  });
  t.deepEqual(lengths, [100]);
  t.deepEqual(
    reports.map(([, error]) => codeOf(error)),
    ['EMSGSIZE'],
  );
});

hubTest('many greenlets may send datagrams at once', (t) => {
  using server = new DatagramServer('127.0.0.1:0', () => {});
  server.start();
  using peer = new Socket({ type: 'datagram' });
  peer.bind('127.0.0.1:0');
  const senders = Array.from({ length: 20 }, (_, number) =>
    spawn(() => server.sendTo(`${number}`, peer.localAddress)),
  );
  joinAll(senders, { raiseError: true });
  const got = senders.map(() => Number(peer.recvFrom().data.toString()));
  t.deepEqual(
    got.sort((a, b) => a - b),
    senders.map((_, number) => number),
  );
});

hubTest('datagrams are handled in the hub, where sending works that need not wait', (t) => {
  using server = new DatagramServer('127.0.0.1:0', (data, address) => server.sendTo(data, address!, 0), {
    spawn: null,
  });
  server.start();
  const client = createSocket('udp4');
  client.send('hello', server.port, '127.0.0.1');
  const [data] = waitFor(once(client, 'message')) as [Buffer];
  client.close();
  t.is(data.toString(), 'hello');
});

hubTest('datagrams come by Unix-domain sockets, and the file is removed', (t) => {
  using directory = new Directory();
  const path = join(directory.path, 'datagrams');
  const received: string[] = [];
  using server = new DatagramServer({ path }, (data) => void received.push(data.toString()));
  server.start();
  using client = new Socket({ family: 'unix', type: 'datagram' });
  client.sendTo('hello', { path });
  until(() => received.length === 1);
  server.stop();
  t.false(existsSync(path));
});

hubTest('sendTo before start and after stop is refused', (t) => {
  const server = new DatagramServer('127.0.0.1:0', () => {});
  t.is(codeOf(thrownBy(() => server.sendTo('x', '127.0.0.1:9'))), 'EBADF');
});

hubTest('errors that come back from where datagrams were sent do not end the server', (t) => {
  let handled = 0;
  using server = new DatagramServer('127.0.0.1:0', () => void handled++, { minDelay: 1 });
  server.start();
  reportsOf(() => {
    using gone = new Socket({ type: 'datagram' });
    gone.bind('127.0.0.1:0');
    const { localAddress } = gone;
    gone.close();
    server.sendTo('nobody is there', localAddress);
    sleep(10);
    using client = new Socket({ type: 'datagram' });
    client.sendTo('x', server.address);
    until(() => handled === 1);
  });
  t.is(handled, 1);
});

// ---- processes

test.serial(
  'without descriptors it pauses, with few attempts, and goes on when there are some',
  async (t) => {
    const { code, stdout, stderr } = await runProgram('server-descriptors.js');
    t.is(code, 0, stderr);
    const [served, attempts, reported] = stdout.trim().split(' ').map(Number);
    t.is(served, 40);
    t.true(attempts! < 100, stdout);
    t.true(reported! >= 1);
  },
);

test.serial('ten thousand connections come and go and leave nothing', async (t) => {
  const { code, stdout, stderr } = await runProgram('server-churn.js');
  t.is(code, 0, stderr);
  t.is(stdout, 'served 10000, left 0 sockets 0 handlers 0 descriptors\n');
});

for (const name of ['SIGTERM', 'SIGINT'] as const) {
  test.serial(
    `${name} within run: handlers finish, the rest is killed, and the process ends by the signal`,
    async (t) => {
      const { signal, stdout } = await runProgram('server-signal.js', {
        args: ['run'],
        signalWhenReady: name,
      });
      t.is(signal, name);
      t.is(stdout, 'ready\nrefused: ECONNREFUSED\nfinished\nkilled\n');
    },
  );
}

test.serial('SIGTERM with shutdownOnSignal: the same without run', async (t) => {
  const { signal, stdout } = await runProgram('server-signal.js', {
    args: ['plain'],
    signalWhenReady: 'SIGTERM',
  });
  t.is(signal, 'SIGTERM');
  t.is(stdout, 'ready\nrefused: ECONNREFUSED\nfinished\nkilled\n');
});

test.serial('servers of worker threads end with them', async (t) => {
  const { code, stdout, stderr } = await runProgram('server-threads.js');
  t.is(code, 0, stderr);
  t.is(stdout, 'all ended\n');
});

test.serial(
  'workers share one port, are started again when they die, and stop with the primary',
  async (t) => {
    const { code, stdout, stderr } = await runProgram('server-workers.js', { args: ['port'] });
    t.is(code, 0, stderr + stdout);
    t.is(stdout, 'several workers\nanother one after SIGKILL\npaused\nresumed\nall gone\n');
    t.regex(stderr, /ServerWorkerDied: worker \d+ has ended by SIGKILL; another one is started after 100 ms/);
  },
);

test.serial('workers share one path', async (t) => {
  const { code, stdout, stderr } = await runProgram('server-workers.js', { args: ['path'] });
  t.is(code, 0, stderr + stdout);
  t.is(stdout, 'several workers\nanother one after SIGKILL\npaused\nresumed\nall gone\n');
});

test.serial('SIGTERM to the primary stops all workers in good order', async (t) => {
  const { signal, stdout, stderr } = await runProgram('server-workers-signal.js', {
    signalWhenReady: 'SIGTERM',
  });
  t.is(signal, 'SIGTERM', stderr);
  t.is(stdout, 'ready\nfinished\nworkers left: 0\n');
});
