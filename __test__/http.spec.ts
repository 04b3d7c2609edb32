import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { Agent, request as nodeRequest } from 'node:http';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import test from 'ava';
import { getCurrent, getHub, GreenletExit, Greenlet, run, sleep, spawn, Timeout, waitFor } from 'greenstack';
import { Event } from 'greenstack/event';
import {
  type AccessLogEntry,
  HttpError,
  HttpHeaders,
  HttpResponse,
  HttpServer,
  serve,
} from 'greenstack/http';
import { Group, Pool } from 'greenstack/pool';
import type { SpawnMode } from 'greenstack/server';
import { createConnection, createServer, Socket } from 'greenstack/socket';
import {
  exchange,
  firstAnswer,
  get,
  httpTest,
  post,
  RawClient,
  readToEnd,
  serving,
  urlOf,
} from './support/http.js';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';

const LAST = 'Connection: close\r\n';

/** Runs `body` while errors that nobody catches are collected. */
function failures(body: () => void): Array<{ context: unknown; error: unknown }> {
  const hub = getHub();
  const reported: Array<{ context: unknown; error: unknown }> = [];
  hub.handleError = (context, error) => reported.push({ context, error });
  try {
    body();
  } finally {
    Reflect.deleteProperty(hub, 'handleError');
  }
  return reported;
}

// ---- what handlers get

httpTest('a request tells what its head says', (t) => {
  using server = serving((request) => {
    t.is(request.method, 'GET');
    t.is(request.url, '/a%20b?c=d&e');
    t.is(request.path, '/a%20b');
    t.is(request.query.get('c'), 'd');
    t.is(request.httpVersion, '1.1');
    t.is(request.contentLength, 0);
    t.is(request.line, 'GET /a%20b?c=d&e HTTP/1.1');
    t.is(request.remoteAddress.address, '127.0.0.1');
    t.false(request.upgrades);
    t.is(inspect(request), '<HttpRequest GET /a%20b?c=d&e>');
    return 'done';
  });
  t.is(exchange(server, get('/a%20b?c=d&e', LAST))[0]?.body, 'done');
});

httpTest('headers have no case, and those of one name are joined', (t) => {
  using server = serving(({ headers }) => {
    t.is(headers.get('ACCEPT'), 'a, b');
    t.deepEqual(headers.getAll('accept'), ['a', 'b']);
    t.is(headers.get('cookie'), 'a=b; c=d');
    t.is(headers.get('x-none'), null);
    t.true(headers.has('Host'));
    t.deepEqual([...headers.raw()].slice(0, 3), [
      ['Host', 'a'],
      ['aCCept', 'a'],
      ['aCCept', 'b'],
    ]);
    t.deepEqual([...headers.keys()], ['host', 'accept', 'cookie', 'x-latin', 'empty', 'connection']);
    t.is(headers.get('x-latin'), 'ä');
    t.is(headers.get('empty'), '');
    return 'done';
  });
  const lines = `aCCept:  a \r\naccept: b\r\nCookie: a=b\r\nCookie: c=d\r\nX-Latin: \xe4\r\nEmpty:\r\n${LAST}`;
  t.is(exchange(server, get('/', lines))[0]?.status, 200);
});

httpTest('the head can be read after the request is over', (t) => {
  const requests: Array<{ url: string; headers: HttpHeaders }> = [];
  using server = serving((request) => {
    requests.push(request);
    return 'done';
  });
  exchange(server, get('/1', 'A: 1\r\n') + get('/2', `A: 2\r\n${LAST}`));
  t.deepEqual(
    requests.map(({ url, headers }) => [url, headers.get('a')]),
    [
      ['/1', '1'],
      ['/2', '2'],
    ],
  );
});

httpTest('after the request is over its body cannot be read', (t) => {
  let late: (() => string) | undefined;
  using server = serving((request) => {
    late = () => request.text();
    return 'done';
  });
  exchange(server, post('/', 'hello', LAST));
  t.throws(() => late?.(), { instanceOf: TypeError, message: 'text(): the request is over' });
});

httpTest('a target may be a whole URL', (t) => {
  using server = serving(({ url, path, query }) => `${url} ${path} ${query.get('c')}`);
  const answers = ['http://a/b?c=1', 'http://a', 'http://a?c=2'].map(
    (target) => exchange(server, `GET ${target} HTTP/1.1\r\nHost: a\r\n${LAST}\r\n`)[0]?.body,
  );
  t.deepEqual(answers, ['http://a/b?c=1 /b 1', 'http://a / null', 'http://a?c=2 / 2']);
});

httpTest('environ has the names of WSGI, and masks values where it is shown', (t) => {
  using server = serving(
    ({ environ }) => {
      t.is(environ['REQUEST_METHOD'], 'POST');
      t.is(environ['PATH_INFO'], '/a b');
      t.is(environ['QUERY_STRING'], 'c');
      t.is(environ['CONTENT_LENGTH'], '5');
      t.is(environ['CONTENT_TYPE'], 'text/plain');
      t.is(environ['HTTP_AUTHORIZATION'], 'secret');
      t.is(environ['HTTP_X_A'], undefined, 'a header with an underscore');
      t.is(environ['SERVER_PROTOCOL'], 'HTTP/1.1');
      t.is(environ['own'], 'value');
      t.false(inspect(environ).includes('secret'));
      t.true(inspect(environ).includes('REMOTE_ADDR: '));
      return 'done';
    },
    { environ: { own: 'value' } },
  );
  const lines = `Content-Type: text/plain\r\nAuthorization: secret\r\nX_A: b\r\n${LAST}`;
  t.is(exchange(server, post('/a%20b?c', 'hello', lines))[0]?.status, 200);
});

// ---- bodies of requests

httpTest('a body is read as text, JSON or bytes, wherever it was split', (t) => {
  using server = serving((request) => {
    if (request.path === '/text') return request.text();
    if (request.path === '/json') return HttpResponse.json(request.json());
    return request.bytes();
  });
  const body = JSON.stringify({ ä: 'é'.repeat(100) });
  const utf8 = Buffer.from(body).toString('latin1');
  for (const path of ['/text', '/json', '/bytes']) {
    t.is(exchange(server, post(path, utf8, LAST))[0]?.body, utf8);
    const [head = ''] = post(path, utf8, LAST).split('\r\n\r\n');
    t.is(exchange(server, `${head}\r\n\r\n`, ...utf8)[0]?.body, utf8);
  }
});

