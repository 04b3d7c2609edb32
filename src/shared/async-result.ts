/** `SharedAsyncResult`: a value or an error for several threads. */
import { inspect } from 'node:util';

import {
  type CheckedLimits,
  checkLimits,
  expired,
  isImmediate,
  type Limits,
  refuseToWait,
} from '../limits.js';
import { Linkable, Parked } from '../wait-queue.js';
import { Audience } from './hubs.js';
import { type Layout, Memory, type SharedHandle, type SharedValueOptions } from './memory.js';
import { SharedRecord } from './record.js';
import { decode, decodeError, encode, encodeError } from './values.js';

const enum Field {
  State,
  Length,
  Count,
}

const enum State {
  Pending,
  Value,
  Error,
}

const LAYOUT: Layout<'SharedAsyncResult'> = {
  kind: 'SharedAsyncResult',
  words: SharedRecord.lengthFor(Field.Count),
  waits: 1,
  // One for each version of the record.
  values: 2,
};

const SET = 'SharedAsyncResult.set()';
const SET_ERROR = 'SharedAsyncResult.setError()';

/** What has been set, as this thread has read it. */
interface Outcome {
  readonly version: number;
  readonly state: State;
  readonly content: unknown;
}

/** Who of this thread waits for a result. */
class ResultAudience extends Audience {
  constructor(
    owner: object,
    memory: Memory,
    private readonly record: SharedRecord,
  ) {
    super(owner, memory);
  }

  get isDue(): boolean {
    return this.record.get(Field.State) !== State.Pending;
  }
}

/**
 * A value, or an error, that is yet to come, for several threads. It crosses as a clone, which all who ask in one thread share.
 * What is set later replaces what was set before.
 *
 * gevent: `gevent.event.AsyncResult`, used from several threads.
 *
 * @example
 * const answer = new SharedAsyncResult<number>();
 * new Worker('./worker.js', { workerData: answer.handle });
 * answer.get(); // in the worker: SharedAsyncResult.from(workerData).set(42);
 */
export class SharedAsyncResult<T = unknown> extends Linkable {
  /** @internal */
  override readonly _waiting: ResultAudience;
  /** What it is passed to another thread by. */
  readonly handle: SharedHandle<'SharedAsyncResult'>;
  readonly #record: SharedRecord;
  readonly #bytes: SharedArrayBuffer;
  readonly #maxBytes: number;
  #known: Outcome = { version: -1, state: State.Pending, content: undefined };

