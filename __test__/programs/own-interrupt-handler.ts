import { Greenlet, joinAll, run, spawn } from 'greenstack';

void run(
  () => {
    const gate = new Greenlet(() => {});
    process.once('SIGINT', () => {
      console.log('handler');
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
