import { AsyncLocalStorage } from 'node:async_hooks';
import { inspect } from 'node:util';
import {
  BlockingSwitchOutError,
  Greenlet,
  GreenletExit,
  InvalidSwitchError,
  Timeout,
  Waiter,
  getCurrent,
  getHub,
  idle,
  joinAll,
  sleep,
  spawn,
  spawnRaw,
  wait,
} from 'greenstack';
import { Group, Pool, PoolFull } from 'greenstack/pool';
import { Gate, current, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { muted, stderrOf } from './support/stderr.js';

/** What `body` returns or throws in a plain callback, where nothing can be parked. */
function inHub<T>(body: () => T): T {
  const outcome = new Waiter<T>();
  setImmediate(() => {
    try {
      outcome.switch(body());
    } catch (error) {
      outcome.throw(error);
    }
  });
  return outcome.get();
}

/** A full pool of size 1, and who is in it. */
function fullPool(): { pool: Pool; member: Greenlet<void> } {
  const pool = new Pool(1);
  const member = pool.spawn(parkForLong);
  idle();
  return { pool, member };
}

const same = <T>(value: T): T => value;

function fail(message = 'on purpose'): never {
  throw new Error(message);
}

/** A generator that notes whether it was closed. */
class Source {
  taken = 0;
  closed = false;

  *items(count: number): Generator<number> {
    try {
      while (this.taken < count) yield this.taken++;
    } finally {
      this.closed = true;
    }
  }
}

// ---- bad input

hubTest('a group of something that is no greenlet is refused', (t) => {
  const victim = parked();
  t.throws(() => new Group(victim, {} as Greenlet), {
    instanceOf: TypeError,
    message: 'new Group() expects a greenlet, got object',
  });
  t.false(victim.hasLinks());
  victim.kill();
});

for (const [size, expected] of [
  [1.5, RangeError],
  [-Infinity, RangeError],
  [Number.NaN, TypeError],
  ['10', TypeError],
  [true, TypeError],
] as const) {
  hubTest(`a pool of size ${String(size)} is refused`, (t) => {
    t.throws(() => new Pool(size as number), {
      instanceOf: expected,
      message: /^new Pool\(\): size must be .*, got/,
    });
  });
}

hubTest('a size left out, null and Infinity are no limit', (t) => {
  t.deepEqual(
    [new Pool(), new Pool(null), new Pool(Infinity)].map(({ size }) => size),
    [Infinity, Infinity, Infinity],
  );
});

hubTest('a greenletClass that makes no greenlets is refused', (t) => {
  const options = { greenletClass: Date as unknown as typeof Greenlet };
  t.throws(() => new Pool(1, options), {
    instanceOf: TypeError,
    message: /greenletClass must/,
  });
});

hubTest('add(), discard() and killOne() refuse what is no greenlet', (t) => {
  const { pool } = fullPool();
  const wrong = 5 as unknown as Greenlet;
  t.throws(() => pool.add(wrong), {
    instanceOf: TypeError,
    message: 'Pool.add() expects a greenlet, got number',
  });
  t.throws(() => pool.discard(wrong), {
    instanceOf: TypeError,
    message: /^Pool\.discard\(\)/,
  });
  t.throws(() => pool.killOne(wrong), {
    instanceOf: TypeError,
    message: /^Pool\.killOne\(\)/,
  });
  t.is(pool.count, 1);
  pool.kill();
});

hubTest('start() refuses what cannot be started', (t) => {
  const raw = spawnRaw(() => {});
  t.throws(() => new Group().start(raw as unknown as Greenlet), {
    instanceOf: TypeError,
    message: /^Group\.start\(\) expects a Greenlet/,
  });
  idle();
});

hubTest('spawn() refuses what is no function, and takes no room', (t) => {
  const pool = new Pool(1);
  t.throws(() => pool.spawn(5 as unknown as () => void), {
    instanceOf: TypeError,
    message: /^Pool\.spawn\(\)/,
  });
  t.is(pool.freeCount, 1);
});

hubTest('wrong limits are refused before anything is done', (t) => {
  const { pool, member } = fullPool();
  const wrong = 'soon' as unknown as number;
  for (const call of [
    () => pool.add(new Greenlet(() => {}), wrong),
    () => pool.start(new Greenlet(() => {}), wrong),
    () => pool.waitAvailable(wrong),
    () => pool.join(wrong),
    () => pool.kill(undefined, wrong),
    () => pool.killOne(member, undefined, wrong),
    () => pool.apply(same, [1], wrong),
    () => pool.map(same, [1], { timeout: wrong }),
  ])
    t.throws(call, { instanceOf: TypeError });
  t.false(member.dead);
  pool.kill();
});

hubTest('kill() and killOne() refuse what cannot be thrown', (t) => {
  const { pool, member } = fullPool();
  const wrong = 'error' as unknown as Error;
  t.throws(() => pool.kill(wrong), {
    instanceOf: TypeError,
    message: /^Pool\.kill\(\)/,
  });
  t.throws(() => pool.killOne(member, wrong), {
    instanceOf: TypeError,
    message: /^Pool\.killOne\(\)/,
  });
  t.false(member.dead);
  pool.kill();
});

hubTest('join() refuses a raiseError that is neither true nor false', (t) => {
  const options = { raiseError: 1 as unknown as boolean };
  t.throws(() => new Group().join(options), {
    instanceOf: TypeError,
    message: /raiseError/,
  });
});

hubTest('what applies functions refuses wrong arguments', (t) => {
  const pool = new Pool(1);
  const notAFunction = 5 as unknown as () => void;
  const notIterable = 5 as unknown as never[];
  for (const call of [
    () => pool.apply(notAFunction),
    () => pool.apply(same, notIterable as never),
    () => pool.applyCb(same, [1], notAFunction),
    () => pool.applyAsync(notAFunction),
    () => pool.applyAsync(same, notIterable as never),
    () => pool.apply(same, 'abc' as never),
    () => pool.applyCb(same, 'abc' as never),
    () => pool.applyAsync(same, 'abc' as never),
    () => pool.applyAsync(same, [1], notAFunction),
    () => pool.map(notAFunction, []),
    () => pool.map(same, notIterable),
    () => pool.mapCb(same, [], notAFunction),
    () => pool.mapAsync(notAFunction, []),
    () => pool.mapAsync(same, notIterable),
    () => pool.mapAsync(same, [], notAFunction),
    () => pool.imap(notAFunction, []),
    () => pool.imap(same, notIterable),
    () => pool.imapUnordered((a, b) => a + b, [1], notIterable),
    () => pool.imap(same as () => void),
  ])
    t.throws(call, {
      instanceOf: TypeError,
      message: /^Pool\.\w+\(\) expects/,
    });
  t.is(pool.freeCount, 1);
});

for (const [maxSize, expected] of [
  [0, RangeError],
  [-1, RangeError],
  [0.5, RangeError],
  [Number.NaN, TypeError],
  ['1', TypeError],
] as const) {
  hubTest(`a maxSize of ${String(maxSize)} is refused`, (t) => {
    const pool = new Pool(1);
    const options = { maxSize: maxSize as number };
    for (const call of [
      () => pool.map(same, [1], options),
      () => pool.mapAsync(same, [1], null, options),
      () => pool.imap(same, [1], options),
      () => pool.imapUnordered(same, [1], options),
    ])
      t.throws(call, { instanceOf: expected, message: /maxSize must be/ });
  });
}

// ---- coming in and going out

hubTest('a greenlet is in a group once', (t) => {
  const { pool, member } = fullPool();
  pool.add(member);
  t.is(pool.count, 1);
  member.kill();
  t.is(pool.freeCount, 1);
});

hubTest('a greenlet that two add while the pool is full takes room once', (t) => {
  const { pool, member } = fullPool();
  const late = parked();
  const adders = [1, 2].map(() => spawn(() => pool.add(late)));
  idle();
  member.kill();
  joinAll(adders.slice(0, 1));
  late.kill();
  joinAll(adders);
  idle();
  t.is(pool.freeCount, 1);
  t.true(pool.ready);
});

hubTest('a greenlet that has ended leaves again at once', (t) => {
  const pool = new Pool(1);
  const ended = spawn(() => {});
  ended.join();
  pool.add(ended);
  t.is(pool.count, 0);
  t.is(pool.freeCount, 1);
});

hubTest('a greenlet may be in several groups', (t) => {
  const groups = [new Group(), new Pool(1)];
  const greenlet = parked();
  for (const group of groups) group.add(greenlet);
  greenlet.kill();
  t.deepEqual(
    groups.map(({ count }) => count),
    [0, 0],
  );
});

hubTest('discard() of a stranger changes nothing', (t) => {
  const { pool } = fullPool();
  const stranger = parked();
  pool.discard(stranger);
  t.is(pool.freeCount, 0);
  stranger.kill();
  pool.kill();
});

hubTest('a greenlet that cannot be started leaves no trace', (t) => {
  const error = new Error('on purpose');
  class Broken extends Greenlet {
    override start(): void {
      throw error;
    }
  }
  const pool = new Pool(1, { greenletClass: Broken });
  t.throws(() => pool.spawn(() => {}), { is: error });
  t.is(pool.count, 0);
  t.is(pool.freeCount, 1);
});

hubTest('a greenletClass that throws takes no room', (t) => {
  class Broken extends Greenlet {
    constructor() {
      super(fail);
      fail();
    }
  }
  const pool = new Pool(1, { greenletClass: Broken });
  t.throws(() => pool.spawn(() => {}), { message: 'on purpose' });
  t.is(pool.freeCount, 1);
});

hubTest('iterating sees what was in the group at the beginning', (t) => {
  const group = new Group();
  group.spawn(() => {});
  group.spawn(() => {});
  let seen = 0;
  for (const _ of group) {
    seen++;
    group.spawn(() => {});
  }
  t.is(seen, 2);
  group.join();
});

hubTest('groups and pools tell what is in them', (t) => {
  const { pool } = fullPool();
  const spawner = spawn(() => pool.spawn(() => {}));
  idle();
  t.is(String(pool), '<Pool of 1, 0 free>');
  t.is(String(new Group(spawner)), '<Group of 1>');
  t.is(inspect(new Pool()), '<Pool of 0>');
  t.regex(String(spawner), /parked in Pool\.spawn\(\)/);
  pool.kill();
  spawner.join();
  pool.join();
});

// ---- waiting for room

hubTest('outside greenlets spawn() works while there is room', (t) => {
  const pool = new Pool(1);
  t.is(inHub(() => pool.spawn(() => 'ran')).get(), 'ran');
});

hubTest('outside greenlets spawn() into a full pool throws, and changes nothing', (t) => {
  const { pool, member } = fullPool();
  const error = thrownBy(() => inHub(() => pool.spawn(() => {})));
  t.true(error instanceof BlockingSwitchOutError);
  t.regex((error as Error).message, /^Pool\.spawn\(\) would block the hub/);
  t.is(pool.count, 1);
  member.kill();
  t.is(pool.freeCount, 1);
});

hubTest('outside greenlets add() and start() that must not wait throw PoolFull', (t) => {
  const { pool } = fullPool();
  const limits = { block: false };
  t.throws(() => inHub(() => pool.add(new Greenlet(() => {}), limits)), {
    instanceOf: PoolFull,
  });
  t.throws(() => inHub(() => pool.start(new Greenlet(() => {}), limits)), {
    instanceOf: PoolFull,
  });
  t.is(
    inHub(() => pool.waitAvailable(limits)),
    0,
  );
  pool.kill();
});

hubTest('a spawner that is given room and killed at the same moment has spawned', (t) => {
  const { pool, member } = fullPool();
  let ran = false;
  const spawner = spawn(() => {
    pool.spawn(() => (ran = true));
    parkForLong();
  });
  idle();
  inHub(() => {
    member.throw();
    // The room is handed over when the member ends, before this callback of the hub.
    member.rawlink(() => spawner.throw());
  });
  spawner.join();
  pool.join();
  t.true(ran);
  t.true(GreenletExit.is(spawner.value));
  t.is(pool.freeCount, 1);
});

hubTest('a spawner that is killed and given room at the same moment leaves the room to others', (t) => {
  const { pool, member } = fullPool();
  const order: string[] = [];
  const victim = spawn(() => pool.spawn(() => order.push('victim')));
  const other = spawn(() => pool.spawn(() => order.push('other')));
  idle();
  inHub(() => {
    victim.throw();
    member.throw();
  });
  joinAll([victim, other]);
  pool.join();
  t.deepEqual(order, ['other']);
  t.is(pool.freeCount, 1);
});

hubTest('room that comes together with the end of the time is taken or left, never lost', (t) => {
  for (let round = 0; round < 20; round++) {
    const { pool, member } = fullPool();
    const late = new Greenlet(() => {});
    const outcome = spawn(() => {
      try {
        pool.start(late, 1);
        return 'started';
      } catch (error) {
        return error instanceof PoolFull ? 'full' : 'wrong';
      }
    });
    idle();
    const end = performance.now() + 1.2;
    while (performance.now() < end);
    member.kill();
    t.is(outcome.get(), late.started || late.ready ? 'started' : 'full');
    pool.join();
    t.is(pool.freeCount, 1);
  }
});

hubTest('an outer timeout ends the wait for room, and leaves no trace', (t) => {
  const { pool, member } = fullPool();
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => pool.spawn(() => {})),
    timeout,
  );
  member.kill();
  t.is(pool.freeCount, 1);
});

