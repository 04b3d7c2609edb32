/** `Socket`: TCP, UDP and Unix-domain. */
import { closeSync, constants, openSync, type PathLike } from 'node:fs';
import { isIP, type Server as NodeServer, type ServerOpts, type Socket as NodeSocket } from 'node:net';
import { inspect } from 'node:util';

import { Kind, native, Outcome, SocketFamily } from '../binding.js';
import { type BytesLike, checkBytes, DEFAULT_SIZE, takeBytes, viewOf } from '../bytes.js';
import { checkFlag, checkOptions, describe } from '../checks.js';
import { Connection, withBytesSent } from '../connection.js';
import { checkDescriptor } from '../descriptors.js';
import { park, plainWait, requireGreenlet, type Wait } from '../hub.js';
import { type CheckedLimits, countingDown, type LimitOptions, type Limits, withinLimits } from '../limits.js';
import {
  type Address,
  familyOf,
  parseAddress,
  type ParsedAddress,
  PATH,
  readAddress,
  show,
  type SocketAddress,
  whereOf,
} from '../socket-address.js';
import { errnoOf, type ErrorAddress, type SystemError, systemError } from '../system-error.js';
import { nodeServerOf, nodeSocketOf, takeFromNode } from './node.js';
import {
  checkInt,
  checkOptionName,
  findInterface,
  fromNative,
  type SocketOptionName,
  type SocketOptionValues,
  toNative,
} from './options.js';
import { SocketPath } from './path.js';

/** Options of `new Socket()`. */
export interface SocketOptions {
  /** Its addresses: 4 (default) for IPv4, 6 for IPv6, `'unix'` for paths. */
  family?: 4 | 6 | 'unix';
  /** A stream of bytes (default), or datagrams. */
  type?: 'stream' | 'datagram';
}

/** What {@link Socket.recvFrom} gives. */
export interface Datagram {
  data: Buffer;
  /** Who has sent it; `undefined` for unnamed Unix-domain sockets. */
  address: SocketAddress | undefined;
  /** Whether it was longer than the size given; the rest is lost. */
  truncated: boolean;
}

/** What {@link Socket.sendFile} sends: a path, a descriptor, or what has one, such as a `FileHandle` of `node:fs`. */
export type FileSource = PathLike | number | { readonly fd: number };

/** Options of {@link Socket.sendFile}, limits included. */
export interface SendFileOptions extends LimitOptions {
  /** Where in the file to begin, in bytes (default: 0). */
  offset?: number;
  /** How many bytes to send (default: to the end of the file). */
  count?: number;
}

/** How many connections wait to be accepted where it is not told, as Node has it. */
export const DEFAULT_BACKLOG = 511;

/** Pauses between tries where no event tells that there is room, in ms. */
const FIRST_PAUSE = 1;
const LONGEST_PAUSE = 50;

const EAGAIN = errnoOf('EAGAIN');

/** Bytes that an option has at the most. */
const MAX_OPTION = 65_536;

/** What holds a key that native code has just made. @internal */
export class Opened {
  constructor(
    readonly key: number,
    readonly nativeFamily: SocketFamily,
    readonly isDatagram: boolean,
  ) {}
}

/** Makes the object for a stream that native code has made. */
export function socketOf(key: number, family: 4 | 6 | 'unix'): Socket {
  return Socket._of(new Opened(key, nativeFamily(family), false));
}

function nativeFamily(family: unknown): SocketFamily {
  if (family === 'unix') return SocketFamily.Unix;
  if (family === 4 || family === 6) return family as SocketFamily;
  throw new TypeError(`new Socket(): family must be 4, 6 or 'unix', got ${describe(family)}`);
}

function openAs(options: SocketOptions | undefined): Opened {
  const { family = 4, type = 'stream' } = checkOptions('new Socket()', options);
  return open(nativeFamily(family), isDatagramType('new Socket()', type));
}

function isDatagramType(call: string, type: unknown): boolean {
  if (type !== 'stream' && type !== 'datagram')
    throw new TypeError(`${call}: type must be 'stream' or 'datagram', got ${describe(type)}`);
  return type === 'datagram';
}

function open(family: SocketFamily, isDatagram: boolean): Opened {
  const key = native.open(family, isDatagram);
  if (key < 0) throw systemError(key, 'socket');
  return new Opened(key, family, isDatagram);
}

