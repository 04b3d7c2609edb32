/** Semaphores, locks and conditions. All serve those who wait in the order in which they came; nobody overtakes. */
import { inspect } from 'node:util';

import { checkCount, checkFunction, describe } from './checks.js';
import { GreenstackError } from './errors.js';
import {
  afterNative,
  beforeNative,
  currentRunnable,
  getHub,
  type Hub,
  requireGreenlet,
  type Runnable,
  shield,
} from './hub.js';
import {
  type CheckedLimits,
  checkLimits,
  expired,
  FOR_EVER,
  isImmediate,
  type Limits,
  parkWithin,
  refuseToWait,
} from './limits.js';
import { Linkable, Parked, WaitQueue } from './wait-queue.js';

/** What is acquired and released: the base of all semaphores and locks. */
export abstract class Holdable extends Linkable {
  /** Whether an `acquire` would have to wait. */
  abstract get locked(): boolean;

  /** Takes it, waiting until it can be had; `false` if the time of `limits` passed first. Switches only if it must wait. */
  abstract acquire(limits?: Limits): boolean;

  /** Gives it back. Never switches. */
  abstract release(): number;

  /** Whether an `acquire` could have it at once. */
  get ready(): boolean {
    return !this.locked;
  }

  /**
   * Acquires it for a block of code, whose end releases it however it ends. Disposing of what it returns a second time does
   * nothing. Switches only if it must wait.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @throws {Timeout} if the time of `limits` passed first
   *
   * @example
   * using _held = lock.hold();
   */
  hold(limits?: Limits): Disposable {
    this.#acquireOrThrow('hold()', limits);
    return new Held(this);
  }

  /**
   * Calls `fn` while holding it, and returns what `fn` returns. `fn` should not be async: it would be held only until the first
   * `await`. Switches only if it must wait, or if `fn` does.
   *
   * @param limits - how long to wait for it, in ms (default: for ever), and what else may end the wait
   * @throws {Timeout} if the time of `limits` passed first; then `fn` is not called
   */
  with<T>(fn: () => T, limits?: Limits): T {
    if (typeof fn !== 'function') checkFunction(`${this.constructor.name}.with()`, fn);
    this.#acquireOrThrow('with()', limits);
    try {
      return fn();
    } finally {
      this.release();
    }
  }

  #acquireOrThrow(method: string, limits: Limits): void {
    if (limits === undefined) {
      this.acquire();
      return;
    }
    const checked = checkLimits(`${this.constructor.name}.${method}`, limits);
    if (!this.acquire(limits)) throw expired(checked);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

class Held implements Disposable {
  #lock: Holdable | null;

  constructor(lock: Holdable) {
    this.#lock = lock;
  }

  [Symbol.dispose](): void {
    const lock = this.#lock;
    this.#lock = null;
    lock?.release();
  }
}

const SEMAPHORE_ACQUIRE = 'Semaphore.acquire()';

/** A greenlet that is handed a permit, unlike one that only waits until there is one. */
class Acquiring extends Parked {
  constructor() {
    super(SEMAPHORE_ACQUIRE);
  }
}

/**
 * A number of permits. `acquire` takes one, waiting while there is none; `release` adds one, whoever does it.
 *
 * Permits go to those who wait in the order in which they came, hand to hand: nobody who comes later can be faster. Whoever
 * gives up, because the time is up or by a kill, leaves the queue and takes nothing.
 *
 * gevent: `gevent.lock.Semaphore`.
 *
 * @example
 * const connections = new Semaphore(10);
 * function query(sql: string): Row[] {
 *   using _permit = connections.hold();
 *   return send(sql);
 * }
 */
export class Semaphore extends Holdable {
  /** Negative for permits that will be released by who could not get them again: see {@link _restore}. */
  #counter: number;

  /**
   * @param value - how many permits there are at first
   * @throws {TypeError} if it is not a number
   * @throws {RangeError} if it is negative or not whole
   */
  constructor(value = 1) {
    super();
    this.#counter = checkCount(`new ${new.target.name}(): value`, value, 0);
  }

