/** Queues: items go from those who put to those who get, in some order, whoever comes first waiting for the other. */
import { inspect } from 'node:util';

import { checkCount, checkFlag, checkFunction, checkMost, describe } from './checks.js';
import { Empty, END, Exchange, Full, type Getter, type ItemWait, present, ShutDown } from './exchange.js';
import { checkLimits, isImmediate, type Limits, refuseToWait } from './limits.js';
import { Fifo, Heap, naturalOrder } from './queue-storage.js';
import { Parked, WaitQueue } from './wait-queue.js';

export { Channel } from './channel.js';
export { Empty, Full, type Iterated, ShutDown, StopIteration } from './exchange.js';

/** Options of {@link SimpleQueue}. */
export interface SimpleQueueOptions<T> {
  /** How many items it takes; left out, `null` or `Infinity`: any number. */
  maxSize?: number | null | undefined;
  /** What is in it at first, even if that is more than `maxSize`. */
  items?: Iterable<T> | null | undefined;
}

/** Options of {@link Queue}. */
export interface QueueOptions<T> extends SimpleQueueOptions<T> {
  /** How many tasks are unfinished at first (default: one for each of the items). */
  unfinishedTasks?: number | null | undefined;
}

/** Options of {@link PriorityQueue}. */
export interface PriorityQueueOptions<T> extends QueueOptions<T> {
  /**
   * Negative if `a` is to be got before `b`. Left out: numbers, texts and dates in ascending order, arrays such as
   * `[priority, data]` by their elements.
   */
  compare?: ((a: T, b: T) => number) | null | undefined;
}

const GET = 'Queue.get()';
const PEEK = 'Queue.peek()';
const PUT = 'Queue.put()';
const JOIN = 'Queue.join()';

function optionsFrom<O extends SimpleQueueOptions<unknown>>(
  maxSizeOrOptions: number | O | null | undefined,
  items: O['items'],
): O {
  if (typeof maxSizeOrOptions !== 'object' || maxSizeOrOptions === null)
    return { maxSize: maxSizeOrOptions, items } as O;
  if (Symbol.iterator in maxSizeOrOptions || items !== undefined)
    throw new TypeError(
      'a queue is made from a maxSize and items, in this order, or from one object of options',
    );
  return maxSizeOrOptions;
}

/** Checks how many items a queue may have. */
function checkMaxSize(maxSize: unknown): number {
  if (maxSize === 0)
    throw new RangeError(
      "a queue's maxSize must be at least 1, got 0: leave it out to have no limit, or take a Channel to keep nothing",
    );
  return checkMost("a queue's maxSize", maxSize);
}

function checkItems(items: unknown): void {
  if (items === undefined || items === null) return;
  if (typeof (items as Iterable<unknown>)[Symbol.iterator] !== 'function')
    throw new TypeError(`a queue's items must be iterable, got ${describe(items)}`);
}

/**
 * A queue, first in, first out, without {@link Queue.join} and {@link Queue.shutdown}.
 *
 * Who waits to get and who waits to put are each served first in, first out. An item that is put while a greenlet waits to
 * get is handed to it at once, so it is never lost or taken by another, whatever happens to that greenlet afterwards.
 * Putting and getting outside greenlets works if it need not wait.
 *
 * A subclass may keep its items in another way, as in Python: by overriding `_init`, `_qsize`, `_put`, `_get`, `_peek`,
 * and `_items` for `copy`. They must not switch. The constructor calls `_init` and, for the first items, `_put`, when fields
 * that the subclass initializes do not exist yet.
 *
 * gevent: `gevent.queue.SimpleQueue`.
 */
export class SimpleQueue<T = unknown> extends Exchange<T> {
  #fifo: Fifo<T> | null = null;
  #maxSize: number;
  /** Only {@link Queue} tells it. @internal */
  _unfinished = 0;

