/** `SharedEvent`: a flag for several threads. */
import { inspect } from 'node:util';

import { checkLimits, isImmediate, type Limits, refuseToWait } from '../limits.js';
import { type Entry, Linkable, Parked } from '../wait-queue.js';
import { Audience } from './hubs.js';
import { type Layout, Memory, type SharedHandle, type SharedOptions } from './memory.js';

const LAYOUT: Layout<'SharedEvent'> = { kind: 'SharedEvent', words: 1, waits: 1, values: 0 };

const WAIT = 'SharedEvent.wait()';

/** In the word of the state; above it is how often the flag has been set. */
const IS_SET = 1;

/** Who of this thread waits for an event: all since it was set for the same time. */
class EventAudience extends Audience {
  #timesSet = 0;

  get state(): number {
    return Atomics.load(this.memory.words, this.memory.start);
  }

  change(from: number, to: number): boolean {
    return Atomics.compareExchange(this.memory.words, this.memory.start, from, to) === from;
  }

  get isDue(): boolean {
    const { state } = this;
    return (state & IS_SET) !== 0 || state >> 1 !== this.#timesSet;
  }

  override push(entry: Entry): void {
    // It may have been set, and cleared again, for those who wait already.
    if (this.occupied) this.look();
    super.push(entry);
  }

  protected override enter(): void {
    super.enter();
    this.#timesSet = this.state >> 1;
  }
}

/**
 * An event for several threads. Those who wait when it is set go on, in each thread in the order in which they came, even if it
 * is cleared before they do.
 *
 * gevent: `gevent.event.Event`, used from several threads.
 *
 * @example
 * const stopping = new SharedEvent();
 * new Worker('./worker.js', { workerData: stopping.handle });
 * // in the worker: SharedEvent.from(workerData).wait();
 */
export class SharedEvent extends Linkable {
  /** @internal */
  override readonly _waiting: EventAudience;
  /** What it is passed to another thread by. */
  readonly handle: SharedHandle<'SharedEvent'>;

  /**
   * @throws {TypeError | RangeError} if `maxHubs` is no whole number from 1 to 4096
   */
  constructor(options?: SharedOptions);
  /** @internal */
  constructor(memory: Memory<'SharedEvent'>);
  constructor(from?: SharedOptions | Memory<'SharedEvent'>) {
    super();
    const memory = from instanceof Memory ? from : Memory.create(this, LAYOUT, from);
    this.handle = memory.handle;
    this._waiting = new EventAudience(this, memory);
  }

  /**
   * The event of another thread: this thread's object for it, the same at each call. Never switches.
   *
   * @throws {TypeError} if `handle` is not the handle of a `SharedEvent`
   */
  static from(handle: SharedHandle<'SharedEvent'>): SharedEvent {
    return Memory.open(LAYOUT, handle, (memory) => new SharedEvent(memory));
  }

  /** Sets the flag and wakes all who wait, in all threads. Nothing happens if it is set. Never switches. gevent: `gevent.event.Event.set`. */
  set(): void {
    const queue = this._waiting;
    for (;;) {
      const { state } = queue;
      if ((state & IS_SET) !== 0) return;
      if (queue.change(state, (((state >> 1) + 1) << 1) | IS_SET)) break;
    }
    queue.announce();
  }

  /**
   * Takes the flag back: who waits from now on waits for the next `set`. Who waited when it was set goes on nevertheless. Never
   * switches. gevent: `gevent.event.Event.clear`.
   */
  clear(): void {
    const queue = this._waiting;
    for (let { state } = queue; (state & IS_SET) !== 0; { state } = queue) {
      if (queue.change(state, state & ~IS_SET)) return;
    }
  }

  /** Whether the flag is set. Never switches. gevent: `gevent.event.Event.is_set`. */
  isSet(): boolean {
    return this.ready;
  }

  /** As {@link isSet}: a wait would end at once. */
  get ready(): boolean {
    return (this._waiting.state & IS_SET) !== 0;
  }

  /**
   * Waits until the flag is set. Switches only if it must wait. gevent: `gevent.event.Event.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns `false` only if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if the flag is not set
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  wait(limits?: Limits): boolean {
    const checked = checkLimits(WAIT, limits);
    if (this.ready) return true;
    return isImmediate(checked) ? refuseToWait(checked) : new Parked(WAIT).parkIn(this._waiting, checked);
  }

  /** `<SharedEvent set>` or `<SharedEvent clear, 2 waiting>`, of this thread. */
  override toString(): string {
    return this._show(this.ready ? 'set' : 'clear');
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
