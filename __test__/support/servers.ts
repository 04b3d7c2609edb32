import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  type AddressInfo,
  type ListenOptions,
  type Server,
  type ServerOpts,
  type Socket,
  createServer,
} from 'node:net';
import { connect } from 'node:net';
import { waitFor } from 'greenstack';

/** A server that runs as plain callbacks in this process; disposing of it ends its connections as well. */
export interface TestServer extends Disposable {
  readonly address: { host: string; port: number };
  /** How many connections were accepted so far. */
  readonly accepted: number;
}

/** Accepts and then neither reads nor writes. */
export function silent(socket: Socket): void {
  socket.pause();
}

/** Sends back what it receives, and ends when the peer does. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** Says hello, and ends. */
export function greet(socket: Socket): void {
  socket.end('hello');
}

/** Collects what arrives, and sends its checksum when the client has ended its half. */
export function checksum(socket: Socket): void {
  const hash = createHash('sha1');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.on('end', () => socket.end(hash.digest('hex')));
}

/** Sends for ever, as fast as the client reads. */
export function flood(socket: Socket): void {
  const pour = () => {
    while (socket.write(Buffer.alloc(65_536)));
  };
  socket.on('drain', pour);
  pour();
}

/**
 * Starts a server on 127.0.0.1 (or `options.host`). Switches.
 *
 * Its sockets allow half-open connections, so that tests decide who ends first.
 */
export function listen(onConnection: (socket: Socket) => void, options: ListenOptions = {}): TestServer {
  const serving = serve(onConnection, (serverOptions) =>
    createServer(serverOptions).listen({ host: '127.0.0.1', port: 0, ...options }),
  );
  const { address: host, port } = serving.server.address() as AddressInfo;
  return Object.defineProperties(
    { address: { host, port } } as TestServer,
    Object.getOwnPropertyDescriptors(serving),
  );
}

/** A server that runs as plain callbacks in this process, wherever it listens. */
export interface Serving extends Disposable {
  readonly server: Server;
  /** How many connections were accepted so far. */
  readonly accepted: number;
}

/**
 * As {@link listen}, wherever `start` listens.
 *
 * @param start - makes the server, with options of `createServer` of Node's
 */
export function serve(
  onConnection: (socket: Socket) => void,
  start: (options: ServerOpts) => Server,
): Serving {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = start({ allowHalfOpen: true, pauseOnConnect: onConnection === silent });
  server.on('connection', (socket) => {
    accepted++;
    keep(socket, sockets);
    onConnection(socket);
  });
  waitFor(once(server, 'listening'));
  return {
    server,
    get accepted() {
      return accepted;
    },
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      waitFor(closed(server));
    },
  };
}

/** Keeps a socket of Node's among others until it is closed. */
export function keep(socket: Socket, sockets: Set<Socket>): void {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  // What the client does to its end is the client's test; a reset is no failure of the server.
  socket.on('error', () => {});
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

/** A port on 127.0.0.1 that nobody listens on. Switches. */
export function closedPort(): number {
  using server = listen(silent);
  return server.address.port;
}

/** Listens with the shortest queue, tells its port, and never accepts: its thread stands still. */
const standstill = `
  const server = require('node:net').createServer();
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

/** An address where connections are neither accepted nor refused: its queue is full. Switches. */
export function unreachable(): TestServer {
  const child = spawn(process.execPath, ['-e', standstill], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const [text] = waitFor(once(child.stdout!, 'data')) as [Buffer];
  const address = { host: '127.0.0.1', port: Number(text) };
  // Two fit into a queue of 1; the rest wait until the kernel has room.
  const fillers = Array.from({ length: 4 }, () => connect(address).on('error', () => {}));
  waitFor(Promise.all(fillers.slice(0, 2).map((filler) => once(filler, 'connect'))));
  return {
    address,
    accepted: 0,
    [Symbol.dispose]() {
      for (const filler of fillers) filler.destroy();
      child.kill('SIGKILL');
      waitFor(exit);
    },
  };
}
