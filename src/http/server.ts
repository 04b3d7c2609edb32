/** The server: from what native code has found to the handler, and from what that returns to the response. */
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { HTTP_TEXT, HttpFlag, HttpWord, native } from '../binding.js';
import { checkFlag, checkFunction, checkOptions, checkTime, describe } from '../checks.js';
import { captureContext, type Context, emptyContext } from '../context.js';
import { GreenletExit } from '../errors.js';
import { getCurrent, Greenlet } from '../greenlet.js';
import {
  currentRunnable,
  getHub,
  keepAlive,
  ofThisThread,
  onRequest,
  requireGreenlet,
  requireHub,
  startedRunnables,
  yieldNow,
} from '../hub.js';
import { checkLimits, FOR_EVER, type Limits } from '../limits.js';
import { Pool } from '../pool.js';
import { createServer, type ListenOptions } from '../socket/listen.js';
import { Socket } from '../socket/socket.js';
import { type Address, show, type SocketAddress } from '../socket-address.js';
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
export interface HttpServerOptions extends ListenOptions {
  /**
   * Where handlers run: `'default'`: each in a greenlet, however many; a number: so many at a time; a `Pool`: in that. While
   * there is no room, requests wait and no connection is accepted.
   */
  spawn?: 'default' | number | Pool;
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
  /** How long requests may take to end when the server is stopped (default: 1000). */
  stopTimeout?: number;
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

/** How long the end of handlers is waited for that have been killed, in ms. */
const KILL_TIMEOUT = 1000;

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

  constructor(server: HttpServer, request: HttpRequest) {
    super();
    this.server = server;
    this.request = request;
  }

  protected override _run(): void {
    this.server._serve(this.request);
  }

  override _describe(): string {
    return `<Greenlet of ${this.request.method} ${this.request.url}>`;
  }
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
export class HttpServer {
  /** @internal */
  readonly _thread = ofThisThread;
  readonly #listener: Address | Socket;
  readonly #handler: HttpHandler;
  readonly #listenOptions: ListenOptions;
  readonly #host: RequestHost;
  readonly #numbers: number[];
  readonly #pool: Pool | null;
  readonly #stopTimeout: number;
  /** By what connections are encrypted. */
  readonly #tls: SecureContext | null;
  readonly #log: ((entry: AccessLogEntry) => void) | null;
  readonly #errorLog: HttpServerOptions['errorLog'] | null;
  readonly #compress: CompressOptions | null;
  /** Whether texts are sent as they are, and nobody is told. */
  readonly #isPlain: boolean;
  #socket: Socket | null = null;
  #address: SocketAddress = { address: '', port: 0, family: 4 };
  /** Native code's number for it; −1 while it is not started. */
  #id = -1;
  #context: Context = emptyContext;
  #active = 0;
  readonly #changed = new WaitQueue();

