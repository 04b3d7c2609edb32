/** Models of `greenstack/lock`. */
import {
  type Caller,
  Failure,
  isImmediate,
  Links,
  type ModelGreenlet,
  type ModelLimits,
  Place,
  type Running,
  type Waiting,
  waitIn,
  type World,
} from './world.js';

/** Limits of a wait that nothing but its end may end. */
const forEver: ModelLimits = { timeout: null, own: null, signal: null };

class Acquiring extends Place {}

export class SemaphoreModel {
  #free: number;
  protected readonly waiting: Waiting[] = [];
  readonly links: Links;

  /** @param bound - how many there may be at the most */
  constructor(
    world: World,
    free: number,
    private readonly bound = Infinity,
  ) {
    this.#free = free;
    this.links = new Links(world, this.waiting);
  }

  *acquire(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.#free > 0) {
      this.#free--;
      return true;
    }
    if (isImmediate(limits)) return false;
    return yield* waitIn(caller, limits, this.waiting, (greenlet) => new Acquiring(greenlet, this.waiting));
  }

  release(): number {
    return this.give();
  }

  protected give(): number {
    if (this.#free >= this.bound) throw new Failure('RangeError');
    this.#free++;
    // Up to the first who takes the permit, all see it.
    while (this.#free > 0 && this.waiting.length > 0) {
      const next = this.waiting.shift()!;
      if (next instanceof Acquiring) this.#free--;
      next.notify();
    }
    return this.#free;
  }

  *wait(caller: Caller, limits: ModelLimits): Running<number> {
    if (this.#free === 0 && !isImmediate(limits)) yield* waitIn(caller, limits, this.waiting);
    return this.#free;
  }

  get isReady(): boolean {
    return this.#free > 0;
  }

  isHeldBy(_caller: Caller): boolean {
    return this.#free === 0;
  }

  /** Gives it up for a while. */
  suspend(): number {
    this.give();
    return 1;
  }

  /** Takes it again, whatever comes meanwhile. */
  *restore(caller: Caller, _count: number): Running<void> {
    yield* caller.shielded(this.acquire(caller, forEver));
  }

  observe(): unknown {
    return { free: this.#free, waiting: this.waiting.length };
  }
}

class Owning extends Place {
  constructor(
    greenlet: ModelGreenlet,
    list: Waiting[],
    readonly count: number,
  ) {
    super(greenlet, list);
  }
}

export class RLockModel {
  #owner: Caller | null = null;
  #count = 0;
  readonly #waiting: Waiting[] = [];
  readonly links: Links;

  constructor(world: World) {
    this.links = new Links(world, this.#waiting);
  }

  *acquire(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.#owner === null || this.#owner === caller) {
      this.#owner = caller;
      this.#count++;
      return true;
    }
    if (isImmediate(limits)) return false;
    return yield* this.#wait(caller, limits, 1);
  }

  *#wait(caller: Caller, limits: ModelLimits, count: number): Running<boolean> {
    return yield* waitIn(
      caller,
      limits,
      this.#waiting,
      (greenlet) => new Owning(greenlet, this.#waiting, count),
    );
  }

  release(caller: Caller): number {
    if (this.#owner !== caller) throw new Failure('ERR_GREENSTACK_LOCK_NOT_HELD');
    if (--this.#count === 0) this.#handOver();
    return this.#count === 0 || this.#owner !== caller ? 0 : this.#count;
  }

  #handOver(): void {
    this.#owner = null;
    while (this.#owner === null && this.#waiting.length > 0) {
      const next = this.#waiting.shift()!;
      if (next instanceof Owning) [this.#owner, this.#count] = [next.greenlet, next.count];
      next.notify();
    }
  }

  get isReady(): boolean {
    return this.#owner === null;
  }

  isHeldBy(caller: Caller): boolean {
    return this.#owner === caller;
  }

  suspend(): number {
    const count = this.#count;
    this.#count = 0;
    this.#handOver();
    return count;
  }

  *restore(caller: Caller, count: number): Running<void> {
    if (this.#owner === null) [this.#owner, this.#count] = [caller, count];
    else yield* caller.shielded(this.#wait(caller, forEver, count));
  }

  observe(): unknown {
    return { holds: this.#owner === null ? 0 : this.#count, waiting: this.#waiting.length };
  }
}

export class ConditionModel {
  readonly #waiting: Waiting[] = [];

  constructor(private readonly lock: SemaphoreModel | RLockModel) {}

  *acquire(caller: Caller, limits: ModelLimits): Running<boolean> {
    return yield* this.lock.acquire(caller, limits);
  }

  release(caller: Caller): number {
    return this.lock.release(caller);
  }

  #requireLock(caller: Caller): void {
    if (!this.lock.isHeldBy(caller)) throw new Failure('ERR_GREENSTACK_LOCK_NOT_HELD');
  }

  *wait(caller: Caller, limits: ModelLimits): Running<boolean> {
    this.#requireLock(caller);
    if (isImmediate(limits)) return false;
    caller.requireGreenlet();
    // What forbids to wait shows while the lock is held.
    if (limits.signal?.aborted) throw limits.signal.reason;
    caller.deliver();
    const count = this.lock.suspend();
    try {
      return yield* waitIn(caller, limits, this.#waiting);
    } finally {
      yield* this.lock.restore(caller, count);
    }
  }

  notify(caller: Caller, _limits: ModelLimits, count = 1): void {
    this.#requireLock(caller);
    for (const next of this.#waiting.splice(0, count)) next.notify();
  }

  notifyAll(caller: Caller): void {
    this.notify(caller, forEver, Infinity);
  }

  observe(): unknown {
    return { lock: this.lock.observe(), waiting: this.#waiting.length };
  }
}
