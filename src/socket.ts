/** Sockets whose calls park only the greenlet, TCP, UDP and Unix-domain: `greenstack/socket`. */
import { inspect } from 'node:util';
import { isIP } from 'node:net';

import { native, Outcome, SocketFamily } from './binding.js';
import { checkFlag, checkOptions, describe } from './checks.js';
import {
  type BytesLike,
  checkBytes,
  Connection,
  DEFAULT_SIZE,
  type RecvIntoOptions,
  type SocketTimeout,
  takeBytes,
  viewOf,
} from './connection.js';
import { getDefaultResolver, type LookupAddress, Resolver } from './dns.js';
import { plainWait, requireGreenlet, type Wait } from './hub.js';
import { type CheckedLimits, checkLimits, type LimitOptions, type Limits, withinLimits } from './limits.js';
import {
  type Address,
  checkPort,
  familyOf,
  parseAddress,
  type ParsedAddress,
  PATH,
  readAddress,
  show,
  type SocketAddress,
} from './socket-address.js';
import { errnoOf, type ErrorAddress, type SystemError, systemError } from './system-error.js';
import { now } from './timers.js';

export type { Address, BytesLike, RecvIntoOptions, SocketAddress, SocketTimeout };
export { Connection };

/** Options of `new Socket()`. */
export interface SocketOptions {
  /** Its addresses: 4 (default) for IPv4, 6 for IPv6, `'unix'` for paths. */
  family?: 4 | 6 | 'unix';
  /** A stream of bytes (default), or datagrams. */
  type?: 'stream' | 'datagram';
}

/** Options of {@link createConnection}, limits included. They hold for name, connection and all attempts together. */
export interface ConnectOptions extends LimitOptions {
  /** Where to connect from. */
  localAddress?: { host: string; port?: number };
  /** Who resolves the name (default: the default resolver). */
  resolver?: Resolver;
  /** Only addresses of this family; 0 (default): of both. */
  family?: 0 | 4 | 6;
  /** Send small pieces at once instead of waiting for the acknowledgement of earlier ones (default: no, as `node:net`). */
  noDelay?: boolean;
}

/** Options of {@link createServer}. */
export interface ListenOptions {
  /** How many connections may wait to be accepted (default: 511, as Node). */
  backlog?: number;
  /** Listen on an address whose earlier connections have not all ended yet (default: yes, as Node). */
  reuseAddr?: boolean;
  /** Share the address with other sockets that have this set: the system spreads connections over them (default: no). */
  reusePort?: boolean;
  /** For IPv6: take no IPv4 connections (default: take both). */
  ipv6Only?: boolean;
}

/** What {@link Socket.recvFrom} gives. */
export interface Datagram {
  data: Buffer;
  /** Who has sent it; `undefined` for unnamed Unix-domain sockets. */
  address: SocketAddress | undefined;
  /** Whether it was longer than the size given; the rest is lost. */
  truncated: boolean;
}

/** How many connections wait to be accepted where it is not told, as Node has it. */
const DEFAULT_BACKLOG = 511;

const LOOPBACK = 'localhost';

/** What holds a key that native code has just made. */
class Opened {
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
  return openSocket(nativeFamily(family), isDatagramType('new Socket()', type));
}

function isDatagramType(call: string, type: unknown): boolean {
  if (type !== 'stream' && type !== 'datagram')
    throw new TypeError(`${call}: type must be 'stream' or 'datagram', got ${describe(type)}`);
  return type === 'datagram';
}

