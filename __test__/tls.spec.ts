import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import * as nodeTls from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { ConcurrentObjectUseError, GreenletExit, idle, joinAll, sleep, spawn, Timeout } from 'greenstack';
import { Event } from 'greenstack/event';
import { select } from 'greenstack/select';
import { createConnection, Socket, socketPair, waitRead, waitReadWrite } from 'greenstack/socket';
import {
  type CertificateError,
  connect,
  createSecureContext,
  SecureContext,
  SecureContextError,
  type SecureContextOptions,
  type TlsOptions,
  TlsSocket,
  TlsTruncationError,
  TlsUnreadError,
  wrapSocket,
} from 'greenstack/tls';
import { certificate, type Identity, pki } from './support/certificates.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { echo, listen, silent } from './support/servers.js';
import {
  connectNode,
  echoTls,
  listenNode,
  nodeReceivesAll,
  opensslServer,
  type Pair,
  Program,
  type Relay,
  relayTo,
  serveTls,
  serving,
  sessionOf,
  settled,
  tlsPair,
  trusting,
  wrapBoth,
} from './support/tls.js';

type SystemError = NodeJS.ErrnoException & { bytesSent?: number };

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
const only = (version: (typeof VERSIONS)[number]) => ({ minVersion: version, maxVersion: version });

/** A test with both ends of a connection in this process. */
function pairTest(title: string, body: (t: ExecutionContext, pair: Pair) => void): void {
  hubTest(title, (t) => {
    using pair = tlsPair();
    body(t, pair);
  });
}

function recvAll(socket: Socket | TlsSocket): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk: Buffer; (chunk = socket.recv()).length > 0;) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function recvExactly(socket: Socket | TlsSocket, length: number): Buffer {
  const chunks: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    const chunk = socket.recv(Math.min(missing, 65_536));
    if (chunk.length === 0) throw new Error(`the stream ended ${missing} bytes early`);
    chunks.push(chunk);
    missing -= chunk.length;
  }
  return Buffer.concat(chunks);
}

const sha1 = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');

