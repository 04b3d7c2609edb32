/** Errors that stand for a status. */
import { STATUS_CODES } from 'node:http';

import { describe } from '../checks.js';
import { GreenstackError, named } from '../errors.js';
import { type HeadersInit, HttpHeaders } from './headers.js';

/** Options of {@link HttpError}. */
export interface HttpErrorOptions extends ErrorOptions {
  /** Headers of the response. */
  headers?: HeadersInit;
}

/**
 * A status to answer a request with: a handler that throws one, or does not catch one that reading the body has thrown, gives
 * a response with its status and message. Below 500 it is not logged as an error.
 *
 * @example
 * throw new HttpError(404, 'no such user');
 */
export class HttpError extends GreenstackError {
  /** 400 to 599. */
  readonly status: number;
  /** Headers of the response. */
  readonly headers: HttpHeaders;

  /**
   * @param status - 400 to 599
   * @param message - the body of the response (default: the phrase of the status)
   */
  constructor(status: number, message?: string, options: HttpErrorOptions = {}) {
    if (!Number.isInteger(status) || status < 400 || status > 599)
      throw new RangeError(`new HttpError(): status must be from 400 to 599, got ${describe(status)}`);
    super('ERR_GREENSTACK_HTTP', message ?? STATUS_CODES[status] ?? `status ${status}`, options);
    this.status = status;
    this.headers = new HttpHeaders(options.headers);
  }

  static {
    named(this, 'HttpError');
  }
}
