/** `cooperative`: objects whose methods return promises, as objects whose methods block. */
import { type CustomInspectFunction, inspect, types } from 'node:util';

import { blockingIterator } from './blocking-iterator.js';
import { checkCount, checkFlag, checkFunction, checkOptions, describe } from './checks.js';
import { currentRunnable, runCallback } from './hub.js';
import { FOR_EVER } from './limits.js';
import { type AnyFunction, noteSignal, signalPosition, withSignal } from './signal-argument.js';
import { awaitPromise, isObject, isThenable } from './wait-for.js';

/** What is handed through as it is. */
type Data =
  | string
  | number
  | bigint
  | boolean
  | symbol
  | null
  | undefined
  | readonly unknown[]
  | ArrayBufferView
  | ArrayBufferLike
  | Date
  | RegExp
  | Error
  | Promise<unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | URL
  | URLSearchParams
  | AbortSignal
  | AbortController;

/**
 * `T` as {@link cooperative} gives it: methods return what their promises are kept with, async iterables are iterables, and what has
 * `Symbol.asyncDispose` has `Symbol.dispose`. Of functions with several signatures the last 16 count; type parameters of methods
 * become what they extend.
 */
export type Cooperative<T> = T extends Data
  ? T
  : T extends object
    ? { [K in keyof T]: Cooperative<T[K]> } & CooperativeCall<T> &
        CooperativeClass<T> &
        CooperativeIterable<T> &
        CooperativeDisposable<T>
    : T;

type CooperativeIterable<T> =
  T extends AsyncIterable<infer Item>
    ? { [Symbol.iterator](): IterableIterator<Cooperative<Item>> }
    : unknown;

type CooperativeDisposable<T> = T extends AsyncDisposable ? Disposable : unknown;

type CooperativeClass<T> = T extends abstract new (...args: infer Args) => infer Instance
  ? new (...args: Args) => Cooperative<Instance>
  : unknown;

type CooperativeCall<T> = T extends AnyFunction ? Signatures<T> : unknown;

type Call<Args extends unknown[], R> = (...args: Arguments<Args>) => Settled<R>;

/** Without the type parameter that it depended on, an argument may have a type that nothing has. */
type Arguments<Args extends unknown[]> = {
  [K in keyof Args]: [Args[K]] extends [undefined] ? unknown : Args[K];
};

type Settled<R> = R extends Promise<infer T> ? Cooperative<T> : Cooperative<R>;

/** All signatures of a function: if there are fewer than in the pattern, the first one is repeated. */
type Signatures<F> = F extends {
  (...args: infer A1): infer R1;
  (...args: infer A2): infer R2;
  (...args: infer A3): infer R3;
  (...args: infer A4): infer R4;
  (...args: infer A5): infer R5;
  (...args: infer A6): infer R6;
  (...args: infer A7): infer R7;
  (...args: infer A8): infer R8;
  (...args: infer A9): infer R9;
  (...args: infer A10): infer R10;
  (...args: infer A11): infer R11;
  (...args: infer A12): infer R12;
  (...args: infer A13): infer R13;
  (...args: infer A14): infer R14;
  (...args: infer A15): infer R15;
  (...args: infer A16): infer R16;
}
  ? Call<A1, R1> &
      Call<A2, R2> &
      Call<A3, R3> &
      Call<A4, R4> &
      Call<A5, R5> &
      Call<A6, R6> &
      Call<A7, R7> &
      Call<A8, R8> &
      Call<A9, R9> &
      Call<A10, R10> &
      Call<A11, R11> &
      Call<A12, R12> &
      Call<A13, R13> &
      Call<A14, R14> &
      Call<A15, R15> &
      Call<A16, R16>
  : unknown;

/** Options of {@link cooperative}. */
export interface CooperativeOptions<T = unknown> {
  /**
   * Where calls take an `AbortSignal`: the position of the options that have a `signal`, from 0. For a function a number; for an
   * object, numbers by the names of methods. greenstack knows `fetch`, `readFile`, `writeFile` and `appendFile` of
   * `node:fs/promises`, `node:timers/promises`, `once` and `on` of `node:events`, `finished` of `node:stream/promises`, `exec` and
   * `execFile` by `util.promisify`.
   */
  signal?: number | { readonly [K in keyof T]?: number };
  /**
   * Whether results are waited for that are no promises but have a `then` (default: no). Objects that collect what to do and do
   * it at `then`, as those of query builders, are results of their own else.
   */
  thenables?: boolean;
  /**
   * By the names of methods: what to do with a result that comes after the greenlet has given up waiting, such as a connection that
   * has to go back into its pool. It is given the original, in a callback that must not block.
   */
  unclaimed?: { readonly [K in keyof T]?: (result: never) => unknown };
}

