/**
 * Requests and responses for Node-style listeners: Node's own, whose ways to the socket lead to native code.
 *
 * Frameworks give them other prototypes, so what is replaced is replaced in each object.
 */
import {
  IncomingMessage,
  OutgoingMessage,
  ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Socket } from 'node:net';

import { HttpFlag, native } from '../binding.js';
import { spawn } from '../greenlet.js';
import type { HttpRequest } from './request.js';
import { HttpUnsupportedError, type NodeConnection } from './node-connection.js';

type Callback = (error?: Error | null) => void;

// ---- requests

/** Reads the body, as it is wanted. */
function readBody(this: NodeRequest): void {
  const { _connection: connection } = this;
  const request = connection._request;
  if (this._isRead || request._key === 0) {
    this._end();
    return;
  }
  if (this._isReading) return;
  if (request.contentLength !== undefined) {
    const whole = native.httpBody(request._key, false) as Buffer | undefined;
    if (whole !== undefined) {
      if (whole.length > 0) this.push(whole);
      this._end();
      return;
    }
  }
  this._isReading = true;
  connection._unwatchClient();
  spawn(readPieces, this);
}

/** Reads until nobody wants more for now. Runs in a greenlet of its own. */
function readPieces(message: NodeRequest): void {
  const request = message._connection._request;
  try {
    for (;;) {
      const piece = request.read();
      if (piece.length === 0) {
        message._end();
        break;
      }
      if (!message.push(piece)) break;
    }
  } catch (error) {
    message.destroy(error as Error);
    return;
  } finally {
    message._isReading = false;
  }
  message._connection._watchClient();
}

/** As Node's, whose connection is a real one. */
function destroyRequest(this: NodeRequest, error: Error | null, callback: Callback): void {
  if (!this.readableEnded || !this.complete) {
    this.aborted = true;
    this.emit('aborted');
    const { _connection } = this;
    // A request that was refused can still be answered, by whoever hears of it.
    if (this.complete || error === null || !('status' in error)) _connection._abort();
  }
  process.nextTick(() => callback(this.listenerCount('error') > 0 ? error : null));
}

/** A request as Node-style listeners know it. */
export class NodeRequest extends IncomingMessage {
  override _read = readBody;
  override _destroy = destroyRequest;
  _end = endBody;
  _dump = dumpBody;
  // What Node's class has and its types do not tell.
  declare readonly _eventsCount: number;
  declare readonly _addHeaderLines: (headers: string[], count: number) => void;
  readonly _connection: NodeConnection;
  /** Whether a greenlet is reading. */
  _isReading = false;
  /** Whether the end of the body has been told. */
  _isRead = false;

  constructor(request: HttpRequest, connection: NodeConnection) {
    super(connection as unknown as Socket);
    this._connection = connection;
    this.method = request.method;
    this.url = request.url;
    const headers = request._rawHeaders();
    this._addHeaderLines(headers, headers.length);
    this.httpVersionMajor = 1;
    if (request.httpVersion === '1.0') {
      this.httpVersionMinor = 0;
      this.httpVersion = '1.0';
    } else {
      this.httpVersionMinor = 1;
      this.httpVersion = '1.1';
    }
    this.complete = request.contentLength === 0;
  }
}

function endBody(this: NodeRequest): void {
  if (this._isRead) return;
  this._isRead = true;
  this.complete = true;
  for (const [name, value] of this._connection._request.trailers.raw()) {
    this.rawTrailers.push(name, value);
    this.trailers[name.toLowerCase()] ??= value;
  }
  this.push(null);
}

/** After the response: what was not read is the server's to discard. */
function dumpBody(this: NodeRequest): void {
  if (this.readableEnded || this.listenerCount('end') + this.listenerCount('close') === 0) return;
  this.removeAllListeners('data');
  this.resume();
}

// ---- responses

/** The symbol under which Node keeps something in a message. */
function internalOf(message: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(message).find((symbol) => symbol.description === description);
}

function required(message: object, description: string): symbol {
  const found = internalOf(message, description);
  if (found === undefined) throw new Error(`Node's messages have no ${description} any more`);
  return found;
}

