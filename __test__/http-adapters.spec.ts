import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { IncomingMessage, type RequestListener, ServerResponse, request as nodeRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import express4, { type Request, type Response as ExpressResponse } from 'express4';
import express5 from 'express5';
import fastify from 'fastify';
import { getHub, sleep, spawn, waitFor } from 'greenstack';
import { Event } from 'greenstack/event';
import { Lock } from 'greenstack/lock';
import {
  type AccessLogEntry,
  fetch,
  type FetchResponse,
  HttpServer,
  nodeListener,
  NodeServer,
  HttpUnsupportedError,
} from 'greenstack/http';
import Koa from 'koa';
import { WebSocket, WebSocketServer } from 'ws';
import { exchange, get, post, RawClient, serving, urlOf } from './support/http.js';
import { hubTest } from './support/hub-test.js';

const LAST = 'Connection: close\r\n';

function listening(listener: RequestListener): HttpServer {
  return serving(nodeListener(listener));
}

function fetched(server: HttpServer, path: string, init?: Parameters<typeof fetch>[1]): FetchResponse {
  return fetch(urlOf(server, path), init);
}

function bodyOf(server: HttpServer, path: string, init?: Parameters<typeof fetch>[1]): string {
  return fetched(server, path, init).text();
}

/** Runs `body` while errors that nobody catches are collected. */
function failures(body: () => void): unknown[] {
  const hub = getHub();
  const reported: unknown[] = [];
  hub.handleError = (_, error) => reported.push(error);
  try {
    body();
  } finally {
    Reflect.deleteProperty(hub, 'handleError');
  }
  return reported;
}

// ---- plain listeners

hubTest('a listener gets Node’s own classes', (t) => {
  using server = listening((request, response) => {
    t.true(request instanceof IncomingMessage);
    t.true(response instanceof ServerResponse);
    t.like(request, { method: 'GET', url: '/a?b=c', httpVersion: '1.1', complete: true });
    t.deepEqual(request.headers, { host: 'a', 'x-one': '1, 2', connection: 'close' });
    t.deepEqual(request.rawHeaders, ['Host', 'a', 'X-One', '1', 'x-one', '2', 'Connection', 'close']);
    t.is(request.socket.remoteAddress, '127.0.0.1');
    t.is(request.socket.localPort, server.address.port);
    response.end('done');
  });
  const answer = exchange(server, get('/a?b=c', `X-One: 1\r\nx-one: 2\r\n${LAST}`))[0];
  t.like(answer, { status: 200, reason: 'OK', body: 'done' });
  t.is(answer?.headers['content-length'], '4');
  t.truthy(answer?.headers['date']);
});

hubTest('a listener may block', (t) => {
  using server = listening((request, response) => {
    sleep(5);
    response.write(`${waitFor(Promise.resolve('one '))}`);
    sleep(1);
    response.end(request.url);
  });
  t.is(bodyOf(server, '/two'), 'one /two');
});

hubTest('a listener may answer later, from callbacks and promises', (t) => {
  using server = listening((request, response) => {
    if (request.url === '/callback') setTimeout(() => response.end('called'), 1);
    else void Promise.resolve().then(() => response.end('promised'));
  });
  t.is(bodyOf(server, '/callback'), 'called');
  t.is(bodyOf(server, '/promise'), 'promised');
});

hubTest('pipelined requests are answered in order, whoever is ready first', (t) => {
  using server = listening((request, response) => {
    setTimeout(() => response.end(request.url), request.url === '/1' ? 10 : 0);
  });
  const answers = exchange(server, get('/1') + get('/2') + get('/3', LAST));
  t.deepEqual(
    answers.map(({ body }) => body),
    ['/1', '/2', '/3'],
  );
});

hubTest('heads are as Node writes them, but for what is the server’s', (t) => {
  using server = listening((request, response) => {
    switch (request.url) {
      case '/set':
        response.setHeader('X-Many', ['a', 'b']).setHeader('X-Number', 3).statusCode = 201;
        response.end();
        break;
      case '/object':
        response.setHeader('X-Kept', '1').writeHead(202, 'Fine', { 'X-Set': 'yes' }).end();
        break;
      case '/array':
        response.writeHead(200, ['X-A', '1', 'X-A', '2']).end('x');
        break;
      case '/date':
        response.sendDate = false;
        response.end();
        break;
      case '/length':
        response.writeHead(200, { 'Content-Length': 2 });
        response.write('a');
        response.end('b');
        break;
      case '/latin':
        response.end('\xe4', 'latin1');
        break;
      case '/close':
        response.setHeader('Connection', 'close').end();
        break;
      default:
        response.writeHead(304).end();
    }
  });
  const { headers, status } = fetched(server, '/set');
  t.like([status, headers.get('x-many'), headers.get('x-number')], [201, 'a, b', '3']);
  const client = new RawClient(server);
  t.like(client.request(get('/object')), { status: 202, reason: 'Fine' });
  t.is(client.request(get('/array')).headers['x-a'], '1, 2');
  t.is(client.request(get('/date')).headers['date'], undefined);
  t.like(client.request(get('/length')), { body: 'ab' });
  t.is(client.request(get('/latin')).body, '\xe4');
  t.is(client.request(get('/none')).status, 304);
  t.is(client.request(get('/close')).headers['connection'], 'close');
  t.is(client.rest(), '');
  client.socket.close();
});

hubTest('a header cannot smuggle another', (t) => {
  using server = listening((request, response) => {
    if (request.url === '/set')
      t.throws(() => response.setHeader('a', 'b\r\nc: d'), { code: 'ERR_INVALID_CHAR' });
    else t.throws(() => response.writeHead(200, { a: 'b\r\nc: d' }), { code: 'ERR_INVALID_CHAR' });
    response.end('safe');
  });
  t.is(bodyOf(server, '/set'), 'safe');
  t.is(bodyOf(server, '/head'), 'safe');
});

hubTest('HEAD and 204 have no body', (t) => {
  using server = listening((request, response) => {
    if (request.method === 'HEAD') response.setHeader('Content-Length', 5).end('hello');
    else response.writeHead(204).end('hello');
  });
  using client = new RawClient(server);
  const head = client.request('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', true);
  t.is(head.headers['content-length'], '5');
  t.is(client.request(get('/')).status, 204);
});

hubTest('HTTP/1.0 gets what is streamed until the end of the connection', (t) => {
  using server = listening((_, response) => {
    response.write('one ');
    response.end('two');
  });
  const answer = exchange(server, 'GET / HTTP/1.0\r\n\r\n')[0];
  t.is(answer?.headers['transfer-encoding'], undefined);
  t.is(answer?.body, 'one two');
});

hubTest('trailers go both ways', (t) => {
  using server = listening((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write('a');
      response.addTrailers({ 'X-Sum': request.trailers['x-sum'] ?? '' });
      response.end();
    });
  });
  const body = '2\r\nab\r\n0\r\nX-Sum: 42\r\n\r\n';
  const answer = exchange(
    server,
    `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n${LAST}\r\n${body}`,
  )[0];
  t.is(answer?.headers['trailer x-sum'], '42');
});

