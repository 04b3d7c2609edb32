/** `ThreadPool`: runs functions in worker threads while greenlets wait for them. */
import { inspect } from 'node:util';
import type { ResourceLimits } from 'node:worker_threads';

import {
  checkArray,
  checkFlag,
  checkFunction,
  checkIterable,
  checkMost,
  checkOptions,
  describe,
} from './checks.js';
import { checkThreads, config } from './config.js';
import { AsyncResult } from './event.js';
import { spawnRaw } from './greenlet.js';
import { requireGreenlet, requireHub, type Runnable, wake } from './hub.js';
import { type ImapOptions, splitArguments } from './imap.js';
import {
  checkLimits,
  expired,
  isImmediate,
  type LimitOptions,
  type Limits,
  parkWithin,
  refuseToWait,
} from './limits.js';
import { type Batch, JobIterator, Mapping } from './threadpool-batch.js';
import { Crew, Job, thrownIn } from './threadpool-crew.js';
import { checkArguments, checkTask } from './threadpool-message.js';
import type { Task } from './threadpool-worker.js';
import type { DisposableIterator } from './wait.js';
import { Linkable, Parked } from './wait-queue.js';

export { JobAborted, WorkerLost } from './threadpool-crew.js';
export { move } from './threadpool-message.js';

/** A function that a module exports, to be run in a worker thread. */
export interface ModuleFunction {
  /**
   * A URL or an absolute path; or a path or the name of a package, which `require` has to find from the directory in which
   * the process was started.
   */
  readonly module: string | URL;
  /** The name of the export (default: `'default'`). */
  readonly name?: string;
}

/** Options of {@link ThreadPool}. */
export interface ThreadPoolOptions {
  /** How long a thread stays without work, in ms (default: `config.threadpoolIdleTimeout`); `Infinity` or `null`: for ever. */
  idleTimeout?: number | null;
  /** How much memory each thread may have: those of `new Worker()`. */
  resourceLimits?: ResourceLimits;
}

/** {@link Limits} of a wait for a job. */
export interface JobLimits extends LimitOptions {
  /**
   * What becomes of a job that is running when the wait for it ends early, by a kill, a timeout or a signal: `true` (default)
   * ends it with its thread, `false` lets it go on. A job that has not begun never will.
   */
  abort?: boolean;
}

/** Options of {@link ThreadPool.map} and its relatives. */
export interface MapLimits extends JobLimits {
  /** At most so many jobs of this call at once. */
  maxSize?: number;
}

/** Options of {@link ThreadPool.imap} and {@link ThreadPool.imapUnordered}. */
export interface JobIteratorOptions extends ImapOptions {
  /** As in {@link JobLimits}. */
  abort?: boolean;
}

/** What can be given up. */
interface Cancellable {
  cancel(): void;
}

/** What `spawn` and its relatives return. */
class ThreadResult<T> extends AsyncResult<T> {
  /** What it is the result of, as long as that is under way. */
  _source: Cancellable | null = null;

  /** Gives the job up, too. */
  override cancel(reason?: unknown): boolean {
    const cancelled = super.cancel(reason);
    if (cancelled) {
      this._source?.cancel();
      this._source = null;
    }
    return cancelled;
  }

  /** Has `callback` called with the value, if there is one. */
  _callBack(call: string, callback: ((value: never) => unknown) | undefined): void {
    if (callback === undefined) return;
    checkFunction(call, callback);
    this.linkValue(({ value }) => callback(value as never));
  }

  _settle(successful: boolean, outcome: unknown): void {
    this._source = null;
    if (successful) this.set(outcome as T);
    else this.setError(outcome);
  }
}

/** A job for whoever asks for its result. */
class ResultJob extends Job {
  readonly result = new ThreadResult<unknown>();

  constructor(crew: Crew, call: string, task: unknown, args: readonly unknown[]) {
    super(crew, call, checkTask(call, task), args, false);
    checkArguments(args);
    requireHub();
    this.result._source = this;
  }

