/** Streams of bytes both ways: what plain and encrypted sockets have in common. */
import { inspect } from 'node:util';

import { native, Outcome, Shared, shared } from './binding.js';
import { checkMilliseconds, checkOptions, describe } from './checks.js';
import { ConcurrentObjectUseError } from './errors.js';
import {
  afterNative,
  beforeNative,
  currentRunnable,
  requireGreenlet,
  throwInterruption,
  type Wait,
} from './hub.js';
import {
  type CheckedLimits,
  checkLimits,
  FOR_EVER,
  isImmediate,
  type LimitOptions,
  type Limits,
  withinLimits,
} from './limits.js';
import { show, type SocketAddress } from './socket-address.js';
import { errnoOf, type ErrorAddress, type SystemError, systemError } from './system-error.js';

/** Bytes that can be sent; a string is sent as UTF-8. */
export type BytesLike = string | ArrayBufferLike | ArrayBufferView;

/** Options of {@link Connection.recvInto}, limits included. */
export interface RecvIntoOptions extends LimitOptions {
  /** Where in the buffer to begin, in bytes (default: 0). */
  offset?: number;
  /** How many bytes at the most (default: to the end of the buffer). */
  length?: number;
}

/** The error of a socket whose time is up: `code` is `'ETIMEDOUT'`. Python: `socket.timeout`. */
export interface SocketTimeout extends SystemError {
  code: 'ETIMEDOUT';
  /** For `send`, `sendAll` and `sendFile`: the bytes that were sent before. */
  bytesSent?: number;
}

/** Bytes that one call receives at the most where it is not told. */
export const DEFAULT_SIZE = 65_536;

/** The bytes of a view, buffer or string. */
export function viewOf(call: string, data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data);
  throw new TypeError(`${call} expects a string, Uint8Array, ArrayBuffer or view, got ${describe(data)}`);
}

/** Checks a number of bytes. */
export function checkBytes(call: string, name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TypeError(`${call}: ${name} must be a whole number of bytes, got ${describe(value)}`);
  if (value < least || value > most)
    throw new RangeError(`${call}: ${name} must be from ${least} to ${most}, got ${value}`);
  return value;
}

/** Bytes sent by the native call that failed last. */
export function bytesSent(): number {
  return (shared[Shared.SentHigh] as number) * 2 ** 30 + (shared[Shared.SentLow] as number);
}

const scratch = Buffer.from(native.scratch);

/** Takes bytes out of the scratch memory, which is everybody's: before anything else can run. */
export function takeBytes(count: number): Buffer {
  const received = Buffer.allocUnsafe(count);
  scratch.copy(received, 0, 0, count);
  return received;
}

/** A greenlet that is parked on one side of a socket. Native code forgets it when the greenlet goes on. */
export class SocketWait implements Wait {
  constructor(
    private readonly socket: Endpoint,
    private readonly action: string,
  ) {}

  cancel(): void {}

  describe(): string {
    return `${this.action} ${show(this.socket.remoteAddress)}`;
  }
}

/** What can be parked on: has a timeout, and turns what native code returns into errors. */
export abstract class Endpoint {
  #timeout: number | null = null;
  #reading: Wait | null = null;
  #writing: Wait | null = null;

  /** Whether it was closed here, or given away. */
  abstract get closed(): boolean;

  /** How long a call without limits of its own may wait, in ms; `null`: for ever. gevent: `settimeout`. */
  get timeout(): number | null {
    return this.#timeout;
  }

  set timeout(ms: number | null) {
    this.#timeout = ms === null ? null : checkMilliseconds('timeout', ms);
  }

