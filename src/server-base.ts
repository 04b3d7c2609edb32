/** What all servers have in common: how they begin and end, when they take what has come, and who handles it. */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { inspect } from 'node:util';

import { Kind, native, Outcome, Sides } from './binding.js';
import { checkFlag, checkMost, checkOptions, checkTime, describe } from './checks.js';
import { captureContext, type Context, emptyContext, enterContext } from './context.js';
import { spawn, spawnRaw } from './greenlet.js';
import {
  currentRunnable,
  getHub,
  type LinkEntry,
  ofThisThread,
  requireGreenlet,
  runCallback,
  Runnable,
} from './hub.js';
import { type CheckedLimits, checkLimits, isImmediate, type Limits, refuseToWait } from './limits.js';
import { Group, type Member, Pool } from './pool.js';
import { enlist, type Mortal, strikeOff } from './server-shutdown.js';
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
import { errnoOf, type SystemError, systemError } from './system-error.js';
import { HubTimer } from './timers.js';
import { Entry, Linkable, Parked, WaitQueue } from './wait-queue.js';
import { isThenable, waitFor } from './wait-for.js';
import { Watch } from './watch.js';

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

/** How many are taken one after another, however many others are ready. */
const MOST_TAKEN = 1000;

/** Where handlers run; see {@link ServerOptions.spawn}. */
export type SpawnMode = 'default' | 'raw' | number | Group | SpawnFunction | null;

/** Options of all servers. */
export interface ServerOptions {
  /**
   * Where handlers run. `'default'`: each in a greenlet; `'raw'`: each in a `RawGreenlet`; a number: in a `Pool` of that size;
   * a `Pool` or `Group`: in that; a function: whatever that does; `null`: in the hub, where nothing can wait.
   */
  spawn?: SpawnMode | undefined;
  /**
   * How many are taken one after another before others have their turn (default: 100; or as many as these are, up to 1000).
   * gevent: `max_accept`.
   */
  maxAccept?: number | undefined;
  /** How long to pause after a failure, in ms, the first time (default: 10). It doubles each time. gevent: `min_delay`. */
  minDelay?: number | undefined;
  /** How long to pause after failures at the most, in ms (default: 1000). gevent: `max_delay`. */
  maxDelay?: number | undefined;
  /** How long handlers may take to end when the server is stopped, in ms (default: 1000). gevent: `stop_timeout`. */
  stopTimeout?: number | undefined;
  /**
   * Whether SIGINT and SIGTERM end the process as `run` does it: servers are stopped, all other greenlets killed, and the
   * process ends by the signal. For programs without `run`, where that is so anyway (default: no).
   */
  shutdownOnSignal?: boolean | undefined;
}

/** How long the end of handlers is waited for that have been killed, in ms. */
export const KILL_TIMEOUT = 1000;

const EAGAIN = -constants.errno.EAGAIN;

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

/** One call of a handler: what is passed to the greenlet, and what is told when that ends, even if it never began. */
class Handling<Item> implements LinkEntry {
  declare readonly callback: null;
  declare private over: boolean;
  declare private readonly server: BaseServer<Item>;
  declare private readonly item: Item;

  constructor(server: BaseServer<Item>, item: Item) {
    this.callback = null;
    this.over = false;
    this.server = server;
    this.item = item;
  }

  run(): void {
    try {
      const result = this.server._callHandler(this.item);
      if (isThenable(result)) waitFor(result);
    } finally {
      this.notify();
    }
  }

  /** As {@link run}, without a greenlet. */
  runInHub(): void {
    let result: unknown;
    try {
      result = this.server._callHandler(this.item);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!isThenable(result)) this.notify();
    else
      result.then(
        () => this.notify(),
        (error: unknown) => this.#fail(error),
      );
  }

