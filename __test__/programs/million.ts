import { getHub, idle, run, spawn } from 'greenstack';

void run(() => {
  let ran = 0;
  for (let batch = 0; batch < 10; batch++) {
    for (let count = 0; count < 100_000; count++) spawn(() => ran++);
    idle();
  }
  console.log(`ran ${ran}, few stacks: ${getHub().stats().stacks < 100}`);
});
