import { run, sleep, spawn } from 'greenstack';

let exceptions = 0;
let rejections = 0;
process.on('uncaughtException', () => exceptions++);
process.on('unhandledRejection', () => rejections++);

function theCulprit(): void {
  sleep(1);
  throw new RangeError('on purpose');
}

void run(() => {
  spawn({ name: 'the-failing-one' }, theCulprit);
  sleep(30);
  console.log(`uncaughtException: ${exceptions}, unhandledRejection: ${rejections}`);
});
