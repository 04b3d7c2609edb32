/** Greenlets: functions that may block anywhere while others run. */
import { inspect } from 'node:util';

import { captureContext, type Context, emptyContext } from './context.js';
import { checkStackSize, current as settings } from './config.js';
import { BlockingSwitchOutError, GreenletExit, InvalidSwitchError } from './errors.js';
import {
  type CapturedStack,
  captureStack,
  currentRunnable,
  enqueue,
  enqueueOn,
  enterFiber,
  enterStack,
  getHub,
  type Hub,
  interrupt,
  isBeingKilled,
  leaveStack,
  linesOf,
  type LinkEntry,
  requireHub,
  runCallback,
  Runnable,
  stackOf,
  type Wait,
  wake,
} from './hub.js';
import { checkFunction, checkMilliseconds, isErrorClass } from './checks.js';
import { checkLimits, expired, isImmediate, type Limits, parkWithin, refuseToWait } from './limits.js';
import { HubTimer } from './timers.js';

/** What {@link spawn} and its relatives may be told about a greenlet. */
export interface SpawnOptions {
  /** Usable bytes of its stack, from 128 KiB to 1 GiB (default: `config.stackSize`). Such a stack serves one greenlet. */
  stackSize?: number;
  /** Shown in reports (default: `Greenlet-<minimalIdent>`). */
  name?: string;
}

/** What a greenlet may be killed with: an error or a class of errors without required arguments. */
export type KillError = Error | (new () => Error);

/** A callback that is told when a greenlet ends. */
export type Link<G = Greenlet<unknown>> = (greenlet: G) => unknown;

/** @internal */
export const enum State {
  /** Not started. */
  New,
  /** Waiting for its timer or its place in the ready queue. */
  Scheduled,
  Running,
  /** With a value, be it the `GreenletExit` that killed it. */
  Ended,
  /** By an error. */
  Failed,
}

/** A greenlet that is parked until another one ends. */
class Joiner implements LinkEntry, Wait {
  readonly callback = null;

  constructor(
    private readonly waiting: Runnable,
    private readonly target: Runnable,
  ) {}

  notify(): void {
    wake(this.waiting, this);
  }

  cancel(): void {
    this.target._removeLink(this);
  }

  describe(): string {
    return `join of ${this.target._describe()}`;
  }
}

/** Calls back in the hub. */
class RawLink implements LinkEntry {
  constructor(readonly callback: Link) {}

  notify(greenlet: Runnable): void {
    runCallback(this.callback, greenlet);
  }
}

/** When a link is followed. */
export const enum LinkKind {
  Any,
  Value,
  Exception,
}

/** What has ended with a value or an error: a greenlet, or the result of something. */
export interface Source<T = unknown> {
  readonly successful: boolean;
  readonly value: T | GreenletExit | undefined;
  readonly error: unknown;
}

/** Calls `callback` with what has ended, in a greenlet of its own, if the link is of a kind for that. */
export function followLink<S extends Source>(
  callback: (source: S) => unknown,
  kind: LinkKind,
  source: S,
): void {
  if (kind === LinkKind.Any || (kind === LinkKind.Value) === source.successful) spawnRaw(callback, source);
}

/** Settles a promise by what has ended. */
export function settle<T>(
  source: Source<T>,
  resolve: (value: T) => void,
  reject: (error: unknown) => void,
): void {
  // A value that is a promise is waited for, as everywhere.
  if (!source.successful) reject(source.error);
  else if (source.value === source) reject(new TypeError(`${String(source)} has itself as its value`));
  else resolve(source.value as T);
}

/** Calls back in a greenlet of its own. */
class SpawningLink implements LinkEntry {
  constructor(
    readonly callback: Link,
    private readonly kind: LinkKind,
  ) {}

  notify(ended: Runnable): void {
    followLink(this.callback, this.kind, ended as Greenlet<unknown>);
  }
}

/** Smallest free numbers, for {@link Greenlet.minimalIdent}. */
class Idents {
  #next = 0;
  readonly #free: number[] = [];