/** What there is of cooperative objects that were made under the same rule. */
interface Rule {
  readonly thenables: boolean;
  readonly made: WeakMap<object, object>;
}

const promisesOnly: Rule = { thenables: false, made: new WeakMap() };
const allThenables: Rule = { thenables: true, made: new WeakMap() };

/** The object for which a cooperative one stands. */
const originals = new WeakMap<object, object>();

/** What a call was given a signal of, by the object that it has returned. */
const controllers = new WeakMap<object, AbortController>();

/** What takes results of a function that nobody waits for any more. */
const takers = new WeakMap<AnyFunction, (result: unknown) => unknown>();

/** Classes of Node whose objects have nothing that could block. */
const dataClasses: Array<abstract new (...args: never[]) => unknown> = [
  WeakRef,
  URL,
  URLSearchParams,
  AbortSignal,
  AbortController,
];

/** Those of the language, whichever context they are from. */
const dataTests: Array<(value: unknown) => boolean> = [
  Array.isArray,
  types.isArrayBufferView,
  types.isAnyArrayBuffer,
  types.isNativeError,
  types.isDate,
  types.isRegExp,
  types.isMap,
  types.isSet,
  types.isWeakMap,
  types.isWeakSet,
  types.isPromise,
  types.isBoxedPrimitive,
];

/** By the prototype of objects that are not plain: whether they are more than data. */
const aliveness = new WeakMap<object, boolean>();

/** Whether an object can do something: it is a function, has methods, or belongs to a class that is none of data. */
function isAlive(value: object): boolean {
  if (typeof value === 'function') return true;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || isPlain(prototype)) return hasMethods(value);
  let known = aliveness.get(prototype);
  if (known === undefined) {
    known = !isData(value);
    aliveness.set(prototype, known);
  }
  return known;
}

