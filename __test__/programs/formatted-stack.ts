/** `Error.prepareStackTrace` is user code: it runs on the stack of the greenlet that is looked at, and must not leave it. */
import { run, sleep, spawn } from 'greenstack';

void run(() => {
  const parked = spawn(() => sleep(1000));
  sleep(0);
  let outcome = 'not called';
  Error.prepareStackTrace = () => {
    Error.prepareStackTrace = undefined as never;
    try {
      sleep(1);
      outcome = 'parked';
    } catch {
      outcome = 'refused';
    }
    return '';
  };
  void parked.stack;
  console.log(outcome);
  parked.kill();
});