  take(): number {
    return this.#free.pop() ?? this.#next++;
  }

  giveBack(ident: number): void {
    // Kept in falling order, so that the smallest is taken next.
    let [low, high] = [0, this.#free.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#free[middle] as number) > ident) low = middle + 1;
      else high = middle;
    }
    this.#free.splice(low, 0, ident);
  }
}

const idents = new Idents();

/**
 * What the children of a greenlet keep of it: enough to name it, too little to keep the chain of its own ancestors
 * alive when greenlets spawn their successors.
 */
class Family {
  owner: Greenlet<unknown> | WeakRef<Greenlet<unknown>>;
  readonly locals: Record<PropertyKey, unknown>;

  constructor(
    owner: Greenlet<unknown>,
    locals: Record<PropertyKey, unknown>,
    private readonly ownTrees: boolean,
  ) {
    this.owner = owner;
    this.locals = locals;
  }

  get greenlet(): Greenlet<unknown> | undefined {
    return this.owner instanceof WeakRef ? this.owner.deref() : this.owner;
  }

  /** What a child shares; children of a main greenlet begin trees of their own. */
  get childLocals(): Record<PropertyKey, unknown> {
    return this.ownTrees ? {} : this.locals;
  }
}

/** What few greenlets have. */
class Details {
  ident = -1;
  name: string | null = null;
  stackSize = 0;
  timer: HubTimer | null = null;
  family: Family | null = null;
  spawningStack: CapturedStack | null = null;
  /** Whether a promise takes its error, so that it need not be reported. */
  promised = false;
  /** Whether it was made by `run`. */
  isMain = false;
}

function defaultName(ident: number): string {
  return `Greenlet-${ident}`;
}

const spawnCallbacks = new Set<Link>();

/** An own or wrapped error from what `kill` was given. */
export function toError(call: string, error: unknown): Error {
  checkKillError(call, error);
  if (error === undefined) return new GreenletExit();
  return error instanceof Error ? error : new (error as new () => Error)();
}

/** Throws unless `error` is nothing, an error or a class of errors. */
export function checkKillError(call: string, error: unknown): void {
  if (error === undefined || error instanceof Error || isErrorClass(error)) return;
  throw new TypeError(`${call} expects an error or a class of errors, got ${typeof error}`);
}

/** The name of a function, given itself or that. */
function describeFunction(fn: ((...args: never[]) => unknown) | string): string {
  return (typeof fn === 'string' ? fn : fn.name) || '(anonymous)';
}

const ARGUMENT_LENGTH = 50;

function describeArguments(args: readonly unknown[]): string {
  const shown = args.map((argument) => {
    const text = inspect(argument, {
      depth: 0,
      breakLength: Infinity,
      maxArrayLength: 3,
      maxStringLength: 50,
    });
    return text.length > ARGUMENT_LENGTH ? `${text.slice(0, ARGUMENT_LENGTH - 1)}…` : text;
  });
  return shown.join(', ');
}

const NO_ARGUMENTS: readonly never[] = [];
/** The arguments of a greenlet that has ended and been reported. */
const RELEASED: readonly never[] = [];

/**
 * A function that runs in a stack of its own and may block anywhere, while others run.
 *
 * Greenlets start in the order of being spawned, never before the spawner parks or ends. An error that leaves one is
 * reported by the hub and kept; `get()` throws it. A killed greenlet ends with its `GreenletExit` as its value.
 *
 * Subclasses override `_run` and are spawned by `Subclass.spawn(…)`, whose arguments go to their constructor.
 *
 * gevent: `gevent.Greenlet`.
 */
export class Greenlet<T = unknown> extends Runnable {
  /** @internal */
  _state: State = State.New;
  /** What to run; once it has ended, that function's name. */
  private _fn: ((...args: never[]) => T) | string | null;
  private _args: readonly unknown[];
  /** Its value or error, once it has ended. */
  private _outcome: unknown = undefined;
  private readonly _spawner: Family | null;
  private _details: Details | null = null;