/** `length` bytes that are different everywhere. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8) * 17) & 0xff;
  return bytes;
}

/** Numbers that look random and are the same in each run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const codeOf = (error: unknown): string | undefined => (error as SystemError).code;

// Data

for (const version of VERSIONS) {
  hubTest(`${version}: what is sent arrives, both ways`, (t) => {
    using pair = tlsPair(only(version));
    pair.client.sendAll('hello');
    pair.server.sendAll(Buffer.from('world'));
    t.is(pair.server.recv().toString(), 'hello');
    t.is(pair.client.recv().toString(), 'world');
    t.is(pair.client.protocol, version);
  });

  hubTest(`${version}: data of random sizes with random pauses arrives unchanged, both ways at once`, (t) => {
    using pair = tlsPair(only(version));
    const total = 6_000_000;
    const random = randomNumbers(version.length);
    const pour = (socket: TlsSocket, data: Buffer) => () => {
      for (let sent = 0; sent < data.length;) {
        const size = random(4) === 0 ? random(200_000) : random(3000);
        const piece = data.subarray(sent, sent + 1 + size);
        sent += random(2) === 0 ? socket.send(piece) : (socket.sendAll(piece), piece.length);
        if (random(50) === 0) sleep(random(3));
      }
      socket.shutdown('w');
    };
    const drain = (socket: TlsSocket) => () => {
      const hash = createHash('sha1');
      const memory = Buffer.alloc(100_000);
      for (;;) {
        if (random(100) === 0) sleep(random(3));
        if (random(2) === 0) {
          const count = socket.recvInto(memory, { offset: 10, length: 1 + random(90_000) });
          if (count === 0) return hash.digest('hex');
          hash.update(memory.subarray(10, 10 + count));
        } else {
          const chunk = socket.recv(1 + random(70_000));
          if (chunk.length === 0) return hash.digest('hex');
          hash.update(chunk);
        }
      }
    };
    const [there, back] = [pattern(total), pattern(total).reverse()];
    const writers = [spawn(pour(pair.client, there)), spawn(pour(pair.server, back))];
    const readers = [spawn(drain(pair.server)), spawn(drain(pair.client))];
    joinAll([...writers, ...readers], { raiseError: true });
    t.deepEqual(
      readers.map((reader) => reader.value),
      [sha1(there), sha1(back)],
    );
  });
}

pairTest('recv() takes no more than it is asked for, and keeps the rest', (t, { client, server }) => {
  client.sendAll('abcdefgh');
  t.is(server.recv(3).toString(), 'abc');
  t.is(server.recv(0).length, 0);
  t.is(server.recv(1).toString(), 'd');
  t.is(server.recv().toString(), 'efgh');
});

pairTest('recvInto() fills memory at an offset', (t, { client, server }) => {
  client.sendAll('abcdef');
  const memory = Buffer.alloc(6, '.');
  t.is(server.recvInto(memory, { offset: 2, length: 3 }), 3);
  t.is(memory.toString(), '..abc.');
  t.is(server.recv().toString(), 'def');
});

pairTest('send() takes 64 KiB at the most and sends all of it', (t, { client, server }) => {
  const data = pattern(100_000);
  t.is(client.send(data), 65_536);
  t.deepEqual(recvExactly(server, 65_536), data.subarray(0, 65_536));
});

pairTest('an empty piece is nothing', (t, { client, server }) => {
  t.is(client.send(''), 0);
  client.sendAll(Buffer.alloc(0));
  client.sendAll('x');
  t.is(server.recv().toString(), 'x');
});

pairTest('a buffer that changes while the sender waits cannot break the stream', (t, { client, server }) => {
  const data = Buffer.alloc(20_000_000, 'a');
  const writer = spawn(() => client.sendAll(data));
  idle();
  t.false(writer.ready);
  data.fill('b');
  const received = recvExactly(server, data.length);
  writer.get();
  t.true(received.every((byte) => byte === 97 || byte === 98));
});

pairTest('others run while a greenlet sends what is taken at once', (t, { client, server }) => {
  let turns = 0;
  const other = spawn(() => {
    for (; ; turns++) sleep(0);
  });
  const reader = spawn(() => {
    for (let left = 10_000_000; left > 0;) left -= server.recv().length;
  });
  client.sendAll(Buffer.alloc(10_000_000));
  reader.get();
  other.kill();
  t.true(turns > 5);
});

pairTest('one greenlet reads while another one writes', (t, { client, server }) => {
  const reader = spawn(() => client.recv().toString());
  idle();
  client.sendAll('there');
  t.is(server.recv().toString(), 'there');
  server.sendAll('back');
  t.is(reader.get(), 'back');
});

pairTest('a second reader is refused, and the first one goes on', (t, { client, server }) => {
  const reader = spawn(() => client.recv().toString());
  idle();
  t.throws(() => client.recv(), { instanceOf: ConcurrentObjectUseError });
  server.sendAll('x');
  t.is(reader.get(), 'x');
});

pairTest('a second writer is refused, and the first one goes on', (t, { client, server }) => {
  const data = pattern(20_000_000);
  const writer = spawn(() => client.sendAll(data));
  idle();
  t.throws(() => client.sendAll('x'), { instanceOf: ConcurrentObjectUseError });
  t.is(sha1(recvExactly(server, data.length)), sha1(data));
  writer.get();
});

pairTest('memory stays bounded: a sender waits for a reader that is slow', (t, { client, server }) => {
  const piece = Buffer.alloc(1 << 20);
  let sent = 0;
  const before = process.memoryUsage().rss;
  const writer = spawn(() => {
    for (let round = 0; round < 512; round++) {
      client.sendAll(piece);
      sent++;
    }
  });
  idle();
  t.true(sent < 64, `${sent} MiB were taken that nobody has read`);
  t.true(process.memoryUsage().rss - before < 256 << 20);
  writer.kill();
  t.true(writer.value instanceof GreenletExit);
  t.true(server.recv().length > 0);
});

pairTest('memory stays bounded: a reader takes in no more than it is asked for by much', (t, pair) => {
  const { client, server } = pair;
  const writer = spawn(() => client.sendAll(Buffer.alloc(50_000_000)));
  idle();
  for (let round = 0; round < 10; round++) t.is(server.recv(1).length, 1);
  idle();
  t.false(writer.ready);
  writer.kill();
});

// Readiness

pairTest('waitRead() and select() know of bytes that were decrypted already', (t, { client, server }) => {
  client.sendAll('hello');
  t.is(server.recv(1).toString(), 'h');
  waitRead(server, 0);
  t.is(waitReadWrite(server), 'r');
  t.deepEqual(select([server], [], [], 0), [[server], [], []]);
  t.is(server.recv().toString(), 'ello');
  t.is(codeOf(thrownBy(() => waitRead(server, 0))), 'ETIMEDOUT');
  t.deepEqual(select([server], [server], [], 0), [[], [server], []]);
});

pairTest('waitRead() and select() are not misled by what is none of the user', (t, { client, server }) => {
  // The tickets of TLS 1.3 are on their way to the client.
  t.is(codeOf(thrownBy(() => waitRead(client, 20))), 'ETIMEDOUT');
  t.deepEqual(select([client], [], [], 0), [[], [], []]);
  const waiting = spawn(() => waitRead(client));
  idle();
  t.false(waiting.ready);
  server.sendAll('x');
  waiting.get();
  t.is(client.recv(1, 0).toString(), 'x');
  const selecting = spawn(() => select([client])[0].length);
  idle();
  server.close();
  t.is(selecting.get(), 1, 'the end is something to read');
  waitRead(client, 0);
  t.is(client.recv().length, 0);
});

// What was agreed on

hubTest('a socket tells what was agreed on', (t) => {
  const alpnProtocols = ['h2', 'http/1.1'];
  using pair = tlsPair({ alpnProtocols }, { alpnProtocols: ['http/1.1'] });
  for (const socket of [pair.client, pair.server]) {
    t.is(socket.protocol, 'TLSv1.3');
    t.deepEqual(socket.cipher, {
      name: 'TLS_AES_256_GCM_SHA384',
      standardName: 'TLS_AES_256_GCM_SHA384',
      version: 'TLSv1.3',
    });
    t.is(socket.alpnProtocol, 'http/1.1');
    t.is(socket.serverName, 'a.test');
    t.false(socket.sessionReused);
    t.is(socket.authorizationError, null);
    t.is(socket.type, 'stream');
    t.is(socket.family, 'unix');
    t.true(socket.fd > 0);
  }
  t.false(pair.client.isServer);
  t.true(pair.server.isServer);
  t.true(pair.client.authorized);
  t.false(pair.server.authorized, 'the client has shown nothing');
  t.is(pair.client.peerCertificate?.fingerprint, new X509Certificate(pki.server().cert).fingerprint);
  t.is(pair.client.peerCertificateChain.length, 1);
  t.is(pair.server.peerCertificate, undefined);
});

hubTest('before the handshake nothing is agreed on, and only handshake() is possible', (t) => {
  const [left, right] = socketPair();
  using client = wrapSocket(left, { ...trusting(), handshake: false });
  t.is(client.protocol, null);
  t.is(client.cipher, null);
  t.is(client.alpnProtocol, null);
  t.is(client.serverName, null);
  t.false(client.sessionReused);
  t.false(client.authorized);
  t.is(client.peerCertificate, undefined);
  for (const call of [() => client.recv(), () => client.sendAll('x'), () => client.shutdown('w')]) {
    const error = thrownBy(call);
    t.is(codeOf(error), 'ENOTCONN');
    t.regex((error as Error).message, /call handshake\(\) first/);
  }
  const other = spawn(() => wrapSocket(right, serving()));
  client.handshake();
  client.handshake();
  using server = other.get();
  client.sendAll('x');
  t.is(server.recv().toString(), 'x');
});

hubTest('ciphers and versions are restricted, by either name', (t) => {
  for (const ciphers of [
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256',
  ]) {
    using pair = tlsPair({ ciphers, maxVersion: 'TLSv1.2' });
    t.deepEqual(pair.server.cipher, {
      name: 'ECDHE-ECDSA-CHACHA20-POLY1305',
      standardName: 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
      version: 'TLSv1.2',
    });
  }
});

hubTest('a socket that was wrapped is closed as such', (t) => {
  const [left, right] = socketPair();
  left.timeout = 12_345;
  using pair = wrapBoth(left, right, trusting(), serving());
  t.true(left.closed);
  t.is(codeOf(thrownBy(() => left.recv())), 'EBADF');
  left.close();
  t.is(pair.client.timeout, 12_345);
  pair.client.sendAll('x');
  t.is(pair.server.recv().toString(), 'x');
});

hubTest('a greenlet that reads the plain socket is told when it is wrapped', (t) => {
  const [left, right] = socketPair();
  const reader = spawn(() => codeOf(thrownBy(() => left.recv())));
  idle();
  using _pair = wrapBoth(left, right, trusting(), serving());
  t.is(reader.get(), 'ECANCELED');
});

hubTest('inspecting a socket shows its other end', (t) => {
  using server = serveTls(serving(), echoTls);
  const socket = connect(server.port, { ...trusting() });
  t.regex(inspect(socket), /^<TlsSocket to (127\.0\.0\.1|\[::1\]):\d+>$/);
  socket.close();
  t.is(inspect(socket), '<TlsSocket closed>');
});

// Ends

pairTest("shutdown('w') ends one direction, and the other one goes on", (t, { client, server }) => {
  client.sendAll('last');
  client.shutdown('w');
  client.shutdown('w');
  t.is(recvAll(server).toString(), 'last');
  t.is(server.recv().length, 0, 'the end stays the end');
  server.sendAll('after');
  server.close();
  t.is(recvAll(client).toString(), 'after');
  t.is(codeOf(thrownBy(() => client.sendAll('x'))), 'EPIPE');
});

pairTest('close() tells the peer that this was all', (t, { client, server }) => {
  client.close();
  client.close();
  t.is(server.recv().length, 0);
  t.true(client.closed);
  t.is(client.fd, -1);
  for (const call of [
    () => client.recv(),
    () => client.sendAll('x'),
    () => client.shutdown('w'),
    () => client.unwrap(),
  ])
    t.is(codeOf(thrownBy(call)), 'EBADF');
});

pairTest('close() wakes who is parked on the socket', (t, { client }) => {
  const reader = spawn(() => codeOf(thrownBy(() => client.recv())));
  const writer = spawn(() => codeOf(thrownBy(() => client.sendAll(Buffer.alloc(50_000_000)))));
  idle();
  client.close();
  t.deepEqual([reader.get(), writer.get()], ['ECANCELED', 'ECANCELED']);
});

/** A test with a connection through a relay that the test can break. */
function relayTest(
  title: string,
  body: (t: ExecutionContext, ends: { client: TlsSocket; server: TlsSocket; relay: Relay }) => void,
  options: TlsOptions = {},
): void {
  hubTest(title, (t) => {
    let arrived: TlsSocket | undefined;
    using server = serveTls(serving(), (socket) => {
      arrived = socket;
      sleep(3_600_000, { ref: false });
    });
    using relay = relayTo(server.port);
    using client = connect(relay.port, { ...trusting(), ...options });
    while (arrived === undefined) idle();
    body(t, { client, server: arrived, relay });
  });
}

