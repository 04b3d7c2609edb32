import { run, sleep, spawn } from 'greenstack';

void run(() => {
  spawn(() => {
    try {
      sleep(3_600_000);
    } catch {
      console.log('ignored');
      sleep(3_600_000);
    }
  });
  sleep(1);
  console.log('ready');
  sleep(3_600_000);
});
