/** What queues and channels have in common: who waits to put or to get, iteration, errors. */
import { GreenstackError, named } from './errors.js';
import { runCallback } from './hub.js';
import { type CheckedLimits, FOR_EVER, isImmediate, timeIsUp } from './limits.js';
import { Entry, Linkable, Parked, WaitQueue } from './wait-queue.js';

/** Thrown by `get` and `peek` when nothing has come in time. gevent: `gevent.queue.Empty`. */
export class Empty extends GreenstackError {
  constructor(message = 'there was nothing to get in time') {
    super('ERR_GREENSTACK_QUEUE_EMPTY', message);
  }

  static {
    named(this, 'Empty');
  }
}

/** Thrown by `put` when the item could not be handed over in time. gevent: `gevent.queue.Full`. */
export class Full extends GreenstackError {
  /** @param code - for subclasses */
  constructor(message = 'the item could not be put in time', code = 'ERR_GREENSTACK_QUEUE_FULL') {
    super(code, message);
  }

  static {
    named(this, 'Full');
  }
}

/**
 * Thrown by `put` when the queue has been shut down, and by `get` and `peek` when it is empty besides.
 * gevent: `gevent.queue.ShutDown`.
 */
export class ShutDown extends GreenstackError {
  constructor(message = 'the queue has been shut down') {
    super('ERR_GREENSTACK_QUEUE_SHUT_DOWN', message);
  }

  static {
    named(this, 'ShutDown');
  }
}

/**
 * A token to put: it ends the iteration of whoever takes it. Where several greenlets iterate, put one for each.
 * Python: `StopIteration`.
 */
export const StopIteration: unique symbol = Symbol('StopIteration');
/** The type of the token {@link StopIteration}. */
export type StopIteration = typeof StopIteration;

/** In place of an item: there is none, and there will be none. */
export const END: unique symbol = Symbol('end');
type End = typeof END;

/** Who waits for an item. Whatever it is told, it has been taken out of its queue before. */
export interface Getter<T> extends Entry {
  /** Whether it only looks. */
  readonly peeks: boolean;
  give(item: T | End): void;
  fail(error: unknown): void;
}

/** A greenlet that waits for an item, or with one. */
export class ItemWait<T> extends Parked implements Getter<T> {
  declare item: T | End;
  declare readonly peeks: boolean;
  declare private failure: { readonly error: unknown } | null;

  /** @param item - what is put; {@link END} to get */
  constructor(call: string, item: T | End, peeks: boolean) {
    super(call);
    this.item = item;
    this.peeks = peeks;
    this.failure = null;
  }

  give(item: T | End): void {
    this.item = item;
    this.notify();
  }

  fail(error: unknown): void {
    this.failure = { error };
    this.notify();
  }

  /** What there is when it goes on: the item that it got or was put; throws what it has failed with. */
  get outcome(): T | End {
    if (this.failure !== null) throw this.failure.error;
    return this.item;
  }
}

/** A promise that waits for an item. */
class ItemPromise<T> extends Entry implements Getter<T> {
  readonly peeks = false;
  readonly promise: Promise<T | End>;
  #resolve!: (item: T | End) => void;
  #reject!: (error: unknown) => void;
  #item: T | End = END;

  constructor() {
    super();
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  notify(): void {
    this.#resolve(this.#item);
  }

  give(item: T | End): void {
    this.#item = item;
    this.notify();
  }

  fail(error: unknown): void {
    this.#reject(error);
  }
}

/** What iterating yields: everything but the token that ends it. */
export type Iterated<T> = Exclude<T, StopIteration>;

/** Where items go from those who put to those who get. */
export abstract class Exchange<T> extends Linkable {
  /** Who waits for an item, in their order. @internal */
  readonly _getters = new WaitQueue();
  /** Who waits with an item, in their order. @internal */
  readonly _putters = new WaitQueue();
  /** Whether `put` is refused, and `get` as soon as there is nothing. @internal */
  _isShutDown = false;

