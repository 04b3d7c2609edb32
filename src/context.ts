/**
 * The async context (what `AsyncLocalStorage` reads) follows the greenlet.
 *
 * Where Node keeps it in V8 (from Node 24 on; on 22 with `--experimental-async-context-frame`), native code swaps
 * it with the stack. Elsewhere the stores are properties of the execution async resource, which is one and the same
 * object for all greenlets of a hub: there the stores are taken off when a greenlet parks and put back when it
 * goes on. In both cases Node's stack of async ids must not grow across a switch (it is one per thread), so inside
 * greenlets the methods that would push onto it are replaced by ones that only change the context.
 */
import { AsyncLocalStorage, AsyncResource, executionAsyncId, executionAsyncResource } from 'node:async_hooks';

import { native } from './binding.js';
import { type Method, replaceMethod } from './replace-method.js';

/** What a greenlet keeps of its async context: V8's value, or the stores in the order of {@link storeKeys}. */
export type Context = unknown;

type Stores = readonly unknown[];

/** The async id of a turn: Node gives none to callbacks that belong to no resource. */
const TURN_ASYNC_ID = 0;

/** The execution async resource of all greenlets: the receiver of the turn. */
export const hubResource: object = { greenstack: 'hub' };

/** The property under which each `AsyncLocalStorage` keeps its store in a resource (Node 20, 22). */
const storeKeys: symbol[] = [];
const NO_STORES: Stores = [];

/** Whether Node keeps the context in V8. Leaves no trace of the storage that it asks with. */
const isNative = ((): boolean => {
  const probe = new AsyncLocalStorage<object>();
  const found = probe.run({}, () => native.getContext() !== undefined);
  const key = (probe as StorageInternals).kResourceStore;
  if (key !== undefined) Reflect.deleteProperty(executionAsyncResource(), key);
  probe.disable();
  return found;
})();

if (isNative) native.useNativeContext();

/** Whether the current code runs in a greenlet; set by hub.ts, which knows. */
let isInGreenlet: () => boolean = () => false;

type ResourceWithStores = Record<symbol, unknown>;

function currentResource(): ResourceWithStores {
  return executionAsyncResource() as ResourceWithStores;
}

function storesOf(resource: ResourceWithStores): Stores {
  return storeKeys.map((key) => resource[key]);
}

function applyStores(stores: Stores): void {
  if (storeKeys.length === 0) return;
  const resource = currentResource();
  for (let index = 0; index < storeKeys.length; index++) {
    resource[storeKeys[index] as symbol] = stores[index];
  }
}

/** The stores of the running code. Outside greenlets, storages used before the first greenlet are met here. */
function captureStores(): Stores {
  if (isInGreenlet()) return saveContext() as Stores;
  const resource = currentResource();
  learnFrom(resource);
  return storesOf(resource);
}

function learnFrom(resource: ResourceWithStores): void {
  for (const key of Object.getOwnPropertySymbols(resource)) {
    if (key.description === 'kResourceStore' && !storeKeys.includes(key)) storeKeys.push(key);
  }
}

/** The async id of the resource that was learned from last: it gets nothing unknown any more. */
let learnedId = TURN_ASYNC_ID;
/** The last one without an id of its own: there are hardly any but Node's, of top levels and promise reactions, and the hub's. */
let learnedWithoutId: object | null = null;

/** As {@link captureStores} outside greenlets, once {@link followGreenlets} was called. */
function saveCallerStores(): Stores {
  const id = executionAsyncId();
  if (id === TURN_ASYNC_ID) {
    const resource = currentResource();
    if (resource !== learnedWithoutId) learnFrom(resource);
    learnedWithoutId = resource;
  } else if (id !== learnedId) {
    learnFrom(currentResource());
    learnedId = id;
  }
  return saveContext() as Stores;
}

/** The context of the running code, to be entered later or elsewhere. */
export const captureContext: () => Context = isNative ? native.getContext : captureStores;

/** Makes `context` that of the running code. */
export const enterContext: (context: Context) => void = isNative
  ? native.setContext
  : (context) => applyStores(context as Stores);