hubTest('a client that expects 100-continue is told when the body is read', (t) => {
  using server = listening((request, response) => request.pipe(response));
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
  t.is(client.receive().status, 100);
  t.is(client.request('ok').body, 'ok');
});

hubTest('bodies are read as streams, blocking or not', (t) => {
  using server = listening(async (request, response) => {
    let length = 0;
    for await (const piece of request) length += (piece as Buffer).length;
    response.end(String(length));
  });
  t.is(bodyOf(server, '/', { method: 'POST', body: 'x'.repeat(500_000) }), '500000');
  t.is(exchange(server, post('/', 'abc', LAST))[0]?.body, '3');
  t.is(bodyOf(server, '/'), '0');
});

hubTest('what is read slowly is sent slowly', (t) => {
  using server = listening((request, response) => void pipeline(request, response).catch(() => {}));
  const size = 3_000_000;
  const sent = Readable.from(
    (function* () {
      for (let left = size; left > 0; left -= 100_000) yield Buffer.alloc(100_000, 1);
    })(),
  );
  let received = 0;
  const response = fetched(server, '/', { method: 'POST', body: sent as never, duplex: 'half' } as never);
  for (const piece of response) {
    received += piece.length;
    sleep(0);
  }
  t.is(received, size);
});

hubTest('a blocking listener that writes much waits for the client', (t) => {
  const size = 64;
  let written = 0;
  using server = listening((_, response) => {
    for (; written < size; written++) response.write(Buffer.alloc(1 << 18));
    response.end();
  });
  using client = new RawClient(server);
  client.send(get('/', LAST));
  client.socket.recv(1);
  for (let turn = 0; turn < 50; turn++) sleep(0);
  t.true(written < size, `${written} of ${size}`);
  t.true(client.rest().length >= size << 18);
  t.is(written, size);
});