const sample = new OutgoingMessage();
/** Where Node keeps the headers that were set, as `[name, value]` by lower-case names. */
const OUT_HEADERS = required(sample, 'kOutHeaders');
const NEED_DRAIN = required(sample, 'kNeedDrain');
/** From Node 24 on. */
const WRITABLE_FINISHED = internalOf(sample, 'kWritableFinished');

interface Internals {
  [key: symbol]: unknown;
}

/** A head as Node has it, made into lines, as far as it is not native code's. */
function storeHeader(this: NodeResponse, firstLine: string, headers: unknown): void {
  if (this.statusCode < 200)
    throw new HttpUnsupportedError(`status ${this.statusCode}`, 'take the connection by onUpgrade');
  this._fields = '';
  this._flags = this.shouldKeepAlive ? 0 : HttpFlag.Close;
  this._length = -1;
  // Node writes none then, and native code believes that there is one.
  if (!this.sendDate) this._flags |= HttpFlag.HasDate;
  if (headers === (this as unknown as Internals)[OUT_HEADERS]) {
    const fields = headers as Record<string, [name: string, value: HeaderValue]> | null;
    for (const key in fields) {
      const [name, value] = fields[key] as [string, HeaderValue];
      if (typeof value === 'object') for (const one of value) addField(this, key, name, one);
      else addField(this, key, name, value);
    }
  } else if (Array.isArray(headers)) {
    const isFlat = headers.length > 0 && !Array.isArray(headers[0]);
    for (let index = 0; index < headers.length; index += isFlat ? 2 : 1) {
      const [name, value] = isFlat ? headers.slice(index, index + 2) : (headers[index] as unknown[]);
      addChecked(this, name as string, value as HeaderValue);
    }
  } else if (headers) {
    for (const [name, value] of Object.entries(headers)) addChecked(this, name, value as HeaderValue);
  }
  if (this._fields !== '') this._flags |= HttpFlag.HasFields;
  if (this.statusMessage !== STATUS_CODES[this.statusCode]) {
    this._reason = this.statusMessage;
    this._flags |= HttpFlag.HasReason;
  }
  this._header = firstLine;
  this.chunkedEncoding = false;
}

type HeaderValue = string | number | readonly string[];

function addChecked(response: NodeResponse, name: string, value: HeaderValue): void {
  validateHeaderName(name);
  const key = name.toLowerCase();
  for (const one of Array.isArray(value) ? value : [value]) {
    validateHeaderValue(name, one);
    addField(response, key, name, one);
  }
}

function addField(response: NodeResponse, key: string, name: string, value: string | number): void {
  switch (key) {
    case 'content-length':
      response._length = Number(value);
      return;
    case 'connection':
      if (/(?:^|,)\s*close\s*(?:,|$)/i.test(String(value))) response._flags |= HttpFlag.Close;
      return;
    case 'transfer-encoding':
    case 'keep-alive':
      return;
    case 'date':
      response._flags |= HttpFlag.HasDate;
      break;
  }
  response._fields += `${name}: ${value}\r\n`;
}

/** Takes a piece of the body, framed by native code. */
function send(
  this: NodeResponse,
  data: string | Uint8Array,
  encoding?: BufferEncoding | null,
  callback?: Callback | null,
): boolean {
  if (this._isEnding) {
    // What Node's `end()` wants to be called when all is sent, with the last piece or after it.
    if (callback) this._onFinish = callback;
    return data.length === 0 || this._connection._take(asSent(data, encoding));
  }
  return this._connection._take(asSent(data, encoding), callback);
}

function asSent(data: string | Uint8Array, encoding: BufferEncoding | null | undefined): string | Uint8Array {
  if (typeof data !== 'string' || !encoding || encoding === 'utf8' || encoding === 'utf-8') return data;
  return Buffer.from(data, encoding);
}

