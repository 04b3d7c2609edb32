/** TCP sockets whose calls park only the greenlet: `greenstack/socket`. */
import { inspect } from 'node:util';
import { isIP } from 'node:net';

import { native, Outcome, Shared, shared } from './binding.js';
import { getDefaultResolver, type LookupAddress, Resolver } from './dns.js';
import { ConcurrentObjectUseError } from './errors.js';
import {
  afterNative,
  beforeNative,
  plainWait,
  requireGreenlet,
  throwInterruption,
  type Wait,
} from './hub.js';
import { checkMilliseconds } from './checks.js';
import { type CheckedLimits, checkLimits, type LimitOptions, type Limits, withinLimits } from './limits.js';
import { errnoOf, type ErrorAddress, type SystemError, systemError } from './system-error.js';
import { now } from './timers.js';

/** Where to connect to: a port of this host, `{ host, port }` or `'host:port'` (`'[ipv6]:port'`). */
export type Address = number | string | { host?: string; port: number };

/** One end of a connection. */
export interface SocketAddress {
  address: string;
  port: number;
  family: 4 | 6;
}

/** Bytes that can be sent; a string is sent as UTF-8. */
export type BytesLike = string | ArrayBufferLike | ArrayBufferView;

/** Options of {@link createConnection}, limits included. They hold for name, connection and all attempts together. */
export interface ConnectOptions extends LimitOptions {
  /** Where to connect from. */
  localAddress?: { host: string; port?: number };
  /** Who resolves the name (default: the default resolver). */
  resolver?: Resolver;
  /** Only addresses of this family; 0 (default): of both. */
  family?: 0 | 4 | 6;
}

/** Options of {@link Socket.recvInto}, limits included. */
export interface RecvIntoOptions extends LimitOptions {
  /** Where in the buffer to begin, in bytes (default: 0). */
  offset?: number;
  /** How many bytes at the most (default: to the end of the buffer). */
  length?: number;
}

/** The error of a socket whose time is up: `code` is `'ETIMEDOUT'`. Python: `socket.timeout`. */
export interface SocketTimeout extends SystemError {
  code: 'ETIMEDOUT';
  /** For `send` and `sendAll`: the bytes that were sent before. */
  bytesSent?: number;
}

const LOOPBACK = 'localhost';
const MAX_PORT = 65_535;

function checkPort(call: string, port: unknown): number {
  if (typeof port !== 'number' || !Number.isInteger(port)) {
    throw new TypeError(`${call}: a port must be a whole number, got ${typeof port} ${String(port)}`);
  }
  if (port < 0 || port > MAX_PORT)
    throw new RangeError(`${call}: a port must be from 0 to ${MAX_PORT}, got ${port}`);
  return port;
}

function parseAddress(call: string, address: unknown): { host: string; port: number } {
  if (typeof address === 'number') return { host: LOOPBACK, port: checkPort(call, address) };
  if (typeof address === 'string') {
    const parts = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(address);
    if (parts === null)
      throw new TypeError(`${call}: an address is 'host:port' or '[ipv6]:port', got '${address}'`);
    return { host: parts[1] ?? (parts[2] || LOOPBACK), port: checkPort(call, Number(parts[3])) };
  }
  if (typeof address === 'object' && address !== null) {
    const { host = LOOPBACK, port } = address as { host?: unknown; port?: unknown };
    if (typeof host !== 'string' || host === '') {
      throw new TypeError(
        `${call}: host must be a name or an IP address, got ${typeof host} '${String(host)}'`,
      );
    }
    return { host, port: checkPort(call, port) };
  }
  throw new TypeError(`${call} expects a port, { host, port } or 'host:port', got ${typeof address}`);
}

function viewOf(call: string, data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data);
  throw new TypeError(`${call} expects a string, Uint8Array, ArrayBuffer or view, got ${typeof data}`);
}

function checkCount(call: string, name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    throw new TypeError(
      `${call}: ${name} must be a whole number of bytes, got ${typeof value} ${String(value)}`,
    );
  }
  if (value < least || value > most) {
    throw new RangeError(`${call}: ${name} must be from ${least} to ${most}, got ${value}`);
  }
  return value;
}

const scratch = Buffer.from(native.scratch);

const connecting = (host: string, port: number): Wait => plainWait(`connect to ${host}:${port}`);

/** A connected TCP socket. Two greenlets may use it at once if one reads and the other writes. */
export class Socket {
  /** Native code's name for the socket; −1 once it is closed. */
  #key: number;
  #timeout: number | null = null;
  readonly #local: SocketAddress;
  readonly #remote: SocketAddress;
  readonly #receiving: Wait;
  readonly #sending: Wait;