  /**
   * A server that is not started.
   *
   * @param listener - an address, as `createServer` takes it, or a socket that listens, which is the server's from then on
   * @param handler - answers requests
   * @throws {TypeError} if an argument is not as expected
   */
  constructor(listener: Address | Socket, handler: HttpHandler, options?: HttpServerOptions) {
    const call = `new ${new.target.name}()`;
    checkFunction(call, handler);
    const given = checkOptions(call, options);
    this.#listener = listener;
    this.#handler = handler;
    this.#listenOptions = pick(given, ['backlog', 'reuseAddr', 'reusePort', 'ipv6Only']);
    const { spawn = 'default', overload = 'pause', environ = {}, errorLog } = given;
    if (spawn !== 'default' && typeof spawn !== 'number' && !(spawn instanceof Pool))
      throw new TypeError(`${call}: spawn must be 'default', a number or a Pool, got ${describe(spawn)}`);
    if (overload !== 'pause' && overload !== 503)
      throw new TypeError(`${call}: overload must be 'pause' or 503, got ${describe(overload)}`);
    if (errorLog !== undefined) checkFunction(`${call}: errorLog`, errorLog);
    this.#pool = spawn instanceof Pool ? spawn : null;
    const room =
      spawn instanceof Pool ? Math.min(spawn.size, MAX_COUNT) : spawn === 'default' ? undefined : spawn;
    const maxBodySize = checkSize(call, 'maxBodySize', given.maxBodySize, 10 << 20);
    this.#numbers = [
      checkSize(call, 'maxRequestLine', given.maxRequestLine, 8192, MAX_HEAD),
      checkSize(call, 'maxHeadSize', given.maxHeadSize, 32_768, MAX_HEAD),
      checkSize(call, 'maxHeaders', given.maxHeaders, 100, 10_000),
      maxBodySize,
      checkTime(call, 'headTimeout', given.headTimeout, 30_000),
      checkTime(call, 'idleTimeout', given.idleTimeout, 60_000),
      checkSize(call, 'maxRequestsPerConnection', given.maxRequestsPerConnection, MAX_COUNT, MAX_COUNT),
      checkSize(call, 'spawn', room, MAX_COUNT, MAX_COUNT),
      checkSize(call, 'maxConnections', given.maxConnections, MAX_COUNT, MAX_COUNT),
      Number(overload === 503),
    ];
    const tls = given.tls === undefined ? null : checkHttpTls(call, given.tls);
    this.#tls = tls?.secureContext ?? null;
    if (tls !== null)
      this.#numbers.push(
        tls.handshakeTimeout ?? moduleOfTls().DEFAULT_HANDSHAKE_TIMEOUT,
        tls.secureContext._config(call, true),
      );
    this.#stopTimeout = checkTime(call, 'stopTimeout', given.stopTimeout, 1000);
    this.#log = accessLogOf(call, given.log);
    this.#errorLog = errorLog ?? null;
    this.#compress = compressionOf(call, given.compress);
    this.#isPlain = this.#log === null && this.#compress === null;
    const server = this;
    this.#host = {
      get family() {
        return server.#address.family;
      },
      get localAddress() {
        return server.#address;
      },
      bodyTimeout: forNative(checkTime(call, 'bodyTimeout', given.bodyTimeout, 60_000)),
      writeTimeout: forNative(checkTime(call, 'writeTimeout', given.writeTimeout, 60_000)),
      maxBodySize,
      environ: { ...checkOptions(`${call}: environ`, environ) },
      tls: this.#tls,
    };
  }

  // ---- beginning and ending

  /** Where it listens, once it is started: with port 0, this tells the port. */
  get address(): SocketAddress {
    return this.#address;
  }

  /** Whether it is started and not stopped since. */
  get started(): boolean {
    return this.#id >= 0;
  }

  /** The socket that it listens on, while it is started. */
  get socket(): Socket | null {
    return this.#socket;
  }

  /**
   * Listens and accepts. Nothing happens if it is started. Switches only if the host is a name.
   *
   * @throws {SystemError} `EADDRINUSE`, `EACCES`, …; `EBADF` if it was given a socket, which it has closed when it was stopped
   */
  start(): void {
    requireHub();
    if (this.#id >= 0) return;
    const listener = this.#listener;
    const socket = listener instanceof Socket ? listener : createServer(listener, this.#listenOptions);
    if (socket.closed) throw systemError(-9, 'listen');
    // Connections inherit it.
    if (socket.family !== 'unix') native.setOption(socket._key, 'noDelay', 1);
    this.#socket = socket;
    this.#address = socket.localAddress;
    this.#context = captureContext();
    this.#id = native.httpListen(socket._key, this.#numbers);
    servers[this.#id] = this;
    keepAlive(1);
    this.startAccepting();
  }

  /** Accepts connections again after {@link stopAccepting}. Never switches. */
  startAccepting(): void {
    if (this.#id >= 0) native.httpAccepting(this.#id, true);
  }

  /** Accepts no connections for now; those that there are go on. Never switches. */
  stopAccepting(): void {
    if (this.#id >= 0) native.httpAccepting(this.#id, false);
  }

  /**
   * Starts it, and returns when somebody has stopped it. What ends the wait in another way, a kill for instance, stops it.
   * Switches. gevent: `serve_forever`.
   */
  serveForever(options?: { stopTimeout?: number }): void {
    const { stopTimeout } = checkOptions('serveForever()', options);
    requireGreenlet('serveForever()');
    this.start();
    try {
      while (this.started) new Parked('serveForever()').parkIn(this.#changed, FOR_EVER);
    } finally {
      this.stop(stopTimeout);
    }
  }

  /**
   * Stops it: no more connections are accepted, those that wait for a request are closed, and requests that are under way may
   * end. Those that have not when the time is up are killed. Nothing happens if it is not started. Switches only if it must
   * wait. gevent: `stop`.
   *
   * @param limits - how long requests may take, in ms (default: the option `stopTimeout`)
   */
  stop(limits?: Limits): void {
    const { timeout } = checkLimits('stop()', limits ?? this.#stopTimeout);
    const id = this.#id;
    if (id < 0) return;
    this.#socket?.close();
    native.httpAccepting(id, false);
    native.httpStop(id);
    const current = currentRunnable();
    try {
      if (current !== null) this.#awaitEnd(id, timeout < 0 ? Infinity : timeout);
    } finally {
      this.#kill();
      try {
        if (current !== null) this.#awaitEnd(id, KILL_TIMEOUT);
      } finally {
        this.#end(id);
      }
    }
  }

  #end(id: number): void {
    if (this.#id !== id) return;
    this.#id = -1;
    this.#socket = null;
    servers[id] = undefined;
    native.httpClose(id);
    keepAlive(-1);
    this.#changed.notifyAll();
  }

  /** As {@link stop}, without waiting: requests that are under way are killed. Never switches. */
  close(): void {
    if (this.#id < 0) return;
    this.#socket?.close();
    this.#kill();
    this.#end(this.#id);
  }

  /** As {@link stop}, for `using`. */
  [Symbol.dispose](): void {
    this.stop();
  }

  /** Waits until no request is under way but the one that stops the server, or the time is up. */
  #awaitEnd(id: number, timeout: number): void {
    const own = this.#isOwn(currentRunnable()) ? 1 : 0;
    const deadline = now() + timeout;
    do {
      // Requests that have come already are taken meanwhile.
      yieldNow('stop()');
      while (this.#active > own) {
        const left = deadline - now();
        if (left <= 0 || !new Parked('stop()').parkIn(this.#changed, checkLimits('stop()', left))) return;
      }
    } while (this.#id === id && native.httpPending(id) > own && now() < deadline);
  }

  #isOwn(greenlet: unknown): greenlet is RequestGreenlet {
    return greenlet instanceof RequestGreenlet && greenlet.server === this;
  }

  #kill(): void {
    for (const greenlet of startedRunnables())
      if (this.#isOwn(greenlet) && greenlet !== currentRunnable()) greenlet.kill(undefined, { block: false });
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
    this.#active++;
    const request = new HttpRequest(this.#host, head);
    if (this.#log !== null) request._began = now();
    new RequestGreenlet(this, request)._beginNow(stackId, this.#context);
    // Who is told of greenlets that start may have killed it before it did.
    if (request._key !== 0) this.#leave(request);
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
    getHub().report(`<client ${show(remoteAddress)} of ${show(this.#address)}>`, error);
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
  _serve(request: HttpRequest): void {
    try {
      if (this.#pool !== null) this.#pool.add(getCurrent() as Greenlet<void>);
      const handler = this.#handler;
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
    if (request._key !== 0) {
      native.httpAbort(request._key);
      request._key = 0;
    }
    this.#active--;
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

  /** `<HttpServer at 127.0.0.1:8080>`. */
  toString(): string {
    return `<${this.constructor.name} ${this.started ? `at ${show(this.#address)}` : 'not started'}>`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/**
 * Starts a server and serves until it is stopped: `new HttpServer(…).serveForever()`. Switches.
 *
 * @example
 * run(() => serve(8080, (request) => `hello from ${request.path}`));
 */
export function serve(listener: Address | Socket, handler: HttpHandler, options?: HttpServerOptions): void {
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

function pick<T extends object, K extends keyof T>(from: T, keys: K[]): Pick<T, K> {
  const picked: Partial<Pick<T, K>> = {};
  for (const key of keys) if (from[key] !== undefined) picked[key] = from[key];
  return picked as Pick<T, K>;
}
