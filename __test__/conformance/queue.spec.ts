import { type Greenlet, Timeout, getHub, idle, joinAll, run, sleep, spawn } from 'greenstack';
import {
  Channel,
  Empty,
  Full,
  JoinableQueue,
  LifoQueue,
  PriorityQueue,
  Queue,
  ShutDown,
  SimpleQueue,
  StopIteration,
  UnboundQueue,
} from 'greenstack/queue';
import test from 'ava';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';

/** A greenlet that has run until it parked. */
function started<T>(fn: () => T): Greenlet<T> {
  const greenlet = spawn(fn);
  idle();
  return greenlet;
}

/** What `fn` returns, called in the hub. */
function inHub<T>(fn: () => T): T {
  let outcome: { value: T } | { error: unknown } | undefined;
  getHub().runCallback(() => {
    try {
      outcome = { value: fn() };
    } catch (error) {
      outcome = { error };
    }
  });
  sleep(0);
  if (outcome === undefined) throw new Error('the callback was not called');
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

// ---- Queue

hubTest('gevent.queue.Queue: first in, first out', (t) => {
  const queue = new Queue<number>();
  for (const item of [1, 2, 3]) queue.put(item);
  t.deepEqual([queue.get(), queue.get(), queue.get()], [1, 2, 3]);
});

hubTest('gevent.queue.Queue: items are in it from the beginning, and count as unfinished', (t) => {
  const queue = new Queue(null, 'abc');
  t.is(queue.size, 3);
  t.is(queue.unfinishedTasks, 3);
  t.is(queue.get(), 'a');
});

hubTest('gevent.queue.Queue: unfinished_tasks replaces the count of items', (t) => {
  t.is(new Queue({ items: [1, 2], unfinishedTasks: 7 }).unfinishedTasks, 7);
});

hubTest('gevent.queue.Queue: without maxsize it is never full', (t) => {
  const queue = new Queue<number>();
  for (let item = 0; item < 1000; item++) queue.putNowait(item);
  t.false(queue.full);
  t.is(queue.maxSize, Infinity);
});

hubTest('gevent.queue.Queue.put: blocks until there is a free slot', (t) => {
  const queue = new Queue<string>(2);
  const events: string[] = [];
  const putter = started(() => {
    for (const item of ['a', 'b', 'c']) {
      queue.put(item);
      events.push(item);
    }
    return 'OK';
  });
  t.deepEqual(events, ['a', 'b']);
  t.is(queue.get(), 'a');
  idle();
  t.deepEqual(events, ['a', 'b', 'c']);
  t.deepEqual([queue.get(), queue.get()], ['b', 'c']);
  t.is(putter.get(0), 'OK');
});

hubTest('gevent.queue.Queue.put: blocked putters are served first in, first out', (t) => {
  const queue = new Queue<number>(1, [0]);
  const putters = [1, 2, 3].map((item) => started(() => queue.put(item)));
  t.deepEqual(
    [0, 1, 2, 3].map(() => queue.get()),
    [0, 1, 2, 3],
  );
  t.is(joinAll(putters).length, 3);
});

hubTest('gevent.queue.Queue.put: raises Full when its timeout has passed', (t) => {
  const queue = new Queue<number>(1, [0]);
  t.throws(() => queue.put(1, 1), { instanceOf: Full });
  t.is(queue.size, 1);
});

hubTest('gevent.queue.Queue.put: block=False raises Full at once', (t) => {
  const queue = new Queue<number>(1, [0]);
  t.throws(() => queue.put(1, { block: false }), { instanceOf: Full });
});

hubTest('gevent.queue.Queue.put: a putter that is killed while it is blocked withdraws its item', (t) => {
  const queue = new Queue<number>(1, [0]);
  const first = started(() => queue.put(1));
  const second = started(() => queue.put(2));
  first.kill();
  t.deepEqual([queue.get(), queue.get()], [0, 2]);
  second.join();
  t.true(queue.empty);
});

hubTest('gevent.queue.Queue.put: an outer Timeout is not taken for Full', (t) => {
  const queue = new Queue<number>(1, [0]);
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => queue.put(1, 60_000)),
    outer,
  );
});

