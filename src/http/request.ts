/** A request: its head, its body, and the connection that it came on. */
import type { X509Certificate } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { inspect } from 'node:util';

import { HttpFact, HttpOutcome, HttpWord, native, Outcome } from '../binding.js';
import { checkBytes, DEFAULT_SIZE, takeBytes } from '../bytes.js';
import { checkOptions, describe } from '../checks.js';
import { Endpoint } from '../connection.js';
import { checkLimits, type CheckedLimits, FOR_EVER, type LimitOptions, type Limits } from '../limits.js';
import { readAddress, type SocketAddress } from '../socket-address.js';
import { type Socket, socketOf } from '../socket/socket.js';
import { systemError } from '../system-error.js';
import { moduleOfTls } from '../server-tls.js';
import type { SecureContext, TlsSocket } from '../tls.js';
import { TlsInfo } from '../tls-info.js';
import type { ClientWatch } from './client-watch.js';
import { type Environ, environOf } from './environ.js';
import { HttpError } from './error.js';
import { type HeadersInit, HttpHeaders } from './headers.js';

/** What a request needs to know of its server. */
export interface RequestHost {
  readonly family: 4 | 6 | 'unix';
  readonly localAddress: SocketAddress;
  readonly bodyTimeout: number;
  readonly writeTimeout: number;
  readonly maxBodySize: number;
  readonly environ: Readonly<Record<string, unknown>>;
  /** By what connections are encrypted. */
  readonly tls: SecureContext | null;
}

/** Options of {@link HttpRequest.text} and its like, limits included. */
export interface ReadBodyOptions extends LimitOptions {
  /** Bytes at the most (default: what the server allows); more is a 413. */
  maxSize?: number;
}

/** What {@link HttpRequest.upgrade} gives. */
export interface Upgraded {
  /** The connection, which is yours now, to be closed as well. */
  socket: Socket | TlsSocket;
  /** What the client has sent already of the new protocol. */
  head: Buffer;
}

const METHODS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT'];

const words = new Float64Array(native.httpWords);

/** A number of the request that was taken last. */
export function word(place: HttpWord): number {
  return words[place] as number;
}

/** The connection of a request, where greenlets park on it. */
class Channel extends Endpoint {
  constructor(private readonly request: HttpRequest) {
    super();
  }

  get closed(): boolean {
    return this.request._key === 0;
  }

  get remoteAddress(): SocketAddress {
    return this.request.remoteAddress;
  }

  /** @internal */
  override _error(code: number, call: string): Error {
    if (code === HttpOutcome.Misfit)
      return new TypeError('the body is not as long as its Content-Length says');
    // Whatever the system says of the connection; and nobody is there any more who could be answered.
    const isOwnTimeout = code === Outcome.TimedOut && call !== 'send()';
    if (code >= HttpOutcome.Truncated && code !== Outcome.Busy && !isOwnTimeout) this.request._lost = true;
    if (code === HttpOutcome.Truncated) {
      const error = systemError(-104, call.slice(0, -2));
      error.message += ': the client has ended the connection in the middle of the body';
      return error;
    }
    if (code < HttpOutcome.Truncated) {
      const status = HttpOutcome.Truncated - code;
      return new HttpError(status, status === 413 ? 'the body is too long' : 'the body is malformed');
    }
    return super._error(code, call);
  }
}

/**
 * A request of HTTP/1.1 or 1.0. Its head is kept as it came: headers are only taken apart when they are asked for. It is over
 * when its response has been sent; the head can be read even then.
 */