  /** @internal Use {@link createConnection}. */
  constructor(key: number, remote: LookupAddress, port: number) {
    this.#key = key;
    this.#remote = { address: remote.address, port, family: remote.family };
    const local = native.address(key, false);
    this.#local =
      typeof local === 'number'
        ? { address: '', port: 0, family: remote.family }
        : { address: local[0], port: local[1], family: isIP(local[0]) === 6 ? 6 : 4 };
    this.#receiving = plainWait(`recv from ${this.#remote.address}:${port}`);
    this.#sending = plainWait(`send to ${this.#remote.address}:${port}`);
  }

  /** How long a call without limits of its own may wait, in ms; `null`: for ever. gevent: `settimeout`. */
  get timeout(): number | null {
    return this.#timeout;
  }

  set timeout(ms: number | null) {
    this.#timeout = ms === null ? null : checkMilliseconds('Socket.timeout', ms);
  }

  /** Whether it was closed here. */
  get closed(): boolean {
    return this.#key < 0;
  }

  /** This end of the connection. */
  get localAddress(): SocketAddress {
    return this.#local;
  }

  /** The other end of the connection. */
  get remoteAddress(): SocketAddress {
    return this.#remote;
  }

  #limits(call: string, limits: Limits): CheckedLimits {
    return checkLimits(call, limits ?? this.#timeout);
  }

