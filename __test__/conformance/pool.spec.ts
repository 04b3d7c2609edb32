/** What gevent documents for `gevent.pool`, each behaviour one test. */
import {
  Greenlet,
  GreenletExit,
  getCurrent,
  getHub,
  idle,
  joinAll,
  sleep,
  spawn,
  spawnRaw,
  wait,
  withTimeout,
} from 'greenstack';
import { Group, Pool, PoolFull } from 'greenstack/pool';
import { Full } from 'greenstack/queue';
import { Gate, parkForLong, parked, stubbornUntil, thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { muted } from '../support/stderr.js';

/** Spawns greenlets that note their numbers when they begin, and park until the test ends them. */
function parkedIn(group: Group, count: number): Greenlet<void>[] {
  const greenlets = Array.from({ length: count }, () => group.spawn(parkForLong));
  idle();
  return greenlets;
}

const squared = (x: number): number => x * x;

function slowlySquared(x: number): number {
  sleep(0);
  return x * x;
}

function* range(end: number): Generator<number> {
  for (let i = 0; i < end; i++) yield i;
}

// ---- Group

hubTest('gevent.pool.Group: greenlets that end leave it by themselves', (t) => {
  const group = new Group();
  const gate = new Gate();
  const first = group.spawn(() => {});
  const second = group.spawn(() => gate.pass());
  t.is(group.count, 2);
  first.join();
  t.deepEqual([...group], [second]);
  gate.open();
  second.join();
  t.is(group.count, 0);
});

hubTest('gevent.pool.Group: is made of greenlets', (t) => {
  const greenlets = [parked(), parked()];
  const group = new Group(...greenlets);
  t.deepEqual([...group.greenlets], greenlets);
  group.kill();
  t.is(group.count, 0);
});

hubTest('gevent.pool.Group.add: keeps track of a greenlet until it ends', (t) => {
  const group = new Group();
  const gate = new Gate();
  const greenlet = spawn(() => gate.pass());
  group.add(greenlet);
  t.true(group.has(greenlet));
  gate.open();
  greenlet.join();
  t.false(group.has(greenlet));
});

hubTest('gevent.pool.Group.add: takes raw greenlets', (t) => {
  const group = new Group();
  const gate = new Gate();
  const raw = spawnRaw(() => gate.pass());
  group.add(raw);
  t.true(group.has(raw));
  gate.open();
  t.true(group.join());
  t.false(group.has(raw));
});

hubTest('gevent.pool.Group.discard: the greenlet goes on, untracked', (t) => {
  const group = new Group();
  const greenlet = group.spawn(parkForLong);
  idle();
  group.discard(greenlet);
  t.false(group.has(greenlet));
  group.kill();
  t.false(greenlet.dead);
  t.false(greenlet.hasLinks());
  greenlet.kill();
});

hubTest('gevent.pool.Group.start: starts a greenlet that was not started', (t) => {
  const group = new Group();
  const greenlet = new Greenlet(() => 'ran');
  group.start(greenlet);
  t.true(group.has(greenlet));
  t.is(greenlet.get(), 'ran');
});

hubTest('gevent.pool.Group.spawn: passes arguments and returns the greenlet', (t) => {
  const group = new Group();
  const greenlet = group.spawn((a: number, b: string) => `${a}${b}`, 1, 'x');
  t.true(group.has(greenlet));
  t.is(greenlet.get(), '1x');
});

hubTest('gevent.pool.Group.join: waits until it is empty, and returns true', (t) => {
  const group = new Group();
  const ended: number[] = [];
  for (const turns of [3, 1]) {
    group.spawn(() => {
      for (let turn = 0; turn < turns; turn++) sleep(0);
      ended.push(turns);
    });
  }
  t.true(group.join());
  t.deepEqual(ended, [1, 3]);
});

hubTest('gevent.pool.Group.join: returns at once where nothing is in it', (t) => {
  const { switches } = getHub().stats();
  t.true(new Group().join());
  t.is(getHub().stats().switches, switches);
});

hubTest('gevent.pool.Group.join: waits until it is empty at least once', (t) => {
  const group = new Group();
  const gate = new Gate();
  const first = spawn(() => gate.pass());
  first.rawlink(() => group.spawn(parkForLong));
  group.add(first);
  gate.open();
  t.true(group.join());
  t.is(group.count, 1);
  group.kill();
});

hubTest('gevent.pool.Group.join: returns false when the time is up', (t) => {
  const group = new Group();
  group.spawn(parkForLong);
  t.false(group.join(1));
  t.is(group.linkCount, 0);
  group.kill();
});

hubTest('gevent.pool.Group.join: does not throw errors of greenlets', (t) => {
  const group = new Group();
  group.spawn(() => {
    throw new Error('on purpose');
  });
  t.true(muted(() => group.join()));
});

hubTest('gevent.pool.Group.join: with raise_error throws the error of one that was in it', (t) => {
  const group = new Group();
  const error = new Error('on purpose');
  group.spawn(() => {
    throw error;
  });
  t.throws(() => muted(() => group.join({ raiseError: true })), {
    is: error,
  });
});

hubTest('gevent.pool.Group.kill: kills all and waits until it is empty', (t) => {
  const group = new Group();
  const greenlets = parkedIn(group, 2);
  group.kill();
  t.is(group.count, 0);
  t.true(greenlets.every(({ value }) => GreenletExit.is(value)));
});

hubTest('gevent.pool.Group.kill: throws the given error', (t) => {
  class Stop extends Error {}
  const group = new Group();
  const [greenlet] = parkedIn(group, 1);
  muted(() => group.kill(Stop));
  t.true(greenlet!.error instanceof Stop);
});

hubTest('gevent.pool.Group.kill: with block=False does not wait', (t) => {
  const group = new Group();
  parkedIn(group, 2);
  group.kill(undefined, { block: false });
  t.is(group.count, 2);
  idle();
  t.is(group.count, 0);
});

hubTest('gevent.pool.Group.kill: kills those that have not begun, and they never will', (t) => {
  const group = new Group();
  let began = false;
  group.spawn(() => (began = true));
  group.kill();
  idle();
  t.false(began);
});

hubTest('gevent.pool.Group.kill: each greenlet is killed only once', (t) => {
  const group = new Group();
  const gate = new Gate();
  const shots = [0, 0];
  const undead = shots.map((_, index) =>
    group.spawn(() => {
      for (;;) {
        try {
          return gate.pass();
        } catch {
          shots[index]!++;
        }
      }
    }),
  );
  idle();
  group.killOne(undead[0]!, undefined, { block: false });
  t.deepEqual(shots, [0, 0]);
  idle();
  t.deepEqual(shots, [1, 0]);
  group.killOne(undead[0]!);
  group.kill(undefined, { block: false });
  group.kill(undefined, { block: false });
  idle();
  t.deepEqual(shots, [1, 1]);
  t.is(
    withTimeout(1, () => group.kill(), { timeoutValue: 'alive' }),
    'alive',
  );
  t.deepEqual(shots, [1, 1]);
  t.is(group.count, 2);
  gate.open();
  group.join();
});

hubTest('gevent.pool.Group.kill: also kills those that come while it waits', (t) => {
  const group = new Group();
  let late: Greenlet<void> | undefined;
  let began = false;
  group.spawn(() => {
    try {
      parkForLong();
    } finally {
      late = group.spawn(() => {
        began = true;
      });
    }
  });
  idle();
  group.kill();
  t.is(group.count, 0);
  t.true(GreenletExit.is(late!.value));
  t.false(began);
});

hubTest('gevent.pool.Group.kill: returns silently when its time is up', (t) => {
  const gate = new Gate();
  const group = new Group(stubbornUntil(gate));
  group.kill(undefined, 1);
  t.is(group.count, 1);
  t.is(group.linkCount, 0);
  gate.open();
  t.true(group.join());
});

hubTest('gevent.pool.Group.killone: kills one and waits for its end', (t) => {
  const group = new Group();
  const [first, second] = parkedIn(group, 2);
  group.killOne(first!);
  t.true(first!.dead);
  t.deepEqual([...group], [second]);
  group.kill();
});

hubTest('gevent.pool.Group.killone: leaves one alone that is not in the group', (t) => {
  const stranger = parked();
  new Group().killOne(stranger);
  t.false(stranger.dead);
  stranger.kill();
});

hubTest('gevent.pool.Group.killone: returns silently when its time is up', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const group = new Group(stubborn);
  group.killOne(stubborn, undefined, 1);
  t.false(stubborn.dead);
  gate.open();
  t.true(group.join());
});

