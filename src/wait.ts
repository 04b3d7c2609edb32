/** Waiting for several things at once: `wait`, `iwait`, `joinAll`, `killAll`. */
import { types } from 'node:util';

import { checkCount, checkFlag, checkIterable, checkOptions } from './checks.js';
import { checkGreenlet, checkKillError, Greenlet, type KillError, RawGreenlet } from './greenlet.js';
import {
  awaitOutside,
  currentRunnable,
  getHub,
  requireGreenlet,
  type LinkEntry,
  type Runnable,
  runCallback,
  type Wait,
  wake,
} from './hub.js';
import { ConcurrentObjectUseError, InvalidSwitchError } from './errors.js';
import {
  type CheckedLimits,
  checkLimits,
  expired,
  isImmediate,
  type LimitOptions,
  parkWithin,
  timedOut,
} from './limits.js';
import { Timeout } from './timeout.js';

/**
 * Whatever can be waited for with {@link wait}: greenlets, events, results, and classes of your own that have these.
 * `rawlink` calls back in the hub once the object is ready, soon if it is already.
 */
export interface Waitable {
  readonly ready: boolean;
  rawlink(callback: () => unknown): void;
  unlink(callback: () => unknown): void;
}

/** What {@link wait} takes beside {@link Waitable}s. */
export type WaitableLike = Waitable | PromiseLike<unknown> | AbortSignal | RawGreenlet;

/** Options of {@link wait} and {@link iwait}. */
export interface WaitOptions {
  /** At the most this long in all, in ms. */
  timeout?: number | Timeout | null;
  /** As soon as so many are ready. */
  count?: number;
  /** Aborting it throws its reason. */
  signal?: AbortSignal;
}

interface Source {
  readonly object: WaitableLike;
  /** Whether code outside of greenlets makes it ready. */
  readonly isOutside: boolean;
  /** Begins to tell `notify`; returns how to stop. */
  subscribe(notify: () => void): () => void;
}

function isWaitable(object: object): object is Waitable {
  return (
    typeof (object as Waitable).rawlink === 'function' && typeof (object as Waitable).unlink === 'function'
  );
}

function sourceOf(call: string, object: WaitableLike): Source {
  if (object instanceof RawGreenlet || object instanceof Greenlet) {
    return {
      object,
      isOutside: false,
      subscribe(notify) {
        const link = { callback: null, notify };
        object._addLink(link);
        return () => object._removeLink(link);
      },
    };
  }
  if (object instanceof AbortSignal) {
    return {
      object,
      isOutside: true,
      subscribe(notify) {
        if (object.aborted) runCallback(notify);
        object.addEventListener('abort', notify, { once: true });
        return () => object.removeEventListener('abort', notify);
      },
    };
  }
  if ((typeof object === 'object' || typeof object === 'function') && object !== null) {
    if (isWaitable(object)) {
      return {
        object,
        isOutside: false,
        subscribe(notify) {
          object.rawlink(notify);
          return () => object.unlink(notify);
        },
      };
    }
    if (types.isPromise(object) || typeof (object as PromiseLike<unknown>).then === 'function') {
      return {
        object,
        isOutside: true,
        subscribe(notify) {
          let wanted = true;
          const settle = (): void => {
            if (wanted) notify();
          };
          (object as PromiseLike<unknown>).then(settle, settle);
          return () => {
            wanted = false;
          };
        },
      };
    }
  }
  throw new TypeError(
    `${call} expects objects with rawlink() and unlink(), promises or AbortSignals, got ${
      object === null ? 'null' : typeof object
    }`,
  );
}

/** How many of `most` objects are waited for. */
function checkWanted(call: string, count: number | null | undefined, most: number): number {
  return Math.min(checkCount(`${call}: count`, count ?? most, 0), most);
}

/** How much of a timeout is left as time goes by. */
class Remaining {
  readonly #deadline: number;

  constructor(private readonly limits: CheckedLimits) {
    this.#deadline = getHub().now() + limits.timeout;
  }