relayTest('a connection that ends before the stream does is an error', (t, { client, server, relay }) => {
  server.sendAll('some');
  t.is(client.recv().toString(), 'some');
  relay.cut();
  for (const call of [() => client.recv(), () => client.recvInto(Buffer.alloc(10)), () => client.recv()]) {
    const error = thrownBy(call);
    t.true(error instanceof TlsTruncationError);
    t.is(codeOf(error), 'ERR_GREENSTACK_TLS_TRUNCATED');
  }
});

relayTest(
  'suppressRaggedEofs makes it the end of the stream',
  (t, { client, server, relay }) => {
    server.sendAll('some');
    t.is(client.recv().toString(), 'some');
    relay.cut();
    t.is(client.recv().length, 0);
    t.is(client.recvInto(Buffer.alloc(10)), 0);
  },
  { suppressRaggedEofs: true },
);

relayTest('a reset is ECONNRESET', (t, { client, relay }) => {
  const reader = spawn(() => codeOf(thrownBy(() => client.recv())));
  idle();
  relay.reset();
  t.is(reader.get(), 'ECONNRESET');
});

relayTest('bytes that were changed on the way are noticed', (t, { client, server, relay }) => {
  relay.alter = (bytes) => {
    const changed = Buffer.from(bytes);
    changed[changed.length - 1]! ^= 1;
    return changed;
  };
  server.sendAll('hello');
  const error = thrownBy(() => client.recv());
  t.is(codeOf(error), 'EPROTO');
  t.is((error as SystemError).syscall, 'recv');
  t.is(codeOf(thrownBy(() => client.recv())), 'EPROTO', 'it stays broken');
  t.is(codeOf(thrownBy(() => client.sendAll('x'))), 'EPROTO');
  t.regex((thrownBy(() => server.recv()) as Error).message, /alert bad_record_mac/);
});

// Plain again

/** Both ends, and what they are when they are plain again. */
hubTest('unwrap() gives the plain connection back on both ends', (t) => {
  using pair = tlsPair();
  const other = spawn(() => pair.server.unwrap());
  using left = pair.client.unwrap();
  using right = other.get();
  t.true(pair.client.closed && pair.server.closed);
  t.true(left instanceof Socket);
  left.sendAll('plain');
  t.is(right.recv().toString(), 'plain');
  using again = wrapBoth(left, right, trusting(), serving());
  again.client.sendAll('encrypted');
  t.is(again.server.recv().toString(), 'encrypted');
});

hubTest('plain bytes that come right behind the end are not lost', (t) => {
  for (const version of VERSIONS) {
    using pair = tlsPair(only(version));
    pair.client.sendAll('encrypted');
    const other = spawn(() => {
      using plain = pair.client.unwrap();
      plain.sendAll('plain');
      return recvAll(plain).toString();
    });
    t.is(pair.server.recv().toString(), 'encrypted');
    // The client has gone on before we answer: its bytes come with its last word.
    t.is(pair.server.recv().length, 0);
    using plain = pair.server.unwrap();
    t.is(plain.recv(2).toString(), 'pl');
    t.is(plain.recv(100).toString(), 'ain');
    plain.sendAll('answer');
    plain.close();
    t.is(other.get(), 'answer');
  }
});

relayTest('plain bytes that come with the end itself are not lost', (t, { client, server, relay }) => {
  relay.alter = (bytes) => Buffer.concat([bytes, Buffer.from('plain')]);
  server.shutdown('w');
  t.is(client.recv().length, 0);
  using plain = client.unwrap();
  t.is(plain.recv(2).toString(), 'pl');
  t.is(codeOf(thrownBy(() => plain.detach())), 'EBUSY');
  t.is(plain.recv().toString(), 'ain');
  t.is(plain.recv().length, 0);
});

pairTest('unwrap() refuses to lose bytes that were not received', (t, { client, server }) => {
  client.sendAll('not received');
  client.shutdown('w');
  const error = thrownBy(() => server.unwrap());
  t.true(error instanceof TlsUnreadError);
  t.is(codeOf(error), 'ERR_GREENSTACK_TLS_UNREAD');
  t.is(recvAll(server).toString(), 'not received');
  using plain = server.unwrap();
  t.false(plain.closed);
});

pairTest('unwrap() gives up when its time is up, and can be called again', (t, { client, server }) => {
  t.is(codeOf(thrownBy(() => client.unwrap(20))), 'ETIMEDOUT');
  t.is(server.recv().length, 0);
  const other = spawn(() => server.unwrap());
  using left = client.unwrap();
  using right = other.get();
  left.sendAll('x');
  t.is(right.recv().toString(), 'x');
});

relayTest('unwrap() of a connection that was cut is an error', (t, { client, relay }) => {
  relay.cut();
  t.true(thrownBy(() => client.unwrap()) instanceof TlsTruncationError);
});

// Time

hubTest('a handshake that stalls is ETIMEDOUT, and the connection is closed', (t) => {
  using server = listen(silent);
  for (const limit of [{ timeout: 20 }, { handshakeTimeout: 20 }]) {
    const plain = createConnection(server.address);
    const error = thrownBy(() => wrapSocket(plain, { ...trusting(), ...limit }));
    t.is(codeOf(error), 'ETIMEDOUT');
    t.is((error as SystemError).syscall, 'handshake');
    t.true(plain.closed);
    t.is(codeOf(thrownBy(() => connect(server.address, { ...trusting(), ...limit }))), 'ETIMEDOUT');
  }
});

hubTest('a Timeout that was passed is thrown itself', (t) => {
  using server = listen(silent);
  const limit = new Timeout(20);
  t.is(
    thrownBy(() => connect(server.address, { ...trusting(), timeout: limit })),
    limit,
  );
});

hubTest('a client that stalls in the handshake does not hold up a server', (t) => {
  const stall = (server: { port: number }): Socket => {
    const stalled = createConnection({ host: '127.0.0.1', port: server.port });
    stalled.sendAll(Buffer.from([22, 3, 1]));
    return stalled;
  };
  using patient = serveTls(serving(), echoTls);
  using stalled = stall(patient);
  using client = connect(patient.port, trusting());
  client.sendAll('hello');
  t.is(client.recv().toString(), 'hello');
  t.is(codeOf(thrownBy(() => stalled.recv(1, 0))), 'ETIMEDOUT');
  using strict = serveTls({ ...serving(), handshakeTimeout: 50 }, echoTls);
  using given = stall(strict);
  t.is(recvAll(given).length, 0);
  t.deepEqual(strict.errors.map(codeOf), ['ETIMEDOUT']);
});

