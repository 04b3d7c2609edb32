import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import { serve as serveNode } from '@hono/node-server';
import { BlockingSwitchOutError, GreenletExit, sleep, spawn, Timeout, waitFor } from 'greenstack';
import { Event } from 'greenstack/event';
import {
  fetch,
  type FetchApp,
  fetchHandler,
  type FetchHandlerOptions,
  HttpError,
  HttpServer,
  nodeListener,
} from 'greenstack/http';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';
import { exchange, get, httpTest, post, RawClient, serving, urlOf } from './support/http.js';
import { hubTest } from './support/hub-test.js';

const LAST = 'Connection: close\r\n';

function running(app: FetchApp, options?: FetchHandlerOptions): HttpServer {
  return serving(fetchHandler(app, options));
}

/** Runs `body` with a server of Node's. */
function withOrigin(listener: RequestListener, body: (url: string, server: Server) => void): void {
  const server = createServer(listener).listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  try {
    body(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server);
  } finally {
    server.closeAllConnections();
    server.close();
    waitFor(once(server, 'close'));
  }
}

// ---- Fetch-style apps

hubTest('an app gets a Request', (t) => {
  using server = running((request) => {
    t.true(request instanceof Request);
    t.is(request.method, 'GET');
    t.is(request.url, `http://127.0.0.1:${server.address.port}/a%20b?c=d`);
    t.true(request.headers instanceof Headers);
    t.is(request.headers.get('x-one'), '1');
    t.is(request.body, null);
    t.is(request.redirect, 'follow');
    t.false(request.signal.aborted);
    const copy = request.clone();
    t.is(copy.url, request.url);
    return new Response('done', { status: 201, headers: { 'X-Two': '2' } });
  });
  const response = fetch(urlOf(server, '/a%20b?c=d'), { headers: { 'X-One': '1' } });
  t.is(response.status, 201);
  t.is(response.headers.get('x-two'), '2');
  t.is(response.text(), 'done');
});