for (const mode of ['body', 'head'] as const)
  hubTest(`finish and close are emitted once the response is sent: ${mode}`, (t) => {
    const events: string[] = [];
    const done = new Event();
    using server = listening((request, response) => {
      for (const name of ['finish', 'close'])
        response.on(name, () => events.push(`${name} ${response.writableFinished}`));
      request.on('close', () => {
        events.push('request closed');
        done.set();
      });
      response.end('x', () => events.push('called back'));
    });
    const method = mode === 'body' ? 'GET' : 'HEAD';
    t.is(bodyOf(server, '/', { method }), mode === 'body' ? 'x' : '');
    done.wait();
    t.deepEqual(events.sort(), ['called back', 'close true', 'finish true', 'request closed']);
  });

hubTest('listeners to finish that come after end() are told', (t) => {
  const done = new Event();
  using server = listening((_, response) => {
    response.end('x');
    response.on('finish', () => done.set());
  });
  t.is(bodyOf(server, '/'), 'x');
  t.true(done.wait());
});

// ---- clients that go

for (const mode of ['blocks', 'waits'] as const) {
  hubTest(`a listener that ${mode} learns that its client has gone`, (t) => {
    const events: string[] = [];
    const [begun, gone] = [new Event(), new Event()];
    using server = listening((request, response) => {
      request.on('aborted', () => events.push('aborted'));
      request.on('close', () => events.push('request'));
      request.on('error', (error: NodeJS.ErrnoException) => events.push(error.code ?? ''));
      response.on('finish', () => events.push('finish'));
      response.on('close', () => {
        events.push('response');
        gone.set();
      });
      begun.set();
      if (mode === 'blocks') gone.wait();
    });
    const client = new RawClient(server);
    client.send(get('/'));
    begun.wait();
    client.socket.close();
    gone.wait();
    waitFor(new Promise((resolve) => setImmediate(resolve)));
    t.deepEqual(events.sort(), ['ECONNRESET', 'aborted', 'request', 'response']);
  });
}

hubTest('more requests do not pass for a client that has gone', (t) => {
  const go = new Event();
  const gone: string[] = [];
  using server = listening((request, response) => {
    response.on('close', () => response.writableFinished || gone.push(request.url ?? ''));
    go.wait();
    response.end(request.url);
  });
  using client = new RawClient(server);
  client.send(get('/1'));
  sleep(5);
  client.send(get('/2'));
  sleep(5);
  client.send(get('/3'));
  sleep(5);
  go.set();
  t.deepEqual(
    [client.receive(), client.receive(), client.receive()].map(({ body }) => body),
    ['/1', '/2', '/3'],
  );
  t.deepEqual(gone, []);
});

hubTest('a body that breaks off is an error of the request', (t) => {
  const [begun, seen] = [new Event(), new Event()];
  let code: string | undefined;
  using server = listening((request) => {
    begun.set();
    request.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code;
      seen.set();
    });
    request.resume();
  });
  const client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
  begun.wait();
  client.socket.close();
  seen.wait();
  t.is(code, 'ECONNRESET');
});

hubTest('destroying the response, the request or the socket closes the connection', (t) => {
  const go = new Event();
  using server = listening((request, response) => {
    if (request.url === '/response') response.destroy();
    else if (request.url === '/request') request.destroy();
    else if (request.url === '/socket') request.socket.destroy();
    else {
      response.write('a');
      go.rawlink(() => response.destroy());
    }
  });
  for (const path of ['/response', '/request', '/socket']) t.deepEqual(exchange(server, get(path)), []);
  using client = new RawClient(server);
  client.send(get('/middle'));
  client.socket.recv(1);
  go.set();
  t.false(client.rest().endsWith('0\r\n\r\n'));
});

hubTest('timeouts of the socket close it, unless somebody listens', (t) => {
  using server = listening((request, response) => {
    if (request.url === '/heard') response.setTimeout(2, () => response.end('late'));
    else request.setTimeout(2);
  });
  t.is(bodyOf(server, '/heard'), 'late');
  t.deepEqual(exchange(server, get('/')), []);
});

// ---- failures

hubTest('what a listener throws is a 500, or the end of the connection', (t) => {
  const go = new Event();
  using server = listening((request, response) => {
    if (request.url === '/late') {
      response.write('part');
      go.wait();
    }
    throw new Error('boom');
  });
  const errors = failures(() => {
    t.is(fetched(server, '/').status, 500);
    using client = new RawClient(server);
    client.send(get('/late'));
    client.socket.recv(1);
    go.set();
    t.false(client.rest().endsWith('0\r\n\r\n'));
  });
  t.is(errors.length, 2);
});

