/** A model of `Pool` of `greenstack/pool`: its room, and who waits for that. */
import {
  type Caller,
  Failure,
  isImmediate,
  Links,
  type ModelLimits,
  notifyAll,
  Place,
  type Running,
  type Waiting,
  waitIn,
  type World,
} from './world.js';

const forEver: ModelLimits = { timeout: null, own: null, signal: null };

/** Somebody who is handed room. */
class Entering extends Place {}

/** A greenlet in the pool. */
interface Member {
  readonly isStarted: boolean;
}

export class PoolModel {
  #members: Member[] = [];
  /** How many are in it or were handed room. */
  #taken = 0;
  readonly #entering: Waiting[] = [];
  /** Who waits until it is empty. */
  readonly #waiting: Waiting[] = [];
  readonly links: Links;

  constructor(
    private readonly world: World,
    private readonly size: number,
  ) {
    this.links = new Links(world, this.#waiting);
  }

  *#takeRoom(caller: Caller, limits: ModelLimits): Running<void> {
    if (this.#taken < this.size) {
      this.#taken++;
      return;
    }
    const isIn =
      !isImmediate(limits) &&
      (yield* waitIn(caller, limits, this.#entering, (greenlet) => new Entering(greenlet, this.#entering)));
    if (!isIn) throw limits.own ?? new Failure('PoolFull');
  }

  #remove(member: Member | undefined): void {
    if (member === undefined || !this.#members.includes(member)) return;
    this.#members = this.#members.filter((other) => other !== member);
    this.#taken--;
    // Up to the first who takes it, all see the room.
    while (this.#taken < this.size && this.#entering.length > 0) {
      const next = this.#entering.shift()!;
      if (next instanceof Entering) this.#taken++;
      next.notify();
    }
    if (this.isReady) notifyAll(this.#waiting);
  }

  /** Adds a greenlet that does not begin by itself. */
  *addUnstarted(caller: Caller, limits: ModelLimits): Running<void> {
    yield* this.#takeRoom(caller, limits);
    this.#members.push({ isStarted: false });
  }

  /** Spawns a greenlet that ends at once. */
  *spawnShort(caller: Caller): Running<void> {
    yield* this.#takeRoom(caller, forEver);
    const member = { isStarted: true };
    this.#members.push(member);
    this.world.enqueue(() => this.#remove(member));
  }

  #removeUnstarted(index: number): void {
    const unstarted = this.#members.filter(({ isStarted }) => !isStarted);
    this.#remove(unstarted[index % unstarted.length]);
  }

  endUnstarted(_caller: Caller, _limits: ModelLimits, index: number): void {
    this.#removeUnstarted(index);
  }

  discardUnstarted(_caller: Caller, _limits: ModelLimits, index: number): void {
    this.#removeUnstarted(index);
  }

  killWithoutWaiting(): void {
    for (const member of this.#members) this.#remove(member);
  }

  *waitAvailable(caller: Caller, limits: ModelLimits): Running<number> {
    if (this.#taken >= this.size && !isImmediate(limits)) yield* waitIn(caller, limits, this.#entering);
    return this.#free;
  }

  *join(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.isReady) return true;
    if (isImmediate(limits)) return false;
    return yield* waitIn(caller, limits, this.#waiting);
  }

  get #free(): number {
    return this.size === Infinity ? 1 : this.size - this.#taken;
  }

  get isReady(): boolean {
    return this.#taken === 0;
  }

  observe(): unknown {
    return { count: this.#members.length, free: this.#free, linkCount: this.#waiting.length };
  }
}
