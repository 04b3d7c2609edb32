/** `Event`: something has happened, once or time and again. `AsyncResult`: a value or an error that is yet to come. */
import { inspect } from 'node:util';

import { checkFunction, describe } from './checks.js';
import { BlockingSwitchOutError, GreenstackError, named } from './errors.js';
import { followLink, LinkKind, settle, type Source } from './greenlet.js';
import { yieldNow } from './hub.js';
import {
  type CheckedLimits,
  checkLimits,
  expired,
  isImmediate,
  type Limits,
  refuseToWait,
} from './limits.js';
import { Entry, Linkable, Parked, WaitQueue } from './wait-queue.js';

export type { Source } from './greenlet.js';

const EVENT_WAIT = 'Event.wait()';

/**
 * A flag that greenlets wait for. Those who wait when it is set go on, in the order in which they came, even if it is
 * cleared before they do.
 *
 * gevent: `gevent.event.Event`.
 *
 * @example
 * const configured = new Event();
 * spawn(() => {
 *   configured.wait();
 *   serve();
 * });
 * configured.set();
 */
export class Event extends Linkable {
  #isSet = false;
  /** How many greenlets are in `wait`: parked, or woken and not going on yet. */
  #waiting = 0;
  /** What {@link promise} returns, until the event is cleared. */
  #promise: Promise<void> | null = null;

