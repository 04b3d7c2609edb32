/** What `everything.ts` does with events, locks, queues, pools, locals and what threads share. Each task says whether all was right. */
import { killAll, sleep, spawn, TaskGroup, Timeout, wait } from 'greenstack';
import { AsyncResult, Event } from 'greenstack/event';
import { local } from 'greenstack/local';
import { Condition, RLock, Semaphore } from 'greenstack/lock';
import { Pool } from 'greenstack/pool';
import { Channel, PriorityQueue, Queue } from 'greenstack/queue';
import { SharedEvent, SharedQueue, SharedSemaphore } from 'greenstack/shared';
import { ThreadPool } from 'greenstack/threadpool';

/** A task; returns whether all was right. */
export type Check = (id: number) => boolean;

const semaphore = new Semaphore(3);
const lock = new RLock();
const condition = new Condition();
const counted = local(() => ({ count: 0 }));
const shared = new SharedSemaphore(2);
const threads = new ThreadPool(2);
let holders = 0;

const square = (value: number): number => value * value;

/** Kills some of those who wait, and wakes the others: nothing is lost between the two. */
function acquireAmongKills(id: number): boolean {
  const own = new Semaphore(0);
  const greenlets = Array.from({ length: 6 }, () => spawn(() => own.acquire()));
  sleep(0);
  const victim = greenlets[id % 6]!;
  own.release();
  victim.kill(undefined, { block: false });
  for (let count = 0; count < 5; count++) own.release();
  for (const greenlet of greenlets) greenlet.join();
  const acquired = greenlets.filter((greenlet) => greenlet.value === true).length;
  return own.counter + acquired === 6;
}

export const checks: Record<string, Check> = {
  event(id) {
    const event = new Event();
    const waiting = Array.from({ length: 5 }, (_, index) => spawn(() => event.wait(index === 4 ? 0 : null)));
    sleep(id % 2);
    event.set();
    event.clear();
    return waiting.map((greenlet) => greenlet.get()).join() === 'true,true,true,true,false';
  },
  result(id) {
    const result = new AsyncResult<string>();
    spawn(() => (sleep(0), `result ${id}`)).link(result);
    return result.get() === `result ${id}` && wait([result])[0] === result;
  },
  semaphore(id) {
    using _held = semaphore.hold();
    holders++;
    sleep(id % 2);
    const right = holders <= 3;
    holders--;
    return right && acquireAmongKills(id);
  },
  lock(id) {
    return lock.with(() => {
      using _again = lock.hold();
      sleep(0);
      return condition.with(() => {
        const notifier = spawn(() => condition.with(() => condition.notify()));
        const notified = condition.wait();
        notifier.join();
        return notified && id >= 0;
      });
    });
  },
  queue(id) {
    const queue = new Queue<number>(2);
    const numbers = Array.from({ length: 20 }, (_, index) => index + id);
    const producer = spawn(() => {
      for (const number of numbers) queue.put(number);
      queue.shutdown();
    });
    const taken: number[] = [];
    for (const number of queue) {
      taken.push(number);
      if (number % 3 === 0) sleep(0);
    }
    producer.join();
    return taken.join() === numbers.join();
  },
  priority(id) {
    const queue = new PriorityQueue<number>({ compare: (a: number, b: number) => (sleep(0), a - b) });
    for (const number of [3, 1, 2]) queue.put(number + id);
    return [queue.get(), queue.get(), queue.get()].join() === [id + 1, id + 2, id + 3].join();
  },
  channel(id) {
    const channel = new Channel<number>();
    const producer = spawn(() => {
      for (let index = 0; index < 5; index++) channel.put(id + index);
    });
    const impatient = spawn(() => channel.get({ timeout: 0 }));
    impatient.join();
    let sum = 0;
    const taken = impatient.successful ? 1 : 0;
    for (let index = taken; index < 5; index++) sum += channel.get() - id;
    producer.join();
    return sum + (taken === 1 ? Number(impatient.value) - id : 0) === 10;
  },
  pool(id) {
    const pool = new Pool(3);
    const numbers = Array.from({ length: 10 }, (_, index) => index);
    const ordered = pool.map((number: number) => (sleep(number % 2), number * id), numbers);
    const half: number[] = [];
    for (const number of pool.imapUnordered((item: number) => (sleep(0), item), numbers)) {
      half.push(number);
      if (half.length === 5) break;
    }
    pool.join();
    return (
      ordered.join() === numbers.map((number) => number * id).join() && pool.size === 3 && half.length === 5
    );
  },
  group(id) {
    let cleaned = 0;
    try {
      TaskGroup.run((group) => {
        for (let count = 0; count < 4; count++)
          group.spawn(() => {
            try {
              sleep(3_600_000);
            } finally {
              sleep(0);
              cleaned++;
            }
          });
        group.spawn(() => {
          sleep(0);
          throw new Error(`task ${id}`);
        });
      });
      return false;
    } catch (error) {
      return error instanceof AggregateError && error.errors.length === 1 && cleaned === 4;
    }
  },
  deadline() {
    const outer = Timeout.startNew(3_600_000);
    try {
      TaskGroup.run((group) => group.spawn(sleep, 3_600_000).get(), { timeout: 1 });
      return false;
    } catch (error) {
      return error instanceof Timeout && error !== outer;
    } finally {
      outer.cancel();
    }
  },
  local(id) {
    const greenlets = Array.from({ length: 3 }, (_, index) =>
      spawn(() => {
        for (let step = 0; step < 5; step++) {
          counted.count += index;
          sleep(0);
        }
        return counted.count;
      }),
    );
    return greenlets.map((greenlet) => greenlet.get()).join() === '0,5,10' && counted.count === 0 && id >= 0;
  },
  shared(id) {
    const queue = new SharedQueue<{ id: number }>();
    const done = new SharedEvent();
    const taker = spawn(() => {
      const { id: taken } = queue.get();
      shared.with(() => sleep(0));
      done.set();
      return taken;
    });
    sleep(0);
    queue.put({ id });
    done.wait();
    return taker.get() === id;
  },
  threads(id) {
    return threads.apply(square, [id]) === id * id;
  },
  killed(id) {
    const queue = new Queue<number>(1);
    const getters = Array.from({ length: 4 }, () => spawn(() => queue.get()));
    sleep(0);
    killAll([getters[id % 4]!], { block: false });
    for (let count = 0; count < 3; count++) queue.put(count);
    for (const getter of getters) getter.join();
    const got = getters.filter(({ value }) => typeof value === 'number').length;
    return got === 3 && queue.empty;
  },
};

/** Ends what the checks have begun, once all are done. */
export function closeAll(): void {
  threads.kill();
}