/** Makes a socket for streams. */
export function openSocket(family: SocketFamily): Socket {
  return Socket._of(open(family, false));
}

/**
 * A socket: TCP, UDP or Unix-domain. Two greenlets may use it at once if one reads and the other writes. gevent:
 * `gevent.socket.socket`.
 */
export class Socket extends Connection {
  /** Native code's name for the socket; −1 once it is closed. */
  #key: number;
  readonly #family: SocketFamily;
  readonly #isDatagram: boolean;
  /** The ends as they were when they were asked for; kept after the socket is closed. */
  #local: SocketAddress | undefined;
  #remote: SocketAddress | undefined;
  /** The file that the socket has made by being bound, if it is to be removed. */
  #file: SocketPath | null = null;

  /**
   * Takes a descriptor over, such as an inherited one: a socket of any kind, which is made non-blocking, and which nobody else
   * may close, read or write from now on. Never switches. gevent: `socket.fromfd`, which copies it.
   *
   * @throws {SystemError} `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` or `EPROTONOSUPPORT`; then it is still the caller's
   */
  static fromFd(fd: number): Socket {
    const kind = kindOfDescriptor('fromFd()', checkDescriptor('fromFd()', fd));
    const key = native.adopt(fd);
    if (key < 0) throw systemError(key, 'fcntl');
    return Socket._of(new Opened(key, kind & Kind.Family, (kind & Kind.Datagram) !== 0));
  }