  /** Sets the flag and wakes all who wait. Nothing happens if it is set. Never switches. gevent: `gevent.event.Event.set`. */
  set(): void {
    if (this.#isSet) return;
    this.#isSet = true;
    if (this._waiting.occupied) this._waiting.notifyAll();
  }

  /**
   * Takes the flag back: who waits from now on waits for the next `set`. Who has been woken goes on nevertheless. Never
   * switches. gevent: `gevent.event.Event.clear`.
   */
  clear(): void {
    if (!this.#isSet) return;
    this.#isSet = false;
    this.#promise = null;
  }

  /** Whether the flag is set. Never switches. gevent: `gevent.event.Event.is_set`. */
  isSet(): boolean {
    return this.#isSet;
  }

  /** As {@link isSet}: a wait would end at once. */
  get ready(): boolean {
    return this.#isSet;
  }

  /**
   * Waits until the flag is set. If it is set already, only those go on first who were woken by that and have not had their
   * turn. Switches only if it must wait. gevent: `gevent.event.Event.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns `false` only if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if the flag is not set
   */
  wait(limits?: Limits): boolean {
    const checked = checkLimits(EVENT_WAIT, limits);
    if (this.#isSet) {
      if (this.#waiting > 0 && !isImmediate(checked)) letWokenGoFirst(checked);
      return true;
    }
    if (isImmediate(checked)) return refuseToWait(checked);
    const parked = new Parked(EVENT_WAIT);
    this.#waiting++;
    try {
      return parked.parkIn(this._waiting, checked);
    } finally {
      this.#waiting--;
    }
  }

  /**
   * For async code: a promise that is fulfilled when the flag is set; if it is set, one that soon is. Until then the promise is
   * the same at each call. Never switches.
   */
  promise(): Promise<void> {
    return (this.#promise ??= new Promise((resolve) => this.rawlink(() => resolve())));
  }

  /** `<Event set>` or `<Event clear, 2 waiting>`. */
  override toString(): string {
    return this._show(this.#isSet ? 'set' : 'clear');
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** Whoever was woken before is ready already. Where no greenlet can be left, or the time is up, the event is set all the same. */
function letWokenGoFirst({ limit }: CheckedLimits): void {
  try {
    yieldNow(EVENT_WAIT);
  } catch (error) {
    if (error !== limit && !(error instanceof BlockingSwitchOutError)) throw error;
  }
}

/** Thrown by `get` of an {@link AsyncResult} that was cancelled. */
export class Cancelled extends GreenstackError {
  constructor(message = 'the result was cancelled', options?: ErrorOptions) {
    super('ERR_GREENSTACK_CANCELLED', message, options);
  }

  static {
    named(this, 'Cancelled');
  }
}

const enum State {
  Pending,
  Value,
  Error,
  Cancelled,
}

/** A place of `link` and its relatives: calls back in a greenlet of its own. */
class SpawningLink extends Entry {
  constructor(
    readonly callback: (result: never) => unknown,
    private readonly kind: LinkKind,
    private readonly result: Source,
  ) {
    super();
  }

  notify(): void {
    followLink(this.callback as (result: Source) => unknown, this.kind, this.result);
  }
}

interface Target {
  _take(source: Source<never>): void;
}

/** Makes functions: called with what has ended, they take its outcome. Each inherits from the prototype of its class. */
class LinkTarget {
  constructor() {
    const result = (source: Source<never>): void => (result as unknown as Target)._take(source);
    return Object.setPrototypeOf(result, new.target.prototype) as LinkTarget;
  }
}
// By its instances it is a Linkable; only the constructors differ.
Object.setPrototypeOf(LinkTarget.prototype, Linkable.prototype);

/** {@link LinkTarget}, with the type that its instances have. */
const CallableLinkable = LinkTarget as unknown as abstract new <T>() => Linkable &
  ((source: Source<T>) => void);

/**
 * A value, or an error, that is yet to come. Any number of greenlets may wait for it, and async code may `await` it.
 *
 * What is set later replaces what was set before, except that a cancelled result stays cancelled. An error that nobody asks
 * for is not reported.
 *
 * It is a function, too, for use as a link: `greenlet.link(result)` sets it by the greenlet's end. A greenlet that was killed
 * has its `GreenletExit` as its value, so the result has too.
 *
 * gevent: `gevent.event.AsyncResult`.
 *
 * @example
 * const answer = new AsyncResult<string>();
 * connection.once('message', (message) => answer.set(message));
 * console.log(answer.get(1000));
 */
export class AsyncResult<T = unknown> extends CallableLinkable<T> {
  /** @internal */
  override readonly _waiting = new WaitQueue();
  #state = State.Pending;
  #outcome: unknown = undefined;
  /** Those made by `link` and its relatives, which are in the queue of those who wait. */
  #spawning: SpawningLink[] | null = null;
  /** What `then` builds on while there is no outcome. */
  #promise: Promise<T> | null = null;

  // ---- setting it

  /** Stores a value and wakes all who wait. Never switches. gevent: `gevent.event.AsyncResult.set`. */
  set(value?: T): void {
    this.#settle(State.Value, value);
  }

  /** As {@link set}. gevent: `gevent.event.AsyncResult.set_result`. */
  setResult(value?: T): void {
    this.#settle(State.Value, value);
  }

  /** Stores an error, which `get` throws, and wakes all who wait. Never switches. gevent: `gevent.event.AsyncResult.set_exception`. */
  setError(error: unknown): void {
    this.#settle(State.Error, error);
  }

  /**
   * Gives the result up, if it has no value and no error: `get` throws a {@link Cancelled}, and all who wait are woken. What
   * comes later is ignored. Never switches.
   *
   * @param reason - becomes the `cause` of the error; a text also its message
   * @returns whether the result is cancelled, now or before
   */
  cancel(reason?: unknown): boolean {
    if (this.#state === State.Pending) {
      const message = typeof reason === 'string' ? reason : undefined;
      this.#settle(
        State.Cancelled,
        new Cancelled(message, reason === undefined ? undefined : { cause: reason }),
      );
    }
    return this.#state === State.Cancelled;
  }

  #settle(state: State, outcome: unknown): void {
    if (this.#state === State.Cancelled) return;
    this.#state = state;
    this.#outcome = outcome;
    this.#promise = null;
    this.#spawning = null;
    if (this._waiting.occupied) this._waiting.notifyAll();
  }

  /** Takes the outcome of what has ended. @internal */
  _take(source: Source<T>): void {
    const isSource =
      (typeof source === 'object' || typeof source === 'function') &&
      source !== null &&
      typeof source.successful === 'boolean';
    if (!isSource) {
      throw new TypeError(
        `an AsyncResult that is called expects a greenlet or a result, got ${describe(source)}`,
      );
    }
    if (source.successful) this.#settle(State.Value, source.value);
    else this.#settle(State.Error, source.error);
  }

  // ---- looking at it

  /** Whether it has a value or an error. */
  get ready(): boolean {
    return this.#state !== State.Pending;
  }

  /** As {@link ready}. gevent: `gevent.event.AsyncResult.done`. */
  get done(): boolean {
    return this.#state !== State.Pending;
  }

  /** Whether it has a value. */
  get successful(): boolean {
    return this.#state === State.Value;
  }

  /** Whether it was cancelled. */
  get cancelled(): boolean {
    return this.#state === State.Cancelled;
  }

  /** Its value; `undefined` if there is none. */
  get value(): T | undefined {
    return this.#state === State.Value ? (this.#outcome as T) : undefined;
  }

  /** Its error, that of being cancelled included; `undefined` if there is none. gevent: `gevent.event.AsyncResult.exception`. */
  get error(): unknown {
    return this.#state >= State.Error ? this.#outcome : undefined;
  }

  // ---- waiting for it

  /**
   * Returns the value, waiting for it. Switches only if it must wait. gevent: `gevent.event.AsyncResult.get`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @throws the error that was set, the same object each time
   * @throws {Cancelled} if it was cancelled
   * @throws {Timeout} if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if there is no outcome yet
   */
  get(limits?: Limits): T {
    const call = 'AsyncResult.get()';
    const checked = checkLimits(call, limits);
    if (!this.#waitForOutcome(call, checked)) throw expired(checked);
    if (this.#state !== State.Value) throw this.#outcome;
    return this.#outcome as T;
  }

  /**
   * Returns the value without waiting. Never switches. gevent: `gevent.event.AsyncResult.get_nowait`.
   *
   * @throws the error that was set
   * @throws {Timeout} if there is no outcome yet
   */
  getNowait(): T {
    return this.get(0);
  }

  /** As {@link get}. gevent: `gevent.event.AsyncResult.result`. */
  result(limits?: Limits): T {
    return this.get(limits);
  }

  /**
   * Waits until there is a value or an error. Switches only if it must wait. gevent: `gevent.event.AsyncResult.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns the value; `undefined` if it is an error, or if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if there is no outcome yet
   */
  wait(limits?: Limits): T | undefined {
    const call = 'AsyncResult.wait()';
    this.#waitForOutcome(call, checkLimits(call, limits));
    return this.value;
  }

  #waitForOutcome(call: string, limits: CheckedLimits): boolean {
    if (this.#state !== State.Pending) return true;
    if (isImmediate(limits)) return refuseToWait(limits);
    return new Parked(call).parkIn(this._waiting, limits);
  }

  /** Lets async code `await` it: resolves with its value, rejects with its error. Never switches. */
  then<R1 = T, R2 = never>(
    onFulfilled?: ((value: T) => R1 | PromiseLike<R1>) | null,
    onRejected?: ((error: unknown) => R2 | PromiseLike<R2>) | null,
  ): Promise<R1 | R2> {
    return this.#asPromise().then(onFulfilled, onRejected);
  }

  /** While there is no outcome one promise serves all, so that asking again and again leaves one link. */
  #asPromise(): Promise<T> {
    if (this.ready) return new Promise((resolve, reject) => settle(this as Source<T>, resolve, reject));
    return (this.#promise ??= new Promise((resolve, reject) => {
      this.rawlink(() => settle(this as Source<T>, resolve, reject));
    }));
  }

  // ---- links

  /**
   * Calls `callback` with this result when it has an outcome, in a greenlet of its own, so it may block; soon if it has one.
   * Never switches.
   */
  link(callback: (result: this) => unknown): void {
    this.#addLink('link()', callback, LinkKind.Any);
  }

  /** As {@link link}, only if the outcome is a value. */
  linkValue(callback: (result: this) => unknown): void {
    this.#addLink('linkValue()', callback, LinkKind.Value);
  }

  /** As {@link link}, only if the outcome is an error. */
  linkException(callback: (result: this) => unknown): void {
    this.#addLink('linkException()', callback, LinkKind.Exception);
  }

  #addLink(call: string, callback: (result: this) => unknown, kind: LinkKind): void {
    checkFunction(call, callback);
    const link = new SpawningLink(callback, kind, this);
    if (this.ready) {
      link.notify();
    } else {
      this._waiting.push(link);
      (this.#spawning ??= []).push(link);
    }
  }

  /** Takes all links to `callback` back, of whichever kind. An unknown one is no error. Never switches. */
  override unlink(callback: (result: this) => unknown): void {
    super.unlink(callback);
    if (this.#spawning === null) return;
    for (const link of this.#spawning) if (link.callback === callback) link.cancel();
    this.#spawning = this.#spawning.filter((link) => link.callback !== callback);
  }

  /** `<AsyncResult value 1>`, `<AsyncResult error Error: …>`, `<AsyncResult unset, 2 waiting>`. */
  override toString(): string {
    return this._show(this.#describeState(0));
  }

  /** A value may be a result again, even this one: deeper ones are not shown. */
  [inspect.custom](depth: number): string {
    return depth < 0 ? `[${this.constructor.name}]` : this._show(this.#describeState(Math.min(0, depth - 1)));
  }

  #describeState(depth: number): string {
    switch (this.#state) {
      case State.Pending:
        return 'unset';
      case State.Value:
        return `value ${inspect(this.#outcome, { depth, breakLength: Infinity })}`;
      case State.Error:
        return `error ${String(this.#outcome)}`;
      case State.Cancelled:
        return 'cancelled';
    }
  }
}
