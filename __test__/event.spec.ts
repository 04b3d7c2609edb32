import test from 'ava';
import {
  BlockingSwitchOutError,
  getCurrent,
  getHub,
  Greenlet,
  GreenletExit,
  GreenstackError,
  idle,
  joinAll,
  run,
  shield,
  sleep,
  spawn,
  Timeout,
  wait,
  waitFor,
} from 'greenstack';
import { AsyncResult, Cancelled, Event } from 'greenstack/event';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { Gate, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { settle } from './support/residue.js';
import { muted } from './support/stderr.js';

/** A greenlet that is parked in `event.wait()`, and ends with what that returned. */
function waiterOf(event: Event, limits?: Parameters<Event['wait']>[0]): Greenlet<boolean> {
  const greenlet = spawn(() => event.wait(limits));
  idle();
  return greenlet;
}

function getterOf<T>(result: AsyncResult<T>): Greenlet<T> {
  const greenlet = spawn(() => result.get());
  idle();
  return greenlet;
}

/** What the hub is given to report while `body` runs and until all is quiet. */
function reportsOf(body: () => void): unknown[] {
  const hub = getHub();
  const { handleError } = hub;
  const reports: unknown[] = [];
  hub.handleError = (_context, error) => reports.push(error);
  try {
    body();
    idle();
  } finally {
    hub.handleError = handleError;
  }
  return reports;
}

function switches(): number {
  return getHub().stats().switches;
}

/** Calls `fn` in the hub, and returns what it returned. */
function inHub<T>(fn: () => T): T {
  return waitFor(new Promise<T>((resolve, reject) => setImmediate(() => asPromised(fn, resolve, reject))));
}

function asPromised<T>(fn: () => T, resolve: (value: T) => void, reject: (error: unknown) => void): void {
  try {
    resolve(fn());
  } catch (error) {
    reject(error);
  }
}

// Event: the flag

hubTest('a new event is not set', (t) => {
  const event = new Event();
  t.false(event.isSet());
  t.false(event.ready);
  t.is(event.linkCount, 0);
});

hubTest('set() and clear() change the flag, any number of times', (t) => {
  const event = new Event();
  event.set();
  event.set();
  t.true(event.isSet());
  t.true(event.ready);
  event.clear();
  event.clear();
  t.false(event.isSet());
  t.false(event.ready);
});

hubTest('an event shows its flag and how many wait', (t) => {
  const event = new Event();
  t.is(inspect(event), '<Event clear>');
  const waiter = waiterOf(event);
  t.is(String(event), '<Event clear, 1 waiting>');
  event.set();
  t.is(inspect(event), '<Event set>');
  waiter.join();
});

// Event: waiting

hubTest('wait() returns true at once if the event is set', (t) => {
  const event = new Event();
  event.set();
  const before = switches();
  t.true(event.wait());
  t.true(event.wait(0));
  t.true(event.wait({ block: false }));
  t.true(event.wait({ signal: AbortSignal.abort() }));
  t.is(switches(), before);
});

hubTest('wait() waits until the event is set', (t) => {
  const event = new Event();
  const waiter = waiterOf(event);
  t.false(waiter.ready);
  t.is(event.linkCount, 1);
  event.set();
  t.is(event.linkCount, 0);
  t.true(waiter.get());
});

hubTest('set() wakes all who wait, in the order in which they came', (t) => {
  const event = new Event();
  const order: number[] = [];
  const waiters = [1, 2, 3].map((id) =>
    spawn(() => {
      event.wait();
      order.push(id);
    }),
  );
  idle();
  t.is(event.linkCount, 3);
  event.set();
  t.deepEqual(order, []);
  joinAll(waiters);
  t.deepEqual(order, [1, 2, 3]);
});

hubTest('set() works in plain callbacks', (t) => {
  const event = new Event();
  setImmediate(() => event.set());
  t.true(event.wait());
});

hubTest(
  'an event that is set and cleared at once wakes those who waited, and their wait returns true',
  (t) => {
    const event = new Event();
    const waiter = waiterOf(event);
    const limited = waiterOf(event, 60_000);
    event.set();
    event.clear();
    const late = spawn(() => event.wait(0));
    t.true(waiter.get());
    t.true(limited.get());
    t.false(late.get());
  },
);

hubTest('a greenlet can wait for the next time within the turn in which it was woken', (t) => {
  const event = new Event();
  let rounds = 0;
  const greenlet = spawn(() => {
    for (; rounds < 3; rounds++) event.wait();
  });
  idle();
  for (const round of [1, 2, 3]) {
    event.set();
    event.clear();
    idle();
    t.is(rounds, round);
  }
  t.true(greenlet.ready);
});

hubTest('who finds the event set goes on after those who were woken by that', (t) => {
  const event = new Event();
  const order: number[] = [];
  const enter = (id: number): void => {
    event.wait();
    order.push(id);
  };
  spawn(enter, 1);
  spawn(enter, 2);
  idle();
  event.set();
  enter(3);
  t.deepEqual(order, [1, 2, 3]);
  const before = switches();
  event.wait();
  t.is(switches(), before);
});

hubTest('where no greenlet can be left, a set event does not wait for those who were woken', (t) => {
  const event = new Event();
  const waiter = waiterOf(event);
  event.set();
  const look = (): boolean => event.wait();
  t.true(runInNewContext('look()', { look }, { timeout: 60_000 }));
  t.false(waiter.ready);
  t.true(waiter.get());
});

hubTest('ten thousand who wait are all woken, once', (t) => {
  const event = new Event();
  let woken = 0;
  const waiters = Array.from({ length: 10_000 }, () =>
    spawn(() => {
      event.wait();
      woken++;
    }),
  );
  idle();
  t.is(event.linkCount, 10_000);
  event.set();
  joinAll(waiters);
  t.is(woken, 10_000);
});

// Event: limits, kills, timeouts

hubTest('wait() returns false when its own time has passed, and leaves nothing', (t) => {
  const event = new Event();
  t.false(event.wait(1));
  t.false(event.wait({ timeout: 1 }));
  t.is(event.linkCount, 0);
});

hubTest('wait() that allows no waiting returns false without switching', (t) => {
  const event = new Event();
  const before = switches();
  t.false(event.wait(0));
  t.false(event.wait(-1));
  t.false(event.wait({ block: false }));
  t.is(switches(), before);
  t.is(event.linkCount, 0);
});

hubTest('a Timeout as the limit of wait() counts as its own time', (t) => {
  const event = new Event();
  t.false(event.wait(new Timeout(1)));
  t.is(event.linkCount, 0);
});

hubTest('a Timeout with an error of its own as the limit of wait() throws that', (t) => {
  const event = new Event();
  const error = new Error('too late');
  t.is(
    thrownBy(() => event.wait(new Timeout(1, error))),
    error,
  );
  t.is(event.linkCount, 0);
});

hubTest('a Timeout with an error of its own throws that also where no waiting is allowed', (t) => {
  const error = new Error('too late');
  for (const limits of [new Timeout(0, error), { timeout: new Timeout(1000, error), block: false }]) {
    for (const call of [
      () => new Event().wait(limits),
      () => new AsyncResult().wait(limits),
      () => new AsyncResult().get(limits),
    ])
      t.is(thrownBy(call), error);
  }
  t.false(new Event().wait(new Timeout(0)));
  t.is(new AsyncResult().wait(new Timeout(0)), undefined);
});

hubTest('an aborted signal ends a wait() that was called within a shield', (t) => {
  const event = new Event();
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error('never mind');
  const waiter = spawn(() => shield(() => thrownBy(() => event.wait({ signal }))));
  idle();
  controller.abort(reason);
  idle();
  t.is(waiter.value, reason);
  t.is(event.linkCount, 0);
});

hubTest('an outer Timeout goes through wait(), and leaves nothing', (t) => {
  const event = new Event();
  using timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => event.wait(60_000)),
    timeout,
  );
  t.is(event.linkCount, 0);
});

