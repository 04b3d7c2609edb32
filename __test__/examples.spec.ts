import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type RequestListener, createServer as createHttpServer } from 'node:http';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectByTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { Queue, QueueEvents } from 'bullmq';
import { WebSocket } from 'ws';
import { certificate } from './support/certificates.js';
import { hasPostgres, hasRedis, startPostgres, startRedis } from './support/services.js';

const ROOT = join(__dirname, '..');
const SOURCES = join(ROOT, 'examples');
const COMPILED = join(ROOT, 'build', 'examples');
const HANG_LIMIT = 300_000;

/** How a program ended, and what it said. */
interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

test.before(async () => {
  const compiled = await node(join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), [
    '--project',
    'tsconfig.examples.json',
  ]);
  if (compiled.code !== 0) throw new Error(compiled.stdout);
});

// concurrent-download

test('concurrent-download: prints the head of every page', async (t) => {
  const origin = await serve(t, (request, response) => response.end(`page ${request.url}`));
  const { code, stdout } = await example('concurrent-download', [`${origin}/one`, `${origin}/two`]);
  t.is(code, 0);
  t.true(stdout.includes(`${origin}/one: 9 characters: "page /one"`));
  t.true(stdout.includes(`${origin}/two: 9 characters: "page /two"`));
});

test('concurrent-download: starts every download before the first has ended', async (t) => {
  const waiting: (() => void)[] = [];
  const origin = await serve(t, (_, response) => {
    waiting.push(() => response.end('page'));
    if (waiting.length === 2) for (const answer of waiting) answer();
  });
  const { code, stdout } = await example('concurrent-download', [`${origin}/one`, `${origin}/two`]);
  t.is(code, 0);
  t.is(stdout.match(/4 characters/g)?.length, 2);
});

test('concurrent-download: a failed download is reported and leaves the others alone', async (t) => {
  const origin = await serve(t, (_, response) => response.end('page'));
  const { code, stdout, stderr } = await example('concurrent-download', [
    await closedOrigin(),
    `${origin}/two`,
  ]);
  t.is(code, 1);
  t.true(stdout.includes(`${origin}/two: 4 characters`));
  t.true(stderr.includes('fetch failed'));
});

// dns-mass-resolve

test('dns-mass-resolve: resolves what it can in two seconds and leaves the rest', async (t) => {
  const { nameserver } = await serveNames(t, { delay: 60 });
  const { code, stdout } = await example('dns-mass-resolve', ['example.test', nameserver]);
  const finished = Number(/^finished within 2 seconds: (\d+) of 1000$/m.exec(stdout)?.[1]);
  t.is(code, 0);
  t.true(finished > 0 && finished < 1000); // ten in 60 ms at most: 340
  t.is(stdout.match(/^\d+\.example\.test = 127\.0\.0\.1$/gm)?.length, finished);
});

test('dns-mass-resolve: asks for ten names at once', async (t) => {
  const { nameserver, mostAtOnce } = await serveNames(t, { delay: 60 });
  await example('dns-mass-resolve', ['example.test', nameserver]);
  t.is(mostAtOnce(), 10);
});

test('dns-mass-resolve: tells which names failed', async (t) => {
  const { nameserver } = await serveNames(t, { delay: 0, responseCode: 3 });
  const { code, stdout } = await example('dns-mass-resolve', ['example.test', nameserver]);
  t.is(code, 0);
  t.regex(stdout, /^10\.example\.test failed: .*ENOTFOUND/m);
});

// echo-client

test('echo-client: prints what comes back for every line', async (t) => {
  const address = await listen(
    t,
    createServer((peer) => peer.pipe(peer)),
  );
  const { code, stdout } = await example('echo-client', [address], 'one\ntwo\nünïcödé\n');
  t.is(code, 0);
  t.is(stdout, 'one\ntwo\nünïcödé\n');
});

test('echo-client: fails when the server closes the connection instead', async (t) => {
  const address = await listen(
    t,
    createServer((peer) => peer.once('data', () => peer.end())),
  );
  const { code, stderr } = await example('echo-client', [address], 'one\n');
  t.is(code, 1);
  t.true(stderr.includes('the server has closed the connection'));
});

// process-wide-timeout

test('process-wide-timeout: does everything within its limit', async (t) => {
  const { code, stdout } = await example('process-wide-timeout', ['600000']);
  t.is(code, 0);
  t.is(stdout, 'sleeping\nwaiting for a promise\nwaiting for other greenlets\ndone in time\n');
});

