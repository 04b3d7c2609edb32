/** `SharedSemaphore`: permits for several threads. */
import { checkCount } from '../checks.js';
import { checkLimits, isImmediate, type Limits, refuseToWait } from '../limits.js';
import { Holdable } from '../lock.js';
import { type Entry, Parked } from '../wait-queue.js';
import { Contest } from './hubs.js';
import { type Layout, Memory, type SharedHandle, type SharedOptions } from './memory.js';

const LAYOUT: Layout<'SharedSemaphore'> = { kind: 'SharedSemaphore', words: 1, waits: 1, values: 0 };

const ACQUIRE = 'SharedSemaphore.acquire()';
const WAIT = 'SharedSemaphore.wait()';
const MOST_PERMITS = 2 ** 31 - 1;

/** A greenlet that takes a permit, unlike one that only waits until there is one. */
class Acquiring extends Parked {}

/** Who of this thread waits for a permit. */
class PermitContest extends Contest {
  get available(): number {
    return Atomics.load(this.memory.words, this.memory.start);
  }

  /** Takes a permit, if there is one. */
  take(): boolean {
    for (let count = this.available; count > 0; count = this.available) {
      if (this.#change(count, count - 1)) return true;
    }
    return false;
  }

  /** Adds permits; returns how many there are. */
  add(permits: number): number {
    for (;;) {
      const count = this.available;
      if (count + permits > MOST_PERMITS)
        throw new RangeError(`a SharedSemaphore has at most ${MOST_PERMITS} permits`);
      if (this.#change(count, count + permits)) return count + permits;
    }
  }

  #change(from: number, to: number): boolean {
    return Atomics.compareExchange(this.memory.words, this.memory.start, from, to) === from;
  }

  serve(entry: Entry): boolean {
    if (entry instanceof Acquiring ? !this.take() : this.available === 0) return false;
    this.remove(entry);
    entry.notify();
    return true;
  }
}

/**
 * A semaphore for several threads: a number of permits, of which `acquire` takes one, waiting while there is none, and
 * `release` adds one, in whichever thread.
 *
 * In each thread those who wait get permits in the order in which they came. Threads take turns. A thread that runs may take a
 * permit before one that has to be woken first, but not twice in a row before the same. A permit whose holder's thread is
 * terminated is not released by that.
 *
 * gevent: `gevent.lock.Semaphore`, used from several threads.
 *
 * @example
 * const disk = new SharedSemaphore(2);
 * new Worker('./worker.js', { workerData: disk.handle });
 * // in the worker: SharedSemaphore.from(workerData).with(() => readMuch());
 */
export class SharedSemaphore extends Holdable {
  /** @internal */
  override readonly _waiting: PermitContest;
  /** What it is passed to another thread by. */
  readonly handle: SharedHandle<'SharedSemaphore'>;

  /**
   * @param value - how many permits there are at first
   * @throws {TypeError | RangeError} if it is no whole number from 0, or `maxHubs` none from 1 to 4096
   */
  constructor(value?: number, options?: SharedOptions);
  /** @internal */
  constructor(memory: Memory<'SharedSemaphore'>);
  constructor(from: number | Memory<'SharedSemaphore'> = 1, options?: SharedOptions) {
    super();
    const isNew = !(from instanceof Memory);
    if (isNew) checkCount('new SharedSemaphore(): value', from, 0, MOST_PERMITS);
    const memory = isNew ? Memory.create(this, LAYOUT, options) : from;
    this.handle = memory.handle;
    this._waiting = new PermitContest(this, memory);
    if (isNew) this._waiting.add(from);
  }

  /**
   * The semaphore of another thread: this thread's object for it, the same at each call. Never switches.
   *
   * @throws {TypeError} if `handle` is not the handle of a `SharedSemaphore`
   */
  static from(handle: SharedHandle<'SharedSemaphore'>): SharedSemaphore {
    return Memory.open(LAYOUT, handle, (memory) => new SharedSemaphore(memory));
  }

  /** How many permits are free: a moment ago, since other threads take them. */
  get counter(): number {
    return this._waiting.available;
  }

  /** Whether no permit is free. gevent: `gevent.lock.Semaphore.locked`. */
  get locked(): boolean {
    return this._waiting.available === 0;
  }

  /**
   * Takes a permit, waiting until it gets one. Switches only if it must wait. gevent: `gevent.lock.Semaphore.acquire`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns `false` if the time of `limits` passed first; then it has no permit
   * @throws {BlockingSwitchOutError} outside greenlets, if no permit is free
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  acquire(limits?: Limits): boolean {
    const queue = this._waiting;
    if (limits === undefined && queue.isOpen && queue.take()) return true;
    const checked = checkLimits(ACQUIRE, limits);
    if (queue.isOpen && queue.take()) return true;
    return isImmediate(checked) ? refuseToWait(checked) : new Acquiring(ACQUIRE).parkIn(queue, checked);
  }

  /**
   * Adds a permit: for the thread whose turn it is, or else for the next who asks. More may be released than were acquired.
   * Never switches. gevent: `gevent.lock.Semaphore.release`.
   *
   * @returns how many permits are free now
   */
  release(): number {
    const queue = this._waiting;
    const count = queue.add(1);
    if (!queue.hubs.isUsed) return count;
    queue.announce();
    return queue.available;
  }

  /**
   * Waits until a permit is free, and does not take it. Switches only if it must wait. gevent: `gevent.lock.Semaphore.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns how many permits are free now; 0 if the time of `limits` passed first, or if somebody else was faster
   * @throws {BlockingSwitchOutError} outside greenlets, if no permit is free
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  wait(limits?: Limits): number {
    const checked = checkLimits(WAIT, limits);
    if (this.locked) {
      if (isImmediate(checked)) refuseToWait(checked);
      else new Parked(WAIT).parkIn(this._waiting, checked);
    }
    return this.counter;
  }

  /** `<SharedSemaphore 1 free>` or `<SharedSemaphore 0 free, 2 waiting>`, of this thread. */
  override toString(): string {
    return this._show(`${this.counter} free`);
  }
}
