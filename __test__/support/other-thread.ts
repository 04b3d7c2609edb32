import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { waitFor } from 'greenstack';
import { Queue } from 'greenstack/queue';
import type { Tools } from '../programs/shared-worker.js';

export type { Tools } from '../programs/shared-worker.js';

interface Message {
  said?: unknown;
  returned?: unknown;
  failed?: string;
}

/** A function that runs in the main greenlet of another thread. It is passed as its source, so it can use nothing around it. */
export class OtherThread<R = unknown> {
  readonly worker: Worker;
  readonly #messages = new Queue<Message>();
  readonly #ended: Promise<unknown>;

  constructor(body: (tools: Tools, data: never) => R, data: unknown) {
    const file = join(__dirname, '..', 'programs', 'shared-worker.js');
    this.worker = new Worker(file, { workerData: { source: String(body), data } });
    this.worker.on('message', (message: Message) => this.#messages.put(message));
    this.worker.on('error', (error) => this.#messages.put({ failed: String(error) }));
    this.#ended = once(this.worker, 'exit');
  }

  /** Waits until the function says something. */
  hear(): unknown {
    const message = this.#messages.get();
    if (!('said' in message))
      throw new Error(`the other thread said nothing, but ${JSON.stringify(message)}`);
    return message.said;
  }

  /** What the function has returned, when the thread has ended by itself. */
  result(): R {
    const message = this.#messages.get();
    waitFor(this.#ended);
    if (!('returned' in message)) throw new Error(message.failed ?? `said ${String(message.said)}`);
    return message.returned as R;
  }

  terminate(): void {
    waitFor(this.worker.terminate());
  }
}
