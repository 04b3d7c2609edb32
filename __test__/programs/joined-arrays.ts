/**
 * V8 keeps a list per context of the arrays that are being joined, to find cycles. Greenlets that park within `join()` are
 * taken off it in another order than that of a stack.
 */
import { Greenlet, idle, joinAll, run, spawn } from 'greenstack';

void run(() => {
  const gates = Array.from({ length: 20 }, () => new Greenlet(() => {}));
  const joining = gates.map((gate, id) => {
    const slow = {
      toString() {
        gate.join();
        return `slow${id}`;
      },
    };
    return spawn(() => [slow, id].join('-'));
  });
  idle();
  gates[0]!.start();
  idle();
  for (const gate of gates.slice(1)) gate.start();
  joinAll(joining);
  const right = joining.filter((greenlet, id) => greenlet.value === `slow${id}-${id}`).length;
  console.log(`right: ${right}`);
  console.log(`after: ${['a', 'b'].join('-')}`);
});