function openSocket(family: SocketFamily, isDatagram: boolean): Opened {
  const key = native.open(family, isDatagram);
  if (key < 0) throw systemError(key, 'socket');
  return new Opened(key, family, isDatagram);
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

  /** Native code's name for it. @internal */
  get _key(): number {
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
    const key = native.accept(this.#key, 0);
    return key < 0 ? key : Socket._of(new Opened(key, this.#family, false));
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
    const where = whereOf(address);
    requireGreenlet('connect()');
    const started = native.startConnect(this.#key, address.host, address.port);
    if (started === 0) return;
    if (started !== Outcome.Pending) throw systemError(started, 'connect', where);
    const wait = connecting(address);
    try {
      this._call('connect()', wait, limits, (timeout) => native.finishConnect(this.#key, timeout));
    } catch (error) {
      throw located(error, where);
    }
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
    try {
      return this._call(call, this._writing(), checked, (timeout) =>
        native.sendTo(this.#key, view, 0, view.length, timeout, parsed.host, parsed.port),
      );
    } catch (error) {
      throw located(error, whereOf(parsed));
    }
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
    native.close(key);
  }

  /**
   * Gives the descriptor away, non-blocking, without closing it: it is yours then, and this socket is closed. Greenlets that
   * are parked on it get an `ECANCELED` error. Never switches.
   */
  detach(): number {
    this._checkOpen('detach()');
    const key = this.#key;
    this.#key = -1;
    const descriptor = native.detach(key);
    this.#check(descriptor, 'detach()');
    return descriptor;
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

function checkBacklog(call: string, backlog: unknown): number {
  if (typeof backlog !== 'number' || !Number.isInteger(backlog))
    throw new TypeError(`${call}: backlog must be a whole number, got ${describe(backlog)}`);
  if (backlog < 0 || backlog > 0x7fff_ffff)
    throw new RangeError(`${call}: backlog must be from 0 to ${0x7fff_ffff}, got ${backlog}`);
  return backlog;
}

function whereOf({ host, port }: { host: string; port: number }): ErrorAddress {
  return port === PATH ? { address: host } : { address: host, port };
}

function withDefaultHost({ host, port }: ParsedAddress, family: SocketFamily): ParsedAddress {
  return { host: host === '' ? (family === SocketFamily.V6 ? '::1' : '127.0.0.1') : host, port };
}

/** A system error, with the address that it is about. */
function located(error: unknown, where: ErrorAddress): unknown {
  const { errno, syscall, address } = error as Partial<SystemError>;
  if (typeof errno !== 'number' || syscall === undefined || address !== undefined) return error;
  return systemError(errno, syscall, where);
}

function connecting(address: ParsedAddress): Wait {
  const { host, port } = address;
  return plainWait(`connect to ${port === PATH ? host.replace('\0', '@') : `${host}:${port}`}`);
}

/**
 * Connects to a TCP server: resolves the name, then tries its addresses in order; or to a Unix-domain socket. Switches. gevent:
 * `socket.create_connection`.
 *
 * @param address - a port of this host, `{ host, port }`, `'host:port'`, `{ path }` or `'unix:/path'`
 * @param options - limits for everything together, `localAddress`, `resolver`, `family`, `noDelay`
 * @throws {SystemError} `ECONNREFUSED`, …: the error of the last address, or an `AggregateError` of all if there were several
 * @throws {DnsError} if the name cannot be resolved
 * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
 */
export function createConnection(address: Address, options?: ConnectOptions): Socket {
  const call = 'createConnection()';
  const parsed = parseAddress(call, address);
  const given = checkOptions(call, options);
  const limits = checkLimits(call, given);
  const { localAddress, resolver = getDefaultResolver(), family = 0, noDelay = false } = given;
  if (!(resolver instanceof Resolver))
    throw new TypeError(`${call}: resolver must be a Resolver, got ${describe(resolver)}`);
  checkFlag(call, 'noDelay', noDelay);
  const local = localAddress === undefined ? null : checkLocal(call, localAddress);
  requireGreenlet(call);
  const deadline = limits.timeout < 0 ? Infinity : now() + limits.timeout;
  const left = (): number => (limits.timeout <= 0 ? limits.timeout : Math.max(0, deadline - now()));
  return withinLimits(call, limits, () => {
    if (parsed.port === PATH) return attempt(parsed, SocketFamily.Unix, null, false, left);
    const host = parsed.host === '' ? LOOPBACK : parsed.host;
    const addresses = resolve(resolver, host, parsed.port, family, limits, left);
    const errors: Error[] = [];
    for (const remote of addresses) {
      try {
        return attempt({ host: remote.address, port: parsed.port }, remote.family, local, noDelay, left);
      } catch (error) {
        if (typeof (error as SystemError).errno !== 'number') throw error;
        if ((error as SystemError).code === 'ETIMEDOUT' && left() === 0)
          throw limits.limit?.thrown() ?? error;
        errors.push(error as SystemError);
      }
    }
    if (errors.length === 1) throw errors[0] as Error;
    const codes = new Set(errors.map((error) => (error as SystemError).code));
    const failure = new AggregateError(errors, errors.map(({ message }) => message).join('; '));
    throw Object.assign(failure, codes.size === 1 ? { code: [...codes][0] } : {});
  });
}

/** Connects to one address; nothing is left open if that fails. */
function attempt(
  remote: ParsedAddress,
  family: 4 | 6 | SocketFamily,
  local: ParsedAddress | null,
  noDelay: boolean,
  left: () => number,
): Socket {
  const socket = Socket._of(openSocket(family, false));
  try {
    if (local !== null) socket.bind(local);
    const timeout = left();
    socket._connect(remote, { timeout, limit: null, signal: null });
    if (noDelay) native.setOption(socket._key, 'noDelay', 1);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
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

function checkLocal(call: string, local: unknown): ParsedAddress {
  if (typeof local !== 'object' || local === null)
    throw new TypeError(`${call}: localAddress must be { host, port? }, got ${describe(local)}`);
  const { host, port = 0 } = local as { host?: unknown; port?: unknown };
  if (typeof host !== 'string' || isIP(host) === 0)
    throw new TypeError(`${call}: localAddress.host must be an IP address, got ${describe(host)}`);
  return { host, port: checkPort(call, port) };
}

/**
 * Makes a socket that listens. Without a host it takes IPv6 and IPv4 connections to all addresses of this host. Switches only
 * if the host is a name. gevent: `socket.create_server`.
 *
 * @param address - `{ host, port }`, `'host:port'`, a port, `{ path }`; port 0: one that is free
 * @throws {SystemError} `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, …
 */
export function createServer(address: Address, options?: ListenOptions): Socket {
  const call = 'createServer()';
  const parsed = parseAddress(call, address);
  const given = checkOptions(call, options);
  const { backlog = DEFAULT_BACKLOG, reuseAddr = true, reusePort = false, ipv6Only = false } = given;
  checkBacklog(call, backlog);
  for (const [name, value] of Object.entries({ reuseAddr, reusePort, ipv6Only }))
    checkFlag(call, name, value);
  const bound = addressToBind(parsed);
  try {
    return listenOn(bound, { backlog, reuseAddr, reusePort, ipv6Only });
  } catch (error) {
    // No IPv6 here.
    if (parsed.host !== '' || (error as SystemError).code !== 'EAFNOSUPPORT') throw error;
    return listenOn({ host: '0.0.0.0', port: parsed.port }, { backlog, reuseAddr, reusePort, ipv6Only });
  }
}

function addressToBind({ host, port }: ParsedAddress): ParsedAddress {
  if (host === '') return { host: '::', port };
  if (familyOf({ host, port }) !== 0) return { host, port };
  return { host: getDefaultResolver().lookup(host).address, port };
}

function listenOn(address: ParsedAddress, options: Required<ListenOptions>): Socket {
  const family = familyOf(address) as SocketFamily;
  const socket = Socket._of(openSocket(family, false));
  const set = (name: string, value: boolean): void => {
    const result = native.setOption(socket._key, name, Number(value));
    if (result < 0) throw systemError(result, 'setsockopt', whereOf(address));
  };
  try {
    if (family !== SocketFamily.Unix && options.reuseAddr) set('reuseAddr', true);
    if (options.reusePort) set('reusePort', true);
    if (family === SocketFamily.V6) set('ipv6Only', options.ipv6Only);
    const bound = native.bind(socket._key, address.host, address.port);
    if (bound < 0) throw systemError(bound, 'bind', whereOf(address));
    const listening = native.listen(socket._key, options.backlog);
    if (listening < 0) throw systemError(listening, 'listen', whereOf(address));
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
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
