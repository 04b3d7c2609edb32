/** Callbacks of Node's in greenlets of their own. */
import { captureContext } from '../context.js';
import { GreenletExit } from '../errors.js';
import { Greenlet } from '../greenlet.js';
import { currentRunnable, reasonNotToEnter } from '../hub.js';

/** Any function. */
export type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

const nextTick = process.nextTick;

function throwLater(error: unknown): never {
  throw error;
}

/** A greenlet that runs one callback. What comes of it belongs to the caller as long as it has not parked. */
class CallbackGreenlet extends Greenlet {
  private content: unknown = undefined;
  private failed = false;
  /** Whether the caller has gone on meanwhile. */
  private detached = false;

  constructor(
    private readonly callback: AnyFunction,
    private readonly receiver: unknown,
    private readonly argumentList: unknown[],
    private readonly named: AnyFunction,
  ) {
    super();
  }

  /** As the callback would return or throw if the caller called it. */
  call(): unknown {
    this._enter(captureContext());
    if (!this.ready) {
      this.detached = true;
      return undefined;
    }
    if (this.failed) throw this.content;
    return this.content;
  }

  protected override _run(): void {
    try {
      this.content = Reflect.apply(this.callback, this.receiver, this.argumentList);
    } catch (error) {
      if (GreenletExit.is(error)) throw error;
      this.failed = true;
      this.content = error;
      // An uncaught exception, as that of any callback.
      if (this.detached) nextTick(throwLater, error);
    }
  }

  override _describe(): string {
    return `<Greenlet of callback ${this.named.name || '(anonymous)'}>`;
  }
}

/**
 * Calls `callback` in a greenlet of its own, at once: the caller goes on when it has ended or parked. Until then it returns
 * and throws to the caller; what it throws later is an uncaught exception. In a greenlet, and where the stack must not be left,
 * this is a plain call.
 *
 * @param named - gives the greenlet its name
 */
export function callInGreenlet(
  callback: AnyFunction,
  receiver: unknown,
  args: unknown[],
  named: AnyFunction = callback,
): unknown {
  const isPlain = currentRunnable() !== null || reasonNotToEnter() !== undefined;
  if (isPlain) return Reflect.apply(callback, receiver, args);
  return new CallbackGreenlet(callback, receiver, args, named).call();
}
