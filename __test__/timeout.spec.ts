import { inspect, types } from 'node:util';
import test, { type ExecutionContext } from 'ava';
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
  Waiter,
  withTimeout,
} from 'greenstack';
import { Gate, burn, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { muted } from './support/stderr.js';

class Overdue extends Error {
  override name = 'Overdue';
}

const never = () => new Promise<never>(() => {});

// One timeout

virtualTest('a timeout throws itself where its greenlet is parked', (t, clock) => {
  const timeout = Timeout.startNew(1000);
  t.throws(parkForLong, { is: timeout, instanceOf: Error, code: 'ERR_GREENSTACK_TIMEOUT', name: 'Timeout' });
  t.is(clock.now(), 1000);
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

virtualTest('the constructor does not start the timeout', (t) => {
  const timeout = new Timeout(1000);
  t.false(timeout.pending);
  sleep(10_000);
  t.false(timeout.pending);
});

virtualTest('a timeout is pending from start() to its end', (t) => {
  const timeout = new Timeout(1);
  timeout.start();
  t.true(timeout.pending);
  t.throws(parkForLong, { is: timeout });
  t.false(timeout.pending);
});

virtualTest('a timeout of null never ends and holds no timer', (t) => {
  const before = getHub().stats().timers;
  const timeout = Timeout.startNew(null);
  t.is(getHub().stats().timers, before);
  t.is(timeout.ms, null);
  sleep(3_600_000);
  timeout.cancel();
});

virtualTest('a timeout without a time never ends', (t) => {
  using timeout = new Timeout();
  timeout.start();
  sleep(3_600_000);
  t.is(timeout.ms, null);
});

virtualTest('a timeout of 0 ends at the next park', (t) => {
  const timeout = Timeout.startNew(0);
  t.true(timeout.pending);
  t.throws(parkForLong, { is: timeout });
});

virtualTest('a negative time counts as 0', (t) => {
  const timeout = Timeout.startNew(-5);
  t.throws(parkForLong, { is: timeout });
});

hubTest('a timeout knows its time', (t) => {
  t.is(new Timeout(250).ms, 250);
});

hubTest('the message of a timeout names its time', (t) => {
  t.regex(new Timeout(250).message, /250/);
});

virtualTest('a timeout ends in the greenlet that started it, not in the one that made it', (t) => {
  const timeout = new Timeout(1);
  const greenlet = spawn(() => {
    timeout.start();
    return thrownBy(parkForLong);
  });
  sleep(1000);
  t.is(greenlet.get(), timeout);
});

virtualTest('the stack of a timeout error shows the line that waited', (t) => {
  function theWaiter() {
    parkForLong();
  }
  Timeout.startNew(1);
  t.regex(String((thrownBy(theWaiter) as Error).stack), /theWaiter/);
});

// Its error

virtualTest('a timeout with an error instance throws that', (t) => {
  const error = new Overdue('late');
  Timeout.startNew(1, error);
  t.throws(parkForLong, { is: error });
});

virtualTest('a timeout with an error class throws an instance of it', (t) => {
  Timeout.startNew(1, Overdue);
  t.throws(parkForLong, { instanceOf: Overdue });
});

virtualTest('a timeout with a string throws itself, with the string in its message', (t) => {
  const timeout = Timeout.startNew(1, 'the kettle is cold');
  t.throws(parkForLong, { is: timeout, message: /the kettle is cold/ });
});

virtualTest('a timeout with false throws itself', (t) => {
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

virtualTest('timeouts of the same time strike in the order of their starts', (t) => {
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

virtualTest('a cancelled timeout does not end', (t) => {
  const timeout = Timeout.startNew(1);
  timeout.cancel();
  t.false(timeout.pending);
  t.notThrows(() => sleep(1000));
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

virtualTest('a timeout that has ended can be started again', (t) => {
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

virtualTest('startNew() of a timeout starts that one', (t) => {
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

virtualTest('startNew() without a time never ends', (t) => {
  const timeout = Timeout.startNew();
  t.is(timeout.ms, null);
  t.notThrows(() => sleep(3_600_000));
});

virtualTest('using a timeout cancels it at the end of the block', (t) => {
  let timeout: Timeout;
  {
    using held = Timeout.startNew(1);
    timeout = held;
    t.true(held.pending);
  }
  t.false(timeout.pending);
  t.notThrows(() => sleep(1000));
});

virtualTest('a timeout whose greenlet has ended is thrown in nobody', (t) => {
  const greenlet = spawn(() => {
    Timeout.startNew(5);
  });
  greenlet.join();
  const others = [1, 2, 3].map(() => spawn(sleep, 1000));
  t.notThrows(() => joinAll(others, { raiseError: true }));
});

// Nested

virtualTest('of two timeouts the inner one ends first when it is shorter', (t) => {
  using outer = Timeout.startNew(60_000);
  {
    using inner = Timeout.startNew(1);
    t.throws(parkForLong, { is: inner });
  }
  t.true(outer.pending);
});

virtualTest('of two timeouts the outer one ends first when it is shorter', (t) => {
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

virtualTest('of two equal timeouts both end, the one started first before the other', (t, clock) => {
  const first = Timeout.startNew(5);
  const second = Timeout.startNew(5);
  t.throws(parkForLong, { is: first });
  t.throws(parkForLong, { is: second });
  t.is(clock.now(), 5);
});

virtualTest('each of a hundred greenlets gets its own timeout', (t, clock) => {
  const greenlets = Array.from({ length: 100 }, (_, index) =>
    spawn(() => {
      const timeout = Timeout.startNew(1 + (index % 7));
      return thrownBy(parkForLong) === timeout && clock.now() === timeout.ms;
    }),
  );
  joinAll(greenlets);
  t.true(greenlets.every((greenlet) => greenlet.value === true));
});

// Cancelled late

virtualTest('a timeout cancelled after its time, before it was thrown, is not thrown', (t) => {
  const waiter = new Waiter<void>();
  const waker = spawn(() => {
    sleep(5);
    waiter.switch();
  });
  const greenlet = spawn(() => {
    const timeout = Timeout.startNew(5);
    waiter.get();
    timeout.cancel();
    sleep(10);
    return 'cancelled in time';
  });
  t.is(greenlet.get(), 'cancelled in time');
  waker.join();
});

virtualTest('a timeout whose end waits for a shield can still be cancelled', (t) => {
  const timeout = Timeout.startNew(1);
  shield(() => {
    sleep(20);
    timeout.cancel();
  });
  t.notThrows(() => sleep(1000));
});

virtualTest('a timeout that ends in a shield is thrown after it', (t) => {
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

virtualTest('a timeout cancelled by another greenlet does not end', (t) => {
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

virtualTest('run() of a timeout with false swallows its own end', (t) => {
  const timeout = new Timeout(1, false);
  t.is(timeout.run(parkForLong), undefined);
});

virtualTest('run() of a timeout without false throws its end', (t) => {
  const timeout = new Timeout(1);
  t.throws(() => timeout.run(parkForLong), { is: timeout });
});

virtualTest('run() of a timeout with false lets another timeout through', (t) => {
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

virtualTest('run() of a pending timeout goes on with it', (t) => {
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

virtualTest('withTimeout() throws Timeout when the time is up', (t) => {
  t.throws(() => withTimeout(1, parkForLong), { instanceOf: Timeout });
});

virtualTest('withTimeout() returns timeoutValue when the time is up', (t) => {
  t.is(withTimeout(1, parkForLong, { timeoutValue: 'default' }), 'default');
});

virtualTest('withTimeout() returns a timeoutValue of undefined when the time is up', (t) => {
  t.is(withTimeout(1, parkForLong, { timeoutValue: undefined }), undefined);
});

virtualTest('withTimeout() lets an outer timeout through, timeoutValue or not', (t) => {
  const outer = Timeout.startNew(1);
  t.throws(() => withTimeout(60_000, parkForLong, { timeoutValue: 'default' }), { is: outer });
});

virtualTest('withTimeout() lets an inner timeout through, timeoutValue or not', (t) => {
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

virtualTest('withTimeout() leaves no timeout behind', (t) => {
  withTimeout(5, () => {});
  t.notThrows(() => sleep(1000));
});

virtualTest('withTimeout(null) waits for ever', (t) => {
  t.is(
    withTimeout(null, () => {
      sleep(3_600_000);
      return 'value';
    }),
    'value',
  );
});

virtualTest('withTimeout() throws the timeout it was given', (t) => {
  const timeout = new Timeout(1);
  t.throws(() => withTimeout(timeout, parkForLong), { is: timeout });
});

virtualTest('withTimeout() refuses what is not a function, and starts nothing', (t) => {
  t.throws(() => withTimeout(1, 'function' as never), { instanceOf: TypeError });
  t.notThrows(() => sleep(1000));
});

// Somebody else's timeout goes through every call that has one of its own

function outerGoesThrough(
  call: string,
  park: (greenlet: Greenlet<unknown>) => unknown,
  define: (title: string, body: (t: ExecutionContext) => void) => void = virtualTest,
): void {
  define(`an outer timeout goes through ${call} with a timeout of its own`, (t) => {
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
outerGoesThrough('waitFor()', () => waitFor(never(), 60_000), hubTest);

virtualTest('an outer timeout goes through kill() with a timeout of its own', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const outer = Timeout.startNew(1);
  muted(() => t.throws(() => stubborn.kill(undefined, 60_000), { is: outer }));
  gate.open();
  stubborn.join();
});

virtualTest('an outer timeout goes through killAll() with a timeout of its own', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const outer = Timeout.startNew(1);
  muted(() => t.throws(() => killAll([stubborn], { timeout: 60_000 }), { is: outer }));
  gate.open();
  stubborn.join();
});

// A Timeout is good wherever a time is

virtualTest('join() returns when the timeout it was given ends', (t) => {
  const greenlet = parked();
  t.notThrows(() => greenlet.join(new Timeout(1)));
  t.false(greenlet.ready);
  greenlet.kill();
});

virtualTest('get() with a timeout in its options throws that one', (t) => {
  const greenlet = parked();
  const timeout = new Timeout(1);
  t.throws(() => greenlet.get({ timeout }), { is: timeout });
  greenlet.kill();
});

virtualTest('get() with a timeout that has an error of its own throws that error', (t) => {
  const greenlet = parked();
  const error = new Overdue('late');
  t.throws(() => greenlet.get(new Timeout(1, error)), { is: error });
  greenlet.kill();
});

virtualTest('kill() returns when the timeout it was given ends', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  t.notThrows(() => stubborn.kill(undefined, new Timeout(5)));
  t.false(stubborn.dead);
  gate.open();
  stubborn.join();
});

virtualTest('joinAll() returns when the timeout it was given ends', (t) => {
  const greenlet = parked();
  t.deepEqual(joinAll([greenlet], { timeout: new Timeout(1) }), []);
  greenlet.kill();
});

virtualTest('wait() returns when the timeout it was given ends', (t) => {
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