hubTest('an aborted signal ends wait() with its reason', (t) => {
  const event = new Event();
  const reason = new Error('never mind');
  const controller = new AbortController();
  const waiter = spawn(() => thrownBy(() => event.wait({ signal: controller.signal })));
  idle();
  controller.abort(reason);
  t.is(waiter.get(), reason);
  t.is(event.linkCount, 0);
});

hubTest('a signal that is aborted already ends wait() before it waits', (t) => {
  const event = new Event();
  const reason = new Error('never mind');
  t.is(
    thrownBy(() => event.wait({ signal: AbortSignal.abort(reason) })),
    reason,
  );
  t.is(event.linkCount, 0);
});

hubTest('a killed greenlet leaves wait() at once', (t) => {
  const event = new Event();
  const waiter = waiterOf(event);
  const other = waiterOf(event);
  waiter.kill(undefined, { block: false });
  t.is(event.linkCount, 1);
  event.set();
  t.true(other.get());
  t.true((waiter.get() as unknown) instanceof GreenletExit);
});

hubTest('a kill before set() ends the wait, one after it comes at the next park', (t) => {
  const event = new Event();
  const body = (): string => {
    let passed = 'killed in wait()';
    try {
      event.wait();
      passed = 'passed';
      parkForLong();
    } catch (error) {
      return `${passed}, ${(error as Error).name}`;
    }
    return passed;
  };
  const early = spawn(body);
  const late = spawn(body);
  idle();
  early.kill(undefined, { block: false });
  event.set();
  late.kill(undefined, { block: false });
  t.is(early.get(), 'killed in wait(), GreenletExit');
  t.is(late.get(), 'passed, GreenletExit');
});

virtualTest('set() after the end of the time, but before the greenlet goes on, is in time', (t) => {
  const event = new Event();
  const setter = spawn(() => {
    sleep(1);
    event.set();
  });
  const waiter = waiterOf(event, 1);
  t.true(waiter.get());
  t.true(setter.ready);
});

