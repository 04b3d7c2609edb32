import { Greenlet, joinAll, run, spawn } from 'greenstack';

// Listening for a signal does not keep a process alive.
const alive = setInterval(() => {}, 1000);

void run(
  () => {
    const gate = new Greenlet(() => {});
    process.once('SIGINT', () => {
      console.log('handler');
      clearInterval(alive);
      gate.start();
    });
    const greenlets = Array.from({ length: 50 }, () =>
      spawn(() => {
        gate.join();
        return 1;
      }),
    );
    setImmediate(() => console.log('ready'));
    joinAll(greenlets);
    console.log(`woken: ${greenlets.filter((greenlet) => greenlet.value === 1).length}`);
  },
  { signals: false },
);