hubTest('URLs of requests are as the URL standard has them, whatever hosts say', (t) => {
  using server = running((request) => new Response(request.url));
  const urlFor = (target: string, host: string): string | undefined =>
    exchange(server, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${LAST}\r\n`)[0]?.body;
  t.is(urlFor('/', 'Example.COM'), 'http://example.com/');
  t.is(urlFor('/', 'a:80'), 'http://a/');
  t.is(urlFor('/', '[::1]:3000'), 'http://[::1]:3000/');
  t.is(urlFor('/a/../b/./c?d=../e', 'a'), 'http://a/b/c?d=../e');
  t.is(urlFor('/.well-known/a.b', 'a'), 'http://a/.well-known/a.b');
  t.is(urlFor('/%2e%2e/b', 'a'), 'http://a/b');
  t.is(urlFor('//evil.example/', 'a'), 'http://a//evil.example/');
  t.is(urlFor('http://b/c', 'b'), 'http://b/c');
});

hubTest('an app may block, and may return a promise', (t) => {
  using server = running({
    fetch(request: Request) {
      if (request.url.endsWith('/block')) {
        sleep(2);
        return new Response('blocked');
      }
      return Promise.resolve(new Response('promised'));
    },
  });
  t.is(fetch(urlOf(server, '/block')).text(), 'blocked');
  t.is(fetch(urlOf(server, '/promise')).text(), 'promised');
});

hubTest('bodies of requests can be read in every way, once', (t) => {
  using server = running(async (request) => {
    switch (new URL(request.url).pathname) {
      case '/text':
        return new Response(await request.text());
      case '/json':
        return Response.json(await request.json());
      case '/buffer':
        return new Response(await request.arrayBuffer());
      case '/blob':
        return new Response(await request.blob());
      case '/form':
        return new Response((await request.formData()).get('a') as string);
      case '/stream':
        return new Response(request.body);
      case '/clone':
        return new Response((await request.clone().text()) + (await request.text()));
      default:
        await request.text();
        t.true(request.bodyUsed);
        await t.throwsAsync(request.text(), { instanceOf: TypeError });
        return new Response('once');
    }
  });
  const big = JSON.stringify('x'.repeat(300_000));
  for (const path of ['/text', '/json', '/buffer', '/blob', '/stream'])
    for (const body of ['"a"', big])
      t.is(fetch(urlOf(server, path), { method: 'POST', body }).text(), body, path);
  t.is(fetch(urlOf(server, '/form'), { method: 'POST', body: new URLSearchParams('a=b') }).text(), 'b');
  t.is(fetch(urlOf(server, '/clone'), { method: 'POST', body: 'a' }).text(), 'aa');
  t.is(fetch(urlOf(server, '/'), { method: 'POST', body: 'a' }).text(), 'once');
  t.is(exchange(server, post('/text', '', LAST))[0]?.body, '');
});

hubTest('the signal of a request is aborted when the client goes', (t) => {
  const [begun, gone] = [new Event(), new Event()];
  using server = running((request) => {
    request.signal.addEventListener('abort', () => gone.set());
    begun.set();
    gone.wait();
    return new Response('nobody');
  });
  const client = new RawClient(server);
  client.send(get('/'));
  begun.wait();
  client.socket.close();
  t.true(gone.wait());
});

httpTest('the signal of a request is aborted when the client goes while a stream is sent', (t) => {
  const gone = new Event();
  using server = running(
    (request) =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(Buffer.from('one'));
            request.signal.addEventListener('abort', () => {
              gone.set();
              controller.close();
            });
          },
        }),
      ),
  );
  const client = new RawClient(server);
  client.send(get('/'));
  t.true(client.socket.recv().toString().startsWith('HTTP/1.1 200'));
  client.socket.close();
  t.true(gone.wait());
});

httpTest('who has a signal can send streams on one connection, and no signal is aborted', (t) => {
  const signals: AbortSignal[] = [];
  using server = running((request) => {
    signals.push(request.signal);
    const bytes = ['one', 'two'].map((text) => Buffer.from(text));
    const isFailing = request.url.endsWith('/fails');
    return new Response(
      isFailing
        ? new ReadableStream({ pull: (to) => to.error(new HttpError(418)) })
        : ReadableStream.from(bytes),
    );
  });
  using client = new RawClient(server);
  t.is(client.request(get('/')).body, 'onetwo');
  t.is(client.request('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', true).status, 200);
  t.is(client.request(get('/fails')).status, 418);
  t.is(client.request(get('/')).body, 'onetwo');
  t.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false, false, false, false],
  );
});

hubTest(
  'who has a signal can read a body that comes late, and learns while reading that the client has gone',
  (t) => {
    const begun = new Event();
    const seen: string[] = [];
    const gone = new Event();
    using server = running(async (request) => {
      request.signal.addEventListener('abort', () => gone.set());
      begun.set();
      seen.push(await request.text());
      return new Response('read');
    });
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe';
    using client = new RawClient(server);
    client.send(head);
    begun.wait();
    sleep(2);
    client.send('llo');
    t.is(client.receive().body, 'read');
    t.deepEqual(seen, ['hello']);
    const second = new RawClient(server);
    begun.clear();
    second.send(head);
    begun.wait();
    sleep(2);
    second.socket.close();
    t.true(gone.wait());
  },
);

hubTest('what an app returns must be a Response', (t) => {
  const seen: unknown[] = [];
  const handler = fetchHandler((() => 'text') as never);
  using server = serving(handler, { errorLog: (error) => seen.push(error) });
  t.is(fetch(urlOf(server)).status, 500);
  t.regex(String(seen[0]), /must return a Response, got/);
  t.throws(() => fetchHandler({} as never), { instanceOf: TypeError, message: /fetch/ });
});

function honoApp(): Hono {
  const app = new Hono();
  app.get('/', (context) => context.text('hello'));
  app.get('/users/:id', (context) =>
    context.json({ id: context.req.param('id'), q: context.req.query('q') }),
  );
  app.post('/json', async (context) => context.json(await context.req.json()));
  app.get('/header', (context) => {
    context.header('X-Own', 'yes');
    return context.html(`<p>${context.req.header('x-one')}</p>`, 202);
  });
  app.get('/blocks', (context) => {
    sleep(2);
    return context.text(waitFor(Promise.resolve('waited')));
  });
  app.get('/stream', (context) => {
    context.header('Content-Type', 'text/plain');
    return stream(context, async (output) => {
      await output.write('a');
      await output.sleep(1);
      await output.write('b');
    });
  });
  app.get('/empty', (context) => context.body(null, 204));
  app.get('/moved', (context) => context.redirect('/'));
  app.get(
    '/cookies',
    () =>
      new Response('c', {
        headers: [
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
        ],
      }),
  );
  app.get('/fails', () => {
    throw new Error('boom');
  });
  app.onError((error, context) => context.text(error.message, 500));
  return app;
}

/** What a Hono app answers. */
function answersOf(origin: string): unknown[] {
  const at = (path: string, init?: Parameters<typeof fetch>[1]): unknown[] => {
    const response = fetch(origin + path, init);
    const { status, headers } = response;
    return [
      path,
      status,
      headers.get('content-type'),
      headers.getSetCookie(),
      headers.get('x-own'),
      response.text(),
    ];
  };
  return [
    at('/'),
    at('/users/7?q=a%20b'),
    at('/json', { method: 'POST', body: '{"a":1}' }),
    at('/header', { headers: { 'X-One': '1' } }),
    at('/stream'),
    at('/empty'),
    at('/moved', { redirect: 'manual' }),
    at('/cookies'),
    at('/fails'),
    at('/nowhere'),
    at('/', { method: 'HEAD' }),
  ];
}

hubTest('Hono: answers as on its own adapter, with light responses and without', (t) => {
  const OriginalResponse = globalThis.Response;
  const node = serveNode({
    fetch: honoApp().fetch,
    port: 0,
    hostname: '127.0.0.1',
    overrideGlobalObjects: false,
  });
  waitFor(once(node, 'listening'));
  const expected = answersOf(`http://127.0.0.1:${(node.address() as AddressInfo).port}`);
  (node as Server).closeAllConnections();
  node.close();
  waitFor(once(node, 'close'));
  try {
    for (const lightResponses of [false, true]) {
      using server = running(honoApp(), { lightResponses });
      t.deepEqual(answersOf(urlOf(server, '')), expected);
      t.is(fetch(urlOf(server, '/blocks')).text(), 'waited');
    }
    const light = new Response('x', { status: 201 });
    t.true(light instanceof Response);
    t.true(light instanceof OriginalResponse);
    t.true(new OriginalResponse() instanceof Response);
    t.is(light.headers.get('content-type'), 'text/plain;charset=UTF-8');
    t.is(waitFor(light.clone().text()), 'x');
    t.throws(() => new Response('x', { status: 204 }), { instanceOf: TypeError });
  } finally {
    globalThis.Response = OriginalResponse;
  }
});

// ---- the client

hubTest('fetch() blocks until the head has come, and reading until the body has', (t) => {
  using server = serving((request) => (request.method === 'POST' ? request.bytes() : Buffer.from('{"a":1}')));
  const url = urlOf(server);
  const response = fetch(url);
  t.like(response, { status: 200, ok: true, statusText: 'OK', url, redirected: false, bodyUsed: false });
  t.is(response.text(), '{"a":1}');
  t.true(response.bodyUsed);
  t.throws(() => response.text(), { instanceOf: TypeError });
  t.deepEqual(fetch(url).json(), { a: 1 });
  t.deepEqual(fetch(new URL(url)).bytes(), Buffer.from('{"a":1}'));
  t.is(fetch(new Request(url)).arrayBuffer().byteLength, 7);
  t.is(fetch(url).blob().size, 7);
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  t.is(fetch(url, { method: 'POST', body: 'a=b', headers }).text(), 'a=b');
});

hubTest('forms can be read', (t) => {
  withOrigin(
    (_, response) => response.setHeader('Content-Type', 'application/x-www-form-urlencoded').end('a=b'),
    (url) => t.is(fetch(url).formData().get('a'), 'b'),
  );
});

hubTest('the body comes piece by piece', (t) => {
  const go = new Event();
  using server = serving(function* () {
    yield 'one';
    go.wait();
    yield 'two';
  } as never);
  const seen: string[] = [];
  for (const piece of fetch(urlOf(server))) {
    seen.push(piece.toString());
    go.set();
  }
  t.deepEqual(seen, ['one', 'two']);
});

hubTest('ending the iteration early closes the connection', (t) => {
  const gone = new Event();
  using server = serving(
    nodeListener((_, response) => {
      response.on('close', () => gone.set());
      response.write('one');
    }),
  );
  for (const piece of fetch(urlOf(server))) {
    t.is(piece.toString(), 'one');
    break;
  }
  t.true(gone.wait());
});

/** A server that never answers, and tells when its client has gone. */
function silent(): { server: HttpServer; begun: Event; gone: Event } {
  const [begun, gone] = [new Event(), new Event()];
  const server = serving(
    nodeListener((request, response) => {
      response.on('close', () => gone.set());
      if (request.url === '/body') response.write('one');
      begun.set();
    }),
  );
  return { server, begun, gone };
}

for (const path of ['/', '/body']) {
  const read = (server: HttpServer, init?: Parameters<typeof fetch>[1]): string =>
    fetch(urlOf(server, path), init).text();

  hubTest(`a timeout ends the exchange: ${path}`, (t) => {
    const { server, begun, gone } = silent();
    using _ = server;
    // Until the request was there before the time was up.
    for (let timeout = 20; !begun.ready; timeout *= 2)
      t.throws(() => read(server, { timeout }), { instanceOf: Timeout });
    t.true(gone.wait());
  });

  hubTest(`a kill ends the exchange: ${path}`, (t) => {
    const { server, begun, gone } = silent();
    using _ = server;
    const reader = spawn(() => read(server));
    begun.wait();
    sleep(1);
    reader.kill();
    t.true(reader.value instanceof GreenletExit);
    t.true(gone.wait());
  });

  hubTest(`a signal ends the exchange: ${path}`, (t) => {
    const { server, begun, gone } = silent();
    using _ = server;
    const controller = new AbortController();
    const reader = spawn(() =>
      t.throws(() => read(server, { signal: controller.signal }), { message: 'enough' }),
    );
    begun.wait();
    sleep(1);
    controller.abort(new Error('enough'));
    reader.join();
    t.true(gone.wait());
  });
}

hubTest('what fails is thrown', (t) => {
  const error = t.throws(() => fetch('http://127.0.0.1:1/'), { instanceOf: TypeError });
  t.truthy(error?.cause);
  t.throws(() => fetch('nonsense'), { instanceOf: TypeError });
  t.throws(() => fetch('http://127.0.0.1:1/', 5 as never), {
    instanceOf: TypeError,
    message: /expects options/,
  });
  t.throws(() => fetch('http://127.0.0.1:1/', { timeout: NaN }), { instanceOf: TypeError });
});

hubTest('many requests at once', (t) => {
  using server = serving((request) => {
    sleep(1);
    return request.path;
  });
  const readers = Array.from({ length: 100 }, (_, index) =>
    spawn(() => fetch(urlOf(server, `/${index}`)).text()),
  );
  t.deepEqual(
    readers.map((reader) => reader.get()),
    readers.map((_, index) => `/${index}`),
  );
});

test.serial('outside of greenlets fetch() says what to do', (t) => {
  t.throws(() => fetch('http://127.0.0.1:1/'), {
    instanceOf: BlockingSwitchOutError,
    message: /fetch\(\) would block/,
  });
});
