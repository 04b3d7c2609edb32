/** `Atomics.wait`, by `Atomics.waitAsync`. */
import { keepAlive } from '../hub.js';
import { awaitCallback, blockingForm } from './blocking.js';
import type { AnyFunction } from './callback.js';
import type { Replacement } from './patching.js';

interface AsyncWait {
  readonly async: boolean;
  readonly value: string | Promise<string>;
}

type Shared = Int32Array<SharedArrayBuffer>;

/** What is replaced in `Atomics`. */
export function atomicsReplacements(): Replacement[] {
  const owner = Atomics as unknown as Record<string, AnyFunction | undefined>;
  const { wait, waitAsync } = owner;
  if (wait === undefined || waitAsync === undefined) return [];
  const value = blockingForm(wait, (receiver, args) => {
    let started: AsyncWait;
    try {
      started = Reflect.apply(waitAsync, receiver, args) as AsyncWait;
    } catch {
      return undefined;
    }
    if (!started.async) return { value: started.value };
    const promise = started.value as Promise<string>;
    // Nothing else keeps the process alive for whoever notifies from another thread.
    keepAlive(1);
    try {
      const call = 'Atomics.wait()';
      // A wake-up that comes when nobody waits any more belongs to the next who does.
      const passOn = (result: unknown): void => {
        if (result === 'ok') Atomics.notify(args[0] as Shared, Number(args[1]), 1);
      };
      const [result] = awaitCallback(call, (done) => void promise.then(done), passOn);
      return { value: result };
    } finally {
      keepAlive(-1);
    }
  });
  return [{ owner, key: 'wait', value }];
}