hubTest('gevent.queue.Queue.put: a Timeout passed as its timeout is raised itself', (t) => {
  const queue = new Queue<number>(1, [0]);
  const timeout = new Timeout(1);
  t.is(
    thrownBy(() => queue.put(1, timeout)),
    timeout,
  );
});

hubTest('gevent.queue.Queue.put_nowait: works in the hub, raising Full when there is no room', (t) => {
  const queue = new Queue<number>(1);
  inHub(() => queue.putNowait(1));
  t.throws(() => inHub(() => queue.putNowait(2)), { instanceOf: Full });
  t.is(queue.get(), 1);
});

hubTest('gevent.queue.Queue.put_nowait: hands the item to a waiting getter, from the hub too', (t) => {
  const queue = new Queue<number>(1);
  const getter = started(() => queue.get());
  inHub(() => queue.putNowait(10));
  t.is(getter.get(), 10);
  t.false(queue.full);
  t.true(queue.empty);
});

hubTest('gevent.queue.Queue.get: blocks until an item comes', (t) => {
  const queue = new Queue<string>();
  const getter = started(() => queue.get());
  t.false(getter.ready);
  queue.put('hi');
  t.is(getter.get(), 'hi');
});

hubTest('gevent.queue.Queue.get: greenlets get in the order in which they blocked', (t) => {
  const queue = new Queue<number>();
  const getters = [0, 1, 2, 3].map(() => started(() => queue.get()));
  for (const item of [0, 1, 2, 3]) queue.put(item);
  t.deepEqual(
    getters.map((getter) => getter.get()),
    [0, 1, 2, 3],
  );
});

hubTest('gevent.queue.Queue.get: raises Empty when its timeout has passed', (t) => {
  const queue = new Queue();
  t.throws(() => queue.get(1), { instanceOf: Empty });
});

hubTest('gevent.queue.Queue.get: block=False raises Empty at once', (t) => {
  t.throws(() => new Queue().get({ block: false }), { instanceOf: Empty });
});

hubTest('gevent.queue.Queue.get: a Timeout passed as its timeout is raised itself', (t) => {
  const timeout = new Timeout(1);
  t.is(
    thrownBy(() => new Queue().get(timeout)),
    timeout,
  );
});

hubTest('gevent.queue.Queue.get: an outer Timeout is not taken for Empty', (t) => {
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => new Queue().get(60_000)),
    outer,
  );
});

hubTest('gevent.queue.Queue.get: a getter that timed out takes no item', (t) => {
  const queue = new Queue<string>();
  const timedOut = started(() => thrownBy(() => queue.get(1)));
  t.true(timedOut.get() instanceof Empty);
  queue.put('hi');
  t.is(queue.get(), 'hi');
});

hubTest('gevent.queue.Queue.get: of two waiters the one that is left gets the item', (t) => {
  const queue = new Queue<string>();
  const dying = started(() => queue.get());
  const waiting = started(() => queue.get());
  dying.kill();
  queue.put('hi');
  t.is(waiting.get(), 'hi');
});

hubTest('gevent.queue.Queue.get: when all waiters have given up, the item stays', (t) => {
  const queue = new Queue<string>();
  const waiters = [1, 2].map(() => started(() => thrownBy(() => queue.get(1))));
  for (const waiter of waiters) t.true(waiter.get() instanceof Empty);
  queue.put('sent');
  t.is(queue.get(), 'sent');
});

hubTest('gevent.queue.Queue.get: a sender that has ended meanwhile loses no item', (t) => {
  const queue = new Queue<string>();
  const sender = started(() => queue.put('sent'));
  t.true(sender.dead);
  t.is(queue.get(), 'sent');
});

