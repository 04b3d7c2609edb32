/** Reads its standard input piece by piece, then to the end, while another greenlet runs. */
import * as fs from 'node:fs';
import { run, sleep, spawn } from 'greenstack';
import { patchAll } from 'greenstack/monkey';

patchAll();
void run(() => {
  const buffer = Buffer.alloc(100);
  const reader = spawn(() => {
    const count = fs.readSync(0, buffer);
    console.log(buffer.toString('utf8', 0, count));
    console.log(fs.readFileSync('/dev/stdin', 'utf8'));
  });
  // The reader has begun to wait when this runs again.
  for (let turn = 0; turn < 10; turn++) sleep(0);
  if (!reader.ready) console.log('waiting');
  reader.join();
});
