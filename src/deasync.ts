/** `greenstack/deasync`: the package `deasync`, without a loop inside the loop. */
import { checkFunction } from './checks.js';
import { LoopExit } from './errors.js';
import {
  awaitOutside,
  getHub,
  park,
  plainWait,
  requireGreenlet,
  type Runnable,
  type Wait,
  wake,
} from './hub.js';
import { sleep as sleepFor } from './sleep.js';

/** The callback that is passed to a function, and what it was called with. */
class CallbackWait implements Wait {
  #isCalled = false;
  #error: unknown;
  #result: unknown;

  constructor(
    private readonly waiting: Runnable,
    private readonly name: string,
  ) {}

  readonly callback = (error?: unknown, result?: unknown): void => {
    if (this.#isCalled) return;
    this.#isCalled = true;
    this.#error = error;
    this.#result = result;
    wake(this.waiting, this);
  };

  /** What the callback is called with. Switches only if it was not called yet. */
  result(): unknown {
    if (!this.#isCalled) {
      awaitOutside(1);
      try {
        park(this.name, this);
      } finally {
        awaitOutside(-1);
      }
    }
    if (this.#error) throw this.#error;
    return this.#result;
  }

  cancel(): void {
    this.#isCalled = true;
  }

  describe(): string {
    return `${this.name}, for its callback`;
  }
}

/**
 * Turns a function that takes a callback `(error, result)` last into one that returns the result, or throws the error. The
 * returned function switches only if it must wait.
 *
 * Unlike the package's, which runs the event loop in the middle of whatever calls it, it parks the greenlet: so it works in
 * greenlets and fibers only. There, any number of such calls may be under way, and end in any order.
 *
 * @throws {TypeError} if `fn` is not a function
 * @throws {BlockingSwitchOutError} (the returned function) outside greenlets; `fn` is not called then
 */
function deasync<Args extends unknown[], T>(
  fn: (...args: [...Args, callback: (error: any, result: T) => void]) => unknown,
): (...args: Args) => T;
function deasync<T = any>(fn: (...args: any[]) => unknown): (...args: any[]) => T;
function deasync(fn: (...args: any[]) => unknown): (...args: any[]) => unknown {
  checkFunction('deasync()', fn);
  const name = `${fn.name || 'a function'}() of deasync`;
  return function (this: unknown, ...args: unknown[]): unknown {
    const wait = new CallbackWait(requireGreenlet(name), name);
    Reflect.apply(fn, this, [...args, wait.callback]);
    return wait.result();
  };
}

/** Turns of the event loop after which `loopWhile` looks at its condition less often. */
const EAGER_TURNS = 32;
const PATIENCE_MS = 1;

function endless(): LoopExit {
  return new LoopExit('loopWhile() would loop for ever: nothing is left that could change its condition');
}

namespace deasync {
  /**
   * Waits at least `ms`. Switches.
   *
   * @throws {TypeError} if `ms` is not a number
   * @throws {BlockingSwitchOutError} outside greenlets
   */
  export function sleep(ms: number): void {
    sleepFor(ms);
  }

  /**
   * Waits until the event loop has run once: callbacks that are due have been called. Switches.
   *
   * @throws {BlockingSwitchOutError} outside greenlets
   */
  export function runLoopOnce(): void {
    const greenlet = requireGreenlet('runLoopOnce()');
    let immediate: NodeJS.Immediate | undefined;
    const wait = plainWait('runLoopOnce()');
    wait.cancel = () => clearImmediate(immediate);
    immediate = setImmediate(() => wake(greenlet, wait));
    park('runLoopOnce()', wait);
  }

  /**
   * Waits as long as `predicate` returns something true. It is called after each turn of the event loop, later every ms.
   * Switches only if it must wait.
   *
   * @throws {TypeError} if `predicate` is not a function
   * @throws {LoopExit} if nothing is left that could change what it returns
   * @throws {BlockingSwitchOutError} outside greenlets
   */
  export function loopWhile(predicate: () => unknown): void {
    checkFunction('loopWhile()', predicate);
    requireGreenlet('loopWhile()');
    for (let turns = 0; predicate(); turns++) {
      if (turns < EAGER_TURNS) runLoopOnce();
      else if (getHub().join(PATIENCE_MS) && predicate()) throw endless();
    }
  }
}

export = deasync;
