/** What every connection can do, over every transport: `transportTest` makes one test for each of them. */
import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import type { Socket as NodeSocket } from 'node:net';
import type { ExecutionContext } from 'ava';
import {
  ConcurrentObjectUseError,
  getSwitchInterval,
  type Greenlet,
  GreenletExit,
  idle,
  setSwitchInterval,
  sleep,
  spawn,
  Timeout,
} from 'greenstack';
import { select } from 'greenstack/select';
import { type Connection, type Socket, type SocketTimeout, waitRead, waitWrite } from 'greenstack/socket';
import { burn, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { muted } from './support/stderr.js';
import { checksum, echo, flood, greet, silent } from './support/servers.js';
import { pattern, recvAll, recvExactly, sha1 } from './support/streams.js';
import { type Transport, transports } from './support/transports.js';

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/** A test with one connection, over each transport, to a peer of Node's that does `onConnection`. */
function transportTest(
  title: string,
  onConnection: (peer: NodeSocket) => void,
  body: (t: ExecutionContext, socket: Connection, transport: Transport) => void,
): void {
  for (const transport of transports) {
    hubTest(`${transport.name}: ${title}`, (t) => {
      using server = transport.listen(onConnection);
      using socket = server.connect();
      body(t, socket, transport);
    });
  }
}

/** A test with both ends of a connection, over each transport. */
function pairTest(
  title: string,
  body: (t: ExecutionContext, left: Connection, right: Connection, transport: Transport) => void,
): void {
  for (const transport of transports) {
    hubTest(`${transport.name}: ${title}`, (t) => {
      const [left, right] = transport.pair();
      try {
        body(t, left, right, transport);
      } finally {
        left.close();
        right.close();
      }
    });
  }
}

const payloads: [string, string | Uint8Array | ArrayBuffer | DataView][] = [
  ['a string, as UTF-8', 'abcdé'],
  ['a Buffer', Buffer.from('abcdé')],
  ['a part of a typed array', new Uint8Array([0, ...Buffer.from('abcdé'), 0]).subarray(1, 7)],
  ['an ArrayBuffer', new Uint8Array(Buffer.from('abcdé')).buffer as ArrayBuffer],
  ['a DataView', new DataView(new Uint8Array([0, ...Buffer.from('abcdé'), 0]).buffer, 1, 6)],
];

// recv()

transportTest(
  'recv() returns a Buffer with what has arrived',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    const received = socket.recv(100);
    t.true(Buffer.isBuffer(received));
    t.is(received.toString(), 'hello');
  },
);

transportTest(
  'recv() returns no more than it was asked for',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    t.is(recvExactly(socket, 2).toString(), 'he');
    t.is(recvExactly(socket, 3).toString(), 'llo');
  },
);

transportTest('recv() parks until something arrives', silent, (t, socket) => {
  const reader = spawn(() => socket.recv(1));
  sleep(10);
  t.false(reader.ready);
  reader.kill();
});

transportTest(
  'recv() returns an empty Buffer at the end of the stream, again and again',
  greet,
  (t, socket) => {
    t.is(recvAll(socket).toString(), 'hello');
    t.is(socket.recv(10).length, 0);
    t.is(socket.recv(10).length, 0);
  },
);

transportTest(
  'each recv() has a Buffer of its own',
  (socket) => void socket.write('abcd'),
  (t, socket) => {
    const first = recvExactly(socket, 2);
    const second = recvExactly(socket, 2);
    t.deepEqual([first.toString(), second.toString()], ['ab', 'cd']);
  },
);

transportTest('recv() wakes with what was sent while it was parked', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(100).toString());
  idle();
  socket.sendAll('ping');
  t.is(reader.get(), 'ping');
});

transportTest(
  'recv() throws ETIMEDOUT when its time is up, and the connection goes on',
  echo,
  (t, socket) => {
    t.throws(() => socket.recv(1, 5), { code: 'ETIMEDOUT' });
    t.throws(() => socket.recv(1, { timeout: 5 }), { code: 'ETIMEDOUT' });
    socket.sendAll('still here');
    t.is(recvExactly(socket, 10).toString(), 'still here');
  },
);

