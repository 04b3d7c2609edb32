/** `SharedQueue`: items from some threads to others. */
import { inspect } from 'node:util';

import { checkCount, checkFlag } from '../checks.js';
import { type CheckedLimits, checkLimits, FOR_EVER, isImmediate, type Limits, timeIsUp } from '../limits.js';
import { Empty, Full, ShutDown, StopIteration } from '../queue.js';
import { type Entry, Linkable, Parked } from '../wait-queue.js';
import { Audience, Contest } from './hubs.js';
import { type Layout, Memory, type SharedHandle, type SharedValueOptions } from './memory.js';
import { Put, Ring } from './ring.js';
import { decode, encode } from './values.js';

/** Words before those of the ring. */
const enum Word {
  MaxSize,
  Ring,
}

const enum Wait {
  Getters,
  Putters,
  Linked,
  Count,
}

const LAYOUT: Layout<'SharedQueue'> = {
  kind: 'SharedQueue',
  words: Word.Ring + Ring.words,
  waits: Wait.Count,
  values: 1,
};

const PUT = 'SharedQueue.put()';
const GET = 'SharedQueue.get()';
const ITERATION = 'iteration of a SharedQueue';
const MOST_ITEMS = 2 ** 31 - 1;

/** The bytes of {@link StopIteration}, which cannot be cloned. */
const NO_BYTES = Buffer.alloc(0);

/** A greenlet that waits for an item. */
class Getting extends Parked {
  /** What it is handed; `null`: there will be nothing any more. */
  bytes: Buffer | null = null;
}

/** A greenlet that waits with an item. */
class Putting extends Parked {
  isShutDown = false;

  constructor(readonly bytes: Buffer) {
    super(PUT);
  }
}

/** Who of this thread waits to get. */
class Getters extends Contest {
  constructor(
    private readonly queue: SharedQueue<unknown>,
    memory: Memory,
  ) {
    super(queue, memory, Wait.Getters);
  }

  get available(): number {
    const { _ring: ring } = this.queue;
    return ring.isShut ? Infinity : ring.count;
  }

  serve(entry: Entry): boolean {
    const bytes = this.queue._takeBytes();
    if (bytes === null && !this.queue._isAtEnd) return false;
    this.remove(entry);
    (entry as Getting).bytes = bytes;
    entry.notify();
    return true;
  }
}

/** Who of this thread waits to put. */
class Putters extends Contest {
  constructor(
    private readonly queue: SharedQueue<unknown>,
    memory: Memory,
  ) {
    super(queue, memory, Wait.Putters);
  }

  get available(): number {
    const { _ring: ring } = this.queue;
    return ring.isShut ? Infinity : ring.room;
  }

  serve(entry: Entry): boolean {
    const putting = entry as Putting;
    const put = this.queue._putBytes(putting.bytes);
    if (put === Put.NoRoom) return false;
    this.remove(entry);
    putting.isShutDown = put === Put.IsShut;
    entry.notify();
    return true;
  }
}

/** Callbacks of this thread that wait until there is something to get. */
class Watchers extends Audience {
  constructor(
    private readonly queue: SharedQueue<unknown>,
    memory: Memory,
  ) {
    super(queue, memory, Wait.Linked);
  }

  get isDue(): boolean {
    return this.queue.ready;
  }
}

/**
 * A queue for several threads. Items cross as clones, each to one who gets it; all that one greenlet puts come in that order.
 *
 * In each thread those who wait are served in the order in which they came. Threads take turns. A thread that runs may be served
 * before one that has to be woken first, but not twice in a row before the same. Putting and getting outside greenlets works if
 * it need not wait. A thread that is terminated takes with it only the items that its greenlets were handed.
 *
 * gevent: `gevent.queue.Queue`, used from several threads.
 *
 * @example
 * const jobs = new SharedQueue<Job>(100);
 * for (let i = 0; i < 4; i++) new Worker('./worker.js', { workerData: jobs.handle });
 * // in the workers: for (const job of SharedQueue.from<Job>(workerData)) work(job);
 */
export class SharedQueue<T = unknown> extends Linkable {
  /** @internal */
  override readonly _waiting: Watchers;
  readonly #getters: Getters;
  readonly #putters: Putters;
  /** @internal */
  readonly _ring: Ring;
  /** What it is passed to another thread by. */
  readonly handle: SharedHandle<'SharedQueue'>;
  /** How many items it takes; `Infinity`: any number. gevent: `Queue.maxsize`. */
  readonly maxSize: number;

