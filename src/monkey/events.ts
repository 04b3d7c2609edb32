/** Listeners of event emitters in greenlets of their own. */
import { EventEmitter } from 'node:events';

import { describe } from '../checks.js';
import { type AnyFunction, callInGreenlet } from './callback.js';
import type { Replacement } from './patching.js';

type Emit = (this: EventEmitter, type: string | symbol, ...args: unknown[]) => boolean;

/** What an emitter does with promises that its listeners return, or with a domain, is left to it. */
function isPlain(emitter: EventEmitter & { domain?: unknown }): boolean {
  if (emitter.domain !== undefined && emitter.domain !== null) return false;
  const captures = Object.getOwnPropertySymbols(emitter).find(
    ({ description }) => description === 'kCapture',
  );
  return captures === undefined || (emitter as unknown as Record<symbol, unknown>)[captures] !== true;
}

/** Calls each listener in a greenlet of its own, or if there is one only, all that `emit` does. */
function emitInGreenlets(emit: Emit, emitter: EventEmitter, type: string | symbol, args: unknown[]): boolean {
  const listeners = emitter.rawListeners(type) as AnyFunction[];
  if (listeners.length > 1 && type !== 'error' && isPlain(emitter)) {
    for (const listener of listeners) callInGreenlet(listener, emitter, args);
  } else {
    const [first] = listeners as Array<AnyFunction & { listener?: AnyFunction }>;
    callInGreenlet(emit as AnyFunction, emitter, [type, ...args], first?.listener ?? first);
  }
  return true;
}

/** The `emit` that `owner` would have without one of its own. */
function inheritedEmit(owner: object): Emit {
  return (Object.getPrototypeOf(owner) as { emit: Emit }).emit;
}

/**
 * An `emit` for an emitter or a prototype of emitters: listeners of events for which `concerns` holds run in greenlets of
 * their own.
 */
export function emitReplacement(
  owner: object,
  concerns: (type: string | symbol, emitter: EventEmitter) => boolean,
): Replacement {
  const own = Object.hasOwn(owner, 'emit') ? (owner as { emit: Emit }).emit : null;
  const value: Emit = function (this: EventEmitter, type, ...args) {
    // Looked up each time: modules such as `domain` replace it.
    const emit = own ?? inheritedEmit(owner);
    if (this.listenerCount(type) === 0 || !concerns(type, this))
      return Reflect.apply(emit, this, [type, ...args]);
    return emitInGreenlets(emit, this, type, args);
  };
  Object.defineProperty(value, 'name', { value: 'emit' });
  return { owner, key: 'emit', value };
}

const patchedEmitters = new WeakMap<
  EventEmitter,
  { value: unknown; before: PropertyDescriptor | undefined }
>();

function checkEmitter(call: string, emitter: unknown): asserts emitter is EventEmitter {
  const { emit, rawListeners, listenerCount } = (emitter ?? {}) as Partial<EventEmitter>;
  if (typeof emit === 'function' && typeof rawListeners === 'function' && typeof listenerCount === 'function')
    return;
  throw new TypeError(`${call} expects an event emitter, got ${describe(emitter)}`);
}

/**
 * From now on each listener of `emitter`, present or future, runs in a greenlet of its own and may block. It begins at once,
 * as without that; when it parks, `emit` goes on. What it throws before that is thrown by `emit`, and later an uncaught
 * exception. Events that a greenlet emits are handled in that greenlet. Never switches.
 *
 * @param events - only these events (default: all)
 * @returns `false` if that was done before
 */
export function patchEvents(emitter: EventEmitter, events?: Iterable<string | symbol>): boolean {
  checkEmitter('patchEvents()', emitter);
  if (typeof events === 'string' || (events !== undefined && typeof events[Symbol.iterator] !== 'function'))
    throw new TypeError(`patchEvents() expects a list of events, got ${describe(events)}`);
  if (patchedEmitters.has(emitter)) return false;
  const chosen = events === undefined ? null : new Set(events);
  const { value } = emitReplacement(emitter, (type) => chosen?.has(type) ?? true);
  const before = Object.getOwnPropertyDescriptor(emitter, 'emit');
  patchedEmitters.set(emitter, { value, before });
  Object.defineProperty(emitter, 'emit', { value, configurable: true, writable: true, enumerable: false });
  return true;
}

/** Undoes {@link patchEvents}. `false` if there is nothing to undo. Never switches. */
export function unpatchEvents(emitter: EventEmitter): boolean {
  checkEmitter('unpatchEvents()', emitter);
  const patch = patchedEmitters.get(emitter);
  if (patch === undefined) return false;
  patchedEmitters.delete(emitter);
  if (Object.getOwnPropertyDescriptor(emitter, 'emit')?.value !== patch.value) return true;
  if (patch.before === undefined) Reflect.deleteProperty(emitter, 'emit');
  else Object.defineProperty(emitter, 'emit', patch.before);
  return true;
}
