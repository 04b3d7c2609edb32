import { type ChildProcess, spawn as spawnProgram } from 'node:child_process';
import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectPlain,
  createServer as createPlain,
  type Socket as PlainSocket,
} from 'node:net';
import * as nodeTls from 'node:tls';
import { Greenlet, joinAll, killAll, spawn, waitFor } from 'greenstack';
import { createServer, type Socket, socketPair } from 'greenstack/socket';
import { type TlsOptions, type TlsSocket, wrapSocket } from 'greenstack/tls';
import { Files, type Identity, pki } from './certificates.js';

/** Both ends of a connection, after the handshake. */
export interface Pair extends Disposable {
  client: TlsSocket;
  server: TlsSocket;
}

/** What a client of the test's own server needs. */
export const trusting = (): TlsOptions => ({ ca: pki.root().cert, servername: 'a.test' });
export const serving = (): TlsOptions => ({ ...pki.server(), isServer: true });

/** Two ends in this process. Switches. */
export function tlsPair(client: TlsOptions = {}, server: TlsOptions = {}): Pair {
  const [left, right] = socketPair();
  return wrapBoth(left, right, { ...trusting(), ...client }, { ...serving(), ...server });
}

/** Encrypts both ends. If one fails, both are closed and the client's error is thrown, else the server's. Switches. */
export function wrapBoth(left: Socket, right: Socket, client: TlsOptions, server: TlsOptions): Pair {
  const other = spawn(() => settled(() => wrapSocket(right, server)));
  const mine = settled(() => wrapSocket(left, client));
  // An end that waits for one that is gone.
  if ('error' in mine) left.close();
  const theirs = other.get();
  if ('error' in mine || 'error' in theirs) {
    for (const end of [mine, theirs]) if ('value' in end) end.value.close();
    throw 'error' in mine ? mine.error : (theirs as { error: unknown }).error;
  }
  return {
    client: mine.value,
    server: theirs.value,
    [Symbol.dispose]() {
      mine.value.close();
      theirs.value.close();
    },
  };
}

/** What came of `body`. */
export function settled<T>(body: () => T): { value: T } | { error: unknown } {
  try {
    return { value: body() };
  } catch (error) {
    return { error };
  }
}

/** A server of greenstack's that serves each connection in a greenlet; disposing of it ends them. */
export interface GreenServer extends Disposable {
  port: number;
  /** What the greenlets have failed with, the handshake included. */
  errors: unknown[];
}

/** Starts a server on 127.0.0.1. */
export function serveTls(options: TlsOptions, handler: (socket: TlsSocket) => void): GreenServer {
  const listener = createServer('127.0.0.1:0');
  const greenlets: Greenlet[] = [];
  const errors: unknown[] = [];
  const serve = (plain: Socket): void => {
    try {
      using socket = wrapSocket(plain, { ...options, isServer: true });
      handler(socket);
    } catch (error) {
      errors.push(error);
    }
  };
  const acceptor = spawn(() => {
    for (;;) greenlets.push(spawn(serve, listener.accept()));
  });
  return {
    port: listener.localAddress.port,
    errors,
    [Symbol.dispose]() {
      killAll([acceptor, ...greenlets]);
      joinAll([acceptor, ...greenlets]);
      listener.close();
    },
  };
}

/** Sends back what it receives, and ends when the peer does. */
export function echoTls(socket: TlsSocket): void {
  for (let chunk: Buffer; (chunk = socket.recv()).length > 0;) socket.sendAll(chunk);
  socket.shutdown('w');
}

/** A server of `node:tls` in this process. */
export interface NodeServer extends Disposable {
  port: number;
  server: nodeTls.Server;
  errors: Error[];
}

/** Starts a server of `node:tls` on 127.0.0.1. Switches. */
export function listenNode(
  options: nodeTls.TlsOptions,
  onConnection: (socket: nodeTls.TLSSocket) => void,
): NodeServer {
  const sockets = new Set<PlainSocket>();
  const errors: Error[] = [];
  const server = nodeTls.createServer({ allowHalfOpen: true, ...options }, (socket) => {
    socket.on('error', (error) => errors.push(error));
    onConnection(socket);
  });
  server.on('connection', (socket: PlainSocket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', (error) => errors.push(error));
  server.listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    errors,
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      waitFor(new Promise<void>((resolve) => server.close(() => resolve())));
    },
  };
}

