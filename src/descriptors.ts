/** Asking the system about descriptors of any kind, and waiting until one of several is ready. */
import { native, Outcome, Sides } from './binding.js';
import { describe } from './checks.js';
import { Endpoint } from './connection.js';
import { currentRunnable, requireGreenlet, type Runnable, type Wait, wake, yieldNow } from './hub.js';
import {
  type CheckedLimits,
  countingDown,
  isImmediate,
  parkWithin,
  refuseToWait,
  withinLimits,
} from './limits.js';
import { systemError } from './system-error.js';
import { Watch } from './watch.js';

/** What can be waited for: a socket, a descriptor, or an object with `fd`, such as a `FileHandle` of `node:fs`. */
export type Descriptor = Endpoint | number | { readonly fd: number };

/** There is something to read, or the end. */
export const POLLIN = 1;
/** There is something urgent to read, such as out-of-band data. Asked for, but not waited for. */
export const POLLPRI = 2;
/** There is room to write. */
export const POLLOUT = 4;
/** Something is broken, such as a pipe whose reader has gone. Told without being asked for. */
export const POLLERR = 8;
/** The other end is closed. Told without being asked for. */
export const POLLHUP = 16;
/** There is no such descriptor. Told without being asked for. */
export const POLLNVAL = 32;
/** The peer has ended its half of the stream. */
export const POLLRDHUP = 0x2000;

const MAX_DESCRIPTOR = 0x7fff_ffff;

/** Checks the number of a descriptor. */
export function checkDescriptor(call: string, descriptor: unknown): number {
  if (typeof descriptor !== 'number' || !Number.isInteger(descriptor))
    throw new TypeError(`${call}: a descriptor is a whole number, got ${describe(descriptor)}`);
  if (descriptor < 0 || descriptor > MAX_DESCRIPTOR)
    throw new RangeError(`${call}: a descriptor is from 0 to ${MAX_DESCRIPTOR}, got ${descriptor}`);
  return descriptor;
}

/** Checks something to wait for. */
export function checkTarget<T>(call: string, target: T): T {
  if (typeof target === 'number') checkDescriptor(call, target);
  else if (typeof target !== 'object' || target === null || !('fd' in target))
    throw new TypeError(`${call} expects sockets, descriptors or objects with fd, got ${describe(target)}`);
  return target;
}

/** The descriptor of a target; −1 if it is closed. */
export function descriptorOf(target: Descriptor): number {
  if (typeof target === 'number') return target;
  const { fd } = target as { fd?: unknown };
  return typeof fd === 'number' && Number.isInteger(fd) && fd >= 0 ? fd : -1;
}

/** A descriptor that the system is asked about, together with others. */
export interface Question<T = unknown> {
  readonly target: T;
  /** What it is asked for: `POLLIN`, … */
  events: number;
  /** The answer. */
  ready: number;
}

/** Bytes of a `struct pollfd`: a descriptor, what it is asked for, the answer. */
const ENTRY = 8;

/** Asks the system about all of them at once. Returns how many are ready, or broken. */
export function ask(questions: readonly Question[]): number {
  if (questions.length === 0) return 0;
  // First, as it takes in what arrives without meaning anything to the user.
  const hasInput = questions.map(({ target }) => target instanceof Endpoint && target._hasInput());
  const memory = new Uint8Array(questions.length * ENTRY);
  const view = new DataView(memory.buffer);
  questions.forEach(({ target, events }, index) => {
    view.setInt32(index * ENTRY, descriptorOf(target as Descriptor), true);
    view.setInt16(index * ENTRY + 4, events, true);
  });
  const result = native.pollDescriptors(memory);
  if (result < 0) throw systemError(result, 'poll');
  let count = 0;
  questions.forEach((question, index) => {
    const isOpen = view.getInt32(index * ENTRY, true) >= 0;
    question.ready = isOpen ? view.getInt16(index * ENTRY + 6, true) : POLLNVAL;
    if (hasInput[index]) question.ready |= question.events & POLLIN;
    if (question.ready !== 0) count++;
  });
  return count;
}

/**
 * Asks the system until one of them is ready, or the limits' own time is up. Lets others run in any case. Returns how many
 * are ready.
 */
export function askUntilReady(call: string, questions: readonly Question[], limits: CheckedLimits): number {
  return withinLimits(call, limits, () => askAgain(call, questions, { ...limits, signal: null }));
}

/** As {@link askUntilReady}, without a signal. */
function askAgain(call: string, questions: readonly Question[], limits: CheckedLimits): number {
  const left = countingDown(limits);
  if (currentRunnable() !== null || !isImmediate(limits)) yieldNow(call);
  for (;;) {
    const count = ask(questions);
    const now = left();
    if (count > 0) return count;
    if (isImmediate(now)) return Number(refuseToWait(now));
    const wait = new AnyWait(call, questions);
    try {
      wait.start();
      if (!parkWithin(call, wait, now)) return 0;
    } finally {
      wait.cancel();
    }
  }
}

/** What is waited for, and on which side of a socket. */
const SIDES: readonly (readonly [event: number, side: Sides])[] = [
  [POLLIN, Sides.Read],
  [POLLOUT, Sides.Write],
];

/** A greenlet that is parked until one of several descriptors may be ready. */
class AnyWait implements Wait {
  readonly #greenlet: Runnable;
  readonly #watches: Watch[] = [];
  /** Sockets of native code's, for what is none of ours, or has somebody who waits for it already. */
  readonly #copies: number[] = [];

  constructor(
    private readonly call: string,
    private readonly questions: readonly Question[],
  ) {
    this.#greenlet = requireGreenlet(call);
  }

  start(): void {
    for (const { target, events } of this.questions) {
      const own = target instanceof Endpoint ? target._key : -1;
      let copy = -1;
      for (const [event, side] of SIDES) {
        if ((events & event) === 0 || (own >= 0 && this.#watch(own, side))) continue;
        if (copy < 0) copy = this.#copy(target as Descriptor);
        this.#watch(copy, side);
      }
    }
  }

  /** Begins to watch; `false` if somebody else waits for that side. */
  #watch(key: number, side: Sides): boolean {
    const watch = new Watch(key, side, () => wake(this.#greenlet, this));
    const result = watch.start();
    if (result === Outcome.Busy) return false;
    if (result < 0) throw systemError(result, 'poll');
    this.#watches.push(watch);
    return true;
  }

  #copy(target: Descriptor): number {
    const key = native.watchCopy(descriptorOf(target));
    if (key < 0) throw systemError(key, 'dup');
    this.#copies.push(key);
    return key;
  }

  cancel(): void {
    for (const watch of this.#watches.splice(0)) watch.stop();
    for (const key of this.#copies.splice(0)) native.close(key);
  }

  describe(): string {
    const { length } = this.questions;
    return `${this.call} of ${length === 1 ? 'one descriptor' : `${length} descriptors`}`;
  }
}