hubTest('gevent.queue.Queue.get_nowait: works in the hub, raising Empty when there is nothing', (t) => {
  const queue = new Queue<number>(1, [4]);
  t.is(
    inHub(() => queue.getNowait()),
    4,
  );
  t.throws(() => inHub(() => queue.getNowait()), { instanceOf: Empty });
});

hubTest('gevent.queue.Queue.get_nowait: from the hub, lets a blocked putter go on', (t) => {
  const queue = new Queue<number>(1, [4]);
  const putter = started(() => queue.put(5));
  t.is(
    inHub(() => queue.getNowait()),
    4,
  );
  putter.join();
  t.is(queue.getNowait(), 5);
});

hubTest('gevent.queue.Queue.peek: returns the next item without removing it', (t) => {
  const queue = new Queue<string>();
  queue.put('hi');
  t.is(queue.peek(), 'hi');
  t.is(queue.get(), 'hi');
});

hubTest('gevent.queue.Queue.peek: raises Empty when its timeout has passed', (t) => {
  t.throws(() => new Queue().peek(1), { instanceOf: Empty });
});

hubTest('gevent.queue.Queue.peek: several greenlets can wait for the same item', (t) => {
  const queue = new Queue<number>();
  const peekers = [1, 2].map(() => started(() => queue.peek()));
  queue.put(1);
  t.deepEqual(
    peekers.map((peeker) => peeker.get()),
    [1, 1],
  );
  t.is(queue.peek(), 1);
});

hubTest('gevent.queue.Queue.peek_nowait: raises Empty when there is nothing', (t) => {
  t.throws(() => new Queue().peekNowait(), { instanceOf: Empty });
  t.is(new Queue(null, [1]).peekNowait(), 1);
});

hubTest('gevent.queue.Queue.empty: compares the size only, whoever waits', (t) => {
  const queue = new Queue<number>(1);
  const getter = started(() => queue.get());
  t.true(queue.empty);
  queue.put(1);
  getter.join();
  t.true(queue.empty);
});

hubTest('gevent.queue.Queue.full: compares the size with maxsize only, whoever waits', (t) => {
  const queue = new Queue<number>(1, [0]);
  t.true(queue.full);
  queue.get();
  t.false(queue.full);
});

hubTest('gevent.queue.Queue.maxsize: can be set', (t) => {
  const queue = new Queue<number>(1, [0]);
  queue.maxSize = 2;
  t.false(queue.full);
  queue.maxSize = null;
  t.is(queue.maxSize, Infinity);
});

hubTest('gevent.queue.Queue.copy: has the same items, maxsize and unfinished tasks', (t) => {
  const queue = new Queue<number>(3, [1, 2]);
  queue.put(3);
  queue.get();
  const copy = queue.copy();
  t.deepEqual([copy.get(), copy.get()], [2, 3]);
  t.is(copy.maxSize, 3);
  t.is(copy.unfinishedTasks, 3);
  t.is(queue.size, 2);
});

hubTest('gevent.queue.Queue.__iter__: takes items until StopIteration is got', (t) => {
  const queue = new Queue<number | StopIteration>();
  for (const item of [1, 2, StopIteration, 3] as const) queue.put(item);
  t.deepEqual([...queue], [1, 2]);
  t.is(queue.get(), 3);
});

hubTest('gevent.queue.Queue.__iter__: blocks for each item', (t) => {
  const queue = new Queue<number | StopIteration>();
  const reader = started(() => [...queue]);
  queue.put(1);
  idle();
  t.false(reader.ready);
  queue.put(StopIteration);
  t.deepEqual(reader.get(), [1]);
});

hubTest('gevent.queue.Queue.join: returns at once when no item was ever put', (t) => {
  t.true(new Queue().join());
});

