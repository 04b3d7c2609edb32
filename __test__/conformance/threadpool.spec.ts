/** What gevent documents and tests about `gevent.threadpool`, in its form for JavaScript. */
import { getHub, idle, sleep, spawn, wait } from 'greenstack';
import { ThreadPool } from 'greenstack/threadpool';
import { thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { Latch, hold } from '../support/latch.js';

const square = (value: number): number => value * value;

// spawn

hubTest('gevent.threadpool.ThreadPool.spawn: returns a result that get() waits for', (t) => {
  using pool = new ThreadPool(1);
  const result = pool.spawn(square, 3);
  t.false(result.ready);
  t.is(result.get(), 9);
});

hubTest('gevent.threadpool.ThreadPool.spawn: the greenlets run while the job blocks its thread', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const result = pool.spawn(hold, latch.flags, 'held');
  latch.waitForBegun(1);
  t.is(spawn(() => 'ran').get(), 'ran');
  t.false(result.ready);
  latch.open();
  t.is(result.get(), 'held');
});

hubTest('gevent.threadpool.ThreadPool.spawn: waits until a thread is free', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  const spawner = spawn(() => pool.spawn(square, 2));
  idle();
  t.false(spawner.ready);
  latch.open();
  t.is(spawner.get().get(), 4);
});

hubTest('gevent.threadpool.ThreadPool.spawn: those who wait for a thread get one in their order', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const order: string[] = [];
  pool.spawn(hold, latch.flags);
  const spawners = ['first', 'second', 'third'].map((name) =>
    spawn(() => {
      pool.spawn(square, 1);
      order.push(name);
    }),
  );
  idle();
  latch.open();
  for (const spawner of spawners) spawner.join();
  t.deepEqual(order, ['first', 'second', 'third']);
});

hubTest('gevent.threadpool.ThreadPool.spawn: get() raises the error of the job, with its traceback', (t) => {
  using pool = new ThreadPool(1);
  const result = pool.spawn(function fails() {
    throw new RangeError('out of range');
  });
  const error = thrownBy(() => result.get()) as RangeError;
  t.true(error instanceof RangeError);
  t.is(error.message, 'out of range');
  t.regex(error.stack!, /at fails \(job fails:\d+:\d+\)/);
  t.is(
    thrownBy(() => result.get()),
    error,
  );
});

hubTest('gevent.threadpool.ThreadPool.spawn: the result can be waited for with gevent.wait', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const [held, quick] = [pool.spawn(hold, latch.flags), pool.spawn(square, 2)];
  t.deepEqual(
    wait([held, quick], { count: 1 }).map((result) => result === quick),
    [true],
  );
});

// apply

hubTest('gevent.threadpool.ThreadPool.apply: returns what the function returns', (t) => {
  using pool = new ThreadPool(1);
  t.is(
    pool.apply((left: number, right: number) => left - right, [5, 3]),
    2,
  );
});

hubTest('gevent.threadpool.ThreadPool.apply: raises what the function raises', (t) => {
  using pool = new ThreadPool(1);
  t.throws(
    () =>
      pool.apply(() => {
        throw new TypeError('wrong');
      }),
    { instanceOf: TypeError, message: 'wrong' },
  );
});

hubTest('gevent.threadpool.ThreadPool.apply_async: does not wait for a thread', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  const result = pool.applyAsync(square, [7]);
  t.false(result.ready);
  latch.open();
  t.is(result.get(), 49);
});

hubTest('gevent.threadpool.ThreadPool.apply_async: calls back with the value', (t) => {
  using pool = new ThreadPool(1);
  const values: number[] = [];
  pool.applyAsync(square, [7], (value) => values.push(value)).get();
  idle();
  t.deepEqual(values, [49]);
});

hubTest('gevent.threadpool.ThreadPool.apply_async: does not call back for an error', (t) => {
  using pool = new ThreadPool(1);
  const values: unknown[] = [];
  const result = pool.applyAsync(
    (): number => {
      throw new Error('wrong');
    },
    [],
    (value) => values.push(value),
  );
  t.throws(() => result.get(), { message: 'wrong' });
  idle();
  t.deepEqual(values, []);
});

