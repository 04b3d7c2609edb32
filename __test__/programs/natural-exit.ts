import { run, sleep, spawn } from 'greenstack';

void run(() => {
  spawn(() => {
    sleep(30);
    console.log('after main');
  });
  sleep(1);
  console.log('main');
});
