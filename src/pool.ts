/** Groups of greenlets: `Group` keeps track of them, `Pool` also limits how many there are at once. */
import { inspect } from 'node:util';

import {
  checkArray,
  checkFlag,
  checkFunction,
  checkIterable,
  checkMost,
  checkOptions,
  describe,
} from './checks.js';
import { GreenletExit, InvalidSwitchError, named } from './errors.js';
import { Full } from './exchange.js';
import {
  checkGreenlet,
  checkKillError,
  Greenlet,
  type KillError,
  type RawGreenlet,
  spawn,
  toError,
} from './greenlet.js';
import { currentRunnable, type LinkEntry, requireGreenlet, runCallback } from './hub.js';
import {
  type AnyFunction,
  Imap,
  type ImapOptions,
  type ItemsOf,
  killWithoutWaiting,
  leaveErrors,
  splitArguments,
  takeError,
} from './imap.js';
import {
  type CheckedLimits,
  checkLimits,
  expired,
  FOR_EVER,
  isImmediate,
  type LimitOptions,
  type Limits,
  refuseToWait,
  timeIsUp,
  withinLimits,
} from './limits.js';
import { Timeout } from './timeout.js';
import { type Entry, Linkable, Parked, WaitQueue } from './wait-queue.js';
import { joinAll } from './wait.js';

export type { Imap, ImapOptions, ItemsOf } from './imap.js';

/** Thrown by `add` and `start` of a {@link Pool} that has no room in time. gevent: `gevent.pool.PoolFull`. */
export class PoolFull extends Full {
  constructor(message = 'the pool had no room in time') {
    super(message, 'ERR_GREENSTACK_POOL_FULL');
  }

  static {
    named(this, 'PoolFull');
  }
}

/** A greenlet of any kind, as an argument. */
export type AnyGreenlet = Greenlet<never> | Greenlet<unknown> | RawGreenlet;

/** What is in a group. */
export type Member = Greenlet<unknown> | RawGreenlet;

/** A class of greenlets that are made from a function and its arguments. */
export type GreenletClass = new (fn: AnyFunction, ...args: unknown[]) => Greenlet<unknown>;

/** Options of {@link Group.join}. */
export interface JoinOptions extends LimitOptions {
  /** Whether the error of one that has failed is thrown, if it was in the group when the wait began. */
  raiseError?: boolean | undefined;
}

/** Options of {@link Group.map}. */
export interface MapOptions extends LimitOptions {
  /** How many items of this call may be under way. Left out: any number. */
  maxSize?: number | null | undefined;
}

/** Tells a group that one of its greenlets has ended. */
class Membership implements LinkEntry {
  readonly callback = null;

  constructor(private readonly group: Group) {}

  notify(ended: Member): void {
    this.group._remove(ended);
  }
}

/**
 * Keeps track of greenlets as long as they live, to wait for all of them, or to kill them. Those that end leave it by
 * themselves.
 *
 * Waiting for a group with `wait` waits until it is empty.
 *
 * gevent: `gevent.pool.Group`.
 *
 * @example
 * const group = new Group();
 * for (const url of urls) group.spawn(download, url);
 * group.join();
 */
export class Group extends Linkable implements Iterable<Member> {
  /** What {@link spawn} makes. May be assigned, also in subclasses. gevent: `greenlet_class`. */
  greenletClass: GreenletClass = Greenlet;

  readonly #members = new Set<Member>();
  readonly #membership = new Membership(this);
  /** Those that it has killed, each of them once. */
  readonly #dying = new Set<Member>();
  /** What newcomers are killed with: one entry for each `kill` that waits. */
  readonly #kills: Array<KillError | undefined> = [];

  /**
   * @param greenlets - what is in it at first
   * @throws {TypeError} if one of them is no greenlet
   */
  constructor(...greenlets: AnyGreenlet[]) {
    super();
    const call = `new ${new.target.name}()`;
    for (const greenlet of greenlets) checkGreenlet(call, greenlet);
    for (const greenlet of greenlets as Member[]) this.#insert(greenlet);
  }

  // ---- what is in it

  /** The greenlets that are in it, in the order in which they came. */
  get greenlets(): ReadonlySet<Member> {
    return this.#members;
  }

  /** How many are in it. gevent: `len(group)`. */
  get count(): number {
    return this.#members.size;
  }

  /** Whether a greenlet is in it. gevent: `greenlet in group`. */
  has(greenlet: AnyGreenlet | null | undefined): boolean {
    return this.#members.has(greenlet as Member);
  }

