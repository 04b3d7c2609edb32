import { Greenlet, getHub, idle, joinAll, run, spawn } from 'greenstack';

const count = 100_000;

void run(() => {
  const gate = new Greenlet(() => {});
  let woken = 0;
  const greenlets = Array.from({ length: count }, () =>
    spawn(() => {
      gate.join();
      woken++;
    }),
  );
  idle();
  const { parked } = getHub().stats();
  gate.start();
  joinAll(greenlets);
  const { greenlets: left } = getHub().stats();
  // The main greenlet is not one of them.
  console.log(`parked ${parked}, woken ${woken}, left ${left - 1}`);
});
