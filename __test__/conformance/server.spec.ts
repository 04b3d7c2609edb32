/** What gevent documents for `gevent.baseserver` and `gevent.server`, each behaviour one test. */
import { createConnection as connectByNode } from 'node:net';
import { BlockingSwitchOutError, Greenlet, getCurrent, idle, sleep, spawn } from 'greenstack';
import { Pool } from 'greenstack/pool';
import { BaseServer, DatagramServer, StreamServer } from 'greenstack/server';
import { type Address, createConnection, createServer, Socket, type SocketAddress } from 'greenstack/socket';
import { Gate, parkForLong, thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { ask, drain, echo, exchange, readAll, reportsOf, serve, until } from '../support/stream-servers.js';

// ---- BaseServer: where it listens

hubTest('gevent.server.StreamServer: takes an address as host and port', (t) => {
  using server = new StreamServer({ host: '127.0.0.1', port: 0 }, echo);
  server.start();
  t.is(ask(server, 'hello'), 'hello');
});

hubTest("gevent.server.StreamServer: takes 'host:port'", (t) => {
  using server = new StreamServer('127.0.0.1:0', echo);
  server.start();
  t.is(ask(server, 'hello'), 'hello');
});

hubTest('gevent.server.StreamServer: a port alone is one of all addresses, by IPv6 and IPv4', (t) => {
  using server = new StreamServer(0, echo);
  server.start();
  t.is(server.family, 6);
  t.is(ask(server, 'four'), 'four');
  using socket = createConnection({ host: '::1', port: server.port });
  t.is(exchange(socket, 'six'), 'six');
});

hubTest("gevent.server.StreamServer: takes ':port' and '*:port'", (t) => {
  for (const address of [':0', '*:0']) {
    using server = new StreamServer(address, echo);
    server.start();
    t.is(ask(server, 'hello'), 'hello');
  }
});

hubTest("gevent.server.StreamServer: takes '[::1]:port'", (t) => {
  using server = new StreamServer('[::1]:0', echo);
  server.start();
  t.is(server.host, '::1');
  using socket = createConnection({ host: '::1', port: server.port });
  t.is(exchange(socket, 'six'), 'six');
});

hubTest('gevent.server.StreamServer: takes a socket that listens', (t) => {
  const listener = createServer('127.0.0.1:0');
  using server = new StreamServer(listener, echo);
  t.is(server.port, listener.localAddress.port);
  server.start();
  t.is(ask(server, 'hello'), 'hello');
});

hubTest('gevent.server.StreamServer: takes a socket that is only bound', (t) => {
  const listener = new Socket();
  listener.bind('127.0.0.1:0');
  using server = new StreamServer(listener, echo);
  server.start();
  t.is(ask(server, 'hello'), 'hello');
});

hubTest('gevent.server.StreamServer: a backlog with a socket is a TypeError', (t) => {
  using listener = createServer('127.0.0.1:0');
  t.throws(() => new StreamServer(listener, echo, { backlog: 10 }), {
    instanceOf: TypeError,
    message: /backlog/,
  });
});

hubTest('gevent.baseserver.BaseServer: without a handler there is a TypeError', (t) => {
  t.throws(() => new StreamServer('127.0.0.1:0'), { instanceOf: TypeError, message: /handler/ });
  t.throws(() => new StreamServer('127.0.0.1:0', 'no function' as never), { instanceOf: TypeError });
});

hubTest('gevent.baseserver.BaseServer: subclasses may have a method handle instead', (t) => {
  class Greeter extends StreamServer {
    override handle(socket: Socket): void {
      socket.sendAll(`from ${this.constructor.name}`);
    }
  }
  using server = new Greeter('127.0.0.1:0');
  server.start();
  t.is(ask(server), 'from Greeter');
});

hubTest(
  'gevent.baseserver.BaseServer: the handler is given the socket and the address of the client',
  (t) => {
    let given: SocketAddress | undefined;
    using server = serve((socket, address) => {
      given = address;
      socket.sendAll('done');
    });
    using socket = createConnection(server.address);
    readAll(socket);
    t.deepEqual(given, socket.localAddress);
  },
);

// ---- BaseServer: its life

hubTest('gevent.baseserver.BaseServer.start: the address is known after it', (t) => {
  using server = new StreamServer('127.0.0.1:0', echo);
  t.deepEqual(server.address, { address: '127.0.0.1', port: 0, family: 4 });
  server.start();
  t.true(server.port > 0);
  t.deepEqual([server.host, server.family], ['127.0.0.1', 4]);
});

hubTest('gevent.baseserver.BaseServer.started: from start to close', (t) => {
  const server = new StreamServer('127.0.0.1:0', echo);
  t.false(server.started);
  server.start();
  t.true(server.started);
  server.close();
  t.false(server.started);
});

hubTest('gevent.baseserver.BaseServer.closed: before start and after close', (t) => {
  const server = new StreamServer('127.0.0.1:0', echo);
  t.true(server.closed.ready);
  server.start();
  t.false(server.closed.ready);
  server.close();
  t.true(server.closed.ready);
});

hubTest('gevent.baseserver.BaseServer.start: an error closes it', (t) => {
  using first = serve(echo);
  const second = new StreamServer({ host: '127.0.0.1', port: first.port }, echo);
  const error = thrownBy(() => second.start()) as NodeJS.ErrnoException & { port: number };
  t.deepEqual([error.code, error.syscall, error.port], ['EADDRINUSE', 'bind', first.port]);
  t.false(second.started);
  t.true(second.closed.ready);
  t.is(ask(first, 'still there'), 'still there');
});

hubTest('gevent.baseserver.BaseServer.start: a second call does nothing', (t) => {
  using server = serve(echo);
  const { port } = server;
  server.start();
  t.is(server.port, port);
  t.is(ask(server, 'hello'), 'hello');
});

hubTest('gevent.baseserver.BaseServer.start: works again after stop, for an address', (t) => {
  using server = serve(echo);
  t.is(ask(server, 'one'), 'one');
  server.stop();
  t.is((thrownBy(() => ask(server)) as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  server.start();
  t.is(ask(server, 'two'), 'two');
});

hubTest('gevent.baseserver.BaseServer.start: not again for a socket that was given', (t) => {
  const server = new StreamServer(createServer('127.0.0.1:0'), echo);
  server.start();
  server.stop();
  t.is((thrownBy(() => server.start()) as NodeJS.ErrnoException).code, 'EBADF');
});

hubTest('gevent.baseserver.BaseServer.serve_forever: starts, and returns after stop', (t) => {
  const server = new StreamServer('127.0.0.1:0', echo);
  const serving = spawn(() => server.serveForever());
  idle();
  t.is(ask(server, 'hello'), 'hello');
  t.false(serving.ready);
  server.stop();
  serving.get();
  t.false(server.started);
});

hubTest('gevent.baseserver.BaseServer.serve_forever: stops the server when it is killed', (t) => {
  const server = new StreamServer('127.0.0.1:0', drain, { spawn: 5 });
  const serving = spawn(() => server.serveForever(0));
  idle();
  using socket = createConnection(server.address);
  until(() => server.activeCount === 1);
  serving.kill();
  t.true(server.closed.ready);
  t.is(server.activeCount, 0);
  t.is(readAll(socket), '');
});

hubTest('gevent.baseserver.BaseServer.stop: waits for the pool, then kills what is left in it', (t) => {
  let ended = '';
  const server = serve(
    (socket) => {
      const [how] = socket.recv().toString();
      try {
        if (how === 'f') sleep(20);
        else parkForLong();
        ended += 'f';
      } catch (error) {
        ended += 'k';
        throw error;
      }
    },
    { spawn: new Pool(10) },
  );
  using forEver = createConnection(server.address);
  using first = createConnection(server.address);
  forEver.sendAll('never ends');
  first.sendAll('finishes');
  until(() => server.activeCount === 2);
  sleep(5);
  server.stop(200);
  t.is(ended, 'fk');
  t.is(server.activeCount, 0);
});

hubTest('gevent.baseserver.BaseServer.stop_timeout: is one second, and what stop waits by default', (t) => {
  const server = serve(() => parkForLong(), { spawn: 1 });
  t.is(server.stopTimeout, 1000);
  server.stopTimeout = 30;
  using _socket = createConnection(server.address);
  until(() => server.activeCount === 1);
  const start = performance.now();
  server.stop();
  t.true(performance.now() - start >= 29);
  t.is(server.activeCount, 0);
});

hubTest('gevent.baseserver.BaseServer.stop: without a pool handlers go on', (t) => {
  const gate = new Gate();
  const server = serve((socket) => {
    gate.pass();
    socket.sendAll('after stop');
  });
  using socket = createConnection(server.address);
  until(() => server.activeCount === 1);
  server.stop();
  t.is(server.activeCount, 1);
  gate.open();
  t.is(readAll(socket), 'after stop');
});

hubTest('gevent.baseserver.BaseServer.close: handlers in a pool go on', (t) => {
  const gate = new Gate();
  const server = serve(
    (socket) => {
      gate.pass();
      socket.sendAll('after close');
    },
    { spawn: 3 },
  );
  using socket = createConnection(server.address);
  until(() => server.activeCount === 1);
  server.close();
  gate.open();
  t.is(readAll(socket), 'after close');
});

hubTest('gevent.baseserver.BaseServer: leaving a using block stops it', (t) => {
  let used: StreamServer;
  {
    using server = serve(echo);
    used = server;
  }
  t.false(used.started);
});

hubTest('gevent.baseserver.BaseServer.stop_accepting: connections wait until start_accepting', (t) => {
  using server = serve((socket) => socket.sendAll('hello'));
  server.stopAccepting();
  t.false(server.accepting);
  using socket = createConnection(server.address);
  t.is((thrownBy(() => socket.recv(10, 30)) as NodeJS.ErrnoException).code, 'ETIMEDOUT');
  server.startAccepting();
  t.is(readAll(socket), 'hello');
});

// ---- BaseServer: where handlers run

hubTest('gevent.baseserver.BaseServer: by default each handler has a greenlet', (t) => {
  let inside: unknown;
  using server = serve((socket) => {
    inside = getCurrent();
    socket.sendAll('x');
  });
  ask(server);
  t.true(inside instanceof Greenlet);
});

hubTest("gevent.baseserver.BaseServer: spawn 'raw' makes raw greenlets", (t) => {
  let inside: object | null = null;
  using server = serve(
    (socket) => {
      inside = getCurrent();
      socket.sendAll('x');
    },
    { spawn: 'raw' },
  );
  ask(server);
  t.is((inside as object | null)?.constructor.name, 'RawGreenlet');
});

hubTest('gevent.baseserver.BaseServer: spawn may be a function', (t) => {
  const spawned: Greenlet<unknown>[] = [];
  using server = serve(echo, {
    spawn: (fn, ...args) => {
      const greenlet = spawn(fn, ...args);
      spawned.push(greenlet);
      return greenlet;
    },
  });
  t.is(ask(server, 'hello'), 'hello');
  t.is(spawned.length, 1);
});

hubTest('gevent.baseserver.BaseServer: a number is the size of a pool', (t) => {
  using server = serve(echo, { spawn: 7 });
  t.true(server.pool instanceof Pool);
  t.is((server.pool as Pool).size, 7);
});

hubTest('gevent.baseserver.BaseServer: a full pool stops accepting, and a free place resumes it', (t) => {
  const gates = [new Gate(), new Gate(), new Gate()];
  let begun = 0;
  using server = serve(
    (socket) => {
      const number = begun++;
      gates[number]!.pass();
      socket.sendAll(`${number}`);
    },
    { spawn: 2 },
  );
  const sockets = gates.map(() => createConnection(server.address));
  until(() => begun === 2);
  sleep(20);
  t.is(begun, 2);
  t.true(server.full);
  t.false(server.accepting);
  gates[0]!.open();
  until(() => begun === 3);
  gates[1]!.open();
  gates[2]!.open();
  t.deepEqual(sockets.map(readAll), ['0', '1', '2']);
  until(() => server.activeCount === 0);
  t.true(server.accepting);
  for (const socket of sockets) socket.close();
});

hubTest(
  'gevent.baseserver.BaseServer: spawn null calls the handler in the hub, where it cannot block',
  (t) => {
    let error: unknown;
    let inside: unknown = 'not called';
    using server = serve(
      (socket) => {
        inside = getCurrent();
        error = thrownBy(() => socket.recv());
        socket.sendAll('from the hub', 0);
      },
      { spawn: null },
    );
    using socket = createConnection(server.address);
    t.is(readAll(socket), 'from the hub');
    t.is(inside, null);
    t.true(error instanceof BlockingSwitchOutError);
  },
);

hubTest('gevent.baseserver.BaseServer: max_accept below 1 is a RangeError', (t) => {
  t.throws(() => new StreamServer('127.0.0.1:0', echo, { maxAccept: 0 }), { instanceOf: RangeError });
});

hubTest('gevent.baseserver.BaseServer: its defaults', (t) => {
  const server = new StreamServer('127.0.0.1:0', echo);
  const { minDelay, maxDelay, maxAccept, stopTimeout, delay } = server;
  t.deepEqual(
    { minDelay, maxDelay, maxAccept, stopTimeout, delay },
    { minDelay: 10, maxDelay: 1000, maxAccept: 100, stopTimeout: 1000, delay: 10 },
  );
});

// ---- BaseServer: what goes wrong

hubTest('gevent.baseserver.BaseServer: the socket is closed when the handler returns', (t) => {
  using server = serve((socket) => socket.sendAll('bye'));
  using socket = createConnection(server.address);
  t.is(readAll(socket), 'bye');
});

hubTest(
  'gevent.baseserver.BaseServer: the socket is closed when the handler throws, which is reported',
  (t) => {
    const reports = reportsOf(() => {
      using server = serve(() => {
        throw new Error('in the handler');
      });
      using socket = createConnection(server.address);
      t.is(readAll(socket), '');
      using again = createConnection(server.address);
      t.is(readAll(again), '');
    });
    t.deepEqual(
      reports.map(([, { message }]) => message),
      ['in the handler', 'in the handler'],
    );
    t.regex(reports[0]![0], /<client 127\.0\.0\.1:\d+ of 127\.0\.0\.1:\d+>/);
  },
);

hubTest(
  'gevent.baseserver.BaseServer: an error of the handler in the hub is reported, and the server goes on',
  (t) => {
    const reports = reportsOf(() => {
      using server = serve(
        () => {
          throw new Error('in the hub');
        },
        { spawn: null },
      );
      for (let count = 0; count < 2; count++) {
        using socket = createConnection(server.address);
        t.is(readAll(socket), '');
      }
    });
    t.is(reports.length, 2);
  },
);

/** A server whose `doRead` fails as often as it is told to. */
class Failing extends StreamServer {
  failures: string[] = [];
  reads = 0;
  /** At each read, the pause that an error would be followed by. */
  readonly delays: number[] = [];

  protected override doRead(): Socket | null {
    this.reads++;
    this.delays.push(this.delay);
    const code = this.failures.shift();
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    return super.doRead();
  }
}

hubTest(
  'gevent.baseserver.BaseServer: errors of accept pause it, twice as long each time, and success resets that',
  (t) => {
    using server = new Failing('127.0.0.1:0', echo, { minDelay: 5, maxDelay: 15 });
    const reports = reportsOf(() => {
      server.failures = ['EMFILE', 'EMFILE', 'EMFILE'];
      server.start();
      t.is(ask(server, 'hello'), 'hello');
    });
    t.deepEqual(server.delays.slice(0, 3), [5, 10, 15]);
    t.is(server.delay, 5);
    t.is(reports.length, 1);
  },
);

hubTest('gevent.baseserver.BaseServer.fatal_errors: such an error closes the server', (t) => {
  for (const code of ['EBADF', 'EINVAL', 'ENOTSOCK']) {
    using server = new Failing('127.0.0.1:0', echo);
    const reports = reportsOf(() => {
      server.failures = [code];
      server.start();
      const client = connectByNode(server.port, '127.0.0.1').on('error', () => {});
      t.true(server.closed.join(10_000));
      client.destroy();
    });
    t.false(server.started);
    t.deepEqual(
      reports.map(([, { message }]) => message),
      [code],
    );
  }
});

hubTest(
  'gevent.baseserver.BaseServer: a spawn that fails closes the connection, and pauses the server',
  (t) => {
    let failing = true;
    const reports = reportsOf(() => {
      using server = serve(echo, {
        spawn: (fn, ...args) => {
          if (failing) throw new Error('no greenlet');
          return spawn(fn, ...args);
        },
        minDelay: 1000,
      });
      using socket = createConnection(server.address);
      t.is(readAll(socket), '');
      t.false(server.accepting);
      failing = false;
      t.is(ask(server, 'hello'), 'hello');
    });
    t.is(reports.length, 1);
  },
);

hubTest('gevent.baseserver.BaseServer: subclasses take whatever comes', (t) => {
  class Taking extends BaseServer<Socket> {
    readonly taken: number[] = [];

    protected getListener(address: Address): Socket {
      return createServer(address);
    }

    protected doRead(): Socket | null {
      try {
        return this.socket!.accept({ block: false });
      } catch {
        return null;
      }
    }

    protected callHandler(socket: Socket): void {
      this.taken.push(socket.remoteAddress.port);
    }

    protected override doClose(socket: Socket): void {
      socket.close();
    }
  }
  using server = new Taking('127.0.0.1:0', { spawn: 3 });
  server.start();
  using client = createConnection(server.address);
  t.is(readAll(client), '');
  t.deepEqual(server.taken, [client.localAddress.port]);
});

// ---- DatagramServer

hubTest('gevent.server.DatagramServer: the handler is given each datagram and its sender', (t) => {
  const received: [string, number | undefined][] = [];
  using server = new DatagramServer('127.0.0.1:0', (data, address) => {
    received.push([data.toString(), address?.port]);
    server.sendTo(`got ${data.length}`, address!);
  });
  server.start();
  using client = new Socket({ type: 'datagram' });
  client.bind('127.0.0.1:0');
  client.sendTo('one', server.address);
  t.is(client.recvFrom().data.toString(), 'got 3');
  client.sendTo('second', server.address);
  t.is(client.recvFrom().data.toString(), 'got 6');
  const { port } = client.localAddress;
  t.deepEqual(received, [
    ['one', port],
    ['second', port],
  ]);
});

hubTest('gevent.server.DatagramServer: takes a bound socket', (t) => {
  const socket = new Socket({ type: 'datagram' });
  socket.bind('127.0.0.1:0');
  using server = new DatagramServer(socket, (data, address) => server.sendTo(data, address!));
  server.start();
  using client = new Socket({ type: 'datagram' });
  client.sendTo('hello', server.address);
  t.is(client.recvFrom().data.toString(), 'hello');
});

hubTest(
  'gevent.server.DatagramServer: a full pool leaves datagrams in the system until there is room',
  (t) => {
    const gate = new Gate();
    const seen: string[] = [];
    using server = new DatagramServer(
      '127.0.0.1:0',
      (data) => {
        seen.push(data.toString());
        gate.pass();
      },
      { spawn: 1 },
    );
    server.start();
    using client = new Socket({ type: 'datagram' });
    for (const text of ['a', 'b', 'c']) client.sendTo(text, server.address);
    until(() => seen.length === 1);
    sleep(10);
    t.deepEqual(seen, ['a']);
    gate.open();
    until(() => seen.length === 3);
    t.deepEqual(seen, ['a', 'b', 'c']);
  },
);

hubTest('gevent.server: clients of node:net are served', (t) => {
  using server = serve(echo);
  const socket = connectByNode(server.port, '127.0.0.1');
  let text = '';
  socket.on('data', (data) => (text += data.toString()));
  socket.end('hello');
  until(() => socket.closed);
  t.is(text, 'hello');
});
