/** What Node-style listeners take for the socket of a request: it carries one request and its response. */
import type { X509Certificate } from 'node:crypto';
import { EventEmitter } from 'node:events';

import { HTTP_TEXT, HttpFlag, native } from '../binding.js';
import { checkMilliseconds } from '../checks.js';
import { spawn } from '../greenlet.js';
import { currentRunnable, getHub, isParkable, park, type Runnable, type Wait, wake } from '../hub.js';
import { GreenletExit, GreenstackError, named } from '../errors.js';
import type { Cipher } from '../tls-info.js';
import { ClientWatch } from './client-watch.js';
import type { HttpRequest } from './request.js';
import type { NodeRequest, NodeResponse } from './node-message.js';

/** Thrown by what a listener asks of its connection and `HttpServer` has no way to do. */
export class HttpUnsupportedError extends GreenstackError {
  constructor(what: string, instead: string) {
    super('ERR_GREENSTACK_HTTP_UNSUPPORTED', `${what} is not supported here: ${instead}`);
  }

  static {
    named(this, 'HttpUnsupportedError');
  }
}

/** What Node's `end()` sets in the state of a socket. Nothing here reads it. */
const WRITABLE_STATE = { corked: 0 };

const HIGH_WATER_MARK = 16_384;

/** The most that is kept of a response to be sent with what follows in the same turn, in bytes. */
const CORKED = 16_384;

/** The error of a request whose client has gone, as Node has it. */
function aborted(): Error {
  return Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
}

/** A greenlet that waits until a response has ended. */
class EndWait implements Wait {
  constructor(
    readonly greenlet: Runnable,
    private readonly connection: NodeConnection,
  ) {}

  cancel(): void {
    this.connection._waiting = null;
  }

  describe(): string {
    const { method, url } = this.connection._request;
    return `the response to ${method} ${url}`;
  }
}

/** Requests whose listeners have been called and have not returned, such that nobody watches their clients yet. */
const unwatched: NodeConnection[] = [];
let watchIsDue = false;

function watchAll(): void {
  watchIsDue = false;
  for (const connection of unwatched.splice(0)) connection._watchClient();
}

/**
 * The `socket` of a request. It tells about the connection, can destroy it, and has timeouts. Bytes go through the request and
 * the response.
 */
export class NodeConnection extends EventEmitter {
  readonly readable = true;
  readonly writableHighWaterMark = HIGH_WATER_MARK;
  readonly readableHighWaterMark = HIGH_WATER_MARK;
  readonly writableCorked = 0;
  readonly connecting = false;
  writable = true;
  destroyed = false;
  timeout = 0;
  /** Bytes that the client has not taken yet. */
  writableLength = 0;
  /** @internal */
  readonly _writableState = WRITABLE_STATE;
  /** Whether it was closed in the middle, by which Node knows not to emit `finish`. @internal */
  _hadError = false;
  /** @internal */
  readonly _request: HttpRequest;
  /** @internal */
  _httpMessage: NodeResponse | null = null;
  /** @internal */
  _incoming: NodeRequest | null = null;
  /** Who waits for the end of the response. @internal */
  _waiting: EndWait | null = null;
  /** Whether the response is over, or never will be. @internal */
  _isOver = false;
  /** Whether `finish` and `close` are still to be emitted. @internal */
  _owesEvents = false;
  #watch: ClientWatch | null = null;
  #begun = false;
  #isFlushing = false;
  /** Pieces of the body that have not been given to native code. */
  #pieces: Array<string | Uint8Array> = [];
  #size = 0;
  #corked = false;
  #ended = false;
  #callbacks: Array<(error?: Error | null) => void> = [];
  #timer: NodeJS.Timeout | null = null;
  #failure: { error: unknown } | null = null;

  constructor(request: HttpRequest) {
    super();
    this._request = request;
  }

  // ---- what it tells

  get remoteAddress(): string | undefined {
    return this._request.remoteAddress.address || undefined;
  }

  get remotePort(): number | undefined {
    return this._request.remoteAddress.port;
  }

  get remoteFamily(): string | undefined {
    return familyName(this._request.remoteAddress.family);
  }

  get localAddress(): string | undefined {
    return this._request._host.localAddress.address;
  }

