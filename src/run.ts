/** `run`: from plain Node code into the main greenlet; and what happens when nothing is left to wait for. */
import { isMainThread } from 'node:worker_threads';

import { checkStackSize, config } from './config.js';
import { KeyboardInterrupt, LoopExit } from './errors.js';
import { Greenlet, type RawGreenlet, spawn, type SpawnOptions } from './greenlet.js';
import {
  getHub,
  interrupt,
  requireGreenlet,
  type Runnable,
  startedRunnables,
  type Wait,
  wake,
} from './hub.js';
import { checkFlag, checkFunction, checkOptions } from './checks.js';
import { checkLimits, parkWithin } from './limits.js';

/** Options of {@link run}. */
export interface RunOptions extends SpawnOptions {
  /**
   * Whether SIGINT and SIGTERM are thrown in the main greenlet as a `KeyboardInterrupt` (default: yes, unless the program
   * listens for them itself). When it has ended, the other greenlets are killed and the process ends by the signal.
   */
  signals?: boolean;
}

/** Main greenlets of the calls to {@link run} that are under way, the latest last. */
const mains: Array<Greenlet<unknown>> = [];

/** Greenlets in `wait()` without objects. */
const idleWaiters: IdleWait[] = [];

const REPORTED_GREENLETS = 20;
const REPORTED_FRAMES = 8;

/** Who waits for what and where, for {@link LoopExit}. */
function report(): string {
  const parked = startedRunnables().filter(({ _wait }) => _wait !== null);
  const shown = parked.slice(0, REPORTED_GREENLETS).map((runnable) => {
    const { stack } = runnable as Greenlet<unknown>;
    const frames = stack
      .split('\n')
      .filter((frame) => !frame.includes(__dirname))
      .slice(0, REPORTED_FRAMES);
    return `  ${String(runnable)}\n${frames.join('\n')}`;
  });
  const more = parked.length - shown.length;
  return shown.join('\n') + (more > 0 ? `\n  and ${more} more` : '');
}

/** Nothing is left that could wake anybody. */
function onBeforeExit(): void {
  const waiters = idleWaiters.splice(0);
  if (waiters.length > 0) {
    for (const waiter of waiters) wake(waiter.waiting, waiter);
    return;
  }
  const main = mains.findLast(({ _wait }) => _wait !== null);
  if (main === undefined) return;
  interrupt(
    main,
    new LoopExit(
      `the main greenlet would wait for ever: nothing is left that could wake it. Parked are:\n${report()}`,
    ),
    { shields: Infinity },
  );
}

let watching = false;

function watchForEnd(): void {
  if (watching) return;
  watching = true;
  process.on('beforeExit', onBeforeExit);
}

class IdleWait implements Wait {
  constructor(readonly waiting: Runnable) {}

  cancel(): void {
    const index = idleWaiters.indexOf(this);
    if (index >= 0) idleWaiters.splice(index, 1);
  }

  describe(): string {
    return 'wait() for the end of everything';
  }
}

getHub().waitUntilIdle = (limits) => {
  const checked = checkLimits('wait()', limits);
  const wait = new IdleWait(requireGreenlet('wait()'));
  watchForEnd();
  idleWaiters.push(wait);
  // The time is not referenced: it must not be what keeps the program from ending.
  return parkWithin('wait()', wait, checked, false);
};

/**
 * What is done, in a greenlet each, when a signal ends the process: after the main greenlets have ended, and before all others
 * are killed.
 */
export const farewells: Array<() => void> = [];

