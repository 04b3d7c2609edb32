/** Patched modules and emitters for `everything.ts`: each check, given the number of a round, tells whether all was right. */
import { AsyncLocalStorage } from 'node:async_hooks';
import crypto from 'node:crypto';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import zlib from 'node:zlib';
import { sleep, waitFor } from 'greenstack';
import { patchCrypto, patchEvents, patchFs, patchZlib } from 'greenstack/monkey';

patchFs();
patchCrypto();
patchZlib();

const storage = new AsyncLocalStorage<object>();
const source = fs.readFileSync(__filename, 'utf8');

interface Call {
  steps: string[];
  store: object;
  done(): void;
}

const emitter = new EventEmitter();
patchEvents(emitter);
let handled = 0;
emitter.on('call', ({ steps, store, done }: Call) => {
  const young = { text: `call ${handled++}` };
  steps.push('begun');
  if (storage.getStore() === store) steps.push('in context');
  sleep(Math.random() * 2);
  if (storage.getStore() === store && young.text.startsWith('call')) steps.push('ended');
  done();
});

export const monkeyChecks: Record<string, (id: number) => boolean> = {
  /** Synchronous functions that park in the middle. */
  patchedFunctions(id) {
    const text = `round ${id} `.repeat(20);
    const packed = zlib.gzipSync(text);
    const key = crypto.pbkdf2Sync(text, 'salt', 2, 16, 'sha256');
    const isRead = fs.readFileSync(__filename, 'utf8') === source;
    let code: unknown;
    try {
      fs.statSync(`${__filename}.${id}`);
    } catch (error) {
      ({ code } = error as NodeJS.ErrnoException);
    }
    return isRead && code === 'ENOENT' && key.length === 16 && String(zlib.gunzipSync(packed)) === text;
  },

  /** A listener that begins in the middle of plain code, parks there, and goes on in a turn. */
  patchedListener(id) {
    const steps: string[] = [];
    const store = { id };
    waitFor(
      new Promise<void>((done) => {
        setImmediate(() => {
          storage.run(store, () => {
            emitter.emit('call', { steps, store, done } satisfies Call);
            steps.push(storage.getStore() === store ? 'emitted' : 'lost');
          });
        });
      }),
    );
    return steps.join() === 'begun,in context,emitted,ended';
  },
};