hubTest('a long body is read, of known length and in chunks', (t) => {
  using server = serving((request) => createHash('sha256').update(request.bytes()).digest('hex'));
  const body = Buffer.alloc(3_000_000, 'some text ');
  const digest = createHash('sha256').update(body).digest('hex');
  const send = (options: RequestInit): string =>
    waitFor(fetch(urlOf(server), { method: 'POST', ...options }).then((response) => response.text()));
  t.is(send({ body }), digest);
  const pieces = new ReadableStream({
    start(controller) {
      for (let at = 0; at < body.length; at += 70_001) controller.enqueue(body.subarray(at, at + 70_001));
      controller.close();
    },
  });
  t.is(send({ body: pieces, duplex: 'half' } as RequestInit), digest);
});

httpTest('a byte order mark is no part of a text', (t) => {
  using server = serving((request) => request.text());
  t.is(exchange(server, post('/', '\xef\xbb\xbfhello', LAST))[0]?.body, 'hello');
});

httpTest('a body that is no JSON is 400', (t) => {
  using server = serving((request) => HttpResponse.json(request.json()));
  const [answer] = exchange(server, post('/', '{"a"', LAST));
  t.is(answer?.status, 400);
  t.is(answer?.body, 'the body is not JSON');
});

httpTest('lines of a body are read one by one', (t) => {
  const lines: string[] = [];
  using server = serving((request) => {
    for (let line = request.readLine(); line !== ''; line = request.readLine()) lines.push(line);
    return 'done';
  });
  exchange(server, post('/', 'one\ntwo\r\n\nlast', LAST));
  t.deepEqual(lines, ['one\n', 'two\r\n', '\n', 'last']);
});

httpTest('what follows a line can be read as a whole', (t) => {
  using server = serving((request) => `${request.readLine(3)}|${request.readLine()}|${request.text()}`);
  t.is(exchange(server, post('/', 'one two\nthree\nfour', LAST))[0]?.body, 'one| two\n|three\nfour');
});

httpTest('a body is iterated as it comes', (t) => {
  const pieces: string[] = [];
  const came = new Event();
  using server = serving((request) => {
    for (const piece of request) {
      pieces.push(piece.toString());
      came.set();
    }
    return 'done';
  });
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n');
  for (const piece of ['one', 'two']) {
    client.send(piece);
    came.wait();
    came.clear();
  }
  t.is(client.receive().body, 'done');
  t.deepEqual(pieces, ['one', 'two']);
});

