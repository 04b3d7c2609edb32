import { inspect, types } from 'node:util';
import test from 'ava';
import {
  type Greenlet,
  Timeout,
  getHub,
  idle,
  iwait,
  joinAll,
  killAll,
  run,
  shield,
  sleep,
  spawn,
  wait,
  waitFor,
  withTimeout,
} from 'greenstack';
import { Gate, burn, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { muted } from './support/stderr.js';

class Overdue extends Error {
  override name = 'Overdue';
}

const never = () => new Promise<never>(() => {});

// One timeout

hubTest('a timeout throws itself where its greenlet is parked', (t) => {
  const timeout = Timeout.startNew(1);
  t.throws(parkForLong, { is: timeout, instanceOf: Error, code: 'ERR_GREENSTACK_TIMEOUT', name: 'Timeout' });
});

hubTest('a timeout is an error for every tool that looks for errors', (t) => {
  const timeout = new Timeout(250);
  t.true(timeout instanceof Error);
  t.true(types.isNativeError(timeout));
  t.regex(inspect(timeout), /^\[?Timeout: 250/);
});

hubTest('a timeout waits at least as long as it was told', (t) => {
  const start = performance.now();
  Timeout.startNew(20);
  thrownBy(parkForLong);
  t.true(performance.now() - start >= 20);
});

hubTest('a timeout does not interrupt code that does not park', (t) => {
  const timeout = Timeout.startNew(1);
  burn(20);
  t.throws(parkForLong, { is: timeout });
});

hubTest('the constructor does not start the timeout', (t) => {
  const timeout = new Timeout(1);
  t.false(timeout.pending);
  sleep(10);
  t.false(timeout.pending);
});

hubTest('a timeout is pending from start() to its end', (t) => {
  const timeout = new Timeout(1);
  timeout.start();
  t.true(timeout.pending);
  t.throws(parkForLong, { is: timeout });
  t.false(timeout.pending);
});

hubTest('a timeout of null never ends and holds no timer', (t) => {
  const before = getHub().stats().timers;
  const timeout = Timeout.startNew(null);
  t.is(getHub().stats().timers, before);
  t.is(timeout.ms, null);
  sleep(5);
  timeout.cancel();
});

hubTest('a timeout without a time never ends', (t) => {
  using timeout = new Timeout();
  timeout.start();
  sleep(5);
  t.is(timeout.ms, null);
});

hubTest('a timeout of 0 ends at the next park', (t) => {
  const timeout = Timeout.startNew(0);
  t.true(timeout.pending);
  t.throws(parkForLong, { is: timeout });
});

hubTest('a negative time counts as 0', (t) => {
  const timeout = Timeout.startNew(-5);
  t.throws(parkForLong, { is: timeout });
});

hubTest('a timeout knows its time', (t) => {
  t.is(new Timeout(250).ms, 250);
});

hubTest('the message of a timeout names its time', (t) => {
  t.regex(new Timeout(250).message, /250/);
});

hubTest('a timeout ends in the greenlet that started it, not in the one that made it', (t) => {
  const timeout = new Timeout(1);
  const greenlet = spawn(() => {
    timeout.start();
    return thrownBy(parkForLong);
  });
  sleep(20);
  t.is(greenlet.get(), timeout);
});

hubTest('the stack of a timeout error shows the line that waited', (t) => {
  function theWaiter() {
    parkForLong();
  }
  Timeout.startNew(1);
  t.regex(String((thrownBy(theWaiter) as Error).stack), /theWaiter/);
});

// Its error

hubTest('a timeout with an error instance throws that', (t) => {
  const error = new Overdue('late');
  Timeout.startNew(1, error);
  t.throws(parkForLong, { is: error });
});

hubTest('a timeout with an error class throws an instance of it', (t) => {
  Timeout.startNew(1, Overdue);
  t.throws(parkForLong, { instanceOf: Overdue });
});

hubTest('a timeout with a string throws itself, with the string in its message', (t) => {
  const timeout = Timeout.startNew(1, 'the kettle is cold');
  t.throws(parkForLong, { is: timeout, message: /the kettle is cold/ });
});

hubTest('a timeout with false throws itself', (t) => {
  const timeout = Timeout.startNew(1, false);
  t.throws(parkForLong, { is: timeout });
});

hubTest('an error that is neither Error nor class nor string nor false is refused', (t) => {
  t.throws(() => new Timeout(1, 5 as never), { instanceOf: TypeError });
});

hubTest('a class that makes no errors is refused', (t) => {
  t.throws(() => new Timeout(1, Map as never), { instanceOf: TypeError });
});

// start(), cancel(), close()

hubTest('the time counts from start(), also while the greenlet computes', (t) => {
  const timeout = Timeout.startNew(50);
  burn(60);
  const sleeper = spawn(() => sleep(45));
  t.throws(parkForLong, { is: timeout });
  t.false(sleeper.dead);
  sleeper.kill();
});

hubTest('timeouts of the same time strike in the order of their starts', (t) => {
  const timeouts = [1, 2, 3].map(() => Timeout.startNew(3));
  t.deepEqual(
    timeouts.map(() => thrownBy(parkForLong)),
    timeouts,
  );
});

hubTest('a timeout outlives the greenlet that started it, until it is cancelled', (t) => {
  const before = getHub().stats().timers;
  const timeout = spawn(() => Timeout.startNew(3_600_000)).get();
  t.is(getHub().stats().timers, before + 1);
  t.true(timeout.pending);
  timeout.cancel();
  t.is(getHub().stats().timers, before);
});

hubTest('start() of a pending timeout is an error, and it stays pending', (t) => {
  const timeout = Timeout.startNew(60_000);
  t.throws(() => timeout.start(), { instanceOf: Error });
  t.true(timeout.pending);
  timeout.cancel();
});

hubTest('a cancelled timeout does not end', (t) => {
  const timeout = Timeout.startNew(1);
  timeout.cancel();
  t.false(timeout.pending);
  t.notThrows(() => sleep(10));
});

hubTest('cancel() of one that is not pending does nothing', (t) => {
  const timeout = new Timeout(1);
  timeout.cancel();
  timeout.cancel();
  t.false(timeout.pending);
});

hubTest('a cancelled timeout can be started again', (t) => {
  const timeout = Timeout.startNew(60_000);
  timeout.cancel();
  timeout.start();
  t.true(timeout.pending);
  timeout.cancel();
});

hubTest('a timeout that has ended can be started again', (t) => {
  const timeout = Timeout.startNew(1);
  t.throws(parkForLong, { is: timeout });
  timeout.start();
  t.throws(parkForLong, { is: timeout });
});

hubTest('close() is final', (t) => {
  const timeout = Timeout.startNew(60_000);
  timeout.close();
  t.false(timeout.pending);
  t.throws(() => timeout.start(), { instanceOf: Error });
});

hubTest('startNew() of a timeout starts that one', (t) => {
  const timeout = new Timeout(1);
  t.is(Timeout.startNew(timeout), timeout);
  t.throws(parkForLong, { is: timeout });
});

hubTest('startNew() of a pending timeout leaves it running', (t) => {
  const timeout = Timeout.startNew(60_000);
  t.is(Timeout.startNew(timeout), timeout);
  t.true(timeout.pending);
  timeout.cancel();
});

hubTest('startNew() without a time never ends', (t) => {
  const timeout = Timeout.startNew();
  t.is(timeout.ms, null);
  t.notThrows(() => sleep(1));
});

hubTest('using a timeout cancels it at the end of the block', (t) => {
  let timeout: Timeout;
  {
    using held = Timeout.startNew(1);
    timeout = held;
    t.true(held.pending);
  }
  t.false(timeout.pending);
  t.notThrows(() => sleep(10));
});

hubTest('a timeout whose greenlet has ended is thrown in nobody', (t) => {
  const greenlet = spawn(() => {
    Timeout.startNew(5);
  });
  greenlet.join();
  const others = [1, 2, 3].map(() => spawn(sleep, 20));
  t.notThrows(() => joinAll(others, { raiseError: true }));
});

// Nested

hubTest('of two timeouts the inner one ends first when it is shorter', (t) => {
  using outer = Timeout.startNew(60_000);
  {
    using inner = Timeout.startNew(1);
    t.throws(parkForLong, { is: inner });
  }
  t.true(outer.pending);
});

hubTest('of two timeouts the outer one ends first when it is shorter', (t) => {
  const outer = Timeout.startNew(1);
  let inner: Timeout | undefined;
  const error = thrownBy(() => {
    using held = Timeout.startNew(60_000);
    inner = held;
    parkForLong();
  });
  t.is(error, outer);
  t.false(inner!.pending);
});

hubTest('of two equal timeouts both end, the one started first before the other', (t) => {
  const first = Timeout.startNew(5);
  const second = Timeout.startNew(5);
  burn(20);
  t.throws(parkForLong, { is: first });
  t.throws(parkForLong, { is: second });
});

hubTest('each of a hundred greenlets gets its own timeout', (t) => {
  const greenlets = Array.from({ length: 100 }, (_, index) =>
    spawn(() => {
      const timeout = Timeout.startNew(1 + (index % 7));
      return thrownBy(parkForLong) === timeout;
    }),
  );
  joinAll(greenlets);
  t.true(greenlets.every((greenlet) => greenlet.value === true));
});

// Cancelled late

hubTest('a timeout cancelled after its time, before it was thrown, is not thrown', (t) => {
  const gate = new Gate();
  const greenlet = spawn(() => {
    const timeout = Timeout.startNew(5);
    try {
      gate.pass();
    } catch (error) {
      if (error !== timeout) throw error;
      return 'thrown in time';
    }
    timeout.cancel();
    sleep(0);
    sleep(10);
    return 'cancelled in time';
  });
  idle();
  gate.open();
  burn(20);
  t.true(['thrown in time', 'cancelled in time'].includes(greenlet.get()));
});

hubTest('a timeout whose end waits for a shield can still be cancelled', (t) => {
  const timeout = Timeout.startNew(1);
  shield(() => {
    sleep(20);
    timeout.cancel();
  });
  t.notThrows(() => sleep(5));
});

hubTest('a timeout that ends in a shield is thrown after it', (t) => {
  const timeout = Timeout.startNew(1);
  let finished = false;
  const error = thrownBy(() => {
    shield(() => {
      sleep(20);
      finished = true;
    });
    parkForLong();
  });
  t.true(finished);
  t.is(error, timeout);
});

hubTest('a timeout cancelled by another greenlet does not end', (t) => {
  const greenlet = spawn(() => {
    const timeout = Timeout.startNew(5);
    spawn(() => timeout.cancel());
    sleep(20);
    return timeout.pending;
  });
  t.false(greenlet.get());
});

// run()

hubTest('run() starts the timeout and cancels it at the end', (t) => {
  const timeout = new Timeout(60_000);
  t.is(
    timeout.run(() => {
      t.true(timeout.pending);
      return 'value';
    }),
    'value',
  );
  t.false(timeout.pending);
});

hubTest('run() of a timeout with false swallows its own end', (t) => {
  const timeout = new Timeout(1, false);
  t.is(timeout.run(parkForLong), undefined);
});

hubTest('run() of a timeout without false throws its end', (t) => {
  const timeout = new Timeout(1);
  t.throws(() => timeout.run(parkForLong), { is: timeout });
});

hubTest('run() of a timeout with false lets another timeout through', (t) => {
  const outer = Timeout.startNew(1);
  const inner = new Timeout(60_000, false);
  t.throws(() => inner.run(parkForLong), { is: outer });
  t.false(inner.pending);
});

hubTest('run() lets the error of its function through', (t) => {
  const error = new Overdue('mine');
  const timeout = new Timeout(60_000, false);
  t.throws(
    () =>
      timeout.run(() => {
        throw error;
      }),
    { is: error },
  );
  t.false(timeout.pending);
});

hubTest('run() of a pending timeout goes on with it', (t) => {
  const timeout = Timeout.startNew(1);
  t.throws(() => timeout.run(parkForLong), { is: timeout });
});

// withTimeout()

hubTest('withTimeout() returns the value of its function', (t) => {
  t.is(
    withTimeout(60_000, () => 'value'),
    'value',
  );
});

hubTest('withTimeout() throws Timeout when the time is up', (t) => {
  t.throws(() => withTimeout(1, parkForLong), { instanceOf: Timeout });
});

hubTest('withTimeout() returns timeoutValue when the time is up', (t) => {
  t.is(withTimeout(1, parkForLong, { timeoutValue: 'default' }), 'default');
});

hubTest('withTimeout() returns a timeoutValue of undefined when the time is up', (t) => {
  t.is(withTimeout(1, parkForLong, { timeoutValue: undefined }), undefined);
});

hubTest('withTimeout() lets an outer timeout through, timeoutValue or not', (t) => {
  const outer = Timeout.startNew(1);
  t.throws(() => withTimeout(60_000, parkForLong, { timeoutValue: 'default' }), { is: outer });
});

hubTest('withTimeout() lets an inner timeout through, timeoutValue or not', (t) => {
  let inner: Timeout | undefined;
  const error = thrownBy(() =>
    withTimeout(
      60_000,
      () => {
        inner = Timeout.startNew(1);
        parkForLong();
      },
      { timeoutValue: 'default' },
    ),
  );
  t.true(error === inner);
});

hubTest('withTimeout() leaves no timeout behind', (t) => {
  withTimeout(5, () => {});
  t.notThrows(() => sleep(20));
});

hubTest('withTimeout(null) waits for ever', (t) => {
  t.is(
    withTimeout(null, () => {
      sleep(5);
      return 'value';
    }),
    'value',
  );
});

hubTest('withTimeout() throws the timeout it was given', (t) => {
  const timeout = new Timeout(1);
  t.throws(() => withTimeout(timeout, parkForLong), { is: timeout });
});

hubTest('withTimeout() refuses what is not a function, and starts nothing', (t) => {
  t.throws(() => withTimeout(1, 'function' as never), { instanceOf: TypeError });
  t.notThrows(() => sleep(5));
});

// Somebody else's timeout goes through every call that has one of its own

function outerGoesThrough(call: string, park: (greenlet: Greenlet<unknown>) => unknown): void {
  hubTest(`an outer timeout goes through ${call} with a timeout of its own`, (t) => {
    const greenlet = parked();
    const outer = Timeout.startNew(1);
    t.throws(() => park(greenlet), { is: outer });
    greenlet.kill();
  });
}

outerGoesThrough('get()', (greenlet) => greenlet.get(60_000));
outerGoesThrough('join()', (greenlet) => greenlet.join(60_000));
outerGoesThrough('joinAll()', (greenlet) => joinAll([greenlet], { timeout: 60_000 }));
outerGoesThrough('wait()', (greenlet) => wait([greenlet], { timeout: 60_000 }));
outerGoesThrough('iwait()', (greenlet) => [...iwait([greenlet], { timeout: 60_000 })]);
outerGoesThrough('wait() for the loop', () => wait(undefined, { timeout: 60_000 }));
outerGoesThrough('waitFor()', () => waitFor(never(), 60_000));

hubTest('an outer timeout goes through kill() with a timeout of its own', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const outer = Timeout.startNew(1);
  muted(() => t.throws(() => stubborn.kill(undefined, 60_000), { is: outer }));
  gate.open();
  stubborn.join();
});

hubTest('an outer timeout goes through killAll() with a timeout of its own', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const outer = Timeout.startNew(1);
  muted(() => t.throws(() => killAll([stubborn], { timeout: 60_000 }), { is: outer }));
  gate.open();
  stubborn.join();
});