hubTest('gevent.threadpool.ThreadPool.apply_cb: returns the value, and calls back with it', (t) => {
  using pool = new ThreadPool(1);
  const values: number[] = [];
  t.is(
    pool.applyCb(square, [7], (value) => values.push(value)),
    49,
  );
  idle();
  t.deepEqual(values, [49]);
});

// map and imap

hubTest('gevent.threadpool.ThreadPool.map: returns the results in the order of the items', (t) => {
  using pool = new ThreadPool(3);
  const items = Array.from({ length: 20 }, (_, index) => index);
  t.deepEqual(pool.map(square, items), items.map(square));
});

hubTest('gevent.threadpool.ThreadPool.map: raises the first error in the order of the items', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const work = ({ item, flags }: { item: number; flags: Int32Array }): number => {
    // The first item fails after the second has.
    if (item === 1) Atomics.wait(flags, 1, 0);
    if (item === 2) {
      Atomics.store(flags, 1, 1);
      Atomics.notify(flags, 1);
    }
    throw new Error(`item ${item}`);
  };
  const items = [1, 2, 3].map((item) => ({ item, flags: latch.flags }));
  t.throws(() => pool.map(work, items), { message: 'item 1' });
});

hubTest('gevent.threadpool.ThreadPool.map: raises the error of the iterable', (t) => {
  using pool = new ThreadPool(1);
  function* items(): Generator<number> {
    yield 1;
    throw new Error('no more');
  }
  t.throws(() => pool.map(square, items()), { message: 'no more' });
});

hubTest('gevent.threadpool.ThreadPool.map_async: returns a result that get() waits for', (t) => {
  using pool = new ThreadPool(2);
  const lists: number[][] = [];
  const result = pool.mapAsync(square, [1, 2, 3], (list) => lists.push(list));
  t.deepEqual(result.get(), [1, 4, 9]);
  idle();
  t.deepEqual(lists, [[1, 4, 9]]);
});

hubTest('gevent.threadpool.ThreadPool.imap: yields the results in the order of the items', (t) => {
  using pool = new ThreadPool(3);
  t.deepEqual([...pool.imap(square, [3, 1, 2])], [9, 1, 4]);
});

hubTest('gevent.threadpool.ThreadPool.imap: takes an item of each iterable', (t) => {
  using pool = new ThreadPool(2);
  const add = (left: number, right: number): number => left + right;
  t.deepEqual([...pool.imap(add, [1, 2, 3], [10, 20])], [11, 22]);
});

hubTest('gevent.threadpool.ThreadPool.imap: raises an error in its place and goes on', (t) => {
  using pool = new ThreadPool(1);
  const work = (item: number): number => {
    if (item === 2) throw new Error('two');
    return item;
  };
  const results = pool.imap(work, [1, 2, 3]);
  t.is(results.next().value, 1);
  t.throws(() => results.next(), { message: 'two' });
  t.is(results.next().value, 3);
  t.true(results.next().done);
});

hubTest('gevent.threadpool.ThreadPool.imap: ends for a generator that yields late', (t) => {
  using pool = new ThreadPool(1);
  function* late(): Generator<number> {
    yield 1;
    sleep(5);
    yield 2;
    sleep(5);
  }
  t.deepEqual([...pool.imap(square, late())], [1, 4]);
});

hubTest('gevent.threadpool.ThreadPool.imap_unordered: yields the results as they come', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const work = (name: string, flags: Int32Array): string => {
    if (name === 'slow') Atomics.wait(flags, 1, 0);
    return name;
  };
  const results = pool.imapUnordered(work, ['slow', 'quick'], [latch.flags, latch.flags]);
  t.is(results.next().value, 'quick');
  latch.open();
  t.is(results.next().value, 'slow');
  t.true(results.next().done);
});

hubTest('gevent.threadpool.ThreadPool.imap: maxsize bounds what is not taken yet', (t) => {
  using pool = new ThreadPool(1);
  const given: number[] = [];
  function* items(): Generator<number> {
    for (let item = 0; item < 10; item++) {
      given.push(item);
      yield item;
    }
  }
  const results = pool.imap(square, items(), { maxSize: 2 });
  for (let taken = 1; taken <= 3; taken++) {
    results.next();
    pool.join();
    idle();
    t.true(given.length <= taken + 2, `${given.length} given, ${taken} taken`);
  }
  t.deepEqual([...results], [9, 16, 25, 36, 49, 64, 81]);
});

