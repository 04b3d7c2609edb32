import { once } from 'node:events';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { joinAll, run, sleep, spawn } from 'greenstack';

async function main(): Promise<void> {
  const woken = run(() => {
    sleep(50);
    return 'woken';
  });
  const workers = [1, 2, 3].map((id) => new Worker(__filename, { workerData: id }));
  const answers = await Promise.all(
    workers.map(async (worker) => (await once(worker, 'message')) as [string]),
  );
  for (const [answer] of answers) console.log(answer);
  await Promise.all(workers.map((worker) => worker.terminate()));
  console.log(`main: ${await woken}`);
}

function worker(id: number): void {
  const greenlets = Array.from({ length: 10 }, (_, index) =>
    spawn(() => {
      sleep(index);
      return (index + 1) * id;
    }),
  );
  const sum = joinAll(greenlets).reduce((total, greenlet) => total + (greenlet.value as number), 0);
  parentPort!.postMessage(`${id}: ${sum}`);
}

if (isMainThread) void main();
else void run(() => worker(workerData as number));
