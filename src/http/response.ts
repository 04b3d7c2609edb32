/** What handlers return, and what of it is sent. */
import { inspect } from 'node:util';

import { HttpFlag } from '../binding.js';
import { checkOptions, describe } from '../checks.js';
import { type HeadersInit, HttpHeaders, checkValue } from './headers.js';
import { ingredientsOf } from './light-response.js';

/** What native code writes for a number of a media type; `TYPES` in crates/hub/src/http/response.rs has the same list. */
const MEDIA_TYPES: ReadonlyArray<string | undefined> = [
  undefined,
  'text/plain; charset=utf-8',
  'application/octet-stream',
  'application/json',
  'text/html; charset=utf-8',
];

/** A piece of a body; a string is sent as UTF-8. */
export type Piece = string | ArrayBufferView | ArrayBuffer;

/** The body of a response: at once, or piece by piece. */
export type HttpBody = Piece | Iterable<Piece> | AsyncIterable<Piece> | null;

/** Options of {@link HttpResponse}. */
export interface HttpResponseInit {
  /** 200 to 599 (default: 200). */
  status?: number;
  /** In place of the standard phrase of the status. */
  reason?: string;
  /** Header fields. Those about framing and the connection are the server's. */
  headers?: HeadersInit | null;
  /** Called after the last piece of a body that is sent in chunks: the fields of its trailer section. */
  trailers?: () => HeadersInit;
}

/**
 * A response with a status and headers. Its body is sent at once if it is a string or bytes, with `Content-Length`; what an
 * iterable gives is sent as it comes, in chunks.
 *
 * @example
 * return new HttpResponse('not here', { status: 404 });
 */
export class HttpResponse {
  /** In place of the standard phrase. */
  readonly reason: string | undefined;
  readonly body: HttpBody;
  /** @internal */
  readonly _trailers: (() => HeadersInit) | undefined;
  readonly #status: number;
  /** `null` as long as nobody has given or asked for any. */
  #headers: HttpHeaders | null;
  /** Of {@link HttpFlag}: in place of a Content-Type among the headers; 0: none. */
  #mediaType = 0;

  /**
   * @throws {RangeError} if the status is not from 200 to 599
   * @throws {TypeError} if a header cannot be one, or the body is none; if there is one with status 204 or 304
   */
  constructor(body: HttpBody = null, init?: HttpResponseInit) {
    const call = `new ${new.target.name}()`;
    const { status = 200, reason, headers, trailers } = checkOptions(call, init);
    if (!Number.isInteger(status))
      throw new TypeError(`${call}: status must be a whole number, got ${describe(status)}`);
    if (status < 200 || status > 599)
      throw new RangeError(`${call}: status must be from 200 to 599, got ${status}`);
    if (reason !== undefined) checkValue(call, 'reason', reason);
    if (trailers !== undefined && typeof trailers !== 'function')
      throw new TypeError(`${call}: trailers must be a function, got ${describe(trailers)}`);
    this.#status = status;
    this.reason = reason;
    this.#headers = headers === undefined || headers === null ? null : new HttpHeaders(headers);
    this.body = checkBody(call, body);
    this._trailers = trailers;
    if (body !== null && body !== '' && isBodiless(status))
      throw new TypeError(`${call}: a response with status ${status} has no body`);
  }

  get status(): number {
    return this.#status;
  }

