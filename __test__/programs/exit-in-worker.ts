import { Worker, isMainThread } from 'node:worker_threads';
import { run, sleep, spawn } from 'greenstack';

if (isMainThread) {
  new Worker(__filename).on('exit', (code) => console.log(`worker ended with ${code}`));
} else {
  void run(() => {
    for (let count = 0; count < 50; count++) spawn(() => sleep(3_600_000));
    spawn(() => {
      sleep(1);
      process.exit(5);
    }).join();
  });
}