virtualTest('the end of the time before set() is final', (t) => {
  const event = new Event();
  const waiter = waiterOf(event, 1);
  const setter = spawn(() => {
    sleep(1);
    event.set();
  });
  t.false(waiter.get());
  setter.join();
  t.true(event.isSet());
});

hubTest('a shield keeps kills from wait()', (t) => {
  const event = new Event();
  let passed = false;
  const waiter = spawn(() => {
    shield(() => event.wait());
    passed = true;
    parkForLong();
  });
  idle();
  waiter.kill(undefined, { block: false });
  idle();
  t.is(event.linkCount, 1);
  event.set();
  waiter.join();
  t.true(passed);
  t.true((waiter.value as unknown) instanceof GreenletExit);
});

// Event: outside greenlets, bad input

hubTest('outside greenlets wait() only looks, or is refused', (t) => {
  const event = new Event();
  t.false(inHub(() => event.wait(0)));
  t.false(inHub(() => event.wait({ block: false })));
  const error = inHub(() => thrownBy(() => event.wait()));
  t.true(error instanceof BlockingSwitchOutError);
  t.regex((error as Error).message, /Event\.wait\(\)/);
  t.true(inHub(() => thrownBy(() => event.wait(10))) instanceof BlockingSwitchOutError);
  t.is(event.linkCount, 0);
  event.set();
  t.true(inHub(() => event.wait()));
});

for (const [limits, message] of [
  ['soon', /Event\.wait\(\).*string soon/],
  [Number.NaN, /Event\.wait\(\).*NaN/],
  [{ block: 1 }, /Event\.wait\(\): block.*1/],
  [{ signal: {} }, /Event\.wait\(\): signal/],
] as const) {
  hubTest(`wait() refuses ${inspect(limits)}, set or not`, (t) => {
    const event = new Event();
    t.throws(() => event.wait(limits as never), { instanceOf: TypeError, message });
    event.set();
    t.throws(() => event.wait(limits as never), { instanceOf: TypeError, message });
  });
}

// Event: links

hubTest('rawlink() calls back once, in the hub, with the event', (t) => {
  const event = new Event();
  const calls: unknown[] = [];
  event.rawlink((source) => calls.push(source, getCurrent()));
  t.is(event.linkCount, 1);
  idle();
  t.deepEqual(calls, []);
  event.set();
  t.deepEqual(calls, []);
  idle();
  t.deepEqual(calls, [event, null]);
  event.clear();
  event.set();
  idle();
  t.is(calls.length, 2);
});

hubTest('rawlink() to a set event calls back soon, not at once', (t) => {
  const event = new Event();
  event.set();
  let calls = 0;
  event.rawlink(() => calls++);
  t.is(calls, 0);
  idle();
  t.is(calls, 1);
});

hubTest('a link is called though the event was cleared at once', (t) => {
  const event = new Event();
  let calls = 0;
  event.rawlink(() => calls++);
  event.set();
  event.clear();
  idle();
  t.is(calls, 1);
});

hubTest('links and greenlets that wait have one order', (t) => {
  const event = new Event();
  const order: string[] = [];
  event.rawlink(() => order.push('first link'));
  const greenlet = spawn(() => {
    event.wait();
    order.push('greenlet');
  });
  idle();
  event.rawlink(() => order.push('second link'));
  event.set();
  greenlet.join();
  idle();
  t.deepEqual(order, ['first link', 'greenlet', 'second link']);
});

hubTest('the same callback linked twice is called once', (t) => {
  const event = new Event();
  let calls = 0;
  const callback = (): number => calls++;
  event.rawlink(callback);
  event.rawlink(callback);
  t.is(event.linkCount, 1);
  event.set();
  event.rawlink(callback);
  idle();
  t.is(calls, 1);
});

hubTest('a callback that links itself again is called for the next time', (t) => {
  const event = new Event();
  let calls = 0;
  const callback = (): void => {
    calls++;
    event.clear();
    event.rawlink(callback);
  };
  event.rawlink(callback);
  for (const round of [1, 2]) {
    event.set();
    idle();
    t.is(calls, round);
  }
  event.unlink(callback);
  t.is(event.linkCount, 0);
});

hubTest('unlink() takes a callback back, also when the event has been set', (t) => {
  const event = new Event();
  const calls: string[] = [];
  const before = (): void => void calls.push('before');
  const after = (): void => void calls.push('after');
  event.rawlink(before);
  event.rawlink(after);
  event.unlink(before);
  t.is(event.linkCount, 1);
  event.set();
  event.unlink(after);
  idle();
  t.deepEqual(calls, []);
});

hubTest('a callback that was taken back and linked again is called once', (t) => {
  const event = new Event();
  let calls = 0;
  const callback = (): number => calls++;
  event.rawlink(callback);
  event.set();
  event.unlink(callback);
  event.rawlink(callback);
  idle();
  t.is(calls, 1);
});

hubTest('unlink() of an unknown callback is no error', (t) => {
  const event = new Event();
  t.notThrows(() => event.unlink(() => {}));
  event.rawlink(() => {});
  t.notThrows(() => event.unlink(() => {}));
  t.is(event.linkCount, 1);
});

