import { Worker, isMainThread } from 'node:worker_threads';
import { run, sleep, spawn } from 'greenstack';

if (isMainThread) {
  new Worker(__filename).on('error', (error) => console.log(`worker failed: ${(error as Error).message}`));
} else {
  void run(() => {
    for (let count = 0; count < 50; count++) spawn(() => sleep(3_600_000));
    sleep(1);
    throw new Error('on purpose');
  });
}