  /** Its header fields; they may be changed until it is returned. */
  get headers(): HttpHeaders {
    if (this.#headers === null) {
      this.#headers = new HttpHeaders();
      const type = MEDIA_TYPES[this.#mediaType];
      if (type !== undefined) this.#headers.set('Content-Type', type);
      this.#mediaType = 0;
    }
    return this.#headers;
  }

  /** What is sent of it. @internal */
  _reply(): Reply {
    const { reason = '', body } = this;
    const own = replyWith(this.#status, this.#headers, reason, body, this._trailers);
    if (this.#mediaType !== 0) own.flags = (own.flags & ~7) | this.#mediaType;
    return own;
  }

  /** A body of a type, unless the headers have another. */
  static #typed(text: string, type: number, init: HttpResponseInit | undefined): HttpResponse {
    const response = new HttpResponse(text, init);
    if (response.#headers === null) response.#mediaType = type;
    else if (!response.#headers.has('content-type'))
      response.#headers.set('Content-Type', MEDIA_TYPES[type] as string);
    return response;
  }

  /** A response with a value as JSON. */
  static json(value: unknown, init?: HttpResponseInit): HttpResponse {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`HttpResponse.json(): ${describe(value)} cannot be JSON`);
    return HttpResponse.#typed(text, HttpFlag.Json, init);
  }

  /** A response with HTML. */
  static html(text: string, init?: HttpResponseInit): HttpResponse {
    return HttpResponse.#typed(text, HttpFlag.Html, init);
  }

  /** A response that sends the client elsewhere. */
  static redirect(location: string | URL, status: 301 | 302 | 303 | 307 | 308 = 302): HttpResponse {
    return new HttpResponse(null, { status, headers: { Location: String(location) } });
  }

  [inspect.custom](): string {
    return `<HttpResponse ${this.status}>`;
  }
}

function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}

function isIterable(body: object): body is Iterable<Piece> | AsyncIterable<Piece> {
  return Symbol.iterator in body || Symbol.asyncIterator in body;
}

/** The bytes of a piece; `undefined` if it is none. */
export function bytesOf(piece: unknown): Uint8Array | undefined {
  if (typeof piece === 'string') return Buffer.from(piece);
  if (piece instanceof Uint8Array) return piece;
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  return undefined;
}

function checkBody(call: string, body: unknown): HttpBody {
  if (body === null || typeof body === 'string') return body;
  if (typeof body === 'object' && (bytesOf(body) !== undefined || isIterable(body))) return body as HttpBody;
  throw new TypeError(
    `${call}: a body is a string, bytes, an iterable of these or null, got ${describe(body)}; HttpResponse.json() sends a value as JSON`,
  );
}

/** A response as it is sent. */
export interface Reply {
  status: number;
  /** Of {@link HttpFlag}, without those of the body. */
  flags: number;
  /** Lines. */
  fields: string;
  reason: string;
  body: HttpBody;
  /** What the handler says that it will be; −1: nothing. */
  length: number;
  trailers: (() => HeadersInit) | undefined;
  /** Whether a media type may be guessed: not that of a `Response`, which would have told. */
  guesses: boolean;
}

/** What a handler has returned, as it is sent. */
export function replyOf(result: unknown): Reply {
  if (result instanceof HttpResponse) return result._reply();
  if (result instanceof Response) {
    const made = ingredientsOf(result);
    if (made !== null)
      return replyWith(made.status, made.headers, made.statusText, made.body, undefined, false);
    const headers = new HttpHeaders(result.headers);
    return replyWith(result.status, headers, result.statusText, result.body as HttpBody, undefined, false);
  }
  if (!isBody(result)) {
    throw new TypeError(
      `a handler must return a string, bytes, an HttpResponse, a Response or an iterable of strings and bytes, got ${describe(result)}: ` +
        'HttpResponse.json() makes a response of a value, new HttpResponse() an empty one',
    );
  }
  return replyWith(200, null, '', result, undefined);
}

function isBody(result: unknown): result is Exclude<HttpBody, null> {
  if (typeof result === 'string') return true;
  return (
    typeof result === 'object' && result !== null && (bytesOf(result) !== undefined || isIterable(result))
  );
}

function replyWith(
  status: number,
  headers: HttpHeaders | null,
  reason: string,
  body: HttpBody,
  trailers: (() => HeadersInit) | undefined,
  guesses = true,
): Reply {
  const own: Reply = { status, flags: 0, fields: '', reason, body, length: -1, trailers, guesses };
  if (reason !== '') own.flags |= HttpFlag.HasReason;
  if (headers === null) {
    own.flags |= mediaTypeOf(body);
    return own;
  }
  if (headers.has('transfer-encoding'))
    throw new TypeError('Transfer-Encoding is the server’s: a body that is an iterable is sent in chunks');
  const length = headers.get('content-length');
  if (length !== null) {
    if (!/^\d{1,15}$/.test(length))
      throw new TypeError(`Content-Length must be a number of bytes, got '${length}'`);
    own.length = Number(length);
  }
  if (/(?:^|,)\s*close\s*(?:,|$)/i.test(headers.get('connection') ?? '')) own.flags |= HttpFlag.Close;
  if (headers.has('date')) own.flags |= HttpFlag.HasDate;
  if (guesses && !headers.has('content-type')) own.flags |= mediaTypeOf(body);
  own.fields = headers._lines();
  if (own.fields !== '') own.flags |= HttpFlag.HasFields;
  return own;
}

/** What a body is, as far as one can see. */
export function mediaTypeOf(body: HttpBody): number {
  if (typeof body === 'string') return body === '' ? 0 : HttpFlag.Text;
  return body !== null && bytesOf(body) !== undefined ? HttpFlag.Bytes : 0;
}

/** The bytes of a body that is there at once: none, a piece, or an array of pieces. `undefined` for others. */
export function wholeOf(body: HttpBody): string | Uint8Array | undefined {
  if (body === null) return '';
  if (typeof body === 'string') return body;
  if (!Array.isArray(body)) return bytesOf(body);
  const pieces = body.map(bytesOf);
  return pieces.every((piece) => piece !== undefined) ? Buffer.concat(pieces) : undefined;
}
