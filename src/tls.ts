/** Encrypted connections whose calls park only the greenlet: `greenstack/tls`. */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

import { native } from './binding.js';
import { checkFlag, checkMilliseconds, checkOptions, describe } from './checks.js';
import { Connection, SocketWait } from './connection.js';
import { GreenstackError, named } from './errors.js';
import { type CheckedLimits, checkLimits, type LimitOptions, type Limits } from './limits.js';
import { type Address, parseAddress, PATH, type SocketAddress } from './socket-address.js';
import { type ConnectOptions, createConnection, Socket } from './socket.js';
import { createSecureContext, SecureContext, type SecureContextOptions } from './tls-context.js';
import { type CertificateError, type Cipher, TlsInfo } from './tls-info.js';
import { errnoOf, systemError } from './system-error.js';
import { now } from './timers.js';

export { type CertificateError, type Cipher, TlsInfo };
export { createSecureContext, SecureContext, type SecureContextOptions };
export { type Identity, SecureContextError, type TlsVersion } from './tls-context.js';

/**
 * A connection has ended without the peer having said that this was all: what was received may have been cut off by
 * somebody else. Python: `ssl.SSLEOFError`.
 */
export class TlsTruncationError extends GreenstackError {
  constructor(message: string) {
    super('ERR_GREENSTACK_TLS_TRUNCATED', message);
  }

  static {
    named(this, 'TlsTruncationError');
  }
}

/** A session cannot be unwrapped while there are bytes in it that nobody has received. */
export class TlsUnreadError extends GreenstackError {
  constructor() {
    super(
      'ERR_GREENSTACK_TLS_UNREAD',
      'unwrap(): the peer has sent bytes that were not received: receive to the end of the stream, then call it again',
    );
  }

  static {
    named(this, 'TlsUnreadError');
  }
}

/** Options of {@link wrapSocket}, limits of the handshake included, and those of {@link createSecureContext}. */
export interface TlsOptions extends SecureContextOptions, LimitOptions {
  /** Made by {@link createSecureContext}; instead of its options. What clients resume is kept there. */
  secureContext?: SecureContext;
  /** Whether this is the end of the server (default: no). */
  isServer?: boolean;
  /** For clients: the server to ask for and to expect, a DNS name or an IP address. */
  servername?: string;
  /** Whether the handshake is done at once (default: yes); else {@link TlsSocket.handshake} has to be called. */
  handshake?: boolean;
  /** How long a handshake may take that has no limits of its own, in ms (default: 120,000, as Node's servers). */
  handshakeTimeout?: number;
  /** Whether the end of a connection without the peer's word counts as the end of the stream (default: no). */
  suppressRaggedEofs?: boolean;
}

/** Options of {@link connect}, limits for everything together included. */
export interface TlsConnectOptions extends Omit<TlsOptions, 'isServer'>, ConnectOptions {}

/** How long a handshake may take, in ms, if nothing else is said. @internal */
export const DEFAULT_HANDSHAKE_TIMEOUT = 120_000;
const TRUNCATED = 'ERR_GREENSTACK_TLS_TRUNCATED';

interface Checked {
  context: SecureContext;
  isServer: boolean;
  servername: string;
  handshakeTimeout: number;
  suppressRaggedEofs: boolean;
}

/** The options of a socket, checked; the rest of them makes a context. */
function check(call: string, options: TlsOptions): Checked & { handshake: boolean } {
  const {
    secureContext,
    isServer = false,
    servername = '',
    handshake = true,
    handshakeTimeout = DEFAULT_HANDSHAKE_TIMEOUT,
    suppressRaggedEofs = false,
  } = options;
  for (const [name, value] of Object.entries({ isServer, handshake, suppressRaggedEofs }))
    checkFlag(call, name, value);
  if (typeof servername !== 'string')
    throw new TypeError(`${call}: servername must be a name or an IP address, got ${describe(servername)}`);
  const timeout = checkMilliseconds(`${call}: handshakeTimeout`, handshakeTimeout);
  const context = SecureContext._from(call, secureContext, options);
  if (isServer && !context._canServe) {
    throw new TypeError(`${call}: a server needs cert and key, or sni`);
  }
  if (!isServer && servername === '' && context._needsName) {
    throw new TypeError(
      `${call}: servername is needed to know whom to trust, unless rejectUnauthorized is false`,
    );
  }
  return { context, isServer, servername, handshake, handshakeTimeout: timeout, suppressRaggedEofs };
}

