/** `Timeout`: an error that is thrown in a greenlet after some time, wherever it is parked then. */
import { checkFlag, checkFunction, checkOptions, isErrorClass } from './checks.js';
import { GreenstackError, named, UnthrownError } from './errors.js';
import { interrupt, requireGreenlet, type Runnable, shieldsOf, withdraw } from './hub.js';
import { type Expirable, HubTimer } from './timers.js';

/** What a {@link Timeout} throws: itself (nothing, `false` or a text for its message), an error, or a new one of a class. */
export type TimeoutError = Error | (new () => Error) | string | false | null | undefined;

function checkDuration(ms: unknown): number | null {
  if (ms === null || ms === undefined) return null;
  if (typeof ms !== 'number' || Number.isNaN(ms)) {
    throw new TypeError(`Timeout expects a time in milliseconds or null, got ${typeof ms} ${String(ms)}`);
  }
  return ms;
}

function checkError(error: unknown): void {
  const fits =
    error === undefined ||
    error === null ||
    error === false ||
    typeof error === 'string' ||
    isErrorClass(error) ||
    error instanceof Error;
  if (!fits) {
    throw new TypeError(`Timeout expects an error, a class of errors, a text or false, got ${typeof error}`);
  }
}

function describe(ms: number | null, error: TimeoutError): string {
  const duration = ms === null ? 'no time limit' : `${ms} ms`;
  if (error === false) return `${duration} (silent)`;
  return typeof error === 'string' ? `${duration}: ${error}` : duration;
}

/**
 * After some time, throws an error in the greenlet that started it, at the place where it is parked. Code that does not
 * park cannot be interrupted.
 *
 * The constructor does not start it: `start()`, `Timeout.startNew()` or passing it as a limit does. Each `Timeout` is an
 * error of its own, so nested ones tell whose time is up: `catch (error) { if (error === timeout) … }`.
 *
 * gevent: `gevent.Timeout`.
 *
 * @example
 * using timeout = Timeout.startNew(1000);
 * const page = download(url);
 */
export class Timeout extends UnthrownError implements Expirable {
  readonly #ms: number | null;
  readonly #error: TimeoutError;
  readonly #referenced: boolean;
  #closed = false;
  #timer: HubTimer | null = null;
  #greenlet: Runnable | null = null;
  /** The shields that the greenlet was in at the start: those do not keep the error off. */
  #shields = 0;

  /**
   * @param ms - how long, in ms; `null` never expires; negative counts as 0
   * @param error - what to throw instead of the timeout itself
   * @param options - `ref: false` does not keep the process alive
   * @throws {TypeError} if `ms` is not a number or `error` nothing that can be thrown
   */
  constructor(ms?: number | null, error?: TimeoutError, options?: { ref?: boolean }) {
    const duration = checkDuration(ms);
    checkError(error);
    super();
    this.#ms = duration;
    this.#error = error;
    this.#referenced =
      options === undefined ||
      checkFlag('new Timeout()', 'ref', checkOptions('new Timeout()', options).ref ?? true);
  }

  static {
    named(this, 'Timeout');
    Object.defineProperty(this.prototype, 'code', { value: 'ERR_GREENSTACK_TIMEOUT', configurable: true });
    // Made when somebody reads it: most timeouts are cancelled.
    Object.defineProperty(this.prototype, 'message', {
      configurable: true,
      get(this: Timeout) {
        return describe(this.ms, this.error);
      },
      set(this: Timeout, value: unknown) {
        Object.defineProperty(this, 'message', { value, configurable: true, writable: true });
      },
    });
  }

  /**
   * Starts a new timeout, or a given one that is not pending, and returns it. Never switches.
   * gevent: `Timeout.start_new`.
   */
  static startNew(
    timeout?: number | Timeout | null,
    error?: TimeoutError,
    options?: { ref?: boolean },
  ): Timeout {
    const started = timeout instanceof Timeout ? timeout : new this(timeout, error, options);
    if (!started.pending) started.start();
    return started;
  }

  /** How long, in ms; `null`: for ever. */
  get ms(): number | null {
    return this.#ms;
  }

  /** What it throws in its own place. `false`: itself, and {@link run} swallows it. */
  get error(): TimeoutError {
    return this.#error;
  }