hubTest('gevent.queue.Queue.join: blocks until every item has been done', (t) => {
  const queue = new Queue<number>(null, [1, 2]);
  const joiner = started(() => queue.join());
  queue.get();
  queue.get();
  queue.taskDone();
  idle();
  t.false(joiner.ready);
  queue.taskDone();
  t.true(joiner.get());
});

hubTest('gevent.queue.Queue.join: returns False when its timeout has passed', (t) => {
  const queue = new Queue<number>(null, [1]);
  t.false(queue.join(1));
});

hubTest('gevent.queue.Queue.join: returns True to who waited, even if an item has been put since', (t) => {
  const queue = new Queue<number>(null, [1]);
  const joiner = started(() => queue.join());
  queue.taskDone();
  queue.put(2);
  t.true(joiner.get());
});

hubTest('gevent.queue.Queue.task_done: counts down what put has counted up', (t) => {
  const queue = new Queue<object>();
  const item = {};
  spawn(() => queue.put(item));
  t.is(queue.get(), item);
  t.is(queue.unfinishedTasks, 1);
  queue.taskDone();
  t.is(queue.unfinishedTasks, 0);
});

hubTest('gevent.queue.Queue.task_done: raises when it is called too often', (t) => {
  const queue = new Queue<number>(null, [1]);
  queue.taskDone();
  t.throws(() => queue.taskDone(), { instanceOf: RangeError });
  queue.put(2);
  t.is(queue.unfinishedTasks, 1);
});

hubTest('gevent.queue.Queue.shutdown: put raises ShutDown from then on', (t) => {
  const queue = new Queue<string>();
  queue.shutdown();
  t.throws(() => queue.put('E'), { instanceOf: ShutDown });
  t.throws(() => queue.putNowait('W'), { instanceOf: ShutDown });
});

hubTest('gevent.queue.Queue.shutdown: what is in the queue can still be got and done', (t) => {
  const queue = new Queue<string>(null, 'LO');
  queue.shutdown();
  t.is(queue.get(), 'L');
  queue.taskDone();
  t.is(queue.get(), 'O');
  queue.taskDone();
  t.true(queue.join());
  t.throws(() => queue.get(), { instanceOf: ShutDown });
  t.throws(() => queue.getNowait(), { instanceOf: ShutDown });
  t.throws(() => queue.get(1000), { instanceOf: ShutDown });
});

hubTest('gevent.queue.Queue.shutdown: immediate drops the items and marks them done', (t) => {
  const queue = new Queue<string>(null, 'LO');
  const joiner = started(() => queue.join());
  queue.shutdown(true);
  t.true(joiner.get());
  t.throws(() => queue.get(), { instanceOf: ShutDown });
  t.throws(() => queue.taskDone(), { instanceOf: RangeError });
});

hubTest('gevent.queue.Queue.shutdown: blocked getters get ShutDown', (t) => {
  const queue = new Queue();
  const getter = started(() => thrownBy(() => queue.get()));
  queue.shutdown();
  t.true(getter.get() instanceof ShutDown);
});

hubTest('gevent.queue.Queue.shutdown: blocked putters get ShutDown, and their items are not put', (t) => {
  const queue = new Queue<number>(1, [0]);
  const putter = started(() => thrownBy(() => queue.put(1)));
  queue.shutdown();
  t.true(putter.get() instanceof ShutDown);
  t.is(queue.get(), 0);
  t.true(queue.empty);
});

test('gevent.queue.JoinableQueue: is Queue', (t) => {
  t.is(JoinableQueue, Queue);
});

hubTest('gevent.queue.Queue: methods as of the standard library can be overridden', (t) => {
  class Counting<T> extends Queue<T> {
    declare inits: number;
    gets = 0;
    puts = 0;

    protected override _init(...args: Parameters<Queue<T>['_init']>): void {
      super._init(...args);
      this.inits = 1;
    }

    protected override _get(): T {
      this.gets++;
      return super._get();
    }

    protected override _put(item: T): void {
      this.puts++;
      super._put(item);
    }
  }
  const queue = new Counting<string>();
  queue.put('hi');
  t.is(queue.get(), 'hi');
  t.deepEqual([queue.inits, queue.gets, queue.puts], [1, 1, 1]);
});

