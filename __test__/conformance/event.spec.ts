/** What gevent documents of `gevent.event`, one test for each behaviour. */
import test from 'ava';
import {
  getCurrent,
  getHub,
  GreenletExit,
  idle,
  joinAll,
  run,
  sleep,
  spawn,
  Timeout,
  wait,
  withTimeout,
} from 'greenstack';
import { AsyncResult, Event } from 'greenstack/event';
import { parkForLong, thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';
import { muted } from '../support/stderr.js';

// Event

hubTest('gevent.event.Event: the internal flag is initially false', (t) => {
  t.false(new Event().isSet());
});

hubTest('gevent.event.Event.set: sets the internal flag to true', (t) => {
  const event = new Event();
  event.set();
  t.true(event.isSet());
  t.true(event.ready);
});

hubTest('gevent.event.Event.set: all greenlets that wait are awakened', (t) => {
  const event = new Event();
  const waiters = Array.from({ length: 100 }, () => spawn(() => event.wait()));
  idle();
  event.set();
  joinAll(waiters);
  t.true(waiters.every(({ value }) => value === true));
});

hubTest('gevent.event.Event.set: waiting greenlets are awakened in the order in which they waited', (t) => {
  const event = new Event();
  const order: number[] = [];
  const waiters = [1, 2, 3].map((id) =>
    spawn(() => {
      event.wait();
      order.push(id);
    }),
  );
  idle();
  event.set();
  joinAll(waiters);
  t.deepEqual(order, [1, 2, 3]);
});

for (const count of [1, 100, 1000]) {
  hubTest(`gevent.event.Event.clear: set() and clear() without yielding wake ${count} who waited`, (t) => {
    const event = new Event();
    const waiters = Array.from({ length: count }, () => spawn(() => event.wait()));
    idle();
    event.set();
    event.clear();
    joinAll(waiters);
    t.true(waiters.every(({ value }) => value === true));
    t.false(event.isSet());
  });
}

hubTest('gevent.event.Event.clear: subsequent waits block until set() is called again', (t) => {
  const event = new Event();
  event.set();
  event.clear();
  const waiter = spawn(() => event.wait());
  idle();
  t.false(waiter.ready);
  event.set();
  t.true(waiter.get());
});

hubTest('gevent.event.Event.wait: returns immediately if the flag is true', (t) => {
  const event = new Event();
  event.set();
  const before = getHub().stats().switches;
  t.true(event.wait());
  t.is(getHub().stats().switches, before);
});

hubTest(
  'gevent.event.Event.wait: returns true if the flag was set while it waited, whatever it is now',
  (t) => {
    const event = new Event();
    const waiter = spawn(() => event.wait(60_000));
    idle();
    event.set();
    event.clear();
    t.true(waiter.get());
  },
);

hubTest('gevent.event.Event.wait: returns false if the timeout elapses', (t) => {
  t.false(new Event().wait(1));
});

hubTest('gevent.event.Event.wait: lets the Timeout of somebody else through', (t) => {
  const event = new Event();
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => event.wait(60_000)),
    outer,
  );
});

hubTest(
  'gevent.event.Event.wait: a caller that finds the event set runs after those who were blocked',
  (t) => {
    const event = new Event();
    const results: number[] = [];
    const waitThenAppend = (id: number): void => {
      event.wait();
      results.push(id);
    };
    spawn(waitThenAppend, 1);
    spawn(waitThenAppend, 2);
    idle();
    t.is(event.linkCount, 2);
    event.set();
    waitThenAppend(3);
    t.deepEqual(results, [1, 2, 3]);
  },
);

hubTest('gevent.event.Event.ready: is the internal flag', (t) => {
  const event = new Event();
  t.false(event.ready);
  event.set();
  t.true(event.ready);
});

hubTest('gevent.event.Event.rawlink: the callback is called in the hub with the event', (t) => {
  const event = new Event();
  const calls: unknown[] = [];
  event.rawlink((source) => calls.push(source, getCurrent()));
  event.set();
  idle();
  t.deepEqual(calls, [event, null]);
});

hubTest('gevent.event.Event.rawlink: the callback is unlinked before it is called', (t) => {
  const event = new Event();
  let count: number | undefined;
  event.rawlink(() => (count = event.linkCount));
  event.set();
  idle();
  t.is(count, 0);
});