  /**
   * Makes a greenlet that is not started.
   *
   * @param fn - what to run; may be left out by subclasses that override `_run`
   * @param args - passed to `fn` or `_run`
   * @throws {TypeError} if there is neither a function nor an overridden `_run`
   */
  constructor(fn?: ((...args: never[]) => T) | null, ...args: unknown[]) {
    super();
    if (typeof fn !== 'function') {
      if (this._run === Greenlet.prototype._run || (fn !== undefined && fn !== null)) {
        checkFunction(`new ${new.target.name}()`, fn);
      }
      this._fn = null;
    } else {
      this._fn = fn;
    }
    this._args = args.length === 0 ? NO_ARGUMENTS : args;
    this._spawner = settings.trackGreenletTree ? familyOf(currentRunnable()) : null;
    if (settings.spawningStackLimit > 0) this._captureSpawningStack();
  }

  private _getDetails(): Details {
    return (this._details ??= new Details());
  }

  /** Somebody is going to throw its error, so that it need not be reported. @internal */
  _takeError(): void {
    this._getDetails().promised = true;
  }

  /** What runs; for subclasses to override. Must not be called directly. */
  protected _run(...args: unknown[]): T {
    const fn = this._fn;
    return typeof fn === 'function' ? (fn as (...args: unknown[]) => T)(...args) : (undefined as T);
  }

  // ---- starting

  /** Makes a greenlet of this class and starts it. On a subclass the arguments go to its constructor. */
  static spawn<G extends Greenlet<unknown>, Args extends unknown[]>(
    this: new (...args: Args) => G,
    ...args: Args
  ): G {
    const greenlet = new this(...args);
    greenlet.start();
    return greenlet;
  }

  /** As {@link Greenlet.spawn}, started after `ms`. */
  static spawnLater<G extends Greenlet<unknown>, Args extends unknown[]>(
    this: new (...args: Args) => G,
    ms: number,
    ...args: Args
  ): G {
    checkMilliseconds('Greenlet.spawnLater()', ms);
    const greenlet = new this(...args);
    greenlet.startLater(ms);
    return greenlet;
  }

  /** Calls `callback` with every greenlet that is started from now on, synchronously. gevent: `add_spawn_callback`. */
  static addSpawnCallback(callback: Link): void {
    checkFunction('Greenlet.addSpawnCallback()', callback);
    spawnCallbacks.add(callback);
  }

  /** Ends what `addSpawnCallback` began; an unknown callback is no error. */
  static removeSpawnCallback(callback: Link): void {
    spawnCallbacks.delete(callback);
  }

  /** Schedules it to run. Nothing happens if it was started or has ended. Never switches. */
  start(): void {
    if (this._state !== State.New) return;
    requireHub();
    this._schedule();
    if (spawnCallbacks.size > 0) this._announce();
    // A callback may have killed it.
    if ((this._state as State) !== State.Scheduled) return;
    try {
      this._enqueue();
    } catch (error) {
      this._state = State.New;
      throw error;
    }
  }

  /** Schedules it to run after `ms`. Nothing happens if it was started or has ended. Never switches. */
  startLater(ms: number): void {
    const delay = checkMilliseconds('startLater()', ms);
    if (this._state !== State.New) return;
    requireHub();
    this._schedule();
    if (spawnCallbacks.size > 0) this._announce();
    // A callback may have killed it.
    if ((this._state as State) !== State.Scheduled) return;
    const timer = new HubTimer({ expire: () => this._enqueueInTime() });
    this._getDetails().timer = timer;
    timer.start(delay, true);
  }

  private _schedule(): void {
    this._state = State.Scheduled;
    this._context = captureContext();
  }

  private _enqueue(): void {
    if (this._details === null || this._details.stackSize === 0) enqueue(this);
    else enqueueOn(this, this._details.stackSize);
  }

  /** When its timer is due: if there is no stack for it, it ends by that error. */
  private _enqueueInTime(): void {
    try {
      this._enqueue();
    } catch (error) {
      this._end(error, true);
    }
  }

  private _announce(): void {
    for (const callback of [...spawnCallbacks]) {
      try {
        callback(this);
      } catch (error) {
        getHub().report(callback, error);
      }
    }
  }

