/** Servers for streams and for datagrams: `greenstack/server`. */
import { isIP } from 'node:net';
import { constants } from 'node:os';

import { Kind, native, type SocketFamily } from './binding.js';
import { checkFlag, checkFunction, checkOptions } from './checks.js';
import { type BytesLike, checkBytes } from './bytes.js';
import type { Connection } from './connection.js';
import { getDefaultResolver } from './dns.js';
import { checkLimits, type Limits } from './limits.js';
import { Lock } from './lock.js';
import { BaseServer, errorOf, noneOrThrow, type ServerOptions } from './server-base.js';
import { type Attendant, IdleConnection } from './server-idle.js';
import { isSocket, type Listener, StreamListening, type StreamListenOptions } from './server-life.js';
import { checkServerTls, moduleOfTls, type ServerTlsOptions } from './server-tls.js';
import { Role, Workers } from './server-workers.js';
import { type Datagram, Opened, Socket } from './socket/socket.js';

import { type Address, parseAddress, PATH, show, type SocketAddress } from './socket-address.js';
import { errnoOf, systemError } from './system-error.js';
import type { TlsOptions } from './tls.js';
import { now } from './timers.js';
import { waitFor } from './wait-for.js';

export { BaseServer, type ServerOptions } from './server-base.js';
export {
  type LifeOptions,
  type Listener,
  type ServerEnd,
  type SpawnFunction,
  type SpawnMode,
  type StreamListenOptions,
} from './server-life.js';
export type { ServerTlsOptions } from './server-tls.js';
export { ServerWorkerDied } from './server-workers.js';

/** Handles a connection. When it returns or throws, the connection is closed; what it throws is reported. */
export type StreamHandler<S extends Connection = Socket> = (socket: S, address: SocketAddress) => unknown;

/** Handles a datagram; what it throws is reported. */
export type DatagramHandler = (data: Buffer, address: SocketAddress | undefined) => unknown;

/** Options of {@link StreamServer}. */
export interface StreamServerOptions extends ServerOptions, StreamListenOptions {
  /**
   * Whether a connection waits for its first bytes, or its end, before its handler is called (default: no). Until then it has no
   * greenlet, and takes far less memory. For protocols in which the client speaks first.
   */
  awaitData?: boolean | undefined;
  /**
   * Encrypts connections: handlers are given a `TlsSocket`. The handshake is done in the greenlet of the connection, so that a slow
   * client stops nobody.
   */
  tls?: ServerTlsOptions | undefined;
}

/**
 * Listens for connections, and handles each in a greenlet of its own. TCP or Unix-domain.
 *
 * gevent: `gevent.server.StreamServer`.
 *
 * @example
 * const server = new StreamServer('127.0.0.1:7000', (socket) => {
 *   for (let data = socket.recv(); data.length > 0; data = socket.recv()) socket.sendAll(data);
 * });
 * run(() => server.serveForever());
 */
export class StreamServer<S extends Connection = Socket> extends BaseServer<Socket> implements Attendant {
  readonly #handle: StreamHandler<S>;
  readonly #listening: StreamListening;
  readonly #awaitsData: boolean;
  readonly #tls: TlsOptions | null;
  readonly #isMaxAcceptGiven: boolean;
  /** Connections that have sent nothing yet. */
  readonly #idle = new Set<IdleConnection>();
  #nativeFamily = 0 as SocketFamily;