  /**
   * @param maxSize - how many items it takes; left out, `null` or `Infinity`: any number, as far as `maxBytes` has room for them
   * @throws {TypeError | RangeError} if `maxSize` is no whole number from 1, `maxHubs` none from 1 to 4096, or `maxBytes` none
   * from 1 to 2³⁰
   */
  constructor(maxSize?: number | null, options?: SharedValueOptions);
  /** @internal */
  constructor(memory: Memory<'SharedQueue'>);
  constructor(from?: number | null | Memory<'SharedQueue'>, options?: SharedValueOptions) {
    super();
    const maxItems = from instanceof Memory ? 0 : checkMaxSize(from);
    const memory = from instanceof Memory ? from : Memory.create(this, LAYOUT, options);
    const { words, start } = memory;
    if (maxItems > 0) words[start + Word.MaxSize] = maxItems;
    this.handle = memory.handle;
    const most = words[start + Word.MaxSize] as number;
    this.maxSize = most === MOST_ITEMS ? Infinity : most;
    this._ring = new Ring(words, start + Word.Ring, memory.bytes, most);
    this._waiting = new Watchers(this, memory);
    this.#getters = new Getters(this, memory);
    this.#putters = new Putters(this, memory);
  }

  /**
   * The queue of another thread: this thread's object for it, the same at each call. Never switches.
   *
   * @throws {TypeError} if `handle` is not the handle of a `SharedQueue`
   */
  static from<T = unknown>(handle: SharedHandle<'SharedQueue'>): SharedQueue<T> {
    return Memory.open(LAYOUT, handle, (memory) => new SharedQueue<T>(memory));
  }

  /** How many items are in it. gevent: `Queue.qsize`. */
  get size(): number {
    return this._ring.count;
  }

  /** Whether nothing is in it. gevent: `Queue.empty`. */
  get empty(): boolean {
    return this.size === 0;
  }

  /** Whether there are as many items as `maxSize`. `put` may have to wait also because of `maxBytes`. gevent: `Queue.full`. */
  get full(): boolean {
    return this.size >= this.maxSize;
  }

  /** Whether something is in it, or it has been shut down. */
  get ready(): boolean {
    return this.size > 0 || this._ring.isShut;
  }

  /** Whether {@link shutdown} has been called. gevent: `Queue.is_shutdown`. */
  get isShutDown(): boolean {
    return this._ring.isShut;
  }

