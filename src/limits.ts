/** How long a call may wait, and what else may end it: the last argument of every call that parks. */
import { checkMilliseconds, describe } from './checks.js';
import { interrupt, park, requireGreenlet, shieldsOf, type Wait, withdraw } from './hub.js';
import { Timeout } from './timeout.js';
import { now } from './timers.js';

/**
 * Limits of a wait. A number is a timeout in ms; `null` or nothing waits for ever; a {@link Timeout} gives its time, and
 * it is that object (or its own error) that is thrown.
 */
export type Limits = number | Timeout | LimitOptions | null | undefined;

/** The long form of {@link Limits}. */
export interface LimitOptions {
  /** In ms; `null`: for ever; negative counts as 0. */
  timeout?: number | Timeout | null | undefined;
  /** `false` never parks, like a timeout of 0. */
  block?: boolean | undefined;
  /** Aborting it throws its reason in the waiting greenlet. */
  signal?: AbortSignal | undefined;
}

/** {@link Limits}, checked. */
export interface CheckedLimits {
  /** In ms; −1: for ever. */
  readonly timeout: number;
  /** The `Timeout` that the time is from, or that is pending already. */
  readonly limit: Timeout | null;
  readonly signal: AbortSignal | null;
}

/** The limits of a wait that nothing limits. */
export const FOR_EVER: CheckedLimits = { timeout: -1, limit: null, signal: null };

function checkTimeout(call: string, value: unknown): number {
  if (value === null || value === undefined) return -1;
  const ms = checkMilliseconds(call, value);
  return ms === Infinity ? -1 : ms;
}

/** The time of a `Timeout` that is passed as a limit; one that is pending throws by itself. */
function timeOf(limit: Timeout): number {
  return limit.pending || limit.ms === null || limit.ms === Infinity ? -1 : Math.max(0, limit.ms);
}

/** Checks the limits of `call`. */
export function checkLimits(call: string, limits: Limits): CheckedLimits {
  if (limits === undefined || limits === null) return FOR_EVER;
  if (typeof limits === 'number') return { timeout: checkTimeout(call, limits), limit: null, signal: null };
  if (limits instanceof Timeout) return { timeout: timeOf(limits), limit: limits, signal: null };
  if (typeof limits !== 'object') {
    throw new TypeError(
      `${call} expects a timeout in milliseconds, a Timeout or { timeout, block, signal }, got ${describe(limits)}`,
    );
  }
  const { timeout, block = true, signal = null } = limits;
  if (typeof block !== 'boolean')
    throw new TypeError(`${call}: block must be true or false, got ${describe(block)}`);
  if (signal !== null && !(signal instanceof AbortSignal)) {
    throw new TypeError(`${call}: signal must be an AbortSignal, got ${describe(signal)}`);
  }
  if (timeout instanceof Timeout) return { timeout: block ? timeOf(timeout) : 0, limit: timeout, signal };
  const checked = checkTimeout(call, timeout);
  return { timeout: block ? checked : 0, limit: null, signal };
}

/** What is left of `limits` from now on, at each moment that it is asked: for calls that wait several times. */
export function countingDown(limits: CheckedLimits): () => CheckedLimits {
  if (limits.timeout <= 0) return () => limits;
  const deadline = now() + limits.timeout;
  return () => ({ ...limits, timeout: Math.max(0, deadline - now()) });
}

/** Whether the limits allow no waiting at all. */
export function isImmediate(limits: CheckedLimits): boolean {
  return limits.timeout === 0;
}

/** What a call gives whose time is up: `false`, unless its `Timeout` has an error of its own, which is thrown. */
export function refuseToWait(limits: CheckedLimits): false {
  const { limit } = limits;
  if (limit !== null) {
    const error = limit.thrown();
    if (error !== limit) throw error;
  }
  return false;
}

/** Runs `operation`, which may park, such that an aborted signal interrupts the greenlet meanwhile. */
export function withinLimits<T>(call: string, { signal }: CheckedLimits, operation: () => T): T {
  if (signal === null) return operation();
  const greenlet = requireGreenlet(call);
  signal.throwIfAborted();
  // Those that the call is in do not keep the abort off.
  const shields = shieldsOf(greenlet);
  const onAbort = (): void => {
    if (greenlet._stackId >= 0) interrupt(greenlet, signal.reason, { sender: onAbort, shields });
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return operation();
  } finally {
    signal.removeEventListener('abort', onAbort);
    withdraw(greenlet, onAbort);
  }
}

/**
 * Parks on `wait` as long as `limits` allow. `false` if their own time passed first, a `Timeout` object's included unless
 * that has an error of its own.
 */
export function parkWithin(call: string, wait: Wait, limits: CheckedLimits, referenced = true): boolean {
  const { limit, signal, timeout } = limits;
  if (limit === null && signal === null) return park(call, wait, timeout, referenced);
  let woken: boolean;
  try {
    woken = withinLimits(call, limits, () => park(call, wait, timeout, referenced));
  } catch (error) {
    wait.cancel();
    if (error === limit) return false;
    throw error;
  }
  return woken || refuseToWait(limits);
}

/** What to throw when the limits' own time has passed. */
export function expired(limits: CheckedLimits): unknown {
  return limits.limit === null ? timedOut(new Timeout(limits.timeout)) : limits.limit.thrown();
}

/** As {@link expired}, for calls with an error of their own: only a `Timeout` that was passed is thrown itself. */
export function timeIsUp({ limit }: CheckedLimits, Failure: new () => Error): unknown {
  return limit === null ? new Failure() : limit.thrown();
}

/** A new `Timeout` that is thrown at once. */
export function timedOut(error: Timeout): Timeout {
  Error.captureStackTrace(error, timedOut);
  return error;
}
