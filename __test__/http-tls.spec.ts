/** What is different when HTTP is encrypted; that all else is as without is tested by `httpTest`. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as nodeRequest } from 'node:https';
import type { Socket as NodeSocket } from 'node:net';
import { promisify } from 'node:util';
import test from 'ava';
import { getHub, spawn, waitFor } from 'greenstack';
import {
  fetchHandler,
  type HttpHandler,
  HttpServer,
  type HttpServerOptions,
  nodeListener,
  type NodeListenerOptions,
} from 'greenstack/http';
import { StreamServer } from 'greenstack/server';
import { createConnection, type Socket } from 'greenstack/socket';
import { connect as connectTls, createSecureContext, TlsSocket } from 'greenstack/tls';
import { WebSocket, WebSocketServer } from 'ws';
import { Files, pki } from './support/certificates.js';
import { exchange, get, post, RawClient, readToEnd, serving, urlOf } from './support/http.js';
import { hubTest } from './support/hub-test.js';
import { reportsOf, until } from './support/stream-servers.js';
import { connectNode, relayTo, sessionOf } from './support/tls.js';

const LAST = 'Connection: close\r\n';

/** Starts a server that encrypts. */
function servingTls(
  handler: HttpHandler,
  tls: HttpServerOptions['tls'] = {},
  options?: HttpServerOptions,
): HttpServer {
  const identity = tls.secureContext === undefined ? pki.server() : {};
  return serving(handler, { ...options, tls: { ...identity, ...tls } });
}

const trusting = (): { ca: string; servername: string } => ({ ca: pki.root().cert, servername: 'a.test' });

// ---- what handlers see

hubTest('a request tells of the encryption', (t) => {
  using server = servingTls((request) => {
    const { tls, environ } = request;
    t.is(request.scheme, 'https');
    t.is(tls?.protocol, 'TLSv1.3');
    t.is(tls?.cipher?.version, 'TLSv1.3');
    t.is(tls?.alpnProtocol, 'http/1.1');
    t.is(tls?.serverName, 'a.test');
    t.false(tls?.sessionReused);
    t.false(tls?.authorized);
    t.is(request.peerCertificate, undefined);
    t.is(environ['REQUEST_SCHEME'], 'https');
    t.is(environ['wsgi.url_scheme'], 'https');
    t.is(environ['HTTPS'], 'on');
    return 'done';
  });
  using client = connectTls(server.address, { ...trusting(), alpnProtocols: ['h2', 'http/1.1'] });
  client.sendAll(get('/', LAST));
  t.true(readToEnd(client).endsWith('done'));
});

hubTest('a request that is not encrypted says so', (t) => {
  using server = serving((request) => {
    t.is(request.tls, null);
    t.is(request.peerCertificate, undefined);
    t.is(request.environ['HTTPS'], undefined);
    return `${request.scheme} ${request.environ['REQUEST_SCHEME']}`;
  });
  t.is(exchange(server, get('/', LAST))[0]?.body, 'http http');
});

hubTest('a client’s certificate can be seen, also on the second request', (t) => {
  using server = servingTls(
    ({ tls, peerCertificate }) => `${tls?.authorized} ${peerCertificate?.subjectAltName}`,
    { requestCert: true, ca: pki.root().cert },
  );
  using client = connectTls(server.address, { ...trusting(), ...pki.client() });
  client.sendAll(get('/') + get('/', LAST));
  t.is(readToEnd(client).match(/true DNS:client\.test/g)?.length, 2);
});

hubTest('a client that is not trusted is let in if that is allowed, and the request says why', (t) => {
  using server = servingTls(({ tls }) => `${tls?.authorized} ${tls?.authorizationError?.message}`, {
    requestCert: true,
    rejectUnauthorized: false,
    ca: pki.root().cert,
  });
  using client = connectTls(server.address, trusting());
  client.sendAll(get('/', LAST));
  t.regex(readToEnd(client), /false the client has sent no certificate/);
});

hubTest('a session is resumed', (t) => {
  using server = servingTls(({ tls }) => `resumed: ${tls?.sessionReused}`);
  const ask = (session?: Buffer): { answer: string; session: Buffer | undefined } => {
    const socket = connectNode(server.address.port, session === undefined ? {} : { session });
    socket.write(get('/', LAST));
    const answer = waitFor(
      (async () => {
        let text = '';
        for await (const piece of socket) text += String(piece);
        return text;
      })(),
    );
    return { answer, session: sessionOf(socket) };
  };
  const first = ask();
  t.true(first.answer.endsWith('resumed: false'));
  t.true(ask(first.session).answer.endsWith('resumed: true'));
});