  #fail(error: unknown): void {
    getHub().report(this, error);
    this.notify();
  }

  /** It is over, in one way or another. */
  notify(): void {
    if (this.over) return;
    this.over = true;
    this.server._finish(this.item);
  }

  toString(): string {
    return this.server._describeItem(this.item);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function handle(handling: Handling<never>): void {
  handling.run();
}

/** A server that has waited for room in its pool. */
class AwaitingRoom extends Entry {
  constructor(private readonly onRoom: () => void) {
    super();
  }

  notify(): void {
    runCallback(this.onRoom);
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

/**
 * What servers have in common, for those that take something else than streams and datagrams: subclasses say how to listen
 * (`getListener`), how to take one (`doRead`) and how to handle it.
 *
 * gevent: `gevent.baseserver.BaseServer`.
 */
export abstract class BaseServer<Item> implements Mortal {
  /** @internal */
  readonly _thread = ofThisThread;
  /** See {@link ServerOptions.minDelay}. */
  minDelay: number;
  /** See {@link ServerOptions.maxDelay}. */
  maxDelay: number;
  /** See {@link ServerOptions.stopTimeout}. */
  stopTimeout: number;
  /** How long the next pause is after a failure, in ms. */
  delay: number;
  /** What it listens on; `null` before it is started and after it is closed, unless a socket was given. */
  socket: Socket | null = null;
  /** Where its handlers run, if that is a pool or group. */
  pool: Group | null = null;

  #maxAccept: number;
  /** Whether more are taken than that while more others are ready: a fixed number would let new ones wait for many rounds of them. */
  #takesMore: boolean;
  readonly #shutdownOnSignal: boolean;
  /** What was given; `null` when it is used up. */
  #listener: { fd: number } | ParsedAddress | null;
  #spawn: SpawnFunction | null = spawn;
  #started = false;
  #isAccepting = false;
  #end = new ServerEnd();
  /** Where it listens, or has listened. */
  #address: SocketAddress;
  #watch: Watch | null = null;
  #context: Context = emptyContext;
  /** What was taken already and waits for room. */
  readonly #backlog: Item[] = [];
  readonly #pause = new HubTimer({ expire: () => this.#resume() });
  readonly #room = new AwaitingRoom(() => this.#onRoom());
  /** The code of the failure that was reported last; failures that repeat are not. */
  #reported: unknown = null;
  /** Handlers that have not ended, and who waits for that. */
  #active = 0;
  readonly #awaitingEnd = new WaitQueue();

  /**
   * @param listener - where to listen
   * @param options - where handlers run, and how long pauses and stopping take
   * @throws {TypeError} if an argument is not as expected
   */
  constructor(listener: Listener, options?: ServerOptions | null) {
    const call = `new ${new.target.name}()`;
    const given = checkOptions(call, options);
    const checked = checkListener(call, listener);
    this.minDelay = checkTime(call, 'minDelay', given.minDelay, 10);
    this.maxDelay = checkTime(call, 'maxDelay', given.maxDelay, 1000);
    this.stopTimeout = checkTime(call, 'stopTimeout', given.stopTimeout, 1000);
    this.delay = this.minDelay;
    this.#maxAccept = checkMost(`${call}: maxAccept`, given.maxAccept ?? 100);
    this.#takesMore = given.maxAccept === undefined;
    this.#shutdownOnSignal = checkFlag(call, 'shutdownOnSignal', given.shutdownOnSignal ?? false);
    this.setSpawn(given.spawn === undefined ? 'default' : given.spawn);
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
  /** Takes one that has come; `null` if there is none. Must not block. gevent: `do_read`. */
  protected abstract doRead(): Item | null;
  /** Calls the handler. If it returns a promise, that is waited for. */
  protected abstract callHandler(item: Item): unknown;

  /** The type of socket that it listens on. */
  protected get socketType(): 'stream' | 'datagram' {
    return 'stream';
  }

  /** What was taken, as reports of errors show it, which have room for some 50 characters. */
  protected describeItem(_item: Item): string {
    return `<something taken at ${show(this.#address)}>`;
  }

  /** @internal */
  _callHandler(item: Item): unknown {
    return this.callHandler(item);
  }

  /** @internal */
  _describeItem(item: Item): string {
    return this.describeItem(item);
  }

  /** Releases what was taken, after its handler has ended, or if there will be none. Must not block. gevent: `do_close`. */
  protected doClose(_item: Item): void {}

  /** Hands what was taken over to the handler, or closes it and throws. Must not block. gevent: `do_handle`. */
  protected doHandle(item: Item): void {
    const handling = new Handling(this, item);
    this.#active++;
    if (this.#context !== emptyContext) enterContext(this.#context);
    const start = this.#spawn;
    if (start === null) {
      handling.runInHub();
      return;
    }
    let greenlet: unknown;
    try {
      greenlet = start(handle as (handling: Handling<Item>) => void, handling);
    } catch (error) {
      handling.notify();
      throw error;
    }
    // One that is killed before it has begun runs no handler.
    if (greenlet instanceof Runnable) greenlet._addLink(handling);
  }

  /** The codes of errors after which a listening socket is of no use. gevent: `fatal_errors`. */
  protected fatalErrors: ReadonlySet<string> = new Set(['EBADF', 'EINVAL', 'ENOTSOCK']);

  /** Whether an error of `doRead` closes the server. gevent: `is_fatal_error`. */
  protected isFatalError(error: unknown): boolean {
    const { code } = (error ?? {}) as { code?: unknown };
    return typeof code === 'string' && this.fatalErrors.has(code);
  }

  /** Makes {@link socket} what to listen on, if it is not there yet. gevent: `init_socket`. */
  protected initSocket(): void {
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

  /** From now on it listens on a descriptor that this process was started with. @internal */
  _inherit(fd: number): void {
    this.#listener = { fd };
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

  /** See {@link ServerOptions.maxAccept}. */
  get maxAccept(): number {
    return this.#maxAccept;
  }

  set maxAccept(count: number) {
    this.#maxAccept = checkMost(`${this.constructor.name}.maxAccept`, count);
    this.#takesMore = false;
  }

  /** Sets where handlers run from now on: see {@link ServerOptions.spawn}. gevent: `set_spawn`. */
  setSpawn(mode: SpawnMode): void {
    const call = `${this.constructor.name}: spawn`;
    const isWaiting = this.#room._queue !== null;
    this.#room.cancel();
    this.pool = typeof mode === 'number' ? new Pool(mode) : mode instanceof Group ? mode : null;
    const { pool } = this;
    if (pool !== null) this.#spawn = (fn, ...args) => pool.spawn(fn, ...args);
    else if (mode === 'default') this.#spawn = spawn;
    else if (mode === 'raw') this.#spawn = spawnRaw;
    else if (mode === null || typeof mode === 'function') this.#spawn = mode as SpawnFunction | null;
    else
      throw new TypeError(
        `${call} must be 'default', 'raw', a number, a Pool, a function or null, got ${describe(mode)}`,
      );
    if (isWaiting) runCallback(() => this.#onRoom());
  }

  /** Whether handlers run in the hub. @internal */
  get _handlesInHub(): boolean {
    return this.#spawn === null;
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

  /** Whether it takes what comes: started, and neither told to stop that, nor in a pause, nor waiting for room in its pool. */
  get accepting(): boolean {
    return this.#watch?.pending === true;
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

  // ---- beginning and ending

  /**
   * Listens, and takes what comes from now on. A server that was made from an address can be started again after it was closed.
   * Does nothing if it is started. If it fails, the server is closed. Switches only if it has to look up a name.
   *
   * @throws {SystemError} `EADDRINUSE`, `EACCES`, …; `EBADF` if it was made from a socket or descriptor and has been closed
   */
  start(): void {
    if (this.#started) return;
    this.#context = captureContext();
    this.initSocket();
    this.#started = true;
    this.#end = new ServerEnd();
    this.delay = this.minDelay;
    this.#reported = null;
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
    this.startAccepting();
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
    return this.pool !== null && !this.pool.ready;
  }

  /** @internal */
  _awaitStop(limits: CheckedLimits): void {
    const { pool } = this;
    if (pool === null || pool.ready) return;
    const { timeout, limit, signal } = limits;
    if (isImmediate(limits)) pool.kill(undefined, { block: false });
    else if (!pool.join({ timeout: limit ?? (timeout < 0 ? null : timeout), ...(signal && { signal }) }))
      pool.kill(undefined, KILL_TIMEOUT);
  }

  /** Closes what was taken and has no handler yet. @internal */
  _dropWaiting(): void {
    this.#room.cancel();
    for (const item of this.#backlog.splice(0)) this.doClose(item);
  }

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

  // ---- taking what comes

  /** Takes what comes again, after {@link stopAccepting}. Does nothing if it does so. Never switches. */
  startAccepting(): void {
    if (this.socket === null) throw systemError(errnoOf('EBADF'), 'accept');
    if (this.#isAccepting && !this.#pause.pending) return;
    this.#pause.cancel();
    this.#isAccepting = true;
    this.#listen();
  }

  /** Takes nothing until {@link startAccepting}: connections queue up in the system. Never switches. */
  stopAccepting(): void {
    this.#isAccepting = false;
    this.#pause.cancel();
    if (this.#backlog.length === 0) this.#room.cancel();
    this.#watch?.stop();
    this.#watch = null;
  }

  #listen(): void {
    const socket = this.socket as Socket;
    this.#watch ??= new Watch(socket._key, Sides.Read, () => this.#onReadable());
    if (this.#watch.pending) return;
    const result = this.#watch.start();
    if (result < 0) throw socket._error(result, 'accept()');
  }

  /** In the hub: something may have come. */
  #onReadable(): void {
    let most = this.#maxAccept;
    try {
      for (let taken = 0; taken < most;) {
        if (this.full) {
          this.#awaitRoom();
          return;
        }
        if (!this._take() || !this.#isAccepting) break;
        if (++taken === most && this.#takesMore)
          most = Math.max(most, Math.min(getHub().stats().ready, MOST_TAKEN));
      }
      if (this.#isAccepting && !this.#pause.pending) this.#listen();
    } catch (error) {
      this.#onFailure(error);
    }
  }

  /** Takes and handles one; `false` if there is none. @internal */
  _take(): boolean {
    const item = this.doRead();
    if (item === null) return false;
    this._noteSuccess();
    this._offer(item);
    return !this.#pause.pending;
  }

  /** @internal */
  _noteSuccess(): void {
    this.delay = this.minDelay;
    this.#reported = null;
  }

  /** Handles what was taken, or keeps it until there is room. @internal */
  _offer(item: Item): void {
    if (this.full) {
      this.#backlog.push(item);
      this.#awaitRoom();
      return;
    }
    try {
      this.doHandle(item);
    } catch (error) {
      getHub().report(this._describeItem(item), error);
      this.#takeBreak();
    }
  }

  /** Nothing could be taken. */
  #onFailure(error: unknown): void {
    this._reportOnce(error);
    if (this.isFatalError(error)) this.close();
    else this.#takeBreak();
  }

  /** Reports an error, unless the one before was of the same kind. @internal */
  _reportOnce(error: unknown): void {
    const { code = error } = (error ?? {}) as { code?: unknown };
    if (code !== this.#reported) getHub().report(this, error);
    this.#reported = code;
  }

  #takeBreak(): void {
    if (!this.#isAccepting || this.#pause.pending) return;
    this.#watch?.stop();
    this.#pause.start(this.delay, true);
    this.delay = Math.min(this.maxDelay, Math.max(1, this.delay * 2));
  }

  /** The pause is over. */
  #resume(): void {
    if (!this.#isAccepting) return;
    try {
      this.#listen();
    } catch (error) {
      this.#onFailure(error);
    }
  }

  #awaitRoom(): void {
    if (this.pool instanceof Pool && this.#room._queue === null) this.pool._awaitRoom(this.#room);
  }

  /** There is room in the pool, or was. */
  #onRoom(): void {
    while (this.#backlog.length > 0 && !this.full) this._offer(this.#backlog.shift() as Item);
    if (this.full) {
      if (this.#backlog.length > 0 || this.#isAccepting) this.#awaitRoom();
    } else if (!this.#pause.pending) {
      this.#resume();
    }
  }

  /** A handler has ended. @internal */
  _finish(item: Item): void {
    try {
      this.doClose(item);
    } finally {
      if (--this.#active === 0) {
        this.#awaitingEnd.notifyAll();
        if (!this.#started) strikeOff(this);
      }
    }
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

/** The error for a code, about the address of a server. */
export function errorOf(code: number, server: { address: SocketAddress }, syscall: string): SystemError {
  const { address, port, family } = server.address;
  return systemError(code, syscall, family === 'unix' ? { address } : { address, port });
}

/** `null` for the code that says that there is nothing to take; throws all others. */
export function noneOrThrow(code: number, server: { address: SocketAddress }, syscall: string): null {
  if (code === EAGAIN || code === Outcome.TimedOut) return null;
  throw errorOf(code, server, syscall);
}