pairTest(
  'what has come by the end of the time is received, though nobody has looked before',
  (t, left, right) => {
    let reader: Greenlet<string>;
    // Until it is parked and its time is not up.
    do {
      reader = spawn(() => right.recv(1, 30).toString());
      muted(idle);
    } while (reader.ready);
    left.sendAll('x');
    burn(40);
    t.is(reader.get(), 'x');
  },
);

transportTest('recv() throws the Timeout it was given', silent, (t, socket) => {
  const timeout = new Timeout(5);
  t.throws(() => socket.recv(1, timeout), { is: timeout });
});

transportTest('an outer Timeout goes through recv() with a limit of its own', silent, (t, socket) => {
  const timeout = Timeout.startNew(5);
  t.throws(() => socket.recv(1, 60_000), { is: timeout });
});

transportTest('recv({ block: false }) throws where it would have to wait', silent, (t, socket) => {
  let ran = false;
  const other = spawn(() => (ran = true));
  t.throws(() => socket.recv(1, { block: false }), { instanceOf: Error });
  t.false(ran);
  other.join();
});

transportTest(
  'recv({ block: false }) returns what has arrived',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    t.is(socket.recv(1).toString(), 'h');
    t.is(socket.recv(5, { block: false }).toString(), 'ello');
  },
);

