/** Values of which every greenlet has its own: `local` and `GreenletLocal`. */
import { inspect, type InspectOptions } from 'node:util';

import { checkFunction, describe } from './checks.js';
import { GreenstackError } from './errors.js';
import { currentRunnable } from './hub.js';

/** Stands for whatever runs outside greenlets: the hub, plain callbacks, module top levels. */
const OUTSIDE = {};

/**
 * A variable with a value for each greenlet, and one for all code outside greenlets. The fast form of {@link local}, for a
 * single value of any type.
 *
 * A greenlet does not inherit the value of its spawner; use `AsyncLocalStorage` for what should be inherited. The value
 * goes away with the greenlet object or with this object, whichever goes first.
 *
 * @example
 * const depth = new GreenletLocal(() => 0);
 * depth.set(depth.get() + 1);
 */
export class GreenletLocal<T> {
  /** Keyed by greenlet: an entry lives as long as both the greenlet and this object. */
  readonly #values = new WeakMap<object, T>();
  readonly #init: (() => T) | undefined;
  /** Whose first value is being made. */
  readonly #beginning = new Set<object>();

  /**
   * @param init - makes the first value of a greenlet, in that greenlet, when it asks for one. Without it that is
   *   `undefined`, which `T` then has to include
   * @throws {TypeError} if `init` is given and no function
   */
  constructor(init?: () => T) {
    if (init !== undefined) checkFunction('new GreenletLocal()', init);
    this.#init = init;
  }

  /**
   * The value of the current greenlet. Never switches, unless `init` does.
   *
   * @throws whatever `init` throws; then there is still no value, and the next call tries again
   */
  get(): T {
    const value = this.#values.get(currentRunnable() ?? OUTSIDE);
    return value === undefined ? this.#first() : value;
  }

  /** Sets the value of the current greenlet. Never switches. */
  set(value: T): void {
    this.#values.set(currentRunnable() ?? OUTSIDE, value);
  }

  /** Whether the current greenlet has a value; `init` is not called. Never switches. */
  has(): boolean {
    return this.#values.has(currentRunnable() ?? OUTSIDE);
  }

  /** Forgets the value of the current greenlet; the next `get` begins anew. `false` if it had none. Never switches. */
  delete(): boolean {
    return this.#values.delete(currentRunnable() ?? OUTSIDE);
  }

  #first(): T {
    const greenlet = currentRunnable() ?? OUTSIDE;
    if (this.#init === undefined || this.#values.has(greenlet)) return this.#values.get(greenlet) as T;
    if (this.#beginning.has(greenlet)) {
      throw new GreenstackError(
        'ERR_GREENSTACK_LOCAL_RECURSION',
        'the init function of a local has used that local, before there is a value',
      );
    }
    this.#beginning.add(greenlet);
    try {
      const value = this.#init();
      this.#values.set(greenlet, value);
      return value;
    } finally {
      this.#beginning.delete(greenlet);
    }
  }
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Passes every operation on a local to the content of the current greenlet. */
class Handler<T extends object> implements ProxyHandler<object> {
  /** The local itself. */
  readonly proxy: T;
  /** The methods that were read, by the originals: read twice, they are the same. */
  readonly #methods = new WeakMap<Method, Method>();

  constructor(private readonly contents: GreenletLocal<T>) {
    // For `console.log`, which asks the target and not the handler.
    const target = {
      [inspect.custom]: (_depth: number, options: InspectOptions) => inspect(contents.get(), options),
    };
    this.proxy = new Proxy<object>(target, this) as T;
  }

  get(_target: object, key: PropertyKey): unknown {
    const content = this.contents.get();
    const value = content[key as keyof T] as unknown;
    return typeof value === 'function' ? this.#method(content, key, value as Method) : value;
  }

