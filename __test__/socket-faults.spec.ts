/** Sockets under trouble: many connections, no descriptors, peers that die, and other programs on the other side. */
import { type ChildProcess, execFileSync, spawn as spawnProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'ava';
import { getHub, joinAll, sleep, spawn, waitFor } from 'greenstack';
import { type Address, createConnection, createServer, Socket } from 'greenstack/socket';
import { openDescriptors } from './support/descriptors.js';
import { hubTest, hubTestIf } from './support/hub-test.js';
import { recvAll } from './support/streams.js';
import { freshName, freshPath } from './support/transports.js';

type SystemError = NodeJS.ErrnoException;

/** A server of ours that serves each connection in a greenlet; disposing of it ends all. */
function serve(address: Address, handle: (socket: Socket) => void): Disposable & { address: Address } {
  const listener = createServer(address);
  const handlers = new Set<{ kill(): void }>();
  const acceptor = spawn(() => {
    for (;;) {
      const socket = listener.accept();
      const handler = spawn(() => {
        try {
          handle(socket);
        } finally {
          socket.close();
        }
      });
      handlers.add(handler);
      handler.link(() => handlers.delete(handler));
    }
  });
  return {
    address: listener.localAddress,
    [Symbol.dispose]() {
      acceptor.kill();
      for (const handler of handlers) handler.kill();
      listener.close();
    },
  };
}

function echo(socket: Socket): void {
  for (let chunk: Buffer; (chunk = socket.recv()).length > 0;) socket.sendAll(chunk);
}

/** What a connection fails with whose peer is in no mood to wait. */
const GONE = ['ECONNRESET', 'EPIPE'];

/** As {@link echo}, until the peer has gone. */
function echoToImpatient(socket: Socket): void {
  try {
    echo(socket);
  } catch (error) {
    if (!GONE.includes((error as SystemError).code!)) throw error;
  }
}

for (const [title, address, total] of [
  ['ten thousand TCP connections', { host: '127.0.0.1', port: 0 }, 10_000],
  ['ten thousand Unix-domain connections', { path: freshName() }, 10_000],
] as const) {
  hubTest(`${title} come and go, and leave nothing behind`, (t) => {
    const descriptors = openDescriptors();
    const { greenlets, sockets } = getHub().stats();
    {
      using server = serve(address, echoToImpatient);
      const clients = Array.from({ length: 50 }, (_, id) =>
        spawn(() => {
          for (let round = 0; round < total / 50; round++) {
            using socket = createConnection(server.address);
            const text = `client ${id} round ${round}`;
            socket.sendAll(text);
            // Who ends first, and how, differs from round to round.
            if (round % 3 !== 0) socket.shutdown('w');
            const answer = round % 5 === 0 ? text : socket.recv().toString();
            if (answer !== text) throw new Error(`sent ${text}, got ${answer}`);
          }
        }),
      );
      joinAll(clients, { raiseError: true });
    }
    t.is(openDescriptors(), descriptors);
    t.deepEqual([getHub().stats().greenlets, getHub().stats().sockets], [greenlets, sockets]);
  });
}

test.serial(
  'when no descriptors are left calls fail with EMFILE, and go on when some are free',
  async (t) => {
    const program = join(__dirname, 'programs', 'few-descriptors.js');
    const command = `ulimit -n 64; exec "$0" "$1"`;
    const child = spawnProcess('sh', ['-c', command, process.execPath, program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const [code] = (await once(child, 'close')) as [number];
    t.is(code, 0, output);
    t.deepEqual(output.trim().split('\n'), [
      'connecting: socket EMFILE',
      'pairs: socketpair EMFILE',
      'accepting: accept EMFILE',
      'and again: accept EMFILE',
      'accepted: true',
      'served again: true',
    ]);
  },
);

// Peers that die

/** A process that connects, sends without an end and reads nothing. */
const flooder = `
  const socket = require('node:net').connect(JSON.parse(process.argv[1]));
  const bytes = Buffer.alloc(65536, 'x');
  const pour = () => { while (socket.write(bytes)); };
  socket.on('drain', pour).on('connect', pour).pause();
`;

hubTest('a peer that is killed in the middle ends who reads from it and who writes to it', (t) => {
  const descriptors = openDescriptors();
  const ends: string[] = [];
  const victims: ChildProcess[] = [];
  {
    using server = createServer({ host: '127.0.0.1', port: 0 });
    const { address: host, port } = server.localAddress;
    const connections = Array.from({ length: 4 }, () => {
      const child = spawnProcess(process.execPath, ['-e', flooder, JSON.stringify({ host, port })], {
        stdio: 'ignore',
      });
      victims.push(child);
      return server.accept();
    });
    const endOf = (fn: () => void) =>
      spawn(() => {
        try {
          fn();
          ends.push('end');
        } catch (error) {
          ends.push((error as SystemError).code!);
        }
      });
    const received = connections.map(() => 0);
    const greenlets = connections.flatMap((socket, index) => [
      endOf(() => {
        for (let count: number; (count = socket.recv().length) > 0;) received[index]! += count;
      }),
      endOf(() => {
        for (;;) socket.sendAll(Buffer.alloc(1 << 20));
      }),
    ]);
    while (received.some((count) => count < 1 << 20)) sleep(1);
    for (const child of victims) child.kill('SIGKILL');
    joinAll(greenlets, { raiseError: true });
    for (const socket of connections) socket.close();
  }
  t.is(ends.length, 8);
  t.true(
    ends.every((end) => ['end', ...GONE].includes(end)),
    ends.join(),
  );
  for (const child of victims)
    if (child.exitCode === null && child.signalCode === null) waitFor(once(child, 'exit'));
  t.is(openDescriptors(), descriptors);
});

hubTest('a server survives clients that come in every wrong way', (t) => {
  using server = serve({ host: '127.0.0.1', port: 0 }, echoToImpatient);
  const wrong = Array.from({ length: 60 }, (_, index) =>
    spawn(() => {
      using socket = createConnection(server.address);
      if (index % 4 !== 0) socket.sendAll(randomBytes(index * 1000));
      // Closing with something unread resets the connection, as does not lingering.
      if (index % 3 === 0) socket.setOption('linger', 0);
      if (index % 3 === 1) socket.shutdown('rw');
    }),
  );
  const right = Array.from({ length: 20 }, (_, index) =>
    spawn(() => {
      using socket = createConnection(server.address);
      const data = randomBytes(100_000 + index);
      const writer = spawn(() => {
        socket.sendAll(data);
        socket.shutdown('w');
      });
      const answer = recvAll(socket);
      writer.get();
      return answer.equals(data);
    }),
  );
  joinAll([...wrong, ...right], { raiseError: true });
  t.true(right.every(({ value }) => value === true));
});

// Other programs

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');

/** Runs a program with `input`, and returns what it prints. Switches. */
function pipeThrough(command: string, args: string[], input: Buffer): Buffer {
  const child = spawnProcess(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  waitFor(once(child, 'close'));
  return Buffer.concat(chunks);
}

const hasSocat = has('socat');

for (const [title, address, target] of [
  [
    'TCP',
    () => ({ host: '127.0.0.1', port: 0 }),
    (at: Address) => `TCP:127.0.0.1:${(at as { port: number }).port}`,
  ],
  [
    'a path',
    () => ({ path: freshPath() }),
    (at: Address) => `UNIX-CONNECT:${(at as { address: string }).address}`,
  ],
  [
    'an abstract name',
    () => ({ path: freshName() }),
    (at: Address) => `ABSTRACT-CONNECT:${(at as { address: string }).address.slice(1)}`,
  ],
] as const) {
  hubTestIf(hasSocat, `socat over ${title} gets back what it sends`, (t) => {
    using server = serve(address(), echo);
    const data = randomBytes(5 << 20);
    const answer = pipeThrough('socat', ['-t', '30', '-', target(server.address)], data);
    t.is(sha1(answer), sha1(data));
  });
}

hubTestIf(hasSocat, 'socat over UDP gets an answer', (t) => {
  using socket = new Socket({ type: 'datagram' });
  socket.bind({ host: '127.0.0.1', port: 0 });
  const answering = spawn(() => {
    const { data, address } = socket.recvFrom();
    socket.sendTo(`you said ${data.toString()}`, address!);
  });
  const answer = pipeThrough(
    'socat',
    ['-t', '1', '-', `UDP:127.0.0.1:${socket.localAddress.port}`],
    Buffer.from('hello'),
  );
  t.is(answer.toString(), 'you said hello');
  answering.get();
});

hubTestIf(hasSocat, 'socat is connected to, and ends when it is told', (t) => {
  const path = freshPath();
  const child = spawnProcess('socat', [`UNIX-LISTEN:${path}`, 'EXEC:cat'], { stdio: 'ignore' });
  const exit = once(child, 'exit');
  let socket: Socket | undefined;
  while (socket === undefined) {
    try {
      socket = createConnection({ path });
    } catch {
      sleep(5);
    }
  }
  const data = randomBytes(1 << 20);
  const connected = socket;
  const writer = spawn(() => {
    connected.sendAll(data);
    connected.shutdown('w');
  });
  t.is(sha1(recvAll(connected)), sha1(data));
  writer.get();
  connected.close();
  waitFor(exit);
});

/** Answers one request of HTTP/1.1 with a body that names its path. */
function answerHttp(socket: Socket): void {
  const file = socket.makeFile({ encoding: 'latin1' });
  const [method, path] = file.readLine().split(' ');
  let length = 0;
  for (const line of file) {
    if (line === '\r\n') break;
    length = Number(/^content-length: (\d+)/i.exec(line)?.[1] ?? length);
  }
  const body = `${method} ${path} with ${file.readExactly(length).toString('latin1')}`;
  file.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  file.close();
}

for (const [title, address, args] of [
  [
    'TCP',
    () => ({ host: '127.0.0.1', port: 0 }),
    (at: Address) => [`http://127.0.0.1:${(at as { port: number }).port}/path`],
  ],
  [
    'a path',
    () => ({ path: freshPath() }),
    (at: Address) => ['--unix-socket', (at as { address: string }).address, 'http://host/path'],
  ],
] as const) {
  hubTestIf(has('curl'), `curl over ${title} is served by makeFile()`, (t) => {
    using server = serve(address(), answerHttp);
    const answer = pipeThrough(
      'curl',
      ['-s', '-S', '--data', 'some data', ...args(server.address)],
      Buffer.alloc(0),
    );
    t.is(answer.toString(), 'POST /path with some data');
  });
}