  /**
   * @throws {TypeError | RangeError} if `maxHubs` is no whole number from 1 to 4096, or `maxBytes` none from 1 to 2³⁰
   */
  constructor(options?: SharedValueOptions);
  /** @internal */
  constructor(memory: Memory<'SharedAsyncResult'>);
  constructor(from?: SharedValueOptions | Memory<'SharedAsyncResult'>) {
    super();
    const memory = from instanceof Memory ? from : Memory.create(this, LAYOUT, from);
    this.handle = memory.handle;
    this.#record = new SharedRecord(memory.words, memory.start, Field.Count);
    this.#bytes = memory.bytes;
    this.#maxBytes = memory.maxBytes;
    this._waiting = new ResultAudience(this, memory, this.#record);
  }

  /**
   * The result of another thread: this thread's object for it, the same at each call. Never switches.
   *
   * @throws {TypeError} if `handle` is not the handle of a `SharedAsyncResult`
   */
  static from<T = unknown>(handle: SharedHandle<'SharedAsyncResult'>): SharedAsyncResult<T> {
    return Memory.open(LAYOUT, handle, (memory) => new SharedAsyncResult<T>(memory));
  }

  // ---- setting it

  /**
   * Stores a clone of a value and wakes all who wait, in all threads. Never switches. gevent: `gevent.event.AsyncResult.set`.
   *
   * @throws {TypeError} if the value cannot be cloned
   * @throws {InvalidThreadUseError} if an object is in it that belongs to this thread
   * @throws {RangeError} if it takes more than `maxBytes`
   */
  set(value?: T): void {
    this.#settle(State.Value, encode(SET, value, this.#maxBytes));
  }

  /**
   * Stores a clone of an error, which `get` throws, and wakes all who wait, in all threads. The clone has the same name, message,
   * stack, and further properties that can be cloned, but is of a class of JavaScript's own. Never switches. gevent:
   * `gevent.event.AsyncResult.set_exception`.
   *
   * @throws {TypeError} if what is no error cannot be cloned
   * @throws {RangeError} if it takes more than `maxBytes`
   */
  setError(error: unknown): void {
    this.#settle(State.Error, encodeError(SET_ERROR, error, this.#maxBytes));
  }

  #settle(state: State, bytes: Buffer): void {
    const record = this.#record;
    record.begin();
    try {
      // Those who read the valid version are not disturbed.
      const start = this.#startOf(record.version + 1);
      const end = start + bytes.length;
      if (this.#bytes.byteLength < end) this.#bytes.grow(end);
      new Uint8Array(this.#bytes, start, bytes.length).set(bytes);
      record.set(Field.State, state);
      record.set(Field.Length, bytes.length);
      record.commit();
    } finally {
      record.end();
    }
    this._waiting.announce();
  }

  #startOf(version: number): number {
    return (version & 1) * this.#maxBytes;
  }

  // ---- looking at it

  /** Whether it has a value or an error. */
  get ready(): boolean {
    return this.#record.get(Field.State) !== State.Pending;
  }

  /** Whether it has a value. */
  get successful(): boolean {
    return this.#record.get(Field.State) === State.Value;
  }

  /** Its value; `undefined` if there is none. */
  get value(): T | undefined {
    const { state, content } = this.#read();
    return state === State.Value ? (content as T) : undefined;
  }

  /** Its error; `undefined` if there is none. gevent: `gevent.event.AsyncResult.exception`. */
  get error(): unknown {
    const { state, content } = this.#read();
    return state === State.Error ? content : undefined;
  }

  #read(): Outcome {
    const record = this.#record;
    for (let { version } = record; version !== this.#known.version; { version } = record) {
      const state = record.get(Field.State);
      const length = record.get(Field.Length);
      // If it has been set again meanwhile, what was read may be of several versions.
      if (version !== record.version) continue;
      const bytes = Buffer.allocUnsafeSlow(length);
      bytes.set(new Uint8Array(this.#bytes, this.#startOf(version), length));
      if (version !== record.version) continue;
      this.#known = { version, state, content: contentOf(state, bytes) };
    }
    return this.#known;
  }

  // ---- waiting for it

  /**
   * Returns the value, waiting for it. Switches only if it must wait. gevent: `gevent.event.AsyncResult.get`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @throws the error that was set, the same object each time
   * @throws {Timeout} if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if there is no outcome yet
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  get(limits?: Limits): T {
    const call = 'SharedAsyncResult.get()';
    const checked = checkLimits(call, limits);
    if (!this.#waitForOutcome(call, checked)) throw expired(checked);
    const { state, content } = this.#read();
    if (state === State.Error) throw content;
    return content as T;
  }

  /**
   * Returns the value without waiting. Never switches. gevent: `gevent.event.AsyncResult.get_nowait`.
   *
   * @throws the error that was set
   * @throws {Timeout} if there is no outcome yet
   */
  getNowait(): T {
    return this.get(0);
  }

  /**
   * Waits until there is a value or an error. Switches only if it must wait. gevent: `gevent.event.AsyncResult.wait`.
   *
   * @param limits - how long to wait, in ms (default: for ever), and what else may end the wait
   * @returns the value; `undefined` if it is an error, or if the time of `limits` passed first
   * @throws {BlockingSwitchOutError} outside greenlets, if there is no outcome yet
   * @throws {RangeError} if as many threads as `maxHubs` wait already
   */
  wait(limits?: Limits): T | undefined {
    const call = 'SharedAsyncResult.wait()';
    this.#waitForOutcome(call, checkLimits(call, limits));
    return this.value;
  }

  #waitForOutcome(call: string, limits: CheckedLimits): boolean {
    if (this.ready) return true;
    return isImmediate(limits) ? refuseToWait(limits) : new Parked(call).parkIn(this._waiting, limits);
  }

  /** `<SharedAsyncResult value>`, `<SharedAsyncResult error>`, `<SharedAsyncResult unset, 2 waiting>`, of this thread. */
  override toString(): string {
    return this._show(['unset', 'value', 'error'][this.#record.get(Field.State)] as string);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function contentOf(state: State, bytes: Buffer): unknown {
  if (state === State.Pending) return undefined;
  return state === State.Error ? decodeError(bytes) : decode(bytes);
}