test('process-wide-timeout: ends whatever the main greenlet is doing', async (t) => {
  const { code, stdout } = await example('process-wide-timeout', ['1']);
  t.is(code, 1);
  t.is(stdout, 'sleeping\nnot done after 1 ms\n');
});

// Servers

test('echo-server: sends lines back until quit, to several clients at once', async (t) => {
  const server = await serving(t, 'echo-server', ['127.0.0.1:0']);
  const [first, second] = [server.connect(), server.connect()];
  first.socket.write('one\ntwo');
  second.socket.write('other\n');
  t.is(await second.take('other\n'), 'other\n');
  first.socket.write('\nquit\n');
  t.is(await first.all(), 'one\ntwo\n');
  second.socket.end();
  t.is(await second.all(), '');
  const { signal, stdout } = await server.stop();
  t.is(signal, 'SIGTERM');
  t.is(stdout.match(/is gone$/gm)?.length, 2);
});

test('echo-client and echo-server: understand one another', async (t) => {
  const server = await serving(t, 'echo-server', ['127.0.0.1:0']);
  const { code, stdout } = await example('echo-client', [server.address], 'one\nünïcödé\n');
  t.is(code, 0);
  t.is(stdout, 'one\nünïcödé\n');
  await server.stop();
});

test('port-forwarder: forwards both ways, and finishes at a signal', async (t) => {
  const target = await listen(
    t,
    createServer({ allowHalfOpen: true }, (peer) => peer.pipe(peer)),
  );
  const server = await serving(t, 'port-forwarder', ['127.0.0.1:0', target]);
  const client = server.connect();
  client.socket.write('before');
  t.is(await client.take('before'), 'before');
  const stopped = server.stop();
  await server.printed(/finishing/);
  client.socket.end(' after');
  t.is(await client.all(), ' after');
  t.is((await stopped).code, 0);
});

test('port-forwarder: a second signal ends it', async (t) => {
  const target = await listen(
    t,
    createServer((peer) => peer.pipe(peer)),
  );
  const server = await serving(t, 'port-forwarder', ['127.0.0.1:0', target]);
  const client = server.connect();
  client.socket.write('x');
  await client.take('x');
  void server.stop();
  await server.printed(/finishing/);
  t.is((await server.stop()).code, 1);
  client.socket.destroy();
});

test('udp-echo-server and udp-echo-client: datagrams and their lengths', async (t) => {
  const server = await serving(t, 'udp-echo-server', ['127.0.0.1:0', '3']);
  const { code, stdout } = await example('udp-echo-client', [server.address, 'how', 'are', 'you there']);
  t.is(code, 0);
  t.is(stdout, 'received 3 bytes\nreceived 3 bytes\nreceived 9 bytes\n');
  const outcome = await server.ended;
  t.is(outcome.code, 0);
  t.regex(outcome.stdout, /^you there \(9 bytes\)$/m);
});

test('udp-echo-client: tells that nobody has answered', async (t) => {
  const silent = createSocket('udp4').bind(0, '127.0.0.1');
  await once(silent, 'listening');
  const { code, stdout } = await example('udp-echo-client', [`127.0.0.1:${silent.address().port}`, 'hello']);
  silent.close();
  t.is(code, 0);
  t.is(stdout, 'no answer\n');
});

test('chat-server: what one says all others hear', async (t) => {
  const server = await serving(t, 'chat-server', ['127.0.0.1:0']);
  const anna = server.connect();
  t.is(await anna.take('your name?\n'), 'your name?\n');
  anna.socket.write('Anna\n');
  t.is(await anna.take('Anna has come; here are Anna\n'), 'Anna has come; here are Anna\n');
  const twin = server.connect();
  await twin.take('your name?\n');
  twin.socket.write('Anna\n');
  t.is(await twin.all(), 'not this one\n');
  const ben = server.connect();
  await ben.take('your name?\n');
  ben.socket.write('Ben\n');
  t.is(await ben.take('Ben has come; here are Anna, Ben\n'), 'Ben has come; here are Anna, Ben\n');
  t.is(await anna.take('Ben has come; here are Anna, Ben\n'), 'Ben has come; here are Anna, Ben\n');
  ben.socket.write('hello\n');
  t.is(await anna.take('Ben: hello\n'), 'Ben: hello\n');
  ben.socket.end();
  t.is(await anna.take('Ben has left\n'), 'Ben has left\n');
  anna.socket.destroy();
  await server.stop();
});

