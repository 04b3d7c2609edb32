/** Timers of Node's: their callbacks in greenlets of their own. */
import { type AnyFunction, callInGreenlet } from './callback.js';
import { imitate, type Replacement } from './patching.js';

function inGreenlet(callback: AnyFunction): AnyFunction {
  return function (this: unknown, ...args) {
    return callInGreenlet(callback, this, args);
  };
}

/** The callback of an interval, which is not called again while it waits. */
function oneAtATime(callback: AnyFunction): AnyFunction {
  let isRunning = false;
  const once: AnyFunction = function (this: unknown, ...args) {
    isRunning = true;
    try {
      return Reflect.apply(callback, this, args);
    } finally {
      isRunning = false;
    }
  };
  return function (this: unknown, ...args) {
    return isRunning ? undefined : callInGreenlet(once, this, args);
  };
}

/** What is replaced in `node:timers` and among the globals. */
export function timersReplacements(): Replacement[] {
  const module = require('node:timers') as Record<string, AnyFunction>;
  const globals = globalThis as unknown as Record<string, AnyFunction>;
  return ['setTimeout', 'setInterval', 'setImmediate'].flatMap((key) => {
    const wrap = key === 'setInterval' ? oneAtATime : inGreenlet;
    const replacementOf = (original: AnyFunction): AnyFunction =>
      imitate(original, function (this: unknown, ...args) {
        const [callback, ...rest] = args;
        if (typeof callback !== 'function') return Reflect.apply(original, this, args);
        return Reflect.apply(original, this, [wrap(callback as AnyFunction), ...rest]);
      });
    const original = module[key] as AnyFunction;
    const value = replacementOf(original);
    const global = globals[key] as AnyFunction;
    return [
      { owner: module, key, value },
      { owner: globals, key, value: global === original ? value : replacementOf(global) },
    ];
  });
}