hubTest('an aborted signal ends the wait for room, and leaves no trace', (t) => {
  const { pool, member } = fullPool();
  const controller = new AbortController();
  const reason = new Error('aborted');
  setImmediate(() => controller.abort(reason));
  t.throws(() => pool.start(new Greenlet(() => {}), { signal: controller.signal }), { is: reason });
  member.kill();
  t.is(pool.freeCount, 1);
});

hubTest('a Timeout that limits the wait for room is thrown itself', (t) => {
  const { pool } = fullPool();
  const timeout = new Timeout(1);
  t.throws(() => pool.start(new Greenlet(() => {}), timeout), { is: timeout });
  t.false(timeout.pending);
  pool.kill();
});

hubTest('a Timeout with an error of its own throws that error', (t) => {
  const { pool } = fullPool();
  const own = new Error('own');
  for (const ms of [0, 1]) {
    for (const call of [
      () => pool.join(new Timeout(ms, own)),
      () => pool.waitAvailable(new Timeout(ms, own)),
      () => pool.start(new Greenlet(same), new Timeout(ms, own)),
    ])
      t.is(thrownBy(call), own);
    t.false(pool.join(new Timeout(ms)));
    t.is(pool.waitAvailable(new Timeout(ms)), 0);
  }
  pool.kill();
});