/** Whether objects of this prototype are plain, whichever context they are from. */
function isPlain(prototype: object | null): boolean {
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function isData(value: object): boolean {
  // Errors of applications may be made by other means than those of the language.
  if (value instanceof Error) return true;
  return dataTests.some((test) => test(value)) || dataClasses.some((dataClass) => value instanceof dataClass);
}

function hasMethods(value: object): boolean {
  for (const key of Reflect.ownKeys(value)) {
    const property = Reflect.getOwnPropertyDescriptor(value, key);
    if (typeof property?.value === 'function') return true;
  }
  return false;
}

/** Whether a call whose result this is waits for it. */
function isAwaited(value: unknown, { thenables }: Rule): value is PromiseLike<unknown> {
  if (types.isPromise(value)) return true;
  if (!isThenable(value)) return false;
  if (thenables) return true;
  // Other implementations of promises have what the class of Node's has.
  const maker: unknown = value.constructor;
  return typeof maker === 'function' && 'resolve' in maker && 'reject' in maker;
}

/** A value as cooperative code sees it. */
function adopt(value: unknown, rule: Rule): unknown {
  return isObject(value) && isAlive(value) ? standInOf(value, rule) : value;
}

function standInOf(original: object, rule: Rule): object {
  if (originals.has(original)) return original;
  const known = rule.made.get(original);
  if (known !== undefined) return known;
  const standIn = new Proxy(shadowOf(original), new StandIn(original, rule));
  rule.made.set(original, standIn);
  originals.set(standIn, original);
  return standIn;
}

/**
 * The target of a proxy, where properties are not looked up: those of the original may be fixed, and then a proxy of it would have
 * to return them unchanged.
 */
function shadowOf(original: object): object {
  // Bound, for that has no prototype, and can be constructed.
  const shadow = typeof original === 'function' ? function () {}.bind(null) : {};
  const show: CustomInspectFunction = (_depth, options) => inspect(original, options);
  return Object.defineProperty(shadow, inspect.custom, { value: show, configurable: true });
}

/** An argument as the original has it: what is cooperative, and what of that lies directly in a plain object or an array. */
function release(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return uncooperative(value);
  const original = originals.get(value);
  if (original !== undefined) return original;
  if (Array.isArray(value)) return value.some(isCooperative) ? value.map(uncooperative) : value;
  if (!isPlain(Object.getPrototypeOf(value) as object | null)) return value;
  for (const key in value) if (isCooperative(value[key as never])) return releasedProperties(value);
  return value;
}

function isCooperative(value: unknown): boolean {
  return isObject(value) && originals.has(value);
}

function releasedProperties(value: object): object {
  const released: Record<string, unknown> = { ...value };
  for (const key of Object.keys(released)) released[key] = uncooperative(released[key]);
  return released;
}

/** Calls a function of the original; in a greenlet, waits for its promise. */
function call(fn: AnyFunction, self: unknown, given: unknown[], rule: Rule): unknown {
  const args = given.map(release);
  if (currentRunnable() === null) {
    const result: unknown = Reflect.apply(fn, self, args);
    return isAwaited(result, rule) ? result : adopt(result, rule);
  }
  const position = signalPosition(fn);
  const controller = position === undefined ? controllerOf(self) : new AbortController();
  const passed =
    position === undefined ? args : withSignal(args, position, (controller as AbortController).signal);
  const result: unknown = Reflect.apply(fn, self, passed);
  const value = isAwaited(result, rule) ? settle(fn, result, controller) : result;
  // What was asked for may still be coming.
  if (position !== undefined && isObject(value)) controllers.set(value, controller as AbortController);
  return adopt(value, rule);
}

function settle(fn: AnyFunction, promise: PromiseLike<unknown>, controller: AbortController | null): unknown {
  return awaitPromise(`${fn.name}()`, promise, FOR_EVER, fn, (error) => {
    controller?.abort(error);
    const take = takers.get(fn);
    if (take !== undefined) promise.then((result) => runCallback(take, result), ignore);
  });
}

/** The wait for it was given up. */
function ignore(): void {}

function controllerOf(self: unknown): AbortController | null {
  return (isObject(self) && controllers.get(self)) || null;
}

/** What a cooperative object does instead of its original. */
class StandIn implements ProxyHandler<object> {
  readonly #original: object;
  readonly #rule: Rule;

  constructor(original: object, rule: Rule) {
    this.#original = original;
    this.#rule = rule;
  }

  get(_shadow: object, key: string | symbol): unknown {
    // With the original as receiver: getters may use private fields.
    const value: unknown = Reflect.get(this.#original, key, this.#original);
    switch (key) {
      case 'constructor':
      case 'prototype':
        return value;
      case 'then':
      case 'catch':
      case 'finally':
      case Symbol.asyncIterator:
      case Symbol.asyncDispose:
        // For `await` and its relatives, which know what to do with promises.
        return typeof value === 'function' ? value.bind(this.#original) : value;
      case Symbol.iterator:
        return value === undefined && this.#has(Symbol.asyncIterator)
          ? this.#iterate
          : adopt(value, this.#rule);
      case Symbol.dispose:
        return value === undefined && this.#has(Symbol.asyncDispose)
          ? this.#dispose
          : adopt(value, this.#rule);
    }
    return adopt(value, this.#rule);
  }

  #has(key: symbol): boolean {
    return Reflect.has(this.#original, key);
  }

  readonly #iterate = (): IterableIterator<unknown> => {
    const source = this.#original as AsyncIterable<unknown>;
    return adopted(blockingIterator('for…of', source, controllerOf(source)), this.#rule);
  };

  readonly #dispose = (): void => {
    const dispose: unknown = Reflect.get(this.#original, Symbol.asyncDispose);
    call(dispose as AnyFunction, this.#original, [], this.#rule);
  };

  has(_shadow: object, key: string | symbol): boolean {
    return Reflect.has(this.#original, key) || (key === Symbol.iterator && this.#has(Symbol.asyncIterator));
  }

  set(_shadow: object, key: string | symbol, value: unknown): boolean {
    return Reflect.set(this.#original, key, uncooperative(value), this.#original);
  }

  defineProperty(_shadow: object, key: string | symbol, property: PropertyDescriptor): boolean {
    return Reflect.defineProperty(this.#original, key, property);
  }

  deleteProperty(_shadow: object, key: string | symbol): boolean {
    return Reflect.deleteProperty(this.#original, key);
  }

  ownKeys(): Array<string | symbol> {
    return Reflect.ownKeys(this.#original);
  }

  getOwnPropertyDescriptor(shadow: object, key: string | symbol): PropertyDescriptor | undefined {
    const property = Reflect.getOwnPropertyDescriptor(this.#original, key);
    if (property === undefined) return undefined;
    // The shadow does not have it, so it has to be one that can be taken away.
    const { enumerable = false } = property;
    if ('value' in property) {
      return {
        value: this.get(shadow, key),
        writable: property.writable ?? false,
        enumerable,
        configurable: true,
      };
    }
    return {
      get: () => this.get(shadow, key),
      set: (value) => this.set(shadow, key, value),
      enumerable,
      configurable: true,
    };
  }

  getPrototypeOf(): object | null {
    return Reflect.getPrototypeOf(this.#original);
  }

  setPrototypeOf(_shadow: object, prototype: object | null): boolean {
    return Reflect.setPrototypeOf(this.#original, prototype);
  }

  /** A frozen proxy would need a frozen shadow. */
  preventExtensions(): boolean {
    return false;
  }

  apply(_shadow: object, self: unknown, args: unknown[]): unknown {
    return call(this.#original as AnyFunction, uncooperative(self), args, this.#rule);
  }

  construct(_shadow: object, args: unknown[], newTarget: AnyFunction): object {
    const target = uncooperative(newTarget) as AnyFunction;
    const made = Reflect.construct(this.#original as AnyFunction, args.map(release), target) as object;
    // Classes that extend this one get an object that their own methods can use as what it is.
    return target === this.#original ? (adopt(made, this.#rule) as object) : made;
  }
}

function* adopted(items: IterableIterator<unknown>, rule: Rule): IterableIterator<unknown> {
  for (const item of items) yield adopt(item, rule);
}

/**
 * Gives an object, a class or a function whose calls block instead of returning promises: for drivers of databases,
 * `node:fs/promises`, `fetch` and all else that speaks promises. Never switches; the calls do.
 *
 * The result stands for the original: it has the same properties and prototype, `this` of its methods is the original, and so are
 * arguments that are cooperative, also directly in objects of options. In a greenlet a call waits for the promise it gets, and
 * returns its value or throws its reason. Results that can do something, as connections of a pool, are cooperative too; data
 * (arrays, plain objects without methods, Buffers, `Map`, `Date`, `Error` and so on) are what they are. Outside of greenlets
 * calls return the promises of the original. Async iterables, streams among them, can be iterated by `for…of`, and what has
 * `Symbol.asyncDispose` can be used by `using`. Reading a property never waits.
 *
 * If the greenlet is killed or its time is up, the operation is aborted where the function is known to take a signal.
 *
 * The same object gives the same result. gevent: `monkey.patch_all`, for a single object.
 *
 * @param target - an object, a class or a function; what is cooperative is returned
 * @throws {TypeError} if it is none, or a promise
 *
 * @example
 * const pool = cooperative(new Pool());
 * const { rows } = pool.query('SELECT now()');
 */
export function cooperative<T extends object>(target: T, options?: CooperativeOptions<T>): Cooperative<T> {
  const {
    signal,
    thenables = false,
    unclaimed,
  } = checkOptions<CooperativeOptions<T>>('cooperative()', options);
  if (!isObject(target) || types.isPromise(target)) {
    const instead = isObject(target) ? 'a promise: use waitFor()' : describe(target);
    throw new TypeError(`cooperative() expects an object, a class or a function, got ${instead}`);
  }
  checkFlag('cooperative()', 'thenables', thenables);
  if (signal !== undefined) noteSignals(uncooperative(target), signal);
  if (unclaimed !== undefined) noteTakers(uncooperative(target), unclaimed);
  return standInOf(target, thenables ? allThenables : promisesOnly) as Cooperative<T>;
}

function noteSignals(target: object, signal: number | { readonly [name: string]: number | undefined }): void {
  const what = 'cooperative(): signal';
  if (typeof target === 'function' && typeof signal === 'number') {
    noteSignal(target as AnyFunction, checkCount(what, signal, 0));
    return;
  }
  if (typeof signal !== 'object' || signal === null) {
    const expected = typeof target === 'function' ? 'a position or positions by name' : 'positions by name';
    throw new TypeError(`${what} must be ${expected}, got ${describe(signal)}`);
  }
  const noted = Object.entries(signal).map(([name, position]): [AnyFunction, number] => [
    methodOf(what, target, name),
    checkCount(`${what}.${name}`, position, 0),
  ]);
  for (const [method, position] of noted) noteSignal(method, position);
}

function noteTakers(target: object, unclaimed: object): void {
  const what = 'cooperative(): unclaimed';
  const noted = Object.entries(checkOptions(what, unclaimed)).map(
    ([name, take]): [AnyFunction, AnyFunction] => {
      checkFunction(`${what}.${name}`, take);
      return [methodOf(what, target, name), take as AnyFunction];
    },
  );
  for (const [method, take] of noted) takers.set(method, take as (result: unknown) => unknown);
}

function methodOf(what: string, target: object, name: string): AnyFunction {
  const method: unknown = Reflect.get(target, name);
  if (typeof method !== 'function') throw new TypeError(`${what}: there is no method ${name}`);
  return method as AnyFunction;
}

/** The original of what {@link cooperative} has given; anything else as it is. Never switches. */
export function uncooperative<T>(value: Cooperative<T> | T): T {
  return ((isObject(value) && originals.get(value)) || value) as T;
}
