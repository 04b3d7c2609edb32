/** Models of `greenstack/queue`. */
import { priorityOf } from './script.js';
import {
  type Caller,
  Failure,
  isImmediate,
  Links,
  type ModelGreenlet,
  type ModelLimits,
  notifyAll,
  Place,
  type Running,
  type Waiting,
  waitIn,
  type World,
} from './world.js';

const forEver: ModelLimits = { timeout: null, own: null, signal: null };
const atOnce: ModelLimits = { timeout: 0, own: null, signal: null };

/** Who waits for an item, or with one. */
class ItemPlace extends Place {
  /** `null`: the queue has been shut down. */
  item: number | null = null;

  constructor(
    greenlet: ModelGreenlet,
    list: Waiting[],
    readonly peeks: boolean,
    item: number | null,
  ) {
    super(greenlet, list);
    this.item = item;
  }
}

/** Where an item goes among the others; the first is got first. */
export type Order = (items: readonly number[], item: number) => number;

export const orders = {
  fifo: (items) => items.length,
  lifo: () => 0,
  priority(items, item) {
    const after = items.findIndex((other) => priorityOf(other) > priorityOf(item));
    return after < 0 ? items.length : after;
  },
} satisfies Record<string, Order>;

export class QueueModel {
  readonly #items: number[] = [];
  readonly #getters: ItemPlace[] = [];
  readonly #putters: ItemPlace[] = [];
  readonly #linked: Waiting[] = [];
  readonly #joiners: Waiting[] = [];
  #unfinished = 0;
  #isShutDown = false;
  readonly links: Links;

  constructor(
    world: World,
    private readonly order: Order,
    private maxSize: number,
    private readonly countsTasks: boolean,
  ) {
    this.links = new Links(world, this.#linked);
  }

  #store(item: number): void {
    this.#items.splice(this.order(this.#items, item), 0, item);
    this.#unfinished++;
  }

  /** Everybody goes on who can: who puts while there is room, who gets while there are items. */
  #serve(): void {
    for (;;) {
      if (this.#putters.length > 0 && this.#items.length < this.maxSize) {
        const putter = this.#putters.shift()!;
        this.#store(putter.item!);
        putter.notify();
      } else if (this.#getters.length > 0 && this.#items.length > 0) {
        const getter = this.#getters.shift()!;
        getter.item = getter.peeks ? this.#items[0]! : this.#items.shift()!;
        getter.notify();
      } else {
        break;
      }
    }
    if (this.isReady) notifyAll(this.#linked);
  }