  /**
   * Puts a clone of an item in, waiting for room. A greenlet that is killed while it waits takes its item back. Switches only if
   * it must wait. gevent: `Queue.put`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {TypeError} if the item cannot be cloned
   * @throws {InvalidThreadUseError} if an object is in it that belongs to this thread
   * @throws {RangeError} if it takes more than `maxBytes`, or if as many threads as `maxHubs` wait already
   * @throws {Full} if there was no room in time
   * @throws {ShutDown} if the queue has been shut down, also while waiting
   */
  put(item: T, limits?: Limits): void {
    const checked = checkLimits(PUT, limits);
    const bytes = bytesOf(PUT, item, this._ring.maxItemBytes);
    if (this.#putNow(bytes)) return;
    if (isImmediate(checked)) throw timeIsUp(checked, Full);
    const putting = new Putting(bytes);
    if (!putting.parkIn(this.#putters, checked)) throw timeIsUp(checked, Full);
    if (putting.isShutDown) throw new ShutDown();
  }

  /**
   * Puts a clone of an item in if there is room. Never switches. gevent: `Queue.put_nowait`.
   *
   * @throws {TypeError | InvalidThreadUseError | RangeError} as {@link put}
   * @throws {Full} if there is no room
   * @throws {ShutDown} if the queue has been shut down
   */
  putNowait(item: T): void {
    if (!this.#putNow(bytesOf('SharedQueue.putNowait()', item, this._ring.maxItemBytes))) throw new Full();
  }

  /**
   * Takes the next item out, waiting for one. Switches only if it must wait. gevent: `Queue.get`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {Empty} if nothing has come in time
   * @throws {ShutDown} if the queue has been shut down and is empty
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  get(limits?: Limits): T {
    const bytes = this.#take(GET, checkLimits(GET, limits));
    if (bytes === null) throw new ShutDown();
    return itemOf(bytes) as T;
  }

  /**
   * Takes the next item out if there is one. Never switches. gevent: `Queue.get_nowait`.
   *
   * @throws {Empty} if there is none
   * @throws {ShutDown} if the queue has been shut down and is empty
   */
  getNowait(): T {
    const bytes = this.#takeNow();
    if (bytes === undefined) throw new Empty();
    if (bytes === null) throw new ShutDown();
    return itemOf(bytes) as T;
  }

  /**
   * Takes items, waiting for each, until `StopIteration` is taken or the queue is shut down and empty. Leaving the loop early
   * leaves the rest where it is. Switches only if it must wait.
   */
  *[Symbol.iterator](): IterableIterator<Exclude<T, StopIteration>, undefined> {
    for (;;) {
      const bytes = this.#take(ITERATION, FOR_EVER);
      const item = bytes === null ? StopIteration : itemOf(bytes);
      if (item === StopIteration) return;
      yield item as Exclude<T, StopIteration>;
    }
  }

  /**
   * Ends the queue: `put` throws {@link ShutDown} from now on, `get` as soon as it is empty. Iterations end. All who wait get the
   * error, in all threads; those who wait to put keep their items. Never switches. gevent: `Queue.shutdown`.
   *
   * @param immediate - drops what is in the queue
   */
  shutdown(immediate = false): void {
    checkFlag('SharedQueue.shutdown()', 'immediate', immediate);
    this._ring.shut(immediate);
    for (const queue of [this.#getters, this.#putters]) queue.announceToAll();
    this._waiting.announce();
  }

  #putNow(bytes: Buffer): boolean {
    if (!this.#putters.isOpen) {
      if (this._ring.isShut) throw new ShutDown();
      return false;
    }
    const put = this._putBytes(bytes);
    if (put === Put.IsShut) throw new ShutDown();
    return put === Put.Done;
  }

  /** @internal */
  _putBytes(bytes: Buffer): Put {
    const put = this._ring.put(bytes);
    if (put === Put.Done) {
      this.#getters.announce();
      this._waiting.announce();
    }
    return put;
  }

  /** Whether there is no item, and will be none. @internal */
  get _isAtEnd(): boolean {
    return this._ring.isShut && this._ring.count === 0;
  }

  /** Takes the next item out; `null` if there is none. @internal */
  _takeBytes(): Buffer | null {
    const bytes = this._ring.take();
    if (bytes !== null) this.#putters.announce();
    return bytes;
  }

  /** Takes the next item out. `null`: there will be none any more; `undefined`: there is none now. */
  #takeNow(): Buffer | null | undefined {
    const bytes = this.#getters.isOpen ? this._takeBytes() : null;
    if (bytes !== null) return bytes;
    return this._isAtEnd ? null : undefined;
  }

  #take(call: string, limits: CheckedLimits): Buffer | null {
    const bytes = this.#takeNow();
    if (bytes !== undefined) return bytes;
    if (isImmediate(limits)) throw timeIsUp(limits, Empty);
    const getting = new Getting(call);
    if (!getting.parkIn(this.#getters, limits)) throw timeIsUp(limits, Empty);
    return getting.bytes;
  }

  /** `<SharedQueue: 1 of 10 items, 2 waiting to get>`, of this thread. */
  override toString(): string {
    const texts = [`${this.size} ${this.maxSize === Infinity ? 'items' : `of ${this.maxSize} items`}`];
    if (this.#getters.occupied) texts.push(`${this.#getters.size} waiting to get`);
    if (this.#putters.occupied) texts.push(`${this.#putters.size} waiting to put`);
    if (this.isShutDown) texts.push('shut down');
    return `<${this.constructor.name}: ${texts.join(', ')}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function checkMaxSize(maxSize: unknown): number {
  if (maxSize === undefined || maxSize === null || maxSize === Infinity) return MOST_ITEMS;
  return checkCount('new SharedQueue(): maxSize', maxSize, 1, MOST_ITEMS - 1);
}

function bytesOf(call: string, item: unknown, most: number): Buffer {
  return item === StopIteration ? NO_BYTES : encode(call, item, most);
}

function itemOf(bytes: Buffer): unknown {
  return bytes.length === 0 ? StopIteration : decode(bytes);
}
