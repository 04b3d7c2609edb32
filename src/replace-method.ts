/** Replaces methods of Node's and the language's own objects, where they would not work in greenlets otherwise. */

/** Any method. */
export type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Puts what `make` returns in the place of a method, with the same name and length. */
export function replaceMethod(owner: object, name: string, make: (original: Method) => Method): void {
  const original = (owner as Record<string, unknown>)[name] as Method;
  const replacement = make(original);
  Object.defineProperty(replacement, 'name', { value: name, configurable: true });
  Object.defineProperty(replacement, 'length', { value: original.length, configurable: true });
  Object.defineProperty(owner, name, { value: replacement, configurable: true, writable: true });
}