  /** Marks it as made by `run`: its children begin trees of their own. @internal */
  _markAsMain(): void {
    this._getDetails().isMain = true;
  }

  /** @internal */
  _configure({ stackSize, name }: SpawnOptions): this {
    if (stackSize !== undefined) this._getDetails().stackSize = checkStackSize('stackSize', stackSize);
    if (name !== undefined) this.name = name;
    return this;
  }

  // ---- running

  /** Starts and runs it, in a context, on a stack that is about to run something. @internal */
  _beginNow(stackId: number, context: Context): void {
    this._prepare(context);
    this._begin(stackId);
  }

  /** Starts it, in a context, in the middle of whatever code; returns when it has parked or ended. @internal */
  _enter(context: Context): void {
    this._prepare(context);
    enterFiber(this);
  }

  private _prepare(context: Context): void {
    this._state = State.Scheduled;
    this._context = context;
    if (spawnCallbacks.size > 0) this._announce();
  }

  /** @internal */
  _begin(stackId: number): void {
    if (this._state !== State.Scheduled) return;
    this._state = State.Running;
    enterStack(this, stackId);
    let outcome: unknown;
    let failed = false;
    try {
      outcome = this._args.length === 0 ? this._run() : this._run(...this._args);
    } catch (error) {
      failed = true;
      outcome = error;
    }
    leaveStack(this);
    this._end(outcome, failed);
  }

  private _end(outcome: unknown, failed: boolean): void {
    this._outcome = outcome;
    this._state = failed && !GreenletExit.is(outcome) ? State.Failed : State.Ended;
    if (this._state === State.Failed && this._details?.promised !== true) getHub().report(this, outcome);
    this._fn = typeof this._fn === 'function' ? this._fn.name : null;
    this._args = RELEASED;
    this._context = emptyContext;
    const details = this._details;
    if (details !== null) this._endDetails(details);
    if (this._links !== null) this._notifyLinks();
  }

  private _endDetails(details: Details): void {
    details.timer = null;
    if (details.family !== null) details.family.owner = new WeakRef(this);
    if (details.ident >= 0) {
      // The number is free again; a name made of it is kept.
      details.name ??= defaultName(details.ident);
      idents.giveBack(details.ident);
    }
  }

  // ---- state

  /** Whether it is started and has not ended. gevent: `bool(greenlet)`. */
  get started(): boolean {
    return this._state === State.Scheduled || this._state === State.Running;
  }

  /** Whether it has ended. */
  get ready(): boolean {
    return this._state >= State.Ended;
  }

  /** Whether it has ended: by its function, an error, or a kill before it began. */
  get dead(): boolean {
    return this._state >= State.Ended;
  }

  /** Whether it has ended without an error; being killed counts as that. */
  get successful(): boolean {
    return this._state === State.Ended;
  }

  /** What its function returned; the `GreenletExit` if it was killed; `undefined` before that or if it failed. */
  get value(): T | GreenletExit | undefined {
    return this._state === State.Ended ? (this._outcome as T | GreenletExit) : undefined;
  }

  /** The error that ended it, or `undefined`. */
  get error(): unknown {
    return this._state === State.Failed ? this._outcome : undefined;
  }

  /** The hub it runs on. */
  get hub(): Hub {
    return getHub();
  }

  /** A small number, unique among the greenlets of this hub that have asked for theirs; reused later. */
  get minimalIdent(): number {
    const details = this._getDetails();
    if (details.ident < 0) {
      details.ident = idents.take();
      if (this._args === RELEASED) idents.giveBack(details.ident);
    }
    return details.ident;
  }

  /** A name for reports. May be assigned. */
  get name(): string {
    return this._details?.name ?? defaultName(this.minimalIdent);
  }

  set name(name: string) {
    if (typeof name !== 'string')
      throw new TypeError(`a greenlet's name must be a string, got ${typeof name}`);
    this._getDetails().name = name;
  }

