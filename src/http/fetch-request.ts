/** Requests as Fetch-style apps know them, made as far as they are looked at. */
import { asyncify } from '../wait-for.js';
import { ClientWatch } from './client-watch.js';
import type { HttpRequest } from './request.js';

/** `GET` and `HEAD` have no body by the Fetch API, whatever was sent. */
function hasBody({ method, contentLength }: HttpRequest): boolean {
  return method !== 'GET' && method !== 'HEAD' && contentLength !== 0;
}

/** Whether the client of a request is still there, as far as somebody wants to know and nobody reads: who reads finds out. */
export class Attention {
  #controller: AbortController | null = null;
  #watch: ClientWatch | null = null;
  #readers = 0;
  #ended = false;

  constructor(readonly request: HttpRequest) {}

  /** Aborted when the client goes. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      const controller = new AbortController();
      this.#controller = controller;
      if (!this.#ended) {
        this.#watch = new ClientWatch(this.request, () => controller.abort());
        if (this.#readers === 0) this.#watch.start();
      }
    }
    return this.#controller.signal;
  }

  /** Reads, in a greenlet. */
  readonly read = asyncify(<T>(read: (request: HttpRequest) => T): T => {
    this.#readers++;
    this.#watch?.stop();
    try {
      return read(this.request);
    } catch (error) {
      if (this.request._lost) this.abort();
      throw error;
    } finally {
      if (--this.#readers === 0) this.#watch?.start();
    }
  });

  abort(): void {
    this.#controller?.abort();
  }

  /** Whether somebody has asked for the signal. */
  get isWanted(): boolean {
    return this.#controller !== null;
  }

  /** The response is there, and sent at once. */
  end(): void {
    this.#ended = true;
    this.#watch?.stop();
    this.#watch = null;
  }

  /** The response is there, and a stream: until its end it is the server's to stop watching. */
  endWithStream(): void {
    this.#ended = true;
    this.request._watch = this.#watch;
    this.#watch = null;
  }
}

const textOf = (request: HttpRequest): string => request.text();
const bytesOf = (request: HttpRequest): Buffer => request.bytes();
const pieceOf = (request: HttpRequest): Buffer => request.read();

/** The body as it comes. */
function streamOf(attention: Attention): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = await attention.read(pieceOf);
        if (piece.length > 0) controller.enqueue(piece);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** What `Request` has that is not worth an own word. */
const REST = [
  'cache',
  'credentials',
  'destination',
  'duplex',
  'integrity',
  'isHistoryNavigation',
  'isReloadNavigation',
  'keepalive',
  'mode',
  'redirect',
  'referrer',
  'referrerPolicy',
] as const;

/** A `Request` whose parts are made when they are asked for. */
class LazyRequest {
  readonly #request: HttpRequest;
  readonly #scheme: string;
  readonly #attention: Attention;
  #url: string | null = null;
  #headers: Headers | null = null;
  #real: Request | null = null;
  #used = false;

  constructor(attention: Attention, scheme: string) {
    this.#attention = attention;
    this.#request = attention.request;
    this.#scheme = scheme;
  }

  get method(): string {
    return this.#request.method;
  }

  get url(): string {
    return (this.#url ??= urlOf(this.#request, this.#scheme));
  }

  get headers(): Headers {
    return (this.#headers ??= new Headers([...this.#request.headers.raw()]));
  }

  get signal(): AbortSignal {
    return this.#attention.signal;
  }

  /** The object of Node's own class. */
  get real(): Request {
    if (this.#real !== null) return this.#real;
    const init: RequestInit = { method: this.method, headers: this.headers, signal: this.signal };
    if (hasBody(this.#request)) {
      this.#use('body');
      Object.assign(init, { body: streamOf(this.#attention), duplex: 'half' });
    }
    this.#real = new Request(this.url, init);
    return this.#real;
  }

  get body(): ReadableStream<Uint8Array> | null {
    return hasBody(this.#request) ? this.real.body : null;
  }

  get bodyUsed(): boolean {
    return this.#real === null ? this.#used : this.#real.bodyUsed;
  }

  #use(call: string): void {
    if (this.#used) throw new TypeError(`${call}: the body has been read already`);
    this.#used = true;
  }

  async text(): Promise<string> {
    if (this.#real !== null) return this.#real.text();
    this.#use('text()');
    return hasBody(this.#request) ? (this.#request._textNow() ?? this.#attention.read(textOf)) : '';
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = await this.bytes();
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  }

  async bytes(): Promise<Uint8Array> {
    if (this.#real !== null) return new Uint8Array(await this.#real.arrayBuffer());
    this.#use('bytes()');
    return hasBody(this.#request) ? new Uint8Array(await this.#attention.read(bytesOf)) : new Uint8Array();
  }

  async blob(): Promise<Blob> {
    return this.real.blob();
  }

  async formData(): Promise<FormData> {
    return this.real.formData() as Promise<FormData>;
  }

  clone(): Request {
    return this.real.clone() as Request;
  }

  get [Symbol.toStringTag](): string {
    return 'Request';
  }
}

Object.setPrototypeOf(LazyRequest.prototype, Request.prototype);
for (const name of REST) {
  Object.defineProperty(LazyRequest.prototype, name, {
    get(this: LazyRequest): unknown {
      return (this.real as unknown as Record<string, unknown>)[name];
    },
    configurable: true,
    enumerable: true,
  });
}

/** A host as a URL can have it: nothing in it ends it, and it has no password. */
const HOST = /^[\w.-]+(?::\d{1,5})?$|^\[[\da-f:.]+\](?::\d{1,5})?$/i;

function urlOf(request: HttpRequest, scheme: string): string {
  const { url } = request;
  const host = request._field('host');
  const base = `${scheme}://${host !== null && HOST.test(host) ? host : 'localhost'}`;
  if (!url.startsWith('/')) return url === '*' ? `${base}/` : new URL(url, base).href;
  // What is plain already would not be changed.
  return PLAIN.test(url) && isLower(host ?? '') ? base + url : new URL(base + url).href;
}

/** Targets that a URL has as they are: without dot segments, for instance. */
const PLAIN = /^\/(?:[\w~!$&()*+,;=:@/-]|%(?!2e)|\.(?![./?]|$))*(?:\?[\w~!$&()*+,;=:@%/.?-]*)?$/i;

function isLower(host: string): boolean {
  return !/[A-Z]|:(?:80|443)$/.test(host);
}

/** A request for a Fetch-style app. */
export function fetchRequestOf(attention: Attention, scheme: string): Request {
  return new LazyRequest(attention, scheme) as unknown as Request;
}