  /** Whether it runs: started, not expired, not cancelled. */
  get pending(): boolean {
    return this.#timer?.pending ?? false;
  }

  /**
   * Starts the time. Never switches.
   *
   * @throws {GreenstackError} if it is pending already, or closed
   * @throws {BlockingSwitchOutError} outside greenlets: there would be nobody to throw at
   */
  start(): void {
    if (this.#closed) {
      throw new GreenstackError(
        'ERR_GREENSTACK_TIMEOUT_CLOSED',
        `${this.name} has been closed: make a new one`,
      );
    }
    if (this.pending) {
      throw new GreenstackError(
        'ERR_GREENSTACK_TIMEOUT_PENDING',
        `${this.name} is pending already: cancel it first`,
      );
    }
    this.#greenlet = requireGreenlet('Timeout.start()');
    this.#shields = shieldsOf(this.#greenlet);
    if (this.ms === null || this.ms === Infinity) return;
    this.#timer ??= new HubTimer(this);
    this.#timer.startInGreenlet(Math.max(0, this.ms), this.#referenced);
  }

  /** Stops the time, and takes the error back unless it is on its way into a parked greenlet. It can be started again. Never switches. */
  cancel(): void {
    this.#timer?.cancel();
    if (this.#greenlet !== null) withdraw(this.#greenlet, this);
    this.#greenlet = null;
  }

  /** As {@link cancel}, for good: it cannot be started again. */
  close(): void {
    this.cancel();
    this.#closed = true;
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Runs `fn` under this timeout: started before (unless it is pending), cancelled after. If it expires and its
   * `error` is `false`, that is no error: `run` returns `undefined`. Switches only if `fn` does.
   *
   * gevent: `with Timeout(seconds, False): …`
   */
  run<T>(fn: () => T): T | undefined {
    checkFunction('Timeout.run()', fn);
    if (!this.pending) this.start();
    try {
      return fn();
    } catch (error) {
      if (error === this && this.error === false) return undefined;
      throw error;
    } finally {
      this.cancel();
    }
  }

  /** @internal */
  expire(): void {
    this.onExpiration();
  }

  /** Called in the hub when the time is up; subclasses may do more. */
  protected onExpiration(): void {
    const greenlet = this.#greenlet;
    if (greenlet === null || greenlet._stackId < 0) return;
    interrupt(greenlet, this.thrown(), { sender: this, shields: this.#shields });
  }

  /** What to throw when the time is up. @internal */
  thrown(): unknown {
    const error = this.#error;
    if (isErrorClass(error)) {
      try {
        return new error();
      } catch (failure) {
        return failure;
      }
    }
    if (error instanceof Error) return error;
    Error.captureStackTrace(this, this.thrown);
    return this;
  }
}

/** Options of {@link withTimeout}. */
export interface WithTimeoutOptions<V> {
  /** Returned instead of throwing when the time is up. */
  timeoutValue?: V;
}

/**
 * Runs `fn` for at most `ms`. Switches only if `fn` does. gevent: `gevent.with_timeout`.
 *
 * @param ms - how long, in ms; `null`: for ever
 * @param options - `timeoutValue`: what to return when this timeout (no other) expires
 * @returns what `fn` returns
 * @throws {Timeout} when the time is up and no `timeoutValue` was given
 */
export function withTimeout<T>(ms: number | null | Timeout, fn: () => T): T;
export function withTimeout<T, V>(
  ms: number | null | Timeout,
  fn: () => T,
  options: { timeoutValue: V },
): T | V;
export function withTimeout<T, V>(
  ms: number | null | Timeout,
  fn: () => T,
  options?: WithTimeoutOptions<V>,
): T | V {
  checkFunction('withTimeout()', fn);
  if (options !== undefined && (typeof options !== 'object' || options === null)) {
    throw new TypeError(`withTimeout expects options such as { timeoutValue }, got ${typeof options}`);
  }
  const timeout = Timeout.startNew(ms);
  try {
    return fn();
  } catch (error) {
    if (error === timeout && options !== undefined && 'timeoutValue' in options)
      return options.timeoutValue as V;
    throw error;
  } finally {
    timeout.cancel();
  }
}
