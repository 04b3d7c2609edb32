/**
 * Closes the two traps that V8's JavaScript Promise Integration (on from Node 25 on) sets for stacks of our own.
 *
 * V8 keeps its active stack per isolate, so a greenlet may not park in the synchronous part of a `promising` call: such
 * calls are marked, and parking there throws. And V8's young collections visit each suspended JSPI stack once per
 * thread, which corrupts the heap while greenlets are parked; collections of the whole heap do not. So the first use of
 * either constructor switches V8 to those, and says so once.
 */
import { setFlagsFromString } from 'node:v8';

import { withoutParking } from './hub.js';

interface JspiNamespace {
  promising?: (fn: (...args: never[]) => unknown) => (...args: unknown[]) => Promise<unknown>;
  Suspending?: new (fn: (...args: never[]) => unknown) => object;
}

declare const WebAssembly: JspiNamespace | undefined;

const REASON =
  'in the synchronous part of a WebAssembly.promising call: V8 would crash. Use an ordinary export of the module, whose ' +
  'imports may block a greenlet as they are.';

let prepared = false;

function prepareCollector(): void {
  if (prepared) return;
  prepared = true;
  setFlagsFromString('--gc-global');
  process.emitWarning(
    'WebAssembly.promising and WebAssembly.Suspending are used beside greenlets: every garbage collection is now a full ' +
      'one, because V8 cannot collect the young generation safely with both. An ordinary import that blocks its ' +
      'greenlet needs neither.',
    { type: 'GreenstackWarning', code: 'GREENSTACK_JSPI' },
  );
}

/** Wraps both constructors, if this version of Node has them. */
export function guardJspi(): void {
  if (typeof WebAssembly === 'undefined') return;
  const { promising, Suspending } = WebAssembly;
  if (promising === undefined || Suspending === undefined) return;
  const guarded = (fn: (...args: never[]) => unknown): ((...args: unknown[]) => Promise<unknown>) => {
    const inner = promising(fn);
    prepareCollector();
    return (...args) => withoutParking(REASON, () => inner(...args));
  };
  Object.defineProperty(guarded, 'name', { value: 'promising' });
  Object.defineProperty(WebAssembly, 'promising', { value: guarded, configurable: true, writable: true });
  const constructor: typeof Suspending = new Proxy(Suspending, {
    construct(target, args, newTarget) {
      prepareCollector();
      return Reflect.construct(target, args, newTarget === constructor ? target : newTarget) as object;
    },
  });
  Object.defineProperty(WebAssembly, 'Suspending', {
    value: constructor,
    configurable: true,
    writable: true,
  });
}