  /** The greenlets that are in it now; it may change meanwhile. */
  [Symbol.iterator](): IterableIterator<Member> {
    return [...this.#members].values();
  }

  /** Whether it is empty: {@link join} would return at once. */
  get ready(): boolean {
    return this.#members.size === 0;
  }

  /** Whether it has no room; never. gevent: `gevent.pool.Group.full`. */
  get full(): boolean {
    return false;
  }

  /** Waits until there is room; there always is. Never switches. gevent: `gevent.pool.Group.wait_available`. */
  waitAvailable(limits?: Limits): number {
    checkLimits(this._call('waitAvailable()'), limits);
    return 1;
  }

  // ---- putting in, taking out

  /**
   * Keeps track of a greenlet, raw ones included, until it ends. If it is in the group already, nothing happens. Never switches;
   * in a pool, only if it must wait for room. gevent: `gevent.pool.Group.add`.
   *
   * @param limits - how long to wait for room, in ms, and what else may end the wait
   * @throws {PoolFull} if a pool has had no room in time
   */
  add(greenlet: AnyGreenlet, limits?: Limits): void {
    const call = this._call('add()');
    const member = checkGreenlet(call, greenlet);
    this.#admit('add()', member, checkLimits(call, limits));
  }

  /**
   * As {@link add}, for a greenlet that is not started, and starts it. Never switches; in a pool, only if it must wait for
   * room. gevent: `gevent.pool.Group.start`.
   */
  start(greenlet: Greenlet<never> | Greenlet<unknown>, limits?: Limits): void {
    const call = this._call('start()');
    if (!(greenlet instanceof Greenlet))
      throw new TypeError(`${call} expects a Greenlet, got ${describe(greenlet)}`);
    this.#launch('start()', greenlet, checkLimits(call, limits));
  }

  /**
   * Runs `fn(...args)` in a new greenlet of the group. Never switches; in a pool, only if it must wait for room: if that wait is
   * ended by a kill or a timeout, nothing is spawned. gevent: `gevent.pool.Group.spawn`.
   *
   * @throws {TypeError} if `fn` is not a function
   * @throws {BlockingSwitchOutError} outside greenlets, if a pool is full
   */
  spawn<Args extends unknown[], T>(fn: (...args: Args) => T, ...args: Args): Greenlet<T> {
    if (typeof fn !== 'function') checkFunction(this._call('spawn()'), fn);
    return this._begin('spawn()', fn as unknown as AnyFunction, args) as Greenlet<T>;
  }

  /** Takes a greenlet out, which goes on. One that is not in it is no error. Never switches. gevent: `discard`. */
  discard(greenlet: AnyGreenlet): void {
    const member = checkGreenlet(this._call('discard()'), greenlet);
    member._removeLink(this.#membership);
    this._remove(member);
  }

  /** Begins a greenlet, waiting for room. @internal */
  _begin(method: string, fn: AnyFunction, args: readonly unknown[]): Greenlet<unknown> {
    const greenlet = new this.greenletClass(fn, ...args);
    this.#launch(method, greenlet, FOR_EVER);
    return greenlet;
  }

  #launch(method: string, greenlet: Greenlet<unknown>, limits: CheckedLimits): void {
    this.#admit(method, greenlet, limits);
    try {
      greenlet.start();
    } catch (error) {
      this.discard(greenlet);
      throw error;
    }
  }

  #admit(method: string, greenlet: Member, limits: CheckedLimits): void {
    if (this.#members.has(greenlet)) return;
    this._takeRoom(method, limits);
    this.#insert(greenlet);
  }

  #insert(greenlet: Member): void {
    if (this.#members.has(greenlet)) {
      // Somebody else was faster, while this one waited for room.
      this._giveRoom();
      return;
    }
    this.#members.add(greenlet);
    greenlet._addLink(this.#membership);
    if (this.#kills.length > 0) {
      const [error] = this.#kills;
      runCallback(() => this.#killOnce(this._call('kill()'), greenlet, error));
    }
  }

  /** One has ended, or was taken out. @internal */
  _remove(greenlet: Member): void {
    if (!this.#members.delete(greenlet)) return;
    if (this.#dying.size > 0) this.#dying.delete(greenlet);
    this._giveRoom();
    if (this._waiting.occupied && this.ready) this._waiting.notifyAll();
  }

  /** Takes room for one, waiting for it. @internal */
  _takeRoom(_method: string, _limits: CheckedLimits): void {}

  /** Gives the room of one back. @internal */
  _giveRoom(): void {}

  /** The name of a call, for errors and reports. @internal */
  _call(method: string): string {
    return `${this.constructor.name}.${method}`;
  }

  // ---- waiting and killing

  /**
   * Waits until it has been empty at least once; then it may have filled up again. Switches only if it must wait.
   * gevent: `gevent.pool.Group.join`.
   *
   * @param limits - how long, in ms, and what else may end the wait; `raiseError`: throws the error of one that has failed
   * @returns `false` if the time passed first
   * @throws {InvalidSwitchError} if one of its own greenlets joins it
   */
  join(limits?: number | Timeout | JoinOptions | null): boolean {
    const call = this._call('join()');
    const checked = checkLimits(call, limits);
    const raiseError = isOptions(limits) && checkFlag(call, 'raiseError', limits.raiseError ?? false);
    if (this.ready) return true;
    if (this.has(currentRunnable() as Member | null)) {
      throw new InvalidSwitchError(`${call}: a greenlet of the group would wait for its own end`);
    }
    const watched = raiseError ? [...this.#members] : [];
    const emptied = isImmediate(checked)
      ? refuseToWait(checked)
      : new Parked(call).parkIn(this._waiting, checked);
    for (const greenlet of watched)
      if (greenlet instanceof Greenlet && greenlet.ready && !greenlet.successful) throw greenlet.error;
    return emptied;
  }

  /**
   * Throws an error in all of its greenlets, also in those that come while it waits, and waits until it is empty. Each is killed
   * once, even by several calls. Those that have not begun never will. A greenlet of the group that calls it is killed too, last.
   * Returns silently when its time is up. Switches only if it must wait. gevent: `gevent.pool.Group.kill`.
   *
   * @param error - what to throw (default: a new `GreenletExit` for each)
   * @param limits - how long to wait, in ms; `{ block: false }` does not wait
   */
  kill(error?: KillError, limits?: Limits): void {
    const call = this._call('kill()');
    const checked = checkLimits(call, limits);
    checkKillError(call, error);
    if (this.ready) return;
    const blocks = !isImmediate(checked);
    if (blocks) requireGreenlet(call);
    const self = currentRunnable() as Member | null;
    for (const greenlet of [...this.#members]) if (greenlet !== self) this.#killOnce(call, greenlet, error);
    if (self !== null && this.has(self)) this.#killOnce(call, self, error);
    else if (blocks && !this.ready) this.#waitForDeaths(call, error, checked);
  }

  #killOnce(call: string, greenlet: Member, error: KillError | undefined): void {
    if (!this.#members.has(greenlet) || this.#dying.has(greenlet)) return;
    // A class of errors may throw as well: then nothing has been killed.
    const thrown = toError(call, error);
    this.#dying.add(greenlet);
    greenlet.kill(thrown, { block: false });
  }

  #waitForDeaths(call: string, error: KillError | undefined, limits: CheckedLimits): void {
    this.#kills.push(error);
    try {
      new Parked(call).parkIn(this._waiting, limits);
    } finally {
      this.#kills.splice(this.#kills.indexOf(error), 1);
    }
  }

  /**
   * Kills one of its greenlets and waits for its end. Nothing happens if it is not in the group or was killed by it before.
   * Returns silently when its time is up. Switches only if it must wait. gevent: `gevent.pool.Group.killone`.
   *
   * @param error - what to throw (default: a new `GreenletExit`)
   * @param limits - how long to wait, in ms; `{ block: false }` does not wait
   */
  killOne(greenlet: AnyGreenlet, error?: KillError, limits?: Limits): void {
    const call = this._call('killOne()');
    const member = checkGreenlet(call, greenlet);
    const { timeout, limit, signal } = checkLimits(call, limits);
    checkKillError(call, error);
    if (!this.has(member) || this.#dying.has(member)) return;
    if (timeout !== 0 && member._stackId >= 0) requireGreenlet(call);
    this.#killOnce(call, member, error);
    if (timeout === 0) return;
    joinAll([member], {
      timeout: limit ?? (timeout < 0 ? null : timeout),
      ...(signal && { signal }),
    });
  }

  // ---- applying functions

  /**
   * Runs `fn(...args)` in a greenlet of the group and returns its result. In one of the group's own greenlets `fn` is simply
   * called: so it cannot wait for its own room. If the wait is ended by something else, that greenlet is killed. Switches.
   * gevent: `gevent.pool.Group.apply`.
   *
   * @param limits - how long it may take, in ms, and what else may end it
   * @throws the error of `fn`, which is not reported besides
   * @throws {Timeout} if the time is up first
   */
  apply<Args extends unknown[], T>(fn: (...args: Args) => T, args?: Args, limits?: Limits): T;
  apply(fn: AnyFunction, args: unknown[] = [], limits?: Limits): unknown {
    const call = this._call('apply()');
    checkFunction(call, fn);
    checkArray(call, args);
    return runWithin(call, limits, () => {
      if (this.has(currentRunnable() as Member | null)) return fn(...(args as never[]));
      const greenlet = this._begin('apply()', fn, args);
      takeError(greenlet);
      return resultsOf([greenlet])[0];
    });
  }

  /**
   * As {@link apply}, and then calls `callback` with the result, in a greenlet of its own outside of the group, unless `fn` throws
   * or is killed. Switches. gevent: `gevent.pool.Group.apply_cb`.
   */
  applyCb<Args extends unknown[], T>(
    fn: (...args: Args) => T,
    args?: Args,
    callback?: ((result: T) => unknown) | null,
    limits?: Limits,
  ): T {
    checkCallback(this._call('applyCb()'), callback);
    const result = this.apply(fn, args, limits);
    if (callback && !GreenletExit.is(result)) spawn(callback, result);
    return result;
  }

  /**
   * Runs `fn(...args)` in a greenlet and returns that. If there is room it is in the group at once, otherwise it waits for room
   * by itself. Never switches. gevent: `gevent.pool.Group.apply_async`.
   *
   * @param callback - called with the result, in a greenlet of its own, unless `fn` throws or is killed
   */
  applyAsync<Args extends unknown[], T>(
    fn: (...args: Args) => T,
    args?: Args,
    callback?: ((result: T) => unknown) | null,
  ): Greenlet<T> {
    const call = this._call('applyAsync()');
    checkFunction(call, fn);
    if (args !== undefined) checkArray(call, args);
    checkCallback(call, callback);
    if (this.full) return spawn(() => this.applyCb(fn, args, callback));
    const greenlet = this.spawn(fn, ...((args ?? []) as Args));
    if (callback) {
      greenlet.linkValue(({ value }) => {
        if (!GreenletExit.is(value)) callback(value as T);
      });
    }
    return greenlet;
  }

  /**
   * Applies `fn` to each item, each in a greenlet of the group, and returns the results in the order of the items. An item that
   * fails does not disturb the others. What ends the call early (an error of the iterable, a kill, a timeout) kills what it has
   * begun, without waiting for that. Switches. gevent: `gevent.pool.Group.map`.
   *
   * @param options - `maxSize`: how many items may be under way; `timeout`: how long it may take, in ms; `signal`
   * @throws the first error, in the order of the items, as soon as it is known; the errors of the others are reported
   * @throws {Timeout} if the time is up first
   */
  map<Item, T>(fn: (item: Item) => T, iterable: Iterable<Item>, options?: MapOptions): T[] {
    const call = this._call('map()');
    checkFunction(call, fn);
    checkIterable(call, iterable);
    const { maxSize, ...limits } = checkOptions(call, options);
    const most = checkMost(`${call}: maxSize`, maxSize);
    requireGreenlet(call);
    return runWithin(call, limits, () => this.#map(fn, iterable, most)) as T[];
  }

  #map(fn: AnyFunction, iterable: Iterable<unknown>, maxSize: number): unknown[] {
    const window = maxSize === Infinity ? null : new Pool(maxSize);
    const greenlets: Array<Greenlet<unknown>> = [];
    try {
      for (const item of iterable) {
        const greenlet = new this.greenletClass(fn, item);
        takeError(greenlet);
        if (window !== null) window.#admit('map()', greenlet, FOR_EVER);
        this.#launch('map()', greenlet, FOR_EVER);
        greenlets.push(greenlet);
      }
    } catch (error) {
      breakOff(greenlets);
      throw error;
    }
    return resultsOf(greenlets);
  }

  /** As {@link map}, and then calls `callback` with the results. Switches. gevent: `gevent.pool.Group.map_cb`. */
  mapCb<Item, T>(
    fn: (item: Item) => T,
    iterable: Iterable<Item>,
    callback?: ((results: T[]) => unknown) | null,
    options?: MapOptions,
  ): T[] {
    checkCallback(this._call('mapCb()'), callback);
    const results = this.map(fn, iterable, options);
    callback?.(results);
    return results;
  }

  /**
   * {@link mapCb} in a greenlet of its own outside of the group, which is returned: its value are the results. Never switches.
   * gevent: `gevent.pool.Group.map_async`.
   */
  mapAsync<Item, T>(
    fn: (item: Item) => T,
    iterable: Iterable<Item>,
    callback?: ((results: T[]) => unknown) | null,
    options?: MapOptions,
  ): Greenlet<T[]> {
    const call = this._call('mapAsync()');
    checkFunction(call, fn);
    checkIterable(call, iterable);
    checkCallback(call, callback);
    checkMost(`${call}: maxSize`, checkOptions(call, options).maxSize);
    return spawn(() => this.mapCb(fn, iterable, callback, options));
  }

  /**
   * Applies `fn` to each item, each in a greenlet of the group, and returns an iterator over the results in the order of the
   * items. Of several iterables one item each makes the arguments, until one of them ends. Never switches; the iterator's `next`
   * does if it must wait. gevent: `gevent.pool.Group.imap`.
   *
   * Items are begun at once, as far as there is room, and `maxSize` (the last argument, in an object of options) allows. The
   * iterables are iterated in a greenlet of their own, so they may wait as well.
   *
   * @example
   * for (const page of pool.imap(download, urls, { maxSize: 20 })) index(page);
   */
  imap<Sources extends Array<Iterable<unknown>>, T>(
    fn: (...items: ItemsOf<Sources>) => T,
    ...iterables: Sources
  ): Imap<T>;
  imap<Sources extends Array<Iterable<unknown>>, T>(
    fn: (...items: ItemsOf<Sources>) => T,
    ...iterablesAndOptions: [...Sources, ImapOptions]
  ): Imap<T>;
  imap(fn: AnyFunction, ...args: unknown[]): Imap<unknown> {
    return this.#imap('imap()', true, fn, args);
  }

  /**
   * As {@link imap}, with the results in the order in which they arrive. An error of the iterable comes last. Never switches.
   * gevent: `gevent.pool.Group.imap_unordered`.
   */
  imapUnordered<Sources extends Array<Iterable<unknown>>, T>(
    fn: (...items: ItemsOf<Sources>) => T,
    ...iterables: Sources
  ): Imap<T>;
  imapUnordered<Sources extends Array<Iterable<unknown>>, T>(
    fn: (...items: ItemsOf<Sources>) => T,
    ...iterablesAndOptions: [...Sources, ImapOptions]
  ): Imap<T>;
  imapUnordered(fn: AnyFunction, ...args: unknown[]): Imap<unknown> {
    return this.#imap('imapUnordered()', false, fn, args);
  }

  #imap(method: string, ordered: boolean, fn: AnyFunction, args: unknown[]): Imap<unknown> {
    const call = this._call(method);
    checkFunction(call, fn);
    const { rows, maxSize } = splitArguments(call, args);
    return new Imap({
      call,
      ordered,
      maxSize,
      rows,
      begin: (row) => {
        const greenlet = this._begin(method, fn, row);
        takeError(greenlet);
        return greenlet;
      },
    });
  }

  /** `<Group of 3>`. */
  override toString(): string {
    return this._show(`of ${this.count}`);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** A greenlet that is handed room in a pool, unlike one that only waits until there is some. */
class Entering extends Parked {}

/** Options of {@link Pool}. */
export interface PoolOptions {
  /** What `spawn` makes (default: `Greenlet`). */
  greenletClass?: GreenletClass | undefined;
}

/**
 * A {@link Group} with room for so many greenlets. Who spawns while it is full waits for room, first in, first out.
 *
 * `join`, and waiting for a pool with `wait`, end when it is empty and nobody is about to come in who was given room.
 *
 * gevent: `gevent.pool.Pool`.
 *
 * @example
 * const pool = new Pool(10);
 * const pages = pool.map(download, urls);
 */
export class Pool extends Group {
  readonly #size: number;
  /** How many are in it or were given room to come in. */
  #taken = 0;
  readonly #entering = new WaitQueue();

  /**
   * @param size - for how many greenlets it has room; left out, `null` or `Infinity`: any number
   * @param options - `greenletClass`: what `spawn` makes
   * @throws {RangeError} if the size is 0, negative or not whole
   */
  constructor(size?: number | null, options?: PoolOptions) {
    super();
    const call = `new ${new.target.name}()`;
    this.#size = checkMost(`${call}: size`, size);
    const { greenletClass } = checkOptions(call, options);
    if (greenletClass === undefined) return;
    if (
      typeof greenletClass !== 'function' ||
      !(greenletClass.prototype instanceof Greenlet || greenletClass === Greenlet)
    )
      throw new TypeError(
        `${call}: greenletClass must be Greenlet or extend it, got ${describe(greenletClass)}`,
      );
    this.greenletClass = greenletClass;
  }

  /** For how many it has room; `Infinity`: any number. */
  get size(): number {
    return this.#size;
  }

  /** How many more can come in now; 1 if there is no limit. gevent: `gevent.pool.Pool.free_count`. */
  get freeCount(): number {
    return this.#size === Infinity ? 1 : this.#size - this.#taken;
  }

  /** Whether a `spawn` would have to wait. gevent: `gevent.pool.Pool.full`. */
  override get full(): boolean {
    return this.#taken >= this.#size;
  }

  override get ready(): boolean {
    return this.#taken === 0;
  }

  /**
   * Waits until there is room, without taking it. Switches only if it must wait. gevent: `gevent.pool.Pool.wait_available`.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns how many can come in now; 0 if the time passed first, or if somebody else was faster
   */
  override waitAvailable(limits?: Limits): number {
    const call = this._call('waitAvailable()');
    const checked = checkLimits(call, limits);
    if (this.full) {
      if (isImmediate(checked)) refuseToWait(checked);
      else new Parked(call).parkIn(this.#entering, checked);
    }
    return this.freeCount;
  }

  /** @internal */
  override _takeRoom(method: string, limits: CheckedLimits): void {
    if (this.#taken < this.#size) this.#taken++;
    else this.#awaitRoom(this._call(method), limits);
  }

  #awaitRoom(call: string, limits: CheckedLimits): void {
    if (!isImmediate(limits) && new Entering(call).parkIn(this.#entering, limits)) return;
    throw timeIsUp(limits, PoolFull);
  }

  /** Gives room to whoever has waited longest; all up to there see it. @internal */
  override _giveRoom(): void {
    this.#taken--;
    while (this.#taken < this.#size && this.#entering.occupied) {
      const entry = this.#entering.shift();
      if (entry instanceof Entering) this.#taken++;
      entry?.notify();
    }
  }

  /** Notifies `entry`, once, when there is room, which it is not given. @internal */
  _awaitRoom(entry: Entry): void {
    this.#entering.push(entry);
  }

  /** `<Pool of 3, 7 free>`. */
  override toString(): string {
    return this._show(
      this.#size === Infinity ? `of ${this.count}` : `of ${this.count}, ${this.freeCount} free`,
    );
  }
}

function isOptions(limits: number | Timeout | JoinOptions | null | undefined): limits is JoinOptions {
  return typeof limits === 'object' && limits !== null && !(limits instanceof Timeout);
}

function checkCallback(call: string, callback: unknown): void {
  if (callback !== undefined && callback !== null) checkFunction(call, callback);
}

/** Runs `operation`, whatever it parks on, for as long as `limits` allow. */
function runWithin<T>(call: string, limits: Limits, operation: () => T): T {
  if (limits === undefined || limits === null) return operation();
  const checked = checkLimits(call, limits);
  if (isImmediate(checked)) throw expired(checked);
  const timeout = checked.limit ?? new Timeout(checked.timeout < 0 ? null : checked.timeout);
  const starts = !timeout.pending;
  if (starts) timeout.start();
  try {
    return withinLimits(call, checked, operation);
  } finally {
    if (starts) timeout.cancel();
  }
}

/** Waits for greenlets whose errors are taken: their values, or the first failure in this order as soon as it is known. */
function resultsOf(greenlets: Array<Greenlet<unknown>>): unknown[] {
  const results: unknown[] = [];
  for (const greenlet of greenlets) {
    if (!greenlet.ready) joinOf(greenlets, greenlet);
    if (!greenlet.successful) {
      leaveErrors(greenlets.slice(results.length + 1));
      throw greenlet.error;
    }
    results.push(greenlet.value);
  }
  return results;
}

/** Waits for one of `greenlets`; if something else ends the wait, all of them are broken off. */
function joinOf(greenlets: Array<Greenlet<unknown>>, greenlet: Greenlet<unknown>): void {
  try {
    greenlet.join();
  } catch (error) {
    breakOff(greenlets);
    throw error;
  }
}

/** Nobody waits any more for what greenlets whose errors are taken do. */
function breakOff(greenlets: Array<Greenlet<unknown>>): void {
  leaveErrors(greenlets);
  killWithoutWaiting(greenlets);
}
