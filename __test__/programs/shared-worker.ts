/** The other thread of tests: runs a function that it is given by its source. See `support/other-thread.ts`. */
import { runInThisContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import * as greenstack from 'greenstack';
import * as shared from 'greenstack/shared';

const { source, data } = workerData as { source: string; data: unknown };

const tools = {
  ...greenstack,
  ...shared,
  say: (message: unknown) => parentPort!.postMessage({ said: message }),
  /** Keeps the whole thread busy until somebody sets the flag. */
  computeUntil(flag: Int32Array): void {
    while (Atomics.load(flag, 0) === 0);
  },
};

/** What the function of a test is given first. */
export type Tools = typeof tools;

const body = runInThisContext(`(${source})`) as (tools: Tools, data: unknown) => unknown;

greenstack
  .run(() => body(tools, data))
  .then((value) => parentPort!.postMessage({ returned: value }))
  .catch((error: unknown) => parentPort!.postMessage({ failed: String((error as Error).stack) }));
