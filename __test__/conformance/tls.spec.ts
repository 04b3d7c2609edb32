/** What gevent documents of `gevent.ssl`, and Python of the module it stands for, one test for each behaviour. */
import { X509Certificate } from 'node:crypto';
import { GreenletExit, idle, sleep, spawn, Timeout } from 'greenstack';
import { createConnection, type Socket, socketPair } from 'greenstack/socket';
import {
  connect,
  createSecureContext,
  SecureContextError,
  TlsTruncationError,
  wrapSocket,
} from 'greenstack/tls';
import { pki } from '../support/certificates.js';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { listen, silent } from '../support/servers.js';
import { echoTls, relayTo, serveTls, serving, tlsPair, trusting, wrapBoth } from '../support/tls.js';

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

// Making sockets

hubTest('gevent.ssl.wrap_socket: takes over the descriptor and detaches the original', (t) => {
  const [left, right] = socketPair();
  const descriptor = left.fd;
  using pair = wrapBoth(left, right, trusting(), serving());
  t.is(pair.client.fd, descriptor);
  t.is(left.fd, -1);
  left.close();
  pair.client.sendAll('x');
  t.is(pair.server.recv().toString(), 'x');
});

hubTest('gevent.ssl.wrap_socket: the timeout of the socket is kept', (t) => {
  const [left, right] = socketPair();
  left.timeout = 500;
  using pair = wrapBoth(left, right, trusting(), serving());
  t.is(pair.client.timeout, 500);
});

hubTest('gevent.ssl.wrap_socket: the end of a server needs a certificate', (t) => {
  const [left, right] = socketPair();
  t.throws(() => wrapSocket(left, { isServer: true }), { message: /needs cert and key/ });
  left.close();
  right.close();
});

hubTest('gevent.ssl.wrap_socket: checking the name needs server_hostname', (t) => {
  const [left, right] = socketPair();
  t.throws(() => wrapSocket(left, { ca: pki.root().cert }), { message: /servername is needed/ });
  left.close();
  right.close();
});

hubTest('gevent.ssl.wrap_socket: only stream sockets', (t) => {
  const [left, right] = socketPair({ type: 'datagram' });
  t.throws(() => wrapSocket(left, trusting()), { message: /datagrams/ });
  left.close();
  right.close();
});

hubTest('gevent.ssl.wrap_socket: if the handshake fails the connection is closed', (t) => {
  using server = serveTls(serving(), echoTls);
  const plain = createConnection({ host: '127.0.0.1', port: server.port });
  t.is(
    codeOf(thrownBy(() => wrapSocket(plain, { ...trusting(), servername: 'b.test' }))),
    'ERR_TLS_CERT_ALTNAME_INVALID',
  );
  t.true(plain.closed);
});

hubTest('gevent.ssl.SSLContext: one context serves many connections', (t) => {
  const client = createSecureContext({ ca: pki.root().cert });
  const server = createSecureContext(pki.server());
  for (let round = 0; round < 3; round++) {
    const ends = socketPair() as [Socket, Socket];
    using pair = wrapBoth(
      ...ends,
      { secureContext: client, servername: 'a.test' },
      { secureContext: server, isServer: true },
    );
    pair.client.sendAll('x');
    t.is(pair.server.recv().toString(), 'x');
  }
});

hubTest('gevent.ssl.SSLContext.load_cert_chain: a key that does not match is refused', (t) => {
  const { cert } = pki.server();
  t.throws(() => createSecureContext({ cert, key: pki.client().key }), { instanceOf: SecureContextError });
});

hubTest('gevent.ssl.SSLContext.sni_callback: the server shows the certificate of the name', (t) => {
  using pair = tlsPair(
    { servername: 'localhost' },
    { cert: undefined, key: undefined, sni: { localhost: pki.server() } },
  );
  t.is(pair.server.serverName, 'localhost');
});

// The handshake

hubTest('gevent.ssl.SSLSocket.do_handshake: waits in the right direction, others run meanwhile', (t) => {
  const [left, right] = socketPair();
  using client = wrapSocket(left, { ...trusting(), handshake: false });
  const greenlet = spawn(() => client.handshake());
  idle();
  t.false(greenlet.ready);
  using server = wrapSocket(right, serving());
  greenlet.get();
  t.is(client.protocol, server.protocol);
});

hubTest('gevent.ssl.SSLSocket.do_handshake: obeys the timeout', (t) => {
  using server = listen(silent);
  using client = wrapSocket(createConnection(server.address), { ...trusting(), handshake: false });
  const error = thrownBy(() => client.handshake(10));
  t.is(codeOf(error), 'ETIMEDOUT');
  t.regex((error as Error).message, /handshake/);
});

hubTest('gevent.ssl.SSLSocket: do_handshake_on_connect=False leaves the handshake to the caller', (t) => {
  const [left, right] = socketPair();
  using client = wrapSocket(left, { ...trusting(), handshake: false });
  t.is(client.protocol, null);
  const other = spawn(() => wrapSocket(right, serving()));
  client.handshake();
  using server = other.get();
  t.is(server.protocol, 'TLSv1.3');
});

// Data

hubTest('gevent.ssl.SSLSocket.recv: the end of the stream is empty', (t) => {
  using pair = tlsPair();
  pair.server.close();
  t.is(pair.client.recv().length, 0);
});

