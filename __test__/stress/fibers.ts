/** Fibers for `everything.ts`: each check, given the number of a round, tells whether all was right. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { sleep, waitFor } from 'greenstack';
import Fiber from 'greenstack/fibers';
import Future from 'greenstack/fibers/future';

const storage = new AsyncLocalStorage<object>();

/** Some fibers of many rounds, so that those of one are resumed from another. */
const shared: Fiber[] = [];

/** Those that nobody else can reach. */
const forgotten: Array<WeakRef<Fiber>> = [];

/** Counters that were started and have not ended. */
let suspended = 0;

/** Ends all counters that are left; those that cannot be reached are unwound by the collector. */
export function resetAll(): void {
  for (const fiber of [...shared, ...forgotten.map((weak) => weak.deref())]) fiber?.reset();
  while (suspended > 0) sleep(1);
}

/** Counts on from what it is given; keeps young objects across each yield. */
function counter(): Fiber {
  return Fiber((first: { count: number }) => {
    let last = first;
    suspended++;
    try {
      for (;;) {
        const next = { count: last.count + 1, text: `count ${last.count}` };
        last = Fiber.yield(next);
        if (next.text.length === 0) return;
      }
    } finally {
      suspended--;
    }
  });
}

function counts(fiber: Fiber, from: number, steps: number): boolean {
  let isRight = true;
  for (let count = from; count < from + steps; count++)
    isRight = fiber.run<unknown, { count: number }>({ count }).count === count + 1 && isRight;
  return isRight;
}

export const fiberChecks: Record<string, (id: number) => boolean> = {
  /** Yields, waits and ends, from a greenlet. */
  fiberInGreenlet(id) {
    const store = { id };
    let isRight = true;
    const fiber = Fiber(() => {
      for (let round = 0; round < 3; round++) {
        isRight = Fiber.yield() === round && isRight;
        isRight = storage.getStore() === store && isRight;
      }
      sleep(1);
      isRight = storage.getStore() === store && isRight;
      Fiber.yield();
      return id;
    });
    storage.run(store, () => fiber.run());
    for (let round = 0; round < 3; round++) {
      fiber.run(round);
      sleep(0);
    }
    sleep(5);
    while (fiber.started) {
      try {
        isRight = fiber.run() === id && isRight;
      } catch {
        // It has not slept enough.
        sleep(1);
      }
    }
    return isRight;
  },
  /** The same fibers by turns from greenlets and from plain callbacks. */
  fiberInCallback(id) {
    const fiber = counter();
    const inCallback = waitFor(
      new Promise<boolean>((resolve) => setImmediate(() => resolve(counts(fiber, id, 10)))),
    );
    const inReaction = waitFor(Promise.resolve().then(() => counts(fiber, id + 10, 10)));
    const isRight = counts(fiber, id + 20, 10) && inCallback && inReaction;
    fiber.reset();
    return isRight;
  },
  sharedFiber(id) {
    const index = id % 20;
    const fiber = (shared[index] ??= counter());
    const isRight = counts(fiber, id, 5);
    if (id % 7 === 0) {
      fiber.reset();
      delete shared[index];
    }
    return isRight;
  },
  /** Suspended; the collector may find them first. */
  forgottenFiber() {
    const fibers = Array.from({ length: 5 }, counter);
    for (const [count, fiber] of fibers.entries()) {
      fiber.run({ count });
      if (count > 2) fiber.reset();
      else forgotten.push(new WeakRef(fiber));
    }
    return true;
  },
  future(id) {
    const tasks = Array.from({ length: 3 }, (_, index) =>
      Future.task(() => {
        const future = new Future<number>();
        setImmediate(() => future.return(id + index));
        return future.wait();
      }),
    );
    Future.wait(tasks);
    return tasks.every((task, index) => task.get() === id + index);
  },
};