hubTest('a link that throws is reported under its own name, and the others are called', (t) => {
  const event = new Event();
  const calls: string[] = [];
  const error = new Error('on purpose');
  event.rawlink(() => calls.push('first'));
  event.rawlink(function failing() {
    throw error;
  });
  event.rawlink(() => calls.push('last'));
  const hub = getHub();
  const { handleError } = hub;
  const reports: unknown[][] = [];
  hub.handleError = (...report) => reports.push(report);
  try {
    event.set();
    idle();
  } finally {
    hub.handleError = handleError;
  }
  t.deepEqual(calls, ['first', 'last']);
  t.is(reports.length, 1);
  t.is((reports[0]![0] as { name: string }).name, 'failing');
  t.is(reports[0]![1], error);
});

hubTest('a link cannot park', (t) => {
  const event = new Event();
  const reports = reportsOf(() => {
    event.rawlink(() => sleep(1));
    event.set();
  });
  t.is(reports.length, 1);
  t.true(reports[0] instanceof BlockingSwitchOutError);
});

hubTest('rawlink() refuses what is no function', (t) => {
  const event = new Event();
  t.throws(() => event.rawlink(null as never), { instanceOf: TypeError, message: /rawlink\(\).*null/ });
  t.is(event.linkCount, 0);
});

hubTest('wait() of several takes events', (t) => {
  const events = [new Event(), new Event(), new Event()];
  events[2]!.set();
  const waiting = spawn(() => wait(events, { count: 2 }));
  idle();
  events[0]!.set();
  t.deepEqual(waiting.get(), [events[2], events[0]]);
  t.is(events[1]!.linkCount, 0);
});

// Event: promise()

test.serial('async code can await an event', async (t) => {
  const event = new Event();
  let passed = 0;
  const reactions = [1, 2].map(() => event.promise().then(() => passed++));
  await settle();
  t.is(passed, 0);
  event.set();
  event.clear();
  await Promise.all(reactions);
  t.is(passed, 2);
});

test.serial('promise() of a set event is fulfilled soon', async (t) => {
  const event = new Event();
  event.set();
  t.is(await event.promise(), undefined);
});

test.serial(
  'promise() gives the same promise until the event is set, so that asking leaves one link',
  async (t) => {
    const event = new Event();
    const promise = event.promise();
    for (let round = 0; round < 100; round++) t.is(event.promise(), promise);
    t.is(event.linkCount, 1);
    event.clear();
    t.is(event.promise(), promise);
    event.set();
    await promise;
    t.is(event.linkCount, 0);
  },
);

test.serial('promise() of a cleared event waits for the next time', async (t) => {
  const event = new Event();
  event.set();
  await event.promise();
  event.clear();
  let passed = false;
  const reaction = event.promise().then(() => (passed = true));
  await settle();
  t.false(passed);
  event.set();
  await reaction;
  t.true(passed);
});

hubTest('a greenlet can set what async code waits for, and the other way round', (t) => {
  const [asked, answered] = [new Event(), new Event()];
  const plain = (async () => {
    await asked.promise();
    answered.set();
    return 'done';
  })();
  asked.set();
  t.true(answered.wait());
  t.is(waitFor(plain), 'done');
});

// AsyncResult: setting and getting

hubTest('a new result has nothing', (t) => {
  const result = new AsyncResult();
  t.false(result.ready);
  t.false(result.done);
  t.false(result.successful);
  t.false(result.cancelled);
  t.is(result.value, undefined);
  t.is(result.error, undefined);
  t.is(result.linkCount, 0);
});

hubTest('get() returns the value that was set, as often as it is called', (t) => {
  const result = new AsyncResult<number>();
  result.set(5);
  const before = switches();
  t.is(result.get(), 5);
  t.is(result.get(1), 5);
  t.is(result.getNowait(), 5);
  t.is(result.result(), 5);
  t.is(result.wait(), 5);
  t.is(switches(), before);
  t.true(result.ready);
  t.true(result.done);
  t.true(result.successful);
  t.is(result.value, 5);
  t.is(result.error, undefined);
});

hubTest('a result can be set to nothing', (t) => {
  const result = new AsyncResult<void>();
  result.set();
  t.true(result.successful);
  t.is(result.get(), undefined);
});

hubTest('setResult() is set()', (t) => {
  const result = new AsyncResult<number>();
  result.setResult(5);
  t.is(result.get(), 5);
});

hubTest('get() throws the error that was set, the same object each time', (t) => {
  const result = new AsyncResult();
  const error = new Error('on purpose');
  result.setError(error);
  t.is(
    thrownBy(() => result.get()),
    error,
  );
  t.is(
    thrownBy(() => result.getNowait()),
    error,
  );
  t.is(result.wait(), undefined);
  t.true(result.ready);
  t.false(result.successful);
  t.is(result.value, undefined);
  t.is(result.error, error);
});

