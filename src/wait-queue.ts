/** Who waits for an event, lock or queue, first in, first out: parked greenlets and callbacks of `rawlink` alike. */
import { checkFunction } from './checks.js';
import { enqueue, ofThisThread, requireGreenlet, runInHub, type Runnable, type Wait, wake } from './hub.js';
import { type CheckedLimits, parkWithin } from './limits.js';

/**
 * A place in a {@link WaitQueue}. One is made for each park, so its fields are assigned by constructors: V8 defines fields of
 * classes, one by one, much more slowly.
 */
export abstract class Entry {
  /** The queue it is in, or `null`. @internal */
  declare _queue: WaitQueue | null;
  /** @internal */
  declare _previous: Entry | null;
  /** @internal */
  declare _next: Entry | null;

  constructor() {
    this._queue = null;
    this._previous = null;
    this._next = null;
  }

  /** Called once, when it has been taken out because its turn has come. Must neither throw nor park. */
  abstract notify(): void;

  /** Leaves the queue; nothing happens if it is in none. */
  cancel(): void {
    this._queue?.remove(this);
  }
}

/** A parked greenlet. Classes of primitives extend it by what is handed over. */
export class Parked extends Entry implements Wait {
  declare private readonly call: string;
  declare readonly greenlet: Runnable;

  /** @param call - the call that waits, for errors and reports */
  constructor(call: string, greenlet: Runnable = requireGreenlet(call)) {
    super();
    this.call = call;
    this.greenlet = greenlet;
  }

  notify(): void {
    wake(this.greenlet, this);
  }

  describe(): string {
    return this.call;
  }

  /**
   * Parks the greenlet at the end of `queue` until it is notified. `false` if the limits' own time passed first. However
   * it ends, the entry has left the queue.
   */
  parkIn(queue: WaitQueue, limits: CheckedLimits): boolean {
    queue.push(this);
    return parkWithin(this.call, this, limits);
  }
}

/** A callback of `rawlink`, called in the hub after its turn has come, unless it is unlinked before. */
class Linked extends Entry {
  constructor(
    private readonly links: Map<Callback, Linked>,
    private readonly source: unknown,
    private readonly callback: Callback,
  ) {
    super();
  }

  notify(): void {
    enqueue(this);
  }

  /** What is enqueued begins when its turn comes. */
  _begin(): void {
    if (this.links.get(this.callback) !== this) return;
    this.links.delete(this.callback);
    runInHub(this.callback, [this.source]);
  }
}

type Callback = (source: never) => unknown;

/** An order of waiting. Entries leave it from anywhere at the same cost. */
export class WaitQueue {
  #first: Entry | null = null;
  #last: Entry | null = null;
  #size = 0;
  #links: Map<Callback, Linked> | null = null;

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Whether somebody waits. */
  get occupied(): boolean {
    return this.#first !== null;
  }

  /** Who has waited longest. */
  get first(): Entry | null {
    return this.#first;
  }

  push(entry: Entry): void {
    const last = this.#last;
    entry._queue = this;
    entry._previous = last;
    if (last === null) this.#first = entry;
    else last._next = entry;
    this.#last = entry;
    this.#size++;
  }

  remove(entry: Entry): void {
    const { _previous: previous, _next: next } = entry;
    if (previous === null) this.#first = next;
    else previous._next = next;
    if (next === null) this.#last = previous;
    else next._previous = previous;
    entry._queue = entry._previous = entry._next = null;
    this.#size--;
  }

  /** Takes out who has waited longest. The caller notifies it. */
  shift(): Entry | null {
    const first = this.#first;
    if (first !== null) this.remove(first);
    return first;
  }

  /** Takes out and notifies who waits now; who joins meanwhile waits for the next time. */
  notifyAll(): void {
    for (let left = this.#size; left > 0; left--) this.shift()?.notify();
  }

  /** Adds a callback, once; `isDue`: its turn has come already. */
  link(callback: Callback, source: unknown, isDue: boolean): void {
    const links = (this.#links ??= new Map<Callback, Linked>());
    if (links.has(callback)) return;
    const link = new Linked(links, source, callback);
    links.set(callback, link);
    if (isDue) link.notify();
    else this.push(link);
  }

  /** Removes a callback; also one whose turn has come and that has not been called yet. */
  unlink(callback: Callback): void {
    this.#links?.get(callback)?.cancel();
    this.#links?.delete(callback);
  }
}

/** What `wait` and `iwait` can wait for: a base for primitives with one order of waiting. */
export abstract class Linkable {
  /** @internal */
  readonly _thread = ofThisThread;
  /** @internal */
  readonly _waiting = new WaitQueue();

  /** Whether a wait for it would end at once. */
  abstract get ready(): boolean;

  /** How many wait for it: greenlets and callbacks. gevent: `linkcount`. */
  get linkCount(): number {
    return this._waiting.size;
  }

  /**
   * Calls `callback` with this object once, in the hub, when it is ready; soon if it is already. It must not block; its error is
   * reported. Linking the same callback again before that changes nothing. Never switches.
   */
  rawlink(callback: (source: this) => unknown): void {
    checkFunction('rawlink()', callback);
    this._waiting.link(callback, this, this.ready);
  }

  /** Takes a callback of {@link rawlink} back, so that it is not called. An unknown one is no error. Never switches. */
  unlink(callback: (source: this) => unknown): void {
    this._waiting.unlink(callback);
  }

  /** As reports show it: `<Event clear, 2 waiting>`. @internal */
  protected _show(state: string): string {
    const waiting = this._waiting.size;
    return `<${this.constructor.name} ${state}${waiting === 0 ? '' : `, ${waiting} waiting`}>`;
  }
}
