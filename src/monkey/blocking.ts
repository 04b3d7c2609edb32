/** Synchronous functions that park in greenlets: the callback forms of the same functions, waited for. */
import { awaitOutside, isParkable, park, requireGreenlet, type Runnable, type Wait, wake } from '../hub.js';
import type { AnyFunction } from './callback.js';
import { imitate, type Replacement } from './patching.js';

/** What a callback has been called with, or has not. */
class CallbackWait implements Wait {
  #waiting: Runnable | null;
  values: unknown[] | null = null;

  constructor(
    private readonly call: string,
    private readonly abandoned: ((...values: unknown[]) => void) | undefined,
  ) {
    this.#waiting = requireGreenlet(call);
  }

  readonly settle = (...values: unknown[]): void => {
    if (this.values !== null) return;
    this.values = values;
    if (this.#waiting === null) this.abandoned?.(...values);
    else wake(this.#waiting, this);
  };

  cancel(): void {
    this.#waiting = null;
  }

  describe(): string {
    return this.call;
  }
}

/**
 * Starts something that calls back, and parks until it does.
 *
 * @param start - what it throws is thrown
 * @param abandoned - called with what comes when nobody waits any more
 * @returns what the callback was called with
 */
export function awaitCallback(
  call: string,
  start: (callback: (...values: unknown[]) => void) => void,
  abandoned?: (...values: unknown[]) => void,
): unknown[] {
  const wait = new CallbackWait(call, abandoned);
  start(wait.settle);
  if (wait.values === null) {
    awaitOutside(1);
    try {
      park(call, wait);
    } finally {
      awaitOutside(-1);
    }
  }
  return wait.values ?? [];
}

/** The first of what a Node-style callback was called with after its error, which is thrown as by `thrower`. */
export function valueOf([error, value]: unknown[], thrower: AnyFunction): unknown {
  if (error === null || error === undefined) return value;
  throw atCaller(error, thrower);
}

/** An error that was made elsewhere, with the stack of whoever called `thrower`. */
export function atCaller(error: unknown, thrower: AnyFunction): unknown {
  if (error instanceof Error && Object.isExtensible(error)) Error.captureStackTrace(error, thrower);
  return error;
}

const CALL_SITE = { site: undefined as NodeJS.CallSite | undefined };

function noteCallSite(_: Error, [site]: NodeJS.CallSite[]): string {
  CALL_SITE.site = site;
  return '';
}

/** Whether `fn` is called by a module of Node's own, such as the one that loads modules: those must not be left in the middle. */
function isCalledByNode(fn: AnyFunction): boolean {
  const { stackTraceLimit, prepareStackTrace } = Error;
  const holder: { stack?: unknown } = {};
  Error.stackTraceLimit = 1;
  Error.prepareStackTrace = noteCallSite;
  Error.captureStackTrace(holder, fn);
  // Made when it is read.
  void holder.stack;
  Error.stackTraceLimit = stackTraceLimit;
  if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace');
  else Error.prepareStackTrace = prepareStackTrace;
  const name = CALL_SITE.site?.getFileName();
  CALL_SITE.site = undefined;
  return typeof name === 'string' && name.startsWith('node:');
}

/** Does in a greenlet what `original` does, by parking. `undefined`: it is nothing for it, and the original is to be called. */
export type Blocking = (
  receiver: unknown,
  args: unknown[],
  self: AnyFunction,
) => { value: unknown } | undefined;

/** In greenlets `blocking`, elsewhere and for Node itself the original. */
export function blockingForm(original: AnyFunction, blocking: Blocking): AnyFunction {
  const self = imitate(original, function (this: unknown, ...args: unknown[]): unknown {
    if (!isParkable() || isCalledByNode(self)) return Reflect.apply(original, this, args);
    const result = blocking(this, args, self);
    return result === undefined ? Reflect.apply(original, this, args) : result.value;
  });
  return self;
}

/** Which callback form stands for a synchronous function. */
export interface Form {
  /** The callback form. */
  readonly callback: AnyFunction;
  /** How many arguments come before the callback; left out, as many as there are. */
  readonly count?: number;
  /** Whether the arguments are such that the two forms do the same. */
  suits?(args: unknown[]): boolean;
  /** The arguments for the callback form. */
  adapt?(args: unknown[]): unknown[];
  /** What is returned for what the callback was called with, its error excepted. */
  result?(values: unknown[], args: unknown[]): unknown;
  /** What is returned instead of throwing an error. */
  recover?(error: unknown, args: unknown[]): { value: unknown } | undefined;
  /** Whether an error is to come from the original, which finds the same in no time and has other words for it. */
  repeats?(error: unknown, args: unknown[]): boolean;
  /** Undoes what nobody waits for any more. */
  abandoned?(...values: unknown[]): void;
}

function argumentsFor({ count, adapt }: Form, args: unknown[]): unknown[] {
  const adapted = adapt === undefined ? [...args] : adapt(args);
  if (count !== undefined) return Array.from({ length: count }, (_, index) => adapted[index]);
  while (adapted.length > 0 && adapted.at(-1) === undefined) adapted.pop();
  return adapted;
}

/**
 * A synchronous function by its callback form. Where that one refuses the arguments, the original is called and refuses
 * them in its own words.
 */
export function byCallback(call: string, original: AnyFunction, form: Form): AnyFunction {
  return blockingForm(original, (receiver, args, self) => {
    if (form.suits?.(args) === false) return undefined;
    const passed = argumentsFor(form, args);
    // It would be taken for the callback.
    if (passed.some((argument) => typeof argument === 'function')) return undefined;
    let isRefused = false;
    const start = (callback: (...values: unknown[]) => void): void => {
      try {
        Reflect.apply(form.callback, receiver, [...passed, callback]);
      } catch {
        isRefused = true;
        callback();
      }
    };
    const [error, ...values] = awaitCallback(call, start, form.abandoned?.bind(form));
    if (isRefused) return undefined;
    if (error !== null && error !== undefined) {
      const recovered = form.recover?.(error, args);
      if (recovered !== undefined) return recovered;
      if (form.repeats?.(error, args) === true) return undefined;
      throw atCaller(error, self);
    }
    return { value: form.result === undefined ? values[0] : form.result(values, args) };
  });
}

/** Replacements for those functions of `module` that this version of Node has. */
export function replaceEach(
  name: string,
  module: object,
  forms: Readonly<Record<string, Form | undefined>>,
): Replacement[] {
  const functions = module as Record<string, AnyFunction | undefined>;
  return Object.entries(forms).flatMap(([key, form]) => {
    const original = functions[key];
    if (typeof original !== 'function' || typeof form?.callback !== 'function') return [];
    return [{ owner: module, key, value: byCallback(`${name}.${key}()`, original, form) }];
  });
}