hubTest('anything can be set as an error', (t) => {
  const result = new AsyncResult();
  result.setError(undefined);
  t.true(result.ready);
  t.false(result.successful);
  t.is(
    thrownBy(() => result.get()),
    undefined,
  );
});

hubTest('get() and wait() wait for the value', (t) => {
  const result = new AsyncResult<string>();
  const getters = [getterOf(result), getterOf(result)];
  const waiter = spawn(() => result.wait());
  idle();
  t.is(result.linkCount, 3);
  result.set('value');
  t.is(result.linkCount, 0);
  t.deepEqual(
    [...getters, waiter].map((greenlet) => greenlet.get()),
    ['value', 'value', 'value'],
  );
});

hubTest('get() and wait() wait for the error', (t) => {
  const result = new AsyncResult();
  const error = new Error('on purpose');
  const getter = spawn(() => thrownBy(() => result.get()));
  const waiter = spawn(() => result.wait());
  idle();
  result.setError(error);
  t.is(getter.get(), error);
  t.is(waiter.get(), undefined);
});

hubTest('those who wait go on in the order in which they came', (t) => {
  const result = new AsyncResult();
  const order: number[] = [];
  const greenlets = [1, 2, 3].map((id) =>
    spawn(() => {
      result.get();
      order.push(id);
    }),
  );
  idle();
  result.set();
  joinAll(greenlets);
  t.deepEqual(order, [1, 2, 3]);
});

hubTest('what is set later replaces what was set before', (t) => {
  const result = new AsyncResult<number>();
  const error = new Error('on purpose');
  result.set(1);
  result.set(2);
  t.is(result.get(), 2);
  result.setError(error);
  t.false(result.successful);
  t.is(result.value, undefined);
  t.is(
    thrownBy(() => result.get()),
    error,
  );
  result.set(3);
  t.is(result.get(), 3);
  t.is(result.error, undefined);
});

hubTest('who was woken gets what is set by the time it goes on', (t) => {
  const result = new AsyncResult<number>();
  const getter = getterOf(result);
  result.set(1);
  result.set(2);
  t.is(getter.get(), 2);
});

hubTest('an error that nobody asks for is not reported', (t) => {
  const result = new AsyncResult();
  const reports = reportsOf(() => result.setError(new Error('on purpose')));
  t.deepEqual(reports, []);
});

hubTest('a result shows what it has', (t) => {
  const result = new AsyncResult<unknown>();
  t.is(inspect(result), '<AsyncResult unset>');
  const getter = getterOf(result);
  t.is(String(result), '<AsyncResult unset, 1 waiting>');
  result.set({ a: { b: 1 } });
  t.is(inspect(result), '<AsyncResult value { a: [Object] }>');
  getter.join();
  result.setError(new TypeError('wrong'));
  t.is(inspect([result]), '[ <AsyncResult error TypeError: wrong> ]');
  const cancelled = new AsyncResult();
  cancelled.cancel();
  t.is(inspect(cancelled), '<AsyncResult cancelled>');
});

hubTest('a result that has itself as its value can be shown', (t) => {
  const result = new AsyncResult();
  result.set(result);
  t.is(inspect(result), '<AsyncResult value <AsyncResult value [AsyncResult]>>');
  t.is(String(result), inspect(result));
});

// AsyncResult: limits, kills, timeouts

hubTest('get() throws a Timeout when its time has passed, and leaves nothing', (t) => {
  const result = new AsyncResult();
  const error = thrownBy(() => result.get(1));
  t.true(error instanceof Timeout);
  t.is((error as Timeout).ms, 1);
  t.true(thrownBy(() => result.result(1)) instanceof Timeout);
  t.is(result.linkCount, 0);
});

hubTest('get() that allows no waiting throws a Timeout without switching', (t) => {
  const result = new AsyncResult();
  const before = switches();
  t.true(thrownBy(() => result.get(0)) instanceof Timeout);
  t.true(thrownBy(() => result.get({ block: false })) instanceof Timeout);
  t.true(thrownBy(() => result.getNowait()) instanceof Timeout);
  t.is(switches(), before);
  t.is(result.linkCount, 0);
});

hubTest('wait() returns nothing when its time has passed', (t) => {
  const result = new AsyncResult();
  t.is(result.wait(1), undefined);
  t.is(result.wait(0), undefined);
  t.is(result.wait(new Timeout(1)), undefined);
  t.is(result.linkCount, 0);
});

hubTest('a Timeout as the limit of get() is what is thrown, or its own error', (t) => {
  const result = new AsyncResult();
  const timeout = new Timeout(1);
  const error = new Error('too late');
  t.is(
    thrownBy(() => result.get(timeout)),
    timeout,
  );
  t.is(
    thrownBy(() => result.get(new Timeout(1, error))),
    error,
  );
  t.is(result.linkCount, 0);
});

hubTest('an outer Timeout goes through get() and wait()', (t) => {
  const result = new AsyncResult();
  for (const call of [() => result.get(60_000), () => result.wait(60_000)]) {
    using timeout = Timeout.startNew(1);
    t.is(thrownBy(call), timeout);
    t.is(result.linkCount, 0);
  }
});

