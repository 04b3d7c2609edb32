/** Callbacks that throw, at once and after waiting. */
import { sleep } from 'greenstack';
import { patchAll } from 'greenstack/monkey';

patchAll();
process.on('uncaughtException', (error) => console.log(`caught ${error.message}`));
setTimeout(() => {
  throw new Error('at once');
}, 1);
setTimeout(() => {
  sleep(1);
  throw new Error('after waiting');
}, 20);