hubTest('waitAvailable() sees the room, and who waits behind it takes it', (t) => {
  const { pool, member } = fullPool();
  const order: string[] = [];
  const looking = spawn(() => {
    const free = pool.waitAvailable();
    order.push(`sees ${free}`);
  });
  const spawner = spawn(() => {
    pool.spawn(() => {});
    order.push('spawned');
  });
  idle();
  member.kill();
  joinAll([looking, spawner]);
  t.deepEqual(order, ['sees 0', 'spawned']);
  pool.join();
});

hubTest('the spawner keeps its async context while it waits for room', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const { pool, member } = fullPool();
  const spawner = spawn(() => storage.run('mine', () => pool.spawn(() => storage.getStore()).get()));
  idle();
  member.kill();
  t.is(spawner.get(), 'mine');
});

// ---- join

hubTest('join() by one of its own greenlets throws', (t) => {
  const group = new Group();
  const greenlet = group.spawn(() => group.join(5));
  t.throws(() => muted(() => greenlet.get()), {
    instanceOf: InvalidSwitchError,
    message: /^Group\.join\(\)/,
  });
});

hubTest('outside greenlets join() tells whether the group is empty, or throws', (t) => {
  const group = new Group();
  t.true(inHub(() => group.join()));
  group.spawn(parkForLong);
  idle();
  t.false(inHub(() => group.join({ block: false })));
  t.throws(() => inHub(() => group.join()), {
    instanceOf: BlockingSwitchOutError,
  });
  t.is(group.linkCount, 0);
  group.kill();
});

hubTest('join({ raiseError }) throws what there is when its time is up', (t) => {
  const group = new Group();
  group.spawn(fail);
  group.spawn(parkForLong);
  t.throws(() => muted(() => group.join({ raiseError: true, timeout: 1 })), {
    message: 'on purpose',
  });
  group.kill();
});

