/** `terminate()` must end a worker whichever greenlet runs when it comes. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { run, sleep, spawn } from 'greenstack';

async function main(): Promise<void> {
  for (let round = 0; round < 15; round++) {
    const worker = new Worker(__filename);
    await once(worker, 'message');
    await worker.terminate();
  }
  console.log('all ended');
}

function busy(): void {
  let stopping = false;
  for (let count = 0; count < 10; count++)
    spawn(() => {
      for (;;) sleep(0);
    });
  spawn(() => {
    sleep(1);
    parentPort?.postMessage('go');
    const end = performance.now() + 5;
    while (performance.now() < end) sleep(0);
    stopping = true;
    for (;;) if (!stopping) return;
  });
}

if (isMainThread) void main();
else void run(busy);
