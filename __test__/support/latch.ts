import { sleep } from 'greenstack';

/** Lets a test know when jobs have begun in their threads, and hold them there until it opens the latch. */
export class Latch implements Disposable {
  /** Given to the jobs, in shared memory: how many have begun; whether they may end. */
  readonly flags = new Int32Array(new SharedArrayBuffer(8));

  get begun(): number {
    return Atomics.load(this.flags, 0);
  }

  /** Returns when so many jobs have begun. */
  waitForBegun(count: number): void {
    while (this.begun < count) sleep(1);
  }

  open(): void {
    Atomics.store(this.flags, 1, 1);
    Atomics.notify(this.flags, 1);
  }

  /** No thread is held after the test, however that ends. */
  [Symbol.dispose](): void {
    this.open();
  }
}

/** A job that waits until its latch is open, and blocks its thread meanwhile. */
export function hold<T>(flags: Int32Array, value?: T): T | undefined {
  Atomics.add(flags, 0, 1);
  Atomics.wait(flags, 1, 0);
  return value;
}

/** A job that never ends. */
export function spin(flags: Int32Array): never {
  Atomics.add(flags, 0, 1);
  for (;;);
}

/**
 * A job that fails, and holds its thread while Node is being told about the rejected promise: from Node 22 on a request to end
 * the thread that comes then is dropped.
 */
export function failDeaf(flags: Int32Array): never {
  // Node looks at it when it notes a rejected promise.
  Object.defineProperty(process, 'domain', {
    get() {
      if (Atomics.add(flags, 0, 1) === 0) Atomics.wait(flags, 1, 0);
    },
  });
  throw new Error('not heard');
}
