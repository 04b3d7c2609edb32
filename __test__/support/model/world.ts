/**
 * A plain model of greenlets, to compare the library with: generators for stacks, arrays for queues, numbers for time.
 *
 * A model of a primitive is a class with methods of the same names, which take the caller and its limits first. Those that may
 * wait are generators, and wait by `yield* waitIn(…)`.
 */

/** Whatever is thrown in the model: known by what it shows. */
export class Failure {
  constructor(readonly shown: string) {}
}

/** What a kill throws. */
export class Kill extends Failure {}

/** What may wait: it runs until it returns, and is suspended on the way. */
export type Running<T> = Generator<void, T, void>;

/** A signal as a call sees it. */
export interface ModelSignal {
  readonly reason: Failure;
  aborted: boolean;
  /** Called by an abort; there is at most one listener. */
  listener: (() => void) | null;
}

/** Limits of a call. */
export interface ModelLimits {
  /** 0 never waits; `null`: for ever. */
  readonly timeout: number | null;
  /** The `Timeout` that was passed, which somebody else makes expire. */
  readonly own: Failure | null;
  readonly signal: ModelSignal | null;
}

/** Who waits, in a list of those who wait for the same. */
export interface Waiting {
  /** Called when its turn has come and it has been taken out of the list. */
  notify(): void;
}

/** Takes `waiting` out of `list`, if it is there. */
export function leave(list: Waiting[], waiting: Waiting): void {
  const index = list.indexOf(waiting);
  if (index >= 0) list.splice(index, 1);
}

/** Takes out and notifies who is in the list now. */
export function notifyAll(list: Waiting[]): void {
  for (const waiting of list.splice(0)) waiting.notify();
}

/** Everything that is ready, in one order, and the log that both sides write. */
export class World {
  readonly log: string[] = [];
  now = 0;
  #ready: Array<() => void> = [];
  #timers: Array<{ readonly at: number; fire(): void }> = [];

  get isSettled(): boolean {
    return this.#ready.length === 0;
  }

  enqueue(action: () => void): void {
    this.#ready.push(action);
  }