  /**
   * @param maxSize - how many items it takes; left out, `null` or `Infinity`: any number
   * @param items - what is in it at first, even if that is more than `maxSize`
   * @throws {RangeError} if `maxSize` is no whole number from 1
   */
  constructor(maxSize?: number | null, items?: Iterable<T> | null);
  constructor(options: SimpleQueueOptions<T>);
  constructor(maxSizeOrOptions?: number | SimpleQueueOptions<T> | null, items?: Iterable<T> | null) {
    super();
    const options = optionsFrom(maxSizeOrOptions, items);
    this.#maxSize = checkMaxSize(options.maxSize);
    checkItems(options.items);
    this._init(this.#maxSize, options);
    for (const item of options.items ?? []) {
      this._put(item);
      this._unfinished++;
    }
  }

  /** Makes the storage, empty. The items follow by `_put`. */
  protected _init(_maxSize: number, _options: SimpleQueueOptions<T>): void {
    this.#fifo = new Fifo();
  }

  /** How many items are stored. */
  protected _qsize(): number {
    return (this.#fifo as Fifo<T>).size;
  }

  /** Stores an item. If it throws, whoever has put the item gets the error. */
  protected _put(item: T): void {
    (this.#fifo as Fifo<T>).push(item);
  }

  /** Takes an item out of the storage, which is not empty. If it throws, whoever wanted the item gets the error. */
  protected _get(): T {
    return (this.#fifo as Fifo<T>).take();
  }

  /** Returns what `_get` would, leaving it there. */
  protected _peek(): T {
    return (this.#fifo as Fifo<T>).peek();
  }

  /** Everything that is stored, in an order in which it can be put again. For {@link copy}. */
  protected _items(): T[] {
    if (this.#fifo === null)
      throw new TypeError('copy(): a queue with a storage of its own needs a method _items() that lists it');
    return this.#fifo.toArray();
  }

  /** How many items are in it. gevent: `gevent.queue.Queue.qsize`. */
  get size(): number {
    return this._qsize();
  }

  /**
   * How many items it takes; `Infinity`: any number. More room lets those go on who wait to put.
   * gevent: `gevent.queue.Queue.maxsize`.
   */
  get maxSize(): number {
    return this.#maxSize;
  }

  set maxSize(maxSize: number | null | undefined) {
    this.#maxSize = checkMaxSize(maxSize);
    this.#serve();
  }

  /** Whether nothing is in it. gevent: `gevent.queue.Queue.empty`. */
  get empty(): boolean {
    return this._qsize() === 0;
  }

  /** Whether `put` would have to wait for room. gevent: `gevent.queue.Queue.full`. */
  get full(): boolean {
    return this._qsize() >= this.#maxSize;
  }

  /** Whether `get` would not wait: something is in it, or it has been shut down. */
  get ready(): boolean {
    return this._qsize() > 0 || this._isShutDown;
  }

  /**
   * Puts an item in, waiting for room. A greenlet that is killed while it waits takes its item back. Switches only if it
   * must wait. gevent: `gevent.queue.Queue.put`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {Full} if there was no room in time
   * @throws {ShutDown} if the queue has been shut down, also while waiting
   */
  put(item: T, limits?: Limits): void {
    const checked = checkLimits(PUT, limits);
    if (this._isShutDown) throw new ShutDown();
    if (this._qsize() < this.#maxSize) this.#add(item);
    else this._offer(PUT, item, checked);
  }

  /**
   * Puts an item in if there is room. Never switches. gevent: `gevent.queue.Queue.put_nowait`.
   *
   * @throws {Full} if there is no room
   * @throws {ShutDown} if the queue has been shut down
   */
  putNowait(item: T): void {
    if (this._isShutDown) throw new ShutDown();
    if (this._qsize() >= this.#maxSize) throw new Full();
    this.#add(item);
  }

  /**
   * Takes the next item out, waiting for one. Switches only if it must wait. gevent: `gevent.queue.Queue.get`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {Empty} if nothing has come in time
   * @throws {ShutDown} if the queue has been shut down and is empty
   */
  get(limits?: Limits): T {
    const checked = checkLimits(GET, limits);
    return this._qsize() > 0 ? this._take() : present(this._await(GET, checked, false));
  }

  /**
   * Takes the next item out if there is one. Never switches. gevent: `gevent.queue.Queue.get_nowait`.
   *
   * @throws {Empty} if there is none
   * @throws {ShutDown} if the queue has been shut down and is empty
   */
  getNowait(): T {
    if (this._qsize() === 0) throw this.#nothing();
    return this._take();
  }

  /**
   * Returns what `get` would, and leaves it in the queue. Several greenlets may wait for the same item. Switches only if it
   * must wait. gevent: `gevent.queue.Queue.peek`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {Empty} if nothing has come in time
   * @throws {ShutDown} if the queue has been shut down and is empty
   */
  peek(limits?: Limits): T {
    const checked = checkLimits(PEEK, limits);
    return this._qsize() > 0 ? this._peek() : present(this._await(PEEK, checked, true));
  }

  /**
   * Returns what `getNowait` would, and leaves it in the queue. Never switches. gevent: `gevent.queue.Queue.peek_nowait`.
   *
   * @throws {Empty} if there is nothing
   * @throws {ShutDown} if the queue has been shut down and is empty
   */
  peekNowait(): T {
    if (this._qsize() === 0) throw this.#nothing();
    return this._peek();
  }

  /**
   * A queue of the same kind with the same items in it, for which nobody waits. Never switches.
   * gevent: `gevent.queue.Queue.copy`.
   */
  copy(): this {
    return new (this.constructor as new (options: object) => this)(this._copied());
  }

  /** The options that make a copy. @internal */
  _copied(): SimpleQueueOptions<T> {
    return { maxSize: this.#maxSize, items: this._items() };
  }

  /** @internal */
  override get _available(): boolean {
    return this._qsize() > 0;
  }

  /** @internal */
  override _take(): T {
    const item = this._get();
    if (this._putters.occupied) this.#serve();
    return item;
  }

  /** What to throw where there is nothing. */
  #nothing(): Error {
    return this._isShutDown ? new ShutDown() : new Empty();
  }

  #add(item: T): void {
    this._put(item);
    this._unfinished++;
    if (this._getters.occupied || this._waiting.occupied) this.#serve();
  }

  /** Lets everybody go on who need not wait any more. */
  #serve(): void {
    for (;;) {
      if (this._putters.occupied && this._qsize() < this.#maxSize) {
        this.#admit(this._putters.shift() as ItemWait<T>);
      } else if (this._getters.occupied && this._qsize() > 0) {
        this.#deliver(this._getters.shift() as Getter<T>);
      } else {
        break;
      }
    }
    if (this._waiting.occupied && this.ready) this._waiting.notifyAll();
  }

  #admit(putter: ItemWait<T>): void {
    try {
      this._put(putter.item as T);
    } catch (error) {
      putter.fail(error);
      return;
    }
    this._unfinished++;
    putter.notify();
  }

  #deliver(getter: Getter<T>): void {
    let item: T;
    try {
      item = getter.peeks ? this._peek() : this._get();
    } catch (error) {
      getter.fail(error);
      return;
    }
    getter.give(item);
  }

  /** Ends every wait. @internal */
  _end(): void {
    for (const queue of [this._getters, this._putters]) {
      for (let entry = queue.shift(); entry !== null; entry = queue.shift()) (entry as Getter<T>).give(END);
    }
    this._waiting.notifyAll();
  }

  override toString(): string {
    return `<${this.constructor.name} ${this._describe().join(', ')}>`;
  }

  /** @internal */
  _describe(): string[] {
    const size = `${this._qsize()} ${this.#maxSize === Infinity ? 'items' : `of ${this.#maxSize} items`}`;
    const texts = [size];
    if (this._getters.occupied) texts.push(`${this._getters.size} waiting to get`);
    if (this._putters.occupied) texts.push(`${this._putters.size} waiting to put`);
    return texts;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/**
 * A queue, first in, first out, that also counts tasks: each item that is put is one, until somebody calls
 * {@link taskDone} for it.
 *
 * gevent: `gevent.queue.Queue`.
 *
 * @example
 * const queue = new Queue<string>(10);
 * const reader = spawn(() => {
 *   for (const line of queue) console.log(line);
 * });
 * queue.put('hello'); // waits while there are 10
 * queue.shutdown();
 */
export class Queue<T = unknown> extends SimpleQueue<T> {
  readonly #joiners = new WaitQueue();

  constructor(maxSize?: number | null, items?: Iterable<T> | null);
  constructor(options: QueueOptions<T>);
  constructor(maxSizeOrOptions?: number | QueueOptions<T> | null, items?: Iterable<T> | null) {
    const options = optionsFrom(maxSizeOrOptions, items);
    checkCount("a queue's unfinishedTasks", options.unfinishedTasks ?? 0, 0);
    super(options);
    this._unfinished = options.unfinishedTasks ?? this._unfinished;
  }

  /**
   * How many items have been put and not been reported by {@link taskDone}. gevent: `gevent.queue.Queue.unfinished_tasks`.
   */
  get unfinishedTasks(): number {
    return this._unfinished;
  }

  /**
   * Reports that what was to be done with an item has been done. The last one lets those go on who wait in {@link join}.
   * Never switches. gevent: `gevent.queue.Queue.task_done`.
   *
   * @throws {RangeError} if it is called more often than items were put
   */
  taskDone(): void {
    if (this._unfinished === 0)
      throw new RangeError('Queue.taskDone() has been called more often than items were put');
    if (--this._unfinished === 0) this.#joiners.notifyAll();
  }

  /**
   * Waits until no task is unfinished. Switches only if it must wait. gevent: `gevent.queue.Queue.join`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @returns `false` if the time was up first
   */
  join(limits?: Limits): boolean {
    const checked = checkLimits(JOIN, limits);
    if (this._unfinished === 0) return true;
    return isImmediate(checked) ? refuseToWait(checked) : new Parked(JOIN).parkIn(this.#joiners, checked);
  }

  /** Whether {@link shutdown} has been called. gevent: `gevent.queue.Queue.is_shutdown`. */
  get isShutDown(): boolean {
    return this._isShutDown;
  }

  /**
   * Ends the queue: `put` throws {@link ShutDown} from now on, `get` and `peek` as soon as it is empty. Iterations end. All
   * who wait get the error; those who wait to put keep their items. Never switches. gevent: `gevent.queue.Queue.shutdown`.
   *
   * @param immediate - drops what is in the queue, as if it had been got and done
   */
  shutdown(immediate = false): void {
    checkFlag('Queue.shutdown()', 'immediate', immediate);
    this._isShutDown = true;
    this._end();
    if (!immediate) return;
    while (this._qsize() > 0) {
      this._discard();
      if (this._unfinished > 0) this.taskDone();
    }
  }

  /** Drops one of the items. @internal */
  _discard(): void {
    this._get();
  }

  /** @internal */
  override _copied(): QueueOptions<T> {
    return { ...super._copied(), unfinishedTasks: this._unfinished };
  }

  /** @internal */
  override _describe(): string[] {
    const texts = super._describe();
    if (this._unfinished > 0) texts.push(`${this._unfinished} unfinished`);
    if (this._isShutDown) texts.push('shut down');
    return texts;
  }
}

/** The former name of {@link Queue}. gevent: `gevent.queue.JoinableQueue`. */
export const JoinableQueue = Queue;
/** The former name of {@link Queue}. */
export type JoinableQueue<T = unknown> = Queue<T>;

/** A {@link Queue} that cannot be bounded, so that `put` never waits. gevent: `gevent.queue.UnboundQueue`. */
export class UnboundQueue<T = unknown> extends Queue<T> {
  /** @throws {RangeError} if `maxSize` is a number */
  constructor(maxSize?: null, items?: Iterable<T> | null);
  constructor(options: QueueOptions<T> & { maxSize?: null | undefined });
  constructor(
    maxSizeOrOptions?: (QueueOptions<T> & { maxSize?: null | undefined }) | null,
    items?: Iterable<T> | null,
  ) {
    const options = optionsFrom<QueueOptions<T>>(maxSizeOrOptions, items);
    checkUnbound(options.maxSize);
    super(options);
  }

  override get maxSize(): number {
    return Infinity;
  }

  override set maxSize(maxSize: null | undefined) {
    checkUnbound(maxSize);
  }
}

function checkUnbound(maxSize: unknown): void {
  if (checkMaxSize(maxSize) !== Infinity)
    throw new RangeError(`an UnboundQueue has no maxSize, got ${maxSize}`);
}

/**
 * A {@link Queue} that gives out the first item by its order, not by its arrival. Items that are equal in that order come in
 * the order of their arrival. If comparing throws, so does the `put` or `get` that needed it, and the queue is as it was.
 *
 * gevent: `gevent.queue.PriorityQueue`.
 *
 * @example
 * const jobs = new PriorityQueue<Job>({ compare: (a, b) => a.due - b.due });
 */
export class PriorityQueue<T = unknown> extends Queue<T> {
  declare private heap: Heap<T>;

  constructor(maxSize?: number | null, items?: Iterable<T> | null);
  constructor(options: PriorityQueueOptions<T>);
  constructor(maxSizeOrOptions?: number | PriorityQueueOptions<T> | null, items?: Iterable<T> | null) {
    super(optionsFrom(maxSizeOrOptions, items));
  }

  protected override _init(_maxSize: number, { compare }: PriorityQueueOptions<T>): void {
    if (compare !== undefined && compare !== null) checkFunction('compare of a PriorityQueue', compare);
    this.heap = new Heap<T>(compare ?? naturalOrder);
  }

  protected override _qsize(): number {
    return this.heap.size;
  }

  protected override _put(item: T): void {
    this.heap.push(item);
  }

  protected override _get(): T {
    return this.heap.take();
  }

  protected override _peek(): T {
    return this.heap.peek();
  }

  protected override _items(): T[] {
    return this.heap.toArray();
  }

  /** Without comparing, which may throw. @internal */
  override _discard(): void {
    // A subclass may keep some of the items elsewhere.
    if (this.heap.size > 0) this.heap.discard();
    else super._discard();
  }

  /** @internal */
  override _copied(): PriorityQueueOptions<T> {
    return { ...super._copied(), compare: this.heap.compare };
  }
}

/** A {@link Queue} that gives out the item that was put last. gevent: `gevent.queue.LifoQueue`. */
export class LifoQueue<T = unknown> extends Queue<T> {
  declare private stack: T[];

  protected override _init(): void {
    this.stack = [];
  }

  protected override _qsize(): number {
    return this.stack.length;
  }

  protected override _put(item: T): void {
    this.stack.push(item);
  }

  protected override _get(): T {
    return this.stack.pop() as T;
  }

  protected override _peek(): T {
    return this.stack[this.stack.length - 1] as T;
  }

  protected override _items(): T[] {
    return [...this.stack];
  }
}