hubTest('a promise of the listener that is rejected is a 500', (t) => {
  using server = listening(async () => {
    await Promise.resolve();
    throw new Error('boom');
  });
  const errors = failures(() => t.is(fetched(server, '/').status, 500));
  t.is(errors.length, 1);
});

hubTest('stop() waits for responses, and kills listeners that take longer', (t) => {
  const begun = new Event();
  let closed = false;
  const server = listening((request, response) => {
    response.on('close', () => (closed = true));
    begun.set();
    if (request.url === '/soon') setTimeout(() => response.end('in time'), 5);
  });
  const answer = spawn(() => exchange(server, get('/soon')));
  begun.wait();
  server.stop(10_000);
  t.is(answer.get()[0]?.body, 'in time');
  t.true(closed);
  const second = listening((_, response) => {
    response.on('close', () => (closed = true));
    begun.set();
  });
  begun.clear();
  closed = false;
  const cut = spawn(() => exchange(second, get('/')));
  begun.wait();
  second.stop(1);
  t.deepEqual(cut.get(), []);
  waitFor(new Promise((resolve) => setImmediate(resolve)));
  t.true(closed);
});

hubTest('the access log has what listeners answer', (t) => {
  const entries: AccessLogEntry[] = [];
  const handler = nodeListener((request, response) => {
    if (request.url === '/stream') response.write('one ');
    else response.writeHead(201);
    response.end('two');
  });
  using server = serving(handler, { log: (entry) => void entries.push(entry) });
  exchange(server, get('/whole') + get('/stream', LAST));
  t.is(entries.length, 2);
  t.like(entries[0], { line: 'GET /whole HTTP/1.1', status: 201, bytes: 3 });
  t.like(entries[1], { line: 'GET /stream HTTP/1.1', status: 200, bytes: 7 });
  t.is(entries[0]?.remoteAddress.address, '127.0.0.1');
});

hubTest('interim responses come before the other one', (t) => {
  let told = 0;
  using server = listening((request, response) => {
    response.writeProcessing();
    response.writeEarlyHints(
      { link: ['</a.css>; rel=preload', '</b.js>; rel=preload'], 'x-a': 'b' },
      () => told++,
    );
    response.end(request.url);
    const late = t.throws<NodeJS.ErrnoException>(() =>
      response.writeEarlyHints({ link: '</a.css>; rel=preload' }),
    );
    t.is(late?.code, 'ERR_HTTP_HEADERS_SENT');
  });
  using client = new RawClient(server);
  for (const path of ['/1', '/2']) {
    client.send(get(path));
    t.is(client.receive().status, 102);
    const hints = client.receive();
    t.is(hints.status, 103);
    t.is(hints.reason, 'Early Hints');
    t.is(hints.headers['link'], '</a.css>; rel=preload, </b.js>; rel=preload');
    t.is(hints.headers['x-a'], 'b');
    t.is(client.receive().body, path);
  }
  t.is(told, 2);
  t.is(exchange(server, 'GET /3 HTTP/1.0\r\n\r\n').length, 1, 'HTTP/1.0 knows none');
});

hubTest('what is not supported says so', (t) => {
  using server = listening((request, response) => {
    t.throws(() => request.socket.write('x'), { instanceOf: HttpUnsupportedError });
    if (request.url === '/101') t.throws(() => response.writeHead(101), { instanceOf: HttpUnsupportedError });
    response.writeContinue();
    response.writeHead(200).end('x');
  });
  t.is(bodyOf(server, '/'), 'x');
  t.is(fetched(server, '/101').status, 200);
  t.throws(() => new NodeServer().on('checkContinue', () => {}), { instanceOf: HttpUnsupportedError });
});

// ---- Express