hubTest('lines of the key log come before the request is handled', (t) => {
  const lines: string[] = [];
  using server = servingTls(() => String(lines.length > 0), { keyLog: (line) => lines.push(line) });
  t.is(exchange(server, get('/', LAST))[0]?.body, 'true');
});

// ---- protocols

hubTest('a client that speaks only HTTP/2 is refused in the handshake', (t) => {
  const reports = reportsOf(() => {
    using server = servingTls(() => 'never');
    t.throws(() => connectTls(server.address, { ...trusting(), alpnProtocols: ['h2'] }), { code: 'EPROTO' });
    until(() => getHub().stats().sockets === 1);
  });
  t.is(reports.length, 1);
});

hubTest('a client without ALPN is served', (t) => {
  using server = servingTls(({ tls }) => String(tls?.alpnProtocol));
  t.is(exchange(server, get('/', LAST))[0]?.body, 'null');
});

test('options of the encryption are checked', (t) => {
  const make = (tls: object) => () => new HttpServer(0, () => '', { tls });
  t.throws(make({}), { instanceOf: TypeError, message: /a server needs cert and key/ });
  t.throws(make({ ...pki.server(), alpnProtocols: ['h2', 'http/1.1'] }), {
    instanceOf: TypeError,
    message: /alpnProtocols may have 'http\/1\.1' and 'http\/1\.0', got 'h2'/,
  });
  const secureContext = createSecureContext({ ...pki.server(), alpnProtocols: ['h2'] });
  t.throws(make({ secureContext }), { instanceOf: TypeError });
  t.throws(make({ ...pki.server(), handshakeTimeout: '1' }), { message: /handshakeTimeout/ });
  t.throws(() => new HttpServer(0, () => '', { tls: 'yes' as never }), { instanceOf: TypeError });
});

// ---- handshakes that fail

/** Lets a client spoil its handshake, and tells what is reported by a server of each kind. */
function spoiling(spoil: (socket: Socket) => void, tls: HttpServerOptions['tls'] = {}): [Error, Error] {
  const options = { ...pki.server(), ...tls };
  const reported: Error[] = [];
  for (const server of [
    new HttpServer('127.0.0.1:0', () => 'never', { tls: options }),
    new StreamServer<TlsSocket>('127.0.0.1:0', () => {}, { tls: options }),
  ]) {
    const reports = reportsOf((soFar) => {
      server.start();
      using client = createConnection(server.address);
      spoil(client);
      until(() => soFar.length > 0);
      server.stop();
    });
    if (
      !/^<client 127\.0\.0\.1:\d+ of 127\.0\.0\.1:\d+>$/.test(reports[0]?.[0].match(/<client.*?>/)?.[0] ?? '')
    )
      throw new Error(`told of ${reports[0]?.[0]}`);
    reported.push(...reports.map(([, error]) => error));
  }
  if (reported.length !== 2) throw new Error(`${reported.length} reports`);
  return reported as [Error, Error];
}