  get localPort(): number | undefined {
    return this._request._host.localAddress.port;
  }

  get localFamily(): string | undefined {
    return familyName(this._request._host.localAddress.family);
  }

  /** Whether the connection is encrypted. */
  get encrypted(): boolean {
    return this._request.scheme === 'https';
  }

  get authorized(): boolean {
    return this._request.tls?.authorized ?? false;
  }

  get authorizationError(): Error | null {
    return this._request.tls?.authorizationError ?? null;
  }

  get alpnProtocol(): string | false {
    return this._request.tls?.alpnProtocol ?? false;
  }

  get servername(): string | false {
    return this._request.tls?.serverName ?? false;
  }

  getProtocol(): string | null {
    return this._request.tls?.protocol ?? null;
  }

  getCipher(): Cipher | undefined {
    return this._request.tls?.cipher ?? undefined;
  }

  isSessionReused(): boolean {
    return this._request.tls?.sessionReused ?? false;
  }

  /** The client's certificate as Node's sockets have it; an empty object if it has shown none. */
  getPeerCertificate(): object {
    return this._request.peerCertificate?.toLegacyObject() ?? {};
  }

  getPeerX509Certificate(): X509Certificate | undefined {
    return this._request.peerCertificate;
  }

  get readyState(): string {
    return this.destroyed ? 'closed' : 'open';
  }

  address(): { address?: string; port?: number; family?: string } {
    const { localAddress, localPort, localFamily } = this;
    return { address: localAddress, port: localPort, family: localFamily } as ReturnType<this['address']>;
  }

  // ---- what is the server's here

  cork(): void {}

  uncork(): void {}

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  pause(): this {
    return this;
  }

  resume(): this {
    return this;
  }

  /** The server has this on for all connections. */
  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  write(): never {
    throw new HttpUnsupportedError(
      'socket.write()',
      'write to the response, or take the connection by onUpgrade',
    );
  }

  /** Closes the connection, whatever was sent. */
  end(): this {
    return this.destroy();
  }

  destroySoon(): void {
    this.destroy();
  }

  /** Closes the connection. */
  destroy(error?: Error | null): this {
    if (!this.destroyed) this._abort(error ?? undefined);
    return this;
  }

  /** As `net.Socket`: if nobody listens to `timeout`, the connection is closed. */
  setTimeout(ms: number, callback?: () => void): this {
    this.timeout = checkMilliseconds('setTimeout()', ms);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (callback !== undefined) {
      if (ms > 0) this.once('timeout', callback);
      else this.off('timeout', callback);
    }
    if (ms > 0 && !this._isOver) this.#timer = setTimeout(() => this.#timeIsUp(), ms).unref();
    return this;
  }