  /** How many permits are free. */
  get counter(): number {
    return this.#counter > 0 ? this.#counter : 0;
  }

  /** Whether no permit is free. gevent: `gevent.lock.Semaphore.locked`. */
  get locked(): boolean {
    return this.#counter <= 0;
  }

  /**
   * Takes a permit, waiting until it gets one. Switches only if it must wait. gevent: `gevent.lock.Semaphore.acquire`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns `false` if the time of `limits` passed first; then it has no permit
   * @throws {BlockingSwitchOutError} outside greenlets, if no permit is free
   */
  acquire(limits?: Limits): boolean {
    if (limits === undefined && this.#counter > 0) {
      this.#counter--;
      return true;
    }
    const checked = checkLimits(SEMAPHORE_ACQUIRE, limits);
    if (this.#counter > 0) {
      this.#counter--;
      return true;
    }
    if (isImmediate(checked)) return refuseToWait(checked);
    return new Acquiring().parkIn(this._waiting, checked);
  }

  /**
   * Adds a permit: for whoever has waited longest, or else for the next who asks. More may be released than were acquired.
   * Never switches. gevent: `gevent.lock.Semaphore.release`.
   *
   * @returns how many permits are free now
   */
  release(): number {
    this.#counter++;
    if (this._waiting.occupied) this.#handOver();
    return this.counter;
  }

  /** A free permit is seen by all who wait for the sight of one, up to the first who takes it. */
  #handOver(): void {
    while (this.#counter > 0) {
      const entry = this._waiting.shift();
      if (entry === null) return;
      if (entry instanceof Acquiring) this.#counter--;
      entry.notify();
    }
  }

  /**
   * Waits until a permit is free, and does not take it. Switches only if it must wait. gevent: `gevent.lock.Semaphore.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns how many permits are free now; 0 if the time of `limits` passed first, or if somebody else was faster
   * @throws {BlockingSwitchOutError} outside greenlets, if no permit is free
   */
  wait(limits?: Limits): number {
    const call = 'Semaphore.wait()';
    const checked = checkLimits(call, limits);
    if (this.#counter <= 0) {
      if (isImmediate(checked)) refuseToWait(checked);
      else new Parked(call).parkIn(this._waiting, checked);
    }
    return this.counter;
  }

  /** Whether more than one can have it at once, as far as that can be told. @internal */
  _isShared(): boolean {
    return this.#counter > 1;
  }

  /** Whether it may be held by whoever runs. @internal */
  _isHeld(): boolean {
    return this.locked;
  }

  /** Gives it up for the time of a wait; returns what {@link _restore} needs. @internal */
  _suspend(): number {
    this.release();
    return 1;
  }

  /** Takes it again after {@link _suspend}, whatever happens meanwhile but the end of all waiting. @internal */
  _restore(_saved: number): void {
    if (this.#counter > 0) {
      this.#counter--;
      return;
    }
    try {
      parkShielded(new Acquiring(), this._waiting);
    } catch (error) {
      // The caller will release it all the same, and must not set free what somebody else holds.
      this.#counter--;
      throw error;
    }
  }

  /** `<Semaphore 1 free>` or `<Semaphore 0 free, 2 waiting>`. */
  override toString(): string {
    return this._show(`${this.counter} free`);
  }
}

/** Parks such that only the end of the wait itself ends it, or a deadlock: kills and the like come afterwards. */
function parkShielded(parked: Parked, queue: WaitQueue): void {
  shield(() => parked.parkIn(queue, FOR_EVER));
}

/**
 * A semaphore that is never released more often than it is acquired: that would be a mistake in the program.
 *
 * gevent: `gevent.lock.BoundedSemaphore`.
 */
export class BoundedSemaphore extends Semaphore {
  readonly #bound: number;

  /** @param value - how many permits there are at first, and at the most */
  constructor(value = 1) {
    super(value);
    this.#bound = this.counter;
  }

