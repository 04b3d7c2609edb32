/** Nothing but waiting for another thread keeps this process alive. */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { run, sleep } from 'greenstack';
import { SharedEvent, type SharedHandle } from 'greenstack/shared';

type Handle = SharedHandle<'SharedEvent'>;

function main(): void {
  const [first, second] = [new SharedEvent(), new SharedEvent()];
  new Worker(__filename, { workerData: [first.handle, second.handle] }).unref();
  first.wait();
  console.log('set by another thread');
  second.rawlink(() => console.log('linked'));
  const unlinked = new SharedEvent();
  const callback = (): void => console.log('not to be called');
  unlinked.rawlink(callback);
  unlinked.unlink(callback);
}

function worker([first, second]: [Handle, Handle]): void {
  sleep(30);
  SharedEvent.from(first).set();
  sleep(30);
  SharedEvent.from(second).set();
}

void run(isMainThread ? main : () => worker(workerData as [Handle, Handle]));