  protected override deliver(successful: boolean, outcome: unknown): void {
    this.result._settle(successful, outcome);
  }
}

/** A job that one greenlet waits for. */
class AppliedJob extends Job {
  successful = false;
  outcome: unknown = undefined;

  constructor(
    crew: Crew,
    call: string,
    task: Task,
    args: readonly unknown[],
    keep: boolean,
    private readonly greenlet: Runnable,
  ) {
    super(crew, call, task, args, keep);
  }

  protected override deliver(successful: boolean, outcome: unknown): void {
    this.successful = successful;
    this.outcome = outcome;
    wake(this.greenlet, this);
  }
}

// ---- checks

function checkPoolSize(value: unknown): number {
  return value === undefined || value === null
    ? config.threadpoolSize
    : checkThreads("ThreadPool's maxSize", value);
}

/** The longest time that Node's timers know. */
const LONGEST_TIME = 2 ** 31 - 1;

function checkIdleTimeout(value: unknown): number {
  if (value === undefined) return config.threadpoolIdleTimeout;
  if (value === null) return Infinity;
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw new TypeError(`ThreadPool: idleTimeout must be a time in milliseconds, got ${describe(value)}`);
  }
  if (value < 0)
    throw new RangeError(`ThreadPool: idleTimeout must not be negative, got ${value}; Infinity is for ever`);
  return value > LONGEST_TIME ? Infinity : value;
}

/** The options among limits, if they have the long form. */
function optionsOf(limits: unknown): MapLimits {
  return typeof limits === 'object' && limits !== null ? limits : {};
}

/** Whether jobs go on when nobody waits for them any more. */
function checkKeep(call: string, limits: unknown): boolean {
  const { abort = true } = optionsOf(limits);
  return !checkFlag(call, 'abort', abort);
}

// ---- the pool

const APPLY = 'ThreadPool.apply()';
const MAP = 'ThreadPool.map()';
const JOIN = 'ThreadPool.join()';
const KILL = 'ThreadPool.kill()';
const WAIT_AVAILABLE = 'ThreadPool.waitAvailable()';

/**
 * Runs functions in worker threads, while the greenlets that want their results wait: for work that keeps a processor busy,
 * and for calls that block the thread for real.
 *
 * A job is a function that needs nothing but its arguments, given as it is: its source is sent, so it sees no variable from
 * outside; or a function that a module exports, given as `{ module, name }`. Arguments and results are copied when a job begins
 * and ends, as by `structuredClone`; what is in {@link move} is moved. A promise that a job returns is waited for.
 *
 * Threads are made when they are needed and end when they have had no work for a while. They do not keep the process alive,
 * but jobs do. Jobs begin in the order in which they were submitted.
 *
 * A job that fails has its own error, with the stack of the worker thread. {@link WorkerLost} means that the thread has
 * ended, {@link JobAborted} that the pool was killed.
 *
 * gevent: `gevent.threadpool.ThreadPool`.
 *
 * @example
 * const pool = new ThreadPool(4);
 * const digest = pool.apply((text: string) => require('node:crypto').hash('sha256', text), ['hello']);
 */
export class ThreadPool extends Linkable {
  readonly #crew: Crew;