  /**
   * The JavaScript stack that leads to where it is parked, one line a frame. Empty unless it has started. Leaves the stack
   * for a moment, and nobody else runs.
   */
  get stack(): string {
    return stackOf(this);
  }

  // ---- the tree of who spawned whom

  /** @internal */
  _asFamily(): Family {
    const details = this._getDetails();
    return (details.family ??= new Family(this, this._spawner?.childLocals ?? {}, details.isMain));
  }

  /** The greenlet that made it; `undefined` if that was no greenlet, is gone, or `config.trackGreenletTree` is off. */
  get spawningGreenlet(): Greenlet<unknown> | undefined {
    return this._spawner?.greenlet;
  }

  /** An object that it shares with whoever spawned it and whom it spawns. Assign one to begin a tree of its own. */
  get spawnTreeLocals(): Record<PropertyKey, unknown> | undefined {
    return settings.trackGreenletTree ? this._asFamily().locals : undefined;
  }

  set spawnTreeLocals(locals: Record<PropertyKey, unknown> | undefined) {
    if (typeof locals !== 'object' || locals === null) {
      throw new TypeError(`spawnTreeLocals must be an object, got ${typeof locals}`);
    }
    const details = this._getDetails();
    details.family = new Family(this, locals, details.isMain);
  }

  private _captureSpawningStack(): void {
    const made = this.constructor as () => void;
    this._getDetails().spawningStack = captureStack(settings.spawningStackLimit, made);
  }

  /** Where it was made, one line a frame. Kept only while `config.spawningStackLimit` is not 0. */
  get spawningStack(): string {
    return linesOf(this._details?.spawningStack ?? {});
  }

  // ---- waiting for it

  /** Joins it at the end of a `using` block. Switches only if it must wait. */
  [Symbol.dispose](): void {
    this.join();
  }

  /**
   * Waits until it has ended, however that is. Neither its error nor a timeout is thrown. Switches only if it must wait.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @throws {InvalidSwitchError} if a greenlet joins itself
   */
  join(limits?: Limits): void {
    this._waitForEnd('join()', limits);
  }

  /** Waits; `false` on timeout. */
  private _waitForEnd(call: string, limits: Limits): boolean {
    const checked = checkLimits(call, limits);
    if (this._state >= State.Ended) return true;
    const waiting = currentRunnable();
    if (waiting === (this as Runnable)) {
      throw new InvalidSwitchError(`${call}: ${String(this)} would wait for its own end`);
    }
    if (isImmediate(checked)) return refuseToWait(checked);
    if (waiting === null) {
      throw new BlockingSwitchOutError(
        `${call} would block the hub. Call it in a greenlet, or await the greenlet, or link a callback to it.`,
      );
    }
    const joiner = new Joiner(waiting, this);
    (this._links ??= []).push(joiner);
    return parkWithin(call, joiner, checked);
  }

  /**
   * Waits until it has ended and returns its value. Switches only if it must wait.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @throws the error that ended the greenlet, the same object each time
   * @throws {Timeout} if the time is up first
   */
  get(limits?: Limits): T {
    if (!this._waitForEnd('get()', limits)) throw expired(checkLimits('get()', limits));
    if (this._state === State.Failed) throw this._outcome;
    return this._outcome as T;
  }

  /** Lets async code `await` it: resolves with its value, rejects with its error. */
  then<R1 = T, R2 = never>(
    onFulfilled?: ((value: T) => R1 | PromiseLike<R1>) | null,
    onRejected?: ((error: unknown) => R2 | PromiseLike<R2>) | null,
  ): Promise<R1 | R2> {
    this._takeError();
    const settled = new Promise<T>((resolve, reject) => {
      this._addLink({ callback: null, notify: () => settle<T>(this, resolve, reject) });
    });
    return settled.then(onFulfilled, onRejected);
  }

  // ---- links

  /**
   * Calls `callback` with this greenlet when it has ended, in the hub: it must not block. If it has ended already, soon.
   * Links are called in the order of being made; an error in one is reported and the others go on. Never switches.
   */
  rawlink(callback: Link<this>): void {
    checkFunction('rawlink()', callback);
    this._addLink(new RawLink(callback as Link));
  }

