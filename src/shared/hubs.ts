/**
 * Who waits, across threads: hubs in shared memory, and behind each its own greenlets in a queue of its own.
 *
 * Nothing is handed to another thread but a wake-up. A hub that is woken looks itself at what there is, and takes it for those
 * of its greenlets whose turn has come. So a thread that is terminated takes nothing with it that others wait for. Whoever
 * has made a wake-up necessary and ended before giving it has ended as a hub, and then all hubs are woken.
 *
 * All access is by `Atomics`, in one order for all threads: who waits first writes that it does and then looks whether it has
 * to; who changes something first writes that and then looks who waits. So one of the two sees the other.
 */
import { Called, native } from '../binding.js';
import { keepAlive, onForeignWake, runInHub } from '../hub.js';
import { HubTimer } from '../timers.js';
import { type Entry, WaitQueue } from '../wait-queue.js';
import type { Memory } from './memory.js';

const { wakeHub, isHubAlive, answerWake } = native;

const joined = native.joinHubs();

/** The number of this thread's hub, which no other hub of the process has had before. */
export const ownHub = joined[0];

/** Tells the hubs that know one another from those of another copy of the package. */
export const hubList = joined[1];

/** Words of a {@link WaitingHubs}, then one for each hub. */
const enum Word {
  /** The place of the hub that was woken last. */
  Cursor,
  /** The place of the hub whose turn is before all others, plus 1. */
  First,
  /** When that hub was woken, in ms. */
  FirstCalledAt,
  /** The number of places that have ever been used. */
  Used,
  Places,
}

/** In a place: the hub has been woken and has not looked yet. The number of the hub is above it. */
const CALLED = 1;

/** How long, in ms, all wait for the hub whose turn is before theirs, if it was woken and does not come: it may compute. */
const PATIENCE = 10;

/** The time in ms, the same in all threads, as far as it fits into a word. */
function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return (seconds * 1000 + Math.floor(nanoseconds / 1e6)) | 0;
}

/** Whom a turn has come to. */
const enum Turn {
  Nobody,
  Own,
  Other,
}

/** The hubs that wait for one thing, in shared memory. */
export class WaitingHubs {
  readonly #words: Int32Array;
  readonly #start: number;
  readonly #size: number;
  /** Where this hub is; −1: it does not wait. */
  #own = -1;

  /** How many words hubs take. */
  static lengthFor(maxHubs: number): number {
    return Word.Places + maxHubs;
  }

  constructor(words: Int32Array, start: number, maxHubs: number) {
    this.#words = words;
    this.#start = start;
    this.#size = maxHubs;
  }

  // ---- this hub

  /** Notes that this hub waits. Throws if there is no place for it. */
  enter(): void {
    const own = this.#claimPlace();
    if (own < 0)
      throw new RangeError(
        `${this.#size} threads wait for this object already, as many as its maxHubs allows`,
      );
    this.#own = own;
  }

