/** `Waiter`: one greenlet waits for one value. The smallest of all primitives; gevent: `gevent.hub.Waiter`. */
import { ConcurrentObjectUseError } from './errors.js';
import { park, requireGreenlet, type Runnable, type Wait, wake } from './hub.js';

/**
 * Hands one value, or one error, to one greenlet. What comes before the greenlet asks is kept for it.
 *
 * @example
 * const waiter = new Waiter<string>();
 * emitter.once('line', (line) => waiter.switch(line));
 * const line = waiter.get();
 */
export class Waiter<T = unknown> {
  #result: Result | null = null;
  #wait: WaiterWait | null = null;

  /** Whether a value or an error has come. */
  get ready(): boolean {
    return this.#result !== null;
  }

  /** Whether a value has come. */
  get successful(): boolean {
    return this.#result?.failed === false;
  }

  /** Hands over a value. Never switches. */
  switch(value: T): void {
    this.#settle({ failed: false, content: value });
  }

  /** Hands over an error, which `get` throws. Never switches. */
  throw(error: unknown): void {
    this.#settle({ failed: true, content: error });
  }

  #settle(result: Result): void {
    this.#result = result;
    const wait = this.#wait;
    this.#wait = null;
    if (wait === null) return;
    // Kept for the one who is woken, even if the waiter is cleared before that one goes on.
    wait.result = result;
    wake(wait.waiting, wait);
  }

  /** Forgets what has come, to be used again. Never switches. */
  clear(): void {
    this.#result = null;
  }

  /**
   * Returns the value, or throws the error, waiting for it. Switches only if it must wait.
   *
   * @throws {ConcurrentObjectUseError} if another greenlet waits already
   */
  get(): T {
    const { failed, content } = this.#result ?? this.#waitForResult();
    if (failed) throw content;
    return content as T;
  }

  #waitForResult(): Result {
    if (this.#wait !== null)
      throw new ConcurrentObjectUseError('another greenlet waits for this Waiter already');
    const wait = new WaiterWait(requireGreenlet('Waiter.get()'), () => {
      if (this.#wait === wait) this.#wait = null;
    });
    this.#wait = wait;
    park('Waiter.get()', wait);
    return wait.result as Result;
  }
}

interface Result {
  failed: boolean;
  content: unknown;
}

class WaiterWait implements Wait {
  result: Result | null = null;

  constructor(
    readonly waiting: Runnable,
    readonly cancel: () => void,
  ) {}

  describe(): string {
    return 'Waiter.get()';
  }
}