test('unix-socket-server and unix-socket-client: HTTP at a path', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const server = await serving(t, 'unix-socket-server', [path]);
  const { code, stdout } = await example('unix-socket-client', [path]);
  t.is(code, 0);
  t.true(stdout.endsWith('you have asked: GET / HTTP/1.1\n'));
  await server.stop();
  t.false(existsSync(path));
});

test('tls-proxy: forwards what is encrypted to a plain server', async (t) => {
  const target = await listen(
    t,
    createServer({ allowHalfOpen: true }, (peer) => peer.pipe(peer)),
  );
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const identity = certificate({ names: 'DNS:a.test' });
  writeFileSync(cert, identity.cert);
  writeFileSync(key, identity.key);
  const server = await serving(t, 'tls-proxy', ['127.0.0.1:0', target, cert, key]);
  const port = Number(server.address.split(':')[1]);
  const socket = connectByTls({ host: '127.0.0.1', port, ca: identity.cert, servername: 'a.test' });
  const client = new Client(socket);
  socket.end('hello');
  t.is(await client.all(), 'hello');
  await server.stop();
});

// HTTP

test('express-app: handlers block, one by one where there is a lock', async (t) => {
  const origin = await serve(t, (_, response) => response.end('far away'));
  const server = await serving(t, 'express-app', ['127.0.0.1:0', origin]);
  const url = `http://${server.address}`;
  const counts = await Promise.all(
    Array.from({ length: 5 }, async () => (await (await fetch(`${url}/count`)).json()) as { count: number }),
  );
  t.deepEqual(counts.map(({ count }) => count).sort(), [1, 2, 3, 4, 5]);
  t.is(await (await fetch(`${url}/remote/`)).text(), 'far away');
  await server.stop();
});

test('express-app: a server that does not answer is a 502', async (t) => {
  const server = await serving(t, 'express-app', ['127.0.0.1:0', await closedOrigin()]);
  t.is((await fetch(`http://${server.address}/remote/`)).status, 502);
  await server.stop();
});

test('hono-app: who asks for a result waits for it', async (t) => {
  const server = await serving(t, 'hono-app', ['127.0.0.1:0']);
  const jobs = `http://${server.address}/jobs`;
  const posted = await fetch(jobs, { method: 'POST', body: 'some text' });
  t.is(posted.status, 202);
  t.deepEqual(await posted.json(), { id: 1 });
  t.is(await (await fetch(`${jobs}/1`)).text(), 'SOME TEXT');
  t.is((await fetch(`${jobs}/2`)).status, 404);
  await server.stop();
});

test('fastify-app: handlers block in fs/promises', async (t) => {
  const server = await serving(t, 'fastify-app', ['127.0.0.1:0', SOURCES]);
  const url = `http://${server.address}`;
  t.deepEqual(await (await fetch(`${url}/files`)).json(), readdirSync(SOURCES).sort());
  const { size } = statSync(join(SOURCES, 'README.md'));
  t.deepEqual(await (await fetch(`${url}/size/README.md`)).json(), { size });
  t.is((await fetch(`${url}/size/none`)).status, 404);
  await server.stop();
});

test('nest-app: services block, and their errors are answers', async (t) => {
  const server = await serving(t, 'nest-app', ['127.0.0.1:0']);
  const url = `http://${server.address}/words`;
  t.deepEqual(await (await fetch(`${url}/tea`)).json(), { meaning: 'a drink' });
  const answer = await fetch(`${url}/jam`);
  t.is(answer.status, 404);
  t.is(((await answer.json()) as { message: string }).message, 'no jam');
  await server.stop();
});

(hasPostgres ? test : test.skip)(
  'express-pg: transfers at once lose nothing (needs PostgreSQL)',
  async (t) => {
    const postgres = await startPostgres();
    t.teardown(() => postgres.stop());
    const server = await serving(t, 'express-pg', ['127.0.0.1:0', postgres.host], { PGUSER: 'postgres' });
    const url = `http://${server.address}`;
    const transfer = (path: string) => fetch(`${url}/transfer/${path}`, { method: 'POST' });
    const answers = await Promise.all(Array.from({ length: 30 }, () => transfer('1/2/3')));
    t.deepEqual(
      answers.map(({ status }) => status),
      answers.map(() => 200),
    );
    t.is((await transfer('1/2/11')).status, 400);
    t.deepEqual(await (await fetch(`${url}/accounts/1`)).json(), { amount: 10 });
    t.deepEqual(await (await fetch(`${url}/accounts/2`)).json(), { amount: 190 });
    await server.stop();
  },
);

