/** As monkey-program.ts, with names that are imported. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';
import { sleep, spawn } from 'greenstack';
import { isModulePatched } from 'greenstack/monkey';

const who = isMainThread ? '' : 'worker ';
const filename = fileURLToPath(import.meta.url);

console.log(`${who}patched ${isModulePatched('fs')}`);
let count = 0;
const counter = spawn(() => {
  for (;;) {
    count++;
    sleep(0);
  }
});
spawn(() => {
  const before = count;
  readFileSync(filename);
  console.log(`${who}others ran ${count > before}`);
  counter.kill();
  if (isMainThread) new Worker(filename);
});