  /** Lets those run who are ready now; who becomes ready meanwhile waits for the next time. */
  pass(): void {
    for (const action of this.#ready.splice(0)) action();
  }

  /** Lets everybody run, and tells how many passes that took. */
  settle(): number {
    let passes = 0;
    for (; !this.isSettled; passes++) this.pass();
    return passes;
  }

  /** Calls `fire` after some time; the returned function takes that back. */
  after(ms: number, fire: () => void): () => void {
    const timer = { at: this.now + ms, fire };
    const later = this.#timers.findIndex(({ at }) => at > timer.at);
    this.#timers.splice(later < 0 ? this.#timers.length : later, 0, timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves the time from timer to timer. Whoever is due at the same time becomes ready together. */
  advance(ms: number): void {
    const goal = this.now + ms;
    this.settle();
    for (let next = this.#timers[0]; next !== undefined && next.at <= goal; next = this.#timers[0]) {
      this.now = next.at;
      while (this.#timers[0]?.at === this.now) this.#timers.shift()!.fire();
      this.settle();
    }
    this.now = goal;
  }
}

/** Whoever calls: a greenlet, or the hub. */
export abstract class Caller {
  constructor(
    readonly world: World,
    readonly name: string,
  ) {}

  /** Parks at `place`; `false` if the time passed first. */
  abstract park(place: Place, timeout: number | null): Running<boolean>;
  /** Throws where nobody can park. */
  abstract requireGreenlet(): void;
  /** Throws what is due to whoever is about to switch. Who has survived a kill up to here is reported. */
  abstract deliver(): void;
  /** Goes behind all who are ready. */
  abstract yieldNow(): Running<void>;
  /** As {@link yieldNow}, such that nothing is thrown. */
  abstract switchOnce(): Running<void>;
  abstract interrupt(failure: Failure): void;
  abstract withdraw(failure: Failure): void;
  /** Runs `body` such that interruptions wait until it has ended. */
  abstract shielded<T>(body: Running<T>): Running<T>;
}

/** Plain code on the main stack. */
export class ModelHub extends Caller {
  park(): Running<boolean> {
    throw new Failure('BlockingSwitchOutError');
  }

  requireGreenlet(): void {
    throw new Failure('BlockingSwitchOutError');
  }

  deliver(): void {}
  *yieldNow(): Running<void> {}
  *switchOnce(): Running<void> {}
  interrupt(): void {}
  withdraw(): void {}

  shielded<T>(body: Running<T>): Running<T> {
    return body;
  }
}

/** A greenlet that runs one generator. */
export class ModelGreenlet extends Caller {
  #body: Running<void> | null = null;
  #place: Place | null = null;
  #isQueued = false;
  /** What ends its wait. */
  #thrown: Failure | null = null;
  /** What waits for its next park. */
  #pending: Failure[] = [];
  /** The kill that was thrown in it last, until it parks again. */
  #survived: Kill | null = null;
  #shields = 0;

  start(body: Running<void>): void {
    this.#body = body;
    this.#makeReady();
  }

  /** Where it is parked. */
  get place(): Place | null {
    return this.#place;
  }

  #makeReady(): void {
    if (this.#isQueued) return;
    this.#isQueued = true;
    this.world.enqueue(() => {
      this.#isQueued = false;
      this.#body!.next();
    });
  }

  requireGreenlet(): void {}

  deliver(): void {
    const due = this.#shields > 0 ? undefined : this.#pending.shift();
    if (due !== undefined) this.#throw(due);
    const survived = this.#survived;
    if (survived === null) return;
    this.#survived = null;
    this.world.enqueue(() => this.world.log.push(`kill ignored: ${survived.shown}`));
  }

  #throw(failure: Failure): never {
    if (failure instanceof Kill) this.#survived = failure;
    throw failure;
  }

  *park(place: Place, timeout: number | null): Running<boolean> {
    this.deliver();
    this.#place = place;
    // Who is late is still there when it runs: until then it may be handed what it waits for.
    const stop = timeout === null ? null : this.world.after(timeout, () => this.#makeReady());
    yield;
    stop?.();
    const thrown = this.#thrown;
    this.#thrown = null;
    if (thrown !== null) this.#throw(thrown);
    if (this.#place === null) return true;
    this.#place = null;
    return false;
  }

  wake(place: Place): void {
    if (this.#place !== place) return;
    this.#place = null;
    this.#makeReady();
  }

  *yieldNow(): Running<void> {
    this.deliver();
    yield* this.switchOnce();
    this.deliver();
  }

  *switchOnce(): Running<void> {
    this.#makeReady();
    yield;
  }

  interrupt(failure: Failure): void {
    const place = this.#place;
    if (place === null || this.#shields > 0) {
      this.#pending.push(failure);
      return;
    }
    place.leave();
    this.#place = null;
    this.#thrown = failure;
    this.#makeReady();
  }

  withdraw(failure: Failure): void {
    this.#pending = this.#pending.filter((other) => other !== failure);
  }

  *shielded<T>(body: Running<T>): Running<T> {
    this.#shields++;
    try {
      return yield* body;
    } finally {
      this.#shields--;
    }
  }
}

/** A greenlet's place in a list. */
export class Place implements Waiting {
  constructor(
    readonly greenlet: ModelGreenlet,
    private readonly list: Waiting[],
  ) {}

  notify(): void {
    this.greenlet.wake(this);
  }

  leave(): void {
    leave(this.list, this);
  }
}

/** A callback's place in a list. */
export class Link implements Waiting {
  #isWanted = true;

  constructor(
    private readonly world: World,
    private readonly id: number,
    private readonly links: Links,
  ) {}

  notify(): void {
    this.world.enqueue(() => {
      if (!this.#isWanted) return;
      this.links.forget(this.id);
      this.world.log.push(`link ${this.id}`);
    });
  }

  drop(): void {
    this.#isWanted = false;
  }
}

/** The callbacks of `rawlink`, each at most once, in the list of those who wait. */
export class Links {
  readonly #links = new Map<number, Link>();

  constructor(
    private readonly world: World,
    private readonly list: Waiting[],
  ) {}

  add(id: number, isDue: boolean): void {
    if (this.#links.has(id)) return;
    const link = new Link(this.world, id, this);
    this.#links.set(id, link);
    if (isDue) link.notify();
    else this.list.push(link);
  }

  remove(id: number): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    link.drop();
    leave(this.list, link);
    this.forget(id);
  }

  forget(id: number): void {
    this.#links.delete(id);
  }
}

/** Whether the limits allow no waiting. */
export function isImmediate({ timeout }: ModelLimits): boolean {
  return timeout === 0;
}

/** Waits at the end of `list` until notified; `false` if the limits' own time passed first. */
export function* waitIn(
  caller: Caller,
  limits: ModelLimits,
  list: Waiting[],
  makePlace = (greenlet: ModelGreenlet) => new Place(greenlet, list),
): Running<boolean> {
  caller.requireGreenlet();
  const { signal } = limits;
  const place = makePlace(caller as ModelGreenlet);
  list.push(place);
  try {
    if (signal?.aborted) throw signal.reason;
    if (signal !== null) signal.listener = () => caller.interrupt(signal.reason);
    return yield* caller.park(place, limits.timeout);
  } catch (failure) {
    if (failure === limits.own) return false;
    throw failure;
  } finally {
    leave(list, place);
    if (signal !== null) {
      signal.listener = null;
      caller.withdraw(signal.reason);
    }
  }
}