/** Throws SIGINT and SIGTERM in main greenlets as long as there are some that want them, and ends the process in good order. */
class SignalGuard {
  readonly #mains = new Set<Greenlet<unknown>>();
  /** Who wants an orderly end without a main greenlet. */
  readonly #others = new Set<object>();
  #received: NodeJS.Signals | null = null;
  #isListening = false;
  /** Ends the farewells early. */
  #hurry: (() => void) | null = null;

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    // Whoever listens too has decided what the signal means.
    if (process.listenerCount(signal) > 1) return;
    this.#received = signal;
    for (const main of this.#mains) interrupt(main, new KeyboardInterrupt(signal));
    if (this.#hurry !== null) this.#hurry();
    else if (this.#mains.size === 0) void this.#end(signal);
  };

  /** The signal that is about to end the process. */
  get received(): NodeJS.Signals | null {
    return this.#received;
  }

  guard(main: Greenlet<unknown>): void {
    this.#mains.add(main);
    this.#listen();
  }

  guardWithoutMain(who: object): void {
    this.#others.add(who);
    this.#listen();
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    process.on('SIGINT', this.#onSignal);
    process.on('SIGTERM', this.#onSignal);
  }

  #unlisten(): void {
    if (!this.#isListening || this.#mains.size + this.#others.size > 0) return;
    this.#isListening = false;
    process.removeListener('SIGINT', this.#onSignal);
    process.removeListener('SIGTERM', this.#onSignal);
  }

  /** A main greenlet has ended. If it was the last and there was a signal, so do the others and then the process. */
  async release(main: Greenlet<unknown>): Promise<void> {
    this.#mains.delete(main);
    if (this.#mains.size > 0) return;
    if (this.#received === null) this.#unlisten();
    else await this.#end(this.#received);
  }

  releaseWithoutMain(who: object): void {
    this.#others.delete(who);
    if (this.#received === null) this.#unlisten();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (farewells.length > 0) {
      const hurried = new Promise<void>((resolve) => (this.#hurry = resolve));
      await Promise.race([hurried, Promise.allSettled(farewells.map((farewell) => spawn(farewell)))]);
    }
    await killTheRest();
    this.#others.clear();
    this.#unlisten();
    process.kill(process.pid, signal);
  }
}

/** Who sees to it that SIGINT and SIGTERM end the process in good order. */
export const signalGuard = new SignalGuard();

/** Kills all greenlets and waits for them, but not longer than `config.shutdownTimeout`. */
function killTheRest(): Promise<void> {
  const rest = startedRunnables() as Array<Greenlet<unknown> | RawGreenlet>;
  for (const greenlet of rest) greenlet.kill(undefined, { block: false });
  return new Promise((resolve) => {
    // Whoever is ready by then goes on first: the machine may have stood still all the time.
    const timer = setTimeout(() => setImmediate(resolve), config.shutdownTimeout);
    let left = rest.length;
    const done = (): void => {
      if (--left > 0) return;
      clearTimeout(timer);
      resolve();
    };
    if (left === 0) done();
    for (const greenlet of rest) greenlet._addLink({ callback: null, notify: done });
  });
}

/**
 * Runs `main` in a greenlet, the main greenlet, from plain Node code. The way in for a whole program. Other greenlets may
 * outlive it. Never switches.
 *
 * If main waits and nothing is left that could ever wake it, {@link LoopExit} is thrown in it.
 *
 * @param main - may block anywhere; if it returns a promise, that is waited for
 * @returns a promise for what `main` returns, or of the error that leaves it
 * @throws {TypeError} if `main` is not a function or the options are wrong
 *
 * @example
 * run(() => {
 *   const pages = urls.map((url) => spawn(download, url));
 *   joinAll(pages);
 * });
 */
export function run<T>(main: () => T | PromiseLike<T>, options?: RunOptions): Promise<T> {
  checkFunction('run()', main);
  const { signals = true, stackSize, name = 'main' } = checkOptions('run()', options);
  checkFlag('run()', 'signals', signals);
  if (stackSize !== undefined) checkStackSize('stackSize', stackSize);
  const greenlet = new Greenlet<T | PromiseLike<T>>(main)._configure(
    stackSize === undefined ? { name } : { name, stackSize },
  );
  greenlet._markAsMain();
  const settled = greenlet.then() as Promise<T>;
  greenlet.start();
  watchForEnd();
  mains.push(greenlet);
  greenlet._addLink({ callback: null, notify: () => void mains.splice(mains.indexOf(greenlet), 1) });
  // Signals reach the main thread only.
  if (!signals || !isMainThread) return settled;
  signalGuard.guard(greenlet);
  return settled.finally(() => signalGuard.release(greenlet));
}

getHub().systemErrorTarget = (error) => {
  const main = mains.at(-1);
  if (main === undefined || main.ready) return false;
  interrupt(main, error);
  return true;
};