hubTest('gevent.pool.Group.full: never', (t) => {
  const group = new Group();
  parkedIn(group, 3);
  t.false(group.full);
  group.kill();
});

hubTest('gevent.pool.Group.wait_available: returns at once', (t) => {
  const { switches } = getHub().stats();
  t.is(new Group().waitAvailable(), 1);
  t.is(getHub().stats().switches, switches);
});

hubTest('gevent.pool.Group.greenlet_class: is what spawn makes', (t) => {
  class Special extends Greenlet {}
  const group = new Group();
  group.greenletClass = Special;
  const greenlet = group.spawn(() => 1);
  t.true(greenlet instanceof Special);
  t.is(greenlet.get(), 1);
});

// ---- Pool

hubTest('gevent.pool.Pool: None places no limit', (t) => {
  const pool = new Pool();
  parkedIn(pool, 50);
  t.false(pool.full);
  t.is(pool.freeCount, 1);
  pool.kill();
});

hubTest('gevent.pool.Pool: a negative size is refused', (t) => {
  t.throws(() => new Pool(-1), { instanceOf: RangeError, message: /size/ });
});

hubTest('gevent.pool.Pool: a size of 0 is refused', (t) => {
  t.throws(() => new Pool(0), { instanceOf: RangeError, message: /size/ });
});