for (const [name, express] of [
  ['Express 4', express4],
  ['Express 5', express5],
] as const) {
  const app = express();
  const root = mkdtempSync(join(tmpdir(), 'greenstack-static-'));
  const big = Buffer.alloc(1_000_000, 'static ');
  writeFileSync(join(root, 'big.txt'), big);
  const lock = new Lock();
  const together = new Event();
  const runs = { now: 0, most: 0 };
  app.get('/', (_, response) => response.send('hello'));
  app.get('/users/:id', (request, response) =>
    response.json({ id: request.params['id'], query: request.query, ip: request.ip }),
  );
  app.post('/json', express.json(), (request, response) => response.json(request.body));
  app.post('/form', express.urlencoded({ extended: false }), (request, response) =>
    response.json(request.body),
  );
  app.use('/static', express.static(root));
  app.get('/blocks', (_, response) => {
    runs.most = Math.max(runs.most, ++runs.now);
    if (runs.most >= 20) together.set();
    together.wait();
    const waited = waitFor(new Promise<string>((resolve) => setTimeout(() => resolve('waited'), 5)));
    lock.acquire();
    try {
      sleep(0);
    } finally {
      lock.release();
    }
    runs.now--;
    response.send(waited);
  });
  app.get('/async', async (_, response) => {
    await new Promise((resolve) => setImmediate(resolve));
    response.status(201).send('later');
  });
  app.get('/stream', (_, response) => {
    Readable.from(['a', 'b', 'c']).pipe(response);
  });
  app.get('/fails', () => {
    sleep(1);
    throw Object.assign(new Error('boom'), { status: 418 });
  });
  app.use(
    (
      error: Error & { status?: number },
      _: Request,
      response: ExpressResponse,
      next: (error: Error) => void,
    ) => {
      if (response.headersSent) next(error);
      else response.status(error.status ?? 500).send(error.message);
    },
  );

  const served = (title: string, body: (t: ExecutionContext, server: HttpServer) => void): void =>
    hubTest(`${name}: ${title}`, (t) => {
      using server = listening(app);
      body(t, server);
    });

  served('says hello, and 304 to who has it', (t, server) => {
    const response = fetched(server, '/');
    t.is(response.text(), 'hello');
    t.is(response.headers.get('content-type'), 'text/html; charset=utf-8');
    t.is(response.headers.get('x-powered-by'), 'Express');
    const unchanged = get('/', `If-None-Match: ${response.headers.get('etag')}\r\n${LAST}`);
    t.like(exchange(server, unchanged)[0], { status: 304, body: '' });
    t.is(fetched(server, '/', { method: 'HEAD' }).headers.get('content-length'), '5');
  });

  served('routes, with queries and addresses', (t, server) => {
    t.deepEqual(fetched(server, '/users/7?a=b').json(), { id: '7', query: { a: 'b' }, ip: '127.0.0.1' });
    t.is(fetched(server, '/nobody').status, 404);
  });

  served('parses bodies', (t, server) => {
    const big = JSON.stringify({ text: 'x'.repeat(90_000) });
    for (const body of ['{"a":[1]}', big])
      t.is(
        bodyOf(server, '/json', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } }),
        body,
      );
    t.deepEqual(fetched(server, '/form', { method: 'POST', body: new URLSearchParams('a=b&c=d') }).json(), {
      a: 'b',
      c: 'd',
    });
    const bad = fetched(server, '/json', {
      method: 'POST',
      body: '{',
      headers: { 'Content-Type': 'application/json' },
    });
    t.is(bad.status, 400);
  });

  served('serves files, and parts of them', (t, server) => {
    t.true(fetched(server, '/static/big.txt').bytes().equals(big));
    const part = fetched(server, '/static/big.txt', { headers: { Range: 'bytes=10-19' } });
    t.is(part.status, 206);
    t.is(part.text(), big.toString('latin1', 10, 20));
    t.is(fetched(server, '/static/../package.json').status, 404);
  });

  served('a handler may block: many requests at once', (t, server) => {
    runs.most = 0;
    const requests = Array.from({ length: 50 }, () => spawn(() => bodyOf(server, '/blocks')));
    t.true(requests.every((request) => request.get() === 'waited'));
    t.true(runs.most >= 20, `${runs.most}`);
  });

  served('async handlers and streams answer', (t, server) => {
    const response = fetched(server, '/async');
    t.is(response.status, 201);
    t.is(response.text(), 'later');
    t.is(bodyOf(server, '/stream'), 'abc');
  });

  served('errors of blocking handlers go to error middleware', (t, server) => {
    const response = fetched(server, '/fails');
    t.is(response.status, 418);
    t.is(response.text(), 'boom');
  });

  served('a client of a file that goes leaves nothing open', (t, server) => {
    const client = new RawClient(server);
    client.send(get('/static/big.txt'));
    client.socket.recv(10);
    client.socket.close();
    t.is(bodyOf(server, '/'), 'hello');
  });

  served('node:http and curl are served', (t, server) => {
    const [first] = waitFor(once(nodeRequest(urlOf(server)).end(), 'response')) as [IncomingMessage];
    t.is(first.statusCode, 200);
    t.deepEqual(waitFor(first.toArray()).toString(), 'hello');
    const { stdout } = waitFor(promisify(execFile)('curl', ['-s', urlOf(server), urlOf(server, '/async')]));
    t.is(stdout, 'hellolater');
  });
}

