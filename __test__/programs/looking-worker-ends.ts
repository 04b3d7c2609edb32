/** `terminate()` must end a worker that looks at the stack of a greenlet from plain code when it comes. */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { run, sleep, spawn } from 'greenstack';

/** Whether the worker is looking; nothing else ever changes. */
type Flags = Int32Array<SharedArrayBuffer>;

async function main(): Promise<void> {
  const flags: Flags = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(__filename, { workerData: flags });
  while (Atomics.load(flags, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await worker.terminate();
  console.log('ended');
}

function look(flags: Flags): void {
  const parked = spawn(() => sleep(3_600_000));
  setImmediate(() => {
    Error.prepareStackTrace = () => {
      Atomics.store(flags, 0, 1);
      Atomics.wait(flags, 1, 0);
    };
    void parked.stack;
    Atomics.wait(flags, 1, 0);
  });
}

if (isMainThread) void main();
else void run(() => look(workerData as Flags));