// A Timeout is good wherever a time is

hubTest('join() returns when the timeout it was given ends', (t) => {
  const greenlet = parked();
  t.notThrows(() => greenlet.join(new Timeout(1)));
  t.false(greenlet.ready);
  greenlet.kill();
});

hubTest('get() with a timeout in its options throws that one', (t) => {
  const greenlet = parked();
  const timeout = new Timeout(1);
  t.throws(() => greenlet.get({ timeout }), { is: timeout });
  greenlet.kill();
});

hubTest('get() with a timeout that has an error of its own throws that error', (t) => {
  const greenlet = parked();
  const error = new Overdue('late');
  t.throws(() => greenlet.get(new Timeout(1, error)), { is: error });
  greenlet.kill();
});

hubTest('kill() returns when the timeout it was given ends', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  t.notThrows(() => stubborn.kill(undefined, new Timeout(5)));
  t.false(stubborn.dead);
  gate.open();
  stubborn.join();
});

hubTest('joinAll() returns when the timeout it was given ends', (t) => {
  const greenlet = parked();
  t.deepEqual(joinAll([greenlet], { timeout: new Timeout(1) }), []);
  greenlet.kill();
});

hubTest('wait() returns when the timeout it was given ends', (t) => {
  const greenlet = parked();
  t.deepEqual(wait([greenlet], { timeout: new Timeout(1) }), []);
  greenlet.kill();
});

