/** Applying a function to many items, each in a greenlet of its own: what `map` and `imap` have in common, and `Imap`. */
import { inspect } from 'node:util';

import { checkIterable, checkMost, checkOptions } from './checks.js';
import { Greenlet, type RawGreenlet, spawnRaw } from './greenlet.js';
import { currentRunnable, getHub, type LinkEntry } from './hub.js';
import { FOR_EVER } from './limits.js';
import { Linkable, Parked, WaitQueue } from './wait-queue.js';
import type { DisposableIterator } from './wait.js';

/** Options of `imap` and `imapUnordered`. */
export interface ImapOptions {
  /** How many items may be under way or have results that nobody has taken yet. Left out: any number. */
  maxSize?: number | null | undefined;
}

/** The items of several iterables, one of each: the arguments of one function. */
export type ItemsOf<Sources extends Array<Iterable<unknown>>> = {
  [Index in keyof Sources]: Sources[Index] extends Iterable<infer Item> ? Item : never;
};

/** A function whose arguments were checked by the compiler, where it was passed. */
export type AnyFunction = (...args: never[]) => unknown;

/** Whoever asks for this is going to throw the greenlet's error, so that it need not be reported. */
export function takeError(greenlet: Greenlet<unknown>): void {
  greenlet._takeError();
}

/** Reports an error that nobody takes after all. */
const reporting: LinkEntry = {
  callback: null,
  notify(ended) {
    const greenlet = ended as Greenlet<unknown>;
    if (!greenlet.successful) getHub().report(greenlet, greenlet.error);
  },
};

/** Takes back {@link takeError}: errors are reported now, or when they come. */
export function leaveErrors(greenlets: Iterable<Greenlet<unknown>>): void {
  for (const greenlet of greenlets) greenlet._addLink(reporting);
}

/** Kills all that have not ended, without waiting; the current one last. */
export function killWithoutWaiting(greenlets: Iterable<Greenlet<unknown> | RawGreenlet>): void {
  const self = currentRunnable();
  const alive = [...greenlets].filter((greenlet) => !greenlet.dead);
  for (const greenlet of alive) if (greenlet !== self) greenlet.kill(undefined, { block: false });
  alive.find((greenlet) => greenlet === self)?.kill();
}

/** Takes one item from each iterable at a time, until one of them has no more; the others are closed. */
function* zip(iterables: Array<Iterable<unknown>>): Iterable<unknown[]> {
  const open = new Set<Iterator<unknown>>();
  try {
    const iterators = iterables.map((iterable) => iterable[Symbol.iterator]());
    for (const iterator of iterators) open.add(iterator);
    for (;;) {
      const row: unknown[] = [];
      for (const iterator of iterators) {
        // One that throws or ends must not be closed.
        open.delete(iterator);
        const { done, value } = iterator.next();
        if (done === true) return;
        open.add(iterator);
        row.push(value);
      }
      yield row;
    }
  } finally {
    for (const iterator of open) iterator.return?.();
  }
}

/** Parts the arguments of `imap` after the function: iterables, and options if the last is none. */
export function splitArguments(
  call: string,
  args: unknown[],
): { rows: Iterable<unknown[]>; maxSize: number } {
  const last = args.at(-1);
  const isLeftOut = last === undefined || last === null;
  const isOptions = isLeftOut || (typeof last === 'object' && !(Symbol.iterator in last));
  const { maxSize } = checkOptions<ImapOptions>(call, isOptions ? last : undefined);
  const iterables = isOptions ? args.slice(0, -1) : args;
  if (iterables.length === 0) throw new TypeError(`${call} expects at least one iterable`);
  for (const iterable of iterables) checkIterable(call, iterable);
  return {
    rows: zip(iterables as Array<Iterable<unknown>>),
    maxSize: checkMost(`${call}: maxSize`, maxSize),
  };
}

/** The error of an iterable. */
interface Failure {
  readonly error: unknown;
}

/** What comes next: a greenlet that has ended, the error of the iterable, or `null` for the end. */
type Step = Greenlet<unknown> | Failure | null;

/** A greenlet in `next`, and what it is handed. */
class Reader extends Parked {
  step: Step = null;
}

/** What an {@link Imap} is told. */
export interface ImapSetting {
  /** The call that made it, for errors and reports. */
  readonly call: string;
  readonly ordered: boolean;
  readonly maxSize: number;
  readonly rows: Iterable<unknown[]>;
  /** Begins a greenlet for one item, waiting for room. */
  begin(args: unknown[]): Greenlet<unknown>;
}

/**
 * The results of a function for many items, while they are being made: what `imap` and `imapUnordered` return.
 *
 * It iterates, once and in as many greenlets as you like. And it can be waited for: it is `ready` when `next` need not wait.
 * Leaving a loop early, or disposing of it, kills what is under way and begins nothing more. So does a kill or a timeout that
 * ends the wait in `next`, unless somebody else waits for it at that moment. If you may come to read none of it, declare it with
 * `using`: it goes on by itself.
 */