/** The context of the hub's own callbacks. */
export const emptyContext: Context = isNative ? undefined : NO_STORES;

/** Before a fiber is entered: what {@link restoreContext} needs after it. Unlike greenlets, callers have resources of their own. */
export const saveCallerContext: () => Context = isNative ? () => undefined : saveCallerStores;

/** Before a park: what {@link restoreContext} needs after it. Native code swaps by itself. */
export const saveContext: () => Context = isNative
  ? () => undefined
  : () => (storeKeys.length === 0 ? NO_STORES : storesOf(currentResource()));

/** After a park: puts back what {@link saveContext} returned. */
export const restoreContext: (saved: Context) => void = isNative ? () => undefined : enterContext;

/** The async id with which the current stack was entered: that of a turn, or of whoever has entered a fiber. */
let ownAsyncId = TURN_ASYNC_ID;

/** The current stack is left for one that is entered with the async id of this moment. Returns what to give back after it. */
export function lendAsyncId(): number {
  const lent = ownAsyncId;
  ownAsyncId = executionAsyncId();
  return lent;
}

/** The stack that {@link lendAsyncId} was called on goes on. */
export function takeAsyncIdBack(lent: number): void {
  ownAsyncId = lent;
}

/**
 * Whether a park would be safe: not inside an async scope that some native code has pushed. Those scopes are on a
 * stack of Node's that all greenlets share, so leaving one in the middle would corrupt it.
 */
export function isParkSafe(): boolean {
  return executionAsyncId() === ownAsyncId;
}

interface StorageInternals {
  readonly kResourceStore?: symbol;
}

/** On Node 20 and 22 each storage that is used has to be known by the key of its store. */
function learn(storage: AsyncLocalStorage<unknown>): void {
  const key = (storage as StorageInternals).kResourceStore;
  if (key !== undefined && !storeKeys.includes(key)) storeKeys.push(key);
}

interface AsyncResourceInternals {
  readonly [property: symbol]: unknown;
}

/** The context that an `AsyncResource` captured when it was made. */
function contextOf(resource: AsyncResource): Context {
  if (!isNative) return storesOf(resource as unknown as ResourceWithStores);
  const key = Object.getOwnPropertySymbols(resource).find(
    ({ description }) => description === 'context_frame',
  );
  return key === undefined ? native.getContext() : (resource as unknown as AsyncResourceInternals)[key];
}

/** Calls `fn` with `context` as the current one, whatever parks inside. */
function runWithin(context: Context, fn: Method, receiver: unknown, args: unknown[]): unknown {
  const outer = captureContext();
  enterContext(context);
  try {
    return Reflect.apply(fn, receiver, args);
  } finally {
    enterContext(outer);
  }
}

/**
 * Replaces what would push onto Node's stack of async ids, inside greenlets only. Done once, when the first greenlet
 * of the thread is made: importing changes nothing.
 */
export function followGreenlets(inGreenlet: () => boolean): void {
  isInGreenlet = inGreenlet;
  const resource = AsyncResource.prototype;
  replaceMethod(resource, 'runInAsyncScope', (original) => {
    return function (this: unknown, ...args: unknown[]): unknown {
      const [fn, receiver, ...rest] = args;
      if (!isInGreenlet() || typeof fn !== 'function') return Reflect.apply(original, this, args);
      return runWithin(contextOf(this as AsyncResource), fn as Method, receiver, rest);
    };
  });
  if (isNative) return;
  const storage = AsyncLocalStorage.prototype;
  for (const name of ['run', 'enterWith']) {
    replaceMethod(storage, name, (original) => {
      return function (this: unknown, ...args: unknown[]): unknown {
        learn(this as AsyncLocalStorage<unknown>);
        return Reflect.apply(original, this, args);
      };
    });
  }
  replaceMethod(storage, 'exit', (original) => {
    return function (this: unknown, ...args: unknown[]): unknown {
      const [fn, ...rest] = args;
      if (!isInGreenlet() || typeof fn !== 'function') return Reflect.apply(original, this, args);
      return (this as AsyncLocalStorage<unknown>).run(undefined, fn as Method, ...rest);
    };
  });
}
