/**
 * Code that `node:vm` runs with a time limit, or such that Ctrl-C breaks it, cannot park: when the limit is over, V8 ends
 * whatever runs at that moment, and that would be another greenlet.
 */
import { Script } from 'node:vm';

import { withoutParking } from './hub.js';

const REASON =
  'in code that node:vm runs with a timeout or breakOnSigint: its end would hit whichever greenlet runs then. Run it ' +
  'without them, under a Timeout of greenstack.';

type Method = (this: unknown, ...args: unknown[]) => unknown;

interface LimitOptions {
  timeout?: unknown;
  breakOnSigint?: unknown;
}

function isLimited(options: unknown): boolean {
  if (typeof options !== 'object' || options === null) return false;
  const { timeout, breakOnSigint } = options as LimitOptions;
  return timeout !== undefined || breakOnSigint === true;
}

/** Replaces the methods that run a script, for calls with limits. Done once, when the first greenlet is made. */
export function guardLimitedScripts(): void {
  // The options are the last argument; the one before is the code's global object, which may have any properties.
  const optionsAt = { runInThisContext: 0, runInContext: 1, runInNewContext: 1 } as const;
  for (const name of Object.keys(optionsAt) as Array<keyof typeof optionsAt>) {
    const original = Script.prototype[name] as Method;
    const replacement: Method = function (...args) {
      if (!isLimited(args[optionsAt[name]])) return Reflect.apply(original, this, args);
      return withoutParking(REASON, () => Reflect.apply(original, this, args));
    };
    Object.defineProperty(replacement, 'name', { value: name, configurable: true });
    Object.defineProperty(Script.prototype, name, { value: replacement, configurable: true, writable: true });
  }
}