/** Interim responses, as Node writes them: `100 Continue` is native code's to send. */
function writeRaw(this: NodeResponse, head: string, _encoding?: unknown, callback?: Callback): boolean {
  const [, status = '', reason = '', fields = ''] =
    /^HTTP\/1\.1 (\d{3}) (.*)\r\n([^]*)\r\n$/.exec(head) ?? [];
  if (this._header)
    throw Object.assign(
      new Error('Cannot write an interim response after the headers are sent to the client'),
      {
        code: 'ERR_HTTP_HEADERS_SENT',
      },
    );
  if (status !== '100') this._connection._writeInterim(Number(status), reason, fields);
  if (callback) process.nextTick(callback);
  return true;
}

function finish(this: NodeResponse): void {
  if (this._isHeard()) this.emit('prefinish');
  this._connection._complete(this._trailer);
}

const { end: nodeEnd } = ServerResponse.prototype;

/** As Node's `end()`; what most listeners do takes a short way through it. */
function end(
  this: NodeResponse,
  chunk?: string | Uint8Array | Callback | null,
  encoding?: BufferEncoding | Callback,
  callback?: Callback,
): NodeResponse {
  this._isEnding = true;
  const isPlain = typeof chunk === 'string' || chunk instanceof Uint8Array;
  const isShort = isPlain && callback === undefined && typeof encoding !== 'function';
  if (!isShort || this.headersSent || this.finished || this.destroyed || this._trailer !== '') {
    Reflect.apply(nodeEnd as (...args: unknown[]) => unknown, this, [chunk, encoding, callback]);
    return this;
  }
  const body = asSent(chunk, encoding);
  this._contentLength = body.length;
  this._implicitHeader();
  if (/^trailer:/im.test(this._fields) || (this._hasBody && this._length >= 0 && this.strictContentLength)) {
    Reflect.apply(nodeEnd as (...args: unknown[]) => unknown, this, [chunk, encoding]);
    return this;
  }
  this.finished = true;
  if (this._isHeard()) this.emit('prefinish');
  this._connection._respond(body);
  return this;
}

function flushHeaders(this: NodeResponse): void {
  if (!this._header) this._implicitHeader();
  this._connection._take('');
}

function emitFinish(this: NodeResponse): void {
  if (this._onFinish !== null) {
    this._onFinish();
    return;
  }
  if (WRITABLE_FINISHED !== undefined) (this as unknown as Internals)[WRITABLE_FINISHED] = true;
  this.emit('finish');
}

function emitClose(this: NodeResponse, error?: Error): void {
  if (this._closed) return;
  if (error !== undefined) this._onFinish?.(error);
  (this as { destroyed: boolean }).destroyed = true;
  this._closed = true;
  this.emit('close');
}

/** The client has taken everything. */
function drain(this: NodeResponse): void {
  const internals = this as unknown as Internals;
  if (this.finished || internals[NEED_DRAIN] !== true) return;
  internals[NEED_DRAIN] = false;
  this.emit('drain');
}

function isHeard(this: NodeResponse): boolean {
  return this._eventsCount > 0 || (this._connection._incoming as NodeRequest)._eventsCount > 0;
}

/** A response as Node-style listeners know it. */
export class NodeResponse extends ServerResponse<IncomingMessage> {
  // What Node's class has and its types do not tell.
  declare _header: string | null;
  declare readonly _hasBody: boolean;
  declare _closed: boolean;
  declare _contentLength: number | null;
  declare readonly _trailer: string;
  declare readonly _eventsCount: number;
  declare readonly _implicitHeader: () => void;
  _storeHeader = storeHeader;
  _send = send;
  _writeRaw = writeRaw;
  _finish = finish;
  override flushHeaders = flushHeaders;
  _emitFinish = emitFinish;
  _emitClose = emitClose;
  _drain = drain;
  _isHeard = isHeard;
  readonly _connection: NodeConnection;
  /** Lines of the head that are not native code's. */
  _fields = '';
  _flags = 0;
  /** What the listener says that the body will be, in bytes; −1: nothing. */
  _length = -1;
  _reason = '';
  _isEnding = false;
  /** Node's own way to tell of the end, if it has begun. */
  _onFinish: Callback | null = null;

  constructor(request: NodeRequest, connection: NodeConnection) {
    super(request);
    this._connection = connection;
    connection._incoming = request;
    connection._httpMessage = this;
    const own = this as { socket: unknown; end: unknown };
    own.socket = connection;
    own.end = end;
  }
}