hubTest('an aborted signal ends get() with its reason', (t) => {
  const result = new AsyncResult();
  const reason = new Error('never mind');
  const controller = new AbortController();
  const getter = spawn(() => thrownBy(() => result.get({ signal: controller.signal })));
  idle();
  controller.abort(reason);
  t.is(getter.get(), reason);
  t.is(result.linkCount, 0);
});

hubTest('a killed greenlet leaves get() at once', (t) => {
  const result = new AsyncResult<number>();
  const killed = getterOf(result);
  const other = getterOf(result);
  killed.kill(undefined, { block: false });
  t.is(result.linkCount, 1);
  result.set(5);
  t.is(other.get(), 5);
  t.true((killed.get() as unknown) instanceof GreenletExit);
});

virtualTest('a value after the end of the time, but before the greenlet goes on, is in time', (t) => {
  const result = new AsyncResult<string>();
  spawn(() => {
    sleep(1);
    result.set('in time');
  });
  const getter = spawn(() => result.get(1));
  t.is(getter.get(), 'in time');
});

hubTest('outside greenlets a result can be set and looked at, not waited for', (t) => {
  const result = new AsyncResult<number>();
  t.true(inHub(() => thrownBy(() => result.get())) instanceof BlockingSwitchOutError);
  t.true(inHub(() => thrownBy(() => result.wait(5))) instanceof BlockingSwitchOutError);
  t.true(inHub(() => thrownBy(() => result.getNowait())) instanceof Timeout);
  t.is(
    inHub(() => result.wait(0)),
    undefined,
  );
  t.is(result.linkCount, 0);
  inHub(() => result.set(5));
  t.is(
    inHub(() => result.get()),
    5,
  );
});

hubTest('get() and wait() refuse wrong limits, ready or not', (t) => {
  const result = new AsyncResult();
  const wrong = { instanceOf: TypeError, message: /AsyncResult\.get\(\).*string soon/ };
  t.throws(() => result.get('soon' as never), wrong);
  t.throws(() => result.wait(Number.NaN), { instanceOf: TypeError, message: /AsyncResult\.wait\(\).*NaN/ });
  result.set();
  t.throws(() => result.get('soon' as never), wrong);
});

// AsyncResult: cancelling

hubTest('cancel() makes get() throw a coded error, and wakes all who wait', (t) => {
  const result = new AsyncResult();
  const reason = new Error('changed my mind');
  const getter = spawn(() => thrownBy(() => result.get()));
  const waiter = spawn(() => result.wait());
  idle();
  t.true(result.cancel(reason));
  const error = getter.get() as Cancelled;
  t.true(error instanceof Cancelled);
  t.true(error instanceof GreenstackError);
  t.is(error.code, 'ERR_GREENSTACK_CANCELLED');
  t.is(error.name, 'Cancelled');
  t.is(error.message, 'the result was cancelled');
  t.is(error.cause, reason);
  t.is(waiter.get(), undefined);
  t.true(result.cancelled);
  t.true(result.ready);
  t.true(result.done);
  t.false(result.successful);
  t.is(result.error, error);
  t.is(
    thrownBy(() => result.getNowait()),
    error,
  );
});

hubTest('a text as the reason of cancel() is the message of the error', (t) => {
  const result = new AsyncResult();
  result.cancel('the user has gone');
  t.throws(() => result.get(), { instanceOf: Cancelled, message: 'the user has gone' });
});

hubTest('cancel() without a reason leaves the cause out', (t) => {
  const result = new AsyncResult();
  result.cancel();
  t.false('cause' in (result.error as Cancelled));
});

hubTest('cancel() of a result that has one changes nothing', (t) => {
  const result = new AsyncResult<number>();
  result.set(5);
  t.false(result.cancel());
  t.false(result.cancelled);
  t.is(result.get(), 5);
  const failed = new AsyncResult();
  failed.setError(new Error('on purpose'));
  t.false(failed.cancel());
  t.false(failed.cancelled);
});

hubTest('a cancelled result stays cancelled, whatever comes later', (t) => {
  const result = new AsyncResult<number>();
  t.true(result.cancel('first'));
  t.true(result.cancel('second'));
  result.set(5);
  result.setError(new Error('on purpose'));
  t.true(result.cancelled);
  t.throws(() => result.get(), { instanceOf: Cancelled, message: 'first' });
});

// AsyncResult: as a link target

hubTest('a result is a function, and an instance of its class', (t) => {
  const result = new AsyncResult();
  t.is(typeof result, 'function');
  t.true(result instanceof AsyncResult);
  t.is(Object.getPrototypeOf(result), AsyncResult.prototype);
});

hubTest('a subclass has its own methods and private fields', (t) => {
  class Counted extends AsyncResult<number> {
    label = 'mine';
    #sets = 0;

    override set(value?: number): void {
      this.#sets++;
      super.set(value);
    }

    get sets(): number {
      return this.#sets;
    }
  }
  const result = new Counted();
  result.set(1);
  result.set(2);
  t.true(result instanceof Counted);
  t.true(result instanceof AsyncResult);
  t.is(result.label, 'mine');
  t.is(result.sets, 2);
  t.is(result.get(), 2);
  t.is(inspect(result), '<Counted value 2>');
});