httpTest('a body in chunks that is too long is 413', (t) => {
  using server = serving((request) => request.text(), { maxBodySize: 10 });
  const chunks = '5\r\nhello\r\n'.repeat(3);
  const [answer] = exchange(
    server,
    `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
  );
  t.is(answer?.status, 413);
});

httpTest('maxSize limits one body', (t) => {
  using server = serving((request) => request.text({ maxSize: 4 }));
  t.is(exchange(server, post('/', 'hello', LAST))[0]?.status, 413);
  t.is(exchange(server, post('/', 'four', LAST))[0]?.body, 'four');
});

httpTest('a time limit of the handler’s own is an ETIMEDOUT', (t) => {
  let code: unknown;
  using server = serving((request) => {
    try {
      return request.text(10);
    } catch (error) {
      ({ code } = error as NodeJS.ErrnoException);
      return 'gave up';
    }
  });
  using client = new RawClient(server);
  t.is(client.request('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello').body, 'gave up');
  t.is(code, 'ETIMEDOUT');
});

httpTest('what came before the time was up is read by the next call', (t) => {
  for (const lines of ['Content-Length: 10\r\n', 'Transfer-Encoding: chunked\r\n']) {
    const waiting = new Event();
    using server = serving((request) => {
      const first = request.path === '/lines' ? request.readLine() : '';
      try {
        request.text(10);
      } catch (error) {
        t.is((error as NodeJS.ErrnoException).code, 'ETIMEDOUT');
      }
      waiting.set();
      return first + request.text();
    });
    for (const path of ['/', '/lines']) {
      const isChunked = lines.startsWith('Transfer');
      const body = (text: string): string => (isChunked ? `5\r\n${text}\r\n` : text);
      waiting.clear();
      using client = new RawClient(server);
      client.send(`POST ${path} HTTP/1.1\r\nHost: a\r\n${lines}${LAST}\r\n${body('on\ne ')}`);
      waiting.wait();
      client.send(body('two!\n') + (isChunked ? '0\r\n\r\n' : ''));
      t.is(client.receive().body, 'on\ne two!\n');
    }
  }
});

httpTest('a Timeout around a wait for the body is thrown itself', (t) => {
  using server = serving((request) => {
    const timeout = Timeout.startNew(10);
    try {
      return request.text();
    } catch (error) {
      return String(error === timeout);
    } finally {
      timeout.close();
    }
  });
  using client = new RawClient(server);
  t.is(client.request('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello').body, 'true');
});

httpTest('a body that the handler leaves is discarded before the next request', (t) => {
  using server = serving((request) => request.path);
  const chunked = 'POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n';
  const answers = exchange(server, post('/1', 'x'.repeat(100_000)), chunked, get('/3', LAST));
  t.deepEqual(
    answers.map(({ body }) => body),
    ['/1', '/2', '/3'],
  );
});

httpTest('a long body that the handler leaves ends the connection', (t) => {
  using server = serving(() => 'no');
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n');
  const answer = client.receive();
  t.is(answer.headers['connection'], 'close');
  t.is(client.rest(), '');
});

// ---- responses

httpTest('strings and bytes have a type and a length', (t) => {
  using server = serving((request) => {
    if (request.path === '/string') return 'hä';
    if (request.path === '/buffer') return Buffer.from('bytes');
    return new Uint16Array([0x4141]);
  });
  const [first, second, third] = exchange(server, get('/string') + get('/buffer') + get('/view', LAST));
  t.is(first?.headers['content-type'], 'text/plain; charset=utf-8');
  t.is(first?.headers['content-length'], '3');
  t.is(first?.body, 'h\xc3\xa4');
  t.is(second?.headers['content-type'], 'application/octet-stream');
  t.is(second?.body, 'bytes');
  t.is(third?.body, 'AA');
});

for (const size of [0, 1, 4000, 65_535, 65_536, 65_537, 3_000_000]) {
  hubTest(`a text of ${size} characters arrives`, (t) => {
    const text = 'ä'.repeat(size);
    using server = serving(() => text);
    const digest = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
    const got = waitFor(fetch(urlOf(server)).then((response) => response.arrayBuffer()));
    t.is(digest(Buffer.from(got)), digest(text));
  });
}

httpTest('a client that does not read makes only its own greenlet wait', (t) => {
  const body = Buffer.alloc(20_000_000, 'x');
  using server = serving((request) => (request.path === '/long' ? body : 'short'));
  using slow = new RawClient(server);
  slow.send(get('/long', LAST));
  sleep(20);
  t.is(exchange(server, get('/', LAST))[0]?.body, 'short');
  t.is(firstAnswer(slow.rest())?.answer.body.length, body.length);
});

httpTest('a client that takes nothing is given up after writeTimeout, and nobody told', (t) => {
  const ended = new Event();
  const reported = failures(() => {
    using server = serving(
      function* () {
        try {
          for (;;) yield Buffer.alloc(1_000_000);
        } finally {
          ended.set();
        }
      },
      { writeTimeout: 30 },
    );
    using client = new RawClient(server);
    client.send(get('/'));
    t.true(ended.wait());
  });
  t.deepEqual(reported, []);
});

httpTest('an HttpResponse has a status, a reason and headers', (t) => {
  using server = serving(
    () =>
      new HttpResponse('made', {
        status: 201,
        reason: 'Well Done',
        headers: { Location: '/1', 'Set-Cookie': ['a=b', 'c=d'] },
      }),
  );
  const [answer] = exchange(server, get('/', LAST));
  t.is(answer?.status, 201);
  t.is(answer?.reason, 'Well Done');
  t.is(answer?.headers['location'], '/1');
  t.is(answer?.headers['set-cookie'], 'a=b, c=d');
});

httpTest('HttpResponse makes JSON, HTML and redirects', (t) => {
  using server = serving((request) => {
    if (request.path === '/json') return HttpResponse.json({ a: 1 });
    if (request.path === '/html') return HttpResponse.html('<p>');
    return HttpResponse.redirect('/elsewhere', 307);
  });
  const [json, html, redirect] = exchange(server, get('/json') + get('/html') + get('/', LAST));
  t.is(json?.headers['content-type'], 'application/json');
  t.is(json?.body, '{"a":1}');
  t.is(html?.headers['content-type'], 'text/html; charset=utf-8');
  t.is(redirect?.status, 307);
  t.is(redirect?.headers['location'], '/elsewhere');
});

httpTest('a Response of the Fetch API is sent, its stream included', (t) => {
  using server = serving(
    () =>
      new Response('from fetch', {
        status: 202,
        headers: [
          ['x-a', 'b'],
          ['set-cookie', 'c=d'],
        ],
      }),
  );
  const [answer] = exchange(server, get('/', LAST));
  t.is(answer?.status, 202);
  t.is(answer?.headers['x-a'], 'b');
  t.is(answer?.headers['set-cookie'], 'c=d');
  t.is(answer?.body, 'from fetch');
});

httpTest('a promise of a response is waited for', (t) => {
  using server = serving(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return 'later';
  });
  t.is(exchange(server, get('/', LAST))[0]?.body, 'later');
});

httpTest('an iterable is sent in chunks as it comes, without its empty pieces', (t) => {
  const sent = new Event();
  using server = serving(function* () {
    yield '';
    yield 'one';
    sent.wait();
    yield Buffer.from('two');
  });
  using client = new RawClient(server);
  client.send(get('/', LAST));
  let text = '';
  while (!text.includes('one')) text += client.socket.recv().toString();
  t.true(text.includes('\r\nTransfer-Encoding: chunked\r\n'));
  t.true(text.endsWith('\r\n\r\n3\r\none\r\n'));
  sent.set();
  t.is(client.rest(), '3\r\ntwo\r\n0\r\n\r\n');
});

httpTest('an iterable is sent to HTTP/1.0 until the connection is closed', (t) => {
  using server = serving(() => ['one', 'two'].values());
  using client = new RawClient(server);
  client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  const text = client.rest();
  t.true(text.includes('\r\nConnection: close\r\n'));
  t.true(text.endsWith('\r\n\r\nonetwo'));
});

httpTest('an array of pieces has a length', (t) => {
  using server = serving(() => ['one', Buffer.from('two')]);
  const [answer] = exchange(server, get('/', LAST));
  t.is(answer?.headers['content-length'], '6');
  t.is(answer?.body, 'onetwo');
});

httpTest('an iterable whose length the handler gives is not chunked', (t) => {
  using server = serving(
    () => new HttpResponse(['one', 'two'].values(), { headers: { 'Content-Length': 6 } }),
  );
  const [answer] = exchange(server, get('/', LAST));
  t.is(answer?.headers['content-length'], '6');
  t.is(answer?.headers['transfer-encoding'], undefined);
  t.is(answer?.body, 'onetwo');
});

httpTest('a stream that is longer or shorter than it says is cut, and reported', (t) => {
  using server = serving(
    ({ path }) => new HttpResponse(['one'].values(), { headers: { 'Content-Length': path.slice(1) } }),
  );
  const reported = failures(() => {
    for (const length of ['2', '4']) {
      using client = new RawClient(server);
      client.send(get(`/${length}`));
      t.false(client.rest().endsWith('one!'));
    }
  });
  t.is(reported.length, 2);
});

httpTest('the connection ends if the handler says so', (t) => {
  using server = serving(() => new HttpResponse('bye', { headers: { Connection: 'close' } }));
  t.is(exchange(server, get('/') + get('/')).length, 1);
});

httpTest('a Date of the handler’s is kept', (t) => {
  using server = serving(() => new HttpResponse('x', { headers: { Date: 'Sun, 06 Nov 1994 08:49:37 GMT' } }));
  t.is(exchange(server, get('/', LAST))[0]?.headers['date'], 'Sun, 06 Nov 1994 08:49:37 GMT');
});

test('headers that could begin something else are refused where they are set', (t) => {
  for (const value of ['a\r\nb', 'a\nb', 'a\rb', 'a\0b', 'a\x7fb', '€'])
    t.throws(() => new HttpHeaders({ a: value }), { instanceOf: TypeError });
  for (const name of ['', 'a b', 'a:', 'a\r\n', 'ä', 'a\0'])
    t.throws(() => new HttpHeaders([[name, 'b']]), { instanceOf: TypeError });
  const headers = new HttpHeaders();
  t.throws(() => headers.append('a', 'b\r\nc'), { message: /the value of a has a character/ });
  t.throws(() => headers.set('a\n', 'b'), { message: /"a\\n" cannot be the name of a header/ });
  t.throws(() => new HttpResponse('', { reason: 'a\r\nb' }), { instanceOf: TypeError });
  t.deepEqual([...headers], []);
});

test('a response that cannot be one is refused where it is made', (t) => {
  t.throws(() => new HttpResponse('', { status: 99 }), { instanceOf: RangeError });
  t.throws(() => new HttpResponse('', { status: 200.5 }), { instanceOf: TypeError });
  t.throws(() => new HttpResponse('body', { status: 204 }), { message: /status 204 has no body/ });
  t.throws(() => new HttpResponse({} as string), { message: /HttpResponse.json\(\)/ });
  t.throws(() => HttpResponse.json(undefined), { instanceOf: TypeError });
  t.throws(() => new HttpError(200), { instanceOf: RangeError });
});

httpTest('interim responses come before the other one, which may be a stream', (t) => {
  using server = serving((request) => {
    request.writeInterim(103, { Link: '</a.css>; rel=preload' });
    request.writeInterim(150);
    return request.path === '/stream' ? ['one', 'two'].values() : 'hello';
  });
  using client = new RawClient(server);
  for (const path of ['/', '/stream']) {
    client.send(get(path));
    const hints = client.receive();
    t.is(hints.status, 103);
    t.is(hints.headers['link'], '</a.css>; rel=preload');
    t.is(client.receive().reason, 'Interim');
    t.is(client.receive().body, path === '/' ? 'hello' : 'onetwo');
  }
  t.is(exchange(server, 'GET / HTTP/1.0\r\n\r\n').length, 1, 'HTTP/1.0 knows none');
});

hubTest('interim responses are refused that cannot be one', (t) => {
  using server = serving((request) => {
    for (const status of [100, 101, 200])
      t.throws(() => request.writeInterim(status), { instanceOf: RangeError });
    t.throws(() => request.writeInterim(103, { a: 'b\r\n\r\nHTTP/1.1 200 OK' }), { instanceOf: TypeError });
    request.upgrade({ headers: { Upgrade: 'none' } }).socket.close();
    t.throws(() => request.writeInterim(103), { instanceOf: TypeError, message: /the request is over/ });
  });
  using client = new RawClient(server);
  t.is(client.request(get('/')).status, 101);
});

// ---- failures

httpTest('a handler that fails is a 500 that tells only an id, which the log has too', (t) => {
  let answer: string | undefined;
  const reported = failures(() => {
    using server = serving(() => {
      throw new Error('secret');
    });
    const [first, second] = exchange(server, get('/1?a') + get('/2', LAST));
    t.is(first?.status, 500);
    t.is(second?.status, 500, 'the connection goes on');
    answer = first?.body;
  });
  const id = /\(([0-9a-f]{12})\)/.exec(answer ?? '')?.[1];
  t.false(answer?.includes('secret'));
  t.true(String(reported[0]?.context).includes(`GET /1?a from 127.0.0.1`));
  t.true(String(reported[0]?.context).includes(id ?? 'none'));
  t.is((reported[0]!.error as Error).message, 'secret');
});

httpTest('errorLog is told in place of the hub', (t) => {
  const told: unknown[] = [];
  const reported = failures(() => {
    using server = serving(
      () => {
        throw new Error('oops');
      },
      { errorLog: (error, request, id) => told.push((error as Error).message, request.url, typeof id) },
    );
    exchange(server, get('/', LAST));
  });
  t.deepEqual(told, ['oops', '/', 'string']);
  t.is(reported.length, 0);
});

httpTest('an HttpError is the response, and is not reported', (t) => {
  const reported = failures(() => {
    using server = serving(() => {
      throw new HttpError(403, 'not you', { headers: { 'X-A': 'b' } });
    });
    const [answer] = exchange(server, get('/', LAST));
    t.is(answer?.status, 403);
    t.is(answer?.body, 'not you');
    t.is(answer?.headers['x-a'], 'b');
  });
  t.is(reported.length, 0);
});

for (const [title, result] of [
  ['nothing', undefined],
  ['an object', { a: 1 }],
  ['a number', 42],
] as const) {
  httpTest(`a handler that returns ${title} is a 500 with a clear error`, (t) => {
    const reported = failures(() => {
      using server = serving(() => result as unknown as string);
      t.is(exchange(server, get('/', LAST))[0]?.status, 500);
    });
    t.true((reported[0]!.error as Error).message.startsWith('a handler must return a string, bytes'));
  });
}

httpTest('an iterable that fails before its first piece is a 500', (t) => {
  const reported = failures(() => {
    using server = serving(function* (): Generator<string> {
      yield '';
      throw new Error('early');
    });
    t.is(exchange(server, get('/', LAST))[0]?.status, 500);
  });
  t.is(reported.length, 1);
});

httpTest('an iterable that fails later cuts the connection', (t) => {
  const reported = failures(() => {
    using server = serving(function* () {
      yield 'one';
      throw new Error('late');
    });
    using client = new RawClient(server);
    client.send(get('/'));
    t.true(client.rest().endsWith('3\r\none\r\n'), 'no last chunk');
  });
  t.is((reported[0]!.error as Error).message, 'late');
});

httpTest('an iterable is closed when the client goes', (t) => {
  const ended = new Event();
  const reported = failures(() => {
    using server = serving(function* () {
      try {
        for (;;) {
          yield 'x'.repeat(100_000);
          sleep(0);
        }
      } finally {
        ended.set();
      }
    });
    {
      using client = new RawClient(server);
      client.send(get('/'));
      client.socket.recv();
    }
    t.true(ended.wait());
  });
  t.deepEqual(reported, [], 'who has gone is nobody’s failure');
});

httpTest('a handler that is killed leaves no answer', (t) => {
  const running = new Event();
  let greenlet: Greenlet | undefined;
  const reported = failures(() => {
    using server = serving(() => {
      greenlet = getCurrent() as Greenlet;
      running.set();
      sleep(60_000);
      return 'never';
    });
    using client = new RawClient(server);
    client.send(get('/'));
    running.wait();
    greenlet?.kill();
    t.is(client.rest(), '');
  });
  t.deepEqual(reported, []);
  t.true(greenlet?.value instanceof GreenletExit);
});

httpTest('a handler that returns after an upgrade is reported', (t) => {
  const reported = failures(() => {
    using server = serving((request) => {
      request.upgrade().socket.close();
      return 'too much';
    });
    using client = new RawClient(server);
    client.send(get('/'));
    t.is(client.rest(), '');
  });
  t.is(reported.length, 1);
});

// ---- greenlets

httpTest('each request has a greenlet of its own', (t) => {
  const greenlets = new Set<unknown>();
  using server = serving(() => {
    greenlets.add(getCurrent());
    return 'done';
  });
  exchange(server, get('/') + get('/') + get('/', LAST));
  t.is(greenlets.size, 3);
});

httpTest('nobody has spawned the greenlets of requests', (t) => {
  const spawners = new Set<unknown>();
  using server = serving((request) => {
    spawners.add((getCurrent() as Greenlet).spawningGreenlet);
    if (request.path === '/waits') sleep(1);
    return 'done';
  });
  const clients = Array.from({ length: 5 }, () =>
    spawn(() => exchange(server, get('/waits') + get('/') + get('/waits', LAST)).length),
  );
  t.deepEqual(
    clients.map((client) => client.get()),
    Array(5).fill(3),
  );
  t.deepEqual([...spawners], [undefined]);
});

httpTest('a request whose greenlet is killed before it begins leaves no answer', (t) => {
  const kill = (greenlet: { kill(error?: undefined, limits?: object): void; name: string }): void => {
    if (greenlet.constructor.name === 'RequestGreenlet') greenlet.kill(undefined, { block: false });
  };
  using server = serving(() => 'never');
  using client = new RawClient(server);
  Greenlet.addSpawnCallback(kill as never);
  try {
    client.send(get('/'));
    t.is(client.rest(), '');
  } finally {
    Greenlet.removeSpawnCallback(kill as never);
  }
  t.is(exchange(server, get('/', LAST))[0]?.body, 'never');
});

httpTest('requests of several connections run at the same time', (t) => {
  let running = 0;
  const all = new Event();
  using server = serving(() => {
    if (++running === 10) all.set();
    all.wait();
    return 'done';
  });
  const clients = Array.from({ length: 10 }, () => spawn(() => exchange(server, get('/', LAST))[0]?.body));
  t.deepEqual(
    clients.map((client) => client.get()),
    Array(10).fill('done'),
  );
});

for (const [title, spawnOption] of [
  ['a number', 2],
  ['a Pool', new Pool(2)],
] as const) {
  httpTest(`spawn: ${title} limits how many requests run`, (t) => {
    let [running, most] = [0, 0];
    const both = new Event();
    using server = serving(
      () => {
        most = Math.max(most, ++running);
        if (running === 2) both.set();
        both.wait();
        sleep(2);
        running--;
        return 'done';
      },
      { spawn: spawnOption },
    );
    const clients = Array.from({ length: 10 }, () =>
      spawn(() => exchange(server, get('/'), get('/', LAST)).length),
    );
    t.deepEqual(
      clients.map((client) => client.get()),
      Array(10).fill(2),
    );
    t.is(most, 2);
  });
}

for (const [title, spawnOption] of [
  ['raw', 'raw'],
  ['a Group', new Group()],
  [
    'a function that spawns',
    (fn: (...args: never[]) => unknown, ...args: unknown[]) => spawn(fn, ...(args as never[])),
  ],
  [
    'a function that calls later',
    (fn: (...args: never[]) => unknown, ...args: unknown[]) => void setImmediate(fn, ...(args as never[])),
  ],
  ['null', null],
] as const) {
  httpTest(`spawn: ${title} runs handlers`, (t) => {
    const isInHub = spawnOption === null || title.endsWith('later');
    const reported = failures(() => {
      using server = serving(
        (request) => {
          t.is(getCurrent() === null, isInHub);
          if (request.path === '/fails') throw new Error('oops');
          if (request.path === '/stream') return ['one', 'two'].values();
          if (request.path === '/later') return Promise.resolve('later');
          return request.method === 'POST' ? request.text(isInHub ? 0 : undefined) : 'x'.repeat(3_000_000);
        },
        { spawn: spawnOption as SpawnMode },
      );
      const requests = post('/', 'hello') + get('/fails') + get('/stream') + get('/later') + get('/', LAST);
      const answers = exchange(server, requests);
      t.deepEqual(
        answers.map(({ status, body }) => (status === 200 ? body.length : status)),
        [5, 500, 6, 5, 3_000_000],
      );
      server.stop();
      t.is(server.activeCount, 0);
    });
    t.is(reported.length, 1);
  });
}

for (const spawnOption of ['raw', spawn] as const) {
  hubTest(
    `stop kills requests of a server with spawn: ${String(spawnOption === spawn ? 'a function' : 'raw')}`,
    (t) => {
      const running = new Event();
      let ended = false;
      const server = serving(
        () => {
          running.set();
          try {
            sleep(60_000);
          } finally {
            ended = true;
          }
          return 'never';
        },
        { spawn: spawnOption as SpawnMode },
      );
      using client = new RawClient(server);
      client.send(get('/'));
      running.wait();
      server.stop(10);
      t.true(ended);
      t.is(client.rest(), '');
      t.is(server.activeCount, 0);
    },
  );
}

hubTest('spawn: null: what would wait throws in the hub', (t) => {
  const reported = failures(() => {
    using server = serving(
      () => {
        sleep(1);
        return 'never';
      },
      { spawn: null },
    );
    t.is(exchange(server, get('/', LAST))[0]?.status, 500);
  });
  t.is((reported[0]!.error as NodeJS.ErrnoException).code, 'ERR_GREENSTACK_BLOCKING_SWITCH_OUT');
});

hubTest('setSpawn makes room for requests that wait', (t) => {
  const free = new Event();
  let running = 0;
  using server = serving(
    () => {
      running++;
      free.wait();
      return 'done';
    },
    { spawn: 1 },
  );
  const clients = Array.from({ length: 3 }, () => new RawClient(server));
  for (const client of clients) client.send(get('/'));
  while (running < 1) sleep(1);
  server.setSpawn('default');
  while (running < 3) sleep(1);
  free.set();
  for (const client of clients) {
    t.is(client.receive().body, 'done');
    client[Symbol.dispose]();
  }
});

httpTest('overload: 503 refuses what there is no room for', (t) => {
  const free = new Event();
  const running = new Event();
  using server = serving(
    () => {
      running.set();
      free.wait();
      return 'done';
    },
    { spawn: 1, overload: 503 },
  );
  const first = new RawClient(server);
  first.send(get('/'));
  const second = new RawClient(server);
  second.send('GET');
  running.wait();
  second.send(' / HTTP/1.1\r\nHost: a\r\n\r\n');
  // It may be that the second connection was not accepted before the first request ran: then it waits.
  spawn(() => {
    sleep(50);
    free.set();
  });
  t.true([200, 503].includes(second.receive().status));
  t.is(first.receive().status, 200);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
});

httpTest('maxConnections leaves others waiting until one is closed', (t) => {
  using server = serving(() => 'done', { maxConnections: 1 });
  const first = new RawClient(server);
  t.is(first.request(get('/')).status, 200);
  const second = spawn(() => exchange(server, get('/', LAST))[0]?.status);
  sleep(10);
  t.false(second.ready);
  first[Symbol.dispose]();
  t.is(second.get(), 200);
});

httpTest('maxRequestsPerConnection ends a connection', (t) => {
  using server = serving(() => 'done', { maxRequestsPerConnection: 2 });
  const answers = exchange(server, get('/') + get('/') + get('/'));
  t.deepEqual(
    answers.map(({ headers }) => headers['connection']),
    [undefined, 'close'],
  );
});

// ---- life

hubTest('a server tells where it listens, and can be started again', (t) => {
  const server = new HttpServer('127.0.0.1:0', () => 'hello');
  t.false(server.started);
  t.is(String(server), '<HttpServer at 127.0.0.1:0 closed>');
  for (let round = 0; round < 2; round++) {
    server.start();
    server.start();
    t.true(server.started);
    t.is(String(server), `<HttpServer at 127.0.0.1:${server.address.port}>`);
    t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
    server.stop();
    server.stop();
    t.false(server.started);
  }
  t.throws(() => createConnection(server.address), { code: 'ECONNREFUSED' });
});

hubTest('a server takes a socket that listens, and closes it', (t) => {
  const socket = createServer('127.0.0.1:0');
  const server = new HttpServer(socket, () => 'hello');
  server.start();
  t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
  server.stop();
  t.true(socket.closed);
  t.throws(() => server.start(), { code: 'EBADF' });
});

hubTest('a server listens on a Unix-domain socket', (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'greenstack-')), 'http');
  using server = new HttpServer({ path }, (request) => String(request.remoteAddress.family));
  server.start();
  t.is(exchange(server, get('/', LAST))[0]?.body, 'unix');
});

httpTest('stop lets requests end that are under way, and those that have come', (t) => {
  const running = new Event();
  const server = serving((request) => {
    if (request.path === '/slow') {
      running.set();
      // Until stop() has begun.
      while (server.socket?.closed === false) sleep(1);
    }
    return 'done';
  });
  using idle = new RawClient(server);
  idle.request(get('/'));
  using pending = new RawClient(server);
  pending.request(get('/'));
  using slow = new RawClient(server);
  slow.send(get('/slow'));
  running.wait();
  pending.send(get('/pending'));
  server.stop();
  const answer = slow.receive();
  t.is(answer.body, 'done');
  t.is(answer.headers['connection'], 'close');
  t.is(pending.receive().body, 'done');
  t.is(idle.rest(), '');
  t.is(slow.rest(), '');
});

httpTest('a server that is stopped under load answers every request that it has taken', (t) => {
  let [taken, answered] = [0, 0];
  const server = serving(() => {
    if (++taken % 3 === 0) sleep(1);
    return 'done';
  });
  const clients = Array.from({ length: 50 }, () =>
    spawn(() => {
      using client = new RawClient(server);
      try {
        for (;;) {
          if (client.request(get('/')).body !== 'done') t.fail('another body');
          answered++;
        }
      } catch {
        // The server has closed the connection, or is about to.
      }
    }),
  );
  while (taken < 2000) sleep(1);
  server.stop(60_000);
  for (const client of clients) client.get();
  t.is(answered, taken);
});

httpTest('stop kills requests that take too long', (t) => {
  const running = new Event();
  let ended = false;
  const server = serving(() => {
    running.set();
    try {
      sleep(60_000);
    } finally {
      ended = true;
    }
    return 'never';
  });
  using client = new RawClient(server);
  client.send(get('/'));
  running.wait();
  server.stop(10);
  t.true(ended);
  t.is(client.rest(), '');
});

httpTest('a handler may stop its server', (t) => {
  const server = serving(() => {
    server.stop();
    return 'stopped';
  });
  using client = new RawClient(server);
  client.send(get('/'));
  client.rest();
  t.false(server.started);
});

httpTest('close lets requests go on and does not wait for them; stop does', (t) => {
  const running = new Event();
  const free = new Event();
  const server = serving((request) => {
    running.set();
    free.wait();
    return request.path;
  });
  using client = new RawClient(server);
  client.send(get('/'));
  using idle = new RawClient(server);
  running.wait();
  server.close();
  t.false(server.started);
  t.true(server.closed.ready);
  t.is(server.activeCount, 1);
  t.is(idle.rest(), '');
  const stopping = spawn(() => server.stop(60_000));
  free.set();
  const answer = client.receive();
  t.is(answer.body, '/');
  t.is(answer.headers['connection'], 'close');
  stopping.get();
  t.is(server.activeCount, 0);
});

hubTest('a server that was closed and started again stops all of its requests', (t) => {
  const running = new Event();
  const server = new HttpServer('127.0.0.1:0', () => {
    running.set();
    sleep(60_000);
    return 'never';
  });
  const clients = [0, 1].map(() => {
    server.start();
    const client = new RawClient(server);
    client.send(get('/'));
    running.wait();
    running.clear();
    server.close();
    return client;
  });
  t.is(server.activeCount, 2);
  server.stop(0);
  for (const client of clients) {
    t.is(client.rest(), '');
    client[Symbol.dispose]();
  }
  t.is(server.activeCount, 0);
});

hubTest('closed is told when the server is closed, and can be awaited', (t) => {
  const server = new HttpServer('127.0.0.1:0', () => 'hello');
  t.true(server.closed.ready);
  server.start();
  t.false(server.closed.ready);
  t.false(server.closed.join(1));
  const waiting = spawn(() => waitFor(server.closed));
  server.close();
  waiting.get();
  t.true(server.closed.join());
});

hubTest('a server takes a socket that is bound, or a descriptor', (t) => {
  const bound = new Socket({ family: 4, type: 'stream' });
  bound.bind({ host: '127.0.0.1', port: 0 });
  const listening = createServer('127.0.0.1:0');
  for (const listener of [bound, { fd: listening.detach() }]) {
    using server = new HttpServer(listener, () => 'hello');
    server.start();
    t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
    server.stop();
    t.throws(() => server.start(), { code: 'EBADF' });
  }
});

hubTest('serveForever returns when the server is stopped, and stops it when it is killed', (t) => {
  const server = new HttpServer('127.0.0.1:0', () => 'hello');
  const first = spawn(() => server.serveForever());
  while (!server.started) sleep(1);
  server.stop();
  first.join();
  t.true(first.successful);
  const second = spawn(() => server.serveForever());
  while (!server.started) sleep(1);
  second.kill();
  t.false(server.started);
});

hubTest('serve serves until it is killed', (t) => {
  const listener = createServer('127.0.0.1:0');
  const { port } = listener.localAddress;
  const serving = spawn(() => serve(listener, () => 'served'));
  using client = createConnection({ host: '127.0.0.1', port });
  client.sendAll(get('/', LAST));
  t.true(readToEnd(client).endsWith('served'));
  serving.kill();
  t.true(listener.closed);
});

httpTest('a server that does not accept leaves connections waiting', (t) => {
  using server = serving(() => 'done');
  using client = new RawClient(server);
  t.is(client.request(get('/')).body, 'done');
  server.stopAccepting();
  const waiting = spawn(() => exchange(server, get('/', LAST))[0]?.body);
  t.is(client.request(get('/')).body, 'done', 'those that there are go on');
  sleep(10);
  t.false(waiting.ready);
  server.startAccepting();
  t.is(waiting.get(), 'done');
});

test('a server can be started and closed outside of greenlets', async (t) => {
  const server = new HttpServer('127.0.0.1:0', () => 'hello');
  server.start();
  const response = await fetch(`http://127.0.0.1:${server.address.port}/`);
  t.is(await response.text(), 'hello');
  server.close();
  t.false(server.started);
});

test('options are checked', (t) => {
  const make = (options: object) => () => new HttpServer(0, () => '', options);
  t.throws(() => new HttpServer(0, 'no' as never), { instanceOf: TypeError });
  t.throws(make({ maxHeaders: 0 }), { instanceOf: RangeError, message: /maxHeaders must be from 1 to/ });
  t.throws(make({ maxBodySize: '1' }), { instanceOf: TypeError });
  t.throws(make({ headTimeout: 'x' }), { instanceOf: TypeError });
  t.throws(make({ spawn: 'often' }), { instanceOf: TypeError });
  t.throws(make({ spawn: 0 }), { instanceOf: RangeError });
  t.throws(make({ maxAccept: 0 }), { instanceOf: RangeError });
  t.throws(make({ stopTimeout: 'x' }), { instanceOf: TypeError });
  t.throws(make({ shutdownOnSignal: 1 }), { instanceOf: TypeError });
  t.throws(make({ noDelay: 1 }), { instanceOf: TypeError });
  t.throws(make({ workers: 0 }), { instanceOf: RangeError });
  t.throws(() => new HttpServer('nowhere:at:all', () => ''), { instanceOf: TypeError });
  t.throws(() => new HttpServer({ fd: -1 }, () => ''), { instanceOf: TypeError, message: /fd must be/ });
  t.throws(() => new HttpServer({ fd: 0 }, () => '', { backlog: 5 }), {
    message: /backlog is for addresses/,
  });
  t.throws(make({ overload: 500 }), { instanceOf: TypeError });
  t.throws(make({ log: 1 }), { instanceOf: TypeError });
  t.throws(make({ errorLog: 1 }), { instanceOf: TypeError });
  t.throws(make({ compress: 'yes' }), { instanceOf: TypeError });
  t.notThrows(make({ maxBodySize: Infinity, idleTimeout: Infinity, bodyTimeout: Infinity }));
});

test.serial('workers share one port, and stop with the primary', async (t) => {
  const { code, stdout, stderr } = await runProgram('server-workers.js', { args: ['port', 'http'] });
  t.is(code, 0, stderr + stdout);
  t.is(stdout, 'several workers\nanother one after SIGKILL\npaused\nresumed\nall gone\n');
});

for (const mode of ['run', 'plain']) {
  test.serial(`SIGTERM lets requests finish and kills the rest: ${mode}`, async (t) => {
    const { signal, stdout } = await runProgram('server-signal.js', {
      args: [mode, 'http'],
      signalWhenReady: 'SIGTERM',
    });
    t.is(signal, 'SIGTERM');
    t.is(stdout, 'ready\nrefused: ECONNREFUSED\nfinished\nkilled\n');
  });
}

// ---- logs, compression

httpTest('the access log has a line for each request, refused ones included', (t) => {
  let lines = '';
  using server = serving(
    ({ path }) => (path === '/none' ? new HttpResponse(null, { status: 204 }) : 'hello'),
    {
      log: { write: (line) => (lines += line) },
    },
  );
  exchange(
    server,
    get('/"a', 'User-Agent: "x"\r\nReferer: \xe4\r\n') +
      get('/none') +
      `BAD\x01 / HTTP/1.1\r\nHost: a\r\n\r\n`,
  );
  const time = String.raw`\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]`;
  const [first = '', second = '', third = ''] = lines.split('\n');
  t.regex(
    first,
    new RegExp(String.raw`^127\.0\.0\.1 - - ${time} "GET /\\"a HTTP/1\.1" 200 5 "\\xe4" "\\"x\\""$`),
  );
  t.regex(second, new RegExp(String.raw`"GET /none HTTP/1\.1" 204 - "-" "-"$`));
  t.regex(third, new RegExp(String.raw`"BAD\\x01 / HTTP/1\.1" 400 \d+ "-" "-"$`));
});

httpTest('a function gets entries, and its failure is only reported', (t) => {
  const entries: AccessLogEntry[] = [];
  const reported = failures(() => {
    using server = serving(
      () => {
        sleep(5);
        return 'hello';
      },
      {
        log(entry) {
          entries.push(entry);
          throw new Error('full');
        },
      },
    );
    t.is(exchange(server, get('/', LAST))[0]?.status, 200);
  });
  t.is(entries[0]?.status, 200);
  t.is(entries[0]?.bytes, 5);
  t.true((entries[0]?.duration ?? 0) >= 4);
  t.is(reported.length, 1);
});

httpTest('compress answers in what the client takes', (t) => {
  const text = 'hello '.repeat(1000);
  using server = serving(
    ({ path }) => {
      if (path === '/image') return new HttpResponse(text, { headers: { 'Content-Type': 'image/png' } });
      if (path === '/short') return 'hello';
      if (path === '/stream')
        return new HttpResponse(text.match(/.{1,1000}/g)!.values(), {
          headers: { 'Content-Type': 'text/css' },
        });
      if (path === '/long') return text.repeat(10);
      return new HttpResponse(text, { headers: { ETag: '"1"' } });
    },
    { compress: true },
  );
  const ask = (path: string, accepted: string) =>
    exchange(server, get(path, `Accept-Encoding: ${accepted}\r\n${LAST}`))[0]!;
  const unzip = (body: string) => gunzipSync(Buffer.from(body, 'latin1')).toString();
  const zipped = ask('/', 'gzip, deflate');
  t.is(zipped.headers['content-encoding'], 'gzip');
  t.is(zipped.headers['vary'], 'Accept-Encoding');
  t.is(zipped.headers['etag'], 'W/"1"');
  t.is(unzip(zipped.body), text);
  const brotli = ask('/', 'gzip, br');
  t.is(brotli.headers['content-encoding'], 'br');
  t.is(brotliDecompressSync(Buffer.from(brotli.body, 'latin1')).toString(), text);
  t.is(unzip(ask('/stream', 'gzip').body), text);
  t.is(unzip(ask('/long', 'gzip').body), text.repeat(10));
  t.is(ask('/', 'gzip;q=0').headers['content-encoding'], undefined);
  t.is(ask('/', 'identity').body, text);
  t.is(ask('/image', 'gzip').headers['content-encoding'], undefined);
  t.is(ask('/short', 'gzip').headers['content-encoding'], undefined);
});

// ---- real clients

hubTest('curl gets and posts', (t) => {
  using server = serving((request) => `${request.method} ${request.path} ${request.text()}`);
  const curl = (...args: string[]): string =>
    waitFor(promisify(execFile)('curl', ['-sS', '--max-time', '30', ...args])).stdout;
  t.is(curl(urlOf(server, '/1'), urlOf(server, '/2')), 'GET /1 GET /2 ');
  t.is(curl('-d', 'hello', urlOf(server, '/3')), 'POST /3 hello');
  t.is(curl('-H', 'Transfer-Encoding: chunked', '-d', 'hello', urlOf(server, '/4')), 'POST /4 hello');
  t.is(curl('-0', urlOf(server, '/5')), 'GET /5 ');
  const long = 'x'.repeat(2_000_000);
  const child = execFile('curl', ['-sS', '--data-binary', '@-', urlOf(server, '/6')], { maxBuffer: 1 << 26 });
  child.stdin?.end(long);
  let got = '';
  child.stdout?.on('data', (piece) => (got += piece));
  waitFor(new Promise((resolve) => child.on('close', resolve)));
  t.is(got.length, `POST /6 ${long}`.length);
  t.regex(curl('-I', urlOf(server)), /^HTTP\/1\.1 200 OK\r\n/);
});

hubTest('fetch of Node gets, posts and streams', (t) => {
  using server = serving((request) =>
    request.method === 'POST' ? HttpResponse.json(request.json()) : ['a', 'b', 'c'].values(),
  );
  const text = (options?: RequestInit): string =>
    waitFor(fetch(urlOf(server), options).then((response) => response.text()));
  t.is(text(), 'abc');
  t.is(text({ method: 'POST', body: '{"a":1}' }), '{"a":1}');
  t.is(text({ method: 'HEAD' }), '');
});

hubTest('node:http with an agent uses one connection for many requests', (t) => {
  const ports = new Set<number>();
  using server = serving((request) => {
    ports.add(request.remoteAddress.port);
    return 'hello';
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let round = 0; round < 5; round++) {
    const body = waitFor(
      new Promise<string>((resolve, reject) => {
        const sent = nodeRequest(urlOf(server), { agent }, (response) => {
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

// ---- what clients do wrong

hubTest('garbage is refused or given up, and the server goes on', (t) => {
  using server = serving((request) => request.text(), { headTimeout: 500, bodyTimeout: 500 });
  let seed = 42;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  const seeds = [get('/', LAST), post('/', 'hello', LAST), `${get('/')}${post('/', 'x')}`];
  const clients = Array.from({ length: 200 }, () => {
    const bytes = Buffer.from(seeds[random(seeds.length)]!, 'latin1');
    for (let change = random(6); change > 0; change--) bytes[random(bytes.length)] = random(256);
    const cut = bytes.subarray(0, 1 + random(bytes.length));
    return spawn(() => exchange(server, cut.subarray(0, cut.length >> 1), cut.subarray(cut.length >> 1)));
  });
  for (const client of clients)
    for (const { status } of client.get())
      t.true([0, 200, 400, 408, 413, 414, 417, 431, 501, 505].includes(status));
  t.is(exchange(server, get('/', LAST))[0]?.status, 200);
});

hubTest('clients that stop in the middle of a head do not keep others from being served', (t) => {
  using server = serving(() => 'hello', { headTimeout: 1000 });
  const slow = Array.from({ length: 200 }, () => {
    const client = new RawClient(server);
    client.send('GET / HTTP/1.1\r\nHost: a\r\nX-');
    return client;
  });
  for (let round = 0; round < 20; round++) t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
  const before = getHub().stats().greenlets;
  t.true(before < 10, 'they have no greenlets');
  for (const client of slow) {
    t.is(client.receive().status, 408);
    client[Symbol.dispose]();
  }
});

for (const [title, args, outcome] of [
  [
    'a thousand clients that send a byte at a time do not keep others from being served',
    ['slow', '1000', '20'],
    'between 40, late 1000, few greenlets true',
  ],
  [
    'ten thousand connections wait for their next request while others are served',
    ['idle', '10000'],
    'between 1000, again 10000, ended 10000, few greenlets true',
  ],
  [
    'a server without descriptors survives, and accepts again',
    ['without', '40'],
    'reported true, clients ended with 0, accepts true',
  ],
] as const) {
  test.serial(title, async (t) => {
    const { code, stdout, stderr } = await runProgram('http-load.js', { args: [...args] });
    t.is(code, 0, stderr);
    t.is(stdout, `${outcome}\n`);
  });
}

httpTest('what a client was not sent does not come to another', (t) => {
  const ended = new Event();
  using server = serving(({ path }) => {
    if (path === '/long') {
      return (function* () {
        try {
          for (;;) yield 'secret '.repeat(1000);
        } finally {
          ended.set();
        }
      })();
    }
    return path;
  });
  for (let round = 0; round < 5; round++) {
    ended.clear();
    {
      using client = new RawClient(server);
      client.send(get('/long') + get('/more'));
      client.socket.recv(1);
    }
    ended.wait();
    const answers = exchange(server, get('/1') + get('/2') + get('/3', LAST));
    t.deepEqual(
      answers.map(({ body }) => body),
      ['/1', '/2', '/3'],
    );
  }
});

httpTest('requests that fail do not disturb others', (t) => {
  const reported = failures(() => {
    using server = serving(({ path }) => {
      if (path.endsWith('0')) throw new Error('one in ten');
      if (path.endsWith('5')) sleep(1);
      return path;
    });
    const clients = Array.from({ length: 20 }, (_, client) =>
      spawn(() => {
        const paths = Array.from({ length: 50 }, (__, index) => `/${client}/${index}`);
        const answers = exchange(server, paths.map((path) => get(path)).join('') + get('/end', LAST));
        for (const [index, path] of paths.entries()) {
          if (path.endsWith('0')) t.is(answers[index]?.status, 500);
          else t.is(answers[index]?.body, path);
        }
      }),
    );
    for (const client of clients) client.get();
  });
  t.is(reported.length, 100);
});

test('a program that serves ends when the server is stopped', async (t) => {
  const server = new HttpServer('127.0.0.1:0', () => 'hello');
  await run(() => {
    server.start();
    t.is(exchange(server, get('/', LAST))[0]?.body, 'hello');
    server.stop();
  });
  t.is(getHub().stats().sockets, 0);
});