hubTest('join({ raiseError }) takes no account of raw greenlets and of killed ones', (t) => {
  const group = new Group(
    spawnRaw(() => sleep(0)),
    spawn(() => getCurrent()!.kill()),
  );
  t.true(group.join({ raiseError: true }));
});

hubTest('join() of a pool also waits for who was given room', (t) => {
  const { pool, member } = fullPool();
  const ran: string[] = [];
  for (const name of ['a', 'b']) spawn(() => pool.spawn(() => ran.push(name)));
  idle();
  member.kill(undefined, { block: false });
  t.true(pool.join());
  t.deepEqual(ran, ['a', 'b']);
});

hubTest('wait() waits until a group is empty', (t) => {
  const group = new Group();
  const gate = new Gate();
  group.spawn(() => gate.pass());
  t.false(group.ready);
  spawn(() => gate.open());
  t.deepEqual(wait([group]), [group]);
  t.true(group.ready);
});

// ---- kill

hubTest('a greenlet that kills its own group is killed last', (t) => {
  const group = new Group();
  const other = group.spawn(parkForLong);
  const killer = group.spawn(() => group.kill());
  killer.join();
  t.true(GreenletExit.is(killer.value));
  other.join();
  t.true(GreenletExit.is(other.value));
  t.is(group.count, 0);
});

hubTest('a greenlet may kill itself as one of its group', (t) => {
  const group = new Group();
  const greenlet = group.spawn(() => group.killOne(current()));
  t.true(GreenletExit.is(greenlet.get()));
});

hubTest('outside greenlets kill() does not wait, or throws and kills nobody', (t) => {
  const { pool, member } = fullPool();
  t.throws(() => inHub(() => pool.kill()), {
    instanceOf: BlockingSwitchOutError,
  });
  t.throws(() => inHub(() => pool.killOne(member)), {
    instanceOf: BlockingSwitchOutError,
  });
  t.false(member.dead);
  inHub(() => pool.kill(undefined, { block: false }));
  member.join();
  t.true(GreenletExit.is(member.value));
  inHub(() => pool.kill());
});

/** An error that cannot be made, as long as it is `broken`. */
class Unmade extends Error {
  static broken = true;

  constructor() {
    super();
    if (Unmade.broken) fail('cannot be made');
  }
}

hubTest('kill() and killOne() with an error that cannot be made throw that, and kill nobody', (t) => {
  const { pool, member } = fullPool();
  Unmade.broken = true;
  t.throws(() => pool.kill(Unmade), { message: 'cannot be made' });
  t.throws(() => pool.killOne(member, Unmade), { message: 'cannot be made' });
  idle();
  t.false(member.dead);
  pool.kill();
  t.true(GreenletExit.is(member.value));
  const other = pool.spawn(parkForLong);
  idle();
  t.throws(() => pool.killOne(other, Unmade), { message: 'cannot be made' });
  pool.killOne(other);
  t.true(GreenletExit.is(other.value));
});

hubTest('a newcomer whose error cannot be made can be killed later, and the error is reported', (t) => {
  const gate = new Gate();
  const group = new Group(stubbornUntil(gate));
  Unmade.broken = false;
  const killer = spawn(() => group.kill(Unmade));
  idle();
  Unmade.broken = true;
  let late: Greenlet<void> | undefined;
  const printed = stderrOf(() => {
    late = group.spawn(parkForLong);
    idle();
  });
  t.is(printed.match(/Error: cannot be made/g)?.length, 1);
  t.false(late!.dead);
  group.killOne(late!);
  t.true(GreenletExit.is(late!.value));
  gate.open();
  killer.join();
});

hubTest('killOne() of a raw greenlet waits for its end', (t) => {
  const group = new Group();
  const raw = spawnRaw(() => {
    try {
      parkForLong();
    } finally {
      sleep(0);
    }
  });
  group.add(raw);
  idle();
  group.killOne(raw);
  t.true(raw.dead);
});

hubTest('kill() reaches those whose spawners wait for room, and none of them begins', (t) => {
  const { pool } = fullPool();
  let began = 0;
  const spawners = [1, 2, 3].map(() => spawn(() => pool.spawn(() => began++)));
  idle();
  pool.kill();
  joinAll(spawners);
  t.is(began, 0);
  t.true(spawners.every(({ value }) => GreenletExit.is((value as Greenlet).value)));
  t.is(pool.freeCount, 1);
});

hubTest('after kill() newcomers live', (t) => {
  const group = new Group();
  group.spawn(parkForLong);
  group.kill();
  t.is(group.spawn(() => 'alive').get(), 'alive');
});

hubTest('newcomers are killed with the error of the kill that has waited longest', (t) => {
  class First extends Error {}
  class Second extends Error {}
  const gate = new Gate();
  const group = new Group(stubbornUntil(gate));
  const kills = [First, Second].map((error) => spawn(() => group.kill(error)));
  idle();
  const late = group.spawn(parkForLong);
  muted(() => idle());
  t.true(late.error instanceof First);
  gate.open();
  joinAll(kills);
});

hubTest('who comes during a kill is killed even if its time is up meanwhile', (t) => {
  class Stop extends Error {}
  const gate = new Gate();
  const group = new Group(stubbornUntil(gate));
  let late: Greenlet<void> | undefined;
  const killer = spawn(() => group.kill(Stop));
  idle();
  muted(() => {
    inHub(() => {
      late = group.spawn(parkForLong);
      killer.throw();
    });
    idle();
  });
  t.true(late!.error instanceof Stop);
  gate.open();
  group.join();
});

