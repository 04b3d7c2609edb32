/** Waiting for events of Node's emitters and of event targets. */
import { EventEmitter, on as eventsOf, once as firstOf } from 'node:events';

import { BlockingIterator } from './blocking-iterator.js';
import { checkOptions, describe } from './checks.js';
import { requireGreenlet } from './hub.js';
import { checkLimits, type LimitOptions, type Limits } from './limits.js';
import type { DisposableIterator } from './wait.js';
import { awaitPromise } from './wait-for.js';

/** What {@link once} and {@link on} listen to: also an emitter that is cooperative. */
export type Emitter =
  | EventTarget
  | { on(...args: never[]): unknown; once(...args: never[]): unknown; off(...args: never[]): unknown };

/** Options of {@link on}; the limits hold for each wait. */
export interface OnOptions extends LimitOptions {
  /** Names of events that end the iteration, such as `'close'`. */
  close?: readonly string[];
}

function checkEmitter(call: string, emitter: Emitter, event: string | symbol): void {
  const { on } = (emitter ?? {}) as { on?: unknown };
  if (!(emitter instanceof EventEmitter || emitter instanceof EventTarget || typeof on === 'function'))
    throw new TypeError(`${call} expects an EventEmitter or an EventTarget, got ${describe(emitter)}`);
  if (typeof event !== 'string' && typeof event !== 'symbol')
    throw new TypeError(`${call} expects the name of an event, got ${describe(event)}`);
}

/**
 * Waits for an event, and returns what its listeners are called with; of an `EventTarget`, the event is the only one. If the
 * emitter emits `'error'` first, that is thrown. Events that come before the call and after the one that is returned are not seen:
 * see {@link on}. Switches.
 *
 * @param limits - how long to wait, in ms, and what else may end the wait; then nobody listens any more
 * @throws {Timeout} if the time is up first
 * @throws {TypeError} if there is nothing to listen to
 * @throws the error of the event `'error'`
 *
 * @example
 * const [socket] = once(server, 'connection', 5000) as [Socket];
 */
export function once(emitter: Emitter, event: string | symbol, limits?: Limits): unknown[] {
  const call = 'once()';
  const checked = checkLimits(call, limits);
  requireGreenlet(call);
  checkEmitter(call, emitter, event);
  const controller = new AbortController();
  const promise = firstOf(emitter as EventEmitter, event, { signal: controller.signal });
  return awaitPromise(call, promise, checked, once, () => controller.abort()) as unknown[];
}

/**
 * Iterates over events from now on, each as what its listeners are called with; those that come between two steps are kept. Ends
 * at an event of `close`, and with what the event `'error'` has. The call never switches, steps switch if they must wait.
 *
 * @param options - limits of each wait, of which the end ends the iteration, and which events do
 * @throws {TypeError} if there is nothing to listen to
 *
 * @example
 * for (const [line] of on(lines, 'line', { close: ['close'] })) console.log(line);
 */
export function on(
  emitter: Emitter,
  event: string | symbol,
  options?: OnOptions,
): DisposableIterator<unknown[]> {
  const call = 'on()';
  const { close = [], ...limits } = checkOptions<OnOptions>(call, options);
  const checked = checkLimits(call, limits);
  checkEmitter(call, emitter, event);
  if (!Array.isArray(close))
    throw new TypeError(`${call}: close must be an array of names, got ${describe(close)}`);
  const events = eventsOf(emitter as EventEmitter, event as string, { close: [...close] });
  return new BlockingIterator<unknown[]>(call, events, () => {}, checked);
}