hubTest('gevent.pool.Pool: greenlet_class is what spawn makes', (t) => {
  class Special extends Greenlet {}
  const pool = new Pool(2, { greenletClass: Special });
  t.true(pool.spawn(() => {}) instanceof Special);
  pool.join();
});

hubTest('gevent.pool.Pool.size: is the limit', (t) => {
  t.is(new Pool(3).size, 3);
  t.is(new Pool().size, Infinity);
});

hubTest('gevent.pool.Pool.free_count: falls with each spawn and rises with each end', (t) => {
  const pool = new Pool(2);
  t.is(pool.freeCount, 2);
  const first = pool.spawn(() => {});
  t.is(pool.freeCount, 1);
  first.join();
  t.is(pool.freeCount, 2);
});

hubTest('gevent.pool.Pool.spawn: blocks while the pool is full', (t) => {
  const pool = new Pool(1);
  const order: string[] = [];
  pool.spawn(() => {
    sleep(0);
    order.push('first ends');
  });
  pool.spawn(() => order.push('second runs'));
  order.push('spawned');
  pool.join();
  t.deepEqual(order, ['first ends', 'spawned', 'second runs']);
});

hubTest('gevent.pool.Pool.spawn: who waits for room is served first in, first out', (t) => {
  const pool = new Pool(1);
  const gate = new Gate();
  const order: number[] = [];
  pool.spawn(() => gate.pass());
  const spawners = [1, 2, 3].map((number) => spawn(() => pool.spawn(() => order.push(number))));
  idle();
  gate.open();
  joinAll(spawners);
  pool.join();
  t.deepEqual(order, [1, 2, 3]);
});

hubTest('gevent.pool.Pool.spawn: a spawner that is killed while it waits spawns nothing', (t) => {
  const pool = new Pool(1);
  const [first] = parkedIn(pool, 1);
  let ran = false;
  const spawner = spawn(() => pool.spawn(() => (ran = true)));
  idle();
  spawner.kill();
  first!.kill();
  idle();
  t.false(ran);
  t.is(pool.freeCount, 1);
});

hubTest('gevent.pool.Pool.full: whether a spawn would block', (t) => {
  const pool = new Pool(1);
  t.false(pool.full);
  pool.spawn(parkForLong);
  t.true(pool.full);
  pool.kill();
  t.false(pool.full);
});

hubTest('gevent.pool.Pool.add: takes room', (t) => {
  const pool = new Pool(1);
  const [first, second] = [parked(), parked()];
  pool.add(first);
  t.is(pool.freeCount, 0);
  t.is(
    withTimeout(1, () => pool.add(second), { timeoutValue: 'full' }),
    'full',
  );
  t.is(pool.freeCount, 0);
  t.deepEqual([...pool], [first]);
  first.kill();
  t.is(pool.freeCount, 1);
  second.kill();
});