hubTest('kill() that is killed itself leaves no trace', (t) => {
  const gate = new Gate();
  const group = new Group(stubbornUntil(gate));
  const killer = spawn(() => group.kill());
  idle();
  killer.kill();
  t.is(group.linkCount, 0);
  const late = group.spawn(() => 'alive');
  t.is(late.get(), 'alive');
  gate.open();
  group.join();
});

// ---- apply

hubTest('apply() throws what the function throws, and nobody reports it', (t) => {
  const printed = stderrOf(() => thrownBy(() => new Pool(1).apply(fail)));
  t.is(printed, '');
});

hubTest('apply() returns undefined and promises as they are', (t) => {
  const pool = new Pool(1);
  t.is(
    pool.apply(() => undefined),
    undefined,
  );
  t.true(pool.apply(() => Promise.resolve()) instanceof Promise);
});

hubTest('apply() that is killed kills what it has begun', (t) => {
  const pool = new Pool(1);
  const caller = spawn(() => pool.apply(parkForLong));
  idle();
  t.is(pool.count, 1);
  caller.kill();
  t.true(pool.join());
});

hubTest('apply() throws its own Timeout, and kills what it has begun', (t) => {
  const pool = new Pool(1);
  t.throws(() => pool.apply(parkForLong, [], 1), { instanceOf: Timeout });
  t.true(pool.join());
});

hubTest('apply() that must not wait throws a Timeout and begins nothing', (t) => {
  const pool = new Pool(1);
  t.throws(() => pool.apply(parkForLong, [], { block: false }), {
    instanceOf: Timeout,
  });
  t.is(pool.count, 0);
});

hubTest('apply() leaves a Timeout alone that was pending before', (t) => {
  const timeout = Timeout.startNew(60_000);
  t.is(new Pool(1).apply(same, [1], timeout), 1);
  t.true(timeout.pending);
  timeout.cancel();
});

hubTest('an error that apply() does not wait for any more is reported', (t) => {
  const pool = new Pool(1);
  const caller = spawn(() =>
    pool.apply(() => {
      try {
        parkForLong();
      } finally {
        fail('while cleaning up');
      }
    }),
  );
  idle();
  const printed = stderrOf(() => {
    caller.kill();
    pool.join();
  });
  t.regex(printed, /while cleaning up/);
});

hubTest('applyAsync() does not call back for one that was killed', (t) => {
  const pool = new Pool(1);
  let called = false;
  const results = [1, 2].map(() => pool.applyAsync(parkForLong, [], () => (called = true)));
  idle();
  for (const result of results) result.kill();
  pool.join();
  idle();
  t.false(called);
});

hubTest(
  'applyAsync() and applyCb() do not call back for one that was killed after it had waited for room',
  (t) => {
    const { pool, member } = fullPool();
    const called: unknown[] = [];
    const results = [
      pool.applyAsync(parkForLong, [], (result) => called.push(result)),
      spawn(() => pool.applyCb(parkForLong, [], (result) => called.push(result))),
    ];
    idle();
    for (let killed: Greenlet | undefined = member; killed !== undefined;) {
      pool.killOne(killed);
      idle();
      killed = [...pool][0] as Greenlet | undefined;
    }
    joinAll(results);
    idle();
    t.true(results.every(({ value }) => GreenletExit.is(value)));
    t.deepEqual(called, []);
  },
);

hubTest('an error of applyAsync() is reported once', (t) => {
  const { pool, member } = fullPool();
  const result = pool.applyAsync(() => fail('late'));
  const printed = stderrOf(() => {
    member.kill();
    result.join();
  });
  t.is(printed.match(/Error: late/g)?.length, 1);
});

// ---- map

hubTest('outside greenlets map() throws, and does not touch the iterable', (t) => {
  const source = new Source();
  t.throws(() => inHub(() => new Pool(1).map(same, source.items(1))), {
    instanceOf: BlockingSwitchOutError,
  });
  t.is(source.taken, 0);
});

hubTest('map() passes one argument, the item', (t) => {
  t.deepEqual(
    new Pool(2).map((...args: unknown[]) => args, ['a', 'b']),
    [['a'], ['b']],
  );
});

hubTest('map() runs each item in a greenlet of the class of the pool', (t) => {
  class Special extends Greenlet {}
  const pool = new Pool(2, { greenletClass: Special });
  const greenlets = pool.map(() => getCurrent(), [1, 2, 3]);
  t.true(greenlets.every((greenlet) => greenlet instanceof Special));
  t.is(new Set(greenlets).size, 3);
});

hubTest('an item that fails does not disturb the others', (t) => {
  const pool = new Pool(2);
  const ran: number[] = [];
  const work = (item: number): void => {
    if (item === 0) fail();
    sleep(0);
    ran.push(item);
  };
  t.throws(() => pool.map(work, [0, 1, 2, 3]), { message: 'on purpose' });
  pool.join();
  t.deepEqual(ran, [1, 2, 3]);
});

hubTest('map() throws the first error as soon as it is known', (t) => {
  const pool = new Pool(2);
  const work = (item: number): void => (item === 0 ? fail() : parkForLong());
  t.throws(() => pool.map(work, [0, 1]), { message: 'on purpose' });
  t.is(pool.count, 1);
  pool.kill();
});

