import { once } from 'node:events';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { run, sleep, spawn } from 'greenstack';

async function main(): Promise<void> {
  const woken = run(() => {
    sleep(50);
    return 'woken';
  });
  let terminated = 0;
  for (let round = 0; round < 5; round++) {
    const workers = Array.from({ length: 5 }, () => new Worker(__filename));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    for (let turn = 0; turn < round * 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(workers.map((worker) => worker.terminate()));
    terminated += workers.length;
  }
  console.log(`terminated ${terminated}`);
  console.log(`main: ${await woken}`);
}

function worker(): void {
  for (let count = 0; count < 100; count++) spawn(() => sleep(3_600_000));
  for (let count = 0; count < 10; count++) {
    spawn(() => {
      for (;;) sleep(count % 3);
    });
  }
  sleep(1);
  parentPort!.postMessage('parked');
  sleep(3_600_000);
}

if (isMainThread) void main();
else void run(worker);