(hasRedis ? test : test.skip)(
  'bullmq-worker: several do the jobs, and one can be cancelled (needs Redis)',
  async (t) => {
    const redis = await startRedis();
    t.teardown(() => redis.stop());
    const held: Array<() => void> = [];
    const origin = await serve(t, (request, response) => {
      if (request.url === '/slow') held.push(() => response.end());
      else response.end('page');
    });
    const workers = await Promise.all([1, 2].map(() => serving(t, 'bullmq-worker', [redis.socket])));
    const connection = { path: redis.socket };
    const queue = new Queue('pages', { connection });
    const events = new QueueEvents('pages', { connection });
    await events.waitUntilReady();
    const jobs = await queue.addBulk(
      Array.from({ length: 20 }, (_, i) => ({ name: 'measure', data: { url: `${origin}/${i}` } })),
    );
    t.deepEqual(
      await Promise.all(jobs.map((job) => job.waitUntilFinished(events))),
      jobs.map(() => 4),
    );
    const slow = await queue.add('measure', { url: `${origin}/slow` });
    const failed = slow.waitUntilFinished(events);
    failed.catch(() => {});
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    // It is known to one of the workers.
    while ((await (await queue.add('cancel', { id: slow.id })).waitUntilFinished(events)) !== true);
    await t.throwsAsync(failed, { message: 'cancelled' });
    await queue.close();
    await events.close();
    for (const worker of workers) t.is((await worker.stop()).code, 0);
  },
);

test('websocket-echo: sends messages back, in order', async (t) => {
  const server = await serving(t, 'websocket-echo', ['127.0.0.1:0']);
  t.is(await (await fetch(`http://${server.address}`)).text(), 'this is for WebSockets\n');
  const client = new WebSocket(`ws://${server.address}`);
  const received: string[] = [];
  client.on('message', (data) => {
    if (received.push(String(data)) === 3) client.close();
  });
  await once(client, 'open');
  for (const text of ['30', '1', 'hello']) client.send(text);
  await once(client, 'close');
  t.deepEqual(received, ['30', '1', 'hello']);
  await server.stop();
});

test('web-proxy: passes requests and answers on', async (t) => {
  const origin = await serve(t, (request, response) => {
    response.writeHead(request.url === '/none' ? 204 : 201, {
      'X-For': request.headers['x-forwarded-for'] ?? '',
    });
    request.pipe(response);
  });
  const server = await serving(t, 'web-proxy', ['127.0.0.1:0', origin]);
  const url = `http://${server.address}`;
  const answer = await fetch(`${url}/a`, { method: 'POST', body: 'x'.repeat(100_000) });
  t.is(answer.status, 201);
  t.is(answer.headers.get('x-for'), '127.0.0.1');
  t.is((await answer.text()).length, 100_000);
  t.is((await fetch(`${url}/none`)).status, 204);
  await server.stop();
});

test('long-polling-chat: who asks waits for what is said', async (t) => {
  const server = await serving(t, 'long-polling-chat', ['127.0.0.1:0']);
  const url = `http://${server.address}/messages`;
  const waiting = fetch(`${url}?after=0`);
  const posted = await fetch(url, { method: 'POST', body: 'hello' });
  t.is(posted.status, 201);
  t.deepEqual(await (await waiting).json(), { messages: ['hello'], next: 1 });
  t.is((await fetch(url, { method: 'PUT' })).status, 405);
  await server.stop();
});

// thread-pool

test('thread-pool: runs four jobs on three threads, in two rounds', async (t) => {
  const { code, stdout, stderr } = await example('thread-pool', ['50']);
  t.is(code, 0);
  t.is(stderr, '');
  const [, elapsed] = /^4 jobs of 50 ms on 3 threads: (\d+) ms$/m.exec(stdout) ?? [];
  t.true(Number(elapsed) >= 100);
  t.true(stdout.startsWith('job 1 has begun\njob 2 has begun\njob 3 has begun\njob 4 has begun\n'));
  t.true(stdout.endsWith('greenlets ran meanwhile\n'));
});

// All of them

