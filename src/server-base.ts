/** What servers have in common that take what has come one by one: when they do, and who handles it. */
import { constants } from 'node:os';
import { inspect } from 'node:util';

import { Outcome, Sides } from './binding.js';
import { checkMost, checkTime } from './checks.js';
import { emptyContext, enterContext } from './context.js';
import { getHub, type LinkEntry, runCallback, Runnable } from './hub.js';
import { Pool } from './pool.js';
import { type LifeOptions, type Listener, ServerLife, type SpawnMode } from './server-life.js';
import type { Socket } from './socket/socket.js';
import { show, type SocketAddress } from './socket-address.js';
import { type SystemError, systemError } from './system-error.js';
import { HubTimer } from './timers.js';
import { Entry } from './wait-queue.js';
import { isThenable, waitFor } from './wait-for.js';
import { Watch } from './watch.js';

/** How many are taken one after another, however many others are ready. */
const MOST_TAKEN = 1000;

/** Options of servers that take what has come one by one. */
export interface ServerOptions extends LifeOptions {
  /**
   * How many are taken one after another before others have their turn (default: 100; or as many as these are, up to 1000).
   * gevent: `max_accept`.
   */
  maxAccept?: number | undefined;
  /** How long to pause after a failure, in ms, the first time (default: 10). It doubles each time. gevent: `min_delay`. */
  minDelay?: number | undefined;
  /** How long to pause after failures at the most, in ms (default: 1000). gevent: `max_delay`. */
  maxDelay?: number | undefined;
}

const EAGAIN = -constants.errno.EAGAIN;

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

/**
 * What servers have in common, for those that take something else than streams and datagrams: subclasses say how to listen
 * (`getListener`), how to take one (`doRead`) and how to handle it.
 *
 * gevent: `gevent.baseserver.BaseServer`.
 */
export abstract class BaseServer<Item> extends ServerLife {
  /** See {@link ServerOptions.minDelay}. */
  minDelay: number;
  /** See {@link ServerOptions.maxDelay}. */
  maxDelay: number;
  /** How long the next pause is after a failure, in ms. */
  delay: number;

  #maxAccept: number;
  /** Whether more are taken than that while more others are ready: a fixed number would let new ones wait for many rounds of them. */
  #takesMore: boolean;
  #isAccepting = false;
  #watch: Watch | null = null;
  /** What was taken already and waits for room. */
  readonly #backlog: Item[] = [];
  readonly #pause = new HubTimer({ expire: () => this.#resume() });
  readonly #room = new AwaitingRoom(() => this.#onRoom());
  /** The code of the failure that was reported last; failures that repeat are not. */
  #reported: unknown = null;

  /**
   * @param listener - where to listen
   * @param options - where handlers run, and how long pauses and stopping take
   * @throws {TypeError} if an argument is not as expected
   */
  constructor(listener: Listener, options?: ServerOptions | null) {
    super(listener, options);
    const call = `new ${new.target.name}()`;
    const { minDelay, maxDelay, maxAccept = 100 } = options ?? {};
    this.minDelay = checkTime(call, 'minDelay', minDelay, 10);
    this.maxDelay = checkTime(call, 'maxDelay', maxDelay, 1000);
    this.delay = this.minDelay;
    this.#maxAccept = checkMost(`${call}: maxAccept`, maxAccept);
    this.#takesMore = options?.maxAccept === undefined;
  }

  // ---- what subclasses say

  /** Takes one that has come; `null` if there is none. Must not block. gevent: `do_read`. */
  protected abstract doRead(): Item | null;
  /** Calls the handler. If it returns a promise, that is waited for. */
  protected abstract callHandler(item: Item): unknown;

  /** What was taken, as reports of errors show it, which have room for some 50 characters. */
  protected describeItem(_item: Item): string {
    return `<something taken at ${show(this.address)}>`;
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
    this._noteBegin();
    if (this._context !== emptyContext) enterContext(this._context);
    const start = this._spawn;
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

  // ---- settings

  /** See {@link ServerOptions.maxAccept}. */
  get maxAccept(): number {
    return this.#maxAccept;
  }

  set maxAccept(count: number) {
    this.#maxAccept = checkMost(`${this.constructor.name}.maxAccept`, count);
    this.#takesMore = false;
  }

  override setSpawn(mode: SpawnMode): void {
    const isWaiting = this.#room._queue !== null;
    this.#room.cancel();
    super.setSpawn(mode);
    if (isWaiting) runCallback(() => this.#onRoom());
  }

  /** Whether it takes what comes: started, and neither told to stop that, nor in a pause, nor waiting for room in its pool. */
  get accepting(): boolean {
    return this.#watch?.pending === true;
  }

  /** @internal */
  override _begin(): void {
    this.delay = this.minDelay;
    this.#reported = null;
    super._begin();
  }

  /** Closes what was taken and has no handler yet. @internal */
  override _dropWaiting(): void {
    this.#room.cancel();
    for (const item of this.#backlog.splice(0)) this.doClose(item);
  }

  // ---- taking what comes

  /** @internal */
  _setAccepting(accepts: boolean): void {
    if (!accepts) {
      this.#isAccepting = false;
      this.#pause.cancel();
      if (this.#backlog.length === 0) this.#room.cancel();
      this.#watch?.stop();
      this.#watch = null;
      return;
    }
    if (this.#isAccepting && !this.#pause.pending) return;
    this.#pause.cancel();
    this.#isAccepting = true;
    this.#listen();
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
      this._noteEnd();
    }
  }
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
