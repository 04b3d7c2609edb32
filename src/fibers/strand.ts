/** What runs on the stack of a fiber. It knows its `Fiber` only while it runs, so that a forgotten one can be collected. */
import { emptyContext } from '../context.js';
import { GreenletExit } from '../errors.js';
import { RawGreenlet, State } from '../greenlet.js';
import {
  beforeLeaving,
  checkCanEnter,
  enterFiber,
  leaveFiber,
  leaveStack,
  plainWait,
  refuseParks,
  throwInterruption,
} from '../hub.js';

const YIELDING = plainWait('Fiber.yield()');

/** Throws an error that nobody is left to catch, as a plain callback would. */
function rethrow(error: unknown): void {
  throw error;
}

/**
 * One run of a fiber's function, from its start to its end: a raw greenlet that is entered by whoever resumes it. What leaves
 * its stack, be it by `Fiber.yield`, by parking or by its end, makes `resume` return.
 */
export class Strand extends RawGreenlet {
  /** Its fiber, while it runs, is parked or ready; `null` while it yields. */
  owner: object | null;
  /** Set when it has begun to yield for the first time: finds its fiber. */
  weakOwner: WeakRef<object> | null = null;
  /** Set while it is unwound by `reset()` or the collector: what every yield throws. */
  zombie: Error | null = null;
  /** What is on its way into the strand or out of it. */
  private passed: unknown = undefined;
  /** Whether that is thrown. */
  private isThrown = false;
  /** Whether somebody who has resumed it waits for it, rather than the hub. */
  private isResumed = false;

  constructor(owner: object, fn: (...args: never[]) => unknown, args: readonly unknown[]) {
    super(fn, args, emptyContext);
    this.owner = owner;
  }

  /** Whether it is suspended in `Fiber.yield`. */
  get isYielding(): boolean {
    return this._wait === YIELDING;
  }

  /** Whether its function was called. */
  get hasBegun(): boolean {
    return this._state !== State.Scheduled;
  }

  /** Starts it. What it yields or returns, as {@link resume}. `made()` is called if a new stack was made for it. */
  begin(made: () => void): unknown {
    checkCanEnter();
    this.isResumed = true;
    if (enterFiber(this)) made();
    this.isResumed = false;
    return this.take();
  }

  /** Goes on with a yielding strand: its yield returns `value`, or throws it. Returns what it yields or returns next. */
  resume(value: unknown, isThrown: boolean): unknown {
    checkCanEnter();
    this.passed = value;
    this.isThrown = isThrown;
    this.isResumed = true;
    enterFiber(this);
    this.isResumed = false;
    return this.take();
  }

  /** Ends a yielding strand by a zombie exception. Returns what it returns nevertheless. */
  unwind(): unknown {
    checkCanEnter();
    const zombie = new Error('This Fiber is a zombie');
    this.zombie = zombie;
    refuseParks(this, zombie);
    try {
      return this.resume(zombie, true);
    } catch (error) {
      if (error !== zombie) throw error;
      return undefined;
    }
  }

  /** Leaves the stack with `value` for whoever has resumed it. Returns or throws what it is resumed with. */
  yield(value: unknown): unknown {
    beforeLeaving(this, YIELDING);
    this.passed = value;
    this.isThrown = false;
    this.owner = null;
    leaveFiber(this, YIELDING);
    if (this.isResumed) return this.take();
    // By a kill or a timeout: nobody else wakes what yields.
    this.passed = undefined;
    this.owner = this.weakOwner?.deref() ?? null;
    return throwInterruption(this);
  }

  /** On either side of a switch: what has come over. */
  private take(): unknown {
    const { passed, isThrown } = this;
    this.passed = undefined;
    this.isThrown = false;
    if (isThrown) throw passed;
    return passed;
  }

  /** @internal */
  override _begin(): void {
    this._state = State.Running;
    let outcome: unknown;
    let failed = false;
    try {
      // As a plain call: what is not strict has the global object as `this`.
      outcome = Reflect.apply(this._fn as (...args: never[]) => unknown, globalThis, this._args as unknown[]);
    } catch (error) {
      failed = true;
      outcome = error;
    }
    leaveStack(this);
    this.owner = null;
    if (failed && GreenletExit.is(outcome)) [failed, outcome] = [false, undefined];
    if (this.isResumed) [this.passed, this.isThrown] = [outcome, failed];
    else if (failed && outcome !== this.zombie) process.nextTick(rethrow, outcome);
    this._end(false, undefined);
  }

  /** @internal */
  override _describe(): string {
    return super._describe().replace('RawGreenlet', 'Fiber');
  }
}