hubTest('gevent.pool.Pool.add: with blocking=False throws PoolFull', (t) => {
  const pool = new Pool(1);
  parkedIn(pool, 1);
  const second = new Greenlet(() => {});
  const error = t.throws(() => pool.add(second, { block: false }), {
    instanceOf: PoolFull,
  });
  t.true(error instanceof Full);
  t.is(error.code, 'ERR_GREENSTACK_POOL_FULL');
  t.is(error.name, 'PoolFull');
  t.false(pool.has(second));
  pool.kill();
});

hubTest('gevent.pool.Pool.add: throws PoolFull when the time is up', (t) => {
  const pool = new Pool(1);
  parkedIn(pool, 1);
  t.throws(() => pool.add(new Greenlet(() => {}), 1), { instanceOf: PoolFull });
  pool.kill();
  t.is(pool.freeCount, 1);
});

hubTest('gevent.pool.Pool.start: throws PoolFull when the time is up, and does not start', (t) => {
  const pool = new Pool(1);
  parkedIn(pool, 1);
  const second = new Greenlet(() => {});
  t.throws(() => pool.start(second, { timeout: 1 }), {
    instanceOf: PoolFull,
  });
  t.false(second.started);
  pool.kill();
});

hubTest('gevent.pool.Pool.discard: gives the room back', (t) => {
  const pool = new Pool(1);
  const [first] = parkedIn(pool, 1);
  pool.discard(first!);
  t.is(pool.freeCount, 1);
  first!.kill();
  t.is(pool.freeCount, 1);
});

hubTest('gevent.pool.Pool.wait_available: waits for room, and tells how much there is', (t) => {
  const pool = new Pool(2);
  t.is(pool.waitAvailable(), 2);
  const [first] = parkedIn(pool, 2);
  spawn(() => first!.kill());
  t.is(pool.waitAvailable(), 1);
  pool.kill();
});

hubTest('gevent.pool.Pool.wait_available: returns 0 when the time is up', (t) => {
  const pool = new Pool(1);
  parkedIn(pool, 1);
  t.is(pool.waitAvailable(1), 0);
  t.is(pool.waitAvailable({ block: false }), 0);
  pool.kill();
});

hubTest('gevent.pool.Pool.wait_available: is 1 without a limit', (t) => {
  t.is(new Pool().waitAvailable(), 1);
});

hubTest('gevent.pool.Pool.join: waits for all of its greenlets', (t) => {
  const pool = new Pool();
  pool.spawn(parkForLong);
  t.false(pool.join(1));
  pool.kill();
  t.true(pool.join());
});

// ---- apply

hubTest('gevent.pool.Pool.apply: returns the result', (t) => {
  t.is(
    new Pool(2).apply((word: string) => `${word}!`, ['foo']),
    'foo!',
  );
});

hubTest('gevent.pool.Pool.apply: throws the error of the function', (t) => {
  const error = new Error('on purpose');
  t.throws(
    () =>
      new Pool(1).apply(() => {
        throw error;
      }),
    { is: error },
  );
});

hubTest('gevent.pool.Pool.apply: runs the function in a greenlet of the pool', (t) => {
  const pool = new Pool(1);
  t.true(pool.apply(() => pool.has(getCurrent())));
});

hubTest('gevent.pool.Pool.apply: in one of its own greenlets runs at once', (t) => {
  const pool = new Pool(1);
  t.is(
    pool.apply(() => pool.apply((x: number) => x + 1, [5])),
    6,
  );
  t.is(pool.freeCount, 1);
});

hubTest('gevent.pool.Pool.apply_cb: calls back with the result, in another greenlet', (t) => {
  const pool = new Pool(1);
  const calls: unknown[] = [];
  const result = pool.applyCb(squared, [3], (value) => calls.push(value, pool.has(getCurrent())));
  t.is(result, 9);
  idle();
  t.deepEqual(calls, [9, false]);
});