  *put(caller: Caller, limits: ModelLimits, item: number): Running<void> {
    if (this.#isShutDown) throw new Failure('ShutDown');
    if (this.#items.length < this.maxSize) {
      this.#store(item);
      this.#serve();
      return;
    }
    if (isImmediate(limits)) throw limits.own ?? new Failure('Full');
    const place = yield* waitWithItem(caller, limits, this.#putters, false, item);
    if (place === null) throw limits.own ?? new Failure('Full');
    if (place.item === null) throw new Failure('ShutDown');
  }

  *putNowait(caller: Caller, _limits: ModelLimits, item: number): Running<void> {
    yield* this.put(caller, atOnce, item);
  }

  /** The item; `null`: there will be none. */
  *#obtain(caller: Caller, limits: ModelLimits, peeks: boolean): Running<number | null> {
    if (this.#items.length > 0) {
      if (peeks) return this.#items[0]!;
      const item = this.#items.shift()!;
      this.#serve();
      return item;
    }
    if (this.#isShutDown) return null;
    if (isImmediate(limits)) throw limits.own ?? new Failure('Empty');
    const place = yield* waitWithItem(caller, limits, this.#getters, peeks, null);
    if (place === null) throw limits.own ?? new Failure('Empty');
    return place.item;
  }

  *#obtainOrThrow(caller: Caller, limits: ModelLimits, peeks: boolean): Running<number> {
    const item = yield* this.#obtain(caller, limits, peeks);
    if (item === null) throw new Failure('ShutDown');
    return item;
  }

  *get(caller: Caller, limits: ModelLimits): Running<number> {
    return yield* this.#obtainOrThrow(caller, limits, false);
  }

  *getNowait(caller: Caller): Running<number> {
    return yield* this.#obtainOrThrow(caller, atOnce, false);
  }

  *peek(caller: Caller, limits: ModelLimits): Running<number> {
    return yield* this.#obtainOrThrow(caller, limits, true);
  }

  *peekNowait(caller: Caller): Running<number> {
    return yield* this.#obtainOrThrow(caller, atOnce, true);
  }

  /** One step of an iteration. */
  *next(caller: Caller): Running<number | undefined> {
    return (yield* this.#obtain(caller, forEver, false)) ?? undefined;
  }

  resize(_caller: Caller, _limits: ModelLimits, maxSize: number): void {
    this.maxSize = maxSize;
    this.#serve();
  }

  taskDone(): void {
    this.#finish();
  }

  #finish(): void {
    if (this.#unfinished === 0) throw new Failure('RangeError');
    if (--this.#unfinished === 0) notifyAll(this.#joiners);
  }

  *join(caller: Caller, limits: ModelLimits): Running<boolean> {
    if (this.#unfinished === 0) return true;
    if (isImmediate(limits)) return false;
    return yield* waitIn(caller, limits, this.#joiners);
  }

  shutdown(_caller: Caller, _limits: ModelLimits, immediate: boolean): void {
    this.#isShutDown = true;
    for (const waiting of [...this.#getters.splice(0), ...this.#putters.splice(0)]) {
      waiting.item = null;
      waiting.notify();
    }
    notifyAll(this.#linked);
    if (!immediate) return;
    for (let dropped = this.#items.splice(0).length; dropped > 0; dropped--) {
      if (this.#unfinished > 0) this.#finish();
    }
  }

  get isReady(): boolean {
    return this.#items.length > 0 || this.#isShutDown;
  }

  observe(): unknown {
    return {
      items: [...this.#items],
      full: this.#items.length >= this.maxSize,
      unfinished: this.countsTasks ? this.#unfinished : null,
      gettersWaiting: this.#getters.length,
      puttersWaiting: this.#putters.length,
      linkCount: this.#linked.length + this.#getters.length,
    };
  }
}

/** Waits in `list` with or for an item; `null` if the limits' own time passed first. */
function* waitWithItem(
  caller: Caller,
  limits: ModelLimits,
  list: ItemPlace[],
  peeks: boolean,
  item: number | null,
  onWaiting?: () => void,
): Running<ItemPlace | null> {
  let place: ItemPlace | null = null;
  const inTime = yield* waitIn(caller, limits, list, (greenlet) => {
    onWaiting?.();
    place = new ItemPlace(greenlet, list, peeks, item);
    return place;
  });
  return inTime ? place : null;
}

export class ChannelModel {
  readonly #getters: ItemPlace[] = [];
  readonly #putters: ItemPlace[] = [];
  readonly #linked: Waiting[] = [];
  readonly links: Links;

  constructor(private readonly world: World) {
    this.links = new Links(world, this.#linked);
  }

  *put(caller: Caller, limits: ModelLimits, item: number): Running<void> {
    if (this.#getters.length > 0) {
      const isSwitching = !isImmediate(limits);
      if (isSwitching) caller.deliver();
      this.#hand(item);
      // Who gets goes on first.
      if (isSwitching) yield* caller.switchOnce();
      return;
    }
    if (isImmediate(limits)) throw limits.own ?? new Failure('Full');
    const place = yield* waitWithItem(caller, limits, this.#putters, false, item, () => this.#announce());
    if (place === null) throw limits.own ?? new Failure('Full');
  }

  /** Callbacks are told that somebody waits with an item, if that is still so when it is their turn. */
  #announce(): void {
    if (this.#linked.length === 0) return;
    this.world.enqueue(() => {
      if (this.isReady) notifyAll(this.#linked);
    });
  }

  #hand(item: number): void {
    const getter = this.#getters.shift()!;
    getter.item = item;
    getter.notify();
  }

  *putNowait(caller: Caller, _limits: ModelLimits, item: number): Running<void> {
    yield* this.put(caller, atOnce, item);
  }

  *get(caller: Caller, limits: ModelLimits): Running<number> {
    const putter = this.#putters.shift();
    if (putter !== undefined) {
      putter.notify();
      return putter.item!;
    }
    if (isImmediate(limits)) throw limits.own ?? new Failure('Empty');
    const place = yield* waitWithItem(caller, limits, this.#getters, false, null);
    if (place === null) throw limits.own ?? new Failure('Empty');
    return place.item!;
  }

  *getNowait(caller: Caller): Running<number> {
    return yield* this.get(caller, atOnce);
  }

  *next(caller: Caller): Running<number> {
    return yield* this.get(caller, forEver);
  }

  get isReady(): boolean {
    return this.#putters.length > 0;
  }

  observe(): unknown {
    return {
      balance: this.#putters.length - this.#getters.length,
      gettersWaiting: this.#getters.length,
      linkCount: this.#linked.length + this.#getters.length,
    };
  }
}
