/** A `Response` that costs little: what of Node's it does not need is made when it is asked for. */
import { type HeadersInit as OwnHeadersInit, HttpHeaders } from './headers.js';

type Body = ConstructorParameters<typeof Response>[0];
type Init = ConstructorParameters<typeof Response>[1];

/** Node's class, which the light one stands for. */
const NodeResponse = globalThis.Response;

/** What a light response was made of. */
export interface Ingredients {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HttpHeaders;
  readonly body: string | Uint8Array | null;
}

/** Bodies that can be sent as they are. */
function isPlain(body: unknown): body is string | Uint8Array | null | undefined {
  return body === null || body === undefined || typeof body === 'string' || body instanceof Uint8Array;
}

const PLAIN_STATUSES = { 204: true, 205: true, 304: true } as Record<number, boolean>;

class LightResponse {
  #body: Body;
  #init: Init;
  #real: Response | null = null;

  constructor(body?: Body, init?: Init) {
    this.#body = body;
    this.#init = init;
    const status = init?.status ?? 200;
    // What Node's class refuses or treats in its own way is left to it.
    if (!isPlain(body) || status < 200 || status > 599 || PLAIN_STATUSES[status] === true) void this.real;
  }

  static ingredientsOf(response: object): Ingredients | null {
    if (!(#real in response) || response.#real !== null) return null;
    const { status = 200, statusText = '', headers } = response.#init ?? {};
    const body = (response.#body ?? null) as string | Uint8Array | null;
    const own = new HttpHeaders(headers as OwnHeadersInit | undefined);
    if (typeof body === 'string' && !own.has('content-type'))
      own.set('content-type', 'text/plain;charset=UTF-8');
    return { status, statusText, headers: own, body };
  }

  get real(): Response {
    return (this.#real ??= new NodeResponse(this.#body, this.#init));
  }

  get status(): number {
    return this.#real === null ? (this.#init?.status ?? 200) : this.#real.status;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  get [Symbol.toStringTag](): string {
    return 'Response';
  }
}

Object.setPrototypeOf(LightResponse, NodeResponse);
Object.setPrototypeOf(LightResponse.prototype, NodeResponse.prototype);
for (const name of ['body', 'bodyUsed', 'headers', 'redirected', 'statusText', 'type', 'url'] as const) {
  Object.defineProperty(LightResponse.prototype, name, {
    get(this: LightResponse): unknown {
      return this.real[name];
    },
    configurable: true,
    enumerable: true,
  });
}
for (const name of ['arrayBuffer', 'blob', 'bytes', 'clone', 'formData', 'json', 'text']) {
  if (!(name in NodeResponse.prototype)) continue;
  Object.defineProperty(LightResponse.prototype, name, {
    value(this: LightResponse, ...args: unknown[]): unknown {
      const { real } = this as unknown as { real: Record<string, (...args: unknown[]) => unknown> };
      return real[name]?.(...args);
    },
    configurable: true,
    writable: true,
  });
}
// So that what Node makes itself, by fetch() for instance, is one of these.
Object.defineProperty(LightResponse, Symbol.hasInstance, {
  value: (value: unknown) =>
    typeof value === 'object' && value !== null && NodeResponse.prototype.isPrototypeOf(value),
});

/** Puts the light class in the place of the global one. */
export function useLightResponses(): void {
  globalThis.Response = LightResponse as unknown as typeof Response;
}

/** What a response was made of, if it is a light one that nobody has looked into. */
export function ingredientsOf(response: Response): Ingredients | null {
  return LightResponse.ingredientsOf(response);
}
