import { pbkdf2 } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import {
  BlockingSwitchOutError,
  ConcurrentObjectUseError,
  Greenlet,
  GreenletExit,
  GreenstackError,
  Timeout,
  Waiter,
  asyncify,
  getHub,
  idle,
  joinAll,
  run,
  shield,
  sleep,
  spawn,
  spawnLater,
  spawnRaw,
  wait,
  waitFor,
} from 'greenstack';
import { createConnection } from 'greenstack/socket';
import { FailedToSwitch, VirtualClock, assertSwitches } from 'greenstack/testing';
import { Gate, burn, parkForLong, parked, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { echo, listen, silent } from './support/servers.js';

const HOUR = 3_600_000;

/** Numbers from 0 to below `limit`, the same for each seed. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

function afterReal(ms: number, callback: () => void): void {
  setTimeout(callback, ms);
}

// VirtualClock: time

virtualTest('time jumps to the next sleeper when all are parked', (t, clock) => {
  const seen: [name: string, at: number][] = [];
  const sleeper = (name: string, ms: number) => {
    sleep(ms);
    seen.push([name, clock.now()]);
  };
  joinAll([spawn(sleeper, 'long', 24 * HOUR), spawn(sleeper, 'short', 0.5), spawn(sleeper, 'middle', HOUR)]);
  t.deepEqual(seen, [
    ['short', 0.5],
    ['middle', HOUR],
    ['long', 24 * HOUR],
  ]);
});

virtualTest('time stands still while a greenlet runs', (t, clock) => {
  const before = getHub().now();
  burn(5);
  t.is(clock.now(), 0);
  t.is(getHub().now(), before);
});

virtualTest('the times of one greenlet add up exactly', (t, clock) => {
  for (let step = 0; step < 1000; step++) sleep(0.1);
  t.is(clock.now(), 100);
});

virtualTest('deadlines of one time wake in the order in which they were set, whatever they are for', (t) => {
  const order: string[] = [];
  const never = parked();
  const waits = {
    sleep: () => sleep(10),
    join: () => never.join(10),
    wait: () => wait([never], { timeout: 10 }),
    'sleep again': () => sleep(10),
    joinAll: () => joinAll([never], { timeout: 10 }),
  };
  const waiting = Object.entries(waits).map(([name, wait]) => spawn(() => (wait(), order.push(name))));
  joinAll(waiting);
  never.kill();
  t.deepEqual(order, Object.keys(waits));
});

virtualTest('timers of one time fire in the order in which they were set', (t) => {
  const order: string[] = [];
  const greenlets = ['first', 'second', 'third'].flatMap((name) => [
    spawnLater(10, () => order.push(`${name} spawnLater`)),
    spawn(() => {
      using timeout = Timeout.startNew(10);
      if (thrownBy(parkForLong) === timeout) order.push(`${name} Timeout`);
    }),
  ]);
  joinAll(greenlets);
  const [laters, timeouts] = ['spawnLater', 'Timeout'].map((kind) =>
    order.filter((line) => line.endsWith(kind)),
  );
  t.deepEqual(laters, ['first spawnLater', 'second spawnLater', 'third spawnLater']);
  t.deepEqual(timeouts, ['first Timeout', 'second Timeout', 'third Timeout']);
});

virtualTest('a thousand sleepers of one time wake in the order of falling asleep', (t) => {
  const order: number[] = [];
  const sleeper = (index: number) => {
    sleep(HOUR);
    order.push(index);
  };
  const indexes = Array.from({ length: 1000 }, (_, index) => index);
  joinAll(indexes.map((index) => spawn(sleeper, index)));
  t.deepEqual(order, indexes);
});

/** What a hundred greenlets do that sleep at random, and when. */
function trace(seed: number): string[] {
  return VirtualClock.run((clock) => {
    const below = random(seed);
    const lines: string[] = [];
    const wanderer = (id: number) => {
      for (let step = 0; step < 20; step++) {
        const ms = below(4) === 0 ? 0 : below(50) * below(HOUR);
        if (below(3) === 0) withLimit(below(HOUR));
        else sleep(ms);
        lines.push(`${id} ${step} ${clock.now()}`);
      }
    };
    joinAll(
      Array.from({ length: 100 }, (_, id) => spawn(wanderer, id)),
      { raiseError: true },
    );
    return lines;
  });
}

function withLimit(ms: number): void {
  using timeout = Timeout.startNew(ms);
  if (thrownBy(parkForLong) !== timeout) throw new Error('not the own timeout');
}

hubTest('many random sleeps take the same course every time', (t) => {
  const first = trace(20_240_229);
  t.is(first.length, 2000);
  for (let round = 0; round < 3; round++) t.deepEqual(trace(20_240_229), first);
  t.notDeepEqual(trace(1), first);
  const times = first.map((line) => Number(line.split(' ')[2]));
  t.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
});

virtualTest('limits of calls count in virtual time', (t, clock) => {
  const greenlet = spawn(() => sleep(Infinity));
  greenlet.join(HOUR);
  t.is(clock.now(), HOUR);
  t.is(wait([greenlet], { timeout: HOUR }).length, 0);
  t.is(clock.now(), 2 * HOUR);
  t.false(getHub().join(HOUR));
  t.is(clock.now(), 3 * HOUR);
  greenlet.kill();
});

virtualTest('a limit over several waits counts in virtual time', (t, clock) => {
  const greenlets = [10, 20, 40].map((ms) => spawn(sleep, ms));
  t.is(wait(greenlets, { timeout: 30 }).length, 2);
  t.is(clock.now(), 30);
  joinAll(greenlets);
});

virtualTest('a timer that was cancelled does not hold time up', (t, clock) => {
  const timeout = Timeout.startNew(10);
  timeout.cancel();
  sleep(30);
  t.is(clock.now(), 30);
});

virtualTest('what is due at once runs without time passing', (t, clock) => {
  t.is(spawnLater(0, () => clock.now()).get(), 0);
  t.throws(() => Timeout.startNew(0).run(parkForLong), { instanceOf: Timeout });
  t.is(clock.now(), 0);
});

virtualTest('getHub().now() goes with the clock', (t, clock) => {
  const before = getHub().now();
  sleep(HOUR);
  t.is(clock.now(), HOUR);
  t.true(Math.abs(getHub().now() - before - HOUR) < 1e-6);
});

virtualTest('kills work at whatever time', (t, clock) => {
  const greenlet = spawn(() => sleep(HOUR));
  sleep(1);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  t.is(clock.now(), 1);
});

virtualTest('ten thousand greenlets sleep for an hour', (t, clock) => {
  joinAll(Array.from({ length: 10_000 }, () => spawn(sleep, HOUR)));
  t.is(clock.now(), HOUR);
});

// VirtualClock: its life

hubTest('when the clock is closed, pending timers keep the time that they had left', (t) => {
  using clock = new VirtualClock();
  const sleeper = spawn(() => sleep(HOUR + 20));
  sleep(HOUR);
  t.false(sleeper.dead);
  clock.close();
  const start = performance.now();
  sleeper.join();
  t.true(performance.now() - start >= 19.9);
  t.is(clock.now(), HOUR);
});

hubTest(
  'timers that were pending before are governed by the clock, with the time that they had left',
  (t) => {
    const sleeper = spawn(() => sleep(HOUR));
    idle();
    const elapsed = VirtualClock.run((clock) => {
      sleeper.join();
      return clock.now();
    });
    t.true(elapsed <= HOUR);
    t.true(elapsed > HOUR / 2);
  },
);

hubTest('time goes on from where the clock has left it', (t) => {
  let virtual = 0;
  VirtualClock.run(() => {
    sleep(HOUR);
    virtual = getHub().now();
  });
  const after = getHub().now();
  t.true(after >= virtual);
  sleep(2);
  t.true(getHub().now() >= after + 2);
});

hubTest('after a clock in which no time has passed, time does not catch up', (t) => {
  // In this order: the machine may stand still in between.
  const [realStart, start] = [performance.now(), getHub().now()];
  VirtualClock.run(() => burn(20));
  const passed = getHub().now() - start;
  t.true(passed <= performance.now() - realStart - 19.9);
});

hubTest('using closes the clock', (t) => {
  {
    using clock = new VirtualClock();
    sleep(HOUR);
    t.is(clock.now(), HOUR);
  }
  const start = performance.now();
  sleep(5);
  t.true(performance.now() - start >= 5);
});

hubTest('VirtualClock.run() returns what its function returns, and closes the clock', (t) => {
  t.is(
    VirtualClock.run((clock) => {
      sleep(5);
      return clock.now();
    }),
    5,
  );
  t.notThrows(() => new VirtualClock().close());
});

hubTest('VirtualClock.run() closes the clock if its function throws', (t) => {
  const error = new Error('on purpose');
  t.throws(
    () =>
      VirtualClock.run(() => {
        throw error;
      }),
    { is: error },
  );
  t.notThrows(() => new VirtualClock().close());
});

hubTest('clocks follow one another, each from 0', (t) => {
  const times = [1, 2, 3].map(() =>
    VirtualClock.run((clock) => {
      const before = clock.now();
      sleep(HOUR);
      return [before, clock.now()];
    }),
  );
  t.deepEqual(times, [
    [0, HOUR],
    [0, HOUR],
    [0, HOUR],
  ]);
});

virtualTest('a second clock at the same time is refused, and changes nothing', (t, clock) => {
  t.throws(() => new VirtualClock(), {
    instanceOf: GreenstackError,
    code: 'ERR_GREENSTACK_CLOCK_IN_USE',
    message: /another VirtualClock/,
  });
  t.throws(() => VirtualClock.run(() => t.fail()), { code: 'ERR_GREENSTACK_CLOCK_IN_USE' });
  sleep(5);
  t.is(clock.now(), 5);
});

hubTest('closing twice does nothing, also while another clock is there', (t) => {
  const first = new VirtualClock();
  first.close();
  using second = new VirtualClock();
  first.close();
  sleep(HOUR);
  t.is(second.now(), HOUR);
});

test.serial('a clock made in plain code governs the greenlets that are spawned then', async (t) => {
  using clock = new VirtualClock();
  const greenlet = spawnLater(HOUR, () => clock.now());
  t.is(await greenlet, HOUR);
  // Nobody runs any more: a timer alone has to wake the clock.
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.is(await spawnLater(HOUR, () => clock.now()), 2 * HOUR);
  t.is(await run(() => (sleep(HOUR), clock.now())), 3 * HOUR);
});

virtualTest('other threads have a time of their own', (t, clock) => {
  const program = `
    const { run, sleep } = require('greenstack');
    const { parentPort } = require('node:worker_threads');
    const start = performance.now();
    run(() => sleep(20)).then(() => parentPort.postMessage(performance.now() - start));
  `;
  const worker = new Worker(program, { eval: true });
  const exit = once(worker, 'exit');
  const [slept] = waitFor(once(worker, 'message')) as [number];
  t.true(slept >= 20);
  t.is(clock.now(), 0);
  waitFor(exit);
});

// VirtualClock: what is under way

virtualTest('immediates, ticks and promise reactions have their turn before time jumps', (t, clock) => {
  const waiter = new Waiter<number>();
  let left = 20;
  const step = () => {
    if (left-- === 0) waiter.switch(clock.now());
    else if (left % 3 === 0) void Promise.resolve().then(step);
    else if (left % 3 === 1) process.nextTick(step);
    else setImmediate(step);
  };
  step();
  using _limit = Timeout.startNew(1);
  t.is(waiter.get(), 0);
});

virtualTest('time waits for a file, though a callback and no promise brings it', (t, clock) => {
  const waiter = new Waiter<string>();
  using _limit = Timeout.startNew(1);
  readFile(__filename, 'utf8', (error, text) => {
    if (error) waiter.throw(error);
    else waiter.switch(text);
  });
  t.regex(waiter.get(), /though a callback/);
  t.is(clock.now(), 0);
});

hubTest('time waits for work of the thread pool, however long it takes and whatever the patience', (t) => {
  VirtualClock.run(
    (clock) => {
      const waiter = new Waiter<number>();
      pbkdf2('password', 'salt', 300_000, 32, 'sha512', (_, key) => waiter.switch(key.length));
      using _limit = Timeout.startNew(1);
      t.is(waiter.get(), 32);
      t.is(clock.now(), 0);
    },
    { patience: 0 },
  );
});

virtualTest('time waits for what a peer answers soon', (t, clock) => {
  using server = listen((socket) => socket.on('data', (data) => afterReal(20, () => void socket.end(data))));
  using socket = createConnection(server.address);
  socket.sendAll('hello');
  t.is(socket.recv(100, 1).toString(), 'hello');
  t.is(clock.now(), 0);
});

hubTest('time passes while a peer says nothing for longer than the patience', (t) => {
  using server = listen(silent);
  using socket = createConnection(server.address);
  VirtualClock.run(
    (clock) => {
      t.throws(() => socket.recv(100, HOUR), { code: 'ETIMEDOUT' });
      t.is(clock.now(), HOUR);
    },
    { patience: 1 },
  );
});

virtualTest('time waits for a promise that Node keeps soon', (t, clock) => {
  const promise = new Promise<string>((resolve) => afterReal(20, () => resolve('value')));
  t.is(waitFor(promise, 1), 'value');
  const other = new Promise<string>((resolve) => afterReal(20, () => resolve('value')));
  t.deepEqual(wait([other], { timeout: 1 }), [other]);
  t.is(clock.now(), 0);
});

virtualTest('a promise that needs time to pass gets it', (t, clock) => {
  const later = asyncify(() => {
    sleep(HOUR);
    return clock.now();
  });
  t.is(waitFor(later()), HOUR);
});

hubTest('patience 0 lets time pass beside promises at once', (t) => {
  VirtualClock.run(
    (clock) => {
      let end = (): void => {};
      const promise = new Promise<void>((resolve) => (end = resolve));
      const timer = setTimeout(end, HOUR);
      t.throws(() => waitFor(promise, HOUR), { instanceOf: Timeout });
      t.is(clock.now(), HOUR);
      clearTimeout(timer);
    },
    { patience: 0 },
  );
});

hubTest('endless patience waits for whatever may come', (t) => {
  VirtualClock.run(
    (clock) => {
      const promise = new Promise<string>((resolve) => afterReal(200, () => resolve('value')));
      t.is(waitFor(promise, 1), 'value');
      t.is(clock.now(), 0);
    },
    { patience: Infinity },
  );
});

hubTest('patience begins anew with each event from outside', (t) => {
  using server = listen((socket) => {
    let left = 80;
    const timer = setInterval(() => {
      if (left-- > 0) return void socket.write('.');
      clearInterval(timer);
      socket.end();
    }, 10);
  });
  using socket = createConnection(server.address);
  VirtualClock.run(
    (clock) => {
      // No greenlet is parked on the socket, so none runs meanwhile.
      const promise = new Promise<string>((resolve) => afterReal(700, () => resolve('value')));
      t.is(waitFor(promise, 1), 'value');
      t.is(clock.now(), 0);
    },
    { patience: 500 },
  );
  t.true(socket.recv(100).length > 0);
});

virtualTest('a timer of Node that was set since the clock began is waited for', (t, clock) => {
  const waiter = new Waiter<string>();
  afterReal(20, () => waiter.switch('value'));
  using _limit = Timeout.startNew(1);
  t.is(waiter.get(), 'value');
  t.is(clock.now(), 0);
});

hubTest('what was open before the clock began does not hold it up', (t) => {
  using server = listen(silent);
  const timer = setTimeout(() => t.fail('an hour has passed'), HOUR);
  VirtualClock.run(
    (clock) => {
      sleep(HOUR);
      t.is(clock.now(), HOUR);
    },
    { patience: Infinity },
  );
  clearTimeout(timer);
  t.is(server.accepted, 0);
});

hubTest('time goes on when what it has waited for goes away', (t) => {
  VirtualClock.run(
    (clock) => {
      const timer = setInterval(() => {}, HOUR);
      afterReal(20, () => clearInterval(timer));
      sleep(HOUR);
      t.is(clock.now(), HOUR);
    },
    { patience: Infinity },
  );
});

virtualTest(
  'timers that do not keep the process alive are due as well, while something else does',
  (t, clock) => {
    sleep(HOUR, { ref: false });
    t.is(clock.now(), HOUR);
  },
);

test.serial(
  'timers that do not keep the process alive make no time pass when nothing else does: a deadlock is found',
  async (t) => {
    const { code, stdout } = await runProgram('virtual-deadlock.js');
    t.is(stdout, 'LoopExit at 3600000\nLoopExit at 0\n');
    t.is(code, 0);
  },
);

// VirtualClock: advance()

/** A clock that only `advance()` moves. */
function manualTest(
  title: string,
  body: (t: Parameters<Parameters<typeof hubTest>[1]>[0], clock: VirtualClock) => void,
): void {
  hubTest(title, (t) => VirtualClock.run((clock) => body(t, clock), { autoJump: false }));
}

manualTest('advance() runs what is due, in its order and at its own time', (t, clock) => {
  const seen: [id: number, at: number][] = [];
  const ticker = (id: number, ms: number) => {
    for (;;) {
      sleep(ms);
      seen.push([id, clock.now()]);
    }
  };
  const greenlets = [spawn(ticker, 1, 10), spawn(ticker, 2, 15)];
  clock.advance(29);
  t.is(clock.now(), 29);
  t.deepEqual(seen, [
    [1, 10],
    [2, 15],
    [1, 20],
  ]);
  clock.advance(1);
  t.deepEqual(seen.slice(3), [
    [2, 30],
    [1, 30],
  ]);
  for (const greenlet of greenlets) greenlet.kill();
});

manualTest('advance() runs what is spawned and woken on the way until all are parked', (t, clock) => {
  const order: string[] = [];
  const waiter = new Waiter<void>();
  const sleeper = spawn(() => {
    waiter.get();
    order.push(`woken at ${clock.now()}`);
    sleep(5);
    order.push(`slept until ${clock.now()}`);
  });
  spawnLater(10, () => {
    setImmediate(() => waiter.switch());
  });
  clock.advance(20);
  t.deepEqual(order, ['woken at 10', 'slept until 15']);
  t.is(clock.now(), 20);
  t.true(sleeper.dead);
});

manualTest('without autoJump time stands still but for advance()', (t, clock) => {
  const sleeper = spawn(() => sleep(1));
  for (let turn = 0; turn < 20; turn++) waitFor(new Promise((resolve) => setImmediate(resolve)));
  t.is(clock.now(), 0);
  t.false(sleeper.dead);
  clock.advance(1);
  t.true(sleeper.dead);
});

manualTest('advance(0) runs whatever is ready or due', (t, clock) => {
  let runs = 0;
  spawn(() => runs++);
  spawnLater(0, () => runs++);
  clock.advance(0);
  t.is(runs, 2);
  t.is(clock.now(), 0);
});

manualTest('what is due at once needs no advance()', (t, clock) => {
  t.is(spawnLater(0, () => 'ran').get(), 'ran');
  t.is(clock.now(), 0);
});

manualTest('advance() adds up exactly', (t, clock) => {
  for (let step = 0; step < 100; step++) clock.advance(0.1);
  t.is(clock.now(), 10);
  clock.advance(24 * HOUR);
  t.is(clock.now(), 24 * HOUR + 10);
});

virtualTest('advance() works beside jumps', (t, clock) => {
  const seen: number[] = [];
  const sleeper = spawn(() => {
    sleep(HOUR);
    seen.push(clock.now());
    sleep(HOUR);
    seen.push(clock.now());
  });
  clock.advance(1.5 * HOUR);
  t.is(clock.now(), 1.5 * HOUR);
  sleeper.join();
  t.deepEqual(seen, [HOUR, 2 * HOUR]);
});

manualTest('advance() waits for a request on the way', (t, clock) => {
  const seen: number[] = [];
  spawn(() => {
    sleep(10);
    waitFor(new Promise((resolve) => readFile(__filename, resolve)));
    seen.push(clock.now());
    sleep(10);
    seen.push(clock.now());
  });
  clock.advance(100);
  t.deepEqual(seen, [10, 20]);
});

manualTest('a greenlet is killed in advance(), and another may call it', (t, clock) => {
  const greenlet = spawn(() => clock.advance(HOUR));
  sleep(0);
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
  clock.advance(5);
  t.is(clock.now(), 5);
});

manualTest('a second advance() at the same time is refused', (t, clock) => {
  let error: unknown;
  spawnLater(5, () => (error = thrownBy(() => clock.advance(1))));
  clock.advance(10);
  t.true(error instanceof ConcurrentObjectUseError);
  t.is(clock.now(), 10);
});

hubTest('closing the clock ends advance(), also within a shield', (t) => {
  for (const call of [
    (clock: VirtualClock) => clock.advance(HOUR),
    (clock: VirtualClock) => shield(() => clock.advance(HOUR)),
  ]) {
    const clock = new VirtualClock({ autoJump: false });
    spawnLater(5, () => clock.close());
    t.throws(() => call(clock), { code: 'ERR_GREENSTACK_CLOCK_CLOSED', message: /closed meanwhile/ });
    t.is(clock.now(), 5);
  }
});

hubTest('advance() of a closed clock is refused', (t) => {
  const clock = new VirtualClock();
  clock.close();
  t.throws(() => clock.advance(1), { instanceOf: GreenstackError, code: 'ERR_GREENSTACK_CLOCK_CLOSED' });
});

test.serial('advance() in plain code is refused', (t) => {
  using clock = new VirtualClock();
  t.throws(() => clock.advance(1), { instanceOf: BlockingSwitchOutError });
  t.is(clock.now(), 0);
});

manualTest('advance() refuses what is no time, and changes nothing', (t, clock) => {
  t.throws(() => clock.advance('5' as never), { instanceOf: TypeError, message: /advance\(\).*string 5/ });
  t.throws(() => clock.advance(NaN), { instanceOf: TypeError });
  t.throws(() => clock.advance(-1), { instanceOf: RangeError });
  t.throws(() => clock.advance(Infinity), { instanceOf: RangeError });
  t.is(clock.now(), 0);
});

hubTest('new VirtualClock() refuses wrong options, and changes nothing', (t) => {
  t.throws(() => new VirtualClock(5 as never), { instanceOf: TypeError });
  t.throws(() => new VirtualClock({ autoJump: 1 as never }), { instanceOf: TypeError, message: /autoJump/ });
  t.throws(() => new VirtualClock({ patience: '1' as never }), {
    instanceOf: TypeError,
    message: /patience/,
  });
  t.throws(() => new VirtualClock({ patience: NaN }), { instanceOf: TypeError });
  t.throws(() => new VirtualClock({ patience: -1 }), { instanceOf: RangeError });
  t.throws(() => VirtualClock.run('fn' as never), { instanceOf: TypeError });
  t.notThrows(() => new VirtualClock().close());
});

// assertSwitches

hubTest('assertSwitches() returns what its function returns', (t) => {
  t.is(
    assertSwitches(() => {
      sleep(0);
      return 'value';
    }),
    'value',
  );
});

hubTest('assertSwitches() throws if the function has neither parked nor yielded', (t) => {
  const error = thrownBy(() =>
    assertSwitches(function crunch() {
      burn(5);
    }),
  ) as FailedToSwitch;
  t.true(error instanceof FailedToSwitch);
  t.true(error instanceof GreenstackError);
  t.is(error.code, 'ERR_GREENSTACK_FAILED_TO_SWITCH');
  t.is(error.name, 'FailedToSwitch');
  t.true(error.duration >= 5);
  t.regex(error.message, /crunch\(\) did not let others run/);
  t.true(error.message.includes(error.report));
  t.regex(error.report, /"main".* 0 times[^]*from the beginning to the end/);
});

hubTest('the stack of the error shows who called assertSwitches()', (t) => {
  function theCaller(): void {
    assertSwitches(() => {});
  }
  const { stack } = thrownBy(theCaller) as Error;
  t.regex(stack!, /theCaller/);
  t.notRegex(stack!, /at assertSwitches/);
});

for (const [name, call] of Object.entries({
  'sleep()': () => sleep(1),
  'sleep(0) beside nobody': () => sleep(0),
  'join()': () => spawn(() => {}).join(),
  'waitFor()': () => waitFor(new Promise((resolve) => setImmediate(resolve))),
  'idle()': () => idle(),
})) {
  hubTest(`${name} is a switch`, (t) => {
    t.notThrows(() => assertSwitches(call));
  });
}

hubTest('a call of a socket is a switch if it has parked', (t) => {
  using server = listen(echo);
  using socket = createConnection(server.address);
  // The server answers when this greenlet has parked.
  socket.sendAll('hello');
  t.notThrows(() => assertSwitches(() => socket.recv(1)));
  t.throws(() => assertSwitches(() => socket.recv(1)), { instanceOf: FailedToSwitch });
});

hubTest('spawning, waking and looking at a stack are no switches', (t) => {
  const other = parked();
  const waiter = new Waiter<void>();
  const waiting = spawn(() => waiter.get());
  idle();
  t.throws(
    () =>
      assertSwitches(() => {
        spawn(() => {});
        waiter.switch();
        t.regex(other.stack, /parkForLong/);
        Timeout.startNew(HOUR).cancel();
      }),
    { instanceOf: FailedToSwitch },
  );
  waiting.join();
  other.kill();
});

hubTest('switches of other greenlets do not count', (t) => {
  const gate = new Gate();
  const others = [1, 2].map(() =>
    spawn(() => {
      for (let turn = 0; turn < 5; turn++) sleep(0);
      gate.pass();
    }),
  );
  const results = [true, false].map((yields) =>
    spawn(() =>
      thrownBy(() => {
        assertSwitches(() => {
          if (yields) sleep(1);
        });
        throw new Error('passed');
      }),
    ),
  );
  joinAll(results);
  gate.open();
  joinAll(others);
  t.regex(String(results[0]!.value), /passed/);
  t.true(results[1]!.value instanceof FailedToSwitch);
});

hubTest('assertSwitches() lets the error of its function through, whether it has switched or not', (t) => {
  const error = new Error('on purpose');
  const fail = (): never => {
    throw error;
  };
  t.throws(() => assertSwitches(fail), { is: error });
  t.throws(
    () =>
      assertSwitches(() => {
        sleep(1);
        fail();
      }),
    { is: error },
  );
  t.throws(() => assertSwitches(fail, { maxBlocking: 0 }), { is: error });
});

hubTest('a kill goes through assertSwitches()', (t) => {
  const greenlet = spawn(() => assertSwitches(parkForLong));
  idle();
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

hubTest('maxBlocking allows not to switch at all for so long', (t) => {
  t.is(
    assertSwitches(() => 'value', { maxBlocking: 60_000 }),
    'value',
  );
});

hubTest('maxBlocking finds the longest time between two switches, and tells where', (t) => {
  const error = thrownBy(() =>
    assertSwitches(
      () => {
        sleep(1);
        burn(300);
        theEndOfIt();
        burn(2);
        sleep(1);
      },
      { maxBlocking: 20 },
    ),
  ) as FailedToSwitch;
  t.true(error instanceof FailedToSwitch);
  t.true(error.duration >= 300);
  t.regex(error.message, /kept others from running for .* more than 20\.0 ms/);
  t.regex(error.report, /from the end of sleep to sleep\(0\)/);
  t.regex(error.report, /theEndOfIt/);
});

function theEndOfIt(): void {
  sleep(0);
}

for (const [where, body] of Object.entries({
  'before the first switch': () => {
    burn(30);
    sleep(1);
  },
  'after the last switch': () => {
    sleep(1);
    burn(30);
  },
})) {
  hubTest(`maxBlocking counts the time ${where}`, (t) => {
    t.throws(() => assertSwitches(body, { maxBlocking: 20 }), { instanceOf: FailedToSwitch });
  });
}

hubTest('maxBlocking does not count the time in which others run', (t) => {
  const other = spawn(() => burn(400));
  t.notThrows(() => assertSwitches(() => sleep(0), { maxBlocking: 350 }));
  other.join();
});

hubTest('maxBlocking counts real time under a virtual clock', (t) => {
  VirtualClock.run(() => {
    t.notThrows(() => assertSwitches(() => sleep(HOUR), { maxBlocking: 60_000 }));
    t.throws(() => assertSwitches(() => burn(20), { maxBlocking: 10 }), { instanceOf: FailedToSwitch });
  });
});

hubTest('with hubOnly a switch to another greenlet is none', (t) => {
  const other = spawn(() => {
    for (let turn = 0; turn < 3; turn++) sleep(0);
  });
  const error = thrownBy(() => assertSwitches(() => sleep(0), { hubOnly: true })) as Error;
  t.regex(error.message, /did not let the hub run/);
  t.notThrows(() => assertSwitches(() => sleep(1), { hubOnly: true }));
  other.join();
});

hubTest('with hubOnly the time in which other greenlets run counts too', (t) => {
  const body = () => {
    spawn(() => burn(30));
    sleep(0);
    sleep(1);
  };
  const error = thrownBy(() => assertSwitches(body, { maxBlocking: 20, hubOnly: true }));
  t.true(error instanceof FailedToSwitch);
});

hubTest('calls are nested, and each has its own opinion', (t) => {
  const inner = (body: () => void) => thrownBy(() => (assertSwitches(body), sleep(NaN)));
  assertSwitches(() => {
    t.true(inner(() => {}) instanceof FailedToSwitch);
    t.true(inner(() => sleep(1)) instanceof TypeError);
  });
  t.throws(
    () =>
      assertSwitches(() => {
        inner(() => {});
      }),
    { instanceOf: FailedToSwitch },
  );
});

hubTest('several greenlets may be watched at once', (t) => {
  const greenlets = [0, 1, 2, 3].map((turns) =>
    spawn(() =>
      assertSwitches(
        () => {
          for (let turn = 0; turn <= turns; turn++) sleep(1);
          return turns;
        },
        { maxBlocking: 60_000 },
      ),
    ),
  );
  joinAll(greenlets, { raiseError: true });
  t.deepEqual(
    greenlets.map((greenlet) => greenlet.value as unknown),
    [0, 1, 2, 3],
  );
});

hubTest('a raw greenlet may be watched', (t) => {
  let error: unknown;
  const raw = spawnRaw(() => {
    error = thrownBy(() => assertSwitches(() => {}));
  });
  wait([raw]);
  t.true(error instanceof FailedToSwitch);
});

test.serial('assertSwitches() in plain code is refused', (t) => {
  let called = false;
  t.throws(() => assertSwitches(() => (called = true)), { instanceOf: BlockingSwitchOutError });
  t.false(called);
});

hubTest('assertSwitches() refuses wrong arguments and does not call its function', (t) => {
  const fn = (): void => t.fail();
  t.throws(() => assertSwitches('fn' as never), { instanceOf: TypeError });
  t.throws(() => assertSwitches(fn, 5 as never), { instanceOf: TypeError });
  t.throws(() => assertSwitches(fn, { maxBlocking: '5' as never }), {
    instanceOf: TypeError,
    message: /maxBlocking/,
  });
  t.throws(() => assertSwitches(fn, { maxBlocking: NaN }), { instanceOf: TypeError });
  t.throws(() => assertSwitches(fn, { maxBlocking: -1 }), { instanceOf: RangeError });
  t.throws(() => assertSwitches(fn, { hubOnly: 1 as never }), { instanceOf: TypeError, message: /hubOnly/ });
});

hubTest('a greenlet that never started was not watched', (t) => {
  const greenlet = new Greenlet(() => assertSwitches(() => {}));
  greenlet.kill();
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});
