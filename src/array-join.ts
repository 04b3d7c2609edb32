/**
 * Lets greenlets park inside `Array.prototype.join` and `toLocaleString`: in a `toString` of an element.
 *
 * V8 notes the arrays being joined in one list per realm, to recognise cycles, and takes it for a stack: with two
 * greenlets parked inside, the same array would join to the empty string, and from the ninth on the process would end.
 * So inside greenlets, elements that could call back are turned into strings here, with a list for each greenlet.
 */
import { currentRunnable, type Runnable } from './hub.js';
import { replaceMethod } from './replace-method.js';

/** The arrays that each greenlet is joining. */
const joining = new WeakMap<Runnable, Set<object>>();

/** Calls `join` unless the greenlet is joining this very array already: then it is empty, as the language has it. */
function withoutCycles(greenlet: Runnable, array: object, join: () => string): string {
  const arrays = joining.get(greenlet) ?? new Set<object>();
  joining.set(greenlet, arrays);
  if (arrays.has(array)) return '';
  arrays.add(array);
  try {
    return join();
  } finally {
    arrays.delete(array);
  }
}

function isPrimitive(value: unknown): boolean {
  return (typeof value !== 'object' && typeof value !== 'function') || value === null;
}

function onlyPrimitives(array: ArrayLike<unknown>): boolean {
  for (let index = 0; index < array.length; index++) if (!isPrimitive(array[index])) return false;
  return true;
}

/** ToLength of ECMA-262, 7.1.20. */
function lengthOf(object: object): number {
  const length = Math.trunc(Number((object as { length?: unknown }).length));
  return length > 0 ? Math.min(length, Number.MAX_SAFE_INTEGER) : 0;
}

/** The elements as strings, none for `undefined` and `null`: ECMA-262, 23.1.3.18 and 23.1.3.32. */
function stringsOf(object: object, toText: (element: unknown) => string): string[] {
  const length = lengthOf(object);
  const strings: string[] = [];
  for (let index = 0; index < length; index++) {
    const element = (object as ArrayLike<unknown>)[index];
    strings.push(element === undefined || element === null ? '' : toText(element));
  }
  return strings;
}

/** Replaces both methods, for greenlets only. Done once, when the first greenlet of the thread is made. */
export function allowParkingInJoin(): void {
  replaceMethod(Array.prototype, 'join', (original) => {
    return function (this: unknown, ...args: unknown[]): unknown {
      const greenlet = currentRunnable();
      if (greenlet === null || isPrimitive(this) || (Array.isArray(this) && onlyPrimitives(this))) {
        return Reflect.apply(original, this, args);
      }
      const array = this as object;
      return withoutCycles(greenlet, array, () => {
        const separator = args[0] === undefined ? ',' : `${args[0] as string}`;
        const strings = stringsOf(array, (element) => `${element as string}`);
        return Reflect.apply(original, strings, [separator]) as string;
      });
    };
  });
  replaceMethod(Array.prototype, 'toLocaleString', (original) => {
    return function (this: unknown, ...args: unknown[]): unknown {
      const greenlet = currentRunnable();
      if (greenlet === null || isPrimitive(this)) return Reflect.apply(original, this, args);
      const array = this as object;
      return withoutCycles(greenlet, array, () => {
        const toText = (element: unknown): string => `${(element as Date).toLocaleString(...(args as []))}`;
        return stringsOf(array, toText).join();
      });
    };
  });
}