hubTest('waitFor() throws the timeout it was given', (t) => {
  const timeout = new Timeout(1);
  t.throws(() => waitFor(never(), timeout), { is: timeout });
});

hubTest('a timeout given as a limit is cancelled when the call is over', (t) => {
  const timeout = new Timeout(60_000);
  spawn(() => {}).join(timeout);
  t.false(timeout.pending);
});

// Bad input

hubTest('new Timeout() refuses NaN', (t) => {
  t.throws(() => new Timeout(NaN), { instanceOf: TypeError });
});

hubTest('new Timeout() refuses a string', (t) => {
  t.throws(() => new Timeout('5' as never), { instanceOf: TypeError });
});

hubTest('Timeout.startNew() refuses NaN', (t) => {
  t.throws(() => Timeout.startNew(NaN), { instanceOf: TypeError });
});

hubTest('withTimeout() refuses a string and does not call its function', (t) => {
  let called = false;
  t.throws(() => withTimeout('5' as never, () => (called = true)), { instanceOf: TypeError });
  t.false(called);
});

hubTest('get() refuses NaN', (t) => {
  const greenlet = parked();
  t.throws(() => greenlet.get(NaN), { instanceOf: TypeError });
  greenlet.kill();
});

hubTest('get() refuses a timeout option that is no time', (t) => {
  const greenlet = parked();
  t.throws(() => greenlet.get({ timeout: '5' as never }), { instanceOf: TypeError });
  greenlet.kill();
});

