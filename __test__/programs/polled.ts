/** Asks about a descriptor that is not ready very often. To be run while something sends signals, such as a profiler. */
import { run } from 'greenstack';
import { poll, POLLIN, select } from 'greenstack/select';
import { type Socket, socketPair } from 'greenstack/socket';

const ROUNDS = 100_000;

run(() => {
  const [one] = socketPair();
  const poller = poll<Socket>();
  poller.register(one, POLLIN);
  let ready = 0;
  for (let round = 0; round < ROUNDS; round++) {
    ready += select([one], [], [], 0)[0].length + poller.poll(0).length;
  }
  console.log(`${ready} times ready`);
}).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
