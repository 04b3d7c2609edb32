/** A server of HTTP with very many connections, or without descriptors: prints what has come of them. */
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { get } from 'node:http';
import { getHub, run, sleep, spawn, waitFor } from 'greenstack';
import { HttpServer } from 'greenstack/http';
import { createConnection, type Socket } from 'greenstack/socket';

const HEAD = 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ';

const server = new HttpServer(
  '127.0.0.1:0',
  ({ path }) => (path === '/greenlets' ? String(getHub().stats().greenlets) : 'hello'),
  { headTimeout: Infinity, idleTimeout: Infinity },
);

/** Allows this process so many descriptors, and those that it starts. */
function allowDescriptors(limits: string): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${limits}`]);
}

/** The body of a short response. */
function answerOf(socket: Socket): string {
  let text = '';
  while (!text.endsWith('hello')) {
    const piece = socket.recv();
    if (piece.length === 0) throw new Error(`the server has closed after ${JSON.stringify(text)}`);
    text += piece;
  }
  return 'hello';
}

function ask(socket: Socket): number {
  socket.sendAll('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  return answerOf(socket) === 'hello' ? 1 : 0;
}

/** A thousand clients send a byte each, again and again; between that others ask. In the end all have their answer. */
function slow(count: number, rounds: number): void {
  allowDescriptors(`${2 * count + 1000}:`);
  server.start();
  const clients = Array.from({ length: count }, () => createConnection(server.address));
  for (const client of clients) client.sendAll(HEAD);
  using normal = createConnection(server.address);
  let [answered, mostGreenlets] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    for (const client of clients) client.sendAll('x');
    answered += ask(normal);
    using newcomer = createConnection(server.address);
    answered += ask(newcomer);
    mostGreenlets = Math.max(mostGreenlets, getHub().stats().greenlets);
  }
  for (const client of clients) client.sendAll('\r\n\r\n');
  const late = clients.filter((client) => answerOf(client) === 'hello').length;
  for (const client of clients) client.close();
  console.log(`between ${answered}, late ${late}, few greenlets ${mostGreenlets < 10}`);
}

/** Very many connections have made a request each, and wait; others ask meanwhile; then all ask again. */
function idle(count: number): void {
  allowDescriptors(`${count + 1000}:`);
  const other = spawnProcess(process.execPath, [__filename, 'server'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [port] = waitFor(once(other.stdout, 'data')) as [Buffer];
  const address = { host: '127.0.0.1', port: Number(port) };
  const clients = Array.from({ length: count }, () => {
    const client = createConnection(address);
    ask(client);
    return client;
  });
  using normal = createConnection(address);
  let answered = 0;
  for (let round = 0; round < 1000; round++) answered += ask(normal);
  normal.sendAll('GET /greenlets HTTP/1.1\r\nHost: a\r\n\r\n');
  const greenlets = Number(normal.recv().toString().split('\r\n').at(-1));
  const again = clients.reduce((sum, client) => sum + ask(client), 0);
  other.stdin.end();
  const ended = clients.filter((client) => client.recv().length === 0).length;
  for (const client of clients) client.close();
  waitFor(once(other, 'exit'));
  console.log(`between ${answered}, again ${again}, ended ${ended}, few greenlets ${greenlets < 10}`);
}

/** All descriptors are used up while clients of another process connect; then some are free again. */
function without(clients: number): void {
  server.start();
  let reported = 0;
  getHub().handleError = (_context, error) => {
    if ((error as NodeJS.ErrnoException).code === 'EMFILE') reported++;
    else console.error(error);
  };
  const others = spawnProcess(
    process.execPath,
    [__filename, 'clients', String(server.port), String(clients)],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  const end = once(others, 'exit');
  allowDescriptors('256:256');
  const used: number[] = [];
  try {
    for (;;) used.push(openSync('/dev/null', 'r'));
  } catch {
    // All of them.
  }
  while (reported === 0) sleep(1);
  for (const descriptor of used) closeSync(descriptor);
  const [code] = waitFor(end) as [number];
  console.log(`reported ${reported > 0}, clients ended with ${code}, accepts ${server.started}`);
}

/** In a process of its own, which has descriptors enough. */
async function beClients(port: number, count: number): Promise<void> {
  const answers = Array.from({ length: count }, async () => {
    const [response] = (await once(get({ port, host: '127.0.0.1', agent: false }), 'response')) as [
      AsyncIterable<Buffer>,
    ];
    let text = '';
    for await (const piece of response) text += piece.toString();
    return text;
  });
  process.exit((await Promise.all(answers)).every((answer) => answer === 'hello') ? 0 : 1);
}

/** For clients in the process that has started this one. */
function beServer(): void {
  process.stdin.resume().on('end', () => spawn(() => server.stop()));
  server.start();
  console.log(server.port);
  server.closed.join();
}

const [mode, first, second] = process.argv.slice(2);
if (mode === 'clients') void beClients(Number(first), Number(second));
else
  void run(() => {
    if (mode === 'server') beServer();
    else if (mode === 'slow') slow(Number(first), Number(second));
    else if (mode === 'idle') idle(Number(first));
    else without(Number(first));
    server.stop();
  });
