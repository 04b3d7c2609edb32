/** The server: from what native code has found to the handler, and from what that returns to the response. */
import { randomBytes } from 'node:crypto';

import { HTTP_TEXT, HttpFlag, HttpWord, native } from '../binding.js';
import { checkFlag, checkFunction, checkOptions, checkTime, describe } from '../checks.js';
import { enterContext } from '../context.js';
import { GreenletExit } from '../errors.js';
import { getCurrent, Greenlet, spawn } from '../greenlet.js';
import {
  currentRunnable,
  getHub,
  keepAlive,
  onRequest,
  requireHub,
  Runnable,
  startedRunnables,
  yieldNow,
} from '../hub.js';
import { type CheckedLimits, isImmediate } from '../limits.js';
import { Pool } from '../pool.js';
import {
  isSocket,
  KILL_TIMEOUT,
  type LifeOptions,
  type Listener,
  ServerLife,
  type SpawnMode,
  StreamListening,
  type StreamListenOptions,
} from '../server-life.js';
import { Role, Workers } from '../server-workers.js';
import type { Socket } from '../socket/socket.js';
import { type Address, show } from '../socket-address.js';
import { checkServerTls, moduleOfTls, type ServerTls, type ServerTlsOptions } from '../server-tls.js';
import { systemError } from '../system-error.js';
import type { SecureContext } from '../tls.js';
import { TlsInfo } from '../tls-info.js';
import { now } from '../timers.js';
import { waitFor } from '../wait-for.js';
import { Parked, WaitQueue } from '../wait-queue.js';
import { compress, type CompressOptions, inTurn } from './compression.js';
import { HttpError } from './error.js';
import { HttpHeaders } from './headers.js';
import { type AccessLog, type AccessLogEntry, accessLogOf } from './log.js';
import { HttpRequest, type RequestHost, word } from './request.js';
import {
  bytesOf,
  type HttpBody,
  type HttpResponse,
  mediaTypeOf,
  type Piece,
  type Reply,
  replyOf,
  wholeOf,
} from './response.js';

/** What a handler may return; a promise of one is waited for. Nothing, if it has taken the connection over. */
export type HandlerResult = Exclude<HttpBody, null> | HttpResponse | Response | undefined | void;

/** Answers requests. Each call runs in a greenlet of its own, so it may wait anywhere. */
export type HttpHandler = (request: HttpRequest) => HandlerResult | PromiseLike<HandlerResult>;

/** Options of {@link HttpServer}. Sizes are in bytes, times in ms; `Infinity` is no limit. */
export interface HttpServerOptions extends LifeOptions, StreamListenOptions {
  /**
   * Where handlers run. `'default'`: each in a greenlet; `'raw'`: each in a `RawGreenlet`; a number: so many at a time; a `Pool` or
   * `Group`: in that; a function: whatever that does; `null`: in the hub, where nothing can wait. While there is no room, requests wait and
   * no connection is accepted.
   */
  spawn?: SpawnMode | undefined;
  /**
   * Connections accepted one after another before others have their turn (default: 64, or as many as there are others, up to 1000,
   * if these are more; 1 with `workers`). gevent: `max_accept`.
   */
  maxAccept?: number | undefined;
  /** What happens to requests when there is no room for them: they wait (default), or are refused with 503. */
  overload?: 'pause' | 503;
  /** Of the request line (default: 8192); else 414. */
  maxRequestLine?: number;
  /** Of the head (default: 32,768); else 431. */
  maxHeadSize?: number;
  /** Header fields of a request (default: 100); else 431. */
  maxHeaders?: number;
  /** Of the body of a request (default: 10 MiB); else 413. */
  maxBodySize?: number;
  /** How long a head may take (default: 30,000); else 408. */
  headTimeout?: number;
  /** How long a handler waits for a part of the body (default: 60,000); else 408. */
  bodyTimeout?: number;
  /** How long a connection may wait for its next request (default: 60,000). */
  idleTimeout?: number;
  /** How long a client may take no part of a response (default: 60,000); then the connection is closed. */
  writeTimeout?: number;
  /** Requests on one connection (default: no limit). */
  maxRequestsPerConnection?: number;
  /** Connections at a time (default: no limit); others wait to be accepted. */
  maxConnections?: number;
  /** The access log (default: off). */
  log?: AccessLog;
  /** Told of handlers that fail, in place of `Hub.handleError`. The client is told nothing but `id`. */
  errorLog?: (error: unknown, request: HttpRequest, id: string) => void;
  /** Compress responses for clients that take that (default: no). */
  compress?: boolean | CompressOptions;
  /** Encrypts connections. `alpnProtocols` are `http/1.1` and `http/1.0`. */
  tls?: ServerTlsOptions;
  /** Added to the `environ` of every request. */
  environ?: Readonly<Record<string, unknown>>;
}

