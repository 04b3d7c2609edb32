/** Fetch-style apps, such as Hono's, as handlers. */
import { checkFunction, checkOptions, describe } from '../checks.js';
import { GreenletExit } from '../errors.js';
import { waitFor } from '../wait-for.js';
import { Attention, fetchRequestOf } from './fetch-request.js';
import { ingredientsOf, useLightResponses } from './light-response.js';
import type { HttpRequest } from './request.js';
import type { HttpHandler } from './server.js';

/** What takes a `Request` and returns a `Response`, at once or later. */
export type FetchFunction = (request: Request, ...rest: never[]) => Response | PromiseLike<Response>;

/** A Fetch-style app: an object with `fetch`, or that function. */
export type FetchApp = { fetch: FetchFunction } | FetchFunction;

/** Options of {@link fetchHandler}. */
export interface FetchHandlerOptions {
  /**
   * Put a lighter `Response` in the place of the global one, which is slow to make (default: no). Those of the other kind are
   * taken all the same.
   */
  lightResponses?: boolean;
}

/**
 * Makes a handler of a Fetch-style app, such as Hono's. Each request is run in a greenlet, so the app may block as well as return
 * promises. The request's signal is aborted if the client goes.
 *
 * @example
 * serve(8080, fetchHandler(new Hono().get('/', (context) => context.text('hello'))));
 */
export function fetchHandler(app: FetchApp, options?: FetchHandlerOptions): HttpHandler {
  const call = 'fetchHandler()';
  const { lightResponses = false } = checkOptions(call, options);
  if (typeof lightResponses !== 'boolean')
    throw new TypeError(`${call}: lightResponses must be true or false, got ${describe(lightResponses)}`);
  const isObject = typeof app === 'object' && app !== null;
  checkFunction(isObject ? `${call}: fetch` : call, isObject ? app.fetch : app);
  const run = (isObject ? (request: Request) => app.fetch(request) : app) as (request: Request) => unknown;
  if (lightResponses) useLightResponses();
  return (request) => respond(request, run);
}

function respond(request: HttpRequest, run: (request: Request) => unknown): Response {
  const attention = new Attention(request);
  let isStream = false;
  try {
    const result = run(fetchRequestOf(attention, request.scheme));
    const response: unknown = result instanceof Response ? result : waitFor(result);
    if (!(response instanceof Response))
      throw new TypeError(`a Fetch-style app must return a Response, got ${describe(response)}`);
    isStream = attention.isWanted && ingredientsOf(response) === null && response.body !== null;
    return response;
  } catch (error) {
    if (GreenletExit.is(error)) attention.abort();
    throw error;
  } finally {
    if (isStream) attention.endWithStream();
    else attention.end();
  }
}
