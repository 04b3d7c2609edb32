/** Preloaded by a test: worker threads fail before they begin. */
import { existsSync } from 'node:fs';
import { isMainThread, threadId } from 'node:worker_threads';

const { END, REPORTED } = process.env;

if (!isMainThread) {
  if (END === 'exit') process.exit(5);
  if (END !== 'first' || threadId === 1) throw new Error('not in a worker');
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(REPORTED!)) Atomics.wait(nothing, 0, 0, 5);
}
