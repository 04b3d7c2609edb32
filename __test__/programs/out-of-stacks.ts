/** More stacks than there is address space for: those of 1 GiB use up 128 TiB soon. */
import { killAll, run, sleep, spawn, type Greenlet } from 'greenstack';

void run(() => {
  const greenlets: Greenlet<void>[] = [];
  try {
    for (let count = 0; count < 1_000_000; count++) {
      greenlets.push(spawn({ stackSize: 1024 ** 3 }, () => sleep(3_600_000)));
    }
    console.log('there was room for all');
  } catch (error) {
    console.log((error as NodeJS.ErrnoException).code);
  }
  killAll(greenlets);
});