export class Imap<T> extends Linkable implements DisposableIterator<T> {
  readonly #setting: ImapSetting;
  readonly #feeder: RawGreenlet;
  /** Where the feeder waits until results are taken. */
  readonly #room = new WaitQueue();
  readonly #link: LinkEntry = {
    callback: null,
    notify: (ended) => this.#end(ended as Greenlet<unknown>),
  };
  /** Greenlets under way, with their places in order. */
  readonly #running = new Map<Greenlet<unknown>, number>();
  /** Greenlets that have ended and were not taken, by their places. */
  readonly #ended = new Map<number, Greenlet<unknown>>();
  #begun = 0;
  #arrived = 0;
  /** How many were taken; the place of the next. */
  #taken = 0;
  /** How many there are; known when the iterable has ended. */
  #total = Infinity;
  /** The error of the iterable, until it is taken. */
  #failure: Failure | null = null;
  #closed = false;

  /** @internal */
  constructor(setting: ImapSetting) {
    super();
    this.#setting = setting;
    const imap = (): void => this.#feed();
    this.#feeder = spawnRaw(imap);
  }

  /** Whether {@link next} has something to return or throw at once. */
  get ready(): boolean {
    return this.#closed || this.#ended.has(this.#taken) || this.#taken === this.#total;
  }

  /**
   * The next result. If something else ends the wait, such as a kill or a timeout, that ends the whole as by {@link return},
   * unless somebody else waits for it at that moment. Switches only if it must wait.
   *
   * @throws the error of the item, or of the iterable, at its place. After that of an item, the next call goes on.
   */
  next(): IteratorResult<T, undefined> {
    const step = this.ready ? this.#take() : this.#await();
    if (step === null) return { done: true, value: undefined };
    if (!(step instanceof Greenlet) || !step.successful) throw step.error;
    return { done: false, value: step.value as T };
  }

  /**
   * Ends it: kills what is under way without waiting for it, closes the iterables, and forgets the results; errors that nobody
   * has taken are reported. Whoever waits in `next` is told that there is no more. Never switches.
   */
  return(): IteratorResult<T, undefined> {
    if (!this.#closed) this.#close();
    return { done: true, value: undefined };
  }

  /** As {@link return}, for `using`. */
  [Symbol.dispose](): void {
    this.return();
  }

  [Symbol.iterator](): this {
    return this;
  }

  /** `<Imap 3 under way, 2 ended>`. */
  override toString(): string {
    return this._show(`${this.#running.size} under way, ${this.#ended.size} ended`);
  }

  [inspect.custom](): string {
    return this.toString();
  }

  // ---- taking

  #await(): Step {
    const call = `next() of ${this.#setting.call}`;
    const reader = new Reader(call);
    try {
      reader.parkIn(this._waiting, FOR_EVER);
    } catch (error) {
      // A loop does not call return() when it is next() that throws.
      if (!this._waiting.occupied) this.return();
      throw error;
    }
    return reader.step;
  }

  /** Takes what is ready. */
  #take(): Step {
    const ended = this.#ended.get(this.#taken);
    if (ended === undefined) {
      const failure = this.#failure;
      this.#failure = null;
      return failure;
    }
    this.#ended.delete(this.#taken++);
    this.#room.shift()?.notify();
    return ended;
  }

  /** Hands what is ready to those who wait. */
  #handOver(): void {
    while (this._waiting.occupied && this.ready) {
      const entry = this._waiting.shift();
      if (entry instanceof Reader) entry.step = this.#take();
      entry?.notify();
    }
  }

  // ---- making

  /** Begins the items, in a greenlet of its own, since the iterable may wait as well. */
  #feed(): void {
    const { call, rows, maxSize, begin } = this.#setting;
    try {
      for (const row of rows) {
        while (this.#begun - this.#taken >= maxSize) new Parked(call).parkIn(this.#room, FOR_EVER);
        const greenlet = begin(row);
        this.#running.set(greenlet, this.#begun++);
        greenlet._addLink(this.#link);
        if (this.#closed) {
          // Room was handed over before the end, and the feeder's kill comes only at its next park.
          killWithoutWaiting([greenlet]);
          return;
        }
      }
    } catch (error) {
      if (this.#closed) throw error;
      this.#failure = { error };
    }
    this.#total = this.#begun;
    this.#handOver();
  }

  #end(greenlet: Greenlet<unknown>): void {
    const place = this.#running.get(greenlet) as number;
    this.#running.delete(greenlet);
    if (this.#closed) {
      leaveErrors([greenlet]);
      return;
    }
    this.#ended.set(this.#setting.ordered ? place : this.#arrived, greenlet);
    this.#arrived++;
    this.#handOver();
  }

  #close(): void {
    this.#closed = true;
    leaveErrors(this.#ended.values());
    this.#ended.clear();
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) getHub().report(this.#feeder, failure.error);
    this.#handOver();
    killWithoutWaiting([...this.#running.keys(), this.#feeder]);
  }
}