/** Throws unless `wrapSocket` would take the options. @internal */
export function checkTlsOptions(call: string, options: TlsOptions): void {
  check(call, options);
}

/** What a session has failed with. @internal */
export function tlsFailure(call: string, [code, message]: [string, string], info: TlsInfo): Error {
  if (code === TRUNCATED) return new TlsTruncationError(`${call}: ${message}`);
  if (code !== 'EPROTO' && code !== 'ECONNRESET') return info._certificateError(code, message);
  const error = systemError(errnoOf(code), call.slice(0, -2));
  error.message += `: ${message}`;
  return error;
}

/** An encrypted connection, with the verbs of {@link Socket}. gevent: `gevent.ssl.SSLSocket`. */
export class TlsSocket extends Connection {
  readonly #socket: Socket;
  /** Native code's name for the session; −1 once it is over. */
  #key: number;
  readonly #context: SecureContext;
  readonly #checked: Checked;
  #isEstablished = false;
  /** After `shutdown('r')`: then the end of the connection is of our making. */
  #hasStoppedReading = false;
  #identityError: Error | undefined;
  readonly #info: TlsInfo;

  /**
   * @param established - native code's name for a session that is on the socket already
   * @internal Use {@link wrapSocket} or {@link connect}.
   */
  constructor(call: string, socket: Socket, checked: Checked, established?: number) {
    super();
    const { context, isServer, servername } = checked;
    this.#context = context;
    this.#checked = checked;
    if (established !== undefined) {
      this.#socket = socket;
      this.#key = established;
      this.#isEstablished = true;
      this.#info = new TlsInfo(established);
      return;
    }
    const config = context._config(call, isServer);
    socket._checkOpen(call);
    const [key, taken] = native.tlsOpen(socket._key, config, servername);
    if (typeof key === 'string') throw new TypeError(`${call}: ${key} ${taken}`);
    this.#socket = socket._handOver(taken as number);
    this.#key = key;
    this.#info = new TlsInfo(key, servername);
    this.timeout = this.#socket.timeout;
  }

  get closed(): boolean {
    return this.#key < 0;
  }

  /** @internal */
  override get _key(): number {
    return this.#socket._key;
  }

  /** @internal */
  override get _isFramed(): boolean {
    return true;
  }

  /** @internal */
  override _hasInput(): boolean {
    return this.#isEstablished && native.tlsHasInput(this.#key);
  }

  /** This end. */
  get localAddress(): SocketAddress {
    return this.#socket.localAddress;
  }

  /** The other end. */
  get remoteAddress(): SocketAddress {
    return this.#socket.remoteAddress;
  }

  /** Whether its addresses are IPv4, IPv6 or paths. */
  get family(): 4 | 6 | 'unix' {
    return this.#socket.family;
  }

  /** Always a stream. */
  get type(): 'stream' {
    return 'stream';
  }

  /** The descriptor, which stays the socket's; −1 once it is closed. gevent: `fileno()`. */
  get fd(): number {
    return this.#socket.fd;
  }

  /** Whether this is the end of the server. */
  get isServer(): boolean {
    return this.#checked.isServer;
  }

  /**
   * Agrees with the peer on keys, and finds out who it is. Does nothing if that was done. Switches.
   *
   * @param limits - default: the option `handshakeTimeout`
   * @throws {CertificateError} if the peer is not trusted
   * @throws {SystemError} `EPROTO` if the peer refuses, or does not speak TLS; `ECONNRESET` if it hangs up
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   */
  handshake(limits?: Limits): void {
    this.#handshake(checkLimits('handshake()', limits ?? this.#checked.handshakeTimeout));
  }