hubTest('gevent.pool.Pool.apply_cb: does not call back if the function throws', (t) => {
  let called = false;
  const failing = (): never => {
    throw new Error('on purpose');
  };
  thrownBy(() => new Pool(1).applyCb(failing, [], () => (called = true)));
  idle();
  t.false(called);
});

hubTest('gevent.pool.Pool.apply_async: returns a greenlet with the result', (t) => {
  const result = new Pool(2).applyAsync(squared, [7]);
  t.true(result instanceof Greenlet);
  t.is(result.get(), 49);
});

hubTest('gevent.pool.Pool.apply_async: never blocks', (t) => {
  const pool = new Pool(2);
  const ran: number[] = [];
  const { switches } = getHub().stats();
  const results = [1, 2, 3, 4].map((number) => pool.applyAsync(() => ran.push(number)));
  t.is(getHub().stats().switches, switches);
  t.is(pool.freeCount, 0);
  joinAll(results);
  t.deepEqual(ran.sort(), [1, 2, 3, 4]);
});

hubTest('gevent.pool.Pool.apply_async: calls back with the result', (t) => {
  const pool = new Pool(1);
  const called: number[] = [];
  const results = [1, 2].map((number) => pool.applyAsync(squared, [number], (value) => called.push(value)));
  joinAll(results);
  idle();
  t.deepEqual(called, [1, 4]);
});

hubTest('gevent.pool.Pool.apply_async: does not call back if the function throws', (t) => {
  const pool = new Pool(1);
  let called = false;
  const failing = (): never => {
    throw new Error('on purpose');
  };
  const results = [1, 2].map(() => pool.applyAsync(failing, [], () => (called = true)));
  muted(() => joinAll(results));
  idle();
  t.false(called);
  t.true(results.every(({ error }) => error instanceof Error));
});

// ---- map

for (const size of [1, 2, 3, 10, undefined]) {
  hubTest(`gevent.pool.Pool.map: returns the results in order, at size ${size}`, (t) => {
    const pool = new Pool(size);
    const numbers = [...range(100)];
    t.deepEqual(pool.map(slowlySquared, numbers), numbers.map(squared));
    t.is(pool.count, 0);
  });

  hubTest(`gevent.pool.Pool.imap: yields the results in order, at size ${size}`, (t) => {
    const numbers = [...range(100)];
    t.deepEqual([...new Pool(size).imap(slowlySquared, numbers)], numbers.map(squared));
  });

  hubTest(`gevent.pool.Pool.imap_unordered: yields all results, at size ${size}`, (t) => {
    const results = [...new Pool(size).imapUnordered(slowlySquared, range(100))];
    t.deepEqual(
      results.sort((a, b) => a - b),
      [...range(100)].map(squared),
    );
  });

  for (const method of ['imap', 'imapUnordered'] as const) {
    hubTest(`gevent.pool.Pool.${method}: maxsize bounds what is begun and not read, at size ${size}`, (t) => {
      const pool = new Pool(size);
      let begun = 0;
      const begin = (i: number, _j: number): number => {
        begun++;
        return i;
      };
      const mapping = pool[method](begin, range(30), range(30), {
        maxSize: 1,
      });
      const results: number[] = [];
      for (const result of mapping) {
        t.true(begun <= results.length + 2);
        results.push(result);
        idle();
      }
      t.deepEqual(results, [...range(30)]);
    });
  }
}

hubTest('gevent.pool.Pool.map: of nothing is nothing', (t) => {
  t.deepEqual(new Pool(1).map(squared, []), []);
});

hubTest('gevent.pool.Pool.map: at most as many items run at once as the pool has room', (t) => {
  const pool = new Pool(3);
  let running = 0;
  let most = 0;
  pool.map(() => {
    most = Math.max(most, ++running);
    sleep(0);
    running--;
  }, range(20));
  t.is(most, 3);
});

hubTest('gevent.pool.Pool.map: throws the first error in order', (t) => {
  const pool = new Pool(3);
  const failing = (turns: number): void => {
    for (let turn = 0; turn < turns; turn++) sleep(0);
    throw new Error(`after ${turns}`);
  };
  t.throws(() => muted(() => pool.map(failing, [3, 1, 2])), {
    message: 'after 3',
  });
  pool.join();
});