  #timeIsUp(): void {
    const [request, response] = [this._incoming, this._httpMessage];
    const heard = [request?.emit('timeout', this), response?.emit('timeout', this), this.emit('timeout')];
    if (!heard.includes(true)) this.destroy();
  }

  // ---- the client

  /** The listener is called: from now on it may take long. @internal */
  _begin(): void {
    unwatched.push(this);
    if (watchIsDue) return;
    watchIsDue = true;
    getHub().runCallback(watchAll);
  }

  /** The listener has returned, or failed. @internal */
  _leave(): void {
    if (unwatched.at(-1) === this) unwatched.pop();
  }

  /** Lets the listener know when the client goes. @internal */
  _watchClient(): void {
    // Who reads finds out.
    if (this._isOver || this._incoming?._isReading === true) return;
    this.#watch ??= new ClientWatch(this._request, () => this._abort());
    this.#watch.start();
  }

  /** Watches no more: somebody reads or the request is over. @internal */
  _unwatchClient(): void {
    this.#watch?.stop();
  }

  /** Closes the connection in the middle, and tells everybody. @internal */
  _abort(error?: Error): void {
    if (this._isOver) return;
    const { _request } = this;
    this.#watch?.stop();
    native.httpAbort(_request._key);
    _request._key = 0;
    _request._answered = true;
    _request._lost = true;
    this.#end();
    this.destroyed = true;
    this.writable = false;
    this._hadError = true;
    process.nextTick(emitAborted, this, error);
    for (const callback of this.#callbacks.splice(0)) process.nextTick(callback, error ?? aborted());
  }

  #end(): void {
    this._isOver = true;
    this.#pieces = [];
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#wake();
  }

  #wake(): void {
    const waiting = this._waiting;
    this._waiting = null;
    if (waiting !== null) wake(waiting.greenlet, waiting);
  }

  // ---- the response

  /** Sends an interim response. @internal */
  _writeInterim(status: number, reason: string, fields: string): void {
    if (this._isOver) return;
    const code = native.httpInterim(this._request._key, status, reason, fields);
    if (code < 0) this.#lose(code);
  }

  /** Takes a piece of the body. `false`: the client does not take it as fast. @internal */
  _take(piece: string | Uint8Array, callback?: ((error?: Error | null) => void) | null): boolean {
    if (this._isOver) {
      if (callback) process.nextTick(callback, aborted());
      return false;
    }
    if (callback) this.#callbacks.push(callback);
    if (piece.length > 0) {
      this.#pieces.push(piece);
      this.#size += piece.length;
    }
    if (this.#size > CORKED) return this.#uncork();
    if (!this.#corked) {
      this.#corked = true;
      process.nextTick(() => this.#corked && this.#uncork());
    }
    return !this.#isFlushing;
  }

  /** Sends what there is, the head first. */
  #uncork(): boolean {
    this.#corked = false;
    if (this._isOver || this.#ended) return true;
    const whole = joined(this.#pieces);
    this.#pieces = [];
    this.#size = 0;
    const request = this._request;
    if (!this.#begun) this.#beginStream();
    this._unwatchClient();
    request._sent += whole.length;
    const code = native.httpWrite(request._key, whole);
    if (code < 0) return this.#lose(code);
    if (code === 1) {
      this.#runCallbacks();
      this._watchClient();
      return true;
    }
    this.writableLength += whole.length;
    return this.#flush();
  }

  #beginStream(): void {
    this.#begun = true;
    const response = this._httpMessage as NodeResponse;
    const request = this._request;
    request._answered = true;
    const { _flags, _fields, _length, statusCode, _reason } = response;
    this.#note(statusCode, 0);
    const begun = native.httpBegin(request._key, statusCode, _flags, _fields, _length, _reason);
    if (begun < 0) request._fail(begun);
  }

  /** For the access log, which is written when it is over. */
  #note(status: number, size: number): void {
    const request = this._request;
    request._status = status;
    request._sent = size;
    // Not known any more then.
    if (request._began !== 0) void request.remoteAddress;
  }

  /** The client does not take it as fast: waits, or lets a greenlet wait. `true`: all is sent. */
  #flush(): boolean {
    if (this.#isFlushing) return false;
    this.#isFlushing = true;
    if (currentRunnable() !== null && isParkable()) {
      this.#flushNow();
      return true;
    }
    spawn(() => this.#flushNow());
    return false;
  }

  #flushNow(): void {
    try {
      this._request._flush();
    } catch (error) {
      this.#isFlushing = false;
      // A kill of this greenlet, or a timeout of its own; else the client.
      this._abort(GreenletExit.is(error) ? undefined : (error as Error));
      if (!this._request._lost || GreenletExit.is(error)) throw error;
      return;
    }
    this.#isFlushing = false;
    if (this._isOver) return;
    this.writableLength = 0;
    this.#runCallbacks();
    if (this.#ended) this.#finish();
    else {
      this._watchClient();
      this._httpMessage?._drain();
    }
  }

  #lose(code: number): boolean {
    try {
      this._request._fail(code);
    } catch (error) {
      const isMisuse = !this._request._lost;
      this._abort(error as Error);
      if (isMisuse) throw error;
    }
    return false;
  }

  #runCallbacks(): void {
    if (this.#callbacks.length === 0) return;
    for (const callback of this.#callbacks.splice(0)) process.nextTick(callback);
  }

  /** The response is complete: sends what has not been sent. @internal */
  _complete(trailers: string): void {
    if (this._isOver || this.#ended) return;
    const pieces = this.#pieces;
    if (this.#begun || trailers !== '') {
      this.#completeStream(trailers);
      return;
    }
    this._respond(pieces.length === 0 ? '' : pieces.length === 1 ? (pieces[0] as string) : joined(pieces));
  }

  #completeStream(trailers: string): void {
    this._unwatchClient();
    if (!this.#begun) this.#beginStream();
    if (this.#pieces.length > 0) {
      const whole = joined(this.#pieces);
      this.#pieces = [];
      this._request._sent += whole.length;
      const written = native.httpWrite(this._request._key, whole);
      if (written < 0) {
        this.#lose(written);
        return;
      }
    }
    this.#settle(native.httpEnd(this._request._key, trailers));
  }

  /** Sends head and body at once. @internal */
  _respond(body: string | Uint8Array): void {
    const response = this._httpMessage as NodeResponse;
    const request = this._request;
    this._unwatchClient();
    if (!response._hasBody && response.statusCode !== 204 && response.statusCode !== 304) {
      this.#completeStream('');
      return;
    }
    // Whoever logs it when it is over wants to know, and then it is too late.
    if (response._isHeard()) void request.remoteAddress;
    const isText = typeof body === 'string' && body.length <= HTTP_TEXT;
    const bytes = isText || typeof body !== 'string' ? body : Buffer.from(body);
    const flags = response._flags | (isText ? HttpFlag.BodyIsText : HttpFlag.BodyIsBytes);
    const { statusCode, _fields, _reason } = response;
    request._answered = true;
    this.#note(statusCode, bytes.length);
    this.#settle(native.httpRespond(request._key, statusCode, flags, _fields, bytes, bytes.length, _reason));
  }

  #settle(code: number): void {
    this.#ended = true;
    if (code < 0) this.#lose(code);
    else if (code === 1) this.#finish();
    else this.#flush();
  }

  /** All is sent. */
  #finish(): void {
    this._request._key = 0;
    this.#runCallbacks();
    this.#end();
    if ((this._httpMessage as NodeResponse)._isHeard()) this._emitEnd();
    else this._owesEvents = true;
  }

  /** Emits what tells of the end, in the hub. @internal */
  _emitEnd(): void {
    this._owesEvents = false;
    process.nextTick(emitEnd, this);
  }

  /** The listener has failed, after it has returned a promise. @internal */
  _fail(error: unknown): void {
    // As everywhere, if the response does not depend on it.
    if (this._isOver) throw error;
    this.#failure = { error };
    this.#wake();
  }

  /** Waits until the response is over. @internal */
  _awaitEnd(): void {
    this._watchClient();
    while (!this._isOver) {
      this._waiting = new EndWait(currentRunnable() as Runnable, this);
      park('nodeListener()', this._waiting);
      if (this.#failure !== null) throw this.#failure.error;
    }
  }

  /** Closes the connection because the listener has failed: that is to be reported, unless the client had gone. @internal */
  _cut(): void {
    const { _lost } = this._request;
    this._abort();
    this._request._lost = _lost;
  }

  /** The server answers in place of the listener. @internal */
  _giveUp(): void {
    this.#watch?.stop();
    this.#end();
    this.destroyed = true;
    this.writable = false;
    process.nextTick(emitClosed, this);
  }
}

function emitAborted(connection: NodeConnection, error?: Error): void {
  const { _incoming: request } = connection;
  if (request !== null && !request.destroyed) request.destroy(aborted());
  if (error !== undefined && connection.listenerCount('error') > 0) connection.emit('error', error);
  connection._httpMessage?._emitClose(error ?? aborted());
  connection.emit('close', error !== undefined);
}

function emitClosed(connection: NodeConnection): void {
  connection._httpMessage?._emitClose();
  connection.emit('close', false);
}

function emitEnd(connection: NodeConnection): void {
  const [request, response] = [connection._incoming, connection._httpMessage];
  response?._emitFinish();
  if (request !== null && !request.destroyed) request._dump();
  response?._emitClose();
}

function familyName(family: 4 | 6 | 'unix'): string | undefined {
  return family === 'unix' ? undefined : `IPv${family}`;
}

function bytesOf(piece: string | Uint8Array): Uint8Array {
  return typeof piece === 'string' ? Buffer.from(piece) : piece;
}

function joined(pieces: ReadonlyArray<string | Uint8Array>): Uint8Array {
  return pieces.length === 1 ? bytesOf(pieces[0] as string | Uint8Array) : Buffer.concat(pieces.map(bytesOf));
}
