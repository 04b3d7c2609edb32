/** What is used of piscina, the library of worker threads: the only file that names it. */
import type { Worker } from 'node:worker_threads';

import type { JobMessage } from './threadpool-worker.js';

/** By what piscina learns that a job is to end: an `AbortSignal`, as far as it is looked at. */
export interface Stoppable {
  addEventListener(name: 'abort', listener: () => void): void;
  removeEventListener(name: 'abort', listener: () => void): void;
}

/** A set of worker threads, and a queue in front of them. */
export interface Piscina {
  readonly threads: readonly Worker[];
  run(
    message: JobMessage,
    options: { signal: Stoppable; transferList: object[] | undefined },
  ): Promise<unknown>;
  destroy(): Promise<void>;
  on(event: 'error', listener: (error: unknown) => void): this;
  /** A thread was told to end, or has ended. It is still one of `threads`. */
  on(event: 'workerDestroy', listener: (thread: { readonly id: number }) => void): this;
}

interface PiscinaClass {
  new (options: object): Piscina;
  move(value: object): object;
}

/** At its first use, as it takes a while. */
export function loadPiscina(): PiscinaClass {
  return require('piscina') as PiscinaClass;
}

/** The keys under which piscina looks for the value and the transfer list of what is moved. */
export const movedValue = Symbol.for('Piscina.valueOf');
export const movedList = Symbol.for('Piscina.transferable');
