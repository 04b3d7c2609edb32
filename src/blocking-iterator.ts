/** Async iterables as iterables that block. */
import { requireGreenlet } from './hub.js';
import { FOR_EVER, type CheckedLimits } from './limits.js';
import type { DisposableIterator } from './wait.js';
import { awaitPromise, isThenable } from './wait-for.js';

/** Iterates over an async iterator: each step blocks the greenlet. */
export class BlockingIterator<T> implements DisposableIterator<T> {
  readonly #call: string;
  readonly #iterator: AsyncIterator<T>;
  readonly #limits: CheckedLimits;
  readonly #giveUp: (error: unknown) => void;

  /**
   * @param abandon - ends the source at once, for when a step was given up: then its iterator may be in the middle of one
   */
  constructor(
    call: string,
    iterator: AsyncIterator<T>,
    abandon: () => void,
    limits: CheckedLimits = FOR_EVER,
  ) {
    this.#call = call;
    this.#iterator = iterator;
    this.#limits = limits;
    this.#giveUp = () => {
      abandon();
      // It may be kept only when the step that was given up is over.
      const ended: unknown = this.#iterator.return?.();
      if (isThenable(ended)) ended.then(undefined, () => {});
    };
  }

  /** The next item; `for…of` calls it. Ends the source if it is interrupted. Switches. */
  next(): IteratorResult<T, undefined> {
    this.#requireGreenlet();
    const { done, value } = this.#wait(this.#iterator.next());
    return done === true ? { done, value: undefined } : { done: false, value: value as T };
  }

  /** Ends the iteration; `for…of` calls it when it is left early. Switches. */
  return(): IteratorResult<T, undefined> {
    const ended = this.#iterator.return?.();
    if (ended !== undefined) this.#wait(ended);
    return { done: true, value: undefined };
  }

  /** Where nobody can wait, nobody ends a loop either. */
  #requireGreenlet(): void {
    try {
      requireGreenlet(this.#call);
    } catch (error) {
      this.#giveUp(error);
      throw error;
    }
  }

  #wait(step: Promise<IteratorResult<T>>): IteratorResult<T> {
    return awaitPromise(this.#call, step, this.#limits, null, this.#giveUp) as IteratorResult<T>;
  }

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }
}

/**
 * Iterates over an async iterable, such as a stream or an async generator.
 *
 * @param controller - aborts what makes the items, if there is one
 */
export function blockingIterator<T>(
  call: string,
  source: AsyncIterable<T>,
  controller: AbortController | null = null,
): BlockingIterator<T> {
  if (source instanceof ReadableStream) return readingIterator(call, source as ReadableStream<T>);
  return new BlockingIterator(call, source[Symbol.asyncIterator](), () => {
    controller?.abort();
    // The iterator of a stream does not end while it waits for data.
    const { destroy } = source as { destroy?: unknown };
    if (typeof destroy === 'function') Reflect.apply(destroy, source, []);
  });
}

/** By a reader: that can be cancelled while it waits for data, which the iterator of a stream of the web cannot. */
function readingIterator<T>(call: string, stream: ReadableStream<T>): BlockingIterator<T> {
  const reader = stream.getReader();
  const cancel = async (): Promise<IteratorResult<T>> => {
    await reader.cancel();
    reader.releaseLock();
    return { done: true, value: undefined };
  };
  const iterator = { next: () => reader.read() as Promise<IteratorResult<T>>, return: cancel };
  return new BlockingIterator(call, iterator, () => {});
}