hubTest('the error that map() throws is not reported, those of other items are, whenever they come', (t) => {
  const gate = new Gate();
  const pool = new Pool(3);
  const work = (item: string): void => {
    if (item === 'late') gate.pass();
    fail(`error of ${item}`);
  };
  const printed = stderrOf(() => {
    t.throws(() => pool.map(work, ['first', 'second', 'late']), {
      message: 'error of first',
    });
    gate.open();
    pool.join();
  });
  t.notRegex(printed, /error of first/);
  t.is(printed.match(/Error: error of second/g)?.length, 1);
  t.is(printed.match(/Error: error of late/g)?.length, 1);
});

hubTest('what killed an item is the item’s result', (t) => {
  const pool = new Pool(2);
  const results = pool.map(
    (item) => {
      if (item === 1) getCurrent()!.kill();
      return item;
    },
    [0, 1],
  );
  t.is(results[0], 0);
  t.true(GreenletExit.is(results[1]));
});

hubTest('map() that is killed half-way leaves nothing behind', (t) => {
  const pool = new Pool(2);
  const source = new Source();
  const caller = spawn(() => pool.map(parkForLong as (item: number) => void, source.items(10)));
  idle();
  t.is(pool.count, 2);
  caller.kill();
  t.true(pool.join());
  t.is(source.taken, 3);
  t.true(source.closed);
  t.is(pool.freeCount, 2);
});

hubTest('map() that is killed while it waits for results leaves nothing behind', (t) => {
  const group = new Group();
  const caller = spawn(() => group.map(parkForLong as (item: number) => void, [1, 2, 3]));
  idle();
  t.is(group.count, 3);
  caller.kill();
  t.true(group.join());
});

hubTest('errors of items whose map() was killed are reported', (t) => {
  const group = new Group();
  const work = (item: number): void => {
    if (item === 0) fail('before');
    try {
      if (item === 1) parkForLong();
    } finally {
      fail('after');
    }
  };
  const printed = stderrOf(() => {
    const caller = spawn(() => {
      group.spawn(parkForLong);
      group.map(work, [1, 0]);
    });
    idle();
    caller.kill();
    group.kill();
  });
  t.is(printed.match(/Error: before/g)?.length, 1);
  t.is(printed.match(/Error: after/g)?.length, 1);
});

hubTest('an error of the iterable kills what map() has begun', (t) => {
  const group = new Group();
  function* failing(): Generator<number> {
    yield 1;
    sleep(0);
    fail();
  }
  t.throws(() => group.map(parkForLong as (item: number) => void, failing()), {
    message: 'on purpose',
  });
  t.true(group.join());
});

hubTest('map() goes through an iterable that waits', (t) => {
  function* waiting(): Generator<number> {
    for (const item of [1, 2]) {
      sleep(0);
      yield item;
    }
  }
  t.deepEqual(new Pool(1).map(same, waiting()), [1, 2]);
});

hubTest('map({ maxSize }) bounds the items of one call', (t) => {
  const group = new Group();
  let running = 0;
  let most = 0;
  const work = (item: number): number => {
    most = Math.max(most, ++running);
    for (let turn = item % 3; turn >= 0; turn--) sleep(0);
    running--;
    return item;
  };
  const items = Array.from({ length: 30 }, (_, index) => index);
  t.deepEqual(group.map(work, items, { maxSize: 4 }), items);
  t.is(most, 4);
});

hubTest('map({ maxSize }) that is killed half-way leaves nothing behind', (t) => {
  const group = new Group();
  const caller = spawn(() =>
    group.map(parkForLong as (item: number) => void, [1, 2, 3], {
      maxSize: 2,
    }),
  );
  idle();
  t.is(group.count, 2);
  caller.kill();
  t.true(group.join());
});

hubTest('map({ timeout }) throws a Timeout and kills what it has begun', (t) => {
  const pool = new Pool(2);
  t.throws(
    () =>
      pool.map(parkForLong as (item: number) => void, [1, 2, 3], {
        timeout: 1,
      }),
    {
      instanceOf: Timeout,
    },
  );
  t.true(pool.join());
});

hubTest('map({ signal }) throws the reason and kills what it has begun', (t) => {
  const pool = new Pool(2);
  const controller = new AbortController();
  const reason = new Error('aborted');
  setImmediate(() => controller.abort(reason));
  const options = { signal: controller.signal };
  t.throws(() => pool.map(parkForLong as (item: number) => void, [1, 2, 3], options), { is: reason });
  t.true(pool.join());
});

hubTest('an outer timeout goes through map()', (t) => {
  const pool = new Pool(2);
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() =>
      pool.map(parkForLong as (item: number) => void, [1, 2, 3], {
        timeout: 60_000,
      }),
    ),
    timeout,
  );
  t.true(pool.join());
});

hubTest('several calls of map() share the room of a pool', (t) => {
  const pool = new Pool(2);
  let running = 0;
  let most = 0;
  const work = (item: number): number => {
    most = Math.max(most, ++running);
    sleep(0);
    running--;
    return item;
  };
  const calls = [1, 2, 3].map(() => pool.mapAsync(work, [1, 2, 3, 4]));
  for (const call of calls) t.deepEqual(call.get(), [1, 2, 3, 4]);
  t.is(most, 2);
});

hubTest('map() of many items without a limit', (t) => {
  const items = Array.from({ length: 10_000 }, (_, index) => index);
  t.deepEqual(new Pool().map(same, items), items);
});

// ---- imap

hubTest('imap() may be called outside greenlets, and next() there when a result is ready', (t) => {
  const mapping = inHub(() => new Pool(1).imap(same, [1]));
  idle();
  t.true(mapping.ready);
  t.deepEqual(
    inHub(() => mapping.next()),
    { done: false, value: 1 },
  );
  t.true(inHub(() => mapping.next()).done);
});

