import { joinAll, run, sleep, spawn } from 'greenstack';

if (process.argv.includes('handled')) {
  process.on('uncaughtException', (error) => console.log(`handled: ${error.message}`));
}
setTimeout(() => {
  throw new Error('thrown in a plain callback');
}, 10);
void run(() => {
  const greenlets = Array.from({ length: 50 }, () =>
    spawn(() => {
      sleep(100);
      return 1;
    }),
  );
  joinAll(greenlets);
  console.log(`woken: ${greenlets.filter((greenlet) => greenlet.value === 1).length}`);
});
