import { run, sleep } from 'greenstack';

void run(() => {
  sleep(1);
  process.exitCode = 3;
});