hubTest('gevent.event.Event.rawlink: is called also if the event is ready already', (t) => {
  const event = new Event();
  event.set();
  let calls = 0;
  event.rawlink(() => calls++);
  idle();
  t.is(calls, 1);
});

hubTest('gevent.event.Event.rawlink: duplicates are merged', (t) => {
  const event = new Event();
  let calls = 0;
  const callback = (): number => calls++;
  event.rawlink(callback);
  event.rawlink(callback);
  event.set();
  idle();
  t.is(calls, 1);
});

hubTest('gevent.event.Event.rawlink: an error is handled, and the other links are called', (t) => {
  const event = new Event();
  let calls = 0;
  event.rawlink(() => {
    throw new Error('on purpose');
  });
  event.rawlink(() => calls++);
  muted(() => {
    event.set();
    idle();
  });
  t.is(calls, 1);
});

hubTest(
  'gevent.event.Event.rawlink: links that are added while others are notified wait for the next time',
  (t) => {
    const event = new Event();
    let calls = 0;
    event.rawlink(() => {
      event.clear();
      event.rawlink(() => calls++);
    });
    event.set();
    idle();
    t.is(calls, 0);
    event.set();
    idle();
    t.is(calls, 1);
  },
);

hubTest('gevent.event.Event.rawlink: what cannot be called is a TypeError', (t) => {
  t.throws(() => new Event().rawlink(null as never), { instanceOf: TypeError });
});

hubTest('gevent.event.Event.unlink: removes the callback', (t) => {
  const event = new Event();
  let calls = 0;
  const callback = (): number => calls++;
  event.rawlink(callback);
  event.unlink(callback);
  event.set();
  idle();
  t.is(calls, 0);
});

hubTest('gevent.event.Event.unlink: an unknown callback is no error', (t) => {
  t.notThrows(() => new Event().unlink(() => {}));
});

hubTest('gevent.event.Event.linkcount: counts greenlets and callbacks', (t) => {
  const event = new Event();
  event.rawlink(() => {});
  const waiter = spawn(() => event.wait());
  idle();
  t.is(event.linkCount, 2);
  event.set();
  t.is(event.linkCount, 0);
  waiter.join();
});

hubTest('gevent.event.Event.__str__: shows the flag and the links', (t) => {
  const event = new Event();
  event.rawlink(() => {});
  t.is(String(event), '<Event clear, 1 waiting>');
  event.set();
  t.is(String(event), '<Event set>');
  idle();
});

hubTest('gevent.wait: an event that is set can be waited for twice', (t) => {
  const event = new Event();
  event.set();
  t.deepEqual(wait([event]), [event]);
  t.deepEqual(wait([event]), [event]);
});

hubTest('gevent.wait: an event that was cleared after it woke somebody is not ready again', (t) => {
  const event = new Event();
  const waiter = spawn(() => {
    spawn(() => event.set());
    const woken = event.wait();
    event.clear();
    return [woken, wait([event], { timeout: 1 }).length];
  });
  t.deepEqual(waiter.get(), [true, 0]);
});

// AsyncResult

hubTest('gevent.event.AsyncResult: is not ready before it is set', (t) => {
  const result = new AsyncResult();
  t.false(result.ready);
  t.false(result.successful);
  t.is(result.value, undefined);
  t.is(result.error, undefined);
});

hubTest('gevent.event.AsyncResult.set: stores the value and wakes up any waiters', (t) => {
  const result = new AsyncResult<number>();
  const waiters = [spawn(() => result.get()), spawn(() => result.wait())];
  idle();
  result.set(100);
  t.deepEqual(
    waiters.map((waiter) => waiter.get()),
    [100, 100],
  );
  t.is(result.get(), 100);
});

hubTest('gevent.event.AsyncResult.set: without a value it stores none, and is ready', (t) => {
  const result = new AsyncResult<void>();
  result.set();
  t.true(result.ready);
  t.is(result.get(), undefined);
});

hubTest('gevent.event.AsyncResult.set: a second one overwrites', (t) => {
  const result = new AsyncResult<number>();
  result.set(1);
  result.set(2);
  t.is(result.get(), 2);
});

