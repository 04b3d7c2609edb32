import { sleep, spawn } from 'greenstack';

spawn(() => {
  sleep(30);
  console.log('done');
});
