/** `timeout` of vm terminates whatever JavaScript runs when the time is up: that must not be somebody else's. */
import { runInNewContext } from 'node:vm';
import { run, sleep, spawn } from 'greenstack';

function codeOf(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

void run(() => {
  spawn(() => codeOf(() => runInNewContext('park()', { park: () => sleep(100) }, { timeout: 20 })));
  const other = spawn(() => {
    for (const end = performance.now() + 200; performance.now() < end;) sleep(0);
    return true;
  });
  console.log(`others: ${other.get()}`);
  const endless = spawn(() => codeOf(() => runInNewContext('for (;;);', {}, { timeout: 20 })));
  console.log(`endless: ${endless.get()}`);
});
