/** `TaskGroup`: greenlets that belong together. Leaving the group waits for all; the first that fails ends the others. */
import { inspect } from 'node:util';

import { checkFunction, checkMilliseconds, checkOptions } from './checks.js';
import { GreenletExit, GreenstackError } from './errors.js';
import { Greenlet } from './greenlet.js';
import {
  currentRunnable,
  getHub,
  interrupt,
  type LinkEntry,
  park,
  requireGreenlet,
  type Runnable,
  shield,
  shieldsOf,
  type Wait,
  wake,
  withdraw,
} from './hub.js';
import { leaveErrors, takeError } from './imap.js';
import { type CheckedLimits, checkLimits, expired, timedOut } from './limits.js';
import { Timeout } from './timeout.js';
import { HubTimer } from './timers.js';

/** Options of {@link TaskGroup.run}. */
export interface TaskGroupOptions {
  /** How long it may take, in ms. */
  timeout?: number | Timeout | null | undefined;
  /** Until when it may take, in ms as `getHub().now()`. */
  deadline?: number | null | undefined;
  /** Aborting it cancels the group. */
  signal?: AbortSignal | undefined;
}

const RUN = 'TaskGroup.run()';
const SHOWN_ERRORS = 3;

const enum Stage {
  /** The function runs. */
  Body,
  /** It has ended, and some greenlets have not. */
  Leaving,
  Over,
}

/** An error that is thrown in the end. */
interface Thrown {
  readonly error: unknown;
}

/**
 * Greenlets that end before the call that has begun them: structured concurrency.
 *
 * {@link TaskGroup.run} calls a function with a new group and waits for everything that is spawned in it. If one of the
 * greenlets fails, the others are killed. If the caller is killed or its time is up, all are killed. Whatever happens, none of
 * them outlives the call, with one exception: when nobody can wait any more, because of a deadlock (`LoopExit`) or the end of
 * the hub, one that is parked within a `shield`, or swallows the kill and parks again, is left behind.
 *
 * In the spirit of Trio's nurseries and Python's `asyncio.TaskGroup`; gevent has nothing like it.
 *
 * @example
 * const [user, orders] = TaskGroup.run((group) => {
 *   const user = group.spawn(loadUser, id);
 *   const orders = group.spawn(loadOrders, id);
 *   return [user.get(), orders.get()];
 * });
 */
