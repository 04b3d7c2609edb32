/** How servers begin and end: where they listen, where handlers run, several processes, and who waits for all that. */
import { closeSync } from 'node:fs';
import { inspect } from 'node:util';

import { Kind, native } from './binding.js';
import { checkFlag, checkOptions, checkTime, describe } from './checks.js';
import { captureContext, type Context, emptyContext } from './context.js';
import { spawn, spawnRaw } from './greenlet.js';
import { currentRunnable, ofThisThread, requireGreenlet } from './hub.js';
import { type CheckedLimits, checkLimits, isImmediate, type Limits, refuseToWait } from './limits.js';
import { Group, type Member, Pool } from './pool.js';
import { enlist, type Mortal, strikeOff } from './server-shutdown.js';
import { Role, Workers } from './server-workers.js';
import { createServer, type ListenOptions } from './socket/listen.js';
import { Opened, Socket } from './socket/socket.js';
import {
  type Address,
  familyOf,
  parseAddress,
  type ParsedAddress,
  PATH,
  show,
  type SocketAddress,
} from './socket-address.js';
import { errnoOf, systemError } from './system-error.js';
import { Linkable, Parked, WaitQueue } from './wait-queue.js';

/**
 * Where a server listens: an address; a socket that is bound already, which the server closes when it is closed; or a
 * descriptor of one, for instance an inherited one, which the server takes over when it starts.
 */
export type Listener = Address | Socket | { fd: number };

/** Runs `fn(...args)`, now or later, in whatever greenlet it likes. */
export type SpawnFunction = <Args extends unknown[]>(
  fn: (...args: Args) => unknown,
  ...args: Args
) => unknown;

/** Where handlers run; see {@link ServerOptions.spawn}. */
export type SpawnMode = 'default' | 'raw' | number | Group | SpawnFunction | null;

/** Options of all servers about how they begin and end. */
export interface LifeOptions {
  /**
   * Where handlers run. `'default'`: each in a greenlet; `'raw'`: each in a `RawGreenlet`; a number: in a `Pool` of that size;
   * a `Pool` or `Group`: in that; a function: whatever that does; `null`: in the hub, where nothing can wait.
   */
  spawn?: SpawnMode | undefined;
  /** How long handlers may take to end when the server is stopped, in ms (default: 1000). gevent: `stop_timeout`. */
  stopTimeout?: number | undefined;
  /**
   * Whether SIGINT and SIGTERM end the process as `run` does it: servers are stopped, all other greenlets killed, and the
   * process ends by the signal. For programs without `run`, where that is so anyway (default: no).
   */
  shutdownOnSignal?: boolean | undefined;
}

/** Options of servers of streams about what they listen on. */
export interface StreamListenOptions extends ListenOptions {
  /** Whether small pieces are sent at once, instead of waiting for the acknowledgement of earlier ones (default: yes). */
  noDelay?: boolean | undefined;
  /**
   * In how many processes connections are handled (default: none but this one). The server then only listens here: it starts the
   * running program anew so many times, and this server in there takes the connections.
   */
  workers?: number | undefined;
}

/** How long the end of handlers is waited for that have been killed, in ms. */
export const KILL_TIMEOUT = 1000;

/** Tells that a server has closed; to be awaited, joined, or waited for together with others by `wait`. */
export class ServerEnd extends Linkable {
  #isOver = false;

  /** Whether the server is closed. */
  get ready(): boolean {
    return this.#isOver;
  }