hubTest('each result is set by itself', (t) => {
  const results = [new AsyncResult<number>(), new AsyncResult<number>()];
  spawn(() => 1).link(results[0]!);
  spawn(() => 2).link(results[1]!);
  t.deepEqual(
    results.map((result) => result.get()),
    [1, 2],
  );
});

hubTest('a greenlet linked to a result gives it its value', (t) => {
  const greenlet = spawn(() => 5);
  const [any, value, exception, raw] = [1, 2, 3, 4].map(() => new AsyncResult<number>()) as [
    AsyncResult<number>,
    AsyncResult<number>,
    AsyncResult<number>,
    AsyncResult<number>,
  ];
  greenlet.link(any);
  greenlet.linkValue(value);
  greenlet.linkException(exception);
  greenlet.rawlink(raw);
  t.is(any.get(), 5);
  t.is(value.get(), 5);
  t.is(raw.get(), 5);
  idle();
  t.false(exception.ready);
});

hubTest('a greenlet linked to a result gives it its error', (t) => {
  const error = new Error('on purpose');
  const [any, value, exception, raw] = [1, 2, 3, 4].map(() => new AsyncResult<never>()) as [
    AsyncResult<never>,
    AsyncResult<never>,
    AsyncResult<never>,
    AsyncResult<never>,
  ];
  muted(() => {
    const greenlet = spawn(() => {
      throw error;
    });
    greenlet.link(any);
    greenlet.linkValue(value);
    greenlet.linkException(exception);
    greenlet.rawlink(raw);
    greenlet.join();
  });
  for (const result of [any, exception, raw]) {
    t.is(
      thrownBy(() => result.get()),
      error,
    );
  }
  t.false(value.ready);
});

hubTest('a killed greenlet gives its GreenletExit as the value', (t) => {
  const result = new AsyncResult<void>();
  const greenlet = spawn(parkForLong);
  greenlet.link(result);
  idle();
  greenlet.kill();
  t.true((result.get() as unknown) instanceof GreenletExit);
  t.true(result.successful);
});

hubTest('a greenlet that has ended already gives a result what it has', (t) => {
  const greenlet = spawn(() => 5);
  greenlet.join();
  const result = new AsyncResult<number>();
  greenlet.link(result);
  t.is(result.get(), 5);
});

hubTest('a result that was unlinked from a greenlet gets nothing', (t) => {
  const greenlet = spawn(() => 5);
  const result = new AsyncResult<number>();
  greenlet.link(result);
  greenlet.unlink(result);
  greenlet.join();
  idle();
  t.false(result.ready);
});

hubTest('a result can be linked to a result', (t) => {
  const [source, target] = [new AsyncResult<number>(), new AsyncResult<number>()];
  source.rawlink(target);
  source.set(5);
  t.is(target.get(), 5);
  const [failing, failed] = [new AsyncResult(), new AsyncResult()];
  const error = new Error('on purpose');
  failing.link(failed);
  failing.setError(error);
  t.is(
    thrownBy(() => failed.get()),
    error,
  );
});

hubTest('a result that is called with something else throws, and has nothing', (t) => {
  const result = new AsyncResult();
  const wrong = { instanceOf: TypeError, message: /AsyncResult.*greenlet/ };
  for (const source of [undefined, null, 5, {}, new Event()]) t.throws(() => result(source as never), wrong);
  t.false(result.ready);
});

hubTest('a result cannot be copied to another thread', (t) => {
  const error = thrownBy(() => structuredClone(new AsyncResult()));
  t.is((error as DOMException).name, 'DataCloneError');
});

// AsyncResult: its own links

hubTest('link(), linkValue() and linkException() call back in greenlets of their own', (t) => {
  const result = new AsyncResult<number>();
  const calls: unknown[] = [];
  const note = (kind: string) => (source: AsyncResult<number>) => {
    const self = getCurrent();
    sleep(0);
    calls.push(kind, source, self !== null && self === getCurrent());
  };
  result.link(note('any'));
  result.linkValue(note('value'));
  result.linkException(note('exception'));
  t.is(result.linkCount, 3);
  result.set(5);
  t.is(result.linkCount, 0);
  t.deepEqual(calls, []);
  idle();
  t.deepEqual(calls, ['any', result, true, 'value', result, true]);
});

hubTest('an error calls the links for any outcome and for errors', (t) => {
  const result = new AsyncResult();
  const calls: string[] = [];
  result.linkException(() => calls.push('exception'));
  result.linkValue(() => calls.push('value'));
  result.link(() => calls.push('any'));
  result.cancel();
  idle();
  t.deepEqual(calls, ['exception', 'any']);
});

