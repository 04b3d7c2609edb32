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

/** A value as errors show it. */
export function describe(value: unknown): string {
  return typeof value === 'number' || value === null ? String(value) : `${typeof value} ${String(value)}`;
}