  /** Runs one native call that returns a count or a code. */
  #call(
    call: string,
    wait: Wait,
    limits: CheckedLimits,
    operation: (key: number, timeout: number) => number,
  ): number {
    const result = withinLimits(call, limits, () => this.#callPlain(call, wait, limits.timeout, operation));
    if (result >= 0) return result;
    if (result === Outcome.TimedOut && limits.limit !== null) throw limits.limit.thrown();
    throw this.#error(result, call);
  }

  #callPlain(
    call: string,
    wait: Wait,
    timeout: number,
    operation: (key: number, timeout: number) => number,
  ): number {
    const greenlet = requireGreenlet(call);
    if (this.#key < 0) throw systemError(errnoOf('EBADF'), call.slice(0, -2));
    const saved = beforeNative(call, wait);
    let result: number;
    try {
      result = operation(this.#key, timeout);
    } finally {
      afterNative(greenlet, saved);
    }
    if (result === Outcome.Interrupted) throwInterruption(greenlet);
    return result;
  }

  #error(code: number, call: string): Error {
    const syscall = call.slice(0, -2);
    if (code === Outcome.TimedOut) return systemError(errnoOf('ETIMEDOUT'), syscall, whereOf(this.#remote));
    if (code === Outcome.Busy) {
      return new ConcurrentObjectUseError(
        `${call}: another greenlet is parked on this socket in the same direction; its wait goes on`,
      );
    }
    if (this.#key < 0) {
      const error = systemError(errnoOf('ECANCELED'), syscall);
      error.message += ': the socket was closed by another greenlet';
      return error;
    }
    return systemError(code, syscall);
  }

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
  recv(size: number = scratch.length, limits?: Limits): Buffer {
    checkCount('recv()', 'size', size, 0, Number.MAX_SAFE_INTEGER);
    const checked = this.#limits('recv()', limits);
    if (size === 0) return Buffer.alloc(0);
    const count = this.#call('recv()', this.#receiving, checked, (key, timeout) =>
      native.receive(key, size, timeout),
    );
    // The scratch memory is everybody's: copied before anything else can run.
    const received = Buffer.allocUnsafe(count);
    scratch.copy(received, 0, 0, count);
    return received;
  }

  /**
   * As {@link recv}, into memory of yours and without a copy.
   *
   * @returns how many bytes were received; 0 at the end of the stream
   */
  recvInto(buffer: ArrayBufferView | ArrayBufferLike, options: RecvIntoOptions = {}): number {
    if (typeof buffer === 'string')
      throw new TypeError('recvInto() expects memory to write to, got a string');
    const view = viewOf('recvInto()', buffer);
    const { offset = 0, length = view.length - offset } = options;
    checkCount('recvInto()', 'offset', offset, 0, view.length);
    checkCount('recvInto()', 'length', length, 0, view.length - offset);
    const hasLimits =
      options.timeout !== undefined || options.signal !== undefined || options.block !== undefined;
    const limits = this.#limits('recvInto()', hasLimits ? options : undefined);
    if (length === 0) return 0;
    return this.#call('recvInto()', this.#receiving, limits, (key, timeout) =>
      native.receiveInto(key, view, offset, length, timeout),
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
    const checked = this.#limits(call, limits);
    if (this.#key < 0) throw systemError(errnoOf('EBADF'), call.slice(0, -2));
    if (view.length === 0) return 0;
    try {
      return this.#call(call, this.#sending, checked, (key, timeout) =>
        native.send(key, view, 0, view.length, timeout, all),
      );
    } catch (error) {
      if ((error as SystemError).code === 'ETIMEDOUT') {
        const [low, high] = [shared[Shared.SentLow] as number, shared[Shared.SentHigh] as number];
        (error as SocketTimeout).bytesSent = high * 2 ** 30 + low;
      }
      throw error;
    }
  }

  /**
   * Ends one or both directions: `'w'` sends the end of the stream. Never switches.
   *
   * @throws {SystemError} `ENOTCONN`, `EBADF`
   */
  shutdown(how: 'r' | 'w' | 'rw'): void {
    const code = { r: 1, w: 2, rw: 3 }[how] as 1 | 2 | 3 | undefined;
    if (code === undefined) throw new TypeError(`shutdown() expects 'r', 'w' or 'rw', got ${String(how)}`);
    if (this.#key < 0) throw systemError(errnoOf('EBADF'), 'shutdown');
    const result = native.shutdown(this.#key, code);
    if (result < 0) throw systemError(result, 'shutdown');
  }

  /**
   * Closes the socket. Greenlets that are parked on it get an `ECANCELED` error. Calling it again does nothing. Never
   * switches.
   */
  close(): void {
    const key = this.#key;
    if (key < 0) return;
    this.#key = -1;
    native.close(key);
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](): string {
    const { address, port } = this.#remote;
    return `<Socket ${this.closed ? 'closed' : 'connected'} to ${address}:${port}>`;
  }
}

function whereOf({ address, port }: { address: string; port: number }): ErrorAddress {
  return { address, port };
}

/**
 * Connects to a TCP server: resolves the name, then tries its addresses in order. Switches. gevent: `socket.create_connection`.
 *
 * @param address - a port of this host, `{ host, port }` or `'host:port'`
 * @param options - limits for everything together, `localAddress`, `resolver`, `family`
 * @throws {SystemError} `ECONNREFUSED`, …: the error of the last address, or an `AggregateError` of all if there were several
 * @throws {DnsError} if the name cannot be resolved
 * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
 */
export function createConnection(address: Address, options: ConnectOptions = {}): Socket {
  const call = 'createConnection()';
  const { host, port } = parseAddress(call, address);
  const limits = checkLimits(call, options);
  const { localAddress, resolver = getDefaultResolver(), family = 0 } = options;
  if (!(resolver instanceof Resolver))
    throw new TypeError(`${call}: resolver must be a Resolver, got ${typeof resolver}`);
  const local = localAddress === undefined ? { host: '', port: 0 } : checkLocal(call, localAddress);
  requireGreenlet(call);
  const deadline = limits.timeout < 0 ? Infinity : now() + limits.timeout;
  const left = (): number => (limits.timeout <= 0 ? limits.timeout : Math.max(0, deadline - now()));
  return withinLimits(call, limits, () => {
    const addresses = resolve(resolver, host, port, family, limits, left);
    const errors: Error[] = [];
    for (const remote of addresses) {
      const key = connect(remote.address, port, local, left());
      if (typeof key === 'number') return new Socket(key, remote, port);
      if (key.code === 'ETIMEDOUT' && left() === 0) throw limits.limit?.thrown() ?? key;
      errors.push(key);
    }
    if (errors.length === 1) throw errors[0] as Error;
    const codes = new Set(errors.map((error) => (error as SystemError).code));
    const failure = new AggregateError(errors, errors.map(({ message }) => message).join('; '));
    throw Object.assign(failure, codes.size === 1 ? { code: [...codes][0] } : {});
  });
}

function resolve(
  resolver: Resolver,
  host: string,
  port: number,
  family: 0 | 4 | 6,
  { limit }: CheckedLimits,
  left: () => number,
): LookupAddress[] {
  const timeout = left();
  try {
    return resolver.lookup(host, { all: true, family, timeout: timeout < 0 ? null : timeout });
  } catch (error) {
    // The limit of the whole call is no failure of the resolver's.
    if ((error as SystemError).code === 'ETIMEOUT' && left() === 0) {
      throw limit?.thrown() ?? systemError(errnoOf('ETIMEDOUT'), 'connect', { address: host, port });
    }
    throw error;
  }
}

function checkLocal(call: string, local: unknown): { host: string; port: number } {
  if (typeof local !== 'object' || local === null) {
    throw new TypeError(`${call}: localAddress must be { host, port? }, got ${typeof local}`);
  }
  const { host, port = 0 } = local as { host?: unknown; port?: unknown };
  if (typeof host !== 'string' || isIP(host) === 0) {
    throw new TypeError(`${call}: localAddress.host must be an IP address, got ${String(host)}`);
  }
  return { host, port: checkPort(call, port) };
}

/** Connects to one address; the error, if that fails. */
function connect(
  ip: string,
  port: number,
  local: { host: string; port: number },
  timeout: number,
): number | SystemError {
  const greenlet = requireGreenlet('connect()');
  const saved = beforeNative('connect()', connecting(ip, port));
  let key: number;
  try {
    key = native.connect(ip, port, local.host, local.port, timeout);
  } finally {
    afterNative(greenlet, saved);
  }
  if (key >= 0) return key;
  if (key === Outcome.Interrupted) throwInterruption(greenlet);
  const errno = key === Outcome.TimedOut ? errnoOf('ETIMEDOUT') : key;
  return systemError(errno, 'connect', { address: ip, port });
}