  /**
   * Takes the connection of a `net.Socket` over, which is destroyed without the peer noticing. What Node has received already
   * is received first. Never switches.
   *
   * @throws {TypeError} unless it is a connected `net.Socket` without TLS, without an encoding, and with nothing left to send
   */
  static fromNode(nodeSocket: NodeSocket): Socket {
    const { descriptor, received } = takeFromNode('fromNode()', nodeSocket);
    try {
      const socket = Socket.fromFd(descriptor);
      if (received.length > 0) native.unread(socket.#key, received);
      return socket;
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /**
   * A socket that is neither bound nor connected. Most programs use {@link createConnection} or {@link createServer}. Never
   * switches.
   *
   * @throws {SystemError} `EMFILE`, …
   */
  constructor(options?: SocketOptions) {
    super();
    const { key, nativeFamily, isDatagram } = options instanceof Opened ? options : openAs(options);
    this.#key = key;
    this.#family = nativeFamily;
    this.#isDatagram = isDatagram;
  }

  /** Makes the object for a socket of native code's. @internal */
  static _of(opened: Opened): Socket {
    return new Socket(opened as SocketOptions);
  }

  /** Hands the socket over to a new object under a new key; this one is closed from then on. @internal */
  _handOver(key: number = native.rename(this.#key)): Socket {
    this.#key = -1;
    const successor = Socket._of(new Opened(key, this.#family, this.#isDatagram));
    successor.timeout = this.timeout;
    successor.#file = this.#file;
    this.#file = null;
    return successor;
  }

  /** Native code's name for it. @internal */
  override get _key(): number {
    return this.#key;
  }

  get closed(): boolean {
    return this.#key < 0;
  }

  /** Whether its addresses are IPv4, IPv6 or paths. */
  get family(): 4 | 6 | 'unix' {
    return this.#family === SocketFamily.Unix ? 'unix' : this.#family;
  }

  /** Whether it carries a stream or datagrams. */
  get type(): 'stream' | 'datagram' {
    return this.#isDatagram ? 'datagram' : 'stream';
  }

  /** The descriptor, which stays the socket's; −1 once it is closed. gevent: `fileno()`. */
  get fd(): number {
    return this.#key < 0 ? -1 : native.descriptor(this.#key);
  }

  /** Notes the file that the socket has made, if it has, to be removed when it is closed. @internal */
  _ownFile(path: string): void {
    if (!path.startsWith('\0')) this.#file = new SocketPath(path);
  }

  /** @internal */
  override _hasInput(): boolean {
    return native.unreadLength(this.#key) > 0;
  }

  /** @internal */
  override _checkStream(call: string): void {
    if (this.#isDatagram) throw new TypeError(`${call}: this socket has datagrams, and no stream of bytes`);
  }

  /** This end. If it is not known, since it was closed before anybody asked, its address is empty. */
  get localAddress(): SocketAddress {
    if (this.#key >= 0 && native.address(this.#key, false) === 0) this.#local = readAddress();
    return this.#local ?? this.#unknownAddress();
  }

  /** The other end. If it is not known, or there is none, its address is empty. */
  get remoteAddress(): SocketAddress {
    if (this.#remote === undefined && this.#key >= 0 && native.address(this.#key, true) === 0)
      this.#remote = readAddress();
    return this.#remote ?? this.#unknownAddress();
  }

  #unknownAddress(): SocketAddress {
    return { address: '', port: 0, family: this.family };
  }

  /** @internal */
  _receive(size: number, timeout: number): number {
    if (!this.#isDatagram) return native.receive(this.#key, size, timeout);
    const length = native.receiveFrom(this.#key, size, timeout);
    return Math.min(length, size, DEFAULT_SIZE);
  }

  /** @internal */
  _receiveInto(view: Uint8Array, offset: number, length: number, timeout: number): number {
    if (!this.#isDatagram) return native.receiveInto(this.#key, view, offset, length, timeout);
    return Math.min(native.receiveFromInto(this.#key, view, offset, length, timeout), length);
  }

  /** @internal */
  _send(view: Uint8Array, timeout: number, all: boolean): number {
    if (!this.#isDatagram) return native.send(this.#key, view, 0, view.length, timeout, all);
    return native.sendTo(this.#key, view, 0, view.length, timeout, '', 0);
  }

  #check(result: number, call: string, where?: ErrorAddress): void {
    if (result < 0) throw systemError(result, call.slice(0, -2), where);
  }

  /**
   * Gives the socket its own address: an IP address and a port, or a path; without a host all addresses. Never switches.
   *
   * @throws {SystemError} `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, …
   */
  bind(address: Address): void {
    const parsed = parseAddress('bind()', address);
    this._checkOpen('bind()');
    const host = parsed.host === '' ? this.#anyAddress() : parsed.host;
    const bound = { host, port: parsed.port };
    if (familyOf(bound) === 0)
      throw new TypeError(`bind(): the host must be an IP address, got '${host}': look its address up first`);
    this.#check(native.bind(this.#key, host, bound.port), 'bind()', whereOf(bound));
  }

  #anyAddress(): string {
    return this.#family === SocketFamily.V6 ? '::' : '0.0.0.0';
  }

  /**
   * Lets the socket accept connections. Never switches.
   *
   * @param backlog - how many connections may wait to be accepted (default: 511)
   */
  listen(backlog: number = DEFAULT_BACKLOG): void {
    checkBacklog('listen()', backlog);
    this._checkOpen('listen()');
    this.#check(native.listen(this.#key, backlog), 'listen()');
  }

  /**
   * Takes the next connection, waiting for it. Switches only if it must wait, or has accepted many times without.
   *
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   * @throws {SystemError} `EMFILE`, …; `ECANCELED` if another greenlet closes the socket
   */
  accept(limits?: Limits): Socket {
    const checked = this._limits('accept()', limits);
    const key = this._call('accept()', this._reading(), checked, (timeout) =>
      native.accept(this.#key, timeout),
    );
    return Socket._of(new Opened(key, this.#family, false));
  }

  /** Takes a connection that is waiting; a negative code if there is none. Also in the hub. @internal */
  _acceptNow(): Socket | number {
    const key = native.acceptNow(this.#key);
    return key < 0 ? key : Socket._of(new Opened(key, this.#family, false));
  }

  /** Takes a datagram that is waiting; a negative code if there is none. Also in the hub. @internal */
  _recvFromNow(memory: Uint8Array): Datagram | number {
    const length = native.receiveFromInto(this.#key, memory, 0, memory.length, 0);
    if (length < 0) return length;
    const kept = Math.min(length, memory.length);
    return { data: Buffer.from(memory.subarray(0, kept)), address: readAddress(), truncated: length > kept };
  }

  /**
   * Connects to one address, which must not be a name: {@link createConnection} resolves names and tries all of their addresses.
   * For datagrams this only says where they go. Switches only if it must wait.
   *
   * @throws {SystemError} `ECONNREFUSED`, `EHOSTUNREACH`, …
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   */
  connect(address: Address, limits?: Limits): void {
    const parsed = withDefaultHost(parseAddress('connect()', address), this.#family);
    if (familyOf(parsed) === 0)
      throw new TypeError(`connect(): '${parsed.host}' is a name; use createConnection(), which resolves it`);
    const checked = this._limits('connect()', limits);
    this._checkOpen('connect()');
    this._connect(parsed, checked);
  }

  /** @internal */
  _connect(address: ParsedAddress, limits: CheckedLimits): void {
    const call = 'connect()';
    const where = whereOf(address);
    requireGreenlet(call);
    const start = (): number => native.startConnect(this.#key, address.host, address.port);
    const started = start();
    if (started === 0) return;
    if (started === Outcome.Pending) {
      this._locate(where, () =>
        this._call(call, connecting(address), limits, (timeout) => native.finishConnect(this.#key, timeout)),
      );
    } else if (started === EAGAIN && address.port === PATH) {
      this._locate(where, () => this.#untilRoom(call, connecting(address), limits, start));
    } else {
      throw systemError(started, 'connect', where);
    }
  }

  /** Calls `operation`, and says where it was directed to in the system's error that it throws. @internal */
  _locate<T>(where: ErrorAddress, operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      throw located(error, where);
    }
  }

  /**
   * Repeats what finds no room in a queue of another Unix-domain socket, which no event tells of.
   *
   * @param attempt - returns a count, or a negative code: `EAGAIN` or `TimedOut` if there is no room
   */
  #untilRoom(call: string, wait: Wait, limits: CheckedLimits, attempt: () => number): number {
    const left = countingDown(limits);
    const result = withinLimits(call, limits, () => {
      for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
        const code = this.closed ? errnoOf('EBADF') : attempt();
        if (code !== EAGAIN && code !== Outcome.TimedOut) return code;
        const { timeout } = left();
        if (timeout === 0) return Outcome.TimedOut;
        park(call, wait, timeout < 0 ? pause : Math.min(pause, timeout));
      }
    });
    if (result < 0) throw this._failure(result, call, limits);
    return result;
  }

  /**
   * Takes the next datagram, waiting for it. Switches only if it must wait, or has received many times without.
   *
   * @param size - bytes at the most (default: 64 KiB); what is longer is cut off
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   */
  recvFrom(size: number = DEFAULT_SIZE, limits?: Limits): Datagram {
    const call = 'recvFrom()';
    checkBytes(call, 'size', size, 0, Number.MAX_SAFE_INTEGER);
    const checked = this._limits(call, limits);
    const isLarge = size > DEFAULT_SIZE;
    const memory = isLarge ? Buffer.allocUnsafe(size) : null;
    const length = this._call(call, this._reading(), checked, (timeout) =>
      memory === null
        ? native.receiveFrom(this.#key, size, timeout)
        : native.receiveFromInto(this.#key, memory, 0, size, timeout),
    );
    const address = readAddress();
    const kept = Math.min(length, size);
    return { data: memory?.subarray(0, kept) ?? takeBytes(kept), address, truncated: length > size };
  }

  /**
   * Sends a datagram. Switches only if it must wait, or has sent many times without.
   *
   * @returns how many bytes were sent
   * @throws {SystemError} `EMSGSIZE`, `ECONNREFUSED`, …
   */
  sendTo(data: BytesLike, address: Address, limits?: Limits): number {
    const call = 'sendTo()';
    const view = viewOf(call, data);
    const parsed = withDefaultHost(parseAddress(call, address), this.#family);
    if (familyOf(parsed) === 0)
      throw new TypeError(`${call}: the host must be an IP address, got '${parsed.host}'`);
    const checked = this._limits(call, limits);
    const wait = this._writing();
    const send = (timeout: number): number =>
      native.sendTo(this.#key, view, 0, view.length, timeout, parsed.host, parsed.port);
    return this._locate(whereOf(parsed), () => {
      if (parsed.port !== PATH) return this._call(call, wait, checked, send);
      this._checkOpen(call);
      return this.#untilRoom(call, wait, checked, () => this._native(call, wait, 0, send));
    });
  }

  /**
   * Sends a file, or a part of it, which the system does without copying it. Where a descriptor stands in its file neither
   * matters nor changes. Switches only if it must wait, or for long files; the disk may keep the process waiting.
   *
   * @param file - a path, a descriptor, or an object with `fd`
   * @param options - `offset`, `count`, and limits for all of it
   * @returns how many bytes were sent: fewer than `count` at the end of the file
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first; as all system errors of this call it has `bytesSent`
   * @throws {SystemError} `ENOENT`, …; `EINVAL` if the system cannot send such a file
   */
  sendFile(file: FileSource, options?: SendFileOptions): number {
    const call = 'sendFile()';
    const given = checkOptions(call, options);
    const { offset = 0, count = Number.MAX_SAFE_INTEGER - offset } = given;
    checkBytes(call, 'offset', offset, 0, Number.MAX_SAFE_INTEGER);
    checkBytes(call, 'count', count, 0, Number.MAX_SAFE_INTEGER);
    const limits = this._limitsAmong(call, given);
    this._checkStream(call);
    requireGreenlet(call);
    this._checkOpen(call);
    const descriptor = openFile(call, file);
    try {
      const sent = withinLimits(call, limits, () =>
        this._native(call, this._writing(), limits.timeout, (timeout) =>
          native.sendFile(this.#key, descriptor, offset, count, timeout),
        ),
      );
      if (sent < 0) throw withBytesSent(this._failure(sent, call, limits));
      return sent;
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Sets an option by its name. Times are in ms. Never switches. gevent: `setsockopt`.
   *
   * @throws {TypeError} or {RangeError} for a name or value that there is not
   * @throws {SystemError} `ENOPROTOOPT`, … if the socket has no such option; `EBADF` if it is closed
   */
  setOption<Name extends SocketOptionName>(name: Name, value: SocketOptionValues[Name]): void;
  /** Sets an option as setsockopt(2) does: `value` is an `int`, or the bytes of something else. */
  setOption(level: number, name: number, value: number | Uint8Array): void;
  setOption(nameOrLevel: unknown, nameOrValue: unknown, value?: unknown): void {
    const call = 'setOption()';
    if (typeof nameOrLevel !== 'number') {
      const number = toNative(call, nameOrLevel, nameOrValue);
      this._checkOpen(call);
      this.#check(native.setOption(this.#key, nameOrLevel as string, number), 'setsockopt()');
      return;
    }
    const level = checkInt(call, 'level', nameOrLevel);
    const name = checkInt(call, 'name', nameOrValue);
    const bytes = value instanceof Uint8Array ? value : intBytes(checkInt(call, 'value', value));
    this._checkOpen(call);
    this.#check(native.setRawOption(this.#key, level, name, bytes), 'setsockopt()');
  }

  /**
   * Returns an option by its name, as {@link setOption} takes it. Never switches. gevent: `getsockopt`.
   *
   * @throws {SystemError} `ENOPROTOOPT`, … if the socket has no such option; `EBADF` if it is closed
   */
  getOption<Name extends SocketOptionName>(name: Name): SocketOptionValues[Name];
  /** Returns an `int`, as getsockopt(2) does. */
  getOption(level: number, name: number): number;
  /** Returns the bytes of something else, at most `length` of them. */
  getOption(level: number, name: number, length: number): Buffer;
  getOption(nameOrLevel: unknown, rawName?: unknown, length?: number): unknown {
    const call = 'getOption()';
    if (typeof nameOrLevel !== 'number') {
      checkOptionName(call, nameOrLevel);
      this._checkOpen(call);
      const value = native.getOption(this.#key, nameOrLevel);
      if (typeof value === 'number') throw systemError(value, 'getsockopt');
      return fromNative(nameOrLevel, value[0]);
    }
    const level = checkInt(call, 'level', nameOrLevel);
    const name = checkInt(call, 'name', rawName);
    const bytes = intBytes(0);
    const room =
      length === undefined ? bytes : Buffer.alloc(checkBytes(call, 'length', length, 1, MAX_OPTION));
    this._checkOpen(call);
    const count = native.getRawOption(this.#key, level, name, room);
    this.#check(count, 'getsockopt()');
    return length === undefined ? bytes.readInt32LE() : room.subarray(0, count);
  }

  /**
   * Joins a multicast group, whose datagrams come to this socket then. Never switches.
   *
   * @param group - its IP address
   * @param networkInterface - the name or an address of a network interface (default: the system's choice)
   * @throws {SystemError} `EADDRINUSE` if the socket is in the group already, …
   */
  joinGroup(group: string, networkInterface?: string): void {
    this.#setMembership('joinGroup()', group, networkInterface, true);
  }

  /**
   * Leaves a multicast group. Never switches.
   *
   * @throws {SystemError} `EADDRNOTAVAIL` if the socket is not in the group
   */
  leaveGroup(group: string, networkInterface?: string): void {
    this.#setMembership('leaveGroup()', group, networkInterface, false);
  }

  #setMembership(call: string, group: unknown, networkInterface: string | undefined, join: boolean): void {
    if (typeof group !== 'string' || isIP(group) !== this.#family || group.includes('%'))
      throw new TypeError(
        `${call}: group must be an IP address of the socket's family, got ${typeof group === 'string' ? `'${group}'` : describe(group)}`,
      );
    const index = networkInterface === undefined ? 0 : findInterface(call, networkInterface).index;
    this._checkOpen(call);
    this.#check(native.setMembership(this.#key, group, index, join), 'setsockopt()');
  }

  /**
   * Says by which network interface multicast datagrams leave. Never switches.
   *
   * @param networkInterface - its name or an address of it
   */
  setMulticastInterface(networkInterface: string): void {
    const call = 'setMulticastInterface()';
    const { index, address } = findInterface(call, networkInterface);
    if (this.#family === SocketFamily.V4 && address === '')
      throw new TypeError(`${call}: '${networkInterface}' has no IPv4 address`);
    this._checkOpen(call);
    this.#check(native.setMulticastInterface(this.#key, address, index), 'setsockopt()');
  }

  /**
   * Ends one or both directions: `'w'` sends the end of the stream. Never switches.
   *
   * @throws {SystemError} `ENOTCONN`, `EBADF`
   */
  shutdown(how: 'r' | 'w' | 'rw'): void {
    const code = { r: 1, w: 2, rw: 3 }[how] as 1 | 2 | 3 | undefined;
    if (code === undefined) throw new TypeError(`shutdown() expects 'r', 'w' or 'rw', got ${describe(how)}`);
    this._checkOpen('shutdown()');
    this.#check(native.shutdown(this.#key, code), 'shutdown()');
  }

  /**
   * Closes the socket. Greenlets that are parked on it get an `ECANCELED` error. Calling it again does nothing. Never
   * switches.
   */
  close(): void {
    const key = this.#key;
    if (key < 0) return;
    this.#key = -1;
    this.#file?.remove();
    native.close(key);
  }

  /**
   * Gives the descriptor away, non-blocking, without closing it: it is yours then, and this socket is closed. Greenlets that
   * are parked on it get an `ECANCELED` error. The file of a Unix-domain socket stays. Never switches.
   *
   * @throws {SystemError} `EBUSY` if there are bytes to be received that came with the socket, from Node or after the end of TLS
   */
  detach(): number {
    this._checkOpen('detach()');
    if (this._hasInput()) {
      const error = systemError(errnoOf('EBUSY'), 'detach');
      error.message += ': bytes that came with the socket would be lost: receive them first';
      throw error;
    }
    const descriptor = native.detach(this.#key);
    this.#check(descriptor, 'detach()');
    this.#key = -1;
    return descriptor;
  }

  /**
   * Turns a connection into a `net.Socket`; this socket is closed then, without the peer noticing. Never switches.
   *
   * @param options - `allowHalfOpen`: whether this end stays open when the peer has ended (default: no, as `node:net`)
   * @throws {TypeError} for datagrams
   * @throws {SystemError} `ENOTCONN`; `EBADF` if it is closed
   */
  toNodeSocket(options?: { allowHalfOpen?: boolean }): NodeSocket {
    const call = 'toNodeSocket()';
    const { allowHalfOpen = false } = checkOptions(call, options);
    checkFlag(call, 'allowHalfOpen', allowHalfOpen);
    this._checkOpen(call);
    if (this.#isDatagram)
      throw new TypeError(
        `${call}: a net.Socket has no datagrams: use dgram.createSocket('udp4').bind({ fd: socket.detach() })`,
      );
    this.#check(native.address(this.#key, true), 'getpeername()');
    const received = native.takeUnread(this.#key) as Buffer;
    return nodeSocketOf(this.detach(), received, allowHalfOpen);
  }

  /**
   * Turns a socket that listens into a `net.Server`; this socket is closed then, and no connection is lost. Never switches.
   *
   * @param options - those of `net.createServer`
   * @throws {TypeError} if it does not listen
   * @throws {SystemError} `EBADF` if it is closed
   */
  toNodeServer(options?: ServerOpts): NodeServer {
    const call = 'toNodeServer()';
    const given = checkOptions(call, options);
    this._checkOpen(call);
    if ((native.kind(this.#key) & Kind.Listening) === 0)
      throw new TypeError(`${call}: this socket does not listen`);
    return nodeServerOf(this.detach(), given);
  }

  override [inspect.custom](): string {
    if (this.closed) return '<Socket closed>';
    const { localAddress, remoteAddress } = this;
    const to = isKnown(remoteAddress) ? ` to ${show(remoteAddress)}` : '';
    return `<Socket ${this.type} at ${show(localAddress)}${to}>`;
  }
}

function isKnown({ address, port }: SocketAddress): boolean {
  return address !== '' || port !== 0;
}

export function checkBacklog(call: string, backlog: unknown): number {
  if (typeof backlog !== 'number' || !Number.isInteger(backlog))
    throw new TypeError(`${call}: backlog must be a whole number, got ${describe(backlog)}`);
  if (backlog < 0 || backlog > 0x7fff_ffff)
    throw new RangeError(`${call}: backlog must be from 0 to ${0x7fff_ffff}, got ${backlog}`);
  return backlog;
}

function withDefaultHost({ host, port }: ParsedAddress, family: SocketFamily): ParsedAddress {
  return { host: host === '' ? (family === SocketFamily.V6 ? '::1' : '127.0.0.1') : host, port };
}

/** An `int` as the system has it. */
function intBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Opens what is to be sent; whatever it is, it has to be closed. */
function openFile(call: string, file: unknown): number {
  if (typeof file === 'string' || file instanceof URL || Buffer.isBuffer(file)) {
    // A FIFO that nobody writes to must not keep the process waiting.
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  }
  const given = typeof file === 'object' && file !== null && 'fd' in file ? file.fd : file;
  if (typeof given !== 'number')
    throw new TypeError(`${call} expects a path, a descriptor or an object with fd, got ${describe(file)}`);
  // A copy: should the caller close it meanwhile, its number may stand for something else.
  const copy = native.duplicate(checkDescriptor(call, given));
  if (copy < 0) throw systemError(copy, 'dup');
  return copy;
}

/** The kind of socket that a descriptor is, which is not touched by that. */
function kindOfDescriptor(call: string, descriptor: number): number {
  const copy = native.watchCopy(descriptor);
  if (copy < 0) throw systemError(copy, call.slice(0, -2));
  const kind = native.kind(copy);
  native.close(copy);
  if (kind < 0) throw systemError(kind, call.slice(0, -2));
  return kind;
}

/** A system error, with the address that it is about. */
function located(error: unknown, where: ErrorAddress): unknown {
  const { errno, syscall, address } = error as Partial<SystemError>;
  if (typeof errno !== 'number' || syscall === undefined || address !== undefined) return error;
  if (errno === errnoOf('ECANCELED')) return error;
  return systemError(errno, syscall, where);
}

/** What a greenlet is parked on that connects. */
export function connecting(address: ParsedAddress): Wait {
  const { host, port } = address;
  return plainWait(`connect to ${port === PATH ? host.replace('\0', '@') : `${host}:${port}`}`);
}

/** Makes two connected Unix-domain sockets. Never switches. gevent: `socket.socketpair`. */
export function socketPair(options?: { type?: 'stream' | 'datagram' }): [Socket, Socket] {
  const { type = 'stream' } = checkOptions('socketPair()', options);
  const isDatagram = isDatagramType('socketPair()', type);
  const keys = native.openPair(isDatagram);
  if (typeof keys === 'number') throw systemError(keys, 'socketpair');
  const of = (key: number): Socket => Socket._of(new Opened(key, SocketFamily.Unix, isDatagram));
  return [of(keys[0]), of(keys[1])];
}