hubTest('a kill and an aborted signal end a handshake, and close the connection', (t) => {
  using server = listen(silent);
  const plain = createConnection(server.address);
  const victim = spawn(() => wrapSocket(plain, trusting()));
  idle();
  victim.kill();
  t.true(victim.value instanceof GreenletExit);
  t.true(plain.closed);
  const abort = new AbortController();
  const waiting = spawn(() =>
    thrownBy(() => connect(server.address, { ...trusting(), signal: abort.signal })),
  );
  sleep(5);
  abort.abort(new Error('aborted'));
  t.is((waiting.get() as Error).message, 'aborted');
});

pairTest('recv() that has timed out or was killed loses nothing', (t, { client, server }) => {
  t.is(codeOf(thrownBy(() => server.recv(10, 10))), 'ETIMEDOUT');
  t.is(codeOf(thrownBy(() => server.recv(10, 0))), 'ETIMEDOUT');
  const victim = spawn(() => server.recv());
  idle();
  victim.kill();
  client.sendAll('hello');
  t.is(server.recv(10, 1000).toString(), 'hello');
  client.sendAll('again');
  idle();
  t.is(server.recv(10, 0).toString(), 'again', 'what is there needs no wait');
});

hubTest('a limit also ends the wait of whoever was woken in vain when it passed', (t) => {
  const secureContext = createSecureContext({ ca: pki.root().cert });
  using server = serveTls(
    { secureContext: createSecureContext(pki.server()) },
    (socket) => void socket.recv(),
  );
  // The tickets of TLS 1.3 arrive at about the same time.
  for (let round = 0; round < 200; round++) {
    using client = connect(server.port, { secureContext, servername: 'a.test' });
    t.is(codeOf(thrownBy(() => client.recv(1, 0.1 * (round % 20)))), 'ETIMEDOUT');
  }
});

pairTest('sendAll() tells how much was taken when its time is up, and none of that is lost', (t, pair) => {
  const { client, server } = pair;
  const data = pattern(30_000_000);
  let sent = 0;
  const timedOut = new Event();
  const reader = spawn(() => {
    timedOut.wait();
    return sha1(recvExactly(server, data.length));
  });
  let timeouts = 0;
  while (sent < data.length) {
    try {
      client.sendAll(data.subarray(sent), 20);
      sent = data.length;
    } catch (error) {
      t.is(codeOf(error), 'ETIMEDOUT');
      sent += (error as SystemError).bytesSent!;
      timeouts++;
      timedOut.set();
    }
  }
  t.true(timeouts > 0);
  client.shutdown('w');
  t.is(reader.get(), sha1(data));
});

pairTest('send() that is not to wait takes what it can', (t, { client, server }) => {
  const data = pattern(20_000_000);
  let sent = 0;
  while (sent < data.length) {
    try {
      sent += client.send(data.subarray(sent), 0);
    } catch (error) {
      t.is(codeOf(error), 'ETIMEDOUT');
      t.is((error as SystemError).bytesSent, 0);
      break;
    }
  }
  t.true(sent > 0 && sent < data.length);
  client.timeout = 30_000;
  const reader = spawn(() => sha1(recvExactly(server, sent)));
  client.shutdown('w');
  t.is(reader.get(), sha1(data.subarray(0, sent)));
});

pairTest('a killed writer leaves a stream that can be used', (t, { client, server }) => {
  const writer = spawn(() => client.sendAll(Buffer.alloc(30_000_000)));
  idle();
  writer.kill();
  const other = spawn(() => {
    client.sendAll('the end');
    client.shutdown('w');
  });
  const received = recvAll(server);
  other.get();
  t.is(received.subarray(-7).toString(), 'the end');
  t.true(received.subarray(0, -7).every((byte) => byte === 0));
});

hubTest('connect() has one limit for everything', (t) => {
  using server = listen(silent);
  const begin = performance.now();
  t.is(codeOf(thrownBy(() => connect(server.address, { ...trusting(), timeout: 60 }))), 'ETIMEDOUT');
  t.true(performance.now() - begin >= 59);
});

// Whom to trust