hubTest('links to a result that has an outcome are called soon', (t) => {
  const result = new AsyncResult();
  result.set();
  const calls: string[] = [];
  result.link(() => calls.push('link'));
  result.linkValue(() => calls.push('linkValue'));
  result.linkException(() => calls.push('linkException'));
  result.rawlink(() => calls.push('rawlink'));
  t.deepEqual(calls, []);
  idle();
  t.deepEqual(calls, ['link', 'linkValue', 'rawlink']);
});

hubTest('links are called once, whatever is set later', (t) => {
  const result = new AsyncResult<number>();
  const values: unknown[] = [];
  result.rawlink((source) => values.push(source.value));
  result.link((source) => values.push(source.value));
  result.set(1);
  idle();
  result.set(2);
  idle();
  t.deepEqual(values, [1, 1]);
});

hubTest('one callback may be linked in several ways', (t) => {
  const result = new AsyncResult();
  let calls = 0;
  const callback = (): number => calls++;
  result.linkValue(callback);
  result.linkException(callback);
  result.setError(new Error('on purpose'));
  idle();
  t.is(calls, 1);
});

hubTest('unlink() takes a callback back however it was linked, and no other', (t) => {
  const result = new AsyncResult();
  const calls: string[] = [];
  const unwanted = (): void => void calls.push('unwanted');
  result.link(unwanted);
  result.link(() => calls.push('wanted'));
  result.linkValue(unwanted);
  result.rawlink(unwanted);
  t.is(result.linkCount, 4);
  result.unlink(unwanted);
  result.unlink(() => {});
  t.is(result.linkCount, 1);
  result.set();
  idle();
  t.deepEqual(calls, ['wanted']);
});

hubTest('a link that throws is reported, and the others are called', (t) => {
  const result = new AsyncResult();
  const error = new Error('on purpose');
  let calls = 0;
  const reports = reportsOf(() => {
    result.link(() => {
      throw error;
    });
    result.link(() => calls++);
    result.set();
  });
  t.deepEqual(reports, [error]);
  t.is(calls, 1);
});

for (const name of ['link', 'linkValue', 'linkException', 'rawlink'] as const) {
  hubTest(`${name}() of a result refuses what is no function`, (t) => {
    const result = new AsyncResult();
    t.throws(() => result[name](5 as never), {
      instanceOf: TypeError,
      message: `${name}() expects a function, got number`,
    });
    t.is(result.linkCount, 0);
  });
}

hubTest('wait() of several takes results', (t) => {
  const results = [new AsyncResult<number>(), new AsyncResult<number>()];
  results[1]!.set(1);
  const waiting = spawn(() => wait(results));
  idle();
  results[0]!.setError(new Error('on purpose'));
  t.deepEqual(
    waiting.get().map((result) => results.indexOf(result)),
    [1, 0],
  );
});

// AsyncResult: from async code

test.serial('async code can await a result', async (t) => {
  const result = new AsyncResult<string>();
  setImmediate(() => result.set('value'));
  t.is(await result, 'value');
  t.is(await result, 'value');
});

test.serial('awaiting a result throws its error', async (t) => {
  const result = new AsyncResult();
  const error = new Error('on purpose');
  setImmediate(() => result.setError(error));
  t.is(await t.throwsAsync(async () => await result), error);
  t.is(await t.throwsAsync(async () => await result), error);
});

test.serial('awaiting a result that is cancelled throws that', async (t) => {
  const result = new AsyncResult();
  setImmediate(() => result.cancel());
  await t.throwsAsync(async () => await result, { instanceOf: Cancelled });
});

test.serial('asking a result for its promise again and again leaves one link', async (t) => {
  const result = new AsyncResult<number>();
  const promises = Array.from({ length: 100 }, () => result.then((value) => value + 1));
  t.is(result.linkCount, 1);
  result.set(5);
  t.is(result.linkCount, 0);
  t.deepEqual(await Promise.all(promises), Array(100).fill(6));
});

test.serial('a promise of a result has what was set by then', async (t) => {
  const result = new AsyncResult<number>();
  const early = result.then();
  result.set(1);
  result.set(2);
  t.is(await early, 2);
  result.set(3);
  t.is(await result, 3);
});

test.serial('a value that is a promise is waited for', async (t) => {
  const result = new AsyncResult<Promise<number>>();
  result.set(Promise.resolve(5));
  t.is(await result, 5);
});

test.serial('a result that has itself as its value cannot be awaited', async (t) => {
  const result = new AsyncResult();
  result.set(result);
  await t.throwsAsync(async () => await result, { instanceOf: TypeError, message: /itself/ });
});

test.serial('a result set by a greenlet can be awaited', async (t) => {
  const result = new AsyncResult<number>();
  await run(() => {
    spawn(() => {
      sleep(1);
      return 5;
    }).link(result);
  });
  t.is(await result, 5);
});

hubTest('waitFor() takes a result', (t) => {
  const result = new AsyncResult<number>();
  const gate = new Gate();
  spawn(() => {
    gate.pass();
    result.set(5);
  });
  gate.open();
  t.is(waitFor(result), 5);
});