  #claimPlace(): number {
    for (let place = 0; place < this.#size; place++) {
      if (this.#load(Word.Places + place) !== 0) continue;
      this.#raiseUsed(place + 1);
      if (this.#swap(Word.Places + place, 0, ownHub << 1)) return place;
    }
    for (let place = 0; place < this.#size; place++) {
      const word = this.#load(Word.Places + place);
      if (!isHubAlive(word >> 1) && this.#swap(Word.Places + place, word, ownHub << 1)) return place;
    }
    return -1;
  }

  /** Before the place is taken, so that whoever looks for waiting hubs does not miss it. */
  #raiseUsed(used: number): void {
    for (let known = this.#load(Word.Used); known < used; known = this.#load(Word.Used)) {
      if (this.#swap(Word.Used, known, used)) return;
    }
  }

  /** Notes that this hub does not wait any more. */
  leave(): void {
    this.endTurn();
    Atomics.store(this.#words, this.#start + Word.Places + this.#own, 0);
    this.#own = -1;
  }

  /** Notes that this hub looks now; whether it was woken to. */
  answer(): boolean {
    return this.#swap(Word.Places + this.#own, (ownHub << 1) | CALLED, ownHub << 1);
  }

  /** Has this hub look again in a later turn. */
  callSelf(): void {
    this.#swap(Word.Places + this.#own, ownHub << 1, (ownHub << 1) | CALLED);
    wakeHub(ownHub);
  }

  // ---- whose turn it is

  /** Whether a hub other than this one is to be served before everybody else. */
  get isBarred(): boolean {
    if (this.#load(Word.First) === 0) return false;
    const first = this.#first();
    if (first < 0 || first === this.#own) return false;
    const isLate =
      (this.#load(Word.Places + first) & CALLED) !== 0 &&
      ((now() - this.#load(Word.FirstCalledAt)) | 0) > PATIENCE;
    if (isLate) this.#swap(Word.First, first + 1, 0);
    return !isLate;
  }

  /** Lets this hub be served before everybody else next. `false` if another one is. */
  claimTurn(): boolean {
    const mine = this.#own + 1;
    return this.#swap(Word.First, 0, mine) || this.#load(Word.First) === mine;
  }

  /** Takes {@link claimTurn} back. */
  endTurn(): void {
    const mine = this.#own + 1;
    if (this.#load(Word.First) === mine) this.#swap(Word.First, mine, 0);
  }

  /** The place of the hub to be served before everybody else; −1: there is none. */
  #first(): number {
    for (;;) {
      const first = this.#load(Word.First);
      if (first === 0) return -1;
      const word = this.#load(Word.Places + first - 1);
      if (word !== 0 && isHubAlive(word >> 1)) return first - 1;
      this.#swap(Word.First, first, 0);
    }
  }

  // ---- waking

  /** Whether any hub has ever waited here. */
  get isUsed(): boolean {
    return this.#load(Word.Used) !== 0;
  }

  /** How many hubs wait, those included that have ended and not been noticed to have. */
  get count(): number {
    const used = this.#load(Word.Used);
    let count = 0;
    for (let place = 0; place < used; place++) if (this.#load(Word.Places + place) !== 0) count++;
    return count;
  }

  /** Wakes the hub whose turn it is. `true`: it is this one, which has to look now. */
  callNext(): boolean {
    const first = this.#load(Word.First) === 0 ? -1 : this.#first();
    if (first >= 0 && first === this.#own) return true;
    // If the first one has something else to do, another one comes too, and waits for it for a while.
    if (first >= 0 && this.#callFirst(first) === Called.Resting) return false;
    return this.#callInTurn(true) === Turn.Own;
  }

  /** Sees to it that the hub looks that is to be served before everybody else. `false`: it is not there any more. */
  callFirst(): boolean {
    const first = this.#first();
    return first >= 0 && this.#callFirst(first) !== Called.Ended;
  }

  #callFirst(place: number): Called {
    if ((this.#load(Word.Places + place) & CALLED) !== 0) return Called.Working;
    Atomics.store(this.#words, this.#start + Word.FirstCalledAt, now());
    return this.#call(place);
  }

  /** Wakes another hub, if there is one that would come soon; whether there is. */
  callOther(): boolean {
    return this.#callInTurn(false) === Turn.Other;
  }

  /** Wakes hubs in turn up to one that has nothing else to do: those before it may take their time. */
  #callInTurn(withOwn: boolean): Turn {
    const used = this.#load(Word.Used);
    const cursor = this.#load(Word.Cursor);
    for (let step = 1; step <= used; step++) {
      const place = (cursor + step) % used;
      const isOwn = place === this.#own;
      const word = this.#load(Word.Places + place);
      // Who was woken already will see what there is; this is for somebody else.
      if (word === 0 || (isOwn ? !withOwn : (word & CALLED) !== 0)) continue;
      const called = isOwn ? Called.Resting : this.#call(place);
      if (called !== Called.Ended) Atomics.store(this.#words, this.#start + Word.Cursor, place);
      if (called === Called.Resting) return isOwn ? Turn.Own : Turn.Other;
    }
    return Turn.Nobody;
  }

  /** Wakes all other hubs that wait. `true`: so does this one, which has to look now. */
  callAll(): boolean {
    const used = this.#load(Word.Used);
    for (let place = 0; place < used; place++) {
      const word = this.#load(Word.Places + place);
      if (place !== this.#own && word !== 0 && (word & CALLED) === 0) this.#call(place);
    }
    return this.#own >= 0;
  }

  /** Wakes the hub in a place that was not woken; forgets it if it has ended. */
  #call(place: number): Called {
    const index = Word.Places + place;
    const word = this.#load(index);
    // Somebody else was faster, or it does not wait any more.
    if (word === 0 || (word & CALLED) !== 0 || !this.#swap(index, word, word | CALLED)) return Called.Working;
    const called = wakeHub(word >> 1);
    if (called === Called.Ended) this.#swap(index, word | CALLED, 0);
    return called;
  }

  #load(index: number): number {
    return Atomics.load(this.#words, this.#start + index);
  }

  #swap(index: number, expected: number, word: number): boolean {
    return Atomics.compareExchange(this.#words, this.#start + index, expected, word) === expected;
  }
}

/** Those queues of this thread in which somebody waits. */
const occupied = new Set<HubQueue>();

let endedHubs = answerWake();

onForeignWake({
  expire() {
    const ended = answerWake();
    const someEnded = ended !== endedHubs;
    endedHubs = ended;
    for (const queue of occupied) {
      const wasCalled = queue.hubs.answer();
      if (wasCalled || someEnded) runInHub(HubQueue.look, [queue, wasCalled]);
    }
  },
});

/** Who of this thread waits for something that threads share. Keeps the process, or the worker, alive meanwhile. */
export abstract class HubQueue extends WaitQueue {
  readonly hubs: WaitingHubs;

  /**
   * @param owner - whose queue it is; so it is not made anew as long as somebody waits
   * @param number - which of the things it is that hubs wait for
   */
  constructor(
    protected readonly owner: object,
    protected readonly memory: Memory,
    number = 0,
  ) {
    super();
    this.hubs = memory.hubs(number);
  }

  /** Whether there is anything to be had. */
  abstract get isDue(): boolean;

  /** Serves those whose turn has come. `wasCalled`: this hub was woken for that. */
  abstract look(wasCalled: boolean): void;

  static look(this: void, queue: HubQueue, wasCalled: boolean): void {
    queue.look(wasCalled);
  }

  override push(entry: Entry): void {
    if (!this.occupied) this.enter();
    super.push(entry);
    // It may have come just before the others could know that this hub waits. The greenlet has to be parked to be woken.
    if (this.isDue) this.hubs.callSelf();
  }

  override remove(entry: Entry): void {
    super.remove(entry);
    if (!this.occupied) this.leave();
  }

  /** Somebody begins to wait where nobody does. */
  protected enter(): void {
    this.hubs.enter();
    occupied.add(this);
    if (occupied.size === 1) keepAlive(1);
  }

  /** Nobody waits any more. */
  protected leave(): void {
    this.hubs.leave();
    occupied.delete(this);
    if (occupied.size === 0) keepAlive(-1);
  }
}

/** A queue for what is there for all who wait. */
export abstract class Audience extends HubQueue {
  /** Tells all hubs that it is there. */
  announce(): void {
    if (this.hubs.isUsed && this.hubs.callAll()) this.look();
  }

  look(): void {
    if (this.isDue) this.notifyAll();
  }
}

/**
 * A queue for what only some can have: each thing wakes one hub, one after another. Whoever runs may take it before that one
 * has woken up. But a hub that was woken for nothing is served next before anybody else, if it comes soon. So none is passed
 * over time and again, and none that computes for long keeps all others waiting.
 */
export abstract class Contest extends HubQueue {
  #isServing = false;
  readonly #patience = new HubTimer(this);

  /** How many can be served now, or a guess. */
  abstract get available(): number;

  /** Gives to one that waits what it waits for, and notifies it after taking it out. `false`: there is none of it. */
  abstract serve(entry: Entry): boolean;

  get isDue(): boolean {
    return this.available > 0;
  }

  /** Whether somebody who does not wait yet may take what there is. */
  get isOpen(): boolean {
    return !this.occupied && !this.hubs.isBarred;
  }

  /** Tells the hub whose turn it is that there is something. */
  announce(): void {
    if (this.hubs.isUsed && this.hubs.callNext()) this.look(true);
  }

  /** Tells all hubs that there is something for everybody. */
  announceToAll(): void {
    if (this.hubs.isUsed && this.hubs.callAll()) this.look(true);
  }

  override remove(entry: Entry): void {
    super.remove(entry);
    // Who gives up may have been the one for whom the hub was woken, or in the way of others.
    if (!this.#isServing && this.isDue) this.announce();
  }

  /** The hub whose turn it was has not come. @internal */
  expire(): void {
    this.look(true);
  }

  protected override leave(): void {
    super.leave();
    this.#patience.cancel();
  }

  look(wasCalled: boolean): void {
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      this.#serveAll(wasCalled);
    } finally {
      this.#isServing = false;
    }
  }

  #serveAll(wasCalled: boolean): void {
    while (this.occupied) {
      if (this.hubs.isBarred) {
        if (!this.isDue) return;
        if (!this.hubs.callFirst()) continue;
        if (!this.#patience.pending) this.#patience.start(PATIENCE + 1, false);
        return;
      }
      if (this.#serveShare()) {
        this.hubs.endTurn();
        if (!this.isDue || (this.occupied && this.hubs.callOther())) return;
      } else if (!wasCalled || this.hubs.claimTurn()) {
        // What there was has gone to others.
        return;
      }
    }
    if (this.isDue) this.hubs.callNext();
  }

  /** Serves as many as are this hub's share of what there is; whether it was any. */
  #serveShare(): boolean {
    const share = Math.ceil(this.available / this.hubs.count);
    let served = 0;
    for (let first = this.first; first !== null; first = this.first) {
      if (!this.serve(first)) break;
      if (++served >= share) break;
    }
    return served > 0;
  }
}
