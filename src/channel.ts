/** `Channel`: a rendezvous, which keeps no items. */
import { inspect } from 'node:util';

import { native } from './binding.js';
import { describe } from './checks.js';
import { Empty, Exchange, Full, type Getter, type ItemWait, present } from './exchange.js';
import { afterNative, beforeNative, currentRunnable, plainWait } from './hub.js';
import { checkLimits, isImmediate, type Limits } from './limits.js';

const PUT = 'Channel.put()';
const GET = 'Channel.get()';

// V8 keeps the functions of an addon in a dictionary, where it looks each up at every call.
const { yieldNow: yieldNatively } = native;

const handingOver = plainWait(PUT);

/**
 * Hands items over directly: whoever puts waits until somebody has taken the item. Of the two, the one who gets goes on
 * first: when `put` returns, that greenlet has gone on with the item until it parked or ended.
 *
 * Who waits is served first in, first out. Iterating takes items until {@link StopIteration}.
 *
 * gevent: `gevent.queue.Channel`.
 */
export class Channel<T = unknown> extends Exchange<T> {
  /**
   * @param maxSize - 1; taken so that a channel can be made where a queue can
   * @throws {RangeError} if `maxSize` is anything else
   */
  constructor(maxSize = 1) {
    super();
    if (maxSize !== 1) throw new RangeError(`new Channel(): maxSize can only be 1, got ${describe(maxSize)}`);
  }

  /** Whether somebody waits with an item, so that `get` would return at once. */
  get ready(): boolean {
    return this._putters.occupied;
  }

  /** How many wait to put, less how many wait to get. gevent: `gevent.queue.Channel.balance`. */
  get balance(): number {
    return this._putters.size - this._getters.size;
  }

  /** 0: a channel keeps nothing. gevent: `gevent.queue.Channel.qsize`. */
  get size(): number {
    return 0;
  }

  /** Always true. gevent: `gevent.queue.Channel.empty`. */
  get empty(): boolean {
    return true;
  }

  /** Always true. gevent: `gevent.queue.Channel.full`. */
  get full(): boolean {
    return true;
  }

  /**
   * Hands an item to somebody who gets, waiting for one. A greenlet that is killed meanwhile takes its item back. Once the
   * item has been taken, what comes for the greenlet is thrown at its next park. Outside greenlets it works if somebody
   * waits to get. Switches. gevent: `gevent.queue.Channel.put`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait; a time of 0 and `block: false` never switch
   * @throws {Full} if nobody has taken the item in time
   */
  put(item: T, limits?: Limits): void {
    const checked = checkLimits(PUT, limits);
    const greenlet = currentRunnable();
    if (!this._getters.occupied) {
      this._offer(PUT, item, checked);
    } else if (greenlet === null || isImmediate(checked)) {
      this.#hand(item);
    } else {
      const saved = beforeNative(PUT, handingOver);
      // From here on the item belongs to the other one, and nothing can end this call.
      greenlet._wait = null;
      this.#hand(item);
      yieldNatively();
      afterNative(greenlet, saved);
    }
  }

  /**
   * Hands an item to a greenlet that waits for one. Never switches. gevent: `gevent.queue.Channel.put_nowait`.
   *
   * @throws {Full} if nobody waits
   */
  putNowait(item: T): void {
    if (!this._getters.occupied) throw new Full();
    this.#hand(item);
  }

  #hand(item: T): void {
    (this._getters.shift() as Getter<T>).give(item);
  }

  /**
   * Takes an item over, waiting for one. Switches only if it must wait. gevent: `gevent.queue.Channel.get`.
   *
   * @param limits - how long to wait, in ms, and what else may end the wait
   * @throws {Empty} if nobody has put anything in time
   */
  get(limits?: Limits): T {
    const checked = checkLimits(GET, limits);
    return this._putters.occupied ? this._take() : present(this._await(GET, checked, false));
  }

  /**
   * Takes an item from a greenlet that waits to put one. Never switches. gevent: `gevent.queue.Channel.get_nowait`.
   *
   * @throws {Empty} if nobody waits
   */
  getNowait(): T {
    if (!this._putters.occupied) throw new Empty();
    return this._take();
  }

  /** @internal */
  override get _available(): boolean {
    return this._putters.occupied;
  }

  /** @internal */
  override _take(): T {
    const putter = this._putters.shift() as ItemWait<T>;
    putter.notify();
    return putter.item as T;
  }

  override toString(): string {
    return `<${this.constructor.name} ${this._getters.size} waiting to get, ${this._putters.size} to put>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
