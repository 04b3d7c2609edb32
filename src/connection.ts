/** Streams of bytes both ways: what plain and encrypted sockets have in common. */
import { inspect } from 'node:util';

import { Outcome } from './binding.js';
import { type BytesLike, bytesSent, checkBytes, DEFAULT_SIZE, takeBytes, viewOf } from './bytes.js';
import { checkMilliseconds, checkOptions } from './checks.js';
import { ConcurrentObjectUseError } from './errors.js';
import {
  afterNative,
  beforeNative,
  currentRunnable,
  ofThisThread,
  requireGreenlet,
  throwInterruption,
  type Wait,
} from './hub.js';
import {
  type CheckedLimits,
  checkLimits,
  FOR_EVER,
  type LimitOptions,
  type Limits,
  withinLimits,
} from './limits.js';
import { show, type SocketAddress } from './socket-address.js';
import { type FileEncoding, type FileOptions, SocketFile } from './socket/file.js';
import { errnoOf, type ErrorAddress, type SystemError, systemError } from './system-error.js';

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
  /** For calls that send: the bytes that were sent before. */
  bytesSent?: number;
}

/** The system's error of a call that sends, with how far it got. Other errors are not this call's. */
export function withBytesSent(error: unknown): unknown {
  if (typeof (error as SystemError).errno === 'number') (error as SocketTimeout).bytesSent = bytesSent();
  return error;
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
  /** First of all, so that it is what cloning fails at. @internal */
  readonly _thread = ofThisThread;
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

  /** As {@link _limits}, for limits among other options. @internal */
  _limitsAmong(call: string, options: LimitOptions): CheckedLimits {
    const { timeout, block, signal } = options;
    const isGiven = timeout !== undefined || block !== undefined || signal !== undefined;
    return this._limits(call, isGiven ? options : undefined);
  }

  /** Native code's name for the socket; −1 if it is closed, or there is none to wait on. @internal */
  get _key(): number {
    return -1;
  }

  /** Whether there are bytes to be received that the system does not know of any more. @internal */
  _hasInput(): boolean {
    return false;
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
    const result = withinLimits(call, limits, () => this._native(call, wait, limits.timeout, operation));
    if (result < 0) throw this._failure(result, call, limits);
    return result;
  }

  /** Makes one native call that may park, and returns its code unless the greenlet was interrupted. @internal */
  _native(call: string, wait: Wait, timeout: number, operation: (timeout: number) => number): number {
    // What need not wait is possible in the hub, too.
    if (timeout === 0 && currentRunnable() === null) {
      this._checkOpen(call);
      return operation(0);
    }
    const greenlet = requireGreenlet(call);
    this._checkOpen(call);
    const saved = beforeNative(call, wait);
    let code: number;
    try {
      code = operation(timeout);
    } finally {
      afterNative(greenlet, saved);
    }
    if (code === Outcome.Interrupted) throwInterruption(greenlet);
    return code;
  }

  /** What to throw for a negative code of a call that had limits. @internal */
  _failure(code: number, call: string, { limit }: CheckedLimits): unknown {
    return code === Outcome.TimedOut && limit !== null ? limit.thrown() : this._error(code, call);
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

  /** Throws if it is no stream of bytes. @internal */
  _checkStream(_call: string): void {}

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
    if (checked !== FOR_EVER || size === 0) return this._recvWithin(size, checked);
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

  /** As {@link recv}, with limits that are checked. @internal */
  _recvWithin(size: number, limits: CheckedLimits): Buffer {
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
    const limits = this._limitsAmong(call, given);
    return length === 0 ? 0 : this._recvIntoWithin(view, offset, length, limits);
  }

  /** As {@link recvInto}, with limits that are checked. @internal */
  _recvIntoWithin(view: Uint8Array, offset: number, length: number, limits: CheckedLimits): number {
    return this._call('recvInto()', this._reading(), limits, (timeout) =>
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
   * @throws {SystemError} `EPIPE`, `ECONNRESET`, …, with `bytesSent` too; `ECANCELED` if another greenlet closes the socket;
   *   `EBADF` if it is closed
   */
  sendAll(data: BytesLike, limits?: Limits): void {
    this.#send('sendAll()', data, limits, true);
  }

  #send(call: string, data: BytesLike, limits: Limits, all: boolean): number {
    const view = viewOf(call, data);
    const checked = this._limits(call, limits);
    this._checkOpen(call);
    if (view.length === 0) return 0;
    if (checked !== FOR_EVER) return this._sendWithin(call, view, checked, all);
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
    throw withBytesSent(this._error(count, call));
  }

  /** As {@link send} and {@link sendAll}, with limits that are checked. @internal */
  _sendWithin(call: string, view: Uint8Array, limits: CheckedLimits, all: boolean): number {
    const count = withinLimits(call, limits, () =>
      this._native(call, this._writing(), limits.timeout, (timeout) => this._send(view, timeout, all)),
    );
    if (count < 0) throw withBytesSent(this._failure(count, call, limits));
    return count;
  }

  /**
   * Makes a file of the connection: with a buffer each way, and with lines. Never switches. gevent: `socket.makefile`.
   *
   * @throws {TypeError} for datagrams
   */
  makeFile(options: FileOptions & { encoding: FileEncoding }): SocketFile<string>;
  makeFile(options?: FileOptions & { encoding?: undefined }): SocketFile;
  makeFile(options?: FileOptions): SocketFile<string | Buffer>;
  makeFile(options?: FileOptions): SocketFile<string | Buffer> {
    this._checkStream('makeFile()');
    return new SocketFile(this, options);
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](): string {
    return `<${this.constructor.name} ${this.closed ? 'closed' : `to ${show(this.remoteAddress)}`}>`;
  }
}
