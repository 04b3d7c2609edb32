/** Requests as Fetch-style apps know them, made as far as they are looked at. */
import { asyncify } from '../wait-for.js';
import type { HttpRequest } from './request.js';

/** `GET` and `HEAD` have no body by the Fetch API, whatever was sent. */
function hasBody({ method, contentLength }: HttpRequest): boolean {
  return method !== 'GET' && method !== 'HEAD' && contentLength !== 0;
}

const textOf = asyncify((request: HttpRequest) => request.text());
const bytesOf = asyncify((request: HttpRequest) => request.bytes());
const pieceOf = asyncify((request: HttpRequest) => request.read());

/** The body as it comes. */
function streamOf(request: HttpRequest): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = await pieceOf(request);
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
  readonly #controller: () => AbortController;
  #url: string | null = null;
  #headers: Headers | null = null;
  #real: Request | null = null;
  #used = false;

  constructor(request: HttpRequest, scheme: string, controller: () => AbortController) {
    this.#request = request;
    this.#scheme = scheme;
    this.#controller = controller;
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
    return this.#controller().signal;
  }

  /** The object of Node's own class. */
  get real(): Request {
    if (this.#real !== null) return this.#real;
    const init: RequestInit = { method: this.method, headers: this.headers, signal: this.signal };
    if (hasBody(this.#request)) {
      this.#use('body');
      Object.assign(init, { body: streamOf(this.#request), duplex: 'half' });
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
    return hasBody(this.#request) ? (this.#request._textNow() ?? textOf(this.#request)) : '';
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
    return hasBody(this.#request) ? new Uint8Array(await bytesOf(this.#request)) : new Uint8Array();
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
export function fetchRequestOf(
  request: HttpRequest,
  scheme: string,
  controller: () => AbortController,
): Request {
  return new LazyRequest(request, scheme, controller) as unknown as Request;
}
