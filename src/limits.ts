/** How long a call may wait, and what else may end it: the last argument of every call that parks. */
import { checkMilliseconds, describe } from './checks.js';
import { HubDestroyed } from './errors.js';
import { interrupt, park, requireGreenlet, type Runnable, type Wait, withdraw } from './hub.js';
import { Timeout } from './timeout.js';

/**
 * Limits of a wait. A number is a timeout in ms; `null` or nothing waits for ever; a {@link Timeout} is started for the
 * call, and it is that object (or its own error) that is thrown.
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
  readonly limit: Timeout | null;
  readonly signal: AbortSignal | null;
}

const NO_LIMITS: CheckedLimits = { timeout: -1, limit: null, signal: null };

function checkTimeout(call: string, value: unknown): number {
  if (value === null || value === undefined) return -1;
  const ms = checkMilliseconds(call, value);
  return ms === Infinity ? -1 : ms;
}

/** Checks the limits of `call`. */
export function checkLimits(call: string, limits: Limits): CheckedLimits {
  if (limits === undefined || limits === null) return NO_LIMITS;
  if (typeof limits === 'number') return { timeout: checkTimeout(call, limits), limit: null, signal: null };
  if (limits instanceof Timeout) return { timeout: -1, limit: limits, signal: null };
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
  if (timeout instanceof Timeout) return { timeout: block ? -1 : 0, limit: timeout, signal };
  const checked = checkTimeout(call, timeout);
  return { timeout: block ? checked : 0, limit: null, signal };
}

/** Whether the limits allow no waiting at all. */
export function isImmediate(limits: CheckedLimits): boolean {
  return limits.timeout === 0;
}

/**
 * Runs `operation`, which may park, under the parts of `limits` that are no plain timeout: a `Timeout` object is
 * pending meanwhile, and an aborted signal interrupts the greenlet.
 */
export function withinLimits<T>(call: string, limits: CheckedLimits, operation: () => T): T {
  const { limit, signal } = limits;
  if (limit === null && signal === null) return operation();
  const greenlet = requireGreenlet(call);
  signal?.throwIfAborted();
  const onAbort = (): void => interruptIfAlive(greenlet, signal);
  const startedHere = limit !== null && !limit.pending;
  if (startedHere) limit.start();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return operation();
  } finally {
    if (signal !== null) {
      signal.removeEventListener('abort', onAbort);
      withdraw(greenlet, signal);
    }
    if (startedHere) limit.cancel();
  }
}

function interruptIfAlive(greenlet: Runnable, signal: AbortSignal | null): void {
  if (greenlet._stackId >= 0) interrupt(greenlet, signal?.reason ?? new HubDestroyed(), false, signal);
}

/** Parks on `wait` as long as `limits` allow. `false` if their own time passed first, a `Timeout` object's included. */
export function parkWithin(call: string, wait: Wait, limits: CheckedLimits): boolean {
  const { limit, signal, timeout } = limits;
  if (limit === null && signal === null) return park(call, wait, timeout);
  try {
    return withinLimits(call, limits, () => park(call, wait, timeout));
  } catch (error) {
    if (error === limit) return false;
    throw error;
  }
}

/** What to throw when the limits' own time has passed. */
export function expired(limits: CheckedLimits): Timeout {
  const error = limits.limit ?? new Timeout(limits.timeout);
  Error.captureStackTrace(error, expired);
  return error;
}