hubTest('gevent.event.AsyncResult.set_exception: stores the error and wakes up any waiters', (t) => {
  const result = new AsyncResult();
  const error = new Error('failure');
  const waiter = spawn(() => thrownBy(() => result.get()));
  idle();
  result.setError(error);
  t.is(waiter.get(), error);
  t.is(result.error, error);
  t.true(result.ready);
  t.false(result.successful);
});

hubTest('gevent.event.AsyncResult.get: returns the stored value immediately', (t) => {
  const result = new AsyncResult<number>();
  result.set(100);
  const before = getHub().stats().switches;
  t.is(result.get(), 100);
  t.is(getHub().stats().switches, before);
});

hubTest('gevent.event.AsyncResult.get: raises the stored error, each time', (t) => {
  const result = new AsyncResult();
  const error = new RangeError('failure');
  result.setError(error);
  for (let round = 0; round < 3; round++) {
    t.is(
      thrownBy(() => result.get()),
      error,
    );
  }
});

hubTest('gevent.event.AsyncResult.get: raises Timeout if the timeout elapses', (t) => {
  t.throws(() => new AsyncResult().get(1), { instanceOf: Timeout });
});

hubTest('gevent.event.AsyncResult.get: raises Timeout immediately if it must not block', (t) => {
  const before = getHub().stats().switches;
  t.throws(() => new AsyncResult().get({ block: false }), { instanceOf: Timeout });
  t.is(getHub().stats().switches, before);
});

hubTest('gevent.event.AsyncResult.get: the error of an outer Timeout is raised', (t) => {
  const result = new AsyncResult();
  const error = new Error('interrupted');
  using _timeout = Timeout.startNew(0, error);
  t.is(
    thrownBy(() => result.get()),
    error,
  );
});

hubTest('gevent.event.AsyncResult.get: with_timeout gives its value if nobody sets the result', (t) => {
  const result = new AsyncResult();
  t.is(
    withTimeout(1, () => result.get(), { timeoutValue: 'nobody' }),
    'nobody',
  );
});

hubTest('gevent.event.AsyncResult.get_nowait: raises Timeout if it is not ready', (t) => {
  const result = new AsyncResult<number>();
  t.throws(() => result.getNowait(), { instanceOf: Timeout });
  result.set(100);
  t.is(result.getNowait(), 100);
});

hubTest('gevent.event.AsyncResult.wait: returns the value', (t) => {
  const result = new AsyncResult<number>();
  const waiter = spawn(() => result.wait());
  idle();
  result.set(100);
  t.is(waiter.get(), 100);
  t.is(result.wait(), 100);
});

hubTest('gevent.event.AsyncResult.wait: returns None for an error', (t) => {
  const result = new AsyncResult();
  result.setError(new Error('failure'));
  t.is(result.wait(), undefined);
});

hubTest('gevent.event.AsyncResult.wait: returns None if the timeout elapses', (t) => {
  t.is(new AsyncResult().wait(1), undefined);
});

hubTest('gevent.event.AsyncResult.wait: lets the Timeout of somebody else through', (t) => {
  const result = new AsyncResult();
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => result.wait(60_000)),
    outer,
  );
});

hubTest('gevent.event.AsyncResult.value: holds the value, else None', (t) => {
  const result = new AsyncResult<number>();
  t.is(result.value, undefined);
  result.set(100);
  t.is(result.value, 100);
});

hubTest('gevent.event.AsyncResult.exception: holds the error, else None', (t) => {
  const result = new AsyncResult();
  t.is(result.error, undefined);
  const error = new Error('failure');
  result.setError(error);
  t.is(result.error, error);
});

hubTest('gevent.event.AsyncResult.successful: only if it holds a value', (t) => {
  const [valued, failed] = [new AsyncResult(), new AsyncResult()];
  valued.set(1);
  failed.setError(new Error('failure'));
  t.true(valued.successful);
  t.false(failed.successful);
});

hubTest('gevent.event.AsyncResult.__call__: takes the value of the greenlet that it is linked to', (t) => {
  const greenlet = spawn(() => 1);
  const [any, value, exception] = [
    new AsyncResult<number>(),
    new AsyncResult<number>(),
    new AsyncResult<number>(),
  ];
  greenlet.link(any);
  greenlet.linkValue(value);
  greenlet.linkException(exception);
  t.is(any.get(), 1);
  t.is(value.get(), 1);
  t.throws(() => exception.get(1), { instanceOf: Timeout });
});

