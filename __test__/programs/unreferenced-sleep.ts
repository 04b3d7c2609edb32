import { sleep, spawn } from 'greenstack';

spawn(() => {
  sleep(3_600_000, { ref: false });
  console.log('woken');
});
process.on('exit', () => console.log('exit'));