transportTest('recv() ends with the reason of its signal, and the connection goes on', echo, (t, socket) => {
  const abort = new AbortController();
  const reason = new Error('enough');
  setImmediate(() => abort.abort(reason));
  t.throws(() => socket.recv(1, { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
  socket.sendAll('x');
  t.is(socket.recv(1).toString(), 'x');
});

transportTest('a killed recv() loses nothing of the stream', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(1));
  idle();
  reader.kill();
  socket.sendAll('kept');
  t.is(recvExactly(socket, 4).toString(), 'kept');
});

// The timeout of a socket

transportTest('a new socket has no timeout', silent, (t, socket) => {
  t.is(socket.timeout, null);
});

transportTest('the timeout of a socket is that of its calls', silent, (t, socket) => {
  socket.timeout = 5;
  t.is(socket.timeout, 5);
  t.throws(() => socket.recv(1), { code: 'ETIMEDOUT' });
});

transportTest('the limit of a call goes before the timeout of its socket', echo, (t, socket) => {
  socket.timeout = 1;
  const reader = spawn(() => socket.recv(1, { timeout: null }).toString());
  sleep(30);
  socket.sendAll('x');
  t.is(reader.get(), 'x');
});

transportTest('the timeout of a socket can be taken away', silent, (t, socket) => {
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
  transportTest(`the timeout of a socket cannot be ${title}`, silent, (t, socket) => {
    t.throws(() => (socket.timeout = value as number), { instanceOf: type });
    t.is(socket.timeout, null);
  });
}

// recvInto()

transportTest(
  'recvInto() fills a buffer and says how far',
  (socket) => void socket.write('hello'),
  (t, socket) => {
    const buffer = Buffer.alloc(10, '.');
    t.is(socket.recvInto(buffer), 5);
    t.is(buffer.toString(), 'hello.....');
  },
);

transportTest(
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

transportTest(
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

transportTest(
  'recvInto() returns 0 at the end of the stream',
  (socket) => void socket.end(),
  (t, socket) => {
    t.is(socket.recvInto(Buffer.alloc(1)), 0);
  },
);

transportTest(
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

transportTest('recvInto() throws ETIMEDOUT when its time is up', silent, (t, socket) => {
  t.throws(() => socket.recvInto(Buffer.alloc(1), { timeout: 5 }), { code: 'ETIMEDOUT' });
});

for (const [title, options] of [
  ['a negative offset', { offset: -1 }],
  ['an offset beyond the end', { offset: 11 }],
  ['a length beyond the end', { length: 11 }],
  ['offset and length beyond the end together', { offset: 6, length: 5 }],
] as const) {
  transportTest(
    `recvInto() refuses ${title}`,
    (socket) => void socket.write('x'),
    (t, socket) => {
      t.throws(() => socket.recvInto(Buffer.alloc(10), options), { instanceOf: RangeError });
      t.is(socket.recv(1).toString(), 'x');
    },
  );
}

transportTest('recvInto() refuses what is not a view of a buffer', silent, (t, socket) => {
  t.throws(() => socket.recvInto('buffer' as never), { instanceOf: TypeError });
});

transportTest('recvInto() refuses a view whose memory was given away', silent, (t, socket) => {
  const view = new Uint8Array(8);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  t.throws(() => socket.recvInto(view, { length: 8 }), { instanceOf: Error });
});

// send() and sendAll()

for (const [title, payload] of payloads) {
  transportTest(`sendAll() takes ${title}`, echo, (t, socket) => {
    socket.sendAll(payload);
    t.is(recvExactly(socket, 6).toString(), 'abcdé');
  });

  transportTest(`send() takes ${title}`, echo, (t, socket) => {
    t.is(socket.send(payload), 6);
    t.is(recvExactly(socket, 6).toString(), 'abcdé');
  });
}

transportTest('send() of nothing sends nothing', echo, (t, socket) => {
  t.is(socket.send(''), 0);
  socket.sendAll(Buffer.alloc(0));
  socket.sendAll('x');
  t.is(recvExactly(socket, 1).toString(), 'x');
});

transportTest('send() returns how much of the data fitted', silent, (t, socket) => {
  const sent = socket.send(Buffer.alloc(64 << 20));
  t.true(sent > 0 && sent < 64 << 20, String(sent));
});

transportTest(
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

transportTest('send() throws ETIMEDOUT while the buffers are full', silent, (t, socket) => {
  const error = thrownBy(() => {
    for (;;) socket.send(Buffer.alloc(1 << 20), 10);
  }) as SystemError;
  t.is(error.code, 'ETIMEDOUT');
});

transportTest('the limit of sendAll() is for all of it', silent, (t, socket) => {
  t.throws(() => socket.sendAll(Buffer.alloc(64 << 20), 20), { code: 'ETIMEDOUT' });
});

transportTest('sendAll() ends with the reason of its signal', silent, (t, socket) => {
  const abort = new AbortController();
  const reason = new Error('enough');
  setTimeout(() => abort.abort(reason), 10);
  t.throws(() => socket.sendAll(Buffer.alloc(64 << 20), { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
});

transportTest(
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

transportTest(
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

transportTest('ten megabytes come back whole from an echo', echo, (t, socket) => {
  const data = pattern(10 << 20);
  const writer = spawn(() => {
    socket.sendAll(data);
    socket.shutdown('w');
  });
  t.is(sha1(recvAll(socket)), sha1(data));
  writer.get();
});

transportTest('a stream of small messages keeps its order', echo, (t, socket) => {
  const messages = Array.from({ length: 2_000 }, (_, index) => `message ${index}\n`);
  const writer = spawn(() => messages.forEach((message) => socket.sendAll(message)));
  t.is(recvExactly(socket, messages.join('').length).toString(), messages.join(''));
  writer.join();
});

transportTest('a greenlet whose data is always there lets others run', flood, (t, socket) => {
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

transportTest('a greenlet whose data is always there can be killed', flood, (t, socket) => {
  const reader = spawn(() => {
    for (;;) socket.recv(1);
  });
  sleep(20);
  reader.kill(undefined, 50_000);
  t.true((reader.value as unknown) instanceof GreenletExit);
});

transportTest('a timeout ends a greenlet whose data is always there', flood, (t, socket) => {
  const timeout = Timeout.startNew(20);
  const error = thrownBy(() => {
    for (const end = performance.now() + 10_000; performance.now() < end;) socket.recv(1);
  });
  t.is(error, timeout);
});

transportTest(
  'a greenlet that never has to wait to send can be killed',
  (socket) => void socket.resume(),
  (t, socket) => {
    const writer = spawn(() => {
      for (;;) socket.send('x');
    });
    sleep(20);
    writer.kill(undefined, 50_000);
    t.true((writer.value as unknown) instanceof GreenletExit);
  },
);

transportTest(
  'sendAll() to a peer that has gone throws EPIPE or ECONNRESET',
  (socket) => void socket.destroy(),
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

transportTest("shutdown('w') ends the stream for the peer, and reading goes on", checksum, (t, socket) => {
  socket.sendAll('data');
  socket.shutdown('w');
  t.is(recvAll(socket).toString(), sha1(Buffer.from('data')));
});

transportTest("send() after shutdown('w') throws EPIPE", silent, (t, socket) => {
  socket.shutdown('w');
  t.throws(() => socket.send('x'), { code: 'EPIPE' });
});

transportTest("shutdown('r') ends the stream for a parked reader", silent, (t, socket) => {
  const reader = spawn(() => socket.recv(1).length);
  idle();
  socket.shutdown('r');
  t.is(reader.get(), 0);
});

transportTest("shutdown('rw') ends both", silent, (t, socket) => {
  socket.shutdown('rw');
  t.is(socket.recv(1).length, 0);
  t.throws(() => socket.send('x'), { code: 'EPIPE' });
});

transportTest(
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

transportTest('shutdown() refuses what is neither r nor w nor rw', silent, (t, socket) => {
  t.throws(() => socket.shutdown('x' as never), { instanceOf: TypeError });
});

// close()

transportTest('close() twice is harmless', silent, (t, socket) => {
  socket.close();
  t.notThrows(() => socket.close());
});

transportTest(
  'close() tells the peer',
  (socket) => {
    socket.resume();
    socket.once('end', () => Object.assign(globalThis, { sawTheEnd: true }));
  },
  (t, socket) => {
    socket.close();
    while (!('sawTheEnd' in globalThis)) sleep(1);
    t.pass();
    Reflect.deleteProperty(globalThis, 'sawTheEnd');
  },
);

transportTest('close() throws ECANCELED in whoever is parked in recv()', silent, (t, socket) => {
  const reader = spawn(() => thrownBy(() => socket.recv(1)));
  idle();
  socket.close();
  t.is((reader.get() as SystemError).code, 'ECANCELED');
});

transportTest('close() throws ECANCELED in whoever is parked in sendAll()', silent, (t, socket) => {
  const writer = spawn(() => thrownBy(() => socket.sendAll(Buffer.alloc(64 << 20))));
  sleep(10);
  socket.close();
  t.is((writer.get() as SystemError).code, 'ECANCELED');
});

transportTest('close() from a plain callback throws ECANCELED in whoever is parked', silent, (t, socket) => {
  setImmediate(() => socket.close());
  t.throws(() => socket.recv(1), { code: 'ECANCELED' });
});

for (const [call, use] of [
  ['recv()', (socket: Connection) => socket.recv(1)],
  ['recvInto()', (socket: Connection) => socket.recvInto(Buffer.alloc(1))],
  ['send()', (socket: Connection) => socket.send('x')],
  ['sendAll()', (socket: Connection) => socket.sendAll('x')],
  ['shutdown()', (socket: Connection) => socket.shutdown('w')],
] as const) {
  transportTest(`${call} on a closed socket throws an error with a code`, silent, (t, socket) => {
    socket.close();
    const error = thrownBy(() => use(socket)) as SystemError;
    t.true(error instanceof Error);
    t.regex(error.code!, /^E[A-Z_]+$/);
  });
}

// Several greenlets on one socket

transportTest('a second reader is refused, and the first is not disturbed', echo, (t, socket) => {
  const first = spawn(() => socket.recv(1).toString());
  idle();
  t.throws(() => socket.recv(1), { instanceOf: ConcurrentObjectUseError });
  socket.sendAll('x');
  t.is(first.get(), 'x');
});

transportTest('a second writer is refused, and the first is not disturbed', silent, (t, socket) => {
  const first = spawn(() => socket.sendAll(Buffer.alloc(64 << 20)));
  idle();
  t.throws(() => socket.sendAll('x'), { instanceOf: ConcurrentObjectUseError });
  t.false(first.ready);
  first.kill();
});

/** Runs `body` as if every look at the clock found that the turn has lasted long enough. */
function withShortTurns(body: () => void): void {
  const before = getSwitchInterval();
  setSwitchInterval(0);
  try {
    body();
  } finally {
    setSwitchInterval(before);
  }
}

pairTest(
  'nobody writes in the middle of what another one is sending, whoever is woken when',
  (t, left, right) => {
    withShortTurns(() => {
      const data = pattern(8 << 20);
      const first = spawn(() => left.sendAll(data));
      idle();
      // Reads all the time, so that there is room before the first one goes on.
      const reader = spawn(() => recvExactly(right, data.length));
      let refused = 0;
      while (!first.ready) {
        t.throws(() => left.send('x', 0), { instanceOf: ConcurrentObjectUseError });
        refused++;
        sleep(0);
      }
      t.true(reader.get().equals(data));
      t.true(refused > 0);
    });
  },
);

pairTest('nobody reads before one who was woken to read', (t, left, right) => {
  const reader = spawn(() => right.recv(10).toString());
  idle();
  left.sendAll('for the first');
  // What has come is noticed by this, and the first is woken by that.
  t.deepEqual(select([left], [], [], 0), [[], [], []]);
  if (!reader.ready) t.throws(() => right.recv(10, 0), { instanceOf: ConcurrentObjectUseError });
  t.is(reader.get(), 'for the fi');
});

transportTest('one greenlet may read while another writes', echo, (t, socket) => {
  const reader = spawn(() => socket.recv(1).toString());
  const writer = spawn(() => socket.sendAll('x'));
  t.deepEqual([reader.get(), writer.get()], ['x', undefined]);
});

transportTest('after a killed reader another one may read', echo, (t, socket) => {
  const first = spawn(() => socket.recv(1));
  idle();
  first.kill();
  socket.sendAll('x');
  t.is(socket.recv(1).toString(), 'x');
});

for (const [title, length, type] of [
  ['a negative length', -1, RangeError],
  ['a length of NaN', NaN, TypeError],
  ['a length that is no number', '10', TypeError],
  ['a length that is no integer', 1.5, TypeError],
] as const) {
  transportTest(
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
  transportTest(`sendAll() refuses ${title}`, echo, (t, socket) => {
    t.throws(() => socket.sendAll(data as never), { instanceOf: TypeError });
    socket.sendAll('x');
    t.is(socket.recv(1).toString(), 'x');
  });

  transportTest(`send() refuses ${title}`, echo, (t, socket) => {
    t.throws(() => socket.send(data as never), { instanceOf: TypeError });
    socket.sendAll('x');
    t.is(socket.recv(1).toString(), 'x');
  });
}

transportTest('recv() refuses limits that are not limits', silent, (t, socket) => {
  t.throws(() => socket.recv(1, 'soon' as never), { instanceOf: TypeError });
});

// Both ends ours

/** Sends pieces of random sizes after random pauses, and the end of the stream. Returns the checksum. */
function sendAtRandom(socket: Connection, total: number): string {
  const hash = createHash('sha1');
  for (let sent = 0; sent < total;) {
    const size = Math.min(total - sent, 1 + Math.floor(Math.random() ** 4 * 300_000));
    const piece = randomBytes(size);
    hash.update(piece);
    socket.sendAll(piece);
    sent += size;
    if (Math.random() < 0.2) sleep(Math.random() < 0.5 ? 0 : 1);
  }
  socket.shutdown('w');
  return hash.digest('hex');
}

/** Receives in pieces of random sizes after random pauses, by both calls, to the end. Returns the checksum. */
function recvAtRandom(socket: Connection): string {
  const hash = createHash('sha1');
  const memory = Buffer.alloc(100_000);
  for (;;) {
    const size = 1 + Math.floor(Math.random() ** 2 * 100_000);
    const piece =
      Math.random() < 0.5
        ? socket.recv(size)
        : memory.subarray(0, socket.recvInto(memory, { length: size, timeout: 10_000 }));
    if (piece.length === 0) return hash.digest('hex');
    hash.update(piece);
    if (Math.random() < 0.1) sleep(Math.random() < 0.5 ? 0 : 1);
  }
}

pairTest(
  'what both ends send at once, in random pieces after random pauses, arrives as it was',
  (t, left, right) => {
    const senders = [left, right].map((socket) => spawn(sendAtRandom, socket, 12 << 20));
    const receivers = [right, left].map((socket) => spawn(recvAtRandom, socket));
    const sent = senders.map((greenlet) => greenlet.get());
    t.deepEqual(
      receivers.map((greenlet) => greenlet.get()),
      sent,
    );
  },
);

pairTest('a receiver that is killed again and again loses nothing', (t, left, right) => {
  const sender = spawn(sendAtRandom, left, 1 << 20);
  const chunks: Buffer[] = [];
  let isOver = false;
  while (!isOver) {
    const reader = spawn(() => {
      for (;;) {
        const chunk = right.recv(5_000);
        if (chunk.length === 0) return (isOver = true);
        chunks.push(chunk);
      }
    });
    sleep(0);
    sleep(0);
    reader.kill();
  }
  t.is(sha1(Buffer.concat(chunks)), sender.get());
});

pairTest('a sender whose time is up goes on where bytesSent says', (t, left, right) => {
  const data = pattern(16 << 20);
  const receiver = spawn(recvAtRandom, right);
  let timeouts = 0;
  for (let sent = 0; sent < data.length;) {
    try {
      left.sendAll(data.subarray(sent), timeouts % 2);
      sent = data.length;
    } catch (error) {
      t.is((error as SocketTimeout).code, 'ETIMEDOUT');
      sent += (error as SocketTimeout).bytesSent!;
      timeouts++;
      sleep(0);
    }
  }
  left.shutdown('w');
  t.is(receiver.get(), sha1(data));
  t.true(timeouts > 0);
});

pairTest('a slow reader keeps the sender waiting, and no bytes in memory', (t, left, right) => {
  const memoryBefore = process.memoryUsage();
  const data = Buffer.alloc(1 << 20);
  let sent = 0;
  const sender = spawn(() => {
    for (; sent < 64; sent++) left.sendAll(data);
    left.shutdown('w');
  });
  sleep(50);
  t.true(sent < 64, 'all of it was taken though nobody reads');
  const { external, arrayBuffers } = process.memoryUsage();
  t.true(external + arrayBuffers - memoryBefore.external - memoryBefore.arrayBuffers < 32 << 20);
  let received = 0;
  for (let chunk: Buffer; (chunk = right.recv()).length > 0;) received += chunk.length;
  t.is(received, 64 << 20);
  sender.join();
});

pairTest('each end is closed for the other when it is closed here', (t, left, right) => {
  left.sendAll('last words');
  left.close();
  t.is(recvAll(right).toString(), 'last words');
});

pairTest('a connection refuses to be passed to another thread', (t, left) => {
  const error = thrownBy(() => structuredClone(left)) as Error;
  t.is(error.name, 'DataCloneError');
  t.regex(error.message, /belong to one thread/);
});

// Waiting and selecting

pairTest('waitRead() waits until something has come, and takes nothing', (t, left, right) => {
  const waiting = spawn(() => waitRead(right as Socket));
  idle();
  t.false(waiting.ready);
  left.sendAll('x');
  waiting.get();
  waitRead(right as Socket);
  t.is(right.recv().toString(), 'x');
});

pairTest('waitRead() sees the end of the stream', (t, left, right) => {
  left.shutdown('w');
  waitRead(right as Socket);
  t.is(right.recv().length, 0);
});

pairTest('waitWrite() waits until there is room', (t, left, right) => {
  t.throws(
    () => {
      for (;;) left.send(Buffer.alloc(1 << 20), 0);
    },
    { code: 'ETIMEDOUT' },
  );
  const waiting = spawn(() => waitWrite(left as Socket));
  sleep(1);
  t.false(waiting.ready);
  const reader = spawn(() => {
    for (;;) right.recv();
  });
  waiting.get();
  reader.kill();
});

pairTest('select() returns what is ready, and waits for the rest no longer', (t, left, right) => {
  t.deepEqual(select([left as Socket], [right as Socket]), [[], [right], []]);
  t.deepEqual(select([left as Socket, right as Socket], [], [], 1), [[], [], []]);
  left.sendAll('x');
  t.deepEqual(select([left as Socket, right as Socket]), [[right], [], []]);
});