  /**
   * As {@link Semaphore.release}. Never switches. gevent: `gevent.lock.BoundedSemaphore.release`.
   *
   * @throws {RangeError} if all permits are free; then nothing changes
   */
  override release(): number {
    if (this.counter >= this.#bound) {
      throw new RangeError(`${this.constructor.name}.release(): released more often than acquired`);
    }
    return super.release();
  }

  /** @internal */
  override _isShared(): boolean {
    return this.#bound > 1;
  }
}

/**
 * A lock for one greenlet at a time. It does not know its owner: any greenlet may release it, and a greenlet that acquires
 * it twice waits for ever. See {@link RLock}.
 */
export class Lock extends BoundedSemaphore {
  constructor() {
    super(1);
  }

  /** `<Lock free>` or `<Lock held, 2 waiting>`. */
  override toString(): string {
    return this._show(this.locked ? 'held' : 'free');
  }
}

/**
 * Looks like a semaphore and never blocks: for code that takes a semaphore, where nothing needs to be limited.
 *
 * gevent: `gevent.lock.DummySemaphore`.
 */
export class DummySemaphore extends Holdable {
  /** @param _value - taken for the sake of a semaphore's, and ignored */
  constructor(_value?: number) {
    super();
  }

  /** Always 1. */
  get counter(): number {
    return 1;
  }

  /** Always `false`. */
  get locked(): boolean {
    return false;
  }

  /** Always `true`. Never switches. */
  acquire(limits?: Limits): boolean {
    checkLimits('DummySemaphore.acquire()', limits);
    return true;
  }

  /** Always 1. Never switches. */
  release(): number {
    return 1;
  }

  /** Always 1. Never switches. */
  wait(limits?: Limits): number {
    checkLimits('DummySemaphore.wait()', limits);
    return 1;
  }

  /** `<DummySemaphore free>` */
  override toString(): string {
    return this._show('free');
  }
}

const RLOCK_ACQUIRE = 'RLock.acquire()';

/** A greenlet that is handed an {@link RLock}, to hold it `count` times. */
class Owning extends Parked {
  constructor(readonly count: number) {
    super(RLOCK_ACQUIRE);
  }
}

/**
 * A lock that its owner can acquire again: it is free when it was released as often. The owner is a greenlet; all code outside
 * greenlets counts as one owner.
 *
 * gevent: `gevent.lock.RLock`.
 */
export class RLock extends Holdable {
  #owner: Runnable | Hub | null = null;
  #count = 0;
  /** How many releases are still to come from those who could not get it again: see {@link _restore}. */
  #forfeited: WeakMap<Runnable | Hub, number> | null = null;

  /** Whether anybody holds it, be it who asks. gevent: `gevent.lock.RLock.locked`. */
  get locked(): boolean {
    return this.#owner !== null;
  }

  /**
   * Takes the lock, waiting until it gets it; at once if the caller holds it. Switches only if it must wait.
   * gevent: `gevent.lock.RLock.acquire`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns `false` if the time of `limits` passed first; then it has not acquired the lock
   * @throws {BlockingSwitchOutError} outside greenlets, if a greenlet holds it
   */
  acquire(limits?: Limits): boolean {
    const checked = checkLimits(RLOCK_ACQUIRE, limits);
    const self = currentOwner();
    if (this.#owner === null || this.#owner === self) {
      this.#owner = self;
      this.#count++;
      return true;
    }
    if (isImmediate(checked)) return refuseToWait(checked);
    return new Owning(1).parkIn(this._waiting, checked);
  }

