import { inspect } from 'node:util';
import {
  BlockingSwitchOutError,
  type Greenlet,
  GreenletExit,
  GreenstackError,
  Timeout,
  getHub,
  idle,
  joinAll,
  shield,
  sleep,
  spawn,
  wait,
  waitFor,
} from 'greenstack';
import {
  Channel,
  Empty,
  Full,
  LifoQueue,
  PriorityQueue,
  Queue,
  ShutDown,
  SimpleQueue,
  StopIteration,
  UnboundQueue,
} from 'greenstack/queue';
import test from 'ava';
import { parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';

/** A greenlet that has run until it parked. */
function started<T>(fn: () => T): Greenlet<T> {
  const greenlet = spawn(fn);
  idle();
  return greenlet;
}

/** Throws in the greenlet as soon as it parks, or at once if it is parked. */
function killLater(greenlet: Greenlet<unknown>): void {
  greenlet.kill(undefined, { block: false });
}

/** How many times a stack is entered while `body` runs. */
function switchesOf(body: () => void): number {
  const { switches } = getHub().stats();
  body();
  return getHub().stats().switches - switches;
}

/** Takes out everything that is there. */
function drain<T>(queue: Queue<T>): T[] {
  return Array.from({ length: queue.size }, () => queue.getNowait());
}

const oops = new Error('oops');

// ---- bad input

for (const [shown, maxSize] of [
  ['NaN', NaN],
  ['a text', '3'],
  ['true', true],
] as const) {
  test(`maxSize: ${shown} is a TypeError that shows it`, (t) => {
    const message = new RegExp(`maxSize.*${String(maxSize)}`);
    t.throws(() => new Queue(maxSize as number), { instanceOf: TypeError, message });
  });
}

for (const maxSize of [-1, 1.5, -Infinity]) {
  test(`maxSize: ${maxSize} is a RangeError`, (t) => {
    const message = new RegExp(`whole number.*${maxSize}`);
    t.throws(() => new Queue(maxSize), { instanceOf: RangeError, message });
  });
}

test('maxSize: 0 is a RangeError that names what may be meant', (t) => {
  t.throws(() => new Queue(0), { instanceOf: RangeError, message: /Channel/ });
  t.throws(() => new Queue(0), { instanceOf: RangeError, message: /leave it out/ });
});

test('maxSize: none, null and Infinity are no limit', (t) => {
  for (const maxSize of [undefined, null, Infinity]) t.is(new Queue(maxSize).maxSize, Infinity);
});

test('maxSize: a bad one is refused later too, and the old one stays', (t) => {
  const queue = new Queue(2);
  t.throws(() => (queue.maxSize = 0), { instanceOf: RangeError });
  t.throws(() => (queue.maxSize = '1' as never), { instanceOf: TypeError });
  t.is(queue.maxSize, 2);
});

test('items: what is not iterable is a TypeError', (t) => {
  t.throws(() => new Queue(1, 5 as never), { instanceOf: TypeError, message: /items.*got 5/ });
});

test('items in the place of maxSize are a TypeError, not an empty queue', (t) => {
  t.throws(() => new Queue([1, 2] as never), { instanceOf: TypeError, message: /in this order/ });
});

test('items beside an object of options are a TypeError', (t) => {
  t.throws(() => new Queue({ maxSize: 1 } as never, [1]), { instanceOf: TypeError });
});

test('unfinishedTasks: only whole numbers from 0', (t) => {
  t.throws(() => new Queue({ unfinishedTasks: '1' as never }), { instanceOf: TypeError });
  t.throws(() => new Queue({ unfinishedTasks: NaN }), { instanceOf: TypeError });
  t.throws(() => new Queue({ unfinishedTasks: -1 }), { instanceOf: RangeError });
  t.throws(() => new Queue({ unfinishedTasks: 0.5 }), { instanceOf: RangeError });
  t.is(new Queue({ items: [1], unfinishedTasks: 0 }).unfinishedTasks, 0);
});

test('UnboundQueue: maxSize cannot be set either', (t) => {
  const queue = new UnboundQueue();
  t.throws(() => (queue.maxSize = 5 as never), { instanceOf: RangeError });
  queue.maxSize = null;
  t.is(queue.maxSize, Infinity);
});

test('PriorityQueue: compare has to be a function', (t) => {
  t.throws(() => new PriorityQueue({ compare: 5 as never }), { instanceOf: TypeError, message: /compare/ });
});

test('shutdown: immediate has to be true or false', (t) => {
  const queue = new Queue();
  t.throws(() => queue.shutdown(1 as never), { instanceOf: TypeError });
  t.false(queue.isShutDown);
});

for (const [name, call] of [
  ['Queue.put()', () => new Queue().put(1, 'soon' as never)],
  ['Queue.get()', () => new Queue(1, [1]).get('soon' as never)],
  ['Queue.peek()', () => new Queue(1, [1]).peek('soon' as never)],
  ['Queue.join()', () => new Queue().join('soon' as never)],
  ['Channel.put()', () => new Channel().put(1, 'soon' as never)],
  ['Channel.get()', () => new Channel().get('soon' as never)],
] as const) {
  test(`${name}: bad limits are a TypeError even if it need not wait`, (t) => {
    t.throws(call, { instanceOf: TypeError, message: new RegExp(name.replace('()', '')) });
  });
}

test('bad limits change nothing', (t) => {
  const queue = new Queue<number>(2, [1]);
  t.throws(() => queue.put(2, NaN), { instanceOf: TypeError });
  t.throws(() => queue.get(NaN), { instanceOf: TypeError });
  t.deepEqual(drain(queue), [1]);
});

test('errors have stable codes and names', (t) => {
  const shown = [new Empty(), new Full(), new ShutDown()].map((error) => [error.name, error.code]);
  t.deepEqual(shown, [
    ['Empty', 'ERR_GREENSTACK_QUEUE_EMPTY'],
    ['Full', 'ERR_GREENSTACK_QUEUE_FULL'],
    ['ShutDown', 'ERR_GREENSTACK_QUEUE_SHUT_DOWN'],
  ]);
  t.true(new Empty() instanceof GreenstackError);
});

// ---- outside greenlets

test('outside greenlets everything works that need not wait', (t) => {
  const queue = new Queue<number>(2);
  queue.put(1);
  queue.putNowait(2);
  t.is(queue.peek(), 1);
  t.is(queue.get(), 1);
  t.is(queue.getNowait(), 2);
  queue.taskDone();
  queue.taskDone();
  t.true(queue.join());
});

test('outside greenlets what would have to wait is refused and changes nothing', (t) => {
  const queue = new Queue<number>(1);
  const channel = new Channel<number>();
  for (const call of [
    () => queue.get(),
    () => queue.peek(),
    () => channel.get(),
    () => channel.put(1),
    () => [...queue],
  ]) {
    t.throws(call, { instanceOf: BlockingSwitchOutError });
  }
  queue.put(1);
  t.throws(() => queue.put(2), { instanceOf: BlockingSwitchOutError });
  t.throws(() => queue.join(), { instanceOf: BlockingSwitchOutError });
  t.is(String(queue), '<Queue 1 of 1 items, 1 unfinished>');
  t.is(channel.balance, 0);
});

test('outside greenlets a limit of 0 gives what an expired one gives', (t) => {
  const queue = new Queue<number>(1, [1]);
  t.throws(() => queue.put(2, 0), { instanceOf: Full });
  t.false(queue.join({ block: false }));
  t.throws(() => new Queue().get(0), { instanceOf: Empty });
  t.throws(() => new Queue().peek({ block: false }), { instanceOf: Empty });
  t.throws(() => new Channel().get(0), { instanceOf: Empty });
  t.throws(() => new Channel().put(1, { block: false }), { instanceOf: Full });
});

hubTest('a plain callback puts for a greenlet that waits', (t) => {
  const queue = new Queue<number>();
  setImmediate(() => queue.put(1));
  t.is(queue.get(), 1);
});

hubTest('a plain callback puts into a channel where a greenlet waits', (t) => {
  const channel = new Channel<number>();
  setImmediate(() => channel.put(1));
  t.is(channel.get(), 1);
});

hubTest('a plain callback takes from a channel where a greenlet waits to put', (t) => {
  const channel = new Channel<number>();
  const taken: number[] = [];
  setImmediate(() => taken.push(channel.get()));
  channel.put(1);
  t.deepEqual(taken, [1]);
});

// ---- switches

hubTest('put and get of a queue do not switch unless they must wait', (t) => {
  const queue = new Queue<number>(1000);
  spawn(() => {});
  const switches = switchesOf(() => {
    for (let item = 0; item < 1000; item++) queue.put(item);
    queue.peek();
    for (let item = 0; item < 1000; item++) queue.get();
  });
  t.is(switches, 0);
});

hubTest('put does not switch to the greenlet that it hands an item to', (t) => {
  const queue = new Queue<number>();
  const getter = started(() => queue.get());
  t.is(
    switchesOf(() => queue.put(1)),
    0,
  );
  t.is(getter.get(), 1);
});

hubTest('a full queue takes two switches for as many items as it holds', (t) => {
  const queue = new Queue<number>(10);
  const items = 1200;
  const switches = switchesOf(() => {
    const putter = spawn(() => {
      for (let item = 0; item < items; item++) queue.put(item);
    });
    for (let item = 0; item < items; item++) queue.get();
    putter.join();
  });
  t.true(switches <= (2 * items) / 10, `${switches} switches`);
});

hubTest('a channel takes two switches for each item', (t) => {
  const channel = new Channel<number>();
  const items = 100;
  const putter = started(() => {
    for (let item = 0; item < items; item++) channel.put(item);
  });
  const switches = switchesOf(() => {
    for (let item = 0; item < items; item++) channel.get();
    putter.join();
  });
  t.true(switches <= 2 * items + 2, `${switches} switches`);
});

hubTest('putNowait of a channel does not switch', (t) => {
  const channel = new Channel<number>();
  const getter = started(() => channel.get());
  t.is(
    switchesOf(() => channel.putNowait(1)),
    0,
  );
  t.is(getter.get(), 1);
});

hubTest('put of a channel with a limit of 0 does not switch', (t) => {
  const channel = new Channel<number>();
  const getter = started(() => channel.get());
  t.is(
    switchesOf(() => channel.put(1, 0)),
    0,
  );
  t.is(getter.get(), 1);
});

// ---- killed or timed out at the moment of the hand-over

hubTest('a getter that is killed after it was handed an item has it', (t) => {
  const queue = new Queue<number>();
  const taken: number[] = [];
  const getter = started(() => {
    taken.push(queue.get());
    parkForLong();
  });
  queue.put(1);
  killLater(getter);
  getter.join();
  t.deepEqual(taken, [1]);
  t.true((getter.value as unknown) instanceof GreenletExit);
  t.true(queue.empty);
});

hubTest('a getter that is killed just before an item comes leaves it', (t) => {
  const queue = new Queue<number>();
  const getter = started(() => queue.get());
  killLater(getter);
  queue.put(1);
  getter.join();
  t.true((getter.value as unknown) instanceof GreenletExit);
  t.deepEqual(drain(queue), [1]);
});

virtualTest(
  'a getter that is handed an item when its time is up, before anybody has looked, has the item',
  (t) => {
    const queue = new Queue<number>();
    const putter = spawn(() => {
      sleep(1);
      queue.put(1);
    });
    const getter = started(() => {
      try {
        return queue.get(1);
      } catch (error) {
        return error;
      }
    });
    t.is(getter.get(), 1);
    t.true(putter.ready);
    t.true(queue.empty);
  },
);

hubTest('a putter that is killed after its item was taken in has put it', (t) => {
  const queue = new Queue<number>(1, [0]);
  const done: string[] = [];
  const putter = started(() => {
    queue.put(1);
    done.push('put');
    parkForLong();
  });
  t.is(queue.get(), 0);
  killLater(putter);
  putter.join();
  t.deepEqual(done, ['put']);
  t.deepEqual(drain(queue), [1]);
});

hubTest('a putter that is killed just before there is room takes its item back', (t) => {
  const queue = new Queue<number>(1, [0]);
  const putter = started(() => queue.put(1));
  killLater(putter);
  t.is(queue.get(), 0);
  putter.join();
  t.true((putter.value as unknown) instanceof GreenletExit);
  t.true(queue.empty);
});

hubTest('a getter of a channel that is killed after the hand-over has the item', (t) => {
  const channel = new Channel<number>();
  const taken: number[] = [];
  const getter = started(() => {
    taken.push(channel.get());
    parkForLong();
  });
  channel.putNowait(1);
  killLater(getter);
  getter.join();
  t.deepEqual(taken, [1]);
});

hubTest('a getter of a channel that is killed just before leaves the putter waiting', (t) => {
  const channel = new Channel<number>();
  const getter = started(() => channel.get());
  killLater(getter);
  const putter = started(() => channel.put(1));
  t.false(putter.ready);
  t.is(channel.get(), 1);
  joinAll([getter, putter]);
});

hubTest('a putter of a channel that is killed after its item was taken has put it', (t) => {
  const channel = new Channel<number>();
  const done: string[] = [];
  const putter = started(() => {
    channel.put(1);
    done.push('put');
    parkForLong();
  });
  t.is(channel.getNowait(), 1);
  killLater(putter);
  putter.join();
  t.deepEqual(done, ['put']);
});

hubTest('a putter of a channel that is killed while the getter goes on first has put its item', (t) => {
  const channel = new Channel<number>();
  const events: string[] = [];
  const getter = started(() => {
    events.push(`got ${channel.get()}`);
    killLater(putter);
  });
  const putter = spawn(() => {
    channel.put(1);
    events.push('put');
    parkForLong();
  });
  joinAll([getter, putter]);
  t.deepEqual(events, ['got 1', 'put']);
  t.true((putter.value as unknown) instanceof GreenletExit);
});

hubTest('a putter of a channel that has been killed already hands over nothing', (t) => {
  const channel = new Channel<number>();
  const getter = started(() => channel.get());
  const start = new Queue<void>();
  const putter = started(() => {
    start.get();
    channel.put(1);
  });
  start.put();
  killLater(putter);
  putter.join();
  t.true((putter.value as unknown) instanceof GreenletExit);
  t.false(getter.ready);
  channel.put(2);
  t.is(getter.get(), 2);
});

hubTest('inside shield, put of a channel is not disturbed', (t) => {
  const channel = new Channel<number>();
  const getter = started(() => channel.get());
  const start = new Queue<void>();
  const done: string[] = [];
  const putter = started(() => {
    start.get();
    shield(() => channel.put(1));
    done.push('put');
    parkForLong();
  });
  start.put();
  killLater(putter);
  t.is(getter.get(), 1);
  putter.join();
  t.deepEqual(done, ['put']);
});

hubTest('waits that have ended leave no entries', (t) => {
  const queue = new Queue<number>(1);
  const channel = new Channel<number>();
  for (const call of [
    () => queue.get(1),
    () => queue.peek(1),
    () => channel.get(1),
    () => channel.put(1, 1),
    () => queue.get({ signal: AbortSignal.timeout(1) }),
    () => queue.get({ signal: AbortSignal.abort(oops) }),
  ]) {
    t.truthy(thrownBy(call));
  }
  t.is(String(queue), '<Queue 0 of 1 items>');
  queue.put(1);
  t.throws(() => queue.put(2, 1), { instanceOf: Full });
  t.false(queue.join(1));
  t.is(String(queue), '<Queue 1 of 1 items, 1 unfinished>');
  t.is(channel.balance, 0);
});

hubTest('an aborted signal ends the wait with its reason', (t) => {
  const queue = new Queue<number>();
  const controller = new AbortController();
  const getter = started(() => thrownBy(() => queue.get({ signal: controller.signal })));
  controller.abort(oops);
  t.is(getter.get(), oops);
  queue.put(1);
  t.deepEqual(drain(queue), [1]);
});

hubTest('a Timeout with an error of its own throws that error', (t) => {
  t.is(
    thrownBy(() => new Queue().get(new Timeout(1, oops))),
    oops,
  );
  t.is(
    thrownBy(() => new Queue().get(new Timeout(0, oops))),
    oops,
  );
  const unfinished = new Queue(null, [1]);
  for (const ms of [0, 1]) {
    t.is(
      thrownBy(() => unfinished.join(new Timeout(ms, oops))),
      oops,
    );
    t.false(unfinished.join(new Timeout(ms)));
  }
});

// ---- a random program, counted

virtualTest('whatever is killed or times out: no item is lost, none comes twice', (t) => {
  let state = Date.now() % 1_000_000;
  const random = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  t.log(`seed ${state}`);
  for (let round = 0; round < 60; round++) {
    const kinds = [
      () => new Queue<number>(1),
      () => new Queue<number>(3),
      () => new Queue<number>(),
      () => new PriorityQueue<number>(2),
      () => new LifoQueue<number>(2),
      () => new Channel<number>(),
    ];
    const queue = kinds[random(kinds.length)]!();
    const put: number[] = [];
    const taken: number[] = [];
    const greenlets: Greenlet<void>[] = [];
    const iterators: AsyncIterator<number>[] = [];
    const attempt = (call: () => void): void => {
      using _limit = Timeout.startNew(random(3) === 0 ? random(2) : null);
      try {
        call();
      } catch (error) {
        if (error instanceof TypeError) throw error;
      }
    };
    for (let item = 0; item < 40; item++) {
      const limit = random(2) === 0 ? null : random(3);
      const act = [
        () =>
          greenlets.push(
            spawn(attempt, () => {
              queue.put(item, limit);
              put.push(item);
            }),
          ),
        () => greenlets.push(spawn(attempt, () => taken.push(queue.get(limit)))),
        () => {
          queue.putNowait(item);
          put.push(item);
        },
        () => taken.push(queue.getNowait()),
        () => greenlets.slice(random(greenlets.length)).slice(0, 1).forEach(killLater),
        () => {
          const iterator = queue[Symbol.asyncIterator]();
          iterators.push(iterator);
          void iterator.next().then(({ value }) => value !== undefined && taken.push(value));
        },
        () => sleep(random(2)),
        () => idle(),
      ];
      attempt(act[random(act.length)]!);
    }
    for (const iterator of iterators) void iterator.return!();
    idle();
    for (const greenlet of greenlets) killLater(greenlet);
    joinAll(greenlets);
    sleep(1);
    if (queue instanceof Queue) taken.push(...drain(queue));
    const ascending = (a: number, b: number): number => a - b;
    t.deepEqual(taken.sort(ascending), put.sort(ascending), `${queue} in round ${round}`);
  }
});

// ---- order

hubTest('putters that are served leave the queue full for those who come later', (t) => {
  const queue = new Queue<number>(1, [0]);
  const first = started(() => queue.put(1));
  t.is(queue.get(), 0);
  t.throws(() => queue.putNowait(2), { instanceOf: Full });
  first.join();
  t.deepEqual(drain(queue), [1]);
});

hubTest('peeking and getting greenlets are served in one order', (t) => {
  const queue = new Queue<number>();
  const first = started(() => queue.peek());
  const getter = started(() => queue.get());
  const late = started(() => queue.peek());
  queue.put(1);
  t.deepEqual([first.get(), getter.get()], [1, 1]);
  t.false(late.ready);
  queue.put(2);
  t.is(late.get(), 2);
  t.deepEqual(drain(queue), [2]);
});

hubTest('a larger maxSize lets putters go on at once', (t) => {
  const queue = new Queue<number>(1, [0]);
  const putters = [1, 2, 3].map((item) => started(() => queue.put(item)));
  queue.maxSize = 3;
  t.is(queue.size, 3);
  idle();
  t.deepEqual(
    putters.map(({ ready }) => ready),
    [true, true, false],
  );
  queue.maxSize = undefined;
  joinAll(putters);
  t.deepEqual(drain(queue), [0, 1, 2, 3]);
});

hubTest('more items than a smaller maxSize stay, and none is put until there is room', (t) => {
  const queue = new Queue<number>(3, [0, 1, 2]);
  queue.maxSize = 1;
  const putter = started(() => queue.put(3));
  queue.get();
  queue.get();
  idle();
  t.false(putter.ready);
  queue.get();
  putter.join();
  t.deepEqual(drain(queue), [3]);
});

test('the first items may be more than maxSize', (t) => {
  const queue = new Queue<number>(1, [1, 2, 3]);
  t.true(queue.full);
  t.deepEqual(drain(queue), [1, 2, 3]);
});

test('items come out in order through many chunks, as the queue grows and shrinks', (t) => {
  const queue = new Queue<number>();
  let next = 0;
  let expected = 0;
  for (const [puts, gets] of [
    [1, 0],
    [63, 1],
    [65, 64],
    [500, 200],
    [0, 364],
    [64, 64],
    [1, 1],
    [1000, 1000],
  ] as const) {
    for (let n = 0; n < puts; n++) queue.put(next++);
    t.deepEqual(
      queue.copy().size === 0 ? [] : drain(queue.copy()),
      Array.from({ length: queue.size }, (_, index) => expected + index),
    );
    for (let n = 0; n < gets; n++) t.is(queue.get(), expected++);
  }
  t.is(queue.size, 0);
});

test('undefined and null are items as any', (t) => {
  const queue = new Queue<unknown>();
  queue.put(undefined);
  queue.put(null);
  t.is(queue.peek(), undefined);
  t.deepEqual(drain(queue), [undefined, null]);
});

// ---- PriorityQueue

test('compare decides the order, and equal ones keep the order of their arrival', (t) => {
  const queue = new PriorityQueue<string>({ compare: (a, b) => b.length - a.length });
  for (const item of ['a', 'bb', 'c', 'dd', 'e']) queue.put(item);
  t.deepEqual(drain(queue), ['bb', 'dd', 'a', 'c', 'e']);
});

test('many items come out as sorted', (t) => {
  const items = Array.from({ length: 500 }, (_, index) => (index * 7919) % 307);
  const queue = new PriorityQueue(null, items);
  t.deepEqual(
    drain(queue),
    [...items].sort((a, b) => a - b),
  );
});

test('without compare: texts, dates, bigints beside numbers, and arrays by their elements', (t) => {
  t.deepEqual(drain(new PriorityQueue(null, 'bca')), ['a', 'b', 'c']);
  const dates = [new Date(2), new Date(1)];
  t.deepEqual(drain(new PriorityQueue(null, dates)), [dates[1], dates[0]]);
  t.deepEqual(drain(new PriorityQueue(null, [2n, 1, 3])), [1, 2n, 3]);
  t.deepEqual(drain(new PriorityQueue(null, [[1, 2], [1, 1], [1]])), [[1], [1, 1], [1, 2]]);
});

test('without compare: data that has no order does not matter where priorities are equal', (t) => {
  const jobs = [
    [2, { job: 'last' }],
    [1, { job: 'first' }],
    [1, [{ job: 'second' }]],
  ];
  t.deepEqual(drain(new PriorityQueue(null, jobs)), [jobs[1], jobs[2], jobs[0]]);
});

for (const [what, bad] of [
  ['an object', {}],
  ['NaN', NaN],
  ['a text beside numbers', 'one'],
  ['an array of objects', [{}]],
] as const) {
  test(`without compare: ${what} is a TypeError, and the queue is as it was`, (t) => {
    const queue = new PriorityQueue<unknown>(null, what === 'an array of objects' ? [[1]] : [1]);
    t.throws(() => queue.put(bad), { instanceOf: TypeError, message: /needs compare\(\)/ });
    t.is(queue.size, 1);
    t.is(queue.unfinishedTasks, 1);
  });
}

test('a compare() that returns no number is a TypeError', (t) => {
  const queue = new PriorityQueue<number>({ compare: (() => true) as never });
  t.throws(() => queue.put(2), { instanceOf: TypeError, message: /compare\(\).*true/ });
  t.is(queue.size, 0);
});

for (const item of [NaN, new Date(NaN), [NaN, 'data'], {}, null]) {
  test(`an item without an order is refused also as the first: ${inspect(item)}`, (t) => {
    const queue = new PriorityQueue<unknown>();
    t.throws(() => queue.put(item), { instanceOf: TypeError, message: /compare\(\) to order/ });
    t.is(queue.unfinishedTasks, 0);
    t.throws(() => new PriorityQueue<unknown>(null, [item]), { instanceOf: TypeError });
    queue.put(2);
    queue.put(1);
    t.deepEqual(drain(queue), [1, 2]);
  });
}

/** A queue with eight items whose `compare` throws while `failing` says so. */
function fragile(): { queue: PriorityQueue<number>; failing: { after: number } } {
  const failing = { after: Infinity };
  const compare = (a: number, b: number): number => {
    if (failing.after-- <= 0) throw oops;
    return a - b;
  };
  const queue = new PriorityQueue<number>({ compare, items: [5, 2, 8, 1, 9, 3, 7, 4] });
  return { queue, failing };
}

for (const after of [0, 1, 2, 3]) {
  test(`a compare() that throws in put, at comparison ${after}, leaves the queue as it was`, (t) => {
    const { queue, failing } = fragile();
    failing.after = Math.min(after, 2);
    t.throws(() => queue.put(0), { is: oops });
    failing.after = Infinity;
    t.is(queue.unfinishedTasks, 8);
    t.deepEqual(drain(queue), [1, 2, 3, 4, 5, 7, 8, 9]);
  });

  test(`a compare() that throws in get, at comparison ${after}, leaves the queue as it was`, (t) => {
    const { queue, failing } = fragile();
    failing.after = after;
    t.throws(() => queue.get(), { is: oops });
    failing.after = Infinity;
    t.deepEqual(drain(queue), [1, 2, 3, 4, 5, 7, 8, 9]);
  });
}

hubTest('an item that cannot be compared when there is room for it: its putter gets the error', (t) => {
  const queue = new PriorityQueue<unknown>(2, [1, 2]);
  const bad = started(() => thrownBy(() => queue.put({})));
  const good = started(() => queue.put(0));
  t.is(queue.get(), 1);
  t.true(bad.get() instanceof TypeError);
  good.join();
  t.deepEqual(drain(queue), [0, 2]);
  t.is(queue.unfinishedTasks, 3);
});

// ---- tasks and shutdown

hubTest('a join that was killed leaves the count alone', (t) => {
  const queue = new Queue<number>(null, [1]);
  const joiner = started(() => queue.join());
  joiner.kill();
  queue.taskDone();
  t.true(queue.join());
});

hubTest('several joins end together', (t) => {
  const queue = new Queue<number>(null, [1]);
  const joiners = [1, 2, 3].map(() => started(() => queue.join(60_000)));
  queue.taskDone();
  t.deepEqual(
    joiners.map((joiner) => joiner.get()),
    [true, true, true],
  );
});

hubTest('the item of a blocked putter is a task once it is in the queue', (t) => {
  const queue = new Queue<number>(1, [0]);
  const putter = started(() => queue.put(1));
  t.is(queue.unfinishedTasks, 1);
  queue.get();
  t.is(queue.unfinishedTasks, 2);
  putter.join();
});

hubTest('shutdown ends iterations when the queue is empty', (t) => {
  const queue = new Queue<number>(null, [1, 2]);
  const reader = started(() => [...queue]);
  queue.shutdown();
  t.deepEqual(reader.get(), [1, 2]);
  t.deepEqual([...queue], []);
});

hubTest('shutdown wakes greenlets that peek', (t) => {
  const queue = new Queue<number>();
  const peeker = started(() => thrownBy(() => queue.peek()));
  queue.shutdown();
  t.true(peeker.get() instanceof ShutDown);
  t.throws(() => queue.peek(), { instanceOf: ShutDown });
  t.throws(() => queue.peekNowait(), { instanceOf: ShutDown });
});

test('shutdown may be called again, then dropping what is left', (t) => {
  const queue = new Queue<number>(null, [1, 2]);
  queue.shutdown();
  t.true(queue.isShutDown);
  queue.shutdown(true);
  t.true(queue.empty);
  t.is(queue.unfinishedTasks, 0);
});

test('an immediate shutdown counts done only what was not done before', (t) => {
  const queue = new Queue<number>(null, [1, 2, 3]);
  queue.get();
  queue.shutdown(true);
  t.is(queue.unfinishedTasks, 1);
  queue.taskDone();
});

hubTest(
  'an immediate shutdown compares nothing: a compare() that throws leaves no items, tasks and joiners',
  (t) => {
    const { queue, failing } = fragile();
    const joiner = started(() => queue.join());
    failing.after = 0;
    queue.shutdown(true);
    t.is(queue.size, 0);
    t.is(queue.unfinishedTasks, 0);
    t.true(joiner.get());
  },
);

test('an immediate shutdown also drops what a subclass of PriorityQueue keeps elsewhere', (t) => {
  class WithUrgent extends PriorityQueue<number> {
    readonly urgent: number[] = [];

    protected override _qsize(): number {
      return super._qsize() + (this.urgent?.length ?? 0);
    }

    protected override _get(): number {
      return this.urgent.shift() ?? super._get();
    }
  }
  const queue = new WithUrgent(null, [1, 2]);
  queue.urgent.push(3);
  queue.shutdown(true);
  t.is(queue.size, 0);
  t.deepEqual(queue.urgent, []);
});

hubTest('a getter that is killed as the queue is shut down gets ShutDown first', (t) => {
  const queue = new Queue<number>();
  const seen: unknown[] = [];
  const getter = started(() => {
    seen.push(thrownBy(() => queue.get()));
    parkForLong();
  });
  queue.shutdown();
  killLater(getter);
  getter.join();
  t.true(seen[0] instanceof ShutDown);
});

// ---- iteration

hubTest('leaving a loop early leaves the rest in the queue', (t) => {
  const queue = new Queue<number>(null, [1, 2, 3]);
  for (const item of queue) if (item === 2) break;
  t.deepEqual(drain(queue), [3]);
});

hubTest('an iteration that has ended stays so', (t) => {
  const queue = new Queue<number | StopIteration>(null, [StopIteration, 1]);
  const iterator = queue[Symbol.iterator]();
  t.true(iterator.next().done);
  t.true(iterator.next().done);
  t.deepEqual(drain(queue), [1]);
});

hubTest('several greenlets share the items of a queue, each ended by a token of its own', (t) => {
  const queue = new Queue<number | StopIteration>();
  const readers = [1, 2].map(() => started(() => [...queue]));
  for (const item of [1, 2, 3, 4, StopIteration, StopIteration] as const) {
    queue.put(item);
    idle();
  }
  t.deepEqual(
    readers.map((reader) => reader.get()),
    [
      [1, 3],
      [2, 4],
    ],
  );
});

hubTest('an iteration that is killed takes nothing more', (t) => {
  const queue = new Queue<number>();
  const reader = started(() => [...queue]);
  reader.kill();
  queue.put(1);
  t.deepEqual(drain(queue), [1]);
});

// ---- async iteration

test('for await takes items without any greenlet, until the token', async (t) => {
  const queue = new Queue<number | StopIteration>(null, [1]);
  const taken: number[] = [];
  const loop = (async () => {
    for await (const item of queue) taken.push(item);
  })();
  await new Promise(setImmediate);
  queue.put(2);
  await new Promise(setImmediate);
  t.deepEqual(taken, [1, 2]);
  queue.put(StopIteration);
  await loop;
  t.deepEqual(taken, [1, 2]);
});

test('leaving for await early leaves the rest in the queue', async (t) => {
  const queue = new Queue<number>(null, [1, 2, 3]);
  for await (const item of queue) if (item === 2) break;
  queue.put(4);
  t.deepEqual(drain(queue), [3, 4]);
});

test('return() ends a next() that waits, and it takes nothing', async (t) => {
  const queue = new Queue<number>();
  const iterator = queue[Symbol.asyncIterator]();
  const waiting = [iterator.next(), iterator.next()];
  await iterator.return!();
  queue.put(1);
  t.deepEqual(await Promise.all(waiting), [
    { done: true, value: undefined },
    { done: true, value: undefined },
  ]);
  t.true((await iterator.next()).done);
  t.deepEqual(drain(queue), [1]);
});

test('an item that was handed to next() before return() is delivered', async (t) => {
  const queue = new Queue<number>();
  const iterator = queue[Symbol.asyncIterator]();
  const next = iterator.next();
  queue.put(1);
  const returned = iterator.return!();
  t.deepEqual(await next, { done: false, value: 1 });
  t.true((await returned).done);
});

test('shutdown ends for await', async (t) => {
  const queue = new Queue<number>(null, [1]);
  const taken: number[] = [];
  const loop = (async () => {
    for await (const item of queue) taken.push(item);
  })();
  await new Promise(setImmediate);
  queue.shutdown();
  await loop;
  t.deepEqual(taken, [1]);
  t.true((await queue[Symbol.asyncIterator]().next()).done);
});

test('a compare() that throws rejects next(), and the queue is as it was', async (t) => {
  const { queue, failing } = fragile();
  failing.after = 0;
  await t.throwsAsync(queue[Symbol.asyncIterator]().next(), { is: oops });
  failing.after = Infinity;
  t.is(queue.size, 8);
});

hubTest('greenlets and async code wait in one order', (t) => {
  const queue = new Queue<number>();
  const first = started(() => queue.get());
  const second = queue[Symbol.asyncIterator]().next();
  const third = started(() => queue.get());
  for (const item of [1, 2, 3]) queue.put(item);
  t.is(first.get(), 1);
  t.deepEqual(waitFor(second), { done: false, value: 2 });
  t.is(third.get(), 3);
});

hubTest('async code takes items from a channel', (t) => {
  const channel = new Channel<number | StopIteration>();
  const taken = (async () => {
    const items: number[] = [];
    for await (const item of channel) items.push(item);
    return items;
  })();
  for (const item of [1, 2, StopIteration] as const) channel.put(item);
  t.deepEqual(waitFor(taken), [1, 2]);
});

hubTest('an item that is a promise is not awaited on its way', (t) => {
  const queue = new Queue<Promise<number>>();
  const promise = Promise.resolve(1);
  queue.put(promise);
  t.is(queue.get(), promise);
});

// ---- wait()

hubTest('wait() for a queue ends when something is in it', (t) => {
  const queue = new Queue<number>();
  const waiter = started(() => wait([queue]));
  t.false(queue.ready);
  queue.put(1);
  t.is(waiter.get()[0], queue);
  t.true(queue.ready);
  t.deepEqual(drain(queue), [1]);
});

hubTest('wait() for a queue that has something does not wait long', (t) => {
  const queue = new Queue<number>(null, [1]);
  t.is(wait([queue])[0], queue);
});

hubTest('an item that is handed over does not make the queue ready', (t) => {
  const queue = new Queue<number>();
  const calls: unknown[] = [];
  queue.rawlink((source) => calls.push(source));
  const getter = started(() => queue.get());
  queue.put(1);
  getter.join();
  idle();
  t.deepEqual(calls, []);
  queue.put(2);
  idle();
  t.is(calls.length, 1);
  t.is(calls[0], queue);
});

hubTest('linkCount tells how many wait to get, callbacks included', (t) => {
  const queue = new Queue<number>();
  queue.rawlink(() => {});
  const getter = started(() => queue.get());
  t.is(queue.linkCount, 2);
  queue.put(1);
  t.is(queue.linkCount, 1);
  getter.join();
  queue.put(2);
  t.is(queue.linkCount, 0);
  idle();
});

hubTest('a queue that is shut down is ready: get would not wait', (t) => {
  const queue = new Queue<number>();
  const waiter = started(() => wait([queue]));
  queue.shutdown();
  t.is(waiter.get()[0], queue);
  t.true(queue.ready);
});

hubTest('an unlinked callback is not called', (t) => {
  const queue = new Queue<number>();
  const link = () => t.fail();
  queue.rawlink(link);
  queue.unlink(link);
  queue.put(1);
  idle();
  t.is(queue.size, 1);
});

hubTest('wait() for a channel ends when somebody waits to put', (t) => {
  const channel = new Channel<number>();
  const waiter = started(() => wait([channel]));
  t.false(channel.ready);
  const putter = started(() => channel.put(1));
  t.is(waiter.get()[0], channel);
  t.true(channel.ready);
  t.is(channel.get(), 1);
  putter.join();
});

hubTest('a put that is refused does not make a channel ready', (t) => {
  const channel = new Channel<number>();
  const calls: unknown[] = [];
  channel.rawlink((source) => calls.push(source));
  t.throws(() => channel.putNowait(1), { instanceOf: Full });
  t.throws(() => channel.put(1, 0), { instanceOf: Full });
  t.is(
    thrownBy(() => channel.put(1, { signal: AbortSignal.abort(oops) })),
    oops,
  );
  idle();
  t.deepEqual(calls, []);
  const putter = started(() => channel.put(1));
  idle();
  t.is(calls.length, 1);
  channel.get();
  putter.join();
});

// ---- subclasses

class UniqueQueue<T> extends Queue<T> {
  declare private readonly unique: Set<T>;

  protected override _init(): void {
    Object.defineProperty(this, 'unique', { value: new Set<T>() });
  }

  protected override _qsize(): number {
    return this.unique.size;
  }

  protected override _put(item: T): void {
    this.unique.add(item);
  }

  protected override _peek(): T {
    return this.unique.values().next().value as T;
  }

  protected override _get(): T {
    const item = this._peek();
    this.unique.delete(item);
    return item;
  }
}

hubTest('a subclass may keep its items in another way, the first items included', (t) => {
  const queue = new UniqueQueue<number>(2, [1, 1, 1]);
  t.is(queue.size, 1);
  queue.put(2);
  const putters = [2, 3].map((item) => started(() => queue.put(item)));
  t.is(queue.peek(), 1);
  t.is(queue.get(), 1);
  joinAll(putters);
  t.deepEqual(drain(queue), [2, 3]);
});

hubTest('an item that a subclass drops wakes nobody in vain', (t) => {
  class Even extends Queue<number> {
    protected override _put(item: number): void {
      if (item % 2 === 0) super._put(item);
    }
  }
  const queue = new Even();
  const getter = started(() => queue.get());
  queue.put(1);
  idle();
  t.false(getter.ready);
  queue.put(2);
  t.is(getter.get(), 2);
});

hubTest('a hook that throws as an item is handed over: the getter gets the error, the item stays', (t) => {
  class Broken extends Queue<number> {
    broken = true;

    protected override _get(): number {
      if (this.broken) throw oops;
      return super._get();
    }
  }
  const queue = new Broken();
  const getter = started(() => thrownBy(() => queue.get()));
  queue.put(1);
  t.is(getter.get(), oops);
  queue.broken = false;
  t.deepEqual(drain(queue), [1]);
});

test('copy() of a subclass with a storage of its own says what it needs', (t) => {
  const queue = new UniqueQueue<number>(null, [1]);
  t.throws(() => queue.copy(), { instanceOf: TypeError, message: /_items\(\)/ });
});

test('copy() keeps the kind, the order and compare', (t) => {
  const byLength = new PriorityQueue<string>({ compare: (a, b) => a.length - b.length, items: ['bb', 'a'] });
  const copy = byLength.copy();
  copy.put('');
  t.deepEqual(drain(copy), ['', 'a', 'bb']);
  t.is(byLength.size, 2);
  t.deepEqual(drain(new LifoQueue(null, [1, 2]).copy()), [2, 1]);
  t.true(new UnboundQueue(null, [1]).copy() instanceof UnboundQueue);
  t.is(new SimpleQueue(null, [1]).copy().get(), 1);
});

// ---- what is shown

hubTest('a queue and a channel show who waits', (t) => {
  const queue = new Queue<number>(1);
  const getter = started(() => queue.get());
  t.is(inspect(queue), '<Queue 0 of 1 items, 1 waiting to get>');
  queue.put(1);
  getter.join();
  queue.put(2);
  const putter = started(() => queue.put(3));
  t.is(String(queue), '<Queue 1 of 1 items, 1 waiting to put, 2 unfinished>');
  putter.kill();
  queue.shutdown(true);
  t.is(String(queue), '<Queue 0 of 1 items, 1 unfinished, shut down>');
  t.is(String(new PriorityQueue()), '<PriorityQueue 0 items>');
  t.is(inspect(new Channel()), '<Channel 0 waiting to get, 0 to put>');
});

hubTest('a parked greenlet shows the call that it waits in', (t) => {
  const queue = new Queue<number>();
  const getter = started(() => queue.get());
  t.regex(String(getter), /parked in Queue\.get\(\)/);
  const channel = new Channel<number>();
  const putter = started(() => channel.put(1));
  t.regex(String(putter), /parked in Channel\.put\(\)/);
  getter.kill();
  putter.kill();
});