  /** How many wait to get, greenlets and callbacks. */
  override get linkCount(): number {
    return this._waiting.size + this._getters.size;
  }

  /** Whether there is an item to take. @internal */
  abstract get _available(): boolean;

  /** Takes the next item; there must be one. @internal */
  abstract _take(): T;

  /** Parks until there is an item. @internal */
  _await(call: string, limits: CheckedLimits, peeks: boolean): T | End {
    if (this._isShutDown) return END;
    if (isImmediate(limits)) throw timeIsUp(limits, Empty);
    const getter = new ItemWait<T>(call, END, peeks);
    if (!getter.parkIn(this._getters, limits)) throw timeIsUp(limits, Empty);
    return getter.outcome;
  }

  /** Parks until the item has been taken over. @internal */
  _offer(call: string, item: T, limits: CheckedLimits): void {
    if (isImmediate(limits)) throw timeIsUp(limits, Full);
    const putter = new ItemWait(call, item, false);
    if (this._waiting.occupied) runCallback(announce, this);
    if (!putter.parkIn(this._putters, limits)) throw timeIsUp(limits, Full);
    present(putter.outcome);
  }

  /**
   * Takes items, waiting for each, until {@link StopIteration} is taken or the queue is shut down and empty. Leaving the
   * loop early leaves the rest where it is. Switches only if it must wait.
   */
  [Symbol.iterator](): IterableIterator<Iterated<T>, undefined> {
    return new ItemIterator(this);
  }

  /**
   * As iterating, for async code, which needs no greenlet: `for await (const item of queue)`. It waits in the same order as
   * greenlets do. Never switches.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Iterated<T>, undefined> {
    return new AsyncItemIterator(this);
  }
}

/** Tells links, once somebody waits with an item: that is when a channel is ready. */
function announce(exchange: Exchange<unknown>): void {
  if (exchange.ready) exchange._waiting.notifyAll();
}

/** The item that came; throws if there is none any more. */
export function present<T>(item: T | End): T {
  if (item === END) throw new ShutDown();
  return item;
}

const ITERATION = 'iteration of a queue';

class ItemIterator<T> implements IterableIterator<Iterated<T>, undefined> {
  #source: Exchange<T> | null;

  constructor(source: Exchange<T>) {
    this.#source = source;
  }

  next(): IteratorResult<Iterated<T>, undefined> {
    if (this.#source === null) return this.return();
    const item = this.#source._available
      ? this.#source._take()
      : this.#source._await(ITERATION, FOR_EVER, false);
    if (item === END || item === StopIteration) return this.return();
    return { done: false, value: item as Iterated<T> };
  }

  return(): IteratorReturnResult<undefined> {
    this.#source = null;
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

class AsyncItemIterator<T> implements AsyncIterableIterator<Iterated<T>, undefined> {
  #source: Exchange<T> | null;
  /** Calls of `next` that wait. */
  readonly #waiting = new Set<ItemPromise<T>>();

  constructor(source: Exchange<T>) {
    this.#source = source;
  }

  async next(): Promise<IteratorResult<Iterated<T>, undefined>> {
    if (this.#source === null) return this.return();
    const item = this.#source._available ? this.#source._take() : await this.#await(this.#source);
    if (item === END || item === StopIteration) return this.return();
    return { done: false, value: item as Iterated<T> };
  }

  async #await(source: Exchange<T>): Promise<T | End> {
    if (source._isShutDown) return END;
    const getter = new ItemPromise<T>();
    this.#waiting.add(getter);
    source._getters.push(getter);
    try {
      return await getter.promise;
    } finally {
      this.#waiting.delete(getter);
    }
  }

  /** Also ends the calls of `next` that wait. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#source = null;
    for (const getter of this.#waiting) {
      getter.cancel();
      getter.give(END);
    }
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