for (const [title, spoil] of [
  ['that is not TLS', (socket: Socket) => socket.sendAll('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
  ['that ends at once', (socket: Socket) => socket.close()],
  [
    'that ends in the middle',
    (socket: Socket) => {
      socket.sendAll(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
      socket.close();
    },
  ],
] as const) {
  hubTest(`a handshake ${title} is reported as StreamServer does`, (t) => {
    const [own, other] = spoiling(spoil);
    t.is((own as NodeJS.ErrnoException).code, (other as NodeJS.ErrnoException).code);
    t.is(own.message, other.message);
    t.is((own as NodeJS.ErrnoException).syscall, (other as NodeJS.ErrnoException).syscall);
  });
}

hubTest('a handshake that takes too long is reported as StreamServer does', (t) => {
  const [own, other] = spoiling((socket) => socket.sendAll(Buffer.from([22])), { handshakeTimeout: 20 });
  t.is((own as NodeJS.ErrnoException).code, 'ETIMEDOUT');
  t.is((own as NodeJS.ErrnoException).code, (other as NodeJS.ErrnoException).code);
  t.is((own as NodeJS.ErrnoException).syscall, (other as NodeJS.ErrnoException).syscall);
});

hubTest('a client whose certificate is not trusted is told so, and reported with it', (t) => {
  const reports = reportsOf(() => {
    using server = servingTls(() => 'never', { requestCert: true, ca: pki.otherRoot().cert });
    const refused = t.throws<NodeJS.ErrnoException>(() => {
      using client = connectTls(server.address, { ...trusting(), ...pki.client() });
      client.sendAll(get('/'));
      client.recv();
    });
    t.true(['EPROTO', 'ECONNRESET'].includes(refused?.code ?? ''));
    until(() => getHub().stats().sockets === 1);
  });
  t.is((reports[0]![1] as NodeJS.ErrnoException).code, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  t.truthy((reports[0]![1] as { cert?: unknown }).cert);
});

hubTest('plain HTTP gets an alert and an end, not a reset, however much it sends', (t) => {
  const reports = reportsOf(() => {
    using server = servingTls(() => 'never');
    using client = createConnection(server.address);
    client.sendAll(post('/', 'x'.repeat(200_000)));
    const answer = client.recv();
    t.is(answer[0], 21, 'an alert');
    t.is(client.recv().length, 0);
    client.close();
    until(() => getHub().stats().sockets === 1);
  });
  t.is(reports.length, 1);
});

hubTest('handshakes that do not go on hold no greenlet, and others are served meanwhile', (t) => {
  const COUNT = 300;
  let reported = 0;
  const reports = reportsOf(() => {
    using server = servingTls(() => 'hello', { handshakeTimeout: 60_000 });
    const slow = Array.from({ length: COUNT }, (_, index) => {
      const socket = createConnection(server.address);
      if (index % 2 === 0) socket.sendAll(Buffer.from([22, 3, 1, 2]));
      return socket;
    });
    for (let round = 0; round < 20; round++) t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
    t.true(getHub().stats().greenlets < 10);
    for (const socket of slow) socket.close();
    until(() => getHub().stats().sockets === 1);
    reported = COUNT;
  });
  t.is(reports.length, reported);
});

hubTest('a stop does not wait for handshakes', (t) => {
  const server = servingTls(() => 'never');
  using client = createConnection(server.address);
  client.sendAll(Buffer.from([22, 3]));
  using other = new RawClient(server);
  t.is(other.request(get('/')).status, 200);
  server.stop(60_000);
  t.is(readToEnd(client), '');
});

// ---- connections

hubTest('connections that wait for a request have neither a greenlet nor a socket object', (t) => {
  using server = servingTls(() => 'hello');
  const clients = Array.from({ length: 50 }, () => new RawClient(server));
  for (const client of clients) t.is(client.request(get('/')).body, 'hello');
  t.true(getHub().stats().greenlets < 5);
  for (const client of clients) t.is(client.request(get('/')).body, 'hello', 'and go on');
  for (const client of clients) client[Symbol.dispose]();
});

for (const [title, options, act] of [
  ['after the last response', {}, (client: TlsSocket) => client.sendAll(get('/', LAST))],
  ['after a refusal', {}, (client: TlsSocket) => client.sendAll('GET\r\n\r\n')],
  ['when nothing comes', { headTimeout: 20 }, () => {}],
] as const) {
  hubTest(`the client is told that this was all: ${title}`, (t) => {
    using server = servingTls(() => 'hello', {}, options);
    using client = connectTls(server.address, trusting());
    act(client);
    t.notThrows(() => {
      while (client.recv().length > 0);
    });
  });
}

hubTest('the client is told that this was all when the server stops', (t) => {
  const server = servingTls(() => 'hello');
  using client = connectTls(server.address, trusting());
  client.sendAll(get('/'));
  client.recv();
  server.stop();
  t.is(client.recv().length, 0);
});

hubTest('a response that breaks off does not pass for a whole one', (t) => {
  const reports = reportsOf(() => {
    using server = servingTls(function* () {
      yield 'one';
      throw new Error('late');
    });
    using client = connectTls(server.address, trusting());
    client.sendAll('GET / HTTP/1.0\r\n\r\n');
    t.throws(
      () => {
        while (client.recv().length > 0);
      },
      { code: 'ERR_GREENSTACK_TLS_TRUNCATED' },
    );
  });
  t.is(reports.length, 1);
});

hubTest('a short response is one record', (t) => {
  using server = servingTls((request) => request.path);
  const relay = relayTo(server.address.port);
  const seen: Buffer[] = [];
  relay.alter = (bytes) => {
    seen.push(bytes);
    return bytes;
  };
  using client = connectTls({ host: '127.0.0.1', port: relay.port }, trusting());
  client.sendAll(get('/1'));
  client.recv();
  const before = Buffer.concat(seen).length;
  client.sendAll(get('/2'));
  client.recv();
  const response = Buffer.concat(seen).subarray(before);
  t.is(response[0], 23);
  t.is(response.readUInt16BE(3), response.length - 5);
  client.close();
  relay[Symbol.dispose]();
});

hubTest('an upgrade hands a TlsSocket over', (t) => {
  using server = servingTls((request) => {
    const { socket, head } = request.upgrade({ headers: { Upgrade: 'echo' } });
    t.true(socket instanceof TlsSocket);
    t.is((socket as TlsSocket).protocol, 'TLSv1.3');
    spawn(() => {
      using own = socket;
      own.sendAll(head);
      for (let piece = own.recv(); piece.length > 0; piece = own.recv()) own.sendAll(piece);
      own.shutdown('w');
    });
  });
  using client = new RawClient(server);
  client.send(`${get('/', 'Connection: upgrade\r\nUpgrade: echo\r\n')}early `);
  t.is(client.receive().status, 101);
  client.send('late');
  client.socket.shutdown('w');
  t.is(client.rest(), 'early late');
});

// ---- adapters and clients

hubTest('Node-style listeners see an encrypted socket', (t) => {
  using server = servingTls(
    nodeListener((request, response) => {
      const socket = request.socket as NodeSocket & {
        encrypted: boolean;
        authorized: boolean;
        alpnProtocol: string | false;
        getPeerCertificate(): { subjectaltname?: string };
        getProtocol(): string | null;
      };
      t.true(socket.encrypted);
      t.true(socket.authorized);
      t.is(socket.alpnProtocol, false);
      t.is(socket.getProtocol(), 'TLSv1.3');
      response.end(socket.getPeerCertificate().subjectaltname);
    }),
    { requestCert: true, ca: pki.root().cert },
  );
  using client = connectTls(server.address, { ...trusting(), ...pki.client() });
  client.sendAll(get('/', LAST));
  t.true(readToEnd(client).endsWith('DNS:client.test'));
});

hubTest('Fetch-style apps see https', (t) => {
  using server = servingTls(fetchHandler((request: Request) => new Response(request.url)));
  t.is(exchange(server, get('/x', LAST))[0]?.body, 'https://a/x');
});

hubTest('a WebSocket goes through an encrypted connection', (t) => {
  const wss = new WebSocketServer({ noServer: true });
  wss.on('connection', (socket) => socket.on('message', (data) => socket.send(String(data).toUpperCase())));
  const onUpgrade: NodeListenerOptions['onUpgrade'] = (request, socket, head) =>
    wss.handleUpgrade(request, socket, head, (client) => void wss.emit('connection', client, request));
  using server = servingTls(nodeListener((_, response) => response.end('no'), { onUpgrade }));
  const client = new WebSocket(`wss://localhost:${server.address.port}/`, { ca: pki.root().cert });
  waitFor(once(client, 'open'));
  for (const size of [5, 100_000]) {
    client.send('x'.repeat(size));
    const [data] = waitFor(once(client, 'message')) as [Buffer];
    t.is(String(data), 'X'.repeat(size));
  }
  client.close();
  waitFor(once(client, 'close'));
  until(() => getHub().stats().sockets === 1);
});

hubTest('curl gets and posts', (t) => {
  using server = servingTls((request) => `${request.method} ${request.path} ${request.text().length} `);
  using files = new Files({ ca: pki.root().cert });
  const url = (path: string): string => `https://localhost:${server.address.port}${path}`;
  const curl = (...args: string[]): string =>
    waitFor(promisify(execFile)('curl', ['-sS', '--max-time', '30', '--cacert', files.path('ca'), ...args]))
      .stdout;
  t.is(curl(url('/1'), url('/2')), 'GET /1 0 GET /2 0 ');
  t.is(curl('-d', 'hello', url('/3')), 'POST /3 5 ');
  t.is(curl('-H', 'Transfer-Encoding: chunked', '-d', 'x'.repeat(100_000), url('/4')), 'POST /4 100000 ');
  t.is(curl('-0', url('/5')), 'GET /5 0 ');
});

hubTest('node:https with an agent uses one connection for many requests', (t) => {
  const ports = new Set<number>();
  using server = servingTls((request) => {
    ports.add(request.remoteAddress.port);
    return 'hello';
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: pki.root().cert });
  for (let round = 0; round < 5; round++) {
    const body = waitFor(
      new Promise<string>((resolve, reject) => {
        const sent = nodeRequest(urlOf(server), { agent, servername: 'a.test' }, (response) => {
          let text = '';
          response.on('data', (piece) => (text += piece)).on('end', () => resolve(text));
        });
        sent.on('error', reject).end();
      }),
    );
    t.is(body, 'hello');
  }
  agent.destroy();
  t.is(ports.size, 1);
});

/** Gets, and posts three megabytes, by the fetch of a Node that trusts the test's root. */
const FETCHES = `
  const ask = async (options) => (await fetch(process.argv[1], options)).text();
  const long = 'x'.repeat(3_000_000);
  ask().then(async (first) => console.log(first, (await ask({ method: 'POST', body: long })) === long));
`;

hubTest('fetch of Node gets and posts', (t) => {
  using server = servingTls((request) => (request.method === 'POST' ? request.text() : 'hello'));
  using files = new Files({ ca: pki.root().cert });
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: files.path('ca') };
  const { stdout } = waitFor(promisify(execFile)(process.execPath, ['-e', FETCHES, urlOf(server)], { env }));
  t.is(stdout, 'hello true\n');
});
