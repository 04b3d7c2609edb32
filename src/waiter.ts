/** `Waiter`: one greenlet waits for one value. The smallest of all primitives; gevent: `gevent.hub.Waiter`. */
import { ConcurrentObjectUseError } from './errors.js';
import { plainWait, requireGreenlet, park, type Runnable, wake } from './hub.js';

/**
 * Hands one value, or one error, to one greenlet. What comes before the greenlet asks is kept for it.
 *
 * @example
 * const waiter = new Waiter<string>();
 * emitter.once('line', (line) => waiter.switch(line));
 * const line = waiter.get();
 */
export class Waiter<T = unknown> {
  #state: 'empty' | 'value' | 'error' = 'empty';
  #content: unknown = undefined;
  #waiting: Runnable | null = null;

  /** Whether a value or an error has come. */
  get ready(): boolean {
    return this.#state !== 'empty';
  }

  /** Whether a value has come. */
  get successful(): boolean {
    return this.#state === 'value';
  }

  /** Hands over a value. Never switches. */
  switch(value: T): void {
    this.#settle('value', value);
  }

  /** Hands over an error, which `get` throws. Never switches. */
  throw(error: unknown): void {
    this.#settle('error', error);
  }

  #settle(state: 'value' | 'error', content: unknown): void {
    this.#state = state;
    this.#content = content;
    if (this.#waiting !== null) {
      wake(this.#waiting);
      this.#waiting = null;
    }
  }

  /** Forgets what has come, to be used again. */
  clear(): void {
    this.#state = 'empty';
    this.#content = undefined;
  }

  /**
   * Returns the value, or throws the error, waiting for it. Switches only if it must wait.
   *
   * @throws {ConcurrentObjectUseError} if another greenlet waits already
   */
  get(): T {
    if (this.#state === 'empty') {
      if (this.#waiting !== null)
        throw new ConcurrentObjectUseError('another greenlet waits for this Waiter already');
      this.#waiting = requireGreenlet('Waiter.get()');
      const wait = plainWait('Waiter.get()');
      wait.cancel = () => {
        this.#waiting = null;
      };
      park('Waiter.get()', wait);
    }
    if (this.#state === 'error') throw this.#content;
    return this.#content as T;
  }
}