  /**
   * Gives the lock back once. If that was the last time, whoever has waited longest gets it. Never switches.
   * gevent: `gevent.lock.RLock.release`.
   *
   * @returns how often the caller still holds it
   * @throws {GreenstackError} `ERR_GREENSTACK_LOCK_NOT_HELD`, if the caller does not hold it; then nothing changes
   */
  release(): number {
    if (!this._isHeld()) {
      if (this.#isForfeited()) return 0;
      throw notHeld('RLock.release()', this);
    }
    if (--this.#count > 0) return this.#count;
    this.#owner = null;
    if (this._waiting.occupied) this.#handOver();
    return 0;
  }

  #handOver(): void {
    while (this.#owner === null) {
      const entry = this._waiting.shift();
      if (entry === null) return;
      if (entry instanceof Owning) {
        this.#owner = entry.greenlet;
        this.#count = entry.count;
      }
      entry.notify();
    }
  }

  /** Whether whoever runs holds it. @internal */
  _isHeld(): boolean {
    return this.#owner === currentOwner();
  }

  /** Gives it up altogether for the time of a wait; returns what {@link _restore} needs. @internal */
  _suspend(): number {
    const count = this.#count;
    this.#count = 1;
    this.release();
    return count;
  }

  /** Takes it again after {@link _suspend}, whatever happens meanwhile but the end of all waiting. @internal */
  _restore(count: number): void {
    if (this.#owner === null) {
      this.#owner = currentOwner();
      this.#count = count;
      return;
    }
    try {
      parkShielded(new Owning(count), this._waiting);
    } catch (error) {
      // The caller will release it all the same, and that must not hide this error.
      (this.#forfeited ??= new WeakMap()).set(currentOwner(), count);
      throw error;
    }
  }

  /** Whether this release is one of a lock that the caller could not get again. */
  #isForfeited(): boolean {
    const owner = currentOwner();
    const left = this.#forfeited?.get(owner) ?? 0;
    if (left > 0) this.#forfeited?.set(owner, left - 1);
    return left > 0;
  }

  /** `<RLock free>` or `<RLock held 2 times by <Greenlet …>, 1 waiting>`. */
  override toString(): string {
    if (this.#owner === null) return this._show('free');
    const owner = this.#owner === getHub() ? 'the hub' : (this.#owner as Runnable)._describe();
    return this._show(`held ${this.#count === 1 ? 'once' : `${this.#count} times`} by ${owner}`);
  }
}

function currentOwner(): Runnable | Hub {
  return currentRunnable() ?? getHub();
}

function notHeld(call: string, lock: Holdable): GreenstackError {
  return new GreenstackError(
    'ERR_GREENSTACK_LOCK_NOT_HELD',
    `${call}: the caller does not hold ${String(lock)}`,
  );
}

const CONDITION_WAIT = 'Condition.wait()';

/**
 * Lets the holders of a lock wait for each other's changes to what the lock guards. `wait` gives the lock up while it waits
 * and has it again when it ends, however it ends: unless nobody can wait any more, because of a deadlock or the end of the
 * hub. Then the releases that follow do nothing.
 *
 * Python: `threading.Condition`.
 *
 * @example
 * using _held = changed.hold();
 * changed.waitFor(() => items.length > 0);
 * const item = items.shift();
 */
export class Condition {
  readonly #lock: RLock | Semaphore;
  readonly #waiting = new WaitQueue();

  /**
   * @param lock - the lock, shared with whoever else uses it (default: a new {@link RLock})
   * @throws {TypeError} if it is neither an `RLock` nor a `Semaphore` of whichever kind
   * @throws {RangeError} if it is a semaphore with more than one permit
   */
  constructor(lock: RLock | Semaphore = new RLock()) {
    if (!(lock instanceof RLock || lock instanceof Semaphore)) {
      throw new TypeError(`new Condition() expects an RLock, a Lock or a Semaphore, got ${describe(lock)}`);
    }
    if (lock instanceof Semaphore && lock._isShared()) {
      throw new RangeError(`new Condition() expects a lock for one at a time, got ${String(lock)}`);
    }
    this.#lock = lock;
  }

  /** Acquires the lock. Switches only if it must wait. */
  acquire(limits?: Limits): boolean {
    return this.#lock.acquire(limits);
  }

  /** Releases the lock. Never switches. */
  release(): number {
    return this.#lock.release();
  }

  /** Acquires the lock for a block of code: see {@link Holdable.hold}. Switches only if it must wait. */
  hold(limits?: Limits): Disposable {
    return this.#lock.hold(limits);
  }

  /** Calls `fn` while holding the lock: see {@link Holdable.with}. Switches only if it must wait, or if `fn` does. */
  with<T>(fn: () => T, limits?: Limits): T {
    return this.#lock.with(fn, limits);
  }

  /**
   * Releases the lock, waits until it is notified, and acquires the lock again, which no limit, kill or timeout prevents:
   * what comes while it waits for the lock is thrown at the greenlet's next park. Switches, unless `limits` allow no waiting.
   *
   * What was notified has to be looked at again: others may have had the lock in between. {@link waitFor} does.
   *
   * @param limits - how long to wait for a notification, in ms (default: for ever), and what else may end the wait
   * @returns `false` if the time of `limits` passed first
   * @throws {GreenstackError} `ERR_GREENSTACK_LOCK_NOT_HELD`, if the caller does not hold the lock
   * @throws {BlockingSwitchOutError} outside greenlets
   */
  wait(limits?: Limits): boolean {
    return this.#wait(CONDITION_WAIT, checkLimits(CONDITION_WAIT, limits));
  }

  #wait(call: string, limits: CheckedLimits): boolean {
    this.#requireLock(call);
    if (isImmediate(limits)) return refuseToWait(limits);
    const parked = new Parked(call, requireGreenlet(call));
    // Whatever forbids to park has to show before the lock is given up: it could not be had back.
    limits.signal?.throwIfAborted();
    try {
      afterNative(parked.greenlet, beforeNative(call, parked));
    } catch (error) {
      if (error === limits.limit) return false;
      throw error;
    }
    this.#waiting.push(parked);
    const saved = this.#lock._suspend();
    try {
      return parkWithin(call, parked, limits);
    } finally {
      this.#lock._restore(saved);
    }
  }

  /**
   * Waits until `predicate` returns something true. It is called while the lock is held, first at once and then after each
   * notification. Switches only if it must wait.
   *
   * @param limits - how long to wait in all, in ms (default: for ever), and what else may end the wait
   * @returns what `predicate` has returned last; something false only if the time of `limits` has passed
   * @throws {GreenstackError} `ERR_GREENSTACK_LOCK_NOT_HELD`, if the caller does not hold the lock
   */
  waitFor<T>(predicate: () => T, limits?: Limits): T {
    const call = 'Condition.waitFor()';
    checkFunction(call, predicate);
    const checked = checkLimits(call, limits);
    this.#requireLock(call);
    const deadline = getHub().now() + checked.timeout;
    for (;;) {
      const value = predicate();
      if (value) return value;
      const isLimited = checked.timeout > 0;
      const left = isLimited ? Math.max(0, deadline - getHub().now()) : checked.timeout;
      if (!this.#wait(call, isLimited ? { ...checked, timeout: left } : checked)) return predicate();
    }
  }

  /**
   * Wakes who has waited longest. It goes on when it gets the lock. Nothing happens if nobody waits. Never switches.
   *
   * @param n - how many to wake
   * @throws {GreenstackError} `ERR_GREENSTACK_LOCK_NOT_HELD`, if the caller does not hold the lock
   */
  notify(n = 1): void {
    const call = 'Condition.notify()';
    checkCount('Condition.notify(): n', n, 0);
    this.#requireLock(call);
    for (let left = n; left > 0 && this.#waiting.occupied; left--) this.#waiting.shift()?.notify();
  }

  /** As {@link notify}, for all who wait now. Never switches. */
  notifyAll(): void {
    this.#requireLock('Condition.notifyAll()');
    this.#waiting.notifyAll();
  }

  #requireLock(call: string): void {
    if (!this.#lock._isHeld()) throw notHeld(call, this.#lock);
  }

  /** `<Condition of <RLock free>, 2 waiting>`. */
  toString(): string {
    const waiting = this.#waiting.size;
    return `<Condition of ${String(this.#lock)}${waiting === 0 ? '' : `, ${waiting} waiting`}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
