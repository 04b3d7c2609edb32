/** Waiting for several sockets and other descriptors at once: `greenstack/select`. */
import { describe } from './checks.js';
import {
  askUntilReady,
  checkTarget,
  type Descriptor,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  POLLPRI,
  type Question,
} from './descriptors.js';
import { GreenstackError } from './errors.js';
import { checkLimits, type Limits } from './limits.js';
import { errnoOf, systemError } from './system-error.js';

export {
  type Descriptor,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  POLLPRI,
  POLLRDHUP,
} from './descriptors.js';

/** What is broken or closed is ready for everything: the next call on it tells. */
const READABLE = POLLIN | POLLHUP | POLLERR;
const WRITABLE = POLLOUT | POLLHUP | POLLERR;

function questionsOf<T extends Descriptor>(
  name: string,
  targets: Iterable<T>,
  events: number,
): Question<T>[] {
  const isIterable = typeof targets === 'object' && targets !== null && Symbol.iterator in targets;
  if (!isIterable)
    throw new TypeError(`select(): ${name} must be an array or another iterable, got ${describe(targets)}`);
  return Array.from(targets, (target) => ({ target: checkTarget('select()', target), events, ready: 0 }));
}

function answers<T>(questions: Question<T>[], events: number): T[] {
  return questions.filter(({ ready }) => (ready & events) !== 0).map(({ target }) => target);
}

/**
 * Waits until one of several sockets or other descriptors is ready, and returns all that are. Others run in any case.
 * Switches. gevent: `select.select`.
 *
 * @param reads - what is to have something to read, or to accept
 * @param writes - what is to have room to write
 * @param exceptional - what is to have something urgent to read: told, but not waited for
 * @param limits - how long, in ms, and what else may end the wait
 * @returns those that are ready, as they were given and in that order; empty arrays if the time is up first
 * @throws {SystemError} `EBADF` if one of them is closed
 */
export function select<R extends Descriptor, W extends Descriptor = never, X extends Descriptor = never>(
  reads: Iterable<R>,
  writes: Iterable<W> = [],
  exceptional: Iterable<X> = [],
  limits?: Limits,
): [reads: R[], writes: W[], exceptional: X[]] {
  const call = 'select()';
  const toRead = questionsOf('reads', reads, POLLIN);
  const toWrite = questionsOf('writes', writes, POLLOUT);
  const urgent = questionsOf('exceptional', exceptional, POLLPRI);
  const checked = checkLimits(call, limits);
  const all: Question[] = [...toRead, ...toWrite, ...urgent];
  askUntilReady(call, all, checked);
  if (all.some(({ ready }) => (ready & POLLNVAL) !== 0)) throw systemError(errnoOf('EBADF'), 'select');
  return [answers(toRead, READABLE), answers(toWrite, WRITABLE), answers(urgent, POLLPRI)];
}

/** What is asked for unless it is told. */
const DEFAULT_EVENTS = POLLIN | POLLPRI | POLLOUT;

function checkEvents(call: string, events: unknown): number {
  if (typeof events !== 'number' || !Number.isInteger(events))
    throw new TypeError(`${call}: events must be a sum of POLLIN, POLLOUT, …, got ${describe(events)}`);
  if (events < 0 || events > 0x7fff)
    throw new RangeError(`${call}: events must be a sum of POLLIN, POLLOUT, …, got ${events}`);
  return events;
}

/**
 * Sockets and other descriptors that are waited for again and again. A socket or object is registered by itself, not by its
 * descriptor: so it can be taken out when it is closed. gevent: `select.poll`.
 */
export class Poller<T extends Descriptor = Descriptor> {
  readonly #questions = new Map<T, Question<T>>();

  /**
   * Adds something to wait for; if it is there already, what it is asked for changes. Never switches.
   *
   * @param events - `POLLIN`, `POLLOUT`, `POLLPRI` or a sum of them (default: all three). `POLLPRI` is told, but not waited for.
   */
  register(target: T, events: number = DEFAULT_EVENTS): void {
    checkTarget('register()', target);
    checkEvents('register()', events);
    this.#questions.set(target, { target, events, ready: 0 });
  }

  /**
   * Changes what is asked for. Never switches.
   *
   * @throws {GreenstackError} `ERR_GREENSTACK_NOT_REGISTERED`
   */
  modify(target: T, events: number): void {
    checkTarget('modify()', target);
    checkEvents('modify()', events);
    this.#find('modify()', target).events = events;
  }

  /**
   * Takes something out again, which may be closed by now. Never switches.
   *
   * @throws {GreenstackError} `ERR_GREENSTACK_NOT_REGISTERED`
   */
  unregister(target: T): void {
    checkTarget('unregister()', target);
    this.#find('unregister()', target);
    this.#questions.delete(target);
  }

