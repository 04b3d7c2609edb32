/** Signals of the operating system, handled in greenlets. */
import { constants } from 'node:os';

import { spawn } from './greenlet.js';
import { keepAlive } from './hub.js';
import { checkFunction } from './checks.js';

/** Returned by {@link signal}. */
export class SignalWatcher {
  readonly #name: NodeJS.Signals;
  readonly #listener: () => void;
  #active = true;
  #ref = false;

  /** @internal */
  constructor(name: NodeJS.Signals, listener: () => void) {
    this.#name = name;
    this.#listener = listener;
    process.on(name, listener);
  }

  /** Whether the handler is installed. */
  get active(): boolean {
    return this.#active;
  }

  /** Whether waiting for the signal keeps the process alive (default: no). */
  get ref(): boolean {
    return this.#ref;
  }

  set ref(ref: boolean) {
    if (typeof ref !== 'boolean') throw new TypeError(`ref must be true or false, got ${typeof ref}`);
    if (ref === this.#ref || !this.#active) return;
    this.#ref = ref;
    keepAlive(ref ? 1 : -1);
  }

  /** Removes the handler. Calling it again does nothing. */
  cancel(): void {
    if (!this.#active) return;
    this.ref = false;
    this.#active = false;
    process.removeListener(this.#name, this.#listener);
  }

  /** As {@link cancel}, for `using`. */
  [Symbol.dispose](): void {
    this.cancel();
  }
}

/**
 * Calls `handler(...args)` in a new greenlet, each time the signal arrives. Never switches. gevent: `gevent.signal_handler`.
 *
 * @param name - such as `'SIGUSR2'`
 * @throws {TypeError} if there is no such signal or `handler` is not a function
 */
export function signal<Args extends unknown[]>(
  name: NodeJS.Signals,
  handler: (...args: Args) => unknown,
  ...args: Args
): SignalWatcher {
  if (typeof name !== 'string' || !Object.hasOwn(constants.signals, name)) {
    throw new TypeError(`signal() expects the name of a signal such as 'SIGUSR2', got ${String(name)}`);
  }
  checkFunction('signal()', handler);
  return new SignalWatcher(name, () => void spawn(handler, ...args));
}