  /** Methods of a class run on the content itself: only that has the private fields and internal slots. */
  #method(content: object, key: PropertyKey, original: Method): Method {
    if (key === 'constructor' || Object.hasOwn(content, key)) return original;
    let method = this.#methods.get(original);
    if (method === undefined) {
      const { contents, proxy } = this;
      method = function (this: unknown, ...args: unknown[]): unknown {
        if (this !== proxy) return Reflect.apply(original, this, args);
        const receiver = contents.get();
        const result: unknown = Reflect.apply(original, receiver, args);
        return result === receiver ? proxy : result;
      };
      this.#methods.set(original, method);
    }
    return method;
  }

  set(_target: object, key: PropertyKey, value: unknown): boolean {
    (this.contents.get() as Record<PropertyKey, unknown>)[key] = value;
    return true;
  }

  has(_target: object, key: PropertyKey): boolean {
    return key in this.contents.get();
  }

  deleteProperty(_target: object, key: PropertyKey): boolean {
    return Reflect.deleteProperty(this.contents.get(), key);
  }

  ownKeys(): Array<string | symbol> {
    return Reflect.ownKeys(this.contents.get());
  }

  getOwnPropertyDescriptor(_target: object, key: PropertyKey): PropertyDescriptor | undefined {
    const descriptor = Reflect.getOwnPropertyDescriptor(this.contents.get(), key);
    // A proxy may not call a property permanent that its target does not have.
    if (descriptor !== undefined) descriptor.configurable = true;
    return descriptor;
  }

  defineProperty(_target: object, key: PropertyKey, descriptor: PropertyDescriptor): boolean {
    return descriptor.configurable !== false && Reflect.defineProperty(this.contents.get(), key, descriptor);
  }

  getPrototypeOf(): object | null {
    return Reflect.getPrototypeOf(this.contents.get());
  }

  setPrototypeOf(_target: object, prototype: object | null): boolean {
    return Reflect.setPrototypeOf(this.contents.get(), prototype);
  }

  /** Other greenlets' contents would not follow. */
  preventExtensions(): boolean {
    return false;
  }
}

type Init<T, Args extends unknown[]> = ((...args: Args) => T) | (new (...args: Args) => T);

/** Whether `init` can only be called by `new`. */
function isClass<T, Args extends unknown[]>(init: Init<T, Args>): init is new (...args: Args) => T {
  return Object.getOwnPropertyDescriptor(init, 'prototype')?.writable === false;
}

function checkContent<T>(content: T): T {
  if (typeof content === 'object' && content !== null) return content;
  throw new TypeError(`the init function of local() must return an object, got ${describe(content)}`);
}

/**
 * An object with different content in every greenlet, and one content for all code outside greenlets. Whatever is done with
 * it is done with the content of the greenlet that does it.
 *
 * Content is made when a greenlet first uses the object, by `init` or as an instance of a class. A greenlet does not inherit
 * the content of its spawner; use `AsyncLocalStorage` for what should be inherited. The content goes away with the
 * greenlet object or with this object, whichever goes first. Using it never switches, unless `init` does.
 *
 * gevent: `gevent.local.local`.
 *
 * @param init - makes the content of a greenlet, in that greenlet: a function that returns an object, or a class. Without
 *   it the content is an empty object
 * @param args - passed to `init` each time
 * @throws {TypeError} if `init` is neither; when the object is used, if `init` has returned no object
 *
 * @example
 * const request = local(() => ({ user: '', queries: 0 }));
 * request.queries++; // of this greenlet alone
 */
export function local<T extends object = Record<string, unknown>>(): T;
export function local<T extends object, Args extends unknown[]>(
  init: new (...args: Args) => T,
  ...args: Args
): T;
export function local<T extends object, Args extends unknown[]>(init: (...args: Args) => T, ...args: Args): T;
export function local<T extends object, Args extends unknown[]>(init?: Init<T, Args>, ...args: Args): T {
  return new Handler(new GreenletLocal(makerOf(init, args))).proxy;
}

/** What makes the content of a greenlet. */
function makerOf<T extends object, Args extends unknown[]>(
  init: Init<T, Args> | undefined,
  args: Args,
): () => T {
  if (init === undefined) return () => ({}) as T;
  checkFunction('local()', init);
  return isClass(init) ? () => new init(...args) : () => checkContent(init(...args));
}
