import type * as Greenstack from 'greenstack';

function report(error: unknown): void {
  const { name, code, message } = error as Error & { code: string };
  console.log(JSON.stringify({ name, code, message }));
}

setTimeout(() => console.log('still running'), 10);
try {
  const { run } = require('greenstack') as typeof Greenstack;
  // The self-test is made with the first greenlet.
  Promise.resolve(run(() => console.log('was not refused'))).catch(report);
} catch (error) {
  report(error);
}