test('an example has at most 60 lines', (t) => {
  const examples = readdirSync(SOURCES).filter((name) => name.endsWith('.mts'));
  const long = examples.filter(
    (name) => readFileSync(join(SOURCES, name), 'utf8').split('\n').length - 1 > 60,
  );
  t.is(examples.length, 22);
  t.deepEqual(long, []);
});

const runsTypeScript = 'typescript' in process.features && process.features.typescript !== false;
(runsTypeScript ? test : test.skip)('an example runs without having been compiled', async (t) => {
  const { code, stdout, stderr } = await node(join(SOURCES, 'process-wide-timeout.mts'), ['600000']);
  t.is(code, 0);
  t.true(stdout.endsWith('done in time\n'));
  t.is(stderr, '');
});

// The tour

test('the tour reads every page from its embedded servers', async (t) => {
  const { code, stdout, stderr } = await tour(['--greenlets', '100']);
  t.is(code, 0);
  t.true(stdout.includes('resolver.lookup('), 'it shows the code that runs');
  t.regex(stdout, /100 of 100 pages/);
  t.regex(stdout, /100 pages confirmed by digest/);
  t.regex(stdout, /failures +0/);
  t.is(stderr, '');
});

test('the tour reads the pages it is told, as often as it is told', async (t) => {
  const asked: string[] = [];
  const origin = await serve(t, (request, response) => {
    asked.push(request.url!);
    response.end('page');
  });
  const { code, stdout } = await tour(['--greenlets', '3', `${origin}/one`, `${origin}/two?x=1`]);
  t.is(code, 0);
  t.deepEqual(asked.sort(), ['/one', '/one', '/two?x=1']);
  t.regex(stdout, /3 of 3 pages/);
});

test('the tour fails if a page is an error page', async (t) => {
  const origin = await serve(t, (_, response) => response.writeHead(503).end());
  const { code, stdout } = await tour([origin]);
  t.is(code, 1);
  t.regex(stdout, /failures +1\n.*: the server answered 503/);
});

test('the tour fails if a page is not as long as announced', async (t) => {
  const address = await listen(
    t,
    createServer((peer) => answer(peer, 'content-length: 5\r\n\r\npage')),
  );
  const { code, stdout } = await tour([`http://${address}/`]);
  t.is(code, 1);
  t.regex(stdout, /5 bytes were announced, 4 came/);
});

test('the tour fails if a page differs from its digest', async (t) => {
  const digest = 'content-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:'; // of nothing
  const address = await listen(
    t,
    createServer((peer) => answer(peer, `${digest}\r\n\r\npage`)),
  );
  const { code, stdout } = await tour([`http://${address}/`]);
  t.is(code, 1);
  t.regex(stdout, /the digest differs/);
});

test('the tour leaves https to fetch and says so', async (t) => {
  const { code, stdout } = await tour([(await closedOrigin()).replace('http:', 'https:')]);
  t.is(code, 1);
  t.regex(stdout, /Node's fetch/);
  t.regex(stdout, /failures +1\n.*: fetch failed: .*ECONNREFUSED/);
});

// npm start

test('npm start runs the tour', async (t) => {
  const { code, stdout } = await start(['--greenlets', '5']);
  t.is(code, 0);
  t.regex(stdout, /5 of 5 pages/);
});

test('npm start -- --help tells how to use it', async (t) => {
  const { code, stdout } = await start(['--help']);
  t.is(code, 0);
  t.regex(stdout, /--greenlets N/);
});

test('npm start refuses what is no http or https URL', async (t) => {
  t.like(await start(['nodejs.org', 'ftp://example.org/', 'http://[']), {
    code: 2,
    stdout: '',
    stderr: `'nodejs.org' is not a URL that begins with http:// or https://
'ftp://example.org/' is not a URL that begins with http:// or https://
'http://[' is not a valid URL
'npm start -- --help' tells what there is.
`,
  });
});

test('npm start refuses a number of greenlets that is none', async (t) => {
  const { code, stderr } = await start(['--greenlets', '1e9']);
  t.is(code, 2);
  t.regex(stderr, /--greenlets must be a whole number from 1 to 10000, got '1e9'/);
});

test('npm start refuses unknown options', async (t) => {
  const { code, stderr } = await start(['--threads', '4']);
  t.is(code, 2);
  t.regex(stderr, /--threads/);
});

// Programs

function example(name: string, args: string[], input = ''): Promise<Outcome> {
  return node(join(COMPILED, `${name}.mjs`), args, input);
}

function tour(args: string[]): Promise<Outcome> {
  return node(join(COMPILED, 'tour', 'main.mjs'), args);
}

function start(args: string[]): Promise<Outcome> {
  return node(join(ROOT, 'scripts', 'start.mjs'), args);
}

/** Runs a program to its end with the Node that runs this test. A program that hangs ends with code `null`. */
function node(file: string, args: string[], input = ''): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, timeout: HANG_LIMIT, killSignal: 'SIGKILL' } as const;
    const child = execFile(process.execPath, [file, ...args], options, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
    child.stdin!.end(input);
  });
}

