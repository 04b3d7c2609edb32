import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectPlain } from 'node:net';
import * as nodeTls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import {
  ConcurrentObjectUseError,
  GreenletExit,
  idle,
  joinAll,
  sleep,
  spawn,
  Timeout,
  waitFor,
} from 'greenstack';
import { createConnection, Socket, socketPair } from 'greenstack/socket';
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
  serveTls,
  serving,
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
  t.regex(require('node:util').inspect(socket), /^<TlsSocket to (127\.0\.0\.1|\[::1\]):\d+>$/);
  socket.close();
  t.is(require('node:util').inspect(socket), '<TlsSocket closed>');
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
    () => client.handshake(),
  ])
    t.is(codeOf(thrownBy(call)), call === undefined ? '' : 'EBADF');
});

pairTest('close() wakes who is parked on the socket', (t, { client }) => {
  const reader = spawn(() => codeOf(thrownBy(() => client.recv())));
  const writer = spawn(() => codeOf(thrownBy(() => client.sendAll(Buffer.alloc(50_000_000)))));
  idle();
  client.close();
  t.deepEqual([reader.get(), writer.get()], ['ECANCELED', 'ECANCELED']);
});

