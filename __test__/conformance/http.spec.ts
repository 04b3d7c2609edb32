/** RFC 9110 and RFC 9112, rule by rule. What `node:http` does with the same bytes is logged where it differs. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import { spawn, waitFor } from 'greenstack';
import { HttpResponse, type HttpServer } from 'greenstack/http';
import { createConnection } from 'greenstack/socket';
import { CASES, type HttpCase } from '../support/http-cases.js';
import { answersIn, exchange, get, httpTest, post, RawClient, readToEnd, serving } from '../support/http.js';
import { hubTest } from '../support/hub-test.js';

function echoing(): HttpServer {
  return serving((request) => `${request.method} ${request.url} ${request.text()}`);
}

for (const { section, rule, input, statuses } of CASES) {
  httpTest(`${section}: ${rule}`, (t) => {
    using server = echoing();
    const answers = exchange(server, input);
    t.deepEqual(
      answers.map(({ status }) => status),
      statuses,
    );
    t.is(answers.at(-1)?.headers['connection'], 'close');
  });

  hubTest(`${section}: ${rule}, byte by byte`, (t) => {
    if (input.length > 1000) return t.pass();
    using server = echoing();
    const answers = exchange(server, ...input);
    t.deepEqual(
      answers.map(({ status }) => status),
      statuses,
    );
  });
}

/** What `node:http` answers. */
function answersOfNode(port: number, { input }: HttpCase): string {
  using socket = createConnection({ host: '127.0.0.1', port });
  try {
    socket.sendAll(Buffer.from(input, 'latin1'));
    socket.shutdown('w');
  } catch {
    // It has refused the beginning already.
  }
  return (
    answersIn(readToEnd(socket))
      .map(({ status }) => status)
      .join() || 'nothing'
  );
}

hubTest('the rules that node:http keeps differently', (t) => {
  const node: Server = createServer((request, response) => {
    request.resume().on('end', () => response.end('node'));
    request.on('error', () => {});
  });
  node.listen(0, '127.0.0.1');
  waitFor(once(node, 'listening'));
  const { port } = node.address() as AddressInfo;
  const rows = CASES.map((one) => ({ ...one, node: answersOfNode(port, one) }));
  node.closeAllConnections();
  waitFor(new Promise((resolve) => node.close(resolve)));
  for (const { section, rule, statuses, node: theirs } of rows)
    if (theirs !== statuses.join())
      t.log(`${section}: ${rule}: here ${statuses.join()}, node:http ${theirs}`);
  t.is(rows.length, CASES.length);
});

httpTest('RFC 9112, 9.3: a connection is used again', (t) => {
  using server = echoing();
  using client = new RawClient(server);
  t.is(client.request(get('/1')).body, 'GET /1 ');
  t.is(client.request(post('/2', 'two')).body, 'POST /2 two');
  t.is(client.request(get('/3')).headers['connection'], undefined);
});