hubTest('outside greenlets next() throws where it would have to wait, and loses nothing', (t) => {
  const gate = new Gate();
  const mapping = new Pool(1).imap(() => gate.pass(), [1]);
  t.throws(() => inHub(() => mapping.next()), {
    instanceOf: BlockingSwitchOutError,
  });
  gate.open();
  t.is([...mapping].length, 1);
});

hubTest('imap() does not touch its iterable before its own greenlet runs', (t) => {
  const source = new Source();
  const mapping = new Pool(1).imap(same, source.items(3));
  mapping.return();
  idle();
  t.is(source.taken, 0);
  t.true(mapping.next().done);
});

hubTest('errors that next() throws are not reported', (t) => {
  const printed = stderrOf(() => {
    const mapping = new Pool(2).imap((item: number) => fail(`error ${item}`), [1, 2]);
    t.throws(() => mapping.next(), { message: 'error 1' });
    t.throws(() => mapping.next(), { message: 'error 2' });
    t.true(mapping.next().done);
  });
  t.is(printed, '');
});

hubTest('errors that nobody has taken are reported when the iteration is left', (t) => {
  const printed = stderrOf(() => {
    const mapping = new Pool(2).imap((item: number) => (item > 0 ? fail(`error ${item}`) : item), [0, 1]);
    for (const _ of mapping) {
      idle();
      break;
    }
  });
  t.is(printed.match(/Error: error 1/g)?.length, 1);
});

hubTest('an error of the iterable that nobody has taken is reported', (t) => {
  function* failing(): Generator<number> {
    yield 1;
    fail('of the iterable');
  }
  const printed = stderrOf(() => {
    const mapping = new Pool(2).imap(same, failing());
    idle();
    mapping.return();
  });
  t.is(printed.match(/Error: of the iterable/g)?.length, 1);
});

hubTest('return() takes the place of an error of the iterable that is yet to come', (t) => {
  function* failing(): Generator<number> {
    yield 1;
    fail('of the iterable');
  }
  const printed = stderrOf(() => {
    const mapping = new Pool(1).imap(parkForLong as (item: number) => void, failing());
    const reader = spawn(() => mapping.next());
    idle();
    mapping.return();
    t.true(reader.get().done);
    t.true(mapping.next().done);
  });
  t.is(printed.match(/Error: of the iterable/g)?.length, 1);
});

hubTest('options of imap() may be left out by undefined', (t) => {
  t.deepEqual([...new Pool(1).imap(same, [1], undefined as unknown as object)], [1]);
});

hubTest('leaving the loop kills what is under way, and begins nothing more', (t) => {
  const pool = new Pool(3);
  const source = new Source();
  const victims: Greenlet[] = [];
  const work = (item: number): number => {
    if (item > 0) {
      victims.push(current());
      parkForLong();
    }
    return item;
  };
  for (const item of pool.imap(work, source.items(100))) {
    t.is(item, 0);
    idle();
    break;
  }
  t.true(pool.join());
  t.is(victims.length, 3);
  t.true(victims.every(({ value }) => GreenletExit.is(value)));
  t.is(source.taken, 5);
  t.true(source.closed);
  t.is(pool.freeCount, 3);
});

hubTest('leaving the loop begins nothing more, even if room has been handed over already', (t) => {
  const pool = new Pool(3);
  const source = new Source();
  const begun: number[] = [];
  const work = (item: number): number => {
    begun.push(item);
    if (item > 0) parkForLong();
    return item;
  };
  for (const item of pool.imap(work, source.items(100))) {
    t.is(item, 0);
    break;
  }
  idle();
  t.true(pool.ready);
  t.deepEqual(begun, [0, 1, 2]);
  t.true(source.closed);
});

hubTest('the end of a using block leaves nothing behind', (t) => {
  const pool = new Pool(1);
  {
    using mapping = pool.imap(parkForLong as (item: number) => void, [1, 2, 3]);
    idle();
    t.false(mapping.ready);
  }
  t.true(pool.join());
});

hubTest('return() ends the next() of others', (t) => {
  const mapping = new Pool(1).imap(parkForLong as (item: number) => void, [1, 2]);
  const reader = spawn(() => mapping.next());
  idle();
  t.is(String(mapping), '<Imap 1 under way, 0 ended, 1 waiting>');
  mapping.return();
  t.deepEqual(reader.get(), { done: true, value: undefined });
  t.true(mapping.ready);
});

hubTest('return() outside greenlets does not wait', (t) => {
  const pool = new Pool(1);
  const mapping = pool.imap(parkForLong as (item: number) => void, [1, 2]);
  idle();
  inHub(() => mapping.return());
  t.true(pool.join());
});

hubTest('an item may end the whole', (t) => {
  const pool = new Pool(2);
  const mapping = pool.imap(
    (item: number) => {
      if (item === 0) parkForLong();
      mapping.return();
    },
    [0, 1],
  );
  t.true(mapping.next().done);
  t.true(pool.join());
});

hubTest('return() also ends an iterable that waits', (t) => {
  let closed = false;
  function* waiting(): Generator<number> {
    try {
      yield 1;
      parkForLong();
    } finally {
      sleep(0);
      closed = true;
    }
  }
  const mapping = new Pool(1).imap(same, waiting());
  t.is(mapping.next().value, 1);
  idle();
  mapping.return();
  idle();
  t.true(closed);
});

hubTest('several readers get the results in the order of their waiting', (t) => {
  const gate = new Gate();
  const mapping = new Pool(1).imap(
    (item: number) => {
      gate.pass();
      return item;
    },
    [1, 2, 3],
  );
  const readers = [1, 2, 3, 4].map(() => spawn(() => mapping.next().value));
  idle();
  gate.open();
  t.deepEqual(
    readers.map((reader) => reader.get()),
    [1, 2, 3, undefined],
  );
});

