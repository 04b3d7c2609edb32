/** Throws far down in the main stack of a worker, which is larger than a greenlet's, after greenstack is loaded. */
import { isMainThread, Worker } from 'node:worker_threads';

function descend(depth: number): number {
  if (depth === 0) throw new Error('thrown at the bottom');
  return descend(depth - 1) + 1;
}

if (isMainThread) {
  new Worker(__filename, { resourceLimits: { stackSizeMb: 16 } }).on('exit', (code) =>
    console.log(`exit ${code}`),
  );
} else {
  require('greenstack');
  try {
    descend(40_000);
  } catch (error) {
    console.log((error as Error).message);
  }
}