/** Pieces of a body that are sent one after another before others have their turn. */
const PIECES_PER_YIELD = 64;

/** Servers by the number that native code has for them. */
const servers: Array<HttpServer | undefined> = [];

/** Runs what native code has found. */
function serveNext(stackId: number): void {
  const head = native.httpTake();
  servers[word(HttpWord.Server)]?._take(head, stackId);
}

onRequest(serveNext);

/** A greenlet that runs one request. */
class RequestGreenlet extends Greenlet<void> {
  declare readonly server: HttpServer;
  declare private readonly request: HttpRequest;
  declare private readonly handler: HttpHandler;

  constructor(server: HttpServer, request: HttpRequest, handler: HttpHandler) {
    super();
    this.server = server;
    this.request = request;
    this.handler = handler;
  }

  protected override _run(): void {
    this.server._serve(this.request, this.handler);
  }

  override _describe(): string {
    return `<Greenlet of ${this.request.method} ${this.request.url}>`;
  }
}

/** What other ways to start a handler are given to run. */
function serveRequest(server: HttpServer, request: HttpRequest): void {
  server._serveAnywhere(request);
}

function checkSize(
  call: string,
  name: string,
  value: unknown,
  byDefault: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined) return byDefault;
  if (value === Infinity) return most;
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TypeError(`${call}: ${name} must be a whole number, got ${describe(value)}`);
  if (value < 1 || value > most)
    throw new RangeError(`${call}: ${name} must be from 1 to ${most}, got ${value}`);
  return value;
}

const MAX_COUNT = 0xffff_ffff;
const MAX_HEAD = 1 << 20;

/** Where in the numbers for native code something stands that may change. */
const ROOM = 7;
const MAX_ACCEPT = 10;

/**
 * A server of HTTP/1.1 and 1.0. Handlers run in greenlets and simply block; a connection that waits for its next request has
 * none, and no JavaScript object either.
 *
 * gevent: `gevent.pywsgi.WSGIServer`.
 *
 * @example
 * const server = new HttpServer(8080, (request) => `hello from ${request.path}`);
 * server.serveForever();
 */
export class HttpServer extends ServerLife {
  readonly #handler: HttpHandler;
  readonly #listening: StreamListening;
  readonly #host: RequestHost;
  readonly #numbers: number[];
  readonly #isMaxAcceptGiven: boolean;
  /** By what connections are encrypted. */
  readonly #tls: SecureContext | null;
  readonly #log: ((entry: AccessLogEntry) => void) | null;
  readonly #errorLog: HttpServerOptions['errorLog'] | null;
  readonly #compress: CompressOptions | null;
  /** Whether texts are sent as they are, and nobody is told. */
  readonly #isPlain: boolean;
  /** Native code's number for it; −1 while it is not started. */
  #id = -1;
  /** Those of which it has had before, whose requests may not have ended. */
  #retired: number[] = [];
  /** Greenlets of requests that others have made for it. */
  readonly #others = new Set<Runnable>();
  readonly #changed = new WaitQueue();