hubTest('gevent.event.AsyncResult.__call__: takes the error of the greenlet that it is linked to', (t) => {
  const error = new Error('failure');
  const [any, value, exception] = [
    new AsyncResult<never>(),
    new AsyncResult<never>(),
    new AsyncResult<never>(),
  ];
  muted(() => {
    const greenlet = spawn(() => {
      throw error;
    });
    greenlet.link(any);
    greenlet.linkValue(value);
    greenlet.linkException(exception);
    greenlet.join();
  });
  t.is(
    thrownBy(() => any.get()),
    error,
  );
  t.is(
    thrownBy(() => exception.get()),
    error,
  );
  t.throws(() => value.get(1), { instanceOf: Timeout });
});

hubTest('gevent.event.AsyncResult.__call__: the GreenletExit of a killed greenlet is a value', (t) => {
  const greenlet = spawn(parkForLong);
  const result = new AsyncResult<void>();
  greenlet.link(result);
  idle();
  greenlet.kill();
  t.true((result.get() as unknown) instanceof GreenletExit);
});

hubTest('gevent.event.AsyncResult.result: is get, with a timeout', (t) => {
  const result = new AsyncResult<number>();
  t.throws(() => result.result(1), { instanceOf: Timeout });
  result.set(100);
  t.is(result.result(), 100);
});

hubTest('gevent.event.AsyncResult.set_result: is set', (t) => {
  const result = new AsyncResult<number>();
  result.setResult(100);
  t.is(result.get(), 100);
});

hubTest('gevent.event.AsyncResult.done: is ready', (t) => {
  const result = new AsyncResult();
  t.false(result.done);
  result.set();
  t.true(result.done);
});

hubTest('gevent.event.AsyncResult.cancel: is false for a result that is done', (t) => {
  const result = new AsyncResult();
  result.set();
  t.false(result.cancel());
});

hubTest('gevent.event.AsyncResult.cancelled: is false unless it was cancelled', (t) => {
  const result = new AsyncResult();
  t.false(result.cancelled);
  result.set();
  t.false(result.cancelled);
});

hubTest('gevent.event.AsyncResult.rawlink: what cannot be called is a TypeError, unlinking it none', (t) => {
  const result = new AsyncResult();
  t.throws(() => result.rawlink(null as never), { instanceOf: TypeError });
  t.notThrows(() => result.unlink(null as never));
  t.notThrows(() => result.unlink(null as never));
});

hubTest('gevent.event.AsyncResult.rawlink: the callback is called in the hub with the result', (t) => {
  const result = new AsyncResult();
  const calls: unknown[] = [];
  result.rawlink((source) => calls.push(source === result, getCurrent()));
  result.set();
  idle();
  t.deepEqual(calls, [true, null]);
});

for (const timeout of [undefined, 60_000]) {
  hubTest(`gevent.wait: events and results, with ${timeout === undefined ? 'no' : 'a'} timeout`, (t) => {
    const events = [new Event(), new Event(), new Event()];
    const results = [new AsyncResult(), new AsyncResult(), new AsyncResult()];
    const sender = spawn(() => {
      for (const [index, event] of events.entries()) {
        sleep(0);
        event.set();
        sleep(0);
        results[index]!.set();
      }
    });
    const ready = wait<Event | AsyncResult>(
      [...events, ...results],
      timeout === undefined ? {} : { timeout },
    );
    const expected = events.flatMap((event, index) => [event, results[index]!]);
    t.is(ready.length, 6);
    t.true(ready.every((object, index) => object === expected[index]));
    t.true(sender.ready);
  });
}

for (const count of [1, 2]) {
  hubTest(`gevent.wait: events and results, until ${count} are ready`, (t) => {
    const objects = [new Event(), new AsyncResult(), new Event()] as const;
    const sender = spawn(() => {
      for (const object of objects) {
        sleep(0);
        object.set();
      }
    });
    const ready = wait<Event | AsyncResult>(objects, { count });
    t.is(ready.length, count);
    t.true(ready.every((object, index) => object === objects[index]));
    sender.join();
  });
}

test.serial('gevent.event.AsyncResult: can be used before any greenlet runs', async (t) => {
  const [event, result] = [new Event(), new AsyncResult<number>()];
  event.set();
  result.set(100);
  t.is(await run(() => (event.wait() ? result.get() : 0)), 100);
});
