import { run, sleep, spawn } from 'greenstack';

process.on('exit', (code) => console.log(`exit listener ${code}`));
void run(() => {
  for (let count = 0; count < 50; count++) spawn(() => sleep(3_600_000));
  spawn(() => {
    sleep(1);
    process.exit(7);
  }).join();
  console.log('not reached');
});