  get limitsNow(): CheckedLimits {
    if (this.limits.timeout <= 0) return this.limits;
    return { ...this.limits, timeout: Math.max(0, this.#deadline - getHub().now()) };
  }
}

/** The objects that have become ready, in that order, each once. */
class Arrivals implements Wait {
  readonly #arrived: WaitableLike[] = [];
  #taken = 0;
  readonly #missing = new Set<WaitableLike>();
  readonly #subscriptions: Array<() => void> = [];
  readonly #isOutside: boolean;
  #waiting: Runnable | null = null;

  constructor(
    private readonly call: string,
    sources: Source[],
  ) {
    this.#isOutside = sources.some(({ isOutside }) => isOutside);
    try {
      for (const source of sources) this.#subscribe(source);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #subscribe({ object, subscribe }: Source): void {
    this.#missing.add(object);
    this.#subscriptions.push(
      subscribe(() => {
        this.#note(object);
        if (this.#waiting !== null) wake(this.#waiting, this);
      }),
    );
  }

  #note(object: WaitableLike): void {
    if (this.#missing.delete(object)) this.#arrived.push(object);
  }

  /** The next one, or `undefined` when the limits are used up. */
  next(limits: CheckedLimits): WaitableLike | undefined {
    while (this.#taken === this.#arrived.length) {
      if (isImmediate(limits)) {
        this.#takeReady();
        return this.#arrived[this.#taken++];
      }
      if (this.#waiting !== null) {
        throw new ConcurrentObjectUseError(
          `${this.call}: another greenlet waits for its next object already`,
        );
      }
      this.#waiting = requireGreenlet(this.call);
      let woken: boolean;
      if (this.#isOutside) awaitOutside(1);
      try {
        woken = parkWithin(this.call, this, limits);
      } finally {
        this.#waiting = null;
        if (this.#isOutside) awaitOutside(-1);
      }
      // What became ready together with the end of the time has come in time.
      if (!woken && this.#taken === this.#arrived.length) return undefined;
    }
    return this.#arrived[this.#taken++];
  }

  /** Without waiting, only what says that it is ready can be told. */
  #takeReady(): void {
    for (const object of [...this.#missing]) {
      const { ready, aborted } = object as { ready?: unknown; aborted?: unknown };
      if (ready === true || aborted === true) this.#note(object);
    }
  }

  cancel(): void {
    this.#waiting = null;
  }

  describe(): string {
    return this.call;
  }

  close(): void {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#subscriptions.length = 0;
  }
}

/** An iterator that can be disposed of, for `using`. */
export interface DisposableIterator<T> extends IterableIterator<T, undefined> {
  [Symbol.dispose](): void;
}

class Iwait<T extends WaitableLike> implements DisposableIterator<T> {
  readonly #arrivals: Arrivals;
  readonly #remaining: Remaining;
  #left: number;

  constructor(call: string, objects: Iterable<T>, options: WaitOptions) {
    const limits = checkLimits(call, { timeout: options.timeout, signal: options.signal });
    const unique = [...new Set(objects)];
    const sources = unique.map((object) => sourceOf(call, object));
    this.#left = checkWanted(call, options.count, sources.length);
    this.#arrivals = new Arrivals(call, this.#left === 0 ? [] : sources);
    this.#remaining = new Remaining(limits);
  }

  next(): IteratorResult<T, undefined> {
    if (this.#left === 0) return this.return();
    let object: WaitableLike | undefined;
    try {
      object = this.#arrivals.next(this.#remaining.limitsNow);
    } catch (error) {
      if (!(error instanceof ConcurrentObjectUseError)) this.return();
      throw error;
    }
    if (object === undefined) return this.return();
    if (--this.#left === 0) this.#arrivals.close();
    return { done: false, value: object as T };
  }

  return(): IteratorResult<T, undefined> {
    this.#left = 0;
    this.#arrivals.close();
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }
}

/**
 * Yields each object when it is ready, in that order. Iteration ends when all (or `count`) have come, or the timeout has
 * passed. Leaving the loop early, or disposing of the iterator, removes every link. Switches only if it must wait.
 * gevent: `gevent.iwait`.
 */
export function iwait<T extends WaitableLike>(
  objects: Iterable<T>,
  options: WaitOptions = {},
): DisposableIterator<T> {
  checkIterable('iwait()', objects);
  return new Iwait('iwait()', objects, checkOptions('iwait()', options));
}

/**
 * Waits until the objects are ready, and returns those that are, in the order in which they became so. Without objects:
 * until nothing is left that could wake anybody, `false` if the timeout passed first. Switches only if it must wait.
 * gevent: `gevent.wait`.
 */
export function wait(objects?: null, options?: LimitOptions): boolean;
export function wait<T extends WaitableLike>(objects: Iterable<T>, options?: WaitOptions): T[];
export function wait<T extends WaitableLike>(
  objects?: Iterable<T> | null,
  options?: WaitOptions | LimitOptions,
): T[] | boolean {
  if (objects === undefined || objects === null) {
    return getHub().join(options as LimitOptions | undefined);
  }
  checkIterable('wait()', objects);
  return [...new Iwait('wait()', objects, checkOptions('wait()', options) as WaitOptions)];
}

/** Options of {@link joinAll}. */
export interface JoinAllOptions extends WaitOptions {
  /** Whether the first error, in time, is thrown at once. The other greenlets go on. */
  raiseError?: boolean;
}

/**
 * Waits until all greenlets (or `count` of them) have ended, and returns those, in the order of their end; after the timeout,
 * those that have ended by then. Switches only if it must wait. gevent: `gevent.joinall`.
 */
export function joinAll<G extends Greenlet<never> | Greenlet<unknown> | RawGreenlet>(
  greenlets: Iterable<G>,
  options?: JoinAllOptions,
): G[] {
  checkIterable('joinAll()', greenlets);
  const { timeout, signal, count: wanted, raiseError = false } = checkOptions('joinAll()', options);
  checkFlag('joinAll()', 'raiseError', raiseError);
  const list = [...greenlets];
  for (const greenlet of list) checkGreenlet('joinAll()', greenlet);
  if (currentRunnable() !== null && list.includes(currentRunnable() as G)) {
    throw new InvalidSwitchError('joinAll(): a greenlet cannot wait for its own end');
  }
  const limits = checkLimits('joinAll()', { timeout, signal });
  const unique = new Set<Runnable>(list);
  const count = checkWanted('joinAll()', wanted, unique.size);
  const join = new JoinAll(count, raiseError);
  join.waitFor(unique, limits);
  return join.done as unknown as G[];
}

/** One greenlet waits until several others have ended. */
class JoinAll implements LinkEntry, Wait {
  readonly callback = null;
  readonly done: Runnable[] = [];
  #greenlets = new Set<Runnable>();
  #waiting: Runnable | null = null;
  #failure: Greenlet<unknown> | null = null;

  constructor(
    private readonly count: number,
    private readonly raiseError: boolean,
  ) {}

  /** Parks until enough have ended or the limits are used up; throws the first error if that is asked for. */
  waitFor(greenlets: Set<Runnable>, limits: CheckedLimits): void {
    if (this.count === 0) return;
    this.#greenlets = greenlets;
    for (const greenlet of greenlets) greenlet._addLink(this);
    try {
      if (!this.#isOver && !isImmediate(limits)) {
        this.#waiting = requireGreenlet('joinAll()');
        parkWithin('joinAll()', this, limits);
      }
    } finally {
      this.#waiting = null;
      if (this.done.length < greenlets.size) this.cancel();
    }
    if (this.#failure !== null) throw this.#failure.error;
  }

  get #isOver(): boolean {
    return this.done.length === this.count || this.#failure !== null;
  }

  notify(greenlet: Runnable): void {
    if (this.#isOver) return;
    this.done.push(greenlet);
    if (this.raiseError && greenlet instanceof Greenlet && !greenlet.successful) this.#failure = greenlet;
    if (this.#isOver && this.#waiting !== null) wake(this.#waiting, this);
  }

  cancel(): void {
    for (const greenlet of this.#greenlets) greenlet._removeLink(this);
  }

  describe(): string {
    return 'joinAll()';
  }
}

/** Options of {@link killAll}. */
export interface KillAllOptions {
  /** What to throw in each (default: a new `GreenletExit`). */
  error?: KillError;
  /** `false`: does not wait until they have ended. */
  block?: boolean;
  /** How long to wait, in ms. */
  timeout?: number | Timeout | null;
}

/**
 * Throws an error in all of them and waits until they have ended. Those that never began never will. Switches only if it
 * must wait. gevent: `gevent.killall`.
 *
 * @throws {Timeout} if some have not ended in time; its message names them
 */
export function killAll(
  greenlets: Iterable<Greenlet<never> | Greenlet<unknown> | RawGreenlet>,
  options?: KillAllOptions,
): void {
  checkIterable('killAll()', greenlets);
  const { error, block = true, timeout } = checkOptions('killAll()', options);
  const list = new Set([...greenlets].map((greenlet) => checkGreenlet('killAll()', greenlet)));
  const limits = checkLimits('killAll()', { timeout, block });
  checkKillError('killAll()', error);
  if (!isImmediate(limits) && [...list].some((greenlet) => greenlet._stackId >= 0))
    requireGreenlet('killAll()');
  const self = currentRunnable() as Greenlet<unknown> | RawGreenlet | null;
  const others = [...list].filter((greenlet) => greenlet !== self && !greenlet.dead);
  for (const greenlet of others) greenlet.kill(error, { block: false });
  if (block) {
    const alive = new Set<Runnable>(others.filter((greenlet) => !greenlet.dead));
    new JoinAll(alive.size, false).waitFor(alive, limits);
    const survivors = [...alive].filter((greenlet) => !greenlet.dead);
    if (survivors.length > 0)
      throw limits.limit === null ? survived(limits.timeout, survivors) : expired(limits);
  }
  if (self !== null && list.has(self)) self.kill(error);
}

function survived(ms: number, alive: Runnable[]): Timeout {
  const shown = alive.slice(0, 10).map(String).join(', ');
  const more = alive.length > 10 ? ` and ${alive.length - 10} more` : '';
  return timedOut(new Timeout(ms, `still alive after being killed: ${shown}${more}`));
}
