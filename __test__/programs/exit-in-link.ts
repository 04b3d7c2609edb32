import { run, sleep, spawn } from 'greenstack';

void run(() => {
  for (let count = 0; count < 50; count++) spawn(() => sleep(3_600_000));
  spawn(() => sleep(1)).rawlink(() => process.exit(9));
  sleep(3_600_000);
});
