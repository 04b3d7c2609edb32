import { run, sleep } from 'greenstack';

function theCulprit(): void {
  sleep(1);
  throw new RangeError('on purpose');
}

void run(theCulprit);
