import { run, sleep, spawn } from 'greenstack';

setTimeout(() => process.exit(8), 20);
void run(() => {
  for (let count = 0; count < 50; count++) spawn(() => sleep(3_600_000));
  sleep(3_600_000);
});
