/** Checks of arguments: each throws an error that names the call and says what it expected. */

/** Throws unless `value` is a function. */
export function checkFunction(call: string, value: unknown): void {
  if (typeof value !== 'function') {
    throw new TypeError(`${call} expects a function, got ${value === null ? 'null' : typeof value}`);
  }
}

/** Checks a time in ms. Negative ones count as 0. */
export function checkMilliseconds(call: string, value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw new TypeError(`${call} expects a time in milliseconds, got ${describe(value)}`);
  }
  return value > 0 ? value : 0;
}

/**
 * Throws unless `value` is a whole number from `least` to `most`.
 *
 * @param what - the call and the argument, as in "notify(): n"
 */
export function checkCount(
  what: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number' || Number.isNaN(value))
    throw new TypeError(`${what} must be a number, got ${describe(value)}`);
  if (!Number.isInteger(value) || value < least || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    throw new RangeError(`${what} must be a whole number ${range}, got ${value}`);
  }
  return value;
}

/** As {@link checkCount}, for how many there may be: at least one; left out, `null` or `Infinity`: any number. */
export function checkMost(what: string, value: unknown): number {
  if (value === undefined || value === null || value === Infinity) return Infinity;
  if (typeof value === 'number' && value < 1)
    throw new RangeError(`${what} must be a whole number from 1, got ${value}; leave it out for no limit`);
  return checkCount(what, value, 1);
}

/** Throws unless `value` can be iterated. */
export function checkIterable(call: string, value: unknown): void {
  if (typeof (value as Iterable<unknown> | null | undefined)?.[Symbol.iterator] !== 'function')
    throw new TypeError(`${call} expects an iterable, got ${describe(value)}`);
}

/** Throws unless `args` is an array, of arguments. */
export function checkArray(call: string, args: unknown): unknown[] {
  if (!Array.isArray(args))
    throw new TypeError(`${call} expects an array of arguments, got ${describe(args)}`);
  return args;
}

/** As {@link checkMilliseconds}, for an option that may be left out. */
export function checkTime(call: string, name: string, value: unknown, byDefault: number): number {
  return value === undefined ? byDefault : checkMilliseconds(`${call}: ${name}`, value);
}

/** Whether `value` is a class of errors. */
export function isErrorClass(value: unknown): value is new () => Error {
  return typeof value === 'function' && (value === Error || value.prototype instanceof Error);
}

/** Options that were left out are none; anything but an object throws. */
export function checkOptions<T extends object>(call: string, options: T | null | undefined): T {
  if (options === undefined || options === null) return {} as T;
  if (typeof options !== 'object')
    throw new TypeError(`${call} expects an object of options, got ${describe(options)}`);
  return options;
}

/** Throws unless `value` is true or false. */
export function checkFlag(call: string, name: string, value: unknown): boolean {
  if (typeof value !== 'boolean')
    throw new TypeError(`${call}: ${name} must be true or false, got ${describe(value)}`);
  return value;
}

/** A value as errors show it: objects and functions only by their type, since they may be long, or no text at all. */
export function describe(value: unknown): string {
  if (typeof value === 'number' || value === null || value === undefined) return String(value);
  const isPlain = typeof value !== 'object' && typeof value !== 'function';
  return isPlain ? `${typeof value} ${String(value)}` : typeof value;
}