  /** @internal */
  _limits(call: string, limits: Limits): CheckedLimits {
    if (limits === undefined && this.#timeout === null) return FOR_EVER;
    return checkLimits(call, limits ?? this.#timeout);
  }

  /** What a greenlet is parked on that reads. @internal */
  _reading(): Wait {
    return (this.#reading ??= new SocketWait(this, 'recv from'));
  }

  /** What a greenlet is parked on that writes. @internal */
  _writing(): Wait {
    return (this.#writing ??= new SocketWait(this, 'send to'));
  }

  /** Throws if the socket is closed. @internal */
  _checkOpen(call: string): void {
    if (this.closed) throw systemError(errnoOf('EBADF'), call.slice(0, -2));
  }

  /**
   * Makes one native call that may park, and throws what its code stands for.
   *
   * @param operation - gets the timeout, in ms; returns a count, or a negative code
   * @internal
   */
  _call(call: string, wait: Wait, limits: CheckedLimits, operation: (timeout: number) => number): number {
    const result = withinLimits(call, limits, () => {
      // What need not wait is possible in the hub, too.
      if (isImmediate(limits) && currentRunnable() === null) {
        this._checkOpen(call);
        return operation(0);
      }
      const greenlet = requireGreenlet(call);
      this._checkOpen(call);
      const saved = beforeNative(call, wait);
      let code: number;
      try {
        code = operation(limits.timeout);
      } finally {
        afterNative(greenlet, saved);
      }
      if (code === Outcome.Interrupted) throwInterruption(greenlet);
      return code;
    });
    if (result >= 0) return result;
    if (result === Outcome.TimedOut && limits.limit !== null) throw limits.limit.thrown();
    throw this._error(result, call);
  }

  /** The error for a negative code. @internal */
  _error(code: number, call: string): Error {
    const syscall = call.slice(0, -2);
    if (code === Outcome.TimedOut)
      return systemError(errnoOf('ETIMEDOUT'), syscall, whereOf(this.remoteAddress));
    if (code === Outcome.Busy) {
      return new ConcurrentObjectUseError(
        `${call}: another greenlet is parked on this socket in the same direction; its wait goes on`,
      );
    }
    if (this.closed) {
      const error = systemError(errnoOf('ECANCELED'), syscall);
      error.message += ': the socket was closed by another greenlet';
      return error;
    }
    return systemError(code, syscall);
  }

  /** The other end; its address is empty if there is none, or it is not known. */
  abstract get remoteAddress(): SocketAddress;
}

/** An address as errors have it. */
function whereOf({ address, port, family }: SocketAddress): ErrorAddress | undefined {
  if (address === '') return undefined;
  return family === 'unix' ? { address } : { address, port };
}

/** A stream of bytes both ways. Two greenlets may use it at once if one reads and the other writes. */
export abstract class Connection extends Endpoint {
  /** This end of the connection. */
  abstract get localAddress(): SocketAddress;
  /** Closes it. Greenlets that are parked on it get an `ECANCELED` error. Never switches. */
  abstract close(): void;
  /** Ends one or both directions: `'w'` sends the end of the stream. */
  abstract shutdown(how: 'r' | 'w' | 'rw'): void;

  /** Receives into the scratch memory; returns a count or a code. @internal */
  abstract _receive(size: number, timeout: number): number;
  /** Receives into a view; returns a count or a code. @internal */
  abstract _receiveInto(view: Uint8Array, offset: number, length: number, timeout: number): number;
  /** Sends a view; returns a count or a code, after which {@link bytesSent} tells how much was sent. @internal */
  abstract _send(view: Uint8Array, timeout: number, all: boolean): number;

  /**
   * Receives what has come, waiting for the first byte. Switches only if it must wait, or has received many times without.
   *
   * @param size - bytes at the most (default: 64 KiB, which is also what one call receives at the most)
   * @param limits - how long, in ms, and what else may end the wait
   * @returns at least one byte, or an empty Buffer at the end of the stream
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   * @throws {ConcurrentObjectUseError} if another greenlet is receiving
   * @throws {SystemError} `ECONNRESET`, …; `ECANCELED` if another greenlet closes the socket; `EBADF` if it is closed
   */
  recv(size: number = DEFAULT_SIZE, limits?: Limits): Buffer {
    if (size !== DEFAULT_SIZE) checkBytes('recv()', 'size', size, 0, Number.MAX_SAFE_INTEGER);
    const checked = this._limits('recv()', limits);
    if (checked !== FOR_EVER || size === 0) return this.#recvWithin(size, checked);
    // The path of most calls: no closure, one native call.
    const greenlet = requireGreenlet('recv()');
    this._checkOpen('recv()');
    const saved = beforeNative('recv()', this._reading());
    let count: number;
    try {
      count = this._receive(size, -1);
    } finally {
      afterNative(greenlet, saved);
    }
    if (count >= 0) return takeBytes(count);
    if (count === Outcome.Interrupted) throwInterruption(greenlet);
    throw this._error(count, 'recv()');
  }

  #recvWithin(size: number, limits: CheckedLimits): Buffer {
    if (size === 0) return Buffer.alloc(0);
    return takeBytes(
      this._call('recv()', this._reading(), limits, (timeout) => this._receive(size, timeout)),
    );
  }

  /**
   * As {@link recv}, into memory of yours and without a copy.
   *
   * @returns how many bytes were received; 0 at the end of the stream
   */
  recvInto(buffer: ArrayBufferView | ArrayBufferLike, options?: RecvIntoOptions): number {
    const call = 'recvInto()';
    if (typeof buffer === 'string') throw new TypeError(`${call} expects memory to write to, got a string`);
    const view = viewOf(call, buffer);
    const given = checkOptions(call, options);
    const { offset = 0, length = view.length - offset } = given;
    checkBytes(call, 'offset', offset, 0, view.length);
    checkBytes(call, 'length', length, 0, view.length - offset);
    const hasLimits = given.timeout !== undefined || given.signal !== undefined || given.block !== undefined;
    const limits = this._limits(call, hasLimits ? given : undefined);
    if (length === 0) return 0;
    return this._call(call, this._reading(), limits, (timeout) =>
      this._receiveInto(view, offset, length, timeout),
    );
  }

  /**
   * Sends as much as fits without waiting, but at least one byte. Switches only if it must wait, or has sent many times
   * without.
   *
   * @returns how many bytes were sent
   * @throws as {@link sendAll}
   */
  send(data: BytesLike, limits?: Limits): number {
    return this.#send('send()', data, limits, false);
  }

  /**
   * Sends everything. Switches only if it must wait, or has sent many times without.
   *
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first; its `bytesSent` tells how much was sent
   * @throws {ConcurrentObjectUseError} if another greenlet is sending
   * @throws {SystemError} `EPIPE`, `ECONNRESET`, …; `ECANCELED` if another greenlet closes the socket; `EBADF` if it is closed
   */
  sendAll(data: BytesLike, limits?: Limits): void {
    this.#send('sendAll()', data, limits, true);
  }

  #send(call: string, data: BytesLike, limits: Limits, all: boolean): number {
    const view = viewOf(call, data);
    const checked = this._limits(call, limits);
    this._checkOpen(call);
    if (view.length === 0) return 0;
    if (checked !== FOR_EVER) return this.#sendWithin(call, view, checked, all);
    const greenlet = requireGreenlet(call);
    const saved = beforeNative(call, this._writing());
    let count: number;
    try {
      count = this._send(view, -1, all);
    } finally {
      afterNative(greenlet, saved);
    }
    if (count >= 0) return count;
    if (count === Outcome.Interrupted) throwInterruption(greenlet);
    throw this._error(count, call);
  }

  #sendWithin(call: string, view: Uint8Array, limits: CheckedLimits, all: boolean): number {
    try {
      return this._call(call, this._writing(), limits, (timeout) => this._send(view, timeout, all));
    } catch (error) {
      if ((error as SystemError).code === 'ETIMEDOUT') (error as SocketTimeout).bytesSent = bytesSent();
      throw error;
    }
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](): string {
    return `<${this.constructor.name} ${this.closed ? 'closed' : `to ${show(this.remoteAddress)}`}>`;
  }
}
