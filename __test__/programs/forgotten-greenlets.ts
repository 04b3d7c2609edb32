import { Greenlet, run, sleep, spawn } from 'greenstack';

void run(() => {
  const neverStarted = new Greenlet(() => {});
  for (let count = 0; count < 50; count++) spawn(() => neverStarted.join());
  sleep(1);
  console.log('main ends');
});
process.on('exit', () => console.log('exit'));
