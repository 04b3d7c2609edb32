/**
 * Everything at once, because each hazard of several stacks in V8 hides behind programs that use one thing at a time:
 * contexts that are young objects, HTTP served by greenlets, fetch (WebAssembly), sockets of all kinds, files of them, select, TLS,
 * names, zlib, threads of libuv's pool, vm contexts, sorting, regexps, errors, kills and timeouts, deep recursion, events, locks,
 * queues, pools, threads, fibers and patched modules, with many greenlets parked meanwhile.
 *
 * Argument: how many rounds. Prints `<rounds> rounds, <wrong> wrong`; exits with 1 if anything was wrong.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { pbkdf2 } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { promisify } from 'node:util';
import { runInNewContext } from 'node:vm';
import { gunzip, gzip } from 'node:zlib';
import {
  cooperative,
  getHub,
  Greenlet,
  GreenletExit,
  joinAll,
  killAll,
  run,
  sleep,
  spawn,
  Timeout,
  waitFor,
} from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { StreamServer } from 'greenstack/server';
import { select } from 'greenstack/select';
import {
  createConnection,
  createServer as createListener,
  Socket,
  socketPair,
  waitRead,
} from 'greenstack/socket';
import { createSecureContext, wrapSocket } from 'greenstack/tls';
import { pki } from '../support/certificates.js';
import { nameserver } from '../support/dns-server.js';
import { fiberChecks, resetAll } from './fibers.js';
import { monkeyChecks } from './monkey.js';
import { checks, closeAll } from './primitives.js';

const ROUNDS = Number(process.argv[2] ?? 400);
const WORKERS = 40;
const PARKED = 200;

const storage = new AsyncLocalStorage<object>();
const secure = {
  client: createSecureContext({ ca: pki.root().cert }),
  server: createSecureContext(pki.server()),
};
const wrong = new Map<string, number>();

function expect(what: string, holds: boolean): void {
  if (!holds) wrong.set(what, (wrong.get(what) ?? 0) + 1);
}

/** Gives the collector something to do. */
function litter(): unknown[] {
  return Array.from({ length: 50 }, (_, index) => ({ index, text: `litter ${index}` }));
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  sleep(Math.random() * 2);
  const order = [3, 1, 2].sort((a, b) => {
    if (Math.random() < 0.3) sleep(0);
    return a - b;
  });
  response.end(JSON.stringify({ url: request.url, order, padding: 'x'.repeat(Math.random() * 2000) }));
}

/** Sends back what comes. Some handlers fail in the end. */
function sendBack(socket: Socket): void {
  const context = { young: litter() };
  storage.run(context, () => {
    for (let data = socket.recv(500); data.length > 0; data = socket.recv(500)) {
      socket.sendAll(data);
      litter();
    }
    expect('context in a handler', storage.getStore() === context);
  });
  if (Math.random() < 0.15) throw new HandlerFailed('on purpose');
}

/** What handlers of servers throw on purpose. */
class HandlerFailed extends Error {}

interface Ports {
  http: number;
  echo: number;
  servers: StreamServer[];
  resolver: Resolver;
}

type Task = (id: number, ports: Ports) => void;