for (const [how, interruptReader, limit] of [
  ['a kill', (reader: Greenlet) => reader.kill(), null],
  ['a timeout', (reader: Greenlet) => reader.join(), 1],
] as const) {
  virtualTest(`${how} of the only reader ends the whole, and loses no error`, (t) => {
    const pool = new Pool(3);
    const source = new Source();
    let begun = 0;
    const work = (item: number): void => {
      begun++;
      // The result of the second is there, and the third fails when it is killed; both come after the one that is awaited.
      if (item === 1) fail('already there');
      try {
        parkForLong();
      } finally {
        if (item === 2) fail('yet to come');
      }
    };
    const printed = stderrOf(() => {
      const reader = spawn(() => {
        const timeout = Timeout.startNew(limit);
        try {
          for (const _ of pool.imap(work, source.items(100), { maxSize: 5 }));
        } catch (error) {
          if (error !== timeout) throw error;
        } finally {
          timeout.cancel();
        }
      });
      idle();
      interruptReader(reader);
      t.true(pool.join());
    });
    idle();
    t.is(printed.match(/Error: already there/g)?.length, 1);
    t.is(printed.match(/Error: yet to come/g)?.length, 1);
    t.is(begun, 4);
    t.true(source.closed);
    t.is(pool.freeCount, 3);
  });
}

hubTest('the iteration ends with the last of its readers', (t) => {
  const pool = new Pool(1);
  const source = new Source();
  const mapping = pool.imap(parkForLong as (item: number) => void, source.items(9), { maxSize: 2 });
  const readers = [1, 2].map(() => spawn(() => mapping.next()));
  idle();
  readers[0]!.kill();
  t.is(pool.count, 1);
  t.false(source.closed);
  for (const reader of readers) reader.kill();
  t.true(pool.join());
  idle();
  t.true(source.closed);
  t.true(mapping.next().done);
});

hubTest('a reader that is killed while another waits takes nothing', (t) => {
  const gate = new Gate();
  const mapping = new Pool(1).imap(
    (item: number) => {
      gate.pass();
      return item;
    },
    [1, 2],
  );
  const victim = spawn(() => mapping.next());
  const other = spawn(() => [...mapping]);
  idle();
  victim.kill();
  gate.open();
  t.deepEqual(other.get(), [1, 2]);
});

hubTest('a reader that is handed a result and killed at the same moment has it', (t) => {
  const gate = new Gate();
  const group = new Group();
  let item: Greenlet | undefined;
  const mapping = group.imap(() => {
    item = current();
    gate.pass();
    return 'result';
  }, [1]);
  let got: unknown;
  const reader = spawn(() => {
    got = mapping.next().value;
    parkForLong();
  });
  idle();
  // Called after the result was handed over, before the reader goes on.
  item!.rawlink(() => reader.throw());
  gate.open();
  reader.join();
  t.is(got, 'result');
  t.true(GreenletExit.is(reader.value));
});

hubTest('wait() waits until a result is there', (t) => {
  const gate = new Gate();
  const mapping = new Pool(1).imap(() => gate.pass(), [1]);
  t.deepEqual(wait([mapping], { timeout: 1 }), []);
  t.is(mapping.linkCount, 0);
  gate.open();
  t.deepEqual(wait([mapping]), [mapping]);
  t.false(mapping.next().done);
  t.true(mapping.next().done);
});

hubTest('maxSize holds back what is begun until results are taken', (t) => {
  const group = new Group();
  let begun = 0;
  const mapping = group.imap(
    (item: number) => {
      begun++;
      return item;
    },
    [0, 1, 2, 3, 4, 5],
    { maxSize: 2 },
  );
  idle();
  t.is(begun, 2);
  mapping.next();
  idle();
  t.is(begun, 3);
  t.deepEqual([...mapping], [1, 2, 3, 4, 5]);
});

hubTest('several iterables are closed when one of them ends or fails', (t) => {
  const ended = new Source();
  t.deepEqual([...new Pool(1).imap((a: number, b: number) => a + b, ended.items(9), [10, 20])], [10, 21]);
  t.true(ended.closed);
  const failed = new Source();
  function* failing(): Generator<number> {
    yield 0;
    fail();
  }
  const mapping = new Pool(1).imap((a: number, b: number) => a + b, failed.items(9), failing());
  t.is(mapping.next().value, 0);
  t.throws(() => mapping.next(), { message: 'on purpose' });
  t.true(failed.closed);
});

hubTest('an imap() whose pool is killed yields the kills as results, and goes on', (t) => {
  const pool = new Pool(1);
  const mapping = pool.imap(
    (item: number) => {
      if (item === 0) parkForLong();
      return item;
    },
    [0, 1],
  );
  idle();
  pool.kill(undefined, { block: false });
  const results = [...mapping];
  t.true(GreenletExit.is(results[0]));
  t.is(results[1], 1);
});

hubTest('items of imap() have the async context of the call', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const mapping = storage.run('mine', () => new Pool(1).imap(() => storage.getStore(), [1, 2]));
  t.deepEqual([...mapping], ['mine', 'mine']);
});

hubTest('a greenlet that yields results is named by its function', (t) => {
  const pool = new Pool(1);
  const mapping = pool.imap(
    function download(_url: string): string {
      return String(getCurrent());
    },
    ['a'],
  );
  t.regex(mapping.next().value!, /download\('a'\)/);
  t.is(getHub().stats().parked, 0);
});