  /**
   * A server that is not started.
   *
   * @param listener - where to listen: a port (of all addresses of this host), `'host:port'`, `{ host, port }`, `'unix:/path'`,
   *   `{ path }`, a `Socket` that is bound, or `{ fd }`
   * @param handler - answers requests
   * @throws {TypeError} if an argument is not as expected
   */
  constructor(listener: Listener, handler: HttpHandler, options?: HttpServerOptions) {
    super(listener, options);
    const call = `new ${new.target.name}()`;
    checkFunction(call, handler);
    const given = checkOptions(call, options);
    this.#handler = handler;
    this.#listening = new StreamListening(call, given, isSocket(listener));
    const { overload = 'pause', environ = {}, errorLog, maxAccept, workers } = given;
    if (overload !== 'pause' && overload !== 503)
      throw new TypeError(`${call}: overload must be 'pause' or 503, got ${describe(overload)}`);
    if (errorLog !== undefined) checkFunction(`${call}: errorLog`, errorLog);
    const maxBodySize = checkSize(call, 'maxBodySize', given.maxBodySize, 10 << 20);
    this.#numbers = [
      checkSize(call, 'maxRequestLine', given.maxRequestLine, 8192, MAX_HEAD),
      checkSize(call, 'maxHeadSize', given.maxHeadSize, 32_768, MAX_HEAD),
      checkSize(call, 'maxHeaders', given.maxHeaders, 100, 10_000),
      maxBodySize,
      checkTime(call, 'headTimeout', given.headTimeout, 30_000),
      checkTime(call, 'idleTimeout', given.idleTimeout, 60_000),
      checkSize(call, 'maxRequestsPerConnection', given.maxRequestsPerConnection, MAX_COUNT, MAX_COUNT),
      this.#room,
      checkSize(call, 'maxConnections', given.maxConnections, MAX_COUNT, MAX_COUNT),
      Number(overload === 503),
      checkSize(call, 'maxAccept', maxAccept, 0, MAX_COUNT),
    ];
    this.#isMaxAcceptGiven = maxAccept !== undefined;
    const tls = given.tls === undefined ? null : checkHttpTls(call, given.tls);
    this.#tls = tls?.secureContext ?? null;
    if (tls !== null)
      this.#numbers.push(
        tls.handshakeTimeout ?? moduleOfTls().DEFAULT_HANDSHAKE_TIMEOUT,
        tls.secureContext._config(call, true),
      );
    this.#log = accessLogOf(call, given.log);
    this.#errorLog = errorLog ?? null;
    this.#compress = compressionOf(call, given.compress);
    this.#isPlain = this.#log === null && this.#compress === null;
    const server = this;
    this.#host = {
      get family() {
        return server.family;
      },
      get localAddress() {
        return server.address;
      },
      bodyTimeout: forNative(checkTime(call, 'bodyTimeout', given.bodyTimeout, 60_000)),
      writeTimeout: forNative(checkTime(call, 'writeTimeout', given.writeTimeout, 60_000)),
      maxBodySize,
      environ: {
        'wsgi.multiprocess': workers !== undefined,
        ...checkOptions(`${call}: environ`, environ),
      },
      tls: this.#tls,
    };
    this._workers = workers === undefined ? null : new Workers(call, workers, this);
  }

  // ---- beginning and ending

  protected getListener(address: Address): Socket {
    return this.#listening.at(address);
  }

  protected override initSocket(): void {
    requireHub();
    super.initSocket();
    const { socket } = this;
    if (socket === null) return;
    try {
      this.#listening.begin(socket);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @internal */
  override _prepare(socket: Socket): void {
    this.#listening.prepare(socket);
  }

  /** @internal */
  _setAccepting(accepts: boolean): void {
    if (this.#id < 0) {
      if (!accepts) return;
      const numbers = [...this.#numbers];
      // Whoever is idle takes the next connection: so nobody takes several at once.
      if (this._workers?.role === Role.Worker && !this.#isMaxAcceptGiven) numbers[MAX_ACCEPT] = 1;
      this.#id = native.httpListen((this.socket as Socket)._key, numbers);
      this.#retired = this.#retired.filter((id) => id !== this.#id && servers[id] === this);
      servers[this.#id] = this;
      keepAlive(1);
    }
    native.httpAccepting(this.#id, accepts);
  }

  override setSpawn(mode: SpawnMode): void {
    super.setSpawn(mode);
    this.#numbers[ROOM] = this.#room;
    if (this.#id >= 0) native.httpRoom(this.#id, this.#room);
  }

  /** How many requests may run at a time. */
  get #room(): number {
    return this.pool instanceof Pool ? Math.min(this.pool.size, MAX_COUNT) : MAX_COUNT;
  }

  /**
   * Accepts nothing more, and closes the connections that wait for a request. Requests that are under way go on, and their
   * connections end with them. Does nothing if it is closed. Never switches.
   */
  override close(): void {
    super.close();
    const id = this.#id;
    if (id < 0) return;
    this.#id = -1;
    this.#retired.push(id);
    native.httpRetire(id);
    keepAlive(-1);
  }

  /** @internal */
  override _mustWaitToStop(): boolean {
    return super._mustWaitToStop() || this.#pending() > 0;
  }

  /** How many requests are under way, or wait for room, but for the one that asks. */
  #pending(): number {
    const ids = this.#id < 0 ? this.#retired : [...this.#retired, this.#id];
    const own = this.#isOwn(currentRunnable()) ? 1 : 0;
    return ids.reduce((sum, id) => sum + (servers[id] === this ? native.httpPending(id) : 0), -own);
  }

  /** Waits for requests, and kills those that have not ended in time. @internal */
  override _awaitStop(limits: CheckedLimits): void {
    const waits = !isImmediate(limits) && currentRunnable() !== null;
    const deadline = limits.timeout < 0 ? Infinity : now() + limits.timeout;
    try {
      if (waits) this.#awaitEnd(limits, deadline);
    } finally {
      this.#kill();
      try {
        if (waits) this.#awaitEnd({ ...limits, limit: null, signal: null }, now() + KILL_TIMEOUT);
      } finally {
        for (const id of this.#retired.splice(0)) {
          if (servers[id] !== this || id === this.#id) continue;
          servers[id] = undefined;
          native.httpClose(id);
        }
      }
    }
    super._awaitStop(limits.timeout < 0 ? limits : { ...limits, timeout: Math.max(0, deadline - now()) });
  }

  /** Waits until no request is under way but the one that stops the server, or the time is up. */
  #awaitEnd(limits: CheckedLimits, deadline: number): void {
    do {
      // Requests that have come already are taken meanwhile.
      yieldNow('stop()');
      while (this.#pending() > 0) {
        const left = deadline - now();
        if (left <= 0) return;
        const timeout = left === Infinity ? -1 : left;
        if (!new Parked('stop()').parkIn(this.#changed, { ...limits, timeout })) return;
      }
    } while (this.#pending() > 0);
  }

  #isOwn(greenlet: unknown): greenlet is RequestGreenlet {
    return greenlet instanceof RequestGreenlet && greenlet.server === this;
  }

  #kill(): void {
    const current = currentRunnable();
    const own = startedRunnables().filter((greenlet) => this.#isOwn(greenlet));
    for (const greenlet of [...own, ...this.#others])
      if (greenlet !== current) (greenlet as Greenlet).kill(undefined, { block: false });
  }

  // ---- requests

  /** Runs a request that native code has found, on the stack of a runner. @internal */
  _take(head: string, stackId: number): void {
    if (word(HttpWord.Connection) === 0) {
      getHub().report(this, systemError(-word(HttpWord.Errno), 'accept'));
      return;
    }
    if (word(HttpWord.Status) !== 0) {
      this.#refuse(head);
      return;
    }
    if (this.#tls !== null) {
      if (this.#tls._logsKeys) this.#tls._deliverKeyLog(true);
      if (word(HttpWord.Errno) !== 0) {
        this.#reportHandshake();
        return;
      }
    }
    this._noteBegin();
    const request = new HttpRequest(this.#host, head);
    if (this.#log !== null) request._began = now();
    if (this._spawn !== spawn && this.pool === null) {
      this.#startOther(request);
      return;
    }
    new RequestGreenlet(this, request, this.#handler)._beginNow(stackId, this._context);
    // Who is told of greenlets that start may have killed it before it did.
    if (request._key !== 0) this.#leave(request);
  }

  /** Runs a request in what is no greenlet of this server's own. */
  #startOther(request: HttpRequest): void {
    const start = this._spawn;
    enterContext(this._context);
    if (start === null) {
      this._serveAnywhere(request);
      return;
    }
    let greenlet: unknown;
    try {
      greenlet = start(serveRequest, this, request);
    } catch (error) {
      this.#fail(request, error);
      this.#leave(request);
      return;
    }
    if (!(greenlet instanceof Runnable)) return;
    this.#others.add(greenlet);
    // One that is killed before it has begun runs no handler.
    greenlet._addLink({
      callback: null,
      notify: () => {
        this.#others.delete(greenlet);
        this.#leave(request);
      },
    });
  }

  /** Runs a request here if this is a greenlet; else the handler, and a greenlet sends what it has returned. @internal */
  _serveAnywhere(request: HttpRequest): void {
    const handler = this.#handler;
    if (currentRunnable() !== null) {
      this._serve(request, handler);
      return;
    }
    let returned: () => HandlerResult | PromiseLike<HandlerResult>;
    try {
      const result = handler(request);
      returned = () => result;
    } catch (error) {
      returned = () => {
        throw error;
      };
    }
    const greenlet = new RequestGreenlet(this, request, returned);
    greenlet._addLink({ callback: null, notify: () => this.#leave(request) });
    greenlet.start();
  }

  /** The handshake of a connection has failed, or has taken too long. */
  #reportHandshake(): void {
    const key = word(HttpWord.Connection);
    const call = 'handshake()';
    const session = native.httpTls(key);
    const failure = session === 0 ? undefined : native.tlsFailure(session);
    const { remoteAddress } = new HttpRequest(this.#host, '');
    const error =
      failure === undefined
        ? systemError(-word(HttpWord.Errno), 'handshake', remoteAddress)
        : moduleOfTls().tlsFailure(call, failure, new TlsInfo(session));
    native.httpAbort(key);
    getHub().report(`<client ${show(remoteAddress)} of ${show(this.address)}>`, error);
  }

  /** Answers what is no request, or none that is allowed. */
  #refuse(told: string): void {
    const [key, status] = [word(HttpWord.Connection), word(HttpWord.Status)];
    const separator = told.indexOf('\n');
    const reason = told.slice(0, separator);
    if (this.#log !== null) {
      const request = new HttpRequest(this.#host, '');
      const { remoteAddress } = request;
      const entry = {
        remoteAddress,
        time: new Date(),
        line: told.slice(separator + 1),
        status,
        bytes: reason.length,
      };
      this.#note({ ...entry, duration: 0, referer: '', userAgent: '' });
    }
    const sent = native.httpRespond(
      key,
      status,
      HttpFlag.Text | HttpFlag.Close | HttpFlag.BodyIsText,
      undefined,
      reason,
      reason.length,
    );
    // Who does not even take this is not waited for.
    if (sent !== 1) native.httpAbort(key);
  }

  /** Runs the handler, in its greenlet. @internal */
  _serve(request: HttpRequest, handler: HttpHandler): void {
    try {
      if (this.pool !== null) this.pool.add(getCurrent() as Greenlet<void>);
      const result = handler(request);
      if (typeof result === 'string' && this.#isPlain && result.length <= HTTP_TEXT && !request._answered)
        this.#sendText(request, result);
      else this.#answer(request, result);
    } catch (error) {
      this.#fail(request, error);
    } finally {
      this.#leave(request);
    }
  }

  /** The request is over, with an answer or without. */
  #leave(request: HttpRequest): void {
    if (request._left) return;
    request._left = true;
    request._watch?.stop();
    if (request._key !== 0) {
      native.httpAbort(request._key);
      request._key = 0;
    }
    this._noteEnd();
    if (this.#changed.occupied) this.#changed.notifyAll();
  }

  /** What most handlers return takes one call. */
  #sendText(request: HttpRequest, text: string): void {
    const flags = HttpFlag.Text | HttpFlag.BodyIsText;
    request._answered = true;
    this.#complete(request, native.httpRespond(request._key, 200, flags, undefined, text, text.length));
  }

  /** After a response was given: waits until it is sent. */
  #complete(request: HttpRequest, code: number): void {
    if (code < 0) request._fail(code);
    if (code === 0) request._flush();
    request._key = 0;
  }

  #answer(request: HttpRequest, result: unknown): void {
    const settled = isThenable(result) ? waitFor(result) : result;
    if (request._answered) {
      // It has taken the connection over, or answered by other means.
      if (settled !== undefined)
        throw new TypeError('the handler has upgraded the connection, and returned a response as well');
      if (this.#log !== null && request._status !== 0)
        this.#noteAnswer(request, request._status, request._sent);
      return;
    }
    this.#send(request, replyOf(settled));
  }

  #send(request: HttpRequest, reply: Reply): void {
    if (this.#compress !== null) compress(request, reply, this.#compress);
    if (this.#log === null) {
      this.#sendReply(request, reply);
      return;
    }
    // It is not known any more afterwards.
    void request.remoteAddress;
    let bytes = 0;
    try {
      bytes = this.#sendReply(request, reply);
    } finally {
      this.#noteAnswer(request, reply.status, bytes);
    }
  }

  #noteAnswer(request: HttpRequest, status: number, bytes: number): void {
    this.#note({
      remoteAddress: request.remoteAddress,
      time: new Date(Date.now() - (now() - request._began)),
      line: request.line,
      status,
      bytes,
      duration: now() - request._began,
      referer: request.headers.get('referer') ?? '',
      userAgent: request.headers.get('user-agent') ?? '',
    });
  }

  /** Tells the access log. */
  #note(entry: AccessLogEntry): void {
    try {
      this.#log?.(entry);
    } catch (error) {
      getHub().report(this, error);
    }
  }

  /** Sends a reply; returns how many bytes its body has. */
  #sendReply(request: HttpRequest, reply: Reply): number {
    const whole = wholeOf(reply.body);
    if (whole === undefined) return this.#stream(request, reply);
    request._watch?.stop();
    const isText = typeof whole === 'string' && whole.length <= HTTP_TEXT;
    const body = isText ? whole : (bytesOf(whole) as Uint8Array);
    if (reply.length >= 0 && request.method !== 'HEAD' && reply.status !== 304) {
      const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
      if (length !== reply.length)
        throw new TypeError(`Content-Length is ${reply.length}, but the body has ${length} bytes`);
    }
    if (body.length === 0 && reply.length > 0) return this.#announce(request, reply);
    const flags = reply.flags | (isText ? HttpFlag.BodyIsText : HttpFlag.BodyIsBytes);
    request._answered = true;
    const { status, fields, reason } = reply;
    this.#complete(
      request,
      native.httpRespond(request._key, status, flags, fields, body, body.length, reason),
    );
    return body.length;
  }

  /** The head alone, with the length that the handler has given: a response to HEAD. */
  #announce(request: HttpRequest, { status, flags, fields, length, reason }: Reply): number {
    request._watch?.stop();
    request._answered = true;
    const begun = native.httpBegin(request._key, status, flags, fields, length, reason);
    if (begun < 0) request._fail(begun);
    this.#complete(request, native.httpEnd(request._key, ''));
    return 0;
  }

  #stream(request: HttpRequest, reply: Reply): number {
    const pieces = inTurn(reply.body as Iterable<Piece> | AsyncIterable<Piece>);
    try {
      return request.method === 'HEAD'
        ? this.#announce(request, reply)
        : this.#streamPieces(request, reply, pieces);
    } finally {
      pieces.return(undefined);
    }
  }

  /** The head is only given with the first piece: until then the handler's iterable may fail. */
  #streamPieces(request: HttpRequest, reply: Reply, pieces: Generator<Piece>): number {
    let bytes = 0;
    let count = 0;
    for (const piece of pieces) {
      const view = bytesOf(piece);
      if (view === undefined)
        throw new TypeError(`a piece of a body must be a string or bytes, got ${describe(piece)}`);
      if (view.length === 0) continue;
      if (!request._answered) this.#begin(request, reply, piece);
      bytes += view.length;
      const code = native.httpWrite(request._key, view);
      if (code < 0) request._fail(code);
      if (code === 0) request._flush();
      if (++count % PIECES_PER_YIELD === 0) yieldNow('send()');
    }
    if (!request._answered) this.#begin(request, reply, null);
    const trailers = reply.trailers === undefined ? '' : new HttpHeaders(reply.trailers())._lines();
    request._watch?.stop();
    this.#complete(request, native.httpEnd(request._key, trailers));
    return bytes;
  }

  #begin(request: HttpRequest, reply: Reply, first: Piece | null): void {
    const { status, fields, length, reason } = reply;
    const isTyped = (reply.flags & HttpFlag.HasFields) !== 0 && /^content-type:/im.test(fields);
    const flags = isTyped || !reply.guesses ? reply.flags : reply.flags | mediaTypeOf(first);
    request._answered = true;
    const begun = native.httpBegin(request._key, status, flags, fields, length, reason);
    if (begun < 0) request._fail(begun);
  }

  /** The handler has failed, or what it has returned cannot be sent. */
  #fail(request: HttpRequest, error: unknown): void {
    if (GreenletExit.is(error)) throw error;
    if (request._lost) return;
    const isAnswerable = !request._answered && request._key !== 0;
    try {
      if (error instanceof HttpError && isAnswerable) {
        if (error.status >= 500) this.#report(request, error);
        this.#send(request, failureOf(error));
        return;
      }
      const id = this.#report(request, error);
      if (isAnswerable) this.#send(request, failureOf(new HttpError(500, `Internal Server Error (${id})`)));
    } catch (failure) {
      if (GreenletExit.is(failure)) throw failure;
      if (!request._lost) this.#report(request, failure);
    }
  }

  /** Tells the error log. Returns the number by which the client and the log mean the same. */
  #report(request: HttpRequest, error: unknown): string {
    const id = randomBytes(6).toString('hex');
    const where = `${request.method} ${request.url} from ${show(request.remoteAddress)} (${id})`;
    try {
      if (this.#errorLog === null || this.#errorLog === undefined) getHub().report(where, error);
      else this.#errorLog(error, request, id);
    } catch (failure) {
      getHub().report(where, error);
      getHub().report(this, failure);
    }
    return id;
  }
}

/**
 * Starts a server and serves until it is stopped: `new HttpServer(…).serveForever()`. Switches.
 *
 * @example
 * run(() => serve(8080, (request) => `hello from ${request.path}`));
 */
export function serve(listener: Listener, handler: HttpHandler, options?: HttpServerOptions): void {
  new HttpServer(listener, handler, options).serveForever();
}

function failureOf({ status, message, headers }: HttpError): Reply {
  const fields = headers._lines();
  const flags =
    HttpFlag.Text | (fields === '' ? 0 : HttpFlag.HasFields) | (status === 408 ? HttpFlag.Close : 0);
  return {
    status,
    flags,
    fields,
    reason: '',
    body: message,
    length: -1,
    trailers: undefined,
    guesses: false,
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

/** A time as native code has it: negative is for ever. */
function forNative(ms: number): number {
  return ms === Infinity ? -1 : ms;
}

/** What is agreed on by ALPN. */
const PROTOCOLS: readonly string[] = ['http/1.1', 'http/1.0'];

/** What `HttpServer` takes for `tls`: a client that speaks no HTTP/1 is refused in the handshake. */
function checkHttpTls(call: string, options: ServerTlsOptions): ServerTls {
  const { secureContext, alpnProtocols = PROTOCOLS } = checkOptions(`${call}: tls`, options);
  const tls = checkServerTls(call, secureContext === undefined ? { ...options, alpnProtocols } : options);
  const foreign = tls.secureContext._alpn.find((protocol) => !PROTOCOLS.includes(protocol));
  if (foreign !== undefined)
    throw new TypeError(`${call}: alpnProtocols may have 'http/1.1' and 'http/1.0', got '${foreign}'`);
  return tls;
}

function compressionOf(call: string, option: HttpServerOptions['compress']): CompressOptions | null {
  if (option === undefined || option === false) return null;
  if (option === true) return {};
  if (typeof option !== 'object' || option === null) checkFlag(call, 'compress', option);
  const { threshold } = option;
  return threshold === undefined ? {} : { threshold: checkSize(call, 'compress.threshold', threshold, 1024) };
}