  /** @internal */
  _begin(limits: CheckedLimits): void {
    const isFree = limits.timeout < 0 && limits.limit === null;
    const { handshakeTimeout } = this.#checked;
    try {
      this.#handshake(isFree ? { ...limits, timeout: handshakeTimeout } : limits);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #handshake(limits: CheckedLimits): void {
    if (this.#isEstablished) return;
    const call = 'handshake()';
    const { isServer, servername } = this.#checked;
    try {
      const wait = new SocketWait(this, 'TLS handshake with');
      this._call(call, wait, limits, (timeout) => native.tlsHandshake(this.#key, timeout));
    } finally {
      this.#context._deliverKeyLog(isServer);
    }
    if (!isServer && this.#context._checksIdentity) {
      this.#identityError = this.#context._checkIdentity(servername, this.peerCertificate as X509Certificate);
      if (this.#identityError !== undefined && this.#context._rejects) throw this.#identityError;
    }
    this.#isEstablished = true;
  }

  /** @internal */
  override _checkOpen(call: string): void {
    super._checkOpen(call);
    if (this.#isEstablished || call === 'handshake()') return;
    const error = systemError(errnoOf('ENOTCONN'), call.slice(0, -2));
    error.message += ': the handshake was not done: call handshake() first';
    throw error;
  }

  /** @internal */
  _receive(size: number, timeout: number): number {
    return this.#orRaggedEnd(native.tlsReceive(this.#key, size, timeout));
  }

  /** @internal */
  _receiveInto(view: Uint8Array, offset: number, length: number, timeout: number): number {
    return this.#orRaggedEnd(native.tlsReceiveInto(this.#key, view, offset, length, timeout));
  }

  #orRaggedEnd(count: number): number {
    const { suppressRaggedEofs } = this.#checked;
    if (count >= 0 || count !== errnoOf('EPROTO') || !(suppressRaggedEofs || this.#hasStoppedReading))
      return count;
    return native.tlsFailure(this.#key)?.[0] === TRUNCATED ? 0 : count;
  }

  /** @internal */
  _send(view: Uint8Array, timeout: number, all: boolean): number {
    return native.tlsSend(this.#key, view, 0, view.length, timeout, all);
  }

  /** @internal */
  override _error(code: number, call: string): Error {
    const failure = code === errnoOf('EPROTO') ? native.tlsFailure(this.#key) : undefined;
    return failure === undefined ? super._error(code, call) : tlsFailure(call, failure, this.#info);
  }

  /**
   * Ends one or both directions. `'w'` tells the peer that nothing follows; receiving goes on. Switches only if it must wait.
   *
   * @throws {SystemError} `ENOTCONN`, `EBADF`
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
   */
  shutdown(how: 'r' | 'w' | 'rw', limits?: Limits): void {
    const call = 'shutdown()';
    if (how !== 'r' && how !== 'w' && how !== 'rw')
      throw new TypeError(`${call} expects 'r', 'w' or 'rw', got ${describe(how)}`);
    const checked = this._limits(call, limits);
    this._checkOpen(call);
    if (how !== 'r') {
      const operation = (timeout: number): number => native.tlsShutdown(this.#key, timeout);
      this._call(call, this._writing(), checked, operation);
    }
    if (how === 'w') return;
    this.#hasStoppedReading = true;
    this.#socket.shutdown('r');
  }

  /**
   * Closes the connection, telling the peer so if that is possible without waiting. Greenlets that are parked on it get an
   * `ECANCELED` error. Calling it again does nothing. Never switches.
   */
  close(): void {
    const key = this.#key;
    if (key < 0) return;
    this.#key = -1;
    native.tlsClose(key);
    this.#socket.close();
  }

  /**
   * Ends the encryption and gives the plain connection back; this socket is closed then. Both ends tell one another that
   * nothing encrypted follows. Bytes that come behind that are the plain socket's. Switches only if it must wait.
   *
   * @throws {TlsUnreadError} if the peer has sent bytes that were not received
   * @throws {TlsTruncationError} if the peer has closed the connection
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first; it may be called again
   */
  unwrap(limits?: Limits): Socket {
    const call = 'unwrap()';
    const checked = this._limits(call, limits);
    const isUnread = this._call(call, this._reading(), checked, (timeout) =>
      native.tlsUnwrap(this.#key, timeout),
    );
    if (isUnread === 1) throw new TlsUnreadError();
    this.#key = -1;
    return this.#socket._handOver();
  }

  /** `'TLSv1.3'` or `'TLSv1.2'`; `null` before the handshake. gevent: `version()`. */
  get protocol(): string | null {
    return this.#info.protocol;
  }

  /** The cipher suite; `null` before the handshake. */
  get cipher(): Cipher | null {
    return this.#info.cipher;
  }

  /** The protocol of the application that both ends have chosen; `null` if there is none. gevent: `selected_alpn_protocol()`. */
  get alpnProtocol(): string | null {
    return this.#info.alpnProtocol;
  }

  /** The name that the client has asked for; `null` if there is none. */
  get serverName(): string | null {
    return this.#info.serverName;
  }

  /** Whether an earlier session was resumed. gevent: `session_reused`. */
  get sessionReused(): boolean {
    return this.#info.sessionReused;
  }

  /** Whether the peer has shown a certificate that is trusted. */
  get authorized(): boolean {
    return this.#isEstablished && this.#identityError === undefined && this.#info.authorized;
  }

  /** Why the peer is not trusted, where that is allowed by `rejectUnauthorized: false`; `null` if it is. */
  get authorizationError(): Error | null {
    return this.#info.authorizationError ?? this.#identityError ?? null;
  }

  /** What the peer has shown; `undefined` if it has not. gevent: `getpeercert()`. */
  get peerCertificate(): X509Certificate | undefined {
    return this.#info.peerCertificate;
  }

  /** The peer's certificate and those that it has sent with it. */
  get peerCertificateChain(): X509Certificate[] {
    return this.#info.peerCertificateChain;
  }
}

/** A connection with a session on which the handshake is done: of a server's. @internal */
export function establishedSocket(socket: Socket, session: number, context: SecureContext): TlsSocket {
  const checked = {
    context,
    isServer: true,
    servername: '',
    handshakeTimeout: DEFAULT_HANDSHAKE_TIMEOUT,
    suppressRaggedEofs: false,
  };
  return new TlsSocket('upgrade()', socket, checked, session);
}

/**
 * Encrypts a connection: takes a socket over, which is closed as such then, and does the handshake. If that fails, the
 * connection is closed. Switches. gevent: `ssl.wrap_socket`.
 *
 * @param socket - a connected stream
 * @param options - `secureContext` or its options, `isServer`, `servername`, limits of the handshake, …
 * @throws as {@link TlsSocket.handshake}
 */
export function wrapSocket(socket: Socket, options?: TlsOptions): TlsSocket {
  const call = 'wrapSocket()';
  if (!(socket instanceof Socket)) throw new TypeError(`${call} expects a Socket, got ${describe(socket)}`);
  if (socket.type !== 'stream')
    throw new TypeError(`${call} expects a socket with a stream, got one with datagrams`);
  const given = checkOptions(call, options);
  const limits = checkLimits(call, given);
  const { handshake, ...checked } = check(call, given);
  const encrypted = new TlsSocket(call, socket, checked);
  if (handshake) encrypted._begin(limits);
  return encrypted;
}

/**
 * Connects to a server, as `createConnection` does, and does the handshake. The host is the name that is expected in the
 * certificate, unless `servername` is given. Switches.
 *
 * @param address - `{ host, port }`, `'host:port'`, …
 * @param options - limits for everything together, and the options of {@link wrapSocket} and `createConnection`
 * @throws as `createConnection` and {@link TlsSocket.handshake}
 */
export function connect(address: Address, options?: TlsConnectOptions): TlsSocket {
  const call = 'connect()';
  const { host, port } = parseAddress(call, address);
  const given = checkOptions(call, options);
  const limits = checkLimits(call, given);
  const name = port === PATH ? '' : host === '' ? 'localhost' : host;
  // A zone is not part of the name of a host.
  const servername = given.servername ?? (isIP(name) === 6 ? (name.split('%')[0] as string) : name);
  const { handshake, ...checked } = check(call, { ...given, servername, isServer: false });
  const deadline = limits.timeout < 0 ? Infinity : now() + limits.timeout;
  const socket = createConnection(address, given);
  const timeout = limits.timeout <= 0 ? limits.timeout : Math.max(0, deadline - now());
  const encrypted = new TlsSocket(call, socket, checked);
  if (handshake) encrypted._begin({ ...limits, timeout });
  return encrypted;
}