const sessions = new WeakMap<nodeTls.TLSSocket, Buffer>();

/** What a client needs to resume its session: the last that it was given. */
export function sessionOf(socket: nodeTls.TLSSocket): Buffer | undefined {
  return sessions.get(socket);
}

/** A client of `node:tls`, connected. Switches; throws its error. */
export function connectNode(port: number, options: nodeTls.ConnectionOptions = {}): nodeTls.TLSSocket {
  const socket = nodeTls.connect({
    host: '127.0.0.1',
    port,
    ca: pki.root().cert,
    servername: 'a.test',
    ...options,
  });
  socket.on('session', (session) => sessions.set(socket, session));
  waitFor(once(socket, 'secureConnect'));
  return socket;
}

/** Everything that a socket of Node's receives to its end. Switches. */
export function nodeReceivesAll(socket: nodeTls.TLSSocket): Buffer {
  return waitFor(
    (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    })(),
  );
}

/** A program that runs beside the test, and what it has printed; disposing of it kills it. */
export class Program implements Disposable {
  readonly child: ChildProcess;
  readonly #exit: Promise<unknown[]>;
  #printed = '';

  constructor(command: string, args: readonly string[]) {
    this.child = spawnProgram(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#exit = once(this.child, 'close');
    for (const stream of [this.child.stdout, this.child.stderr])
      stream!.on('data', (chunk: Buffer) => (this.#printed += chunk.toString('latin1')));
    this.child.stdin!.on('error', () => {});
  }

  /** What it has printed so far. */
  get printed(): string {
    return this.#printed;
  }

  /** Waits until it has printed something that matches. Switches. */
  prints(pattern: RegExp): RegExpExecArray {
    return waitFor(
      new Promise<RegExpExecArray>((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(this.#printed);
          if (found !== null) resolve(found);
        };
        this.child.stdout!.on('data', look);
        this.child.stderr!.on('data', look);
        this.child.on('close', () =>
          reject(new Error(`${this.child.spawnargs.join(' ')} has printed\n${this.#printed}`)),
        );
        look();
      }),
    );
  }

  /** Waits for its end. Switches. */
  exit(): number {
    const [code] = waitFor(this.#exit) as [number];
    return code;
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
    waitFor(this.#exit);
  }
}

/** `openssl s_server` on 127.0.0.1. Switches. */
export function opensslServer(
  identity: Identity,
  args: readonly string[] = [],
): Disposable & { port: number; program: Program } {
  const files = new Files({ cert: identity.cert, key: identity.key, ca: pki.root().cert });
  const paths = ['-cert', files.path('cert'), '-key', files.path('key'), '-CAfile', files.path('ca')];
  const program = new Program('openssl', ['s_server', '-accept', '127.0.0.1:0', ...paths, ...args]);
  const [, port] = program.prints(/ACCEPT [^\n]*:(\d+)/);
  return {
    port: Number(port),
    program,
    [Symbol.dispose]() {
      program[Symbol.dispose]();
      files[Symbol.dispose]();
    },
  };
}

/** Stands between a client and a server, as the network does, and is as unreliable. */
export interface Relay extends Disposable {
  port: number;
  /** Passes nothing on any more. */
  stall(): void;
  /** Passes everything on again. */
  goOn(): void;
  /** Ends both connections, after what has come so far. */
  cut(): void;
  /** Breaks both connections. */
  reset(): void;
  /** Changes the bytes that go to the client. */
  alter: (bytes: Buffer) => Buffer;
}

/** Starts a relay to a server on 127.0.0.1. Switches. */
export function relayTo(target: number): Relay {
  const sockets = new Set<PlainSocket>();
  const server = createPlain({ allowHalfOpen: true }, (client) => {
    const upstream = connectPlain({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes: Buffer) => client.write(relay.alter(bytes)));
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
    }
  });
  server.listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  const relay: Relay = {
    port: (server.address() as AddressInfo).port,
    alter: (bytes) => bytes,
    stall: () => sockets.forEach((socket) => socket.pause()),
    goOn: () => sockets.forEach((socket) => socket.resume()),
    cut: () => sockets.forEach((socket) => socket.end()),
    reset: () => sockets.forEach((socket) => socket.resetAndDestroy()),
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      waitFor(new Promise<void>((resolve) => server.close(() => resolve())));
    },
  };
  return relay;
}