// ---- SimpleQueue, UnboundQueue, PriorityQueue, LifoQueue

hubTest('gevent.queue.SimpleQueue: is a queue without join and shutdown', (t) => {
  const queue = new SimpleQueue<number>(1);
  const putter = started(() => [1, 2].forEach((item) => queue.put(item)));
  t.deepEqual([queue.get(), queue.get()], [1, 2]);
  putter.join();
  t.false('join' in queue);
  t.false('shutdown' in queue);
});

hubTest('gevent.queue.UnboundQueue: refuses a maxsize', (t) => {
  t.throws(() => new UnboundQueue(1 as never), { instanceOf: RangeError });
  const queue = new UnboundQueue(null, [1]);
  queue.put(2);
  t.deepEqual([queue.get(), queue.get()], [1, 2]);
});

hubTest('gevent.queue.PriorityQueue: the lowest entry comes first', (t) => {
  const queue = new PriorityQueue<number>();
  for (const item of [3, 1, 2]) queue.put(item);
  t.is(queue.peek(), 1);
  t.deepEqual([queue.get(), queue.get(), queue.get()], [1, 2, 3]);
});

hubTest('gevent.queue.PriorityQueue: entries may be pairs of a priority and data', (t) => {
  const queue = new PriorityQueue<[number, string]>();
  queue.put([10, 'ten']);
  queue.put([9, 'nine']);
  t.deepEqual(queue.get(), [9, 'nine']);
});

hubTest('gevent.queue.PriorityQueue: the first items are put in order', (t) => {
  const queue = new PriorityQueue(null, [5, 3, 4, 1, 2]);
  t.deepEqual(
    [1, 2, 3, 4, 5].map(() => queue.get()),
    [1, 2, 3, 4, 5],
  );
});

hubTest('gevent.queue.LifoQueue: the last item comes first', (t) => {
  const queue = new LifoQueue<number>(null, [1, 2]);
  queue.put(3);
  t.is(queue.peek(), 3);
  t.deepEqual([queue.get(), queue.get(), queue.get()], [3, 2, 1]);
});

const otherOrders: Array<new (maxSize: number) => Queue<number>> = [LifoQueue, PriorityQueue];

for (const Kind of otherOrders) {
  hubTest(`gevent.queue.${Kind.name}: put blocks while it is full, get while it is empty`, (t) => {
    const queue = new Kind(1);
    const putter = started(() => [1, 2].forEach((item) => queue.put(item)));
    t.false(putter.ready);
    t.deepEqual([queue.get(), queue.get()], [1, 2]);
    const getter = started(() => queue.get());
    queue.put(3);
    t.is(getter.get(), 3);
    putter.join();
    t.is(queue.unfinishedTasks, 3);
  });
}

// ---- Channel

test('gevent.queue.Channel: refuses a maxsize other than 1', (t) => {
  t.throws(() => new Channel(2), { instanceOf: RangeError });
  t.notThrows(() => new Channel(1));
});

hubTest('gevent.queue.Channel: is empty and full at any time', (t) => {
  const channel = new Channel<number>();
  const state = () => [channel.size, channel.empty, channel.full];
  t.deepEqual(state(), [0, true, true]);
  const putter = started(() => channel.put(1));
  t.deepEqual(state(), [0, true, true]);
  channel.get();
  putter.join();
});

hubTest('gevent.queue.Channel: of both, the getter goes on first, then the putter', (t) => {
  const channel = new Channel<string>();
  const events: string[] = [];
  const other = spawn(() => {
    events.push(channel.get());
    events.push(channel.get());
  });
  events.push('sending');
  channel.put('hello');
  events.push('sent hello');
  channel.put('world');
  events.push('sent world');
  t.deepEqual(events, ['sending', 'hello', 'sent hello', 'world', 'sent world']);
  other.join();
});