hubTest(
  'gevent.ssl.SSLSocket.recv: a ragged end is empty if suppress_ragged_eofs is set, else an error',
  (t) => {
    using server = serveTls(serving(), () => sleep(3_600_000, { ref: false }));
    using relay = relayTo(server.port);
    using tolerant = connect(relay.port, { ...trusting(), suppressRaggedEofs: true });
    using strict = connect(relay.port, trusting());
    relay.cut();
    t.is(tolerant.recv().length, 0);
    t.throws(() => strict.recv(), { instanceOf: TlsTruncationError });
  },
);

hubTest('gevent.ssl.SSLSocket.recv_into: fills memory', (t) => {
  using pair = tlsPair();
  pair.client.sendAll('hello');
  const memory = Buffer.alloc(5);
  t.is(pair.server.recvInto(memory), 5);
  t.is(memory.toString(), 'hello');
});

hubTest('gevent.ssl.SSLSocket.sendall: others run while it waits', (t) => {
  using pair = tlsPair();
  const data = Buffer.alloc(20_000_000, 'x');
  const writer = spawn(() => pair.client.sendAll(data));
  idle();
  t.false(writer.ready);
  for (let left = data.length; left > 0;) left -= pair.server.recv().length;
  writer.get();
  t.true(writer.successful);
});

hubTest('gevent.ssl.SSLSocket: reading and writing at once', (t) => {
  using pair = tlsPair();
  const reader = spawn(() => pair.client.recv().toString());
  idle();
  const writer = spawn(() => pair.client.sendAll('there'));
  writer.get();
  t.is(pair.server.recv().toString(), 'there');
  pair.server.sendAll('back');
  t.is(reader.get(), 'back');
});

hubTest('gevent.ssl.SSLSocket: a timeout shows as an error of the socket', (t) => {
  using pair = tlsPair();
  pair.client.timeout = 10;
  t.is(codeOf(thrownBy(() => pair.client.recv())), 'ETIMEDOUT');
});

hubTest('gevent.ssl.SSLSocket: a gevent.Timeout is thrown itself', (t) => {
  using pair = tlsPair();
  using limit = Timeout.startNew(10);
  t.is(
    thrownBy(() => pair.client.recv()),
    limit,
  );
});

hubTest('gevent.ssl.SSLSocket: a greenlet that is parked on it can be killed', (t) => {
  using pair = tlsPair();
  const reader = spawn(() => pair.client.recv());
  idle();
  reader.kill();
  t.true(reader.value instanceof GreenletExit);
  pair.server.sendAll('x');
  t.is(pair.client.recv().toString(), 'x');
});

hubTest('gevent.ssl.SSLSocket.close: wakes who is parked on it', (t) => {
  using pair = tlsPair();
  const reader = spawn(() => codeOf(thrownBy(() => pair.client.recv())));
  idle();
  pair.client.close();
  t.is(reader.get(), 'ECANCELED');
});

hubTest('gevent.ssl.SSLSocket.unwrap: gives the plain socket back', (t) => {
  using pair = tlsPair();
  const other = spawn(() => pair.server.unwrap());
  using left = pair.client.unwrap();
  using right = other.get();
  left.sendAll('plain');
  t.is(right.recv().toString(), 'plain');
});

// What is told

hubTest('gevent.ssl.SSLSocket.getpeercert: the certificate of the peer', (t) => {
  using pair = tlsPair(pki.client(), { requestCert: true, ca: pki.root().cert });
  t.is(pair.client.peerCertificate?.fingerprint256, new X509Certificate(pki.server().cert).fingerprint256);
  t.is(pair.server.peerCertificate?.fingerprint256, new X509Certificate(pki.client().cert).fingerprint256);
});

hubTest('gevent.ssl.SSLSocket.cipher: name and version', (t) => {
  using pair = tlsPair({ maxVersion: 'TLSv1.2' });
  t.is(pair.client.cipher?.version, 'TLSv1.2');
  t.regex(pair.client.cipher?.name ?? '', /^ECDHE-ECDSA-/);
});

hubTest('gevent.ssl.SSLSocket.selected_alpn_protocol: none if the ends do not speak ALPN', (t) => {
  using pair = tlsPair({ alpnProtocols: ['h2'] });
  t.is(pair.client.alpnProtocol, null);
  t.is(pair.server.alpnProtocol, null);
});

hubTest('gevent.ssl.SSLSocket.session_reused: whether the session was resumed', (t) => {
  const secureContext = createSecureContext({ ca: pki.root().cert });
  using server = serveTls({ secureContext: createSecureContext(pki.server()) }, (socket) =>
    socket.sendAll('x'),
  );
  for (const expected of [false, true]) {
    using client = connect(server.port, { secureContext, servername: 'a.test' });
    t.is(client.recv().toString(), 'x');
    t.is(client.recv().length, 0);
    t.is(client.sessionReused, expected);
  }
});

hubTest('gevent.ssl.CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED: whom a server lets in', (t) => {
  const asking = { requestCert: true, ca: pki.root().cert };
  using none = tlsPair(pki.client());
  t.is(none.server.peerCertificate, undefined);
  using optional = tlsPair({}, { ...asking, rejectUnauthorized: false });
  t.is(optional.server.peerCertificate, undefined);
  using required = serveTls({ ...serving(), ...asking }, echoTls);
  using client = connect(required.port, trusting());
  t.is(codeOf(thrownBy(() => client.recv())), 'EPROTO');
});