// threads

hubTest('gevent.threadpool.ThreadPool: runs at most maxsize jobs at once', (t) => {
  using pool = new ThreadPool(3);
  using latch = new Latch();
  const results = [1, 2, 3, 4].map((id) => pool.submit(hold<number>, latch.flags, id));
  latch.waitForBegun(3);
  idle();
  t.is(latch.begun, 3);
  t.is(pool.count, 4);
  latch.open();
  t.deepEqual(
    results.map((result) => result.get()),
    [1, 2, 3, 4],
  );
  t.is(latch.begun, 4);
});

hubTest('gevent.threadpool.ThreadPool.size: threads are made when they are needed', (t) => {
  using pool = new ThreadPool(3);
  t.is(pool.size, 0);
  pool.apply(square, [1]);
  t.is(pool.size, 1);
  pool.apply(square, [1]);
  t.is(pool.size, 1);
});

hubTest('gevent.threadpool.ThreadPool.maxsize: a negative one is refused', (t) => {
  t.throws(() => new ThreadPool(-1), { instanceOf: RangeError, message: /maxSize/ });
});

hubTest('gevent.threadpool.ThreadPool.maxsize: can be made smaller', (t) => {
  using pool = new ThreadPool(3);
  pool.map(square, [1, 2, 3]);
  t.true(pool.size > 1);
  pool.maxSize = 1;
  t.is(pool.maxSize, 1);
  t.true(pool.size <= 1);
  pool.map(square, [1, 2, 3]);
  t.is(pool.size, 1);
});

hubTest('gevent.threadpool.ThreadPool.maxsize: can be made larger, which lets those go on who wait', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  const second = pool.submit(hold, latch.flags);
  latch.waitForBegun(1);
  t.is(latch.begun, 1);
  pool.maxSize = 2;
  latch.waitForBegun(2);
  latch.open();
  second.get();
  t.is(pool.maxSize, 2);
});

hubTest('gevent.threadpool.ThreadPool.__len__: counts the unfinished jobs', (t) => {
  using pool = new ThreadPool(1);
  t.is(pool.count, 0);
  const results = [pool.submit(square, 1), pool.submit(square, 2)];
  t.is(pool.count, 2);
  for (const result of results) result.get();
  t.is(pool.count, 0);
});

hubTest('gevent.threadpool.ThreadPool: threads without a job end after idle_task_timeout', (t) => {
  using pool = new ThreadPool(1, { idleTimeout: 5 });
  pool.apply(square, [1]);
  t.is(pool.size, 1);
  while (pool.size > 0) sleep(5);
  t.is(pool.apply(square, [2]), 4);
});

hubTest('gevent.threadpool.ThreadPool.join: waits until all jobs have ended', (t) => {
  using pool = new ThreadPool(1);
  const results = [1, 2, 3].map((item) => pool.submit(square, item));
  t.true(pool.join());
  t.true(results.every((result) => result.ready));
});

hubTest('gevent.threadpool.ThreadPool.kill: ends all threads; the pool can be used again', (t) => {
  const pool = new ThreadPool(2);
  pool.map(square, [1, 2]);
  pool.kill();
  t.is(pool.size, 0);
  t.is(pool.apply(square, [3]), 9);
  pool.kill();
});

hubTest('gevent.threadpool.ThreadPoolExecutor.submit: queues any number of jobs', (t) => {
  using pool = new ThreadPool(2);
  const futures = Array.from({ length: 10 }, (_, index) => pool.submit(square, index));
  t.is(wait(futures).length, 10);
  t.deepEqual(
    futures.map((future) => future.result()),
    [0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
  );
});

hubTest('gevent.hub.Hub.threadpool: is made at its first use, and there is one for the hub', (t) => {
  const { threadpool } = getHub();
  t.is(getHub().threadpool, threadpool);
  t.is(threadpool.apply(square, [3]), 9);
  threadpool.kill();
});
