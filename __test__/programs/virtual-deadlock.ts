import { LoopExit, run, sleep, spawn } from 'greenstack';
import { VirtualClock } from 'greenstack/testing';

/** Main waits for a greenlet that waits for nobody, while another sleeps now and then without keeping the process alive. */
function waitForEver(clock: VirtualClock): void {
  spawn(() => {
    for (;;) sleep(1000, { ref: false });
  });
  try {
    spawn(() => sleep(Infinity)).join();
  } catch (error) {
    if (error instanceof LoopExit) console.log(`LoopExit at ${clock.now()}`);
  }
}

void run(() => {
  VirtualClock.run((clock) => {
    sleep(3_600_000);
    waitForEver(clock);
  });
  VirtualClock.run(
    (clock) => {
      spawn(() => sleep(5));
      waitForEver(clock);
    },
    { autoJump: false },
  );
}).then(() => process.exit());
