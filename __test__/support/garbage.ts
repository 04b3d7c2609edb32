import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { settle } from './residue.js';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Collects everything that is unreachable, including what weak references kept alive until the end of a turn. */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await settle();
    gc();
  }
}
