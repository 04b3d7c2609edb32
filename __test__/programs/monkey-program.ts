/** Tells whether it was patched ahead, here and in a worker. */
import * as fs from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
import { sleep, spawn } from 'greenstack';
import { isModulePatched } from 'greenstack/monkey';

const who = isMainThread ? '' : 'worker ';

console.log(`${who}patched ${isModulePatched('fs')}`);
if (process.argv[2] !== 'alone') {
  let count = 0;
  const counter = spawn(() => {
    for (;;) {
      count++;
      sleep(0);
    }
  });
  spawn(() => {
    const before = count;
    fs.readFileSync(__filename);
    console.log(`${who}others ran ${count > before}`);
    counter.kill();
    if (isMainThread) new Worker(__filename);
  });
}