hubTest('gevent.pool.Pool.map: throws the error of the iterable', (t) => {
  const error = new Error('on purpose');
  function* failing(): Generator<number> {
    yield 1;
    yield 2;
    throw error;
  }
  const pool = new Pool(3);
  t.throws(() => pool.map(squared, failing()), { is: error });
  pool.join();
  t.is(pool.freeCount, 3);
});

hubTest('gevent.pool.Pool.map_cb: calls back with the results', (t) => {
  const called: number[][] = [];
  const results = new Pool(1).mapCb(squared, [1, 2], (values) => called.push(values));
  t.deepEqual(results, [1, 4]);
  t.deepEqual(called, [[1, 4]]);
});

hubTest('gevent.pool.Pool.map_async: returns a greenlet with the results, and calls back', (t) => {
  const pool = new Pool(1);
  const called: number[][] = [];
  const result = pool.mapAsync(squared, [1, 2, 3], (values) => called.push(values));
  t.true(result instanceof Greenlet);
  t.deepEqual(result.get(), [1, 4, 9]);
  t.deepEqual(called, [[1, 4, 9]]);
});

// ---- imap

hubTest('gevent.pool.Pool.imap: of nothing yields nothing', (t) => {
  t.deepEqual([...new Pool(1).imap(squared, [])], []);
  t.deepEqual([...new Pool(1).imapUnordered(squared, [])], []);
});

hubTest('gevent.pool.Pool.imap: takes one item of each iterable, until the shortest ends', (t) => {
  const pool = new Pool(2);
  const joined = (a: number, b: string, c: boolean): string => `${a}${b}${c}`;
  t.deepEqual([...pool.imap(joined, [1, 2, 3], 'ab', [true, false, true])], ['1atrue', '2bfalse']);
});

hubTest('gevent.pool.Pool.imap: is lazy', (t) => {
  const pool = new Pool(2);
  let taken = 0;
  function* endless(): Generator<number> {
    for (;;) yield taken++;
  }
  const mapping = pool.imap(squared, endless(), { maxSize: 4 });
  t.is(taken, 0);
  t.is(mapping.next().value, 0);
  idle();
  t.true(taken <= 6);
  mapping.return();
});

for (const method of ['imap', 'imapUnordered'] as const) {
  hubTest(`gevent.pool.Pool.${method}: an error is thrown at its place, and iteration goes on`, (t) => {
    const reciprocal = (x: number): number => {
      if (x === 0) throw new RangeError('division by zero');
      return 1 / x;
    };
    const mapping = new Pool(1)[method](reciprocal, [1, 0, 2]);
    t.is(mapping.next().value, 1);
    t.throws(() => mapping.next(), { instanceOf: RangeError });
    t.is(mapping.next().value, 0.5);
    t.deepEqual(mapping.next(), { done: true, value: undefined });
  });

  hubTest(`gevent.pool.Pool.${method}: throws the error of the iterable`, (t) => {
    function* failing(): Generator<number> {
      yield 1;
      yield 2;
      throw new Error('on purpose');
    }
    const mapping = new Pool(3)[method](squared, failing());
    t.is(mapping.next().value, 1);
    t.is(mapping.next().value, 4);
    t.throws(() => mapping.next(), { message: 'on purpose' });
    t.true(mapping.next().done);
  });

  hubTest(`gevent.pool.Pool.${method}: a generator that blocks before its end ends`, (t) => {
    function* late(): Generator<number> {
      yield* range(3);
      sleep(1);
    }
    t.deepEqual([...new Pool(1)[method](squared, late())], [0, 1, 4]);
  });
}

hubTest('gevent.pool.Pool.imap_unordered: yields in the order of completion', (t) => {
  const pool = new Pool(3);
  const after = (turns: number): number => {
    for (let turn = 0; turn < turns; turn++) sleep(0);
    return turns;
  };
  t.deepEqual([...pool.imapUnordered(after, [10, 1, 4])], [1, 4, 10]);
});

hubTest('gevent.pool.Pool.imap: the iterator is its own iterable, and can be waited for', (t) => {
  const mapping = new Pool(1).imap(squared, [3]);
  t.is(mapping[Symbol.iterator](), mapping);
  t.deepEqual(wait([mapping]), [mapping]);
  t.is(mapping.next().value, 9);
});