  /**
   * @param maxSize - the most threads, from 1 to 1024 (default: `config.threadpoolSize`)
   * @throws {RangeError} if `maxSize` is no whole number in that range, or the idle time is negative
   */
  constructor(maxSize?: number | null, options?: ThreadPoolOptions | null) {
    super();
    const { idleTimeout, resourceLimits } = checkOptions('new ThreadPool()', options);
    this.#crew = new Crew(this, checkPoolSize(maxSize), {
      idleTimeout: checkIdleTimeout(idleTimeout),
      ...(resourceLimits === undefined ? {} : { resourceLimits }),
    });
  }

  // ---- looking at it

  /** The most threads, that is jobs at once. When it is assigned, running jobs go on, and the threads are made anew. gevent: `maxsize`. */
  get maxSize(): number {
    return this.#crew.maxSize;
  }

  set maxSize(maxSize: number) {
    this.#crew.maxSize = checkThreads("ThreadPool's maxSize", maxSize);
  }

  /** How many threads there are, those that are just starting included. */
  get size(): number {
    return this.#crew.size;
  }

  /** How many threads have no job. */
  get idle(): number {
    return Math.max(0, this.#crew.size - this.#crew.running);
  }

  /** How many jobs run or wait for a thread. gevent: `len(pool)`. */
  get count(): number {
    return this.#crew.unfinished;
  }

  /** Whether {@link spawn} would have to wait. */
  get full(): boolean {
    return this.#crew.full;
  }

  /** How many jobs could begin at once. */
  get freeCount(): number {
    return Math.max(0, this.#crew.maxSize - this.#crew.running);
  }

  /** Whether no job is under way: {@link join} would not wait. */
  get ready(): boolean {
    return this.#crew.unfinished === 0;
  }

  // ---- one job

  /**
   * Begins a job, waiting until a thread is free, and returns its result, which is yet to come. Cancelling the result ends the job:
   * it is taken out, or its thread is ended. Switches only if it must wait. gevent: `ThreadPool.spawn`.
   *
   * @param task - a function, or `{ module, name }`
   * @param args - its arguments
   * @throws {TypeError} if the function cannot be sent
   * @throws {DOMException} with the name `DataCloneError`, if an argument cannot be sent
   * @throws {BlockingSwitchOutError} outside greenlets, if no thread is free: {@link submit} does not wait
   */
  spawn<Args extends unknown[], T>(task: (...args: Args) => T, ...args: Args): AsyncResult<Awaited<T>>;
  spawn<T = unknown>(task: ModuleFunction, ...args: unknown[]): AsyncResult<T>;
  spawn(task: unknown, ...args: unknown[]): AsyncResult<unknown> {
    const job = new ResultJob(this.#crew, 'ThreadPool.spawn()', task, args);
    this.#crew.submitAndWait(job);
    return job.result;
  }

  /**
   * As {@link spawn}, but does not wait: if no thread is free, the job joins the queue. Never switches.
   * gevent: `ThreadPoolExecutor.submit`.
   */
  submit<Args extends unknown[], T>(task: (...args: Args) => T, ...args: Args): AsyncResult<Awaited<T>>;
  submit<T = unknown>(task: ModuleFunction, ...args: unknown[]): AsyncResult<T>;
  submit(task: unknown, ...args: unknown[]): AsyncResult<unknown> {
    const job = new ResultJob(this.#crew, 'ThreadPool.submit()', task, args);
    this.#crew.submit(job);
    return job.result;
  }

  /**
   * Runs a job and returns what it returns. Switches. gevent: `ThreadPool.apply`.
   *
   * @param task - a function, or `{ module, name }`
   * @param args - its arguments (default: none)
   * @param limits - how long to wait for a thread and for the job, in ms, and what else may end the wait. Then the job is taken
   *   out, or ended together with its thread, unless `abort` is `false`
   * @throws the job's error
   * @throws {Timeout} if the time is up first
   */
  apply<Args extends unknown[], T>(
    task: (...args: Args) => T,
    args: Args,
    limits?: Limits | JobLimits,
  ): Awaited<T>;
  apply<T>(task: () => T, args?: [], limits?: Limits | JobLimits): Awaited<T>;
  apply<T = unknown>(task: ModuleFunction, args?: readonly unknown[], limits?: Limits | JobLimits): T;
  apply(task: unknown, args: readonly unknown[] = [], limits?: Limits | JobLimits): unknown {
    const checkedTask = checkTask(APPLY, task);
    checkArray(APPLY, args);
    const checked = checkLimits(APPLY, limits);
    const keep = checkKeep(APPLY, limits);
    if (isImmediate(checked)) throw expired(checked);
    const job = new AppliedJob(this.#crew, APPLY, checkedTask, args, keep, requireGreenlet(APPLY));
    requireHub();
    checked.signal?.throwIfAborted();
    this.#crew.submit(job);
    if (!parkWithin(APPLY, job, checked)) throw expired(checked);
    if (!job.successful) throw thrownIn(this.apply, job.outcome);
    return job.outcome;
  }

  /**
   * As {@link submit}, with the arguments in an array. Never switches. gevent: `ThreadPool.apply_async`.
   *
   * @param callback - called with the value, in a greenlet of its own, if the job does not fail
   */
  applyAsync<Args extends unknown[], T>(
    task: (...args: Args) => T,
    args: Args,
    callback?: (value: Awaited<T>) => unknown,
  ): AsyncResult<Awaited<T>>;
  applyAsync<T>(task: () => T, args?: [], callback?: (value: Awaited<T>) => unknown): AsyncResult<Awaited<T>>;
  applyAsync<T = unknown>(
    task: ModuleFunction,
    args?: readonly unknown[],
    callback?: (value: T) => unknown,
  ): AsyncResult<T>;
  applyAsync(
    task: unknown,
    args: readonly unknown[] = [],
    callback?: (value: never) => unknown,
  ): AsyncResult<unknown> {
    const call = 'ThreadPool.applyAsync()';
    const job = new ResultJob(this.#crew, call, task, checkArray(call, args));
    job.result._callBack(call, callback);
    this.#crew.submit(job);
    return job.result;
  }

  /** As {@link apply}; then calls `callback` with the value, in a greenlet of its own. Switches. gevent: `ThreadPool.apply_cb`. */
  applyCb<Args extends unknown[], T>(
    task: (...args: Args) => T,
    args: Args,
    callback?: (value: Awaited<T>) => unknown,
    limits?: Limits | JobLimits,
  ): Awaited<T>;
  applyCb<T = unknown>(
    task: ModuleFunction,
    args?: readonly unknown[],
    callback?: (value: T) => unknown,
    limits?: Limits | JobLimits,
  ): T;
  applyCb(
    task: unknown,
    args: readonly unknown[] = [],
    callback?: (value: never) => unknown,
    limits?: Limits | JobLimits,
  ): unknown {
    if (callback !== undefined) checkFunction('ThreadPool.applyCb()', callback);
    const value = this.apply(task as ModuleFunction, args, limits);
    if (callback !== undefined) spawnRaw(callback, value as never);
    return value;
  }

  // ---- many jobs

  /**
   * Calls a function with each item, and returns the results in the order of the items. Switches unless there are no items.
   * gevent: `ThreadPool.map`.
   *
   * @param task - a function of one argument, or `{ module, name }`
   * @param limits - how long to wait in all, in ms, and what else may end the wait. Then jobs are ended as by {@link apply}.
   *   `maxSize`: at most so many jobs of this call at once
   * @throws the error of the first item, in their order, that fails. Then no further jobs begin; those that run go on
   * @throws {Timeout} if the time is up first
   */
  map<Item, T>(
    task: (item: Item) => T,
    items: Iterable<Item>,
    limits?: Limits | MapLimits,
  ): Array<Awaited<T>>;
  map<T = unknown>(task: ModuleFunction, items: Iterable<unknown>, limits?: Limits | MapLimits): T[];
  map(task: unknown, items: Iterable<unknown>, limits?: Limits | MapLimits): unknown[] {
    const batch = this.#batch(MAP, task, limits);
    const checked = checkLimits(MAP, limits);
    checkIterable(MAP, items);
    const list: unknown[] = [...items];
    if (list.length === 0) return list;
    if (isImmediate(checked)) throw expired(checked);
    const greenlet = requireGreenlet(MAP);
    requireHub();
    checked.signal?.throwIfAborted();
    const mapping: Mapping = new Mapping(this.#crew, batch, list, () => wake(greenlet, mapping));
    mapping.begin();
    if (!parkWithin(MAP, mapping, checked)) throw expired(checked);
    if (mapping.failure !== null) throw thrownIn(this.map, mapping.failure.error);
    return mapping.values;
  }

  /** As {@link map}, and then calls `callback` with the results. Switches. gevent: `ThreadPool.map_cb`. */
  mapCb<Item, T>(
    task: (item: Item) => T,
    items: Iterable<Item>,
    callback?: (values: Array<Awaited<T>>) => unknown,
    limits?: Limits | MapLimits,
  ): Array<Awaited<T>>;
  mapCb<T = unknown>(
    task: ModuleFunction,
    items: Iterable<unknown>,
    callback?: (values: T[]) => unknown,
    limits?: Limits | MapLimits,
  ): T[];
  mapCb(
    task: unknown,
    items: Iterable<unknown>,
    callback?: (values: never) => unknown,
    limits?: Limits | MapLimits,
  ): unknown[] {
    if (callback !== undefined) checkFunction('ThreadPool.mapCb()', callback);
    const values = this.map(task as ModuleFunction, items, limits);
    callback?.(values as never);
    return values;
  }

  /**
   * As {@link map}, without waiting: returns the result, which is yet to come. Cancelling it ends the jobs. Never switches,
   * unless iterating over `items` does. gevent: `ThreadPool.map_async`.
   *
   * @param callback - called with the array, in a greenlet of its own, if no job fails
   */
  mapAsync<Item, T>(
    task: (item: Item) => T,
    items: Iterable<Item>,
    callback?: (values: Array<Awaited<T>>) => unknown,
  ): AsyncResult<Array<Awaited<T>>>;
  mapAsync<T = unknown>(
    task: ModuleFunction,
    items: Iterable<unknown>,
    callback?: (values: T[]) => unknown,
  ): AsyncResult<T[]>;
  mapAsync(
    task: unknown,
    items: Iterable<unknown>,
    callback?: (values: never) => unknown,
  ): AsyncResult<unknown[]> {
    const call = 'ThreadPool.mapAsync()';
    const batch = this.#batch(call, task, undefined);
    const result = new ThreadResult<unknown[]>();
    result._callBack(call, callback);
    checkIterable(call, items);
    const list: unknown[] = [...items];
    requireHub();
    const mapping: Mapping = new Mapping(this.#crew, batch, list, () => {
      const { failure, values } = mapping;
      result._settle(failure === null, failure === null ? values : failure.error);
    });
    result._source = mapping;
    mapping.begin();
    return result;
  }

  /**
   * Calls a function with the items one after another, and returns an iterator over the results, in the order of the items. With
   * several iterables the function gets an item of each. A greenlet of its own takes the items, each when a thread is free
   * for it. An error is thrown in the place of its result; iteration can go on after it.
   *
   * Leaving the loop early, or disposing of the iterator, ends what is left. So does a kill or a timeout that ends the wait for a
   * result, unless somebody else waits for one at that moment. Never switches; the iterator's `next` does if it must wait. gevent: `ThreadPool.imap`.
   *
   * @param rest - the iterables, and options. `maxSize`: at most so many items are under way or finished and not taken yet
   */
  imap<Item, T>(
    task: (item: Item) => T,
    items: Iterable<Item>,
    options?: JobIteratorOptions,
  ): DisposableIterator<Awaited<T>> & Linkable;
  imap<Args extends unknown[], T>(
    task: (...args: Args) => T,
    ...rest: [...{ [Index in keyof Args]: Iterable<Args[Index]> }, options?: JobIteratorOptions]
  ): DisposableIterator<Awaited<T>> & Linkable;
  imap<T = unknown>(
    task: ModuleFunction,
    ...rest: Array<Iterable<unknown> | JobIteratorOptions>
  ): DisposableIterator<T> & Linkable;
  imap(task: unknown, ...rest: unknown[]): DisposableIterator<unknown> & Linkable {
    return this.#imap('ThreadPool.imap()', task, rest, true);
  }

  /** As {@link imap}; the results come in the order in which they are there. gevent: `ThreadPool.imap_unordered`. */
  imapUnordered<Item, T>(
    task: (item: Item) => T,
    items: Iterable<Item>,
    options?: JobIteratorOptions,
  ): DisposableIterator<Awaited<T>> & Linkable;
  imapUnordered<Args extends unknown[], T>(
    task: (...args: Args) => T,
    ...rest: [...{ [Index in keyof Args]: Iterable<Args[Index]> }, options?: JobIteratorOptions]
  ): DisposableIterator<Awaited<T>> & Linkable;
  imapUnordered<T = unknown>(
    task: ModuleFunction,
    ...rest: Array<Iterable<unknown> | JobIteratorOptions>
  ): DisposableIterator<T> & Linkable;
  imapUnordered(task: unknown, ...rest: unknown[]): DisposableIterator<unknown> & Linkable {
    return this.#imap('ThreadPool.imapUnordered()', task, rest, false);
  }

  #imap(call: string, task: unknown, args: unknown[], ordered: boolean): JobIterator<unknown> {
    const checkedTask = checkTask(call, task);
    const { rows, maxSize } = splitArguments(call, args);
    const keep = checkKeep(call, args.at(-1));
    return new JobIterator(this.#crew, { call, task: checkedTask, maxSize, keep }, ordered, rows);
  }

  #batch(call: string, task: unknown, limits: Limits | MapLimits): Batch {
    return {
      call,
      task: checkTask(call, task),
      maxSize: checkMost(`${call}: maxSize`, optionsOf(limits).maxSize),
      keep: checkKeep(call, limits),
    };
  }

  // ---- waiting and ending

  /**
   * Waits until no job is under way. Switches only if it must wait. gevent: `ThreadPool.join`.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns `false` if the time passed first
   */
  join(limits?: Limits): boolean {
    const checked = checkLimits(JOIN, limits);
    if (this.ready) return true;
    return isImmediate(checked) ? refuseToWait(checked) : new Parked(JOIN).parkIn(this._waiting, checked);
  }

  /**
   * Waits until a job could begin at once. Switches only if it must wait.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns how many could; 0 if the time passed first, or if others have been faster
   */
  waitAvailable(limits?: Limits): number {
    const checked = checkLimits(WAIT_AVAILABLE, limits);
    if (this.full) {
      if (isImmediate(checked)) refuseToWait(checked);
      else new Parked(WAIT_AVAILABLE).parkIn(this.#crew.waiting, checked);
    }
    return this.freeCount;
  }

  /**
   * Ends all jobs, those that run together with their threads, and waits until the threads have ended. Whoever waits for a
   * job gets a {@link JobAborted}. The pool can be used again. Returns silently if the time passes first. Switches only if it
   * must wait. gevent: `ThreadPool.kill`.
   *
   * @param limits - how long to wait, in ms; `{ block: false }` does not wait
   */
  kill(limits?: Limits): void {
    const checked = checkLimits(KILL, limits);
    const waiting = this.size > 0 && !isImmediate(checked) ? new Parked(KILL) : null;
    const ended = this.#crew.kill();
    if (waiting === null) return;
    void ended.then(() => waiting.notify());
    parkWithin(KILL, waiting, checked);
  }

  /** Kills it without waiting, for `using`. Never switches. */
  [Symbol.dispose](): void {
    this.kill({ block: false });
  }

  /** `<ThreadPool 2 of 4 threads, 3 jobs>`. */
  override toString(): string {
    return this._show(`${this.size} of ${this.maxSize} threads, ${this.count} jobs`);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