hubTest('gevent.queue.Channel: the putter goes on only after the getter has parked again', (t) => {
  const channel = new Channel<string>();
  const events: string[] = [];
  const other = spawn(() => {
    events.push('sending hello');
    channel.put('hello');
    events.push('sending world');
    channel.put('world');
    events.push('sent world');
  });
  events.push('waiting');
  events.push(channel.get());
  events.push(channel.get());
  t.deepEqual(events, ['waiting', 'sending hello', 'hello', 'sending world', 'world']);
  sleep(0);
  t.is(events.at(-1), 'sent world');
  other.join();
});

hubTest('gevent.queue.Channel.put: blocks until somebody gets', (t) => {
  const channel = new Channel<string>();
  const sender = started(() => {
    channel.put('hi');
    return 'done';
  });
  t.false(sender.ready);
  t.is(channel.get(), 'hi');
  t.is(sender.get(), 'done');
});

hubTest('gevent.queue.Channel.put: raises Full when its timeout has passed', (t) => {
  t.throws(() => new Channel<number>().put(1, 1), { instanceOf: Full });
});

hubTest('gevent.queue.Channel.put: an outer Timeout is not taken for Full', (t) => {
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => new Channel<number>().put(1, 60_000)),
    outer,
  );
});

hubTest('gevent.queue.Channel.put_nowait: raises Full unless somebody waits to get', (t) => {
  const channel = new Channel<number>();
  t.throws(() => channel.putNowait(1), { instanceOf: Full });
  const getter = started(() => channel.get());
  channel.putNowait(2);
  t.is(getter.get(), 2);
});

hubTest('gevent.queue.Channel.put_nowait: works in the hub', (t) => {
  const channel = new Channel<number>();
  t.throws(() => inHub(() => channel.putNowait(1)), { instanceOf: Full });
  const getter = started(() => channel.get());
  inHub(() => channel.putNowait(10));
  t.is(getter.get(), 10);
});

hubTest('gevent.queue.Channel.get: raises Empty when its timeout has passed', (t) => {
  t.throws(() => new Channel().get(1), { instanceOf: Empty });
});

hubTest('gevent.queue.Channel.get: an outer Timeout is not taken for Empty', (t) => {
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => new Channel().get(60_000)),
    outer,
  );
});

hubTest('gevent.queue.Channel.get_nowait: takes the item of a blocked putter, in the hub too', (t) => {
  const channel = new Channel<number>();
  t.throws(() => channel.getNowait(), { instanceOf: Empty });
  const putter = started(() => channel.put(5));
  t.is(
    inHub(() => channel.getNowait()),
    5,
  );
  putter.join();
});

hubTest('gevent.queue.Channel.balance: those who wait to put less those who wait to get', (t) => {
  const channel = new Channel<number>();
  const putters = [1, 2].map((item) => started(() => channel.put(item)));
  t.is(channel.balance, 2);
  channel.get();
  channel.get();
  const getter = started(() => channel.get());
  t.is(channel.balance, -1);
  channel.put(3);
  joinAll([...putters, getter]);
  t.is(channel.balance, 0);
});

hubTest('gevent.queue.Channel.__iter__: takes items until StopIteration is got', (t) => {
  const channel = new Channel<number | StopIteration>();
  const putter = spawn(() => {
    for (const item of [1, 2, StopIteration] as const) channel.put(item);
  });
  t.deepEqual([...channel], [1, 2]);
  putter.join();
});

test('gevent.queue.Queue: can be made and used before any greenlet runs', async (t) => {
  const queue = new Queue<number>(1);
  queue.put(1);
  t.is(queue.get(), 1);
  await run(() => queue.put(2));
  t.is(queue.getNowait(), 2);
});