  /** As {@link rawlink}, in a greenlet of its own, so it may block. Never switches. */
  link(callback: Link<this>): void {
    checkFunction('link()', callback);
    this._addLink(new SpawningLink(callback as Link, LinkKind.Any));
  }

  /** As {@link link}, only if the greenlet ends without an error. */
  linkValue(callback: Link<this>): void {
    checkFunction('linkValue()', callback);
    this._addLink(new SpawningLink(callback as Link, LinkKind.Value));
  }

  /** As {@link link}, only if the greenlet ends by an error. */
  linkException(callback: Link<this>): void {
    checkFunction('linkException()', callback);
    this._addLink(new SpawningLink(callback as Link, LinkKind.Exception));
  }

  /** Removes the first link made with `callback`, of whichever kind. An unknown one is no error. */
  unlink(callback: Link<this>): void {
    const link = this._links?.find((entry) => entry.callback === callback);
    if (link !== undefined) this._removeLink(link);
  }

  /** Removes all links made with callbacks. Greenlets that join it go on waiting. */
  unlinkAll(): void {
    if (this._links !== null) this._links = this._links.filter((entry) => entry.callback === null);
  }

  /** Whether somebody is told when it ends. */
  hasLinks(): boolean {
    return this._links !== null && this._links.length > 0;
  }

  // ---- ending it

  /**
   * Throws `error` in it, where it is parked or parks next, and waits until it has ended. One that never began never
   * will. Killing a dead one does nothing; a greenlet that kills itself throws. Never throws for its timeout. Switches only if
   * it must wait.
   *
   * @param error - what to throw (default: a new {@link GreenletExit})
   * @param limits - how long to wait, in ms; `{ block: false }` does not wait
   */
  kill(error?: KillError, limits?: Limits): void {
    const checked = checkLimits('kill()', limits);
    const thrown = toError('kill()', error);
    if (this._state >= State.Ended) return;
    const caller = currentRunnable();
    if (caller === null && !isImmediate(checked) && this._state === State.Running) {
      throw new BlockingSwitchOutError(
        'kill() would block the hub until the greenlet has ended. Pass { block: false }, or call it in a greenlet.',
      );
    }
    this._interrupt(thrown, false);
    if (!isImmediate(checked)) this._waitForEnd('kill()', limits);
  }

  /**
   * Throws `error` in it before anything else that is ready runs, and does not wait. One that never began never will. Never
   * switches.
   * gevent: `greenlet.throw`.
   */
  throw(error?: KillError): void {
    const thrown = toError('throw()', error);
    if (!this.dead) this._interrupt(thrown, true);
  }

  /** @internal */
  _interrupt(error: Error, next: boolean): void {
    if (this._state === State.Running) {
      sendKill(this, error, next);
    } else if (!this.dead) {
      this._details?.timer?.cancel();
      this._end(error, true);
    }
  }

  // ---- looking at it

  /** @internal */
  _describe(): string {
    const fn = this._fn;
    const call = fn === null ? '' : `: ${describeFunction(fn)}(${describeArguments(this._args)})`;
    return `<${this.constructor.name} "${this.name}"${call}>`;
  }

  /** `<Greenlet "name": fn(args) …>` with what it is doing; subclasses may override it. */
  override toString(): string {
    return `${this._describe().slice(0, -1)} ${this._describeState()}>`;
  }

  private _describeState(): string {
    switch (this._state) {
      case State.New:
        return 'not started';
      case State.Scheduled:
        return 'about to start';
      case State.Running:
        if (currentRunnable() === (this as Runnable)) return 'running';
        return this._wait === null ? 'ready' : `parked in ${this._wait.describe()}`;
      case State.Ended:
        return GreenletExit.is(this._outcome) ? 'killed' : 'ended';
      case State.Failed:
        return `failed with ${this._outcome instanceof Error ? this._outcome.name : 'an error'}`;
    }
  }

