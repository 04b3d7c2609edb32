/** Time and timers of the hub: which entry is in which slot of native code, and which timer need not be known there yet. */
import { native } from './binding.js';

const { startTimer: startNatively, cancelTimer: cancelNatively } = native;

/** Whatever is due at some time. */
export interface Expirable {
  /** Called in the hub when the time has come. */
  expire(): void;
}

/** Moves the time of the hub in place of the system's clock. */
export interface TimeKeeper {
  /** By how much it has moved it, in ms. */
  readonly elapsed: number;
  /** Called when greenlets have run or a timer was set. */
  noteWork(): void;
}

/** Who moves the time; `null`: it is the system's. */
let timeKeeper: TimeKeeper | null = null;
/** What the hub's time is ahead of `performance.now()`, or of the time keeper. */
let timeOffset = 0;

/** The time of the hub, in ms. */
export function now(): number {
  return (timeKeeper === null ? performance.now() : timeKeeper.elapsed) + timeOffset;
}

/** Lets `keeper` move the time from now on; `null`: the system's clock again, from where the time is. */
export function keepTime(keeper: TimeKeeper | null): void {
  const before = now();
  timeKeeper = keeper;
  timeOffset = 0;
  timeOffset = before - now();
}

/** Whether somebody moves the time. */
export function isTimeKept(): boolean {
  return timeKeeper !== null;
}

/** Tells who moves the time that greenlets have run or a timer was set. */
export function noteWork(): void {
  if (timeKeeper !== null) timeKeeper.noteWork();
}

/** What is called by native code, by slot: pending timers, and who watches sockets. */
const entries: Array<Expirable | null> = [];
const freeSlots: number[] = [];

const ABANDONED: Expirable = { expire() {} };

/**
 * The timer started last, if its greenlet has not parked since. It cannot expire before that, and most timeouts are
 * cancelled by then: those never reach native code.
 */
let unarmed: HubTimer | null = null;

/** Tells native code of the timer started last. To be called before the current greenlet is left. */
export function armTimer(): void {
  if (unarmed !== null) arm(unarmed);
}

function arm(timer: HubTimer): void {
  unarmed = null;
  timer._arm();
}

/** Puts an entry into a free slot, to be called by native code. */
export function takeSlot(entry: Expirable): number {
  const slot = freeSlots.pop() ?? entries.length;
  entries[slot] = entry;
  return slot;
}

/** Frees a slot that native code does not call any more. */
export function freeSlot(slot: number): void {
  entries[slot] = null;
  freeSlots.push(slot);
}

/** Forgets the entry of a slot that native code is going to call all the same. */
export function abandonSlot(slot: number): void {
  entries[slot] = ABANDONED;
}

/** The entry of a slot that native code calls; the slot is free from now on. */
export function takeExpired(slot: number): Expirable | null {
  const entry = entries[slot] ?? null;
  freeSlot(slot);
  return entry;
}

/** A timer of the hub. */
export class HubTimer {
  private slot = -1;
  private key = 0;
  private ms = 0;
  private startedAt = 0;
  private referenced = true;

  constructor(private readonly entry: Expirable) {}

  /** Whether it will fire. */
  get pending(): boolean {
    return this.slot >= 0 || unarmed === this;
  }

  /** Fires once, after `ms`. Must not be pending. */
  start(ms: number, referenced: boolean): void {
    armTimer();
    const slot = takeSlot(this);
    this.key = startNatively(ms, slot, referenced);
    this.slot = slot;
    noteWork();
  }

  /** As {@link start}, in a greenlet, which is the one that it concerns. */
  startInGreenlet(ms: number, referenced: boolean): void {
    armTimer();
    this.ms = ms;
    this.startedAt = now();
    this.referenced = referenced;
    unarmed = this;
  }

  /** @internal */
  _arm(): void {
    this.start(Math.max(0, this.ms - (now() - this.startedAt)), this.referenced);
  }

  /** Forgets it, if it is pending. */
  cancel(): void {
    if (unarmed === this) {
      unarmed = null;
      return;
    }
    const { slot } = this;
    if (slot < 0) return;
    this.slot = -1;
    if (cancelNatively(this.key)) {
      freeSlot(slot);
    } else {
      // It has expired and its slot is in the ready queue: the slot is free when it comes out.
      abandonSlot(slot);
    }
  }

  /** @internal */
  expire(): void {
    this.slot = -1;
    this.entry.expire();
  }
}
