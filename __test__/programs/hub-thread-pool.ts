/** The thread pool of the hub needs no import of its own. */
import { getHub, run } from 'greenstack';

void run(() => {
  console.log(getHub().threadpool.apply((value: number) => value * value, [7]));
});
