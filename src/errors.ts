/**
 * The classes of errors that greenstack throws, each with a fixed `code`. Errors of the system are not among them:
 * they look as Node's own do (`code`, `errno`, `syscall`, …).
 */

/** The base of all errors of greenstack. */
export class GreenstackError extends Error {
  /** Stable, for programs to compare: `ERR_GREENSTACK_…`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  static {
    named(this, 'GreenstackError');
  }
}

/**
 * A base for errors that are made often and thrown rarely: it does not capture a stack trace, which would cost several
 * microseconds. Whoever throws one captures it.
 */
class UncapturedError extends Error {
  constructor() {
    const holder: { stackTraceLimit?: number | undefined } = Error;
    const limit = holder.stackTraceLimit;
    // Not 0: without a limit V8 does not even begin, which takes half the time.
    holder.stackTraceLimit = undefined;
    super();
    holder.stackTraceLimit = limit;
  }
}
// By its instances it is a GreenstackError; only the constructors differ.
Object.setPrototypeOf(UncapturedError.prototype, GreenstackError.prototype);

/** {@link UncapturedError}, with the type that its instances have. */
export const UnthrownError = UncapturedError as unknown as {
  new (): GreenstackError;
  readonly prototype: GreenstackError;
};

/** Names a class of errors: on its prototype, so that it is no own property of each error. */
export function named(constructor: abstract new (...args: never[]) => Error, name: string): void {
  Object.defineProperty(constructor.prototype, 'name', { value: name, configurable: true, writable: true });
}

/**
 * Thrown in a greenlet that is killed. Not a failure: a greenlet that it ends counts as successful, with this
 * error as its value.
 *
 * JavaScript's `catch` catches everything, so code that catches errors it does not know should pass this one on:
 * `catch (error) { if (GreenletExit.is(error)) throw error; … }`.
 *
 * gevent: `GreenletExit`.
 */
export class GreenletExit extends GreenstackError {
  constructor(message = 'the greenlet was killed', options?: ErrorOptions) {
    super('ERR_GREENSTACK_GREENLET_EXIT', message, options);
  }

  /** Whether `error` is a kill, to be passed on rather than handled. */
  static is(error: unknown): error is GreenletExit {
    return error instanceof GreenletExit;
  }

  static {
    named(this, 'GreenletExit');
  }
}

/**
 * Thrown in the main greenlet when it waits and nothing is left that could ever wake it. The message lists who
 * waits for what. gevent: `LoopExit`.
 */
export class LoopExit extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_LOOP_EXIT', message);
  }

  static {
    named(this, 'LoopExit');
  }
}

/** A call that may park was made where there is no greenlet to park. gevent: `BlockingSwitchOutError`. */
export class BlockingSwitchOutError extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_BLOCKING_SWITCH_OUT', message);
  }

  static {
    named(this, 'BlockingSwitchOutError');
  }
}

/** A greenlet was to be woken that waits for something else, or for itself. gevent: `InvalidSwitchError`. */
export class InvalidSwitchError extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_INVALID_SWITCH', message);
  }

  static {
    named(this, 'InvalidSwitchError');
  }
}

/** An object of one thread's hub was used from another thread. gevent: `InvalidThreadUseError`. */
export class InvalidThreadUseError extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_INVALID_THREAD_USE', message);
  }

  static {
    named(this, 'InvalidThreadUseError');
  }
}

/** Two greenlets used an object at once that serves one. gevent: `ConcurrentObjectUseError`. */
export class ConcurrentObjectUseError extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_CONCURRENT_OBJECT_USE', message);
  }

  static {
    named(this, 'ConcurrentObjectUseError');
  }
}

/** The hub has been destroyed. gevent: `HubDestroyed`. */
export class HubDestroyed extends GreenstackError {
  constructor(message = 'the hub of this thread has been destroyed') {
    super('ERR_GREENSTACK_HUB_DESTROYED', message);
  }

  static {
    named(this, 'HubDestroyed');
  }
}

/** Thrown in the main greenlet when SIGINT or SIGTERM arrives during `run`. Python: `KeyboardInterrupt`. */
export class KeyboardInterrupt extends GreenstackError {
  /** The signal that arrived. */
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super('ERR_GREENSTACK_KEYBOARD_INTERRUPT', `interrupted by ${signal}`);
    this.signal = signal;
  }

  static {
    named(this, 'KeyboardInterrupt');
  }
}
