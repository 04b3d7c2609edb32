/**
 * Code that `node:vm` runs with a time limit, or such that Ctrl-C breaks it, cannot park: when the limit is over, V8 ends
 * whatever runs at that moment, and that would be another greenlet.
 */
import { Script } from 'node:vm';

import { withoutParking } from './hub.js';
import { replaceMethod } from './replace-method.js';

const REASON =
  'in code that node:vm runs with a timeout or breakOnSigint: its end would hit whichever greenlet runs then. Run it ' +
  'without them, under a Timeout of greenstack.';

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
    replaceMethod(Script.prototype, name, (original) => {
      return function (this: unknown, ...args: unknown[]): unknown {
        const call = (): unknown => Reflect.apply(original, this, args);
        return isLimited(args[optionsAt[name]]) ? withoutParking(REASON, call) : call();
      };
    });
  }
}