  /**
   * Waits until the server is closed. Switches only if it must wait.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns `false` if the time passed first
   */
  join(limits?: Limits): boolean {
    const checked = checkLimits('closed.join()', limits);
    if (this.#isOver) return true;
    if (isImmediate(checked)) return refuseToWait(checked);
    return new Parked('closed.join()').parkIn(this._waiting, checked);
  }

  /** For `await`, in async code. */
  // oxlint-disable-next-line unicorn/no-thenable -- servers are to be awaited by their `closed`
  then<A = void, B = never>(
    onFulfilled?: (() => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return new Promise<void>((resolve) => this.rawlink(() => resolve())).then(onFulfilled, onRejected);
  }

  /** @internal */
  _come(): void {
    this.#isOver = true;
    this._waiting.notifyAll();
  }

  /** `<ServerEnd pending>`. */
  override toString(): string {
    return this._show(this.#isOver ? 'over' : 'pending');
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function checkListener(call: string, listener: unknown): Socket | { fd: number } | ParsedAddress {
  if (listener instanceof Socket) return listener;
  if (typeof listener !== 'object' || listener === null || !('fd' in listener))
    return parseAddress(call, listener);
  const { fd } = listener;
  if (typeof fd !== 'number' || !Number.isInteger(fd) || fd < 0)
    throw new TypeError(`${call}: fd must be a descriptor, got ${describe(fd)}`);
  return { fd };
}

/** Whether a listener is a socket already, rather than an address. */
export function isSocket(listener: Listener): boolean {
  return typeof listener === 'object' && (listener instanceof Socket || 'fd' in listener);
}

/** How a server listens for streams, as its options say. */
export class StreamListening {
  readonly #options: ListenOptions;
  readonly #noDelay: boolean;

  /** @param isGiven - whether it listens on a socket that was given */
  constructor(call: string, options: StreamListenOptions, isGiven: boolean) {
    const { backlog, reuseAddr, reusePort, ipv6Only, noDelay = true } = options;
    if (backlog !== undefined && isGiven)
      throw new TypeError(`${call}: backlog is for addresses; a socket that was given has its own`);
    const listenOptions = { backlog, reuseAddr, reusePort, ipv6Only };
    this.#options = Object.fromEntries(
      Object.entries(listenOptions).filter(([, value]) => value !== undefined),
    );
    this.#noDelay = checkFlag(call, 'noDelay', noDelay);
  }

  at(address: Address): Socket {
    return createServer(address, this.#options);
  }

  /** Lets a socket that was bound listen. */
  prepare(socket: Socket): void {
    if ((native.kind(socket._key) & Kind.Listening) === 0) socket.listen();
  }

  /** What is accepted inherits the options that are set here. */
  begin(socket: Socket): void {
    this.prepare(socket);
    if (this.#noDelay && socket.family !== 'unix') native.setOption(socket._key, 'noDelay', 1);
  }
}

/**
 * How a server begins and ends. Subclasses say how to listen (`getListener`) and how to take what comes (`_setAccepting`).
 *
 * gevent: a part of `gevent.baseserver.BaseServer`.
 */
export abstract class ServerLife implements Mortal {
  /** @internal */
  readonly _thread = ofThisThread;
  /** See {@link LifeOptions.stopTimeout}. */
  stopTimeout: number;
  /** What it listens on; `null` before it is started and after it is closed, unless a socket was given. */
  socket: Socket | null = null;
  /** Where its handlers run, if that is a pool or group. */
  pool: Group | null = null;
  /** How handlers are started; `null`: in the hub. @internal */
  _spawn: SpawnFunction | null = spawn;
  /** What handlers are started in. @internal */
  _context: Context = emptyContext;
  /** Its processes, if there are several. @internal */
  _workers: Workers | null = null;

  readonly #shutdownOnSignal: boolean;
  /** What was given; `null` when it is used up. */
  #listener: { fd: number } | ParsedAddress | null;
  #started = false;
  #end = new ServerEnd();
  /** Where it listens, or has listened. */
  #address: SocketAddress;
  /** Handlers that have not ended, and who waits for that. */
  #active = 0;
  readonly #awaitingEnd = new WaitQueue();

  /**
   * @param listener - where to listen
   * @throws {TypeError} if an argument is not as expected
   */
  constructor(listener: Listener, options?: LifeOptions | null) {
    const call = `new ${new.target.name}()`;
    const given = checkOptions(call, options);
    const checked = checkListener(call, listener);
    this.stopTimeout = checkTime(call, 'stopTimeout', given.stopTimeout, 1000);
    this.#shutdownOnSignal = checkFlag(call, 'shutdownOnSignal', given.shutdownOnSignal ?? false);
    this.#setSpawn(given.spawn === undefined ? 'default' : given.spawn);
    if (checked instanceof Socket) {
      if (checked.closed) throw systemError(errnoOf('EBADF'), 'listen');
      this._checkKind(call, checked);
      this.socket = checked;
      this.#listener = null;
      this.#address = checked.localAddress;
    } else {
      this.#listener = checked;
      this.#address = addressOf(checked);
    }
    this.#end._come();
  }

  // ---- what subclasses say

  /** Makes the socket to listen on, for an address. Called by `start`. gevent: `get_listener`. */
  protected abstract getListener(address: Address): Socket;

  /** Takes what comes from now on, or not any more. @internal */
  abstract _setAccepting(accepts: boolean): void;

  /** The type of socket that it listens on. */
  protected get socketType(): 'stream' | 'datagram' {
    return 'stream';
  }

  /** Makes {@link socket} what to listen on, if it is not there yet. gevent: `init_socket`. */
  protected initSocket(): void {
    if (this._workers?.role === Role.Bystander) return;
    if (this._workers?.role === Role.Worker) this.#listener = { fd: Workers.descriptor };
    if (this.socket !== null) return;
    const listener = this.#listener;
    if (listener === null) throw systemError(errnoOf('EBADF'), 'listen');
    if ('fd' in listener) {
      this.socket = this.#adopt(listener.fd);
      this.#listener = null;
    } else {
      const { host, port } = listener;
      this.socket = this.getListener(port === PATH ? { path: host } : host === '' ? port : { host, port });
    }
    this.#address = this.socket.localAddress;
  }

  #adopt(fd: number): Socket {
    // A copy, so that what turns out to be no such socket is left as it was.
    const copy = native.duplicate(fd);
    if (copy < 0) throw systemError(copy, 'listen');
    const key = native.adopt(copy);
    if (key < 0) throw systemError(key, 'listen');
    const kind = native.kind(key);
    if (kind < 0) {
      native.close(key);
      throw systemError(kind, 'listen');
    }
    const socket = Socket._of(new Opened(key, kind & Kind.Family, (kind & Kind.Datagram) !== 0));
    try {
      this._checkKind('start()', socket);
      this._prepare(socket);
    } catch (error) {
      socket.close();
      throw error;
    }
    closeSync(fd);
    return socket;
  }

  /** Lets a socket that was bound take what comes. @internal */
  _prepare(_socket: Socket): void {}

  /** @internal */
  _checkKind(call: string, socket: Socket): void {
    const wanted = this.socketType;
    if (socket.type !== wanted)
      throw new TypeError(
        `${call}: ${this.constructor.name} listens on a ${wanted} socket, got a ${socket.type} socket`,
      );
  }

  // ---- settings

  /** Sets where handlers run from now on: see {@link LifeOptions.spawn}. gevent: `set_spawn`. */
  setSpawn(mode: SpawnMode): void {
    this.#setSpawn(mode);
  }

  #setSpawn(mode: SpawnMode): void {
    this.pool = typeof mode === 'number' ? new Pool(mode) : mode instanceof Group ? mode : null;
    const { pool } = this;
    if (pool !== null) this._spawn = (fn, ...args) => pool.spawn(fn, ...args);
    else if (mode === 'default') this._spawn = spawn;
    else if (mode === 'raw') this._spawn = spawnRaw;
    else if (mode === null || typeof mode === 'function') this._spawn = mode as SpawnFunction | null;
    else
      throw new TypeError(
        `${this.constructor.name}: spawn must be 'default', 'raw', a number, a Pool, a function or null, got ${describe(mode)}`,
      );
  }

  // ---- what it is doing

  /** Whether it has been started and not closed since. */
  get started(): boolean {
    return this.#started;
  }

  /** Whether it is closed: to be awaited, joined, or passed to `wait`; `closed.ready` tells. Handlers may still run then. */
  get closed(): ServerEnd {
    return this.#end;
  }

  /** Whether the pool has no room. gevent: `full()`. */
  get full(): boolean {
    return this.pool !== null && this.pool.full;
  }

  /** How many handlers have begun, or wait for their turn, and have not ended. */
  get activeCount(): number {
    return this.#active;
  }

  /** Where it listens: before it is started what was given, with port 0 if the system is to choose; after it is closed, the last. */
  get address(): SocketAddress {
    return this.#address;
  }

  /** The address or path of {@link address}. gevent: `server_host`. */
  get host(): string {
    return this.#address.address;
  }

  /** The port of {@link address}; 0 for paths, and before it is known. gevent: `server_port`. */
  get port(): number {
    return this.#address.port;
  }

  /** The family of {@link address}. */
  get family(): 4 | 6 | 'unix' {
    return this.#address.family;
  }

  /** The processes of the option `workers` that run, in the process that has started them. */
  get workerPids(): number[] {
    return this._workers?.pids ?? [];
  }

  // ---- beginning and ending

  /**
   * Listens, and takes what comes from now on. A server that was made from an address can be started again after it was closed.
   * Does nothing if it is started. If it fails, the server is closed. Switches only if it has to look up a name.
   *
   * @throws {SystemError} `EADDRINUSE`, `EACCES`, …; `EBADF` if it was made from a socket or descriptor and has been closed
   */
  start(): void {
    if (this.#started) return;
    this._context = captureContext();
    this.initSocket();
    this.#started = true;
    this.#end = new ServerEnd();
    enlist(this, this.#shutdownOnSignal);
    try {
      this._begin();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What `start` does once there is a socket. @internal */
  _begin(): void {
    const { _workers } = this;
    if (_workers === null || _workers.role === Role.Worker) this.startAccepting();
    _workers?.start(this.socket);
  }

  /**
   * Starts the server, if it is not, and waits until it is closed; then stops it, however the wait has ended. Switches. gevent:
   * `serve_forever`.
   *
   * @param stopLimits - as the argument of {@link stop}
   */
  serveForever(stopLimits?: Limits): void {
    requireGreenlet('serveForever()');
    checkLimits('serveForever()', stopLimits);
    this.start();
    try {
      this.#end.join();
    } finally {
      // In a greenlet of its own, so that it is done even if this one is killed again.
      spawn(() => this.stop(stopLimits)).get();
    }
  }

  /**
   * Closes the listening socket, so that nothing is taken any more. Handlers that run go on, and so do connections that wait for
   * their first bytes. Does nothing if it is closed. Never switches.
   */
  close(): void {
    const wasStarted = this.#started;
    this.#started = false;
    this.stopAccepting();
    const { socket } = this;
    this.socket = null;
    if (socket !== null) this._closeListener(socket);
    if (wasStarted) this.#end._come();
    if (this.#active === 0) strikeOff(this);
    this._workers?.terminate();
  }

  /** @internal */
  _closeListener(socket: Socket): void {
    socket.close();
  }

  /**
   * Closes the server; if its handlers run in a pool or group, waits for all that is in there, and kills what has not ended in
   * time. Other handlers go on. Connections whose handlers have not begun, since they wait for their first bytes or for room in
   * the pool, are closed. A handler may call it: it is taken out of the pool before. Switches only if it must wait.
   *
   * @param limits - how long to wait before killing, in ms (default: {@link stopTimeout}), and what else may end the wait
   */
  stop(limits?: Limits): void {
    const checked = checkLimits('stop()', limits === undefined ? this.stopTimeout : limits);
    const self = currentRunnable();
    const { pool } = this;
    if (self !== null && pool?.has(self as Member) === true) pool.discard(self as Member);
    if (this._mustWaitToStop() && !isImmediate(checked)) requireGreenlet('stop()');
    this.close();
    this._dropWaiting();
    this._awaitStop(checked);
  }

  /** Whether something has to end before the server has stopped. @internal */
  _mustWaitToStop(): boolean {
    return (this.pool !== null && !this.pool.ready) || this.workerPids.length > 0;
  }

  /** @internal */
  _awaitStop(limits: CheckedLimits): void {
    const { pool } = this;
    const { timeout, limit, signal } = limits;
    if (pool !== null && !pool.ready) {
      if (isImmediate(limits)) pool.kill(undefined, { block: false });
      else if (!pool.join({ timeout: limit ?? (timeout < 0 ? null : timeout), ...(signal && { signal }) }))
        pool.kill(undefined, KILL_TIMEOUT);
    }
    if (!isImmediate(limits)) this._workers?.join(timeout < 0 ? Infinity : timeout + 2 * KILL_TIMEOUT);
  }

  /** Closes what was taken and has no handler yet. @internal */
  _dropWaiting(): void {}

  /** What is done when the process ends: as {@link stop}, and waits for handlers outside of pools, too. @internal */
  _shutDown(): void {
    this.stop();
    if (this.#active > 0)
      new Parked('the end of a server').parkIn(this.#awaitingEnd, checkLimits('stop()', this.stopTimeout));
  }

  /** As {@link stop}, for `using`. */
  [Symbol.dispose](): void {
    this.stop();
  }

  /** Takes what comes again, after {@link stopAccepting}. Does nothing if it does so. Never switches. */
  startAccepting(): void {
    if (this._workers?.role === Role.Primary) {
      this._workers.setAccepting(true);
      return;
    }
    if (this.socket === null) throw systemError(errnoOf('EBADF'), 'accept');
    this._setAccepting(true);
  }

  /** Takes nothing until {@link startAccepting}: connections queue up in the system. Never switches. */
  stopAccepting(): void {
    this._setAccepting(false);
    if (this._workers?.role === Role.Primary) this._workers.setAccepting(false);
  }

  /** A handler is about to begin. @internal */
  _noteBegin(): void {
    this.#active++;
  }

  /** A handler has ended. @internal */
  _noteEnd(): void {
    if (--this.#active > 0) return;
    if (this.#awaitingEnd.occupied) this.#awaitingEnd.notifyAll();
    if (!this.#started) strikeOff(this);
  }

  /** `<StreamServer at 127.0.0.1:8000>`. */
  toString(): string {
    const state = this.#started ? '' : this.#end.ready ? ' closed' : '';
    return `<${this.constructor.name} at ${show(this.#address)}${state}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function addressOf(listener: { fd: number } | ParsedAddress): SocketAddress {
  if ('fd' in listener) return { address: '', port: 0, family: 6 };
  const { host, port } = listener;
  if (port === PATH) return { address: host, port: 0, family: 'unix' };
  if (host === '') return { address: '::', port, family: 6 };
  return { address: host, port, family: familyOf(listener) === 6 ? 6 : 4 };
}