export class HttpRequest {
  /** The connection as native code names it; 0 when the request is over. @internal */
  declare _key: number;
  /** Whether the head of the response has been given. @internal */
  declare _answered: boolean;
  /** When it was taken, if that is logged. @internal */
  declare _began: number;
  /** What a Node-style listener has answered, for the log; 0: nothing. @internal */
  declare _status: number;
  /** Bytes of the body of that. @internal */
  declare _sent: number;
  /** Whether the client has gone. @internal */
  declare _lost: boolean;
  /** Who watches the client while a response is streamed. @internal */
  declare _watch: ClientWatch | null;
  /** Whether the server counts it no more. @internal */
  declare _left: boolean;
  /** @internal */
  declare readonly _host: RequestHost;
  /** @internal */
  declare readonly _facts: number;
  declare private readonly _head: string;
  declare private readonly _socket: number;
  declare private readonly _method: number;
  declare private readonly _start: number;
  declare private readonly _methodEnd: number;
  declare private readonly _targetEnd: number;
  declare private readonly _fields: number;
  declare private readonly _length: number;
  declare private _headers: HttpHeaders | null;
  declare private _query: URLSearchParams | null;
  declare private _remote: SocketAddress | null;
  declare private _channel: Channel | null;
  declare private _environ: Environ | null;
  declare private _tls: TlsInfo | null;
  declare private _trailers: HttpHeaders | null;
  /** What {@link readLine} has read and not given yet. */
  declare private _rest: Buffer | null;

  /** @internal */
  constructor(host: RequestHost, head: string) {
    this._key = word(HttpWord.Connection);
    this._answered = false;
    this._lost = false;
    this._left = false;
    this._watch = null;
    this._began = 0;
    this._status = 0;
    this._sent = 0;
    this._host = host;
    this._facts = word(HttpWord.Facts);
    this._head = head;
    this._socket = word(HttpWord.Socket);
    this._method = word(HttpWord.Method);
    this._start = word(HttpWord.Start);
    this._methodEnd = word(HttpWord.MethodEnd);
    this._targetEnd = word(HttpWord.TargetEnd);
    this._fields = word(HttpWord.Fields);
    this._length = word(HttpWord.Length);
    this._headers = null;
    this._query = null;
    this._remote = null;
    this._channel = null;
    this._environ = null;
    this._tls = null;
    this._trailers = null;
    this._rest = null;
  }

  // ---- the head

  /** `GET`, `POST`, …; others as they came: methods have a case. */
  get method(): string {
    return this._method === 0
      ? this._head.slice(this._start, this._methodEnd)
      : (METHODS[this._method] as string);
  }

  /** The target as it came: `/path?query`, for `OPTIONS` perhaps `*`; proxies are sent whole URLs. */
  get url(): string {
    return this._head.slice(this._methodEnd + 1, this._targetEnd);
  }

  /** The path, as it came: not decoded. */
  get path(): string {
    const { url } = this;
    const start = url.startsWith('/') || url === '*' ? 0 : pathStart(url);
    const end = url.indexOf('?', start);
    return (end < 0 ? url.slice(start) : url.slice(start, end)) || '/';
  }

  /** What follows the question mark. */
  get query(): URLSearchParams {
    if (this._query === null) {
      const { url } = this;
      const start = url.indexOf('?');
      this._query = new URLSearchParams(start < 0 ? '' : url.slice(start + 1));
    }
    return this._query;
  }

  /** `'1.1'` or `'1.0'`. */
  get httpVersion(): string {
    return (this._facts & HttpFact.Is11) === 0 ? '1.0' : '1.1';
  }

  /** The header fields. */
  get headers(): HttpHeaders {
    return (this._headers ??= HttpHeaders._parse(this._head, this._fields));
  }

  /** The client's end of the connection. */
  get remoteAddress(): SocketAddress {
    if (this._remote === null) {
      const known = this._key !== 0 && native.address(this._socket, true) === 0;
      this._remote = (known ? readAddress() : undefined) ?? {
        address: '',
        port: 0,
        family: this._host.family,
      };
    }
    return this._remote;
  }

  /** `'https'` if the connection is encrypted, else `'http'`. */
  get scheme(): 'http' | 'https' {
    return this._host.tls === null ? 'http' : 'https';
  }

  /**
   * What is known of an encrypted connection: protocol, cipher, the client's certificate and whether it is trusted; `null` if it is not
   * encrypted, or the request was over before anybody has asked.
   */
  get tls(): TlsInfo | null {
    if (this._tls === null && this._host.tls !== null) {
      const session = native.httpTls(this._key);
      if (session !== 0) this._tls = new TlsInfo(session);
    }
    return this._tls;
  }

