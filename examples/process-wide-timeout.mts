/**
 * One timeout over everything the main greenlet does, whatever it is waiting for when the time is up.
 *
 *     node examples/process-wide-timeout.mts [MS]      (by default 1000, which is enough; try 500)
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Greenlet, Timeout, joinAll, killAll, run, sleep, spawn, waitFor } from 'greenstack';

const limit = Number(process.argv[2] ?? 1000);
const helpers: Greenlet<void>[] = [];

/** None of these knows of the timeout: it ends whichever of them is running, and the code around it. */
function work(): void {
  console.log('sleeping');
  sleep(200);

  console.log('waiting for a promise');
  waitFor((signal) => delay(200, undefined, { signal }));

  console.log('waiting for other greenlets');
  for (const ms of [100, 150, 200]) helpers.push(spawn(() => sleep(ms)));
  joinAll(helpers);
}

await run(() => {
  const timeout = Timeout.startNew(limit);
  try {
    work();
    console.log('done in time');
  } catch (error) {
    if (error !== timeout) throw error;
    console.log(`not done after ${limit} ms`);
    process.exitCode = 1;
  } finally {
    timeout.close();
    killAll(helpers); // the timeout was the main greenlet's alone
  }
});