// ---- Koa, Fastify

hubTest('Koa: middleware, bodies and errors', (t) => {
  const app = new Koa();
  app.silent = true;
  app.use(async (context, next) => {
    if (context.path === '/fails') context.throw(418, 'boom');
    await next();
  });
  app.use((context) => {
    if (context.path === '/stream') context.body = Readable.from(['a', 'b']);
    else if (context.path === '/echo') context.body = context.req;
    else context.body = { method: context.method };
  });
  using server = listening(app.callback());
  t.deepEqual(fetched(server, '/').json(), { method: 'GET' });
  t.is(bodyOf(server, '/stream'), 'ab');
  t.is(bodyOf(server, '/echo', { method: 'POST', body: 'hello' }), 'hello');
  const failed = fetched(server, '/fails');
  t.is(failed.status, 418);
  t.is(failed.text(), 'boom');
});

hubTest('Fastify: runs on a NodeServer', (t) => {
  const app = fastify({ serverFactory: (listener) => new NodeServer(listener) as never });
  app.get('/', (_, reply) => {
    sleep(1);
    void reply.send({ hello: 'world' });
  });
  app.post('/echo', (request, reply) => void reply.send(request.body));
  app.get('/fails', () => {
    throw Object.assign(new Error('boom'), { statusCode: 418 });
  });
  const origin = waitFor(app.listen({ port: 0, host: '127.0.0.1' }));
  t.deepEqual(fetch(origin).json(), { hello: 'world' });
  const headers = { 'Content-Type': 'application/json' };
  t.deepEqual(fetch(`${origin}/echo`, { method: 'POST', body: '{"a":1}', headers }).json(), { a: 1 });
  t.is(fetch(`${origin}/fails`).status, 418);
  waitFor(app.close());
});

// ---- NodeServer, WebSocket

hubTest('a NodeServer listens and closes as Node’s', (t) => {
  const server = new NodeServer((_, response) => response.end('hello'));
  t.is(server.address(), null);
  server.listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  t.true(server.listening);
  const address = server.address() as { address: string; port: number; family: string };
  t.like(address, { address: '127.0.0.1', family: 'IPv4' });
  t.is(fetch(`http://127.0.0.1:${address.port}`).text(), 'hello');
  const second = new NodeServer();
  second.listen({ port: address.port, host: '127.0.0.1' });
  const [error] = waitFor(once(second, 'error')) as [NodeJS.ErrnoException];
  t.is(error.code, 'EADDRINUSE');
  server.close();
  waitFor(once(server, 'close'));
  t.false(server.listening);
});

hubTest('ws: a WebSocket echo', (t) => {
  const sockets = new WebSocketServer({ noServer: true });
  sockets.on('connection', (socket) =>
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  );
  const handler = nodeListener((_, response) => response.end('no socket'), {
    onUpgrade: (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (client) => sockets.emit('connection', client, request)),
  });
  using server = serving(handler);
  t.is(bodyOf(server, '/'), 'no socket');
  const client = new WebSocket(urlOf(server).replace('http', 'ws'));
  waitFor(once(client, 'open'));
  for (const text of ['hello', 'x'.repeat(200_000)]) {
    client.send(text);
    const [data] = waitFor(once(client, 'message')) as [Buffer];
    t.is(data.toString(), text);
  }
  client.close();
  waitFor(once(client, 'close'));
  sockets.close();
});

hubTest('ws: a WebSocketServer on a NodeServer', (t) => {
  const server = new NodeServer((_, response) => response.end());
  const sockets = new WebSocketServer({ server: server as never });
  sockets.on('connection', (socket) => {
    socket.on('message', (data) => {
      spawn(() => {
        sleep(1);
        socket.send(`${String(data)} later`);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  const { port } = server.address() as { port: number };
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  waitFor(once(client, 'open'));
  client.send('hello');
  t.is(String(waitFor(once(client, 'message'))[0]), 'hello later');
  client.terminate();
  waitFor(once(client, 'close'));
  sockets.close();
  server.close();
  waitFor(once(server, 'close'));
});