httpTest('RFC 9112, 9.3: HTTP/1.0 keeps a connection if it asks for that, and is told so', (t) => {
  using server = echoing();
  using client = new RawClient(server);
  const first = client.request('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  t.is(first.headers['connection'], 'keep-alive');
  t.is(client.request('GET / HTTP/1.0\r\n\r\n').headers['connection'], 'close');
  t.is(client.rest(), '');
});

httpTest('RFC 9112, 9.3.2: pipelined requests are answered in order', (t) => {
  using server = serving((request) => request.path);
  const pipeline = Array.from({ length: 200 }, (_, index) => get(`/${index}`)).join('');
  const answers = exchange(server, pipeline + get('/end', 'Connection: close\r\n'));
  t.deepEqual(
    answers.map(({ body }) => body),
    [...Array.from({ length: 200 }, (_, index) => `/${index}`), '/end'],
  );
});

httpTest('RFC 9112, 9.3.2: a pipelined request waits for the response before it', (t) => {
  let running = 0;
  using server = serving((request) => {
    t.is(++running, 1);
    waitFor(new Promise((resolve) => setImmediate(resolve)));
    running--;
    return request.path;
  });
  const answers = exchange(server, get('/1') + get('/2') + get('/3', 'Connection: close\r\n'));
  t.deepEqual(
    answers.map(({ body }) => body),
    ['/1', '/2', '/3'],
  );
});

httpTest('RFC 9112, 9.6: after close nothing else is answered', (t) => {
  using server = echoing();
  const answers = exchange(server, get('/1', 'Connection: close\r\n') + get('/2'));
  t.is(answers.length, 1);
  t.is(answers[0]?.headers['connection'], 'close');
});

httpTest('RFC 9112, 9.6: the answer arrives although more is sent than is read', (t) => {
  using server = serving(() => 'no', { maxBodySize: 10 });
  const answers = exchange(server, post('/', 'x'.repeat(300_000)));
  t.is(answers[0]?.status, 413);
});

httpTest('RFC 9110, 9.3.2: a response to HEAD has the length and no body', (t) => {
  using server = serving(() => 'hello');
  using client = new RawClient(server);
  const answer = client.request('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', true);
  t.is(answer.headers['content-length'], '5');
  t.is(client.request(get('/')).body, 'hello');
});

httpTest('RFC 9110, 9.3.2: an iterable is not sent in response to HEAD', (t) => {
  let ended = false;
  using server = serving(() =>
    (function* () {
      try {
        yield 'hello';
        t.fail('it was iterated');
      } finally {
        ended = true;
      }
    })(),
  );
  using client = new RawClient(server);
  t.is(client.request('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', true).status, 200);
  t.is(client.request('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', true).status, 200);
  t.false(ended, 'what has not begun need not end');
});

for (const status of [204, 304]) {
  httpTest(`RFC 9110, 15: a response with status ${status} has neither a body nor a length`, (t) => {
    using server = serving(() => new HttpResponse(null, { status }));
    using client = new RawClient(server);
    const answer = client.request(get('/'));
    t.is(answer.status, status);
    t.is(answer.headers['content-length'], undefined);
    t.is(answer.headers['transfer-encoding'], undefined);
    t.is(client.request(get('/')).status, status);
  });
}

httpTest('RFC 9110, 6.6.1: a response has a Date', (t) => {
  using server = serving(() => 'hello');
  const [answer] = exchange(server, get('/', 'Connection: close\r\n'));
  const date = answer?.headers['date'] ?? '';
  t.is(new Date(date).toUTCString(), date);
  t.true(Math.abs(Date.parse(date) - Date.now()) < 60_000);
});

httpTest('RFC 9110, 10.1.1: 100 is sent when the handler first reads', (t) => {
  using server = echoing();
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
  t.is(client.receive().status, 100);
  t.is(client.request('hello').body, 'POST / hello');
  t.is(client.request(get('/')).status, 200);
});

httpTest('RFC 9110, 10.1.1: 100 is not sent if the handler does not read, and the connection ends', (t) => {
  using server = serving(() => 'no need');
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
  const answer = client.receive();
  t.is(answer.status, 200);
  t.is(answer.headers['connection'], 'close');
  t.is(client.rest(), '');
});

httpTest('RFC 9110, 10.1.1: 100 is not sent if the body is there already', (t) => {
  using server = echoing();
  const [answer] = exchange(server, post('/', 'hello', 'Expect: 100-continue\r\nConnection: close\r\n'));
  t.is(answer?.status, 200);
});

httpTest('RFC 9110, 7.8: an upgrade hands the connection over', (t) => {
  using server = serving((request) => {
    t.true(request.upgrades);
    const { socket, head } = request.upgrade({ headers: { Upgrade: 'echo' } });
    spawn(() => {
      using own = socket;
      own.sendAll(head);
      for (let piece = own.recv(); piece.length > 0; piece = own.recv()) own.sendAll(piece);
    });
  });
  using client = new RawClient(server);
  client.send(`${get('/', 'Connection: upgrade\r\nUpgrade: echo\r\n')}early `);
  const answer = client.receive();
  t.is(answer.status, 101);
  t.is(answer.headers['upgrade'], 'echo');
  client.send('late');
  client.socket.shutdown('w');
  t.is(client.rest(), 'early late');
});

httpTest('RFC 9112, 7.1.2: trailer fields of a request can be read', (t) => {
  using server = serving((request) => `${request.text()} ${request.trailers.get('checksum')}`);
  const input = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nChecksum: 42\r\n\r\n`;
  t.is(exchange(server, input)[0]?.body, 'hello 42');
});

httpTest('RFC 9112, 7.1.2: trailer fields of a response are sent', (t) => {
  using server = serving(
    () => new HttpResponse(['hello'].values(), { trailers: () => ({ Checksum: '42' }) }),
  );
  const [answer] = exchange(server, get('/', 'Connection: close\r\n'));
  t.is(answer?.body, 'hello');
  t.is(answer?.headers['trailer checksum'], '42');
});

httpTest('RFC 9112, 8: a body that ends too early is no request, and the handler is told', (t) => {
  let code: unknown;
  using server = serving((request) => {
    try {
      return request.text();
    } catch (error) {
      ({ code } = error as NodeJS.ErrnoException);
      throw error;
    }
  });
  using client = new RawClient(server);
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello');
  client.socket.shutdown('w');
  t.is(client.rest(), '');
  t.is(code, 'ECONNRESET');
});

httpTest('RFC 9112, 9.5: a head that does not come in time is 408', (t) => {
  using server = serving(() => 'hello', { headTimeout: 30 });
  const [answer] = exchange(server, 'GET / HTTP/1.1\r\nHost');
  t.is(answer?.status, 408);
  t.is(answer?.headers['connection'], 'close');
});

httpTest('RFC 9112, 9.5: a connection on which nothing comes is closed without an answer', (t) => {
  using strict = serving(() => 'hello', { headTimeout: 30, idleTimeout: 30 });
  using client = new RawClient(strict);
  t.is(client.rest(), '');
  // Time enough for the request, which has to come in it.
  using server = serving(() => 'hello', { idleTimeout: 500 });
  using other = new RawClient(server);
  t.is(other.request(get('/')).status, 200);
  t.is(other.rest(), '');
});

httpTest('RFC 9110, 15.5.9: a body that does not come in time is 408', (t) => {
  using server = serving((request) => request.text(), { bodyTimeout: 30 });
  const [answer] = exchange(server, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello');
  t.is(answer?.status, 408);
  t.is(answer?.headers['connection'], 'close');
});

test('each rule is tested once', (t) => {
  const rules = CASES.map(({ section, rule }) => `${section}: ${rule}`);
  t.is(new Set(rules).size, rules.length);
});
