/** A client of HTTP whose calls block the greenlet: Node's `fetch`, waited for. */
import { inspect } from 'node:util';

import { describe } from '../checks.js';
import { requireGreenlet } from '../hub.js';
import { checkLimits, type CheckedLimits, type LimitOptions, type Limits } from '../limits.js';
import { waitFor } from '../wait-for.js';

/** What `fetch` takes: the options of Node's, and limits. */
export type FetchInit = Omit<RequestInit, 'signal'> & LimitOptions;

/** Limits as `waitFor` takes them. */
function limitsOf({ timeout, limit, signal }: CheckedLimits): LimitOptions {
  return {
    timeout: limit ?? (timeout < 0 ? null : timeout),
    block: timeout !== 0,
    signal: signal ?? undefined,
  };
}

/** Waits for a step of an exchange, which ends with it if it does not. */
function step<T>(controller: AbortController, promise: Promise<T>, limits: CheckedLimits): T {
  try {
    return waitFor(promise, limitsOf(limits)) as T;
  } catch (error) {
    controller.abort(error);
    throw error;
  }
}

/**
 * A response whose head has come. Reading the body blocks the greenlet; each call takes limits, as all calls that wait; without,
 * those that `fetch` was given hold. A body that is not read to its end keeps the connection: {@link close} gives it back.
 */
export class FetchResponse implements Iterable<Buffer>, Disposable {
  readonly #response: Response;
  readonly #controller: AbortController;
  readonly #limits: CheckedLimits;

  /** @internal */
  constructor(response: Response, controller: AbortController, limits: CheckedLimits) {
    this.#response = response;
    this.#controller = controller;
    this.#limits = limits;
  }

  get status(): number {
    return this.#response.status;
  }

  get statusText(): string {
    return this.#response.statusText;
  }

  /** Whether the status is from 200 to 299. */
  get ok(): boolean {
    return this.#response.ok;
  }

  get headers(): Headers {
    return this.#response.headers;
  }

  /** Where it has come from, after redirects. */
  get url(): string {
    return this.#response.url;
  }

  get redirected(): boolean {
    return this.#response.redirected;
  }

  get bodyUsed(): boolean {
    return this.#response.bodyUsed;
  }

  #read<T>(call: string, read: () => Promise<T>, limits: Limits): T {
    requireGreenlet(call);
    const checked = limits === undefined ? this.#limits : checkLimits(call, limits);
    checked.signal?.throwIfAborted();
    return step(this.#controller, read(), checked);
  }

  /**
   * The body as text. Switches.
   *
   * @throws {Timeout} if the time is up first
   * @throws {TypeError} if the body was read before, or breaks off
   */
  text(limits?: Limits): string {
    return this.#read('text()', () => this.#response.text(), limits);
  }

  /** The body as `JSON.parse` understands it. Switches. Throws as {@link text}, and `SyntaxError`. */
  json(limits?: Limits): unknown {
    return this.#read('json()', () => this.#response.json(), limits);
  }

  /** The body as a Buffer. Switches. Throws as {@link text}. */
  bytes(limits?: Limits): Buffer {
    return Buffer.from(this.arrayBuffer(limits));
  }

  /** The body as an ArrayBuffer. Switches. Throws as {@link text}. */
  arrayBuffer(limits?: Limits): ArrayBuffer {
    return this.#read('arrayBuffer()', () => this.#response.arrayBuffer(), limits);
  }

  /** The body as a Blob. Switches. Throws as {@link text}. */
  blob(limits?: Limits): Blob {
    return this.#read('blob()', () => this.#response.blob() as Promise<Blob>, limits);
  }

  /** The body as the fields of a form. Switches. Throws as {@link text}. */
  formData(limits?: Limits): FormData {
    return this.#read('formData()', () => this.#response.formData() as Promise<FormData>, limits);
  }

  /**
   * The body, piece by piece, as it comes. Each step switches. Ending the iteration early closes the connection. Throws as
   * {@link text}.
   */
  get body(): Iterable<Buffer> {
    return { [Symbol.iterator]: () => this.#pieces() };
  }

  *#pieces(): Generator<Buffer> {
    const { body } = this.#response;
    if (body === null) return;
    const reader = body.getReader();
    let ended = false;
    try {
      for (;;) {
        const { done, value } = this.#read('body', () => reader.read(), undefined);
        ended = done;
        if (value === undefined) return;
        yield Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
      }
    } finally {
      if (!ended) this.close();
    }
  }

  /** As {@link body}. */
  [Symbol.iterator](): Iterator<Buffer> {
    return this.#pieces();
  }

  /** Ends the exchange, if the body has not been read to its end. Never switches. */
  close(): void {
    this.#controller.abort();
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  [inspect.custom](): string {
    return `<FetchResponse ${this.status} ${this.url}>`;
  }
}

/**
 * Sends a request and waits for the head of the response: Node's `fetch`, which blocks the greenlet. If the greenlet is killed or
 * its time is up, the request is aborted. Switches.
 *
 * @param input - a URL or a `Request`
 * @param init - the options of Node's `fetch`, and limits: `timeout`, in ms, for the head and for each later wait for the body
 * @throws {TypeError} if the request is malformed, or fails: its `cause` says why
 * @throws {Timeout} if the time is up first
 * @throws {BlockingSwitchOutError} outside of greenlets
 *
 * @example
 * const user = fetch('https://example.com/user', { timeout: 2000 }).json();
 */
export function fetch(input: string | URL | Request, init: FetchInit = {}): FetchResponse {
  const call = 'fetch()';
  requireGreenlet(call);
  if (typeof init !== 'object' || init === null)
    throw new TypeError(`${call} expects options, got ${describe(init)}`);
  const { timeout, block, signal, ...rest } = init;
  const limits = checkLimits(call, { timeout, block, signal });
  limits.signal?.throwIfAborted();
  const controller = new AbortController();
  // That of a Request would be lost otherwise.
  const signals = input instanceof Request ? [controller.signal, input.signal] : [controller.signal];
  const request = globalThis.fetch(input as string, { ...rest, signal: AbortSignal.any(signals) });
  // Somebody may end the wait before it fails.
  request.catch(() => {});
  return new FetchResponse(step(controller, request, limits), controller, limits);
}
