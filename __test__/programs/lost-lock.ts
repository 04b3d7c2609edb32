import { LoopExit, run, sleep, spawn } from 'greenstack';
import { Condition, Lock, RLock, Semaphore } from 'greenstack/lock';

/** Waits for a notification that never comes, while somebody else takes the lock for ever. */
function loseLock(lock: RLock | Lock | Semaphore): void {
  const condition = new Condition(lock);
  let thrown: unknown;
  const keeper = spawn(() => lock.with(() => sleep(Infinity)));
  try {
    // Held twice, where that is possible.
    using _held = condition.hold();
    if (lock instanceof RLock) lock.with(() => condition.wait());
    else condition.wait();
  } catch (error) {
    thrown = error;
  }
  const name = thrown instanceof LoopExit ? 'LoopExit' : String(thrown);
  const { locked } = lock;
  keeper.kill();
  console.log(`${lock.constructor.name}: ${name}, kept ${locked}, free ${lock.ready}`);
  lock.with(() => {});
  try {
    lock.release();
  } catch (error) {
    console.log(`released too often: ${(error as Error).name}`);
  }
}

void run(() => {
  for (const lock of [new RLock(), new Lock(), new Semaphore()]) loseLock(lock);
});