const badServers: Array<[string, () => Identity, string, nodeTls.ConnectionOptions?]> = [
  ['an expired certificate', pki.expired, 'CERT_HAS_EXPIRED'],
  ['a certificate that is not valid yet', pki.notYetValid, 'CERT_NOT_YET_VALID'],
  ['a self-signed certificate', pki.selfSigned, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['a self-signed authority', pki.selfSignedAuthority, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['a chain with a gap', pki.leaf, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ['an authority that is not known', () => pki.server(), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', { ca: '' }],
  [
    'a chain to a root that is not known',
    () => ({ cert: pki.server().cert + pki.root().cert, key: pki.server().key }),
    'SELF_SIGNED_CERT_IN_CHAIN',
    { ca: '' },
  ],
  [
    'a chain to an authority that is not known',
    () => ({ cert: pki.leaf().cert + pki.intermediate().cert, key: pki.leaf().key }),
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    { ca: '' },
  ],
  ['another name', pki.server, 'ERR_TLS_CERT_ALTNAME_INVALID', { servername: 'b.test' }],
  ['a name below the wildcard', pki.server, 'ERR_TLS_CERT_ALTNAME_INVALID', { servername: 'a.b.wild.test' }],
];

for (const [what, identity, code, options = {}] of badServers) {
  hubTest(`${what} is refused as node:tls refuses it: ${code}`, (t) => {
    using server = listenNode(identity(), () => {});
    const { servername = 'a.test' } = options;
    const ca = options.ca === undefined ? pki.root().cert : pki.otherRoot().cert;
    const ours = thrownBy(() => connect(server.port, { ca, servername })) as CertificateError;
    t.is(ours.code, code);
    t.is(thrownBy(() => connectNode(server.port, { ca, servername })) instanceof Error, true);
    const theirs = thrownBy(() => connectNode(server.port, { ca, servername })) as CertificateError;
    t.is(ours.code, theirs.code);
    t.is(ours.cert?.fingerprint, new X509Certificate(identity().cert).fingerprint);
    using tolerant = connect(server.port, { ca, servername, rejectUnauthorized: false });
    t.false(tolerant.authorized);
    t.is(codeOf(tolerant.authorizationError), code);
    t.is(tolerant.peerCertificate?.fingerprint, ours.cert?.fingerprint);
  });
}

hubTest('an error about the name tells the name and those of the certificate', (t) => {
  using server = listenNode(pki.server(), () => {});
  const ca = pki.root().cert;
  const error = thrownBy(() => connect(server.port, { ca, servername: 'b.test' })) as CertificateError;
  t.is(error.host, 'b.test');
  t.is(
    error.reason,
    "Host: b.test is not in the cert's altnames: DNS:a.test, DNS:*.wild.test, DNS:localhost, IP Address:127.0.0.1",
  );
  t.is(error.message, `Hostname/IP does not match certificate's altnames: ${error.reason}`);
});

hubTest('names, wildcards and addresses of a certificate are accepted', (t) => {
  using server = serveTls(serving(), echoTls);
  const ca = pki.root().cert;
  for (const servername of ['a.test', 'A.TEST', 'x.wild.test', 'localhost', '127.0.0.1']) {
    using client = connect(server.port, { ca, servername });
    t.true(client.authorized);
    t.is(client.serverName, servername === '127.0.0.1' ? null : servername);
  }
});

hubTest('the host is the name that is expected', (t) => {
  using server = serveTls(serving(), echoTls);
  const ca = pki.root().cert;
  for (const host of ['127.0.0.1', 'localhost']) {
    using client = connect({ host, port: server.port }, { ca });
    t.true(client.authorized);
  }
  using byPort = connect(server.port, { ca });
  t.is(byPort.serverName, 'localhost');
});

hubTest('a certificate that is one of ca is trusted for itself', (t) => {
  for (const identity of [pki.selfSigned(), pki.selfSignedAuthority()]) {
    using pair = tlsPair({ ca: identity.cert }, identity);
    t.true(pair.client.authorized);
    t.is(
      codeOf(thrownBy(() => tlsPair({ ca: identity.cert, servername: 'b.test' }, identity))),
      'ERR_TLS_CERT_ALTNAME_INVALID',
    );
  }
});

hubTest('several roots may be given, in one text or in several, as text or Buffer', (t) => {
  const [one, other] = [pki.otherRoot().cert, pki.root().cert];
  for (const ca of [one + other, [one, other], [Buffer.from(other)], Buffer.from(one + other)]) {
    using pair = tlsPair({ ca });
    t.true(pair.client.authorized);
  }
});

hubTest('without ca, the roots that Node brings are trusted, and no others', (t) => {
  t.is(codeOf(thrownBy(() => tlsPair({ ca: undefined }))), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
});

hubTest('a chain with its intermediate certificate leads to the root', (t) => {
  const { cert, key } = pki.leaf();
  using pair = tlsPair({}, { cert: cert + pki.intermediate().cert, key });
  t.is(pair.client.peerCertificateChain.length, 2);
  t.true(pair.client.authorized);
});

hubTest('checkServerIdentity decides instead of the names', (t) => {
  const asked: unknown[] = [];
  const checkServerIdentity: NonNullable<SecureContextOptions['checkServerIdentity']> = (name, cert) => {
    asked.push(name, cert.fingerprint);
    return undefined;
  };
  using pair = tlsPair({ servername: 'b.test', checkServerIdentity });
  t.deepEqual(asked, ['b.test', pair.client.peerCertificate?.fingerprint]);
  const refusal = new Error('not that one');
  t.is(
    thrownBy(() => tlsPair({ checkServerIdentity: () => refusal })),
    refusal,
  );
  using tolerant = tlsPair({
    checkServerIdentity: () => refusal,
    rejectUnauthorized: false,
    ca: pki.root().cert,
  });
  t.is(tolerant.client.authorizationError, refusal);
  t.false(tolerant.client.authorized);
  const { code } = thrownBy(() =>
    tlsPair({ ca: pki.otherRoot().cert, checkServerIdentity: () => undefined }),
  ) as CertificateError;
  t.is(code, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'the chain has to be trusted all the same');
});

hubTest('a signature that is not right is refused even where nobody is rejected', (t) => {
  // A certificate with the key of another one: OpenSSL, which does not check, serves it.
  const { cert } = pki.server();
  t.throws(() => createSecureContext({ cert, key: pki.client().key }), { instanceOf: SecureContextError });
});

// Clients that have to show something

for (const version of VERSIONS) {
  hubTest(`${version}: a client shows its certificate`, (t) => {
    using pair = tlsPair({ ...pki.client(), ...only(version) }, { requestCert: true, ca: pki.root().cert });
    t.true(pair.server.authorized);
    t.is(pair.server.peerCertificate?.fingerprint, new X509Certificate(pki.client().cert).fingerprint);
  });

  hubTest(`${version}: a client without a certificate is told so`, (t) => {
    using server = serveTls({ ...serving(), requestCert: true, ca: pki.root().cert }, echoTls);
    const error = thrownBy(() => {
      using client = connect(server.port, { ...trusting(), ...only(version) });
      client.recv();
    }) as SystemError;
    t.is(error.code, 'EPROTO');
    t.regex(error.message, /alert certificate_required|alert handshake_failure/);
    t.is(codeOf(server.errors[0]), 'EPROTO');
    t.regex(String(server.errors[0]), /no certificate/);
  });

  hubTest(`${version}: a client with a wrong certificate is told so, and the server why`, (t) => {
    using server = serveTls({ ...serving(), requestCert: true, ca: pki.otherRoot().cert }, echoTls);
    const error = thrownBy(() => {
      using client = connect(server.port, { ...trusting(), ...pki.client(), ...only(version) });
      client.recv();
    }) as SystemError;
    t.is(error.code, 'EPROTO');
    t.regex(error.message, /alert unknown_ca/);
    t.is(codeOf(server.errors[0]), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  });
}

hubTest('a server that rejects nobody is told what speaks against a client', (t) => {
  const tolerant: TlsOptions = { requestCert: true, rejectUnauthorized: false, ca: pki.root().cert };
  const cases: Array<[TlsOptions, string | undefined]> = [
    [{}, 'UNABLE_TO_GET_ISSUER_CERT'],
    [pki.selfSigned(), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    [pki.expired(), 'CERT_HAS_EXPIRED'],
    [pki.client(), undefined],
  ];
  for (const [options, code] of cases) {
    using pair = tlsPair(options, tolerant);
    t.is(pair.server.authorized, code === undefined);
    t.is(codeOf(pair.server.authorizationError ?? {}), code);
  }
});

// Several certificates

hubTest('a server shows the certificate of the name that is asked for', (t) => {
  const make = (names: string): Identity => certificate({ names, issuer: pki.root() });
  const [one, wild] = [make('DNS:one.test'), make('DNS:*.many.test')];
  const sni = { 'one.test': one, '*.many.test': wild };
  const fingerprint = (name: string): string | undefined => {
    using pair = tlsPair({ servername: name, rejectUnauthorized: false }, { sni });
    t.is(pair.server.serverName, name);
    return pair.client.peerCertificate?.fingerprint;
  };
  const of = (identity: Identity): string => new X509Certificate(identity.cert).fingerprint;
  t.is(fingerprint('one.test'), of(one));
  t.is(fingerprint('x.many.test'), of(wild));
  t.is(fingerprint('x.y.many.test'), of(pki.server()));
  t.is(fingerprint('other.test'), of(pki.server()));
  const [left, right] = socketPair();
  const error = thrownBy(() =>
    wrapBoth(left, right, { ...trusting(), servername: 'other.test' }, { sni, isServer: true }),
  );
  t.is(codeOf(error), 'EPROTO', 'nothing to show');
});

hubTest('a server shows a certificate of a kind that the client can use', (t) => {
  const both = [pki.server(), pki.rsaServer()];
  const options = { cert: both.map(({ cert }) => cert), key: both.map(({ key }) => key) };
  for (const [ciphers, kind] of [
    ['ECDHE-RSA-AES128-GCM-SHA256', 'rsa'],
    ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ec'],
  ] as const) {
    using pair = tlsPair({ ciphers, maxVersion: 'TLSv1.2' }, options);
    t.is(pair.client.peerCertificate?.publicKey.asymmetricKeyType, kind);
  }
});

hubTest('keys of all kinds and encodings work', (t) => {
  const ec = createPrivateKey(pki.server().key);
  const rsa = createPrivateKey(pki.rsaServer().key);
  const ed25519 = certificate({ names: 'DNS:a.test', issuer: pki.root(), kind: 'ed25519' });
  const pem = 'pem' as const;
  for (const [cert, key] of [
    [pki.server().cert, ec.export({ type: 'pkcs8', format: pem })],
    [pki.server().cert, ec.export({ type: 'sec1', format: pem })],
    [pki.rsaServer().cert, rsa.export({ type: 'pkcs8', format: pem })],
    [pki.rsaServer().cert, rsa.export({ type: 'pkcs1', format: pem })],
    [ed25519.cert, ed25519.key],
  ] as const) {
    using pair = tlsPair({}, { cert, key });
    t.true(pair.client.authorized);
  }
});

// What the ends do not have in common

hubTest('no version in common is EPROTO on both ends', (t) => {
  using server = serveTls({ ...serving(), minVersion: 'TLSv1.3' }, echoTls);
  const error = thrownBy(() => connect(server.port, { ...trusting(), maxVersion: 'TLSv1.2' }));
  t.is(codeOf(error), 'EPROTO');
  t.regex((error as Error).message, /alert protocol_version/);
  t.regex(String(server.errors[0]), /no protocol version/);
});

hubTest('no ALPN protocol in common is EPROTO on both ends', (t) => {
  using server = serveTls({ ...serving(), alpnProtocols: ['a'] }, echoTls);
  const error = thrownBy(() => connect(server.port, { ...trusting(), alpnProtocols: ['b'] }));
  t.is(codeOf(error), 'EPROTO');
  t.regex((error as Error).message, /alert no_application_protocol/);
  t.regex(String(server.errors[0]), /alpnProtocols/);
});

hubTest('no cipher in common is EPROTO on both ends', (t) => {
  using server = serveTls({ ...serving(), ciphers: 'TLS_AES_128_GCM_SHA256' }, echoTls);
  const error = thrownBy(() => connect(server.port, { ...trusting(), ciphers: 'TLS_AES_256_GCM_SHA384' }));
  t.is(codeOf(error), 'EPROTO');
  t.regex((error as Error).message, /alert handshake_failure/);
  t.is(codeOf(server.errors[0]), 'EPROTO');
});

hubTest('a server that does not speak TLS is EPROTO', (t) => {
  for (const answer of ['HTTP/1.1 400 Bad Request\r\n\r\n', '\0\0\0\0\0\0\0\0', '220 mail ready\r\n']) {
    using server = listen((socket) => void socket.end(answer));
    const error = thrownBy(() => connect(server.address, trusting()));
    t.is(codeOf(error), 'EPROTO');
    t.is((error as SystemError).syscall, 'handshake');
    t.regex((error as Error).message, /not TLS/);
  }
});

hubTest('a client that does not speak TLS is told, and the server goes on', (t) => {
  using server = serveTls(serving(), echoTls);
  for (const garbage of [
    'GET / HTTP/1.1\r\n\r\n',
    Buffer.alloc(20_000, 0xff),
    Buffer.from([22, 3, 1, 0, 4, 9, 0, 0, 0]),
  ]) {
    using plain = createConnection({ host: '127.0.0.1', port: server.port });
    plain.sendAll(garbage);
    const answer = settled(() => recvAll(plain));
    // An alert, unless the connection was reset for the rest of the garbage.
    if ('value' in answer) t.is(answer.value[0], 21);
  }
  using client = connect(server.port, trusting());
  client.sendAll('hello');
  t.is(client.recv().toString(), 'hello');
  t.deepEqual(server.errors.map(codeOf), ['EPROTO', 'EPROTO', 'EPROTO']);
});

hubTest('a peer that hangs up in the handshake is ECONNRESET', (t) => {
  using closing = listen((socket) => void socket.end());
  const error = thrownBy(() => connect(closing.address, trusting()));
  t.is(codeOf(error), 'ECONNRESET');
  t.regex((error as Error).message, /before the handshake was done/);
  using resetting = listen((socket) => socket.once('data', () => socket.resetAndDestroy()));
  t.is(codeOf(thrownBy(() => connect(resetting.address, trusting()))), 'ECONNRESET');
  using server = serveTls(serving(), echoTls);
  createConnection({ host: '127.0.0.1', port: server.port }).close();
  while (server.errors.length === 0) sleep(1);
  t.is(codeOf(server.errors[0]), 'ECONNRESET');
});

hubTest('an echo of the hello is no handshake', (t) => {
  using server = listen(echo);
  t.is(codeOf(thrownBy(() => connect(server.address, trusting()))), 'EPROTO');
});

// Resumption and the key log

/** For servers of `node:tls`. One that ends right after the handshake of TLS 1.3 does not say so. */
const endOnData = (socket: nodeTls.TLSSocket): void => {
  socket.once('data', (data) => socket.end(data));
};

for (const version of VERSIONS) {
  hubTest(`${version}: a client that comes again resumes its session`, (t) => {
    const secureContext = createSecureContext({ ca: pki.root().cert, ...only(version) });
    const reused: boolean[] = [];
    using server = serveTls({ secureContext: createSecureContext({ ...pki.server() }) }, (socket) => {
      reused.push(socket.sessionReused);
      socket.sendAll('hello');
    });
    for (const expected of [false, true, true]) {
      using client = connect(server.port, { secureContext, servername: 'a.test' });
      t.is(recvAll(client).toString(), 'hello');
      t.is(client.sessionReused, expected);
      t.true(client.authorized);
      t.is(client.peerCertificateChain.length, 1);
    }
    t.deepEqual(reused, [false, true, true]);
  });
}

hubTest('a context of its own, or sessionResumption: false, resumes nothing', (t) => {
  using server = serveTls(serving(), (socket) => socket.sendAll('hello'));
  const secureContext = createSecureContext({ ca: pki.root().cert, sessionResumption: false });
  for (const options of [{ ca: pki.root().cert }, { secureContext }]) {
    for (let round = 0; round < 2; round++) {
      using client = connect(server.port, { ...options, servername: 'a.test' });
      t.is(recvAll(client).toString(), 'hello');
      t.false(client.sessionReused);
    }
  }
});

for (const version of VERSIONS) {
  hubTest(`${version}: the key log is the one that node:tls has of the same connection`, (t) => {
    const theirs: string[] = [];
    const ours: string[] = [];
    using server = listenNode({ ...pki.server(), ...only(version) }, endOnData);
    server.server.on('keylog', (line) => theirs.push(line.toString().trim()));
    using client = connect(server.port, { ...trusting(), keyLog: (line) => ours.push(line) });
    client.sendAll('x');
    t.is(recvAll(client).toString(), 'x');
    t.true(ours.length > 0);
    t.deepEqual(
      ours.filter((line) => !theirs.includes(line)),
      [],
    );
    // OpenSSL logs one more, for later sessions.
    t.deepEqual(
      theirs.filter((line) => !ours.includes(line) && !line.startsWith('EXPORTER')),
      [],
    );
  });
}

// node:tls on the other side

for (const version of VERSIONS) {
  hubTest(`${version}: a client of ours with a server of node:tls`, (t) => {
    const data = pattern(3_000_000);
    using server = listenNode({ ...pki.server(), ALPNProtocols: ['x'], ...only(version) }, (socket) => {
      socket.pipe(socket);
    });
    using client = connect(server.port, { ...trusting(), alpnProtocols: ['x'] });
    const writer = spawn(() => {
      client.sendAll(data);
      client.shutdown('w');
    });
    t.is(sha1(recvAll(client)), sha1(data));
    writer.get();
    t.is(client.protocol, version);
    t.is(client.alpnProtocol, 'x');
  });

  hubTest(`${version}: a client of node:tls with a server of ours`, (t) => {
    const data = pattern(3_000_000);
    using server = serveTls({ ...serving(), alpnProtocols: ['x'] }, echoTls);
    const client = connectNode(server.port, { ...only(version), ALPNProtocols: ['x'] });
    client.end(data);
    t.is(sha1(nodeReceivesAll(client)), sha1(data));
    t.is(client.alpnProtocol, 'x');
    t.true(client.authorized);
    t.deepEqual(server.errors, []);
  });

  hubTest(`${version}: a client of node:tls resumes its session with a server of ours`, (t) => {
    const reused: boolean[] = [];
    using server = serveTls({ secureContext: createSecureContext(pki.server()) }, (socket) => {
      reused.push(socket.sessionReused);
      socket.sendAll('hello');
    });
    const first = connectNode(server.port, only(version));
    t.is(nodeReceivesAll(first).toString(), 'hello');
    const second = connectNode(server.port, { ...only(version), session: sessionOf(first) });
    t.true(second.isSessionReused());
    t.is(nodeReceivesAll(second).toString(), 'hello');
    t.deepEqual(reused, [false, true]);
  });

  hubTest(`${version}: a client of ours resumes its session with a server of node:tls`, (t) => {
    using server = listenNode({ ...pki.server(), ...only(version) }, endOnData);
    const secureContext = createSecureContext({ ca: pki.root().cert });
    for (const expected of [false, true]) {
      using client = connect(server.port, { secureContext, servername: 'a.test' });
      client.sendAll('hello');
      t.is(recvAll(client).toString(), 'hello');
      t.is(client.sessionReused, expected);
    }
  });
}

hubTest('a client of node:tls shows its certificate to a server of ours', (t) => {
  const subjects: Array<string | undefined> = [];
  using server = serveTls({ ...serving(), requestCert: true, ca: pki.root().cert }, (socket) => {
    subjects.push(socket.peerCertificate?.subject);
  });
  const client = connectNode(server.port, pki.client());
  t.is(nodeReceivesAll(client).length, 0);
  t.deepEqual(subjects, [new X509Certificate(pki.client().cert).subject]);
});

hubTest('a client of ours shows its certificate to a server of node:tls', (t) => {
  using server = listenNode({ ...pki.server(), requestCert: true, ca: pki.root().cert }, (socket) => {
    socket.once('data', () => socket.end(socket.getPeerX509Certificate()?.subject ?? ''));
  });
  using client = connect(server.port, { ...trusting(), ...pki.client() });
  client.sendAll('who am I?');
  t.is(recvAll(client).toString(), new X509Certificate(pki.client().cert).subject);
});

// Other programs

for (const [version, flag] of [
  ['TLSv1.2', '-tls1_2'],
  ['TLSv1.3', '-tls1_3'],
] as const) {
  hubTest(`${version}: openssl s_client talks to a server of ours`, (t) => {
    using server = serveTls(serving(), echoTls);
    using program = new Program('openssl', [
      ...['s_client', '-connect', `127.0.0.1:${server.port}`, '-servername', 'a.test'],
      ...[flag, '-quiet', '-no_ign_eof'],
    ]);
    program.child.stdin!.write('hello from openssl\n');
    program.prints(/hello from openssl\n/);
    program.child.stdin!.write('Q\n');
    t.is(program.exit(), 0);
    t.deepEqual(server.errors, []);
  });

  hubTest(`${version}: a client of ours talks to openssl s_server, which reverses lines`, (t) => {
    using server = opensslServer(pki.server(), [flag, '-rev']);
    using client = connect(server.port, trusting());
    client.sendAll('abc\n');
    t.is(recvExactly(client, 4).toString(), 'cba\n');
    t.is(client.protocol, version);
  });

  hubTest(`${version}: a client of ours resumes its session with openssl s_server`, (t) => {
    using server = opensslServer(pki.server(), [flag, '-rev']);
    const secureContext = createSecureContext({ ca: pki.root().cert });
    for (const expected of [false, true]) {
      using client = connect(server.port, { secureContext, servername: 'a.test' });
      client.sendAll('abc\n');
      t.is(recvExactly(client, 4).toString(), 'cba\n');
      t.is(client.sessionReused, expected);
    }
  });
}

hubTest('openssl s_server that demands a certificate gets it', (t) => {
  using server = opensslServer(pki.server(), ['-rev', '-Verify', '1', '-verify_return_error']);
  using client = connect(server.port, { ...trusting(), ...pki.client() });
  client.sendAll('abc\n');
  t.is(recvExactly(client, 4).toString(), 'cba\n');
  // It serves one at a time.
  client.close();
  const error = thrownBy(() => {
    using other = connect(server.port, trusting());
    other.recv();
  });
  t.is(codeOf(error), 'EPROTO');
});

hubTest('a client that wants to renegotiate is not listened to', (t) => {
  using server = serveTls(serving(), echoTls);
  using program = new Program('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${server.port}`, '-tls1_2', '-servername', 'a.test'],
  ]);
  program.prints(/Verify return code/);
  program.child.stdin!.write('R\n');
  program.prints(/no renegotiation|unexpected|RENEGOTIATING[^]*error/i);
  program.exit();
  using client = connect(server.port, trusting());
  client.sendAll('hello');
  t.is(client.recv().toString(), 'hello');
});

hubTest('keys that the peer changes meanwhile change nothing', (t) => {
  const chunks: string[] = [];
  using server = serveTls(serving(), (socket) => {
    for (let chunk: Buffer; (chunk = socket.recv()).length > 0;) {
      chunks.push(chunk.toString());
      socket.sendAll(chunk);
    }
  });
  using program = new Program('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${server.port}`, '-tls1_3', '-servername', 'a.test'],
  ]);
  program.prints(/Verify return code/);
  // K: new keys on both sides, k: on one side.
  program.child.stdin!.write('K\n');
  program.prints(/KEYUPDATE/);
  program.child.stdin!.write('after the first\n');
  program.prints(/after the first\n/);
  t.deepEqual(chunks.join(''), 'after the first\n');
  t.deepEqual(server.errors, []);
});

hubTest('curl gets a page', (t) => {
  using server = serveTls({ ...serving(), alpnProtocols: ['http/1.1'] }, (socket) => {
    socket.recv();
    socket.sendAll('HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n');
  });
  using program = new Program('curl', [
    ...['--silent', '--show-error', '--insecure', '--http1.1'],
    ...['--connect-to', `a.test:443:127.0.0.1:${server.port}`, 'https://a.test/'],
  ]);
  t.is(program.exit(), 0);
  t.is(program.printed, 'hello\n');
  t.deepEqual(server.errors, []);
});

// Many

hubTest('many connections at once, each with its own data, leave nothing behind', (t) => {
  const secureContext = createSecureContext({ ca: pki.root().cert });
  using server = serveTls({ secureContext: createSecureContext(pki.server()) }, echoTls);
  const clients = Array.from({ length: 100 }, (_, index) =>
    spawn(() => {
      using client = connect(server.port, { secureContext, servername: 'a.test' });
      const data = pattern(1000 + index * 500);
      const writer = spawn(() => {
        client.sendAll(data);
        client.shutdown('w');
      });
      const received = recvAll(client);
      writer.get();
      return received.equals(data);
    }),
  );
  joinAll(clients, { raiseError: true });
  t.true(clients.every((client) => client.value === true));
  t.deepEqual(server.errors, []);
});

hubTest('handshakes that are killed at any moment leave nothing behind', (t) => {
  using server = serveTls(serving(), echoTls);
  const secureContext = createSecureContext({ ca: pki.root().cert });
  for (let steps = 0; steps < 25; steps++) {
    const victim = spawn(() => {
      using client = connect(server.port, { secureContext, servername: 'a.test' });
      client.sendAll('hello');
      return client.recv().toString();
    });
    for (let step = 0; step < steps; step++) sleep(0);
    victim.kill();
    t.true(victim.value instanceof GreenletExit || victim.value === 'hello');
  }
});

// Bad input

hubTest('options that cannot be used are refused by name', (t) => {
  const { cert, key } = pki.server();
  const encrypted = createPrivateKey(key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  }) as string;
  const encryptedSec1 = createPrivateKey(key).export({
    type: 'sec1',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  }) as string;
  const cases: Array<[SecureContextOptions, string, RegExp]> = [
    [{ cert: 'no PEM', key }, 'cert', /no PEM section 'CERTIFICATE'/],
    [{ cert: cert.slice(0, 200), key }, 'cert', /cut off/],
    [{ cert: cert.replace('MII', 'M!!'), key }, 'cert', /not Base64/],
    [{ cert, key: 'no PEM' }, 'key', /no PEM section 'PRIVATE KEY'/],
    [{ cert, key: encrypted }, 'key', /encrypted.*createPrivateKey/],
    [{ cert, key: encryptedSec1 }, 'key', /encrypted/],
    [{ cert, key: pki.client().key }, 'key', /not the key of the first certificate/],
    [{ cert, key: cert }, 'key', /no PEM section/],
    [{ ca: 'no PEM' }, 'ca', /no PEM section 'CERTIFICATE'/],
    [{ ca: [pki.root().cert, key] }, 'ca', /no PEM section/],
    [{ ciphers: 'RC4-MD5' }, 'ciphers', /'RC4-MD5'/],
    [{ ciphers: 'ECDHE-RSA-AES128-GCM-SHA256', minVersion: 'TLSv1.3' }, 'ciphers', /none for the protocol/],
    [{ sni: { 'a.test': { cert, key: pki.client().key } } }, 'key', /not the key/],
  ];
  for (const [options, argument, message] of cases) {
    const error = thrownBy(() => createSecureContext(options)) as SecureContextError;
    t.true(error instanceof SecureContextError, String(error));
    t.is(error.code, 'ERR_GREENSTACK_SECURE_CONTEXT');
    t.is(error.argument, argument);
    t.regex(error.message, message);
    t.regex(error.message, /^createSecureContext\(\): /);
    const [left, right] = socketPair();
    t.throws(() => wrapSocket(left, { ...options, isServer: true }), { instanceOf: Error });
    t.false(left.closed, 'nothing has happened to it');
    left.close();
    right.close();
  }
});

test('options of the wrong type are refused', (t) => {
  const { cert, key } = pki.server();
  const cases: Array<[object, RegExp]> = [
    [{ cert }, /cert and key belong together/],
    [{ key }, /cert and key belong together/],
    [{ cert: [cert, cert], key }, /got 2 and 1/],
    [{ cert: 1, key }, /cert must be a string or Buffer in PEM, got 1/],
    [{ cert, key: {} }, /key must be a string or Buffer in PEM, got object/],
    [{ ca: [1] }, /ca must be a string or Buffer/],
    [{ sni: 1 }, /sni must be an object/],
    [{ sni: { 'a.*.test': { cert, key } } }, /'a\.\*\.test'/],
    [{ sni: { 'a.test': null } }, /sni\['a\.test'\]/],
    [{ alpnProtocols: 'h2' }, /alpnProtocols must be an array/],
    [{ alpnProtocols: [''] }, /1 to 255 bytes/],
    [{ alpnProtocols: ['x'.repeat(256)] }, /1 to 255 bytes/],
    [{ ciphers: 5 }, /ciphers must be names/],
    [{ minVersion: 'SSLv3' }, /minVersion must be 'TLSv1\.2' or 'TLSv1\.3'/],
    [{ requestCert: 1 }, /requestCert must be true or false/],
    [{ rejectUnauthorized: 'no' }, /rejectUnauthorized must be true or false/],
    [{ checkServerIdentity: true }, /checkServerIdentity expects a function/],
    [{ keyLog: 'file' }, /keyLog expects a function/],
  ];
  for (const [options, message] of cases)
    t.throws(() => createSecureContext(options), { instanceOf: TypeError, message });
  t.throws(() => createSecureContext({ maxVersion: 'TLSv1.1' as 'TLSv1.2' }), { instanceOf: RangeError });
  t.throws(() => createSecureContext({ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' }), {
    instanceOf: RangeError,
  });
  t.throws(() => createSecureContext(5 as never), { instanceOf: TypeError });
});

hubTest('wrapSocket() refuses what it cannot wrap, and leaves it alone', (t) => {
  const [left, right] = socketPair();
  const [datagrams, others] = socketPair({ type: 'datagram' });
  const context = createSecureContext({ ca: pki.root().cert });
  const cases: Array<[unknown, object, RegExp]> = [
    [{}, trusting(), /expects a Socket, got object/],
    [datagrams, trusting(), /datagrams/],
    [left, {}, /servername is needed/],
    [left, { isServer: true }, /a server needs cert and key/],
    [left, { ...trusting(), servername: 'no name' }, /servername must be a DNS name or an IP address/],
    [left, { ...trusting(), servername: 5 }, /servername must be/],
    [left, { ...trusting(), isServer: 1 }, /isServer must be true or false/],
    [left, { ...trusting(), handshake: 1 }, /handshake must be true or false/],
    [left, { ...trusting(), handshakeTimeout: 'x' }, /handshakeTimeout expects a time/],
    [left, { ...trusting(), timeout: 'x' }, /expects a time/],
    [left, { secureContext: {} }, /secureContext must be made by createSecureContext/],
    [
      left,
      { secureContext: context, ca: 'x', servername: 'a.test' },
      /ca must be given to createSecureContext/,
    ],
  ];
  for (const [socket, options, message] of cases)
    t.throws(() => wrapSocket(socket as Socket, options), { instanceOf: TypeError, message });
  t.false(left.closed);
  left.close();
  t.is(codeOf(thrownBy(() => wrapSocket(left, trusting()))), 'EBADF');
  for (const socket of [right, datagrams, others]) socket.close();
  t.true(context instanceof SecureContext);
});

pairTest('shutdown() refuses what is no direction', (t, { client }) => {
  t.throws(() => client.shutdown('x' as 'r'), { instanceOf: TypeError });
  t.throws(() => client.recv(-1), { instanceOf: RangeError });
  t.throws(() => client.sendAll(5 as never), { instanceOf: TypeError });
});