export class TaskGroup {
  readonly #host: Runnable;
  /** The shields that the host was in at the start: those do not keep a cancellation off. */
  readonly #shields: number;
  readonly #limits: CheckedLimits;
  /** What was given as its time, be it pending or not. */
  readonly #timeout: Timeout | null;
  readonly #deadline: number;
  readonly #timer = new HubTimer({
    expire: () => this.#exceed(expired(this.#limits)),
  });
  readonly #onAbort = (): void => this.#exceed(this.#limits.signal?.reason);
  readonly #greenlets = new Set<Greenlet<unknown>>();
  readonly #link: LinkEntry = {
    callback: null,
    notify: (ended) => this.#end(ended as Greenlet<unknown>),
  };
  /** Greenlets that have failed, in the order of that. */
  readonly #failed: Array<Greenlet<unknown>> = [];
  /** What the host is parked on at the end. */
  readonly #wait: Wait = {
    cancel() {},
    describe: () => `${RUN} of ${String(this)}`,
  };
  #stage = Stage.Body;
  #cancelled = false;
  /** What is thrown in the function when the group is cancelled. */
  #cancellation: GreenletExit | null = null;
  /** The error of the limit that has cancelled it. */
  #exceeded: Thrown | null = null;

  private constructor(options: TaskGroupOptions | undefined) {
    const { timeout, deadline, signal } = checkOptions<TaskGroupOptions>(RUN, options);
    const limits = checkLimits(RUN, { timeout, signal });
    const until = checkMilliseconds(`${RUN}: deadline`, deadline ?? Infinity);
    const now = getHub().now();
    const left = Math.max(0, until - now);
    const isFirst = left !== Infinity && (limits.timeout < 0 || left < limits.timeout);
    this.#timeout = limits.limit;
    this.#limits = isFirst ? { ...limits, timeout: left, limit: null } : limits;
    this.#deadline = this.#limits.timeout < 0 ? Infinity : now + this.#limits.timeout;
    this.#host = requireGreenlet(RUN);
    this.#shields = shieldsOf(this.#host);
  }

  /**
   * Calls `fn` with a new group, in the current greenlet, and waits until all greenlets of the group have ended, which may spawn
   * others in it meanwhile. Switches only if it must wait.
   *
   * The group is cancelled, which kills all of its greenlets and throws a `GreenletExit` in `fn` where it is parked or parks next,
   *
   * - when one of its greenlets fails: then an `AggregateError` of all such errors is thrown in the end;
   * - when an error leaves `fn`, or something else ends the wait (a kill, a timeout of the caller): then that is thrown in the
   *   end, as it is, and errors of greenlets are reported;
   * - by `timeout`, `deadline` or `signal`: then the `Timeout` or the signal's reason is thrown in the end;
   * - by {@link cancel}: that is no error.
   *
   * @param options - `timeout`: how long it may take, in ms; `deadline`: until when, as `getHub().now()`; `signal`
   * @returns what `fn` returns; `undefined` if a cancellation has ended it
   * @throws {AggregateError} if greenlets of the group have failed
   * @throws {LoopExit} if all wait for each other; greenlets that a kill does not end are left behind then
   * @throws {Timeout} if the time is up first, unless that was made with the error `false`
   */
  static run<T>(fn: (group: TaskGroup) => T, options?: TaskGroupOptions): T | undefined {
    checkFunction(RUN, fn);
    return new TaskGroup(options).#run(fn);
  }

  /** Whether it has been cancelled, for whatever reason. Nothing can be spawned in it any more. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** When its time is up, in ms as `getHub().now()`; `Infinity`: never. A group around it may end it before. */
  get deadline(): number {
    return this.#deadline;
  }

  /** The greenlets that have not ended, in the order in which they were spawned. */
  get greenlets(): ReadonlySet<Greenlet<unknown>> {
    return this.#greenlets;
  }

  /**
   * Runs `fn(...args)` in a new greenlet of the group. May be called anywhere as long as the group is open, also in its greenlets
   * and in plain callbacks. Its error is thrown by {@link TaskGroup.run}, and not reported. Never switches.
   *
   * @throws {TypeError} if `fn` is not a function
   * @throws {GreenstackError} `ERR_GREENSTACK_TASK_GROUP_CLOSED`, if the group has been cancelled or is over
   */
  spawn<Args extends unknown[], T>(fn: (...args: Args) => T, ...args: Args): Greenlet<T> {
    checkFunction('TaskGroup.spawn()', fn);
    if (this.#cancelled || this.#stage === Stage.Over) {
      const reason = this.#stage === Stage.Over ? 'is over' : 'has been cancelled';
      throw new GreenstackError(
        'ERR_GREENSTACK_TASK_GROUP_CLOSED',
        `TaskGroup.spawn(): the group ${reason}, and takes no more greenlets`,
      );
    }
    const greenlet = new Greenlet<T>(fn as unknown as (...args: never[]) => T, ...args);
    takeError(greenlet);
    this.#greenlets.add(greenlet);
    greenlet._addLink(this.#link);
    try {
      greenlet.start();
    } catch (error) {
      this.#greenlets.delete(greenlet);
      throw error;
    }
    return greenlet;
  }

  /**
   * Cancels the group: kills all of its greenlets, and throws a `GreenletExit` in the function of the group if that is not done.
   * Does not wait for them; whoever calls it and is one of them is killed at its next park. That is no error: `run` returns what
   * the function has returned, if it has. A second call, and one after the end, do nothing. Never switches.
   *
   * @param reason - the `cause` of each `GreenletExit`
   */
  cancel(reason?: unknown): void {
    this.#cancel(reason);
  }

  /** `<TaskGroup 3 greenlets>`, `<TaskGroup 1 greenlet, cancelled>`. */
  toString(): string {
    const { size } = this.#greenlets;
    return `<TaskGroup ${size} ${size === 1 ? 'greenlet' : 'greenlets'}${this.#cancelled ? ', cancelled' : ''}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }

  #run<T>(fn: (group: TaskGroup) => T): T | undefined {
    const { signal, timeout } = this.#limits;
    signal?.throwIfAborted();
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (timeout >= 0) this.#timer.startInGreenlet(timeout, true);
    let value: T | undefined;
    let thrown: Thrown | null = null;
    try {
      value = fn(this);
    } catch (error) {
      if (error !== this.#cancellation) thrown = { error };
      this.#cancel(error);
    }
    thrown = this.#leave(thrown);
    if (thrown !== null && this.#isSilent(thrown.error)) thrown = null;
    this.#timer.cancel();
    signal?.removeEventListener('abort', this.#onAbort);
    this.#conclude(thrown);
    return value;
  }

  /** Waits for all greenlets, whatever comes; returns what is to be thrown. */
  #leave(thrown: Thrown | null): Thrown | null {
    this.#stage = Stage.Leaving;
    withdraw(this.#host, this);
    let outcome = thrown;
    if (outcome === null) {
      try {
        this.#joinAll();
      } catch (error) {
        outcome = { error };
        this.#cancel(error);
      }
    }
    try {
      // What comes now is kept by the shield, for after the group.
      if (this.#greenlets.size > 0) shield(() => this.#joinAll());
    } catch (error) {
      // Nobody can be waited for any more: a deadlock, or the hub was destroyed.
      outcome = { error };
    }
    this.#stage = Stage.Over;
    leaveErrors(this.#greenlets);
    return outcome;
  }

  #joinAll(): void {
    while (this.#greenlets.size > 0) park(RUN, this.#wait);
  }

  /** Throws what is to be thrown in the end, once. */
  #conclude(thrown: Thrown | null): void {
    const failed = this.#failed;
    const errors = failed.map(({ error }) => error);
    // The function may have got the error of a greenlet by asking it for its value.
    const first = thrown !== null && !errors.includes(thrown.error) ? thrown : this.#exceeded;
    if (first !== null) {
      leaveErrors(failed);
      throw first === this.#exceeded && first.error instanceof Timeout ? timedOut(first.error) : first.error;
    }
    if (errors.length > 0) throw aggregate(errors);
  }

  /** One of its greenlets has ended. */
  #end(greenlet: Greenlet<unknown>): void {
    this.#greenlets.delete(greenlet);
    if (!greenlet.successful) {
      this.#failed.push(greenlet);
      this.#cancel(greenlet.error);
    }
    if (this.#greenlets.size === 0) wake(this.#host, this.#wait);
  }

  /** A limit was passed. */
  #exceed(error: unknown): void {
    if (this.#cancelled) return;
    if (!this.#isSilent(error)) this.#exceeded = { error };
    this.#cancel(error);
  }

  /** Whether it is the group's own `Timeout`, which ends it without an error. */
  #isSilent(error: unknown): boolean {
    return error === this.#timeout && this.#timeout?.error === false;
  }

  #cancel(cause: unknown): void {
    if (this.#cancelled || this.#stage === Stage.Over) return;
    this.#cancelled = true;
    for (const greenlet of [...this.#greenlets]) kill(greenlet, cancellation(cause));
    if (this.#stage !== Stage.Body) return;
    this.#cancellation = cancellation(cause);
    interrupt(this.#host, this.#cancellation, {
      sender: this,
      shields: this.#shields,
    });
  }
}

function cancellation(cause: unknown): GreenletExit {
  return new GreenletExit('the task group was cancelled', cause === undefined ? undefined : { cause });
}

/** Kills a greenlet without waiting; the current one at its next park. */
function kill(greenlet: Greenlet<unknown>, error: GreenletExit): void {
  if (greenlet === currentRunnable()) interrupt(greenlet, error, { isKill: true });
  else greenlet.kill(error, { block: false });
}

function aggregate(errors: unknown[]): AggregateError {
  const shown = errors.slice(0, SHOWN_ERRORS).map(messageOf).join('; ');
  const more = errors.length > SHOWN_ERRORS ? '; …' : '';
  const count = errors.length === 1 ? 'a greenlet' : `${errors.length} greenlets`;
  return new AggregateError(errors, `${count} of the task group failed: ${shown}${more}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : inspect(error, { depth: 0 });
}