/** An example that is a server and has told where it listens; it ends with the test. */
async function serving(t: ExecutionContext, name: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const options = { cwd: ROOT, env: { ...process.env, ...env } };
  const child = spawn(process.execPath, [join(COMPILED, `${name}.mjs`), ...args], options);
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.pipe(process.stderr);
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    stdout,
  }));
  t.teardown(() => child.kill('SIGKILL'));
  const printed = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const match = pattern.exec(stdout);
      if (match !== null) return match;
      await once(child.stdout, 'data');
    }
  };
  const [, address = ''] = await printed(/^listening at (.*)$/m);
  return {
    address,
    ended,
    printed,
    connect: () => new Client(connect(Number(address.split(':')[1]), '127.0.0.1')),
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
  };
}

/** A client of an example; keeps what has come. */
class Client {
  #text = '';
  #ended = false;

  constructor(readonly socket: Socket) {
    socket.setEncoding('utf8').on('data', (text: string) => (this.#text += text));
    socket.on('end', () => (this.#ended = true));
    socket.on('error', () => {});
  }

  /** Takes as many characters as `text` has, when they have come. */
  async take(text: string): Promise<string> {
    while (this.#text.length < text.length) await once(this.socket, 'data');
    const taken = this.#text.slice(0, text.length);
    this.#text = this.#text.slice(text.length);
    return taken;
  }

  /** What comes up to the end. */
  async all(): Promise<string> {
    if (!this.#ended) await once(this.socket, 'end');
    return this.#text;
  }
}

// Peers

/** Starts an HTTP server for the length of the test and returns its origin. */
async function serve(t: ExecutionContext, handler: RequestListener): Promise<string> {
  return `http://${await listen(t, createHttpServer(handler))}`;
}

/** Starts a server for the length of the test and returns `ip:port`. */
async function listen(t: ExecutionContext, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Starts a DNS server for the length of the test, for which every name is 127.0.0.1 or fails. */
async function serveNames(
  t: ExecutionContext,
  { delay, responseCode = 0 }: { delay: number; responseCode?: number },
) {
  const server = createSocket('udp4');
  const questions = new Map<string, number>();
  let mostAtOnce = 0;
  let closed = false;
  server.on('message', (query, client) => {
    const end = query.indexOf(0, 12) + 5;
    const name = query.toString('latin1', 12, end - 5);
    questions.set(name, (questions.get(name) ?? 0) + 1);
    mostAtOnce = Math.max(mostAtOnce, questions.size);
    setTimeout(() => {
      if (closed) return;
      const left = questions.get(name)! - 1;
      if (left === 0) questions.delete(name);
      else questions.set(name, left);
      server.send(answerTo(query.subarray(0, end), responseCode), client.port, client.address);
    }, delay);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    closed = true;
    server.close();
  });
  return { nameserver: `127.0.0.1:${server.address().port}`, mostAtOnce: () => mostAtOnce };
}

/** The question with a response's header, and one A record if that is what it asks for. */
function answerTo(question: Buffer, responseCode: number): Buffer {
  const found = responseCode === 0 && question.readUInt16BE(question.length - 4) === 1;
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  const answer = Buffer.concat([question, found ? record : Buffer.alloc(0)]);
  answer.writeUInt16BE(0x8580 | responseCode, 2);
  answer.set([0, 1, 0, found ? 1 : 0, 0, 0, 0, 0], 4);
  return answer;
}

/** An origin where nobody listens. */
async function closedOrigin(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

/** Answers the first request with a response of status 200, and closes the connection. */
function answer(peer: Socket, headersAndBody: string): void {
  peer.once('data', () => peer.end(`HTTP/1.1 200 OK\r\n${headersAndBody}`));
}
