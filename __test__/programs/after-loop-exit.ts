import { Greenlet, run, spawn } from 'greenstack';

void run(() => {
  const neverStarted = new Greenlet(() => {});
  try {
    neverStarted.join();
  } catch (error) {
    console.log((error as Error).name);
  }
  console.log(spawn(() => 'woken').get());
});