  /**
   * @param listener - where to listen: a port (of all addresses of this host), `'host:port'`, `{ host, port }`, `'unix:/path'`,
   *   `{ path }`, a `Socket` that is bound, or `{ fd }`
   * @param handle - called for each connection; may be left out by subclasses that have a method `handle`
   * @throws {TypeError} if an argument is not as expected, or there is no handler
   */
  constructor(listener: Listener, handle?: StreamHandler<S> | null, options?: StreamServerOptions | null) {
    super(listener, options);
    const call = `new ${new.target.name}()`;
    const given = checkOptions(call, options);
    const { awaitData = false, tls, workers } = given;
    this.#handle = checkHandler(call, this, handle);
    this.#listening = new StreamListening(call, given, isSocket(listener));
    this.#isMaxAcceptGiven = given.maxAccept !== undefined;
    this.#awaitsData = checkFlag(call, 'awaitData', awaitData);
    this.#tls = tls === undefined ? null : checkServerTls(call, tls);
    if (this.#tls !== null && this._spawn === null)
      throw new TypeError(`${call}: a handshake has to wait, so that spawn cannot be null with tls`);
    this._workers = workers === undefined ? null : new Workers(call, workers, this);
  }

  /** Handles a connection, in subclasses that were not given a handler. */
  handle?(socket: S, address: SocketAddress): unknown;

  /** How many connections wait for their first bytes: see {@link StreamServerOptions.awaitData}. */
  get idleCount(): number {
    return this.#idle.size;
  }

  protected getListener(address: Address): Socket {
    return this.#listening.at(address);
  }

  protected override initSocket(): void {
    // Whoever is idle takes the next connection: so nobody takes several at once.
    if (this._workers?.role === Role.Worker && !this.#isMaxAcceptGiven) this.maxAccept = 1;
    super.initSocket();
    const { socket } = this;
    if (socket === null) return;
    try {
      this.#listening.begin(socket);
      this.#nativeFamily = native.kind(socket._key) & Kind.Family;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @internal */
  override _prepare(socket: Socket): void {
    this.#listening.prepare(socket);
  }

  /** @internal */
  override _dropWaiting(): void {
    super._dropWaiting();
    for (const connection of this.#idle) connection.close();
    this.#idle.clear();
  }

  protected doRead(): Socket | null {
    const accepted = (this.socket as Socket)._acceptNow();
    return typeof accepted === 'number' ? noneOrThrow(accepted, this, 'accept') : accepted;
  }

  /** @internal */
  override _take(): boolean {
    if (!this.#awaitsData) return super._take();
    const key = native.acceptNow((this.socket as Socket)._key);
    if (key < 0) {
      noneOrThrow(key, this, 'accept');
      return false;
    }
    this._noteSuccess();
    const connection = new IdleConnection(key, this);
    if (connection.start() < 0) connection.close();
    else this.#idle.add(connection);
    return true;
  }

  /** @internal */
  _onFirstBytes(connection: IdleConnection): void {
    this.#idle.delete(connection);
    this._offer(Socket._of(new Opened(connection.socketKey, this.#nativeFamily, false)));
  }

  protected override doClose(socket: Socket): void {
    socket.close();
  }

  protected callHandler(socket: Socket): unknown {
    const handler = this.#handle;
    const { remoteAddress } = socket;
    if (this.#tls === null) return handler(socket as Connection as S, remoteAddress);
    const encrypted: Connection = moduleOfTls().wrapSocket(socket, this.#tls);
    try {
      return waitFor(handler(encrypted as S, remoteAddress));
    } finally {
      encrypted.close();
    }
  }

  protected override describeItem(socket: Socket): string {
    return `<client ${show(socket.remoteAddress)} of ${show(this.address)}>`;
  }
}

/** Options of {@link DatagramServer}. */
export interface DatagramServerOptions extends ServerOptions {
  /** The longest datagram, in bytes (default: 64 KiB, which is more than UDP has). Longer ones are dropped, and that is reported. */
  maxSize?: number | undefined;
  /** Bind an address that another socket is bound to, which then gets no more datagrams (default: no, as `node:dgram`). */
  reuseAddr?: boolean | undefined;
  /** Share the address with other sockets that have this set: the system spreads senders over them (default: no). */
  reusePort?: boolean | undefined;
  /** For IPv6: take no IPv4 datagrams (default: take both). */
  ipv6Only?: boolean | undefined;
}

/**
 * Takes datagrams, and handles each in a greenlet of its own. UDP or Unix-domain.
 *
 * gevent: `gevent.server.DatagramServer`.
 *
 * @example
 * const server = new DatagramServer(9000, (data, from) => server.sendTo(`${data.length} bytes`, from));
 * run(() => server.serveForever());
 */
export class DatagramServer extends BaseServer<Datagram> {
  readonly #handle: DatagramHandler;
  readonly #socketOptions: Record<string, boolean>;
  readonly #memory: Buffer;
  readonly #sending = new Lock();

  /**
   * @param listener - where to take datagrams: see {@link StreamServer}
   * @param handle - called for each datagram; may be left out by subclasses that have a method `handle`
   * @throws {TypeError} if an argument is not as expected, or there is no handler
   */
  constructor(listener: Listener, handle?: DatagramHandler | null, options?: DatagramServerOptions | null) {
    super(listener, options);
    const call = `new ${new.target.name}()`;
    const given = checkOptions(call, options);
    const { maxSize = 65_536, reuseAddr = false, reusePort = false, ipv6Only = false } = given;
    this.#handle = checkHandler(call, this, handle);
    this.#memory = Buffer.allocUnsafeSlow(checkBytes(call, 'maxSize', maxSize, 1, 2 ** 30));
    this.#socketOptions = { reuseAddr, reusePort, ipv6Only };
    for (const [name, value] of Object.entries(this.#socketOptions)) checkFlag(call, name, value);
  }

  /** Handles a datagram, in subclasses that were not given a handler. */
  handle?(data: Buffer, address: SocketAddress | undefined): unknown;

  protected override get socketType(): 'datagram' {
    return 'datagram';
  }

  protected getListener(address: Address): Socket {
    const { host, port } = parseAddress('start()', address);
    if (port === PATH) return this.#bound('unix', { path: host });
    if (host !== '') {
      const ip = isIP(host) === 0 ? getDefaultResolver().lookup(host).address : host;
      return this.#bound(isIP(ip) as 4 | 6, { host: ip, port });
    }
    try {
      return this.#bound(6, { host: '::', port });
    } catch (error) {
      // No IPv6 here.
      if ((error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
      return this.#bound(4, { host: '0.0.0.0', port });
    }
  }

  #bound(family: 4 | 6 | 'unix', address: Address): Socket {
    const socket = new Socket({ family, type: 'datagram' });
    try {
      for (const [name, value] of Object.entries(this.#socketOptions)) {
        const isMeant = family === 6 || (family === 4 && name !== 'ipv6Only');
        if (isMeant) native.setOption(socket._key, name, Number(value));
      }
      socket.bind(address);
      if (family === 'unix') socket._ownFile(socket.localAddress.address);
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  protected doRead(): Datagram | null {
    for (let left = this.maxAccept; left > 0; left--) {
      const received = (this.socket as Socket)._recvFromNow(this.#memory);
      if (typeof received === 'number') return noneOrThrow(received, this, 'recvfrom');
      if (!received.truncated) return received;
      this._reportOnce(errorOf(-constants.errno.EMSGSIZE, this, 'recvfrom'));
    }
    return null;
  }

  protected callHandler({ data, address }: Datagram): unknown {
    const handler = this.#handle;
    return handler(data, address);
  }

  protected override describeItem({ data, address }: Datagram): string {
    const from = address === undefined ? '' : ` from ${show(address)}`;
    return `<${data.length} bytes${from} to ${show(this.address)}>`;
  }

  /**
   * Sends a datagram from the address of the server. Greenlets that send at the same time do so one after another. Switches only if
   * it must wait. gevent: `sendto`.
   *
   * @param address - where to: `{ host, port }` with an IP address, `'ip:port'`, `{ path }`, or what the handler was given
   * @param limits - how long, in ms, and what else may end the wait
   * @returns how many bytes were sent
   * @throws {SystemError} `EMSGSIZE`, `ECONNREFUSED`, …; `EBADF` if the server is not started
   */
  sendTo(data: BytesLike, address: Address, limits?: Limits): number {
    const { socket } = this;
    if (socket === null) throw systemError(errnoOf('EBADF'), 'sendTo');
    const rest = this.#awaitTurn(limits);
    try {
      return socket.sendTo(data, address, rest);
    } finally {
      this.#sending.release();
    }
  }

  /** Waits until nobody else sends. Returns what is left of the limits. */
  #awaitTurn(limits: Limits): Limits {
    if (!this.#sending.locked) {
      this.#sending.acquire();
      return limits;
    }
    const { timeout, limit, signal } = checkLimits('sendTo()', limits);
    const start = now();
    if (!this.#sending.acquire(limits)) throw limit?.thrown() ?? systemError(errnoOf('ETIMEDOUT'), 'sendTo');
    const left = timeout < 0 ? null : Math.max(0, timeout - (now() - start));
    return { timeout: limit ?? left, ...(signal && { signal }) };
  }
}

type Handler<Args extends unknown[]> = (...args: Args) => unknown;

/** The function given, or the method of the server. */
function checkHandler<Args extends unknown[]>(
  call: string,
  server: { handle?: Handler<Args> },
  handle: Handler<Args> | null | undefined,
): Handler<Args> {
  if (handle !== undefined && handle !== null) {
    checkFunction(call, handle);
    return handle;
  }
  if (typeof server.handle !== 'function')
    throw new TypeError(`${call} expects a handler, or a subclass with a method 'handle'`);
  return (...args) => (server.handle as Handler<Args>)(...args);
}
