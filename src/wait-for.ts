/** Between greenlets and promises: `waitFor` one way, `asyncify` the other. */
import { Greenlet } from './greenlet.js';
import { awaitOutside, requireGreenlet, type Runnable, type Wait, wake } from './hub.js';
import { checkFunction } from './checks.js';
import { type CheckedLimits, checkLimits, expired, isImmediate, type Limits, parkWithin } from './limits.js';

/** A greenlet that is parked until a promise is settled. */
class PromiseWait<T> implements Wait {
  state: 'pending' | 'fulfilled' | 'rejected' = 'pending';
  content: unknown = undefined;
  #waiting: Runnable | null;

  constructor(waiting: Runnable, promise: PromiseLike<T>) {
    this.#waiting = waiting;
    promise.then(
      (value) => this.#settle('fulfilled', value),
      (error: unknown) => this.#settle('rejected', error),
    );
  }

  #settle(state: 'fulfilled' | 'rejected', content: unknown): void {
    // A thenable may call back twice.
    if (this.state !== 'pending') return;
    this.state = state;
    this.content = content;
    if (this.#waiting !== null) wake(this.#waiting, this);
  }

  /** Parks until it is settled. `false`: the limits' own time passed first. */
  park(limits: CheckedLimits): boolean {
    awaitOutside(1);
    try {
      return parkWithin('waitFor()', this, limits);
    } finally {
      awaitOutside(-1);
    }
  }

  cancel(): void {
    this.#waiting = null;
  }

  describe(): string {
    return 'waitFor of a promise';
  }
}

/** Whether a value is a promise, or behaves like one. */
export function isThenable<T>(value: unknown): value is PromiseLike<T> {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return isObject && typeof (value as { then?: unknown }).then === 'function';
}

/**
 * Waits for a promise and returns its value, synchronously. Switches unless the value is no promise, which is returned as
 * it is.
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
  const checked = checkLimits('waitFor()', limits);
  const greenlet = requireGreenlet('waitFor()');
  const isFactory = typeof source === 'function' && !isThenable(source);
  const controller = isFactory ? new AbortController() : null;
  try {
    const promise: unknown =
      controller === null ? source : (source as (signal: AbortSignal) => unknown)(controller.signal);
    if (!isThenable(promise)) return promise;
    const wait = new PromiseWait(greenlet, promise);
    if (wait.state === 'pending' && (isImmediate(checked) || !wait.park(checked))) {
      wait.cancel();
      throw expired(checked);
    }
    if (wait.state === 'rejected') throw wait.content;
    return wait.content;
  } catch (error) {
    controller?.abort(error);
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