hubTest('joinAll() refuses NaN', (t) => {
  const greenlet = parked();
  t.throws(() => joinAll([greenlet], { timeout: NaN }), { instanceOf: TypeError });
  greenlet.kill();
});

hubTest('killAll() refuses NaN and kills nobody', (t) => {
  const greenlet = parked();
  t.throws(() => killAll([greenlet], { timeout: NaN }), { instanceOf: TypeError });
  idle();
  t.false(greenlet.dead);
  greenlet.kill();
});

hubTest('wait() refuses NaN', (t) => {
  const greenlet = parked();
  t.throws(() => wait([greenlet], { timeout: NaN }), { instanceOf: TypeError });
  greenlet.kill();
});

hubTest('waitFor() refuses NaN and does not call its function', (t) => {
  let called = false;
  t.throws(() => waitFor(async () => (called = true), NaN), { instanceOf: TypeError });
  t.false(called);
});

// Many

hubTest('a hundred thousand timeouts can be started and cancelled', (t) => {
  const before = getHub().stats().timers;
  const timeouts = Array.from({ length: 100_000 }, (_, index) => Timeout.startNew(60_000 + index));
  t.is(getHub().stats().timers, before + 100_000);
  for (const timeout of timeouts) timeout.cancel();
  t.is(getHub().stats().timers, before);
});

test.serial('a timeout of the main greenlet rejects run()', async (t) => {
  let timeout: Timeout | undefined;
  const error = await t.throwsAsync(
    run(() => {
      timeout = Timeout.startNew(1);
      parkForLong();
    }),
  );
  t.true(error === timeout);
});