  /** The certificate that the client has shown; `undefined` if it has not. */
  get peerCertificate(): X509Certificate | undefined {
    return this.tls?.peerCertificate;
  }

  /** Bytes of the body as the head has it: 0 without one, `undefined` if it comes in chunks. */
  get contentLength(): number | undefined {
    return this._length < 0 ? undefined : this._length;
  }

  /** Whether the client offers another protocol: see {@link upgrade}. */
  get upgrades(): boolean {
    return (this._facts & HttpFact.Upgrades) !== 0;
  }

  /** The request line. */
  get line(): string {
    return this._head.slice(this._start, this._fields - 2);
  }

  /**
   * The request as gevent's `pywsgi` describes it to WSGI applications: `REQUEST_METHOD`, `PATH_INFO`, `HTTP_…`. Shown by
   * `console.log` and its like, values are masked.
   */
  get environ(): Environ {
    return (this._environ ??= environOf(this));
  }

  /** The value of a field that has one line; its name in lower case. Takes nothing apart. @internal */
  _field(name: string): string | null {
    if (this._headers !== null) return this._headers.get(name);
    const head = this._head;
    let start = this._fields;
    for (let end = head.indexOf('\r\n', start); end > start; end = head.indexOf('\r\n', start)) {
      const after = start + name.length;
      if (head.charCodeAt(after) === 58 && head.slice(start, after).toLowerCase() === name)
        return head.slice(after + 1, end).trim();
      start = end + 2;
    }
    return null;
  }

  /** The body as text, if it has come. @internal */
  _textNow(): string | undefined {
    if (this._length < 0 || this._key === 0 || this._rest !== null) return undefined;
    return native.httpBody(this._key, true) as string | undefined;
  }

  /** Names and values of the header fields in turn, as they came. @internal */
  _rawHeaders(): string[] {
    const head = this._head;
    const raw: string[] = [];
    let start = this._fields;
    for (let end = head.indexOf('\r\n', start); end > start; end = head.indexOf('\r\n', start)) {
      const colon = head.indexOf(':', start);
      raw.push(head.slice(start, colon), head.slice(colon + 1, end).trim());
      start = end + 2;
    }
    return raw;
  }

  // ---- the body

  /**
   * The body as text, of which what is not UTF-8 is replaced. Waits until all of it has come. Empty if it was read before.
   * Switches only if it must wait.
   *
   * @param limits - how long, in ms (default: the server's `bodyTimeout`), what else may end the wait, and `maxSize`
   * @throws {HttpError} 413 if it is too long, 400 if it is malformed, 408 if the server's time is up
   * @throws {SocketTimeout} `ETIMEDOUT`, if the time given here is up
   * @throws {SystemError} `ECONNRESET`, … if the client has gone
   */
  text(limits?: Limits | ReadBodyOptions): string {
    return this.#readAll('text()', limits, true) as string;
  }