  get [Symbol.toStringTag](): string {
    return 'Greenlet';
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/**
 * A greenlet without links, result or name: cheaper, and not to be joined. Errors are reported by the hub.
 * gevent: `gevent.spawn_raw`.
 */
export class RawGreenlet extends Runnable {
  /** @internal */
  _state: State = State.Scheduled;
  /** @internal */
  readonly _spawner: Family | null;
  /** @internal */
  protected _fn: ((...args: never[]) => unknown) | string;
  /** @internal */
  protected _args: readonly unknown[];

  /** @internal */
  constructor(fn: (...args: never[]) => unknown, args: readonly unknown[], context = captureContext()) {
    super();
    this._fn = fn;
    this._args = args;
    this._spawner = settings.trackGreenletTree ? familyOf(currentRunnable()) : null;
    this._context = context;
  }

  /** @internal */
  _begin(stackId: number): void {
    if (this._state !== State.Scheduled) return;
    this._state = State.Running;
    enterStack(this, stackId);
    let failed = false;
    let thrown: unknown;
    try {
      Reflect.apply(this._fn as (...args: never[]) => unknown, undefined, this._args as unknown[]);
    } catch (error) {
      failed = true;
      thrown = error;
    }
    leaveStack(this);
    this._end(failed, thrown);
  }

  /** @internal */
  protected _end(failed: boolean, error: unknown): void {
    this._state = State.Ended;
    this._context = emptyContext;
    this._fn = typeof this._fn === 'function' ? this._fn.name : this._fn;
    this._args = NO_ARGUMENTS;
    if (failed && !GreenletExit.is(error)) getHub().report(this, error);
    if (this._links !== null) this._notifyLinks();
  }

  /** Whether it has ended. */
  get dead(): boolean {
    return this._state === State.Ended;
  }

  /** The hub it runs on. */
  get hub(): Hub {
    return getHub();
  }

  /** The JavaScript stack that leads to where it is parked. Leaves the stack for a moment, and nobody else runs. */
  get stack(): string {
    return stackOf(this);
  }

  /** The greenlet that made it; `undefined` if that was no greenlet, is gone, or `config.trackGreenletTree` is off. */
  get spawningGreenlet(): Greenlet<unknown> | undefined {
    return this._spawner?.greenlet;
  }

  /** What it shares with whoever spawned it. */
  get spawnTreeLocals(): Record<PropertyKey, unknown> | undefined {
    return this._spawner?.childLocals;
  }

  /** Throws `error` in it, where it is parked or parks next. Never switches, unless it kills itself: then it throws. */
  kill(error?: KillError): void {
    const thrown = toError('kill()', error);
    if (!this.dead) this._interrupt(thrown, false);
  }

  /** As {@link kill}, before anything else that is ready runs. */
  throw(error?: KillError): void {
    const thrown = toError('throw()', error);
    if (!this.dead) this._interrupt(thrown, true);
  }

  /** @internal */
  _interrupt(error: Error, next: boolean): void {
    if (this._state === State.Running) {
      sendKill(this, error, next);
    } else {
      this._end(true, error);
    }
  }

  _describe(): string {
    return `<RawGreenlet ${describeFunction(this._fn)}(${describeArguments(this._args)})>`;
  }

  override toString(): string {
    const state =
      this._state === State.Ended
        ? 'ended'
        : this._wait === null
          ? 'ready'
          : `parked in ${this._wait.describe()}`;
    return `${this._describe().slice(0, -1)} ${state}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** Who spawned what `spawner` spawns: a raw greenlet stands for its own spawner. */
function familyOf(spawner: Runnable | null): Family | null {
  if (spawner instanceof Greenlet) return spawner._asFamily();
  return spawner instanceof RawGreenlet ? spawner._spawner : null;
}

/**
 * Throws `error` in a running greenlet. A second kill on top of one that has not arrived yet is none: it would only hit the
 * cleaning up after the first.
 */
function sendKill(greenlet: Runnable, error: Error, next: boolean): void {
  if (currentRunnable() === greenlet) throw error;
  if (GreenletExit.is(error) && isBeingKilled(greenlet)) return;
  interrupt(greenlet, error, { next, isKill: true });
}

/** Splits leading {@link SpawnOptions} from a function and its arguments. */
function withOptions(
  call: string,
  first: unknown,
  rest: unknown[],
): { options: SpawnOptions | null; fn: (...args: never[]) => unknown; args: unknown[] } {
  if (typeof first === 'function') {
    return { options: null, fn: first as (...args: never[]) => unknown, args: rest };
  }
  if (typeof first !== 'object' || first === null) checkFunction(call, first);
  const [fn, ...args] = rest;
  checkFunction(call, fn);
  return { options: first as SpawnOptions, fn: fn as (...args: never[]) => unknown, args };
}

/**
 * Runs `fn(...args)` in a new greenlet, soon: in the order of spawning, never before the caller parks or ends. May be
 * called anywhere, plain callbacks included. Never switches. gevent: `gevent.spawn`.
 *
 * @param options - optional, before `fn`: the stack's size in bytes and a name
 * @throws {TypeError} if `fn` is not a function; then nothing is spawned
 */
export function spawn<Args extends unknown[], T>(fn: (...args: Args) => T, ...args: Args): Greenlet<T>;
export function spawn<Args extends unknown[], T>(
  options: SpawnOptions,
  fn: (...args: Args) => T,
  ...args: Args
): Greenlet<T>;
export function spawn(first: unknown, ...rest: unknown[]): Greenlet<unknown> {
  if (typeof first === 'function') {
    const greenlet = new Greenlet(first as () => unknown, ...rest);
    greenlet.start();
    return greenlet;
  }
  const { options, fn, args } = withOptions('spawn()', first, rest);
  const greenlet = new Greenlet(fn, ...args)._configure(options ?? {});
  greenlet.start();
  return greenlet;
}

/**
 * As {@link spawn}, after `ms`; killed before, it never runs. Keeps the process alive. gevent: `gevent.spawn_later`.
 *
 * @throws {TypeError} if `ms` is not a number or `fn` not a function
 */
export function spawnLater<Args extends unknown[], T>(
  ms: number,
  fn: (...args: Args) => T,
  ...args: Args
): Greenlet<T> {
  checkMilliseconds('spawnLater()', ms);
  checkFunction('spawnLater()', fn);
  const greenlet = new Greenlet<T>(fn as unknown as (...args: never[]) => T, ...args);
  greenlet.startLater(ms);
  return greenlet;
}

/** As {@link spawn}, for a greenlet that nobody waits for. gevent: `gevent.spawn_raw`. */
export function spawnRaw<Args extends unknown[]>(fn: (...args: Args) => unknown, ...args: Args): RawGreenlet {
  checkFunction('spawnRaw()', fn);
  requireHub();
  const greenlet = new RawGreenlet(fn as unknown as (...args: never[]) => unknown, args);
  enqueue(greenlet);
  return greenlet;
}

/** The greenlet that runs, or `null` in the hub: in plain callbacks, promise reactions and module top levels. */
export function getCurrent(): Greenlet<unknown> | RawGreenlet | null {
  return currentRunnable() as Greenlet<unknown> | RawGreenlet | null;
}

/** Throws unless `value` is a greenlet, raw or not. */
export function checkGreenlet(call: string, value: unknown): Greenlet<unknown> | RawGreenlet {
  if (value instanceof Greenlet || value instanceof RawGreenlet) return value;
  if (value === getHub())
    throw new InvalidSwitchError(`${call}: the hub is no greenlet and cannot be killed`);
  throw new TypeError(`${call} expects a greenlet, got ${value === null ? 'null' : typeof value}`);
}

/**
 * Throws `error` in a greenlet and does not wait for its end. Never switches, unless a greenlet kills itself: then it
 * throws. gevent: `gevent.kill`.
 */
export function kill(greenlet: Greenlet<never> | Greenlet<unknown> | RawGreenlet, error?: KillError): void {
  const target = checkGreenlet('kill()', greenlet);
  const thrown = toError('kill()', error);
  if (!target.dead) target._interrupt(thrown, false);
}
