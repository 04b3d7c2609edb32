/** `greenstack/fibers`: the package `fibers`, on stacks of greenstack. */
import { native } from '../binding.js';
import { config } from '../config.js';
import { currentRunnable } from '../hub.js';
import { Strand } from './strand.js';

/** A function on a stack of its own, which whoever runs it can leave and enter. */
interface Fiber {
  /** Whether it has been run and has not ended. */
  readonly started: boolean;
  /**
   * Starts its function with `param`, or lets its pending `Fiber.yield()` return `param`. Returns when it yields, ends, or
   * waits for something of greenstack's. A fiber that has ended starts anew.
   *
   * @returns what it passes to `Fiber.yield`, or returns; `undefined` if it waits
   * @throws what leaves its function
   * @throws {Error} if it is running: it has not yielded
   */
  run<T = any, R = any>(param?: T): R;
  /**
   * Ends it: its pending `Fiber.yield()` and all that follow throw "This Fiber is a zombie". Does nothing if it is not
   * started.
   *
   * @returns what its function returns nevertheless
   * @throws {Error} if it has not yielded
   */
  reset<T = any>(): T;
  /**
   * Lets its pending `Fiber.yield()` throw. Returns as {@link run}.
   *
   * @throws {Error} if it has not yielded
   */
  throwInto<R = any>(exception?: unknown): R;
}

interface FiberConstructor {
  /** Makes a fiber that is not started. The same with and without `new`. */
  new (fn: Function): Fiber;
  (fn: Function): Fiber;
  readonly prototype: Fiber;
  /** The running fiber; `undefined` outside of fibers. */
  readonly current: Fiber | undefined;
  /** How many unused stacks are kept, unless `config.idleStacks` keeps more; greenlets use the same. */
  poolSize: number;
  /** How many stacks were made for fibers. */
  readonly fibersCreated: number;
  /**
   * Leaves the running fiber: `run()`, which has entered it, returns `param`.
   *
   * @returns what the next `run()` is given; what `throwInto()` is given is thrown
   */
  yield<T = any, R = any>(param?: R): T;
}

/** More unused stacks are not kept, whatever `poolSize` says. */
const MOST_IDLE = 1_000_000;

let poolSize = 120;
let stacksMade = 0;

function noteStackMade(): void {
  stacksMade++;
}

/** Unwinds those that nobody can run any more. */
const forgotten = new FinalizationRegistry<Strand>((strand) => {
  if (!strand.isYielding || strand.weakOwner?.deref() !== undefined) return;
  adopt(strand);
  strand.unwind();
});

/** Makes another fiber of a strand whose own was collected. */
let adopt: (strand: Strand) => FiberObject;

class FiberObject implements Fiber {
  readonly #fn: (...args: never[]) => unknown;
  /** The latest run of the function; `null` before the first. */
  #strand: Strand | null = null;

  static {
    adopt = (strand) => {
      const fiber = new FiberObject(abandoned);
      fiber.#strand = strand;
      strand.owner = fiber;
      strand.weakOwner = null;
      return fiber;
    };
  }

  constructor(fn: (...args: never[]) => unknown) {
    this.#fn = fn;
  }