  #find(call: string, target: T): Question<T> {
    const found = this.#questions.get(target);
    if (found === undefined)
      throw new GreenstackError('ERR_GREENSTACK_NOT_REGISTERED', `${call}: it is not registered`);
    return found;
  }

  /**
   * Waits until something is ready, and returns all that is, with what it is ready for: what it was asked for, and `POLLERR`,
   * `POLLHUP`, `POLLNVAL` (it is closed). Others run in any case. Switches.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns nothing if the time is up first
   */
  poll(limits?: Limits): [target: T, events: number][] {
    const checked = checkLimits('poll()', limits);
    const questions = [...this.#questions.values()];
    askUntilReady('poll()', questions, checked);
    return questions.filter(({ ready }) => ready !== 0).map(({ target, ready }) => [target, ready]);
  }

  /** How many are registered. */
  get size(): number {
    return this.#questions.size;
  }
}

/** Makes a {@link Poller}. Never switches. gevent: `select.poll`. */
export function poll<T extends Descriptor = Descriptor>(): Poller<T> {
  return new Poller<T>();
}

/** What a {@link Selector} waits for: to read, to write, or both. */
export type SelectorEvents = 'r' | 'w' | 'rw';

/** What is registered with a {@link Selector}. */
export interface SelectorKey<Data> {
  readonly target: Descriptor;
  readonly events: SelectorEvents;
  /** Whatever belongs to it. */
  readonly data: Data;
}

const SELECTED: Record<SelectorEvents, number> = { r: POLLIN, w: POLLOUT, rw: POLLIN | POLLOUT };

function checkSelected(call: string, events: unknown): SelectorEvents {
  if (typeof events === 'string' && Object.hasOwn(SELECTED, events)) return events as SelectorEvents;
  throw new TypeError(`${call}: events must be 'r', 'w' or 'rw', got ${describe(events)}`);
}

function readyFor(events: SelectorEvents, ready: number): SelectorEvents {
  if (events !== 'rw') return events;
  const canRead = (ready & (READABLE | POLLNVAL)) !== 0;
  const canWrite = (ready & (WRITABLE | POLLNVAL)) !== 0;
  return canRead && canWrite ? 'rw' : canRead ? 'r' : 'w';
}

/** A {@link Poller} that keeps something with everything that is registered. gevent: `selectors.DefaultSelector`. */
export class Selector<Data = undefined> {
  readonly #poller = new Poller();
  readonly #keys = new Map<Descriptor, SelectorKey<Data>>();

  /**
   * Adds something to wait for. Never switches.
   *
   * @throws {GreenstackError} `ERR_GREENSTACK_REGISTERED_ALREADY`
   */
  register(target: Descriptor, events: SelectorEvents, data: Data): SelectorKey<Data> {
    const mask = SELECTED[checkSelected('register()', events)];
    checkTarget('register()', target);
    if (this.getKey(target) !== undefined)
      throw new GreenstackError('ERR_GREENSTACK_REGISTERED_ALREADY', 'register(): it is registered already');
    this.#poller.register(target, mask);
    return this.#keep({ target, events, data });
  }

  /**
   * Changes what is waited for, and what is kept with it. Never switches.
   *
   * @throws {GreenstackError} `ERR_GREENSTACK_NOT_REGISTERED`
   */
  modify(target: Descriptor, events: SelectorEvents, data: Data): SelectorKey<Data> {
    this.#poller.modify(target, SELECTED[checkSelected('modify()', events)]);
    return this.#keep({ target, events, data });
  }

  /**
   * Takes something out again, which may be closed by now, and returns what was kept. Never switches.
   *
   * @throws {GreenstackError} `ERR_GREENSTACK_NOT_REGISTERED`
   */
  unregister(target: Descriptor): SelectorKey<Data> {
    const key = this.getKey(target);
    this.#poller.unregister(target);
    this.#keys.delete(target);
    return key as SelectorKey<Data>;
  }

  #keep(key: SelectorKey<Data>): SelectorKey<Data> {
    this.#keys.set(key.target, key);
    return key;
  }

  /** What was registered of a target; `undefined` if it was not. */
  getKey(target: Descriptor): SelectorKey<Data> | undefined {
    return this.#keys.get(target);
  }

  /** How many are registered. */
  get size(): number {
    return this.#keys.size;
  }

  /**
   * Waits until something is ready, and returns all that is, with what it is ready for. What is broken or closed is ready for
   * all that it was registered for: the next call on it tells. Others run in any case. Switches.
   *
   * @param limits - how long, in ms, and what else may end the wait
   * @returns nothing if the time is up first
   */
  select(limits?: Limits): [key: SelectorKey<Data>, events: SelectorEvents][] {
    const selected: [SelectorKey<Data>, SelectorEvents][] = [];
    for (const [target, ready] of this.#poller.poll(limits)) {
      const key = this.#keys.get(target);
      // Otherwise it was taken out meanwhile.
      if (key !== undefined) selected.push([key, readyFor(key.events, ready)]);
    }
    return selected;
  }

  /** Forgets everything. What was registered stays open. Never switches. */
  close(): void {
    for (const { target } of [...this.#keys.values()]) this.unregister(target);
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