const tasks: Record<string, Task> = {
  names(id, { resolver }) {
    const limit = id % 3 === 0 ? 1 : null;
    try {
      const [first] = resolver.resolve4(`name${id % 50}.test`, limit);
      const { address } = resolver.lookup(`name${id % 50}.test`, { family: 4, timeout: limit });
      expect('names', first === `10.0.0.${id % 50}` && address === first);
    } catch (error) {
      expect(
        `names: ${String(error)}`,
        limit !== null && (error as NodeJS.ErrnoException).code === 'ETIMEOUT',
      );
    }
  },
  fetch(id, ports) {
    const response = waitFor((signal) => fetch(`http://127.0.0.1:${ports.http}/${id}`, { signal }));
    const body = waitFor(response.json() as Promise<{ url: string; order: number[] }>);
    expect('fetch', body.url === `/${id}` && body.order.join() === '1,2,3');
  },
  cooperative(id) {
    const zip = cooperative({
      async pack(text: string) {
        const packed = await promisify(gzip)(text);
        return { unpack: async () => String(await promisify(gunzip)(packed)) };
      },
    });
    const text = `text ${id}`.repeat(20);
    async function* numbers(): AsyncGenerator<number> {
      for (let i = 0; i < 5; i++) yield Promise.resolve(i);
    }
    let sum = 0;
    for (const number of cooperative(numbers())) {
      sum += number;
      if (number === id % 6) break;
    }
    const last = Math.min(id % 6, 4);
    expect('cooperative', zip.pack(text).unpack() === text && sum === (last * (last + 1)) / 2);
  },
  socket(id, ports) {
    using socket = createConnection({ host: '127.0.0.1', port: ports.echo });
    const message = `message ${id} `.repeat(1 + (id % 500));
    const writer = spawn(() => {
      socket.sendAll(message);
      socket.shutdown('w');
    });
    let text = '';
    for (let chunk = socket.recv(700); chunk.length > 0; chunk = socket.recv(700)) text += chunk.toString();
    writer.join();
    expect('socket', text === message);
  },
  listener(id) {
    // By turns TCP, and an abstract name.
    const address = id % 2 === 0 ? { host: '127.0.0.1', port: 0 } : { path: `\0stress-${process.pid}-${id}` };
    using listener = createListener(address);
    const accepting = spawn(() => {
      using peer = listener.accept();
      const file = peer.makeFile({ encoding: 'utf8' });
      for (const line of file) {
        file.write(line.toUpperCase());
        litter();
      }
      file.flush();
    });
    using socket = createConnection(listener.localAddress);
    using file = socket.makeFile({ encoding: 'utf8', bufferSize: id % 50 });
    const lines = Array.from({ length: 1 + (id % 100) }, (_, index) => `line ${index} of ${id}`);
    const writer = spawn(() => {
      for (const line of lines) file.write(`${line}\n`);
      file.flush();
      socket.shutdown('w');
    });
    expect('listener', file.readAll() === lines.map((line) => `${line.toUpperCase()}\n`).join(''));
    writer.get();
    accepting.get();
  },
  datagrams(id) {
    using left = new Socket({ type: 'datagram' });
    using right = new Socket({ type: 'datagram' });
    for (const socket of [left, right]) socket.bind({ host: '127.0.0.1', port: 0 });
    const answering = spawn(() => {
      const { data, address } = right.recvFrom();
      litter();
      if (address !== undefined) right.sendTo(`${data.toString()}!`, address);
    });
    left.sendTo(`datagram ${id}`, right.localAddress);
    expect('datagrams', left.recvFrom(100, 120_000).data.toString() === `datagram ${id}!`);
    answering.get();
  },
  select(id) {
    const pairs = Array.from({ length: 1 + (id % 20) }, () => socketPair());
    const lefts = pairs.map(([left]) => left);
    const [chosen, peer] = pairs[id % pairs.length] as [Socket, Socket];
    const impatient = spawn(() => waitRead(chosen.fd));
    const sender = spawn(() => {
      sleep(Math.random() * 2);
      peer.sendAll('x');
    });
    const [readable] = select(lefts, [], [], 120_000);
    litter();
    expect('select', readable.length === 1 && readable[0] === chosen && chosen.recv().toString() === 'x');
    impatient.kill();
    sender.get();
    for (const pair of pairs) for (const socket of pair) socket.close();
  },
  tls(id) {
    const [left, right] = socketPair();
    const other = spawn(() => {
      using socket = wrapSocket(right, { secureContext: secure.server, isServer: true });
      for (let chunk = socket.recv(900); chunk.length > 0; chunk = socket.recv(900)) socket.sendAll(chunk);
    });
    using socket = wrapSocket(left, { secureContext: secure.client, servername: 'a.test' });
    const certificate = socket.peerCertificate;
    const message = `message ${id} `.repeat(1 + (id % 500));
    const writer = spawn(() => {
      socket.sendAll(message);
      socket.shutdown('w');
    });
    let text = '';
    for (let chunk = socket.recv(700); chunk.length > 0; chunk = socket.recv(700)) text += chunk.toString();
    writer.join();
    other.join();
    expect('tls', text === message && other.successful && certificate?.checkHost('a.test') === 'a.test');
  },
  server(id, { servers }) {
    const { port } = servers[id % servers.length] as StreamServer;
    using socket = createConnection({ host: '127.0.0.1', port });
    const message = `message ${id} `.repeat(1 + (id % 200));
    socket.sendAll(message);
    // Some clients leave before the answer.
    if (id % 5 === 0) return;
    socket.shutdown('w');
    let text = '';
    for (let chunk = socket.recv(700); chunk.length > 0; chunk = socket.recv(700)) text += chunk.toString();
    expect('server', text === message);
  },
  zlib(id) {
    const text = `text ${id}`.repeat(100);
    const zipped = waitFor(promisify(gzip)(text));
    expect('zlib', waitFor(promisify(gunzip)(zipped)).toString() === text);
  },
  crypto() {
    expect('crypto', waitFor(promisify(pbkdf2)('a', 'b', 10, 32, 'sha1')).length === 32);
  },
  vm() {
    expect('vm', runInNewContext('pause(); 41 + 1', { pause: () => sleep(0) }) === 42);
  },
  error(id) {
    try {
      try {
        sleep(1);
        throw new TypeError(`error ${id}`);
      } finally {
        sleep(0);
      }
    } catch (error) {
      expect(
        'error',
        (error as Error).message === `error ${id}` && String((error as Error).stack).includes('error'),
      );
    }
  },
  regexp(id) {
    const text = 'abcabc'.replace(/b/g, () => {
      sleep(0);
      return String(id % 10);
    });
    expect('regexp', text === `a${id % 10}ca${id % 10}c`);
  },
  recursion(id) {
    const depth = 50 + (id % 400);
    const descend = (left: number): number => {
      if (left > 0) return descend(left - 1) + 1;
      sleep(0);
      return 0;
    };
    expect('recursion', descend(depth) === depth);
  },
  overflow() {
    const overflow = (): number => overflow() + 1;
    try {
      overflow();
      expect('overflow', false);
    } catch (error) {
      expect('overflow', error instanceof RangeError);
    }
  },
  timeout() {
    using timeout = Timeout.startNew(1);
    try {
      sleep(3_600_000);
      expect('timeout', false);
    } catch (error) {
      expect('timeout', error === timeout);
    }
  },
  kill(id) {
    let cleaned = false;
    const victim = spawn(() => {
      try {
        sleep(3_600_000);
      } finally {
        sleep(0);
        cleaned = true;
      }
    });
    sleep(id % 3);
    victim.kill();
    expect('kill', victim.ready && GreenletExit.is(victim.value) && (cleaned || id % 3 === 0));
  },
  generator(id) {
    function* numbers(): Generator<number> {
      for (let number = 0; number < 3; number++) {
        sleep(0);
        yield number + id;
      }
    }
    expect('generator', Array.from(numbers(), (number) => (sleep(0), number - id)).join() === '0,1,2');
  },
  json(id) {
    const text = JSON.stringify({
      toJSON() {
        sleep(0);
        return {
          id,
          nested: {
            get value() {
              sleep(0);
              return id;
            },
          },
        };
      },
    });
    const parsed = JSON.parse(text, (_, value: unknown) => (sleep(0), value)) as {
      nested: { value: number };
    };
    expect('json', parsed.nested.value === id);
  },
  stack() {
    const parked = spawn(function waitingHere() {
      sleep(3_600_000);
    });
    sleep(1);
    expect('stack', parked.stack.includes('waitingHere'));
    parked.kill();
  },
};