  /** Its strand, unless that has ended. */
  static #startedStrand(fiber: FiberObject): Strand | null {
    if (fiber === null || typeof fiber !== 'object' || !(#strand in fiber))
      throw new TypeError('Illegal invocation');
    const strand = fiber.#strand;
    return strand === null || strand.dead ? null : strand;
  }

  get started(): boolean {
    // Also of what is no fiber, as of the prototype.
    if (!(#strand in this)) return undefined as unknown as boolean;
    return FiberObject.#startedStrand(this) !== null;
  }

  run<R>(param?: unknown): R {
    const strand = FiberObject.#startedStrand(this);
    if (strand !== null && !strand.isYielding) throw new Error('This Fiber is already running');
    if (arguments.length > 1) throw new TypeError('run() excepts 1 or no arguments');
    if (strand === null) return this.#start(arguments.length === 0 ? [] : [param]) as R;
    strand.owner = this;
    return strand.resume(param, false) as R;
  }

  #start(args: unknown[]): unknown {
    const strand = new Strand(this, this.#fn, args);
    const before = this.#strand;
    this.#strand = strand;
    try {
      return strand.begin(noteStackMade);
    } catch (error) {
      if (strand.hasBegun) throw error;
      this.#strand = before;
      throw asOutOfMemory(error);
    }
  }

  throwInto<R>(exception?: unknown): R {
    const strand = FiberObject.#startedStrand(this);
    if (strand === null || !strand.isYielding) throw new Error('This Fiber is not yielding');
    if (arguments.length > 1) throw new TypeError('throwInto() expects 1 or no arguments');
    strand.owner = this;
    return strand.resume(exception, true) as R;
  }

  reset<T>(): T {
    const strand = FiberObject.#startedStrand(this);
    if (strand === null) return undefined as T;
    if (!strand.isYielding) throw new Error('This Fiber is not yielding');
    if (arguments.length > 0) throw new TypeError('reset() expects no arguments');
    strand.owner = this;
    return strand.unwind() as T;
  }
}

/** The function of a fiber that stands for a collected one. */
function abandoned(): void {}

/** There was no stack for a fiber. */
function asOutOfMemory(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ERR_GREENSTACK_OUT_OF_STACKS' ? new RangeError('Out of memory', { cause: error }) : error;
}

function FiberFunction(...args: unknown[]): FiberObject {
  const [fn] = args;
  if (args.length !== 1) throw new TypeError('Fiber expects 1 argument');
  if (typeof fn !== 'function') throw new TypeError('Fiber expects a function');
  if (new.target === undefined || new.target === FiberFunction) return new FiberObject(fn as () => unknown);
  return Reflect.construct(FiberObject, args, new.target) as FiberObject;
}

function yieldFiber(param?: unknown): unknown {
  const strand = currentRunnable();
  if (!(strand instanceof Strand)) throw new Error('yield() called with no fiber running');
  if (strand.zombie !== null) throw strand.zombie;
  if (arguments.length > 1) throw new TypeError('yield() expects 1 or no arguments');
  if (strand.weakOwner === null) track(strand);
  return strand.yield(param);
}

/** Sees to it that the strand is unwound if its fiber is collected. In a frame of its own, which does not stay on the stack. */
function track(strand: Strand): void {
  const { owner } = strand;
  if (owner === null) return;
  strand.weakOwner = new WeakRef(owner);
  forgotten.register(owner, strand);
}

Object.defineProperty(FiberFunction, 'name', { value: 'Fiber' });
FiberFunction.prototype = FiberObject.prototype;
Object.defineProperty(FiberObject.prototype, 'constructor', { value: FiberFunction });
Object.defineProperties(FiberFunction, {
  current: {
    enumerable: true,
    configurable: true,
    get(): FiberObject | undefined {
      const strand = currentRunnable();
      if (!(strand instanceof Strand)) return undefined;
      return (strand.owner as FiberObject | null) ?? adopt(strand);
    },
  },
  poolSize: {
    enumerable: true,
    configurable: true,
    get: () => poolSize,
    set(value: unknown) {
      poolSize = Number(value);
      native.setIdleRunners(Math.max(config.idleStacks, Math.min(poolSize, MOST_IDLE) || 0));
    },
  },
  fibersCreated: { enumerable: true, configurable: true, get: () => stacksMade },
  yield: { enumerable: true, configurable: true, writable: true, value: yieldFiber },
});

const Fiber = FiberFunction as unknown as FiberConstructor;

// Copies of the package `fibers` that dependencies bring along look here before they load a binary.
(process as NodeJS.Process & { fiberLib?: unknown }).fiberLib ??= Fiber;

export = Fiber;
