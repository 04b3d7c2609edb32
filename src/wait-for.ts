/** Between greenlets and promises: `waitFor` one way, `asyncify` the other. */
import { Greenlet } from './greenlet.js';
import { awaitOutside, requireGreenlet, type Runnable, type Wait, wake } from './hub.js';
import { checkFunction } from './checks.js';
import { type CheckedLimits, checkLimits, expired, isImmediate, type Limits, parkWithin } from './limits.js';

/** A greenlet that is parked until a promise is settled. */
class PromiseWait implements Wait {
  state: 'pending' | 'fulfilled' | 'rejected' = 'pending';
  content: unknown = undefined;
  #waiting: Runnable | null;
  readonly #maker: Maker;

  constructor(waiting: Runnable, promise: PromiseLike<unknown>, maker: Maker) {
    this.#waiting = waiting;
    this.#maker = maker;
    promise.then(
      (value) => this.#settle('fulfilled', value),
      (error: unknown) => this.#settle('rejected', error),
    );
  }

  #settle(state: 'fulfilled' | 'rejected', content: unknown): void {
    // The `then` of a subclass may call back twice.
    if (this.state !== 'pending') return;
    this.state = state;
    this.content = content;
    if (this.#waiting !== null) wake(this.#waiting, this);
  }

  /** Parks until it is settled. `false`: the limits' own time passed first. */
  park(call: string, limits: CheckedLimits): boolean {
    awaitOutside(1);
    try {
      return parkWithin(call, this, limits);
    } finally {
      awaitOutside(-1);
    }
  }

  cancel(): void {
    this.#waiting = null;
  }

  describe(): string {
    const name = this.#maker?.name;
    return name ? `waitFor of the promise that ${name}() has returned` : 'waitFor of a promise';
  }
}

/** The function that has made a promise, if it is known: for reports. */
type Maker = ((...args: never[]) => unknown) | null;

/** Whether a value can have properties. */
export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** Whether a value is a promise, or behaves like one. */
export function isThenable<T>(value: unknown): value is PromiseLike<T> {
  return isObject(value) && typeof (value as { then?: unknown }).then === 'function';
}

/** A value as a promise; `null` if it is none, and does not behave like one. */
function promiseOf(value: unknown): PromiseLike<unknown> | null {
  if (value instanceof Promise) return value;
  if (!isObject(value)) return null;
  const { then } = value as { then?: unknown };
  if (typeof then !== 'function') return null;
  // As `await` has it: what a thenable calls first counts, throwing rejects, and what it is kept with may be one again.
  return new Promise((resolve, reject) => void Reflect.apply(then, value, [resolve, reject]));
}

/**
 * Parks until `promise` is settled; its value.
 *
 * @param giveUp - told why, if the wait ends before the promise is settled
 */
export function awaitPromise(
  call: string,
  promise: PromiseLike<unknown>,
  limits: CheckedLimits,
  maker: Maker = null,
  giveUp: ((error: unknown) => void) | null = null,
): unknown {
  const wait = new PromiseWait(requireGreenlet(call), promise, maker);
  try {
    if (wait.state === 'pending' && (isImmediate(limits) || !wait.park(call, limits))) {
      wait.cancel();
      throw expired(limits);
    }
  } catch (error) {
    giveUp?.(error);
    throw error;
  }
  if (wait.state === 'rejected') throw wait.content;
  return wait.content;
}

/**
 * Waits for a promise and returns its value, synchronously. Switches unless the value is no promise, which is returned as
 * it is. Any object with a `then` counts, and is treated as by `await`.
 *
 * Given a function, passes it an `AbortSignal` that is aborted if the greenlet is killed or its time is up, so that the
 * operation behind the promise ends too.
 *
 * @param source - a promise, or a function that takes a signal and returns one
 * @param limits - how long to wait, in ms, and what else may end the wait
 * @throws the reason of a rejected promise
 * @throws {Timeout} if the time is up first
 *
 * @example
 * const response = waitFor((signal) => fetch(url, { signal }), 5000);
 */
export function waitFor<T>(source: (signal: AbortSignal) => T, limits?: Limits): Awaited<T>;
export function waitFor<T>(source: T, limits?: Limits): Awaited<T>;
export function waitFor(source: unknown, limits?: Limits): unknown {
  const call = 'waitFor()';
  const checked = checkLimits(call, limits);
  requireGreenlet(call);
  const promise = promiseOf(source);
  if (promise !== null) return awaitPromise(call, promise, checked);
  return typeof source === 'function' ? waitForCall(call, source as Make, checked) : source;
}

type Make = (signal: AbortSignal) => unknown;

function waitForCall(call: string, make: Make, limits: CheckedLimits): unknown {
  const controller = new AbortController();
  try {
    const value = make(controller.signal);
    const promise = promiseOf(value);
    return promise === null ? value : awaitPromise(call, promise, limits, make);
  } catch (error) {
    controller.abort(error);
    throw error;
  }
}

/**
 * Turns a blocking function into one that returns a promise: each call runs it in a greenlet of its own. For callbacks and
 * async code. An error rejects the promise and is not reported. Never switches.
 */
export function asyncify<This, Args extends unknown[], T>(
  fn: (this: This, ...args: Args) => T,
): (this: This, ...args: Args) => Promise<Awaited<T>> {
  checkFunction('asyncify()', fn);
  return function (this: This, ...args: Args): Promise<Awaited<T>> {
    const greenlet = new Greenlet<T>(() => fn.apply(this, args));
    const settled = greenlet.then() as Promise<Awaited<T>>;
    try {
      greenlet.start();
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return settled;
  };
}