for (const [name, check] of Object.entries({ ...checks, ...fiberChecks, ...monkeyChecks }))
  tasks[name] = (id) => expect(name, check(id));

// Without a JIT there is no WebAssembly, and without that no fetch.
const names = Object.keys(tasks).filter((name) => name !== 'fetch' || 'WebAssembly' in globalThis);
let next = 0;

function work(ports: Ports): void {
  while (next < ROUNDS) {
    const id = next++;
    const context = { id, young: litter() };
    storage.run(context, () => {
      (tasks[names[id % names.length] as string] as Task)(id, ports);
      expect('context after a task', storage.getStore() === context);
      litter();
      sleep(0);
      expect('context after a yield', storage.getStore() === context);
    });
  }
}

function listen(server: Server): number {
  waitFor(new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  return (server.address() as AddressInfo).port;
}

const onlyParked = (): void => storage.run({ parked: litter() }, () => sleep(3_600_000));

/** What clients that leave early cause, and what fails on purpose, is not reported. */
function ignoreExpected(): void {
  const hub = getHub();
  const report = hub.handleError.bind(hub);
  hub.handleError = (context, error) => {
    const { code } = error as NodeJS.ErrnoException;
    if (!(error instanceof HandlerFailed) && code !== 'ECONNRESET' && code !== 'EPIPE')
      report(context, error);
  };
}

run(() => {
  ignoreExpected();
  const http = createServer((request, response) => void spawn(answer, request, response));
  const echo = createTcpServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  const names = nameserver(({ name }) => ({
    records: [{ type: 'A', data: `10.0.0.${Number(name.slice(4, -5))}` }],
    delay: Math.random() * 3,
  }));
  const resolver = new Resolver({
    nameservers: [names.address],
    hosts: false,
    search: [],
    timeout: 120_000,
  });
  const servers = [{}, { awaitData: true }, { spawn: 3 }].map((options) => {
    const server = new StreamServer('127.0.0.1:0', sendBack, options);
    server.start();
    return server;
  });
  const ports = { http: listen(http), echo: listen(echo), servers, resolver };
  const parked = Array.from({ length: PARKED }, () => spawn(onlyParked));
  const workers = Array.from({ length: WORKERS }, () => spawn(work, ports));
  joinAll(workers);
  for (const worker of workers) if (!worker.successful) expect(`failed: ${String(worker.error)}`, false);
  killAll(parked);
  expect(
    'nobody lost',
    parked.every((greenlet: Greenlet<unknown>) => GreenletExit.is(greenlet.value)),
  );
  for (const server of servers) {
    server.stop();
    while (server.activeCount > 0) sleep(1);
  }
  closeAll();
  resetAll();
  resolver.close();
  names[Symbol.dispose]();
  http.close();
  http.closeAllConnections();
  echo.close();
  expect('only main is left', getHub().stats().greenlets === 1);
}).then(
  () => {
    console.log(`${next} rounds, ${wrong.size} wrong ${JSON.stringify(Object.fromEntries(wrong))}`);
    process.exitCode = wrong.size > 0 ? 1 : 0;
  },
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