  /**
   * The body as `JSON.parse` understands it. Switches only if it must wait.
   *
   * @throws {HttpError} 400 if it is not JSON; else as {@link text}
   */
  json(limits?: Limits | ReadBodyOptions): unknown {
    const text = this.#readAll('json()', limits, true) as string;
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new HttpError(400, 'the body is not JSON', { cause: error });
    }
  }

  /** The body as a Buffer. As {@link text}. Switches only if it must wait. */
  bytes(limits?: Limits | ReadBodyOptions): Buffer {
    return this.#readAll('bytes()', limits, false) as Buffer;
  }

  #readAll(call: string, given: Limits | ReadBodyOptions, asText: boolean): string | Buffer {
    let most = this._host.maxBodySize;
    if (typeof given === 'object' && given !== null && 'maxSize' in given && given.maxSize !== undefined)
      most = checkBytes(call, 'maxSize', given.maxSize, 0, Number.MAX_SAFE_INTEGER);
    if (this._rest !== null) return this.#readAllAfter(call, given, most, asText);
    if (this._length >= 0 && this._length <= most) {
      const whole = native.httpBody(this.#checkedKey(call), asText);
      if (whole !== undefined) return whole;
    }
    let body: string | Buffer = '';
    this.#call(call, given, (timeout) => {
      const result = native.httpReadAll(this._key, most, asText, timeout);
      if (typeof result === 'number') return result;
      body = result;
      return 0;
    });
    return body;
  }

  /** After lines were read. */
  #readAllAfter(call: string, limits: Limits, most: number, asText: boolean): string | Buffer {
    const pieces: Buffer[] = [];
    let size = 0;
    try {
      for (let piece = this.#read(call, limits); piece.length > 0; piece = this.#read(call, limits)) {
        pieces.push(piece);
        size += piece.length;
        if (size > most) throw new HttpError(413, 'the body is too long');
      }
    } catch (error) {
      // What came stays, for a call with more time.
      this._rest = Buffer.concat(pieces);
      throw error;
    }
    const bytes = Buffer.concat(pieces);
    return asText ? bytes.toString() : bytes;
  }

  /**
   * Reads what has come of the body, waiting for the first byte. Switches only if it must wait, or has read many times without.
   *
   * @param size - bytes at the most (default: 64 KiB)
   * @returns at least one byte, or an empty Buffer at the end of the body
   * @throws as {@link text}
   */
  read(size: number = DEFAULT_SIZE, limits?: Limits): Buffer {
    if (size !== DEFAULT_SIZE) checkBytes('read()', 'size', size, 1, Number.MAX_SAFE_INTEGER);
    return this.#read('read()', limits, size);
  }

  #read(call: string, limits: Limits, size: number = DEFAULT_SIZE): Buffer {
    const rest = this._rest;
    if (rest !== null && rest.length > 0) {
      this._rest = rest.subarray(size);
      return rest.subarray(0, size);
    }
    return takeBytes(this.#call(call, limits, (timeout) => native.httpRead(this._key, size, timeout)));
  }

  /**
   * Reads a line of the body, with its LF; the last one may have none. Switches only if it must wait, or has read many times
   * without. WSGI: `wsgi.input.readline`.
   *
   * @param size - bytes at the most (default: 64 KiB); what is longer comes with the next calls
   * @returns an empty string at the end of the body
   * @throws as {@link text}
   */
  readLine(size: number = DEFAULT_SIZE, limits?: Limits): string {
    const call = 'readLine()';
    checkBytes(call, 'size', size, 1, Number.MAX_SAFE_INTEGER);
    let line = this._rest ?? Buffer.alloc(0);
    this._rest = Buffer.alloc(0);
    for (;;) {
      const feed = line.indexOf(10);
      if (feed >= 0 || line.length >= size) {
        const end = Math.min(feed < 0 ? size : feed + 1, size);
        this._rest = line.subarray(end);
        return line.toString('utf8', 0, end);
      }
      let more: Buffer;
      try {
        more = this.#read(call, limits);
      } catch (error) {
        // What came stays, for a call with more time.
        this._rest = line;
        throw error;
      }
      if (more.length === 0) return line.toString();
      line = Buffer.concat([line, more]);
    }
  }

  /** The body, piece by piece, as it comes. Each step switches only if it must wait. Throws as {@link text}. */
  get body(): Iterable<Buffer> {
    const next = (): Buffer => this.#read('body', undefined);
    return {
      *[Symbol.iterator]() {
        for (let piece = next(); piece.length > 0; piece = next()) yield piece;
      },
    };
  }

  /** As {@link body}. */
  [Symbol.iterator](): Iterator<Buffer> {
    return this.body[Symbol.iterator]();
  }

  /** The fields after a body in chunks; empty before all of it was read. */
  get trailers(): HttpHeaders {
    if (this._trailers !== null) return this._trailers;
    const lines = this._key === 0 ? '' : native.httpTrailers(this._key);
    const trailers = HttpHeaders._parse(`${lines}\r\n`, 0);
    if (lines !== '') this._trailers = trailers;
    return trailers;
  }

  // ---- the connection

  /**
   * Sends an interim response, such as 103 Early Hints, before the other one. Clients of HTTP/1.0 are sent none. Never switches: what does
   * not fit goes with the response.
   *
   * @param status - 102 to 199
   * @throws {RangeError} for other statuses; 100 and 101 are sent by reading and {@link upgrade}
   * @throws {SystemError} `EPIPE`, `ECONNRESET`, … if the client has gone
   */
  writeInterim(status: number, headers?: HeadersInit): void {
    const call = 'writeInterim()';
    if (!Number.isInteger(status) || status < 102 || status > 199)
      throw new RangeError(`${call}: status must be from 102 to 199, got ${describe(status)}`);
    const key = this.#checkedKey(call);
    if (this._answered) throw new TypeError(`${call}: the request has been answered already`);
    const lines = new HttpHeaders(headers)._lines();
    const code = native.httpInterim(key, status, STATUS_CODES[status] ?? 'Interim', lines);
    if (code < 0) this._fail(code);
  }

  /**
   * Takes the connection over for another protocol, in place of a response. What the handler returns then does not matter.
   * Never switches, unless the 101 does not fit at once.
   *
   * @param options - with `headers`, `101 Switching Protocols` is sent with them and `Connection: upgrade`; without, nothing is sent
   */
  upgrade(options?: { headers?: HeadersInit }): Upgraded {
    const call = 'upgrade()';
    const { headers } = checkOptions(call, options);
    const key = this.#checkedKey(call);
    if (this._answered) throw new TypeError(`${call}: the request has been answered already`);
    const lines = headers === undefined ? null : new HttpHeaders(headers)._lines();
    const { remoteAddress } = this;
    const session = native.httpTls(key);
    const head = native.httpDetach(key);
    if (typeof head === 'number') throw this.#connection._error(head, call);
    this._remote = remoteAddress;
    this._answered = true;
    this._key = 0;
    const plain = socketOf(this._socket, this._host.family);
    const { tls } = this._host;
    const socket = tls === null ? plain : moduleOfTls().establishedSocket(plain, session, tls);
    if (lines !== null) {
      try {
        socket.sendAll(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n${lines}\r\n`,
          this._host.writeTimeout,
        );
      } catch (error) {
        socket.close();
        throw error;
      }
    }
    return { socket, head };
  }

  get #connection(): Channel {
    return (this._channel ??= new Channel(this));
  }

  #checkedKey(call: string): number {
    if (this._key === 0) throw new TypeError(`${call}: the request is over`);
    return this._key;
  }

  /** Reads, parking where needed; the server's own time limits what nothing else does. */
  #call(call: string, limits: Limits, operation: (timeout: number) => number): number {
    this.#checkedKey(call);
    const checked = checkLimits(call, limits);
    const channel = this.#connection;
    if (checked.timeout >= 0 || checked.limit !== null)
      return channel._call(call, channel._reading(), checked, operation);
    const own: CheckedLimits = { ...checked, timeout: this._host.bodyTimeout };
    try {
      return channel._call(call, channel._reading(), own, operation);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') throw error;
      throw new HttpError(408, 'the body has not come in time', { cause: error });
    }
  }

  /** Sends what is to be sent; native code has said that there is some left. @internal */
  _flush(): void {
    const channel = this.#connection;
    const limits: CheckedLimits = { ...FOR_EVER, timeout: this._host.writeTimeout };
    channel._call('send()', channel._writing(), limits, (timeout) => native.httpFlush(this._key, timeout));
  }

  /** Throws what a code of a response stands for. @internal */
  _fail(code: number): never {
    throw this.#connection._error(code, 'send()');
  }

  [inspect.custom](): string {
    return `<HttpRequest ${this.method} ${this.url}>`;
  }
}

/** Where the path of a URL begins. */
function pathStart(url: string): number {
  const authority = url.indexOf('//') + 2;
  const end = url.slice(authority).search(/[/?]/);
  return end < 0 ? url.length : authority + end;
}
