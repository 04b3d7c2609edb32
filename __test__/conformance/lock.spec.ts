/** What gevent documents of `gevent.lock`, and Python of `threading.Condition`, one test for each behaviour. */
import { getCurrent, getHub, GreenstackError, idle, joinAll, sleep, spawn, Timeout, wait } from 'greenstack';
import { BoundedSemaphore, Condition, DummySemaphore, Lock, RLock, Semaphore } from 'greenstack/lock';
import { Gate, thrownBy } from '../support/greenlets.js';
import { hubTest } from '../support/hub-test.js';

function switches(): number {
  return getHub().stats().switches;
}

// Semaphore

hubTest('gevent.lock.Semaphore: the value defaults to 1', (t) => {
  t.is(new Semaphore().counter, 1);
});

hubTest('gevent.lock.Semaphore: a negative value is a ValueError', (t) => {
  t.throws(() => new Semaphore(-1), { instanceOf: RangeError });
});

hubTest('gevent.lock.Semaphore.acquire: takes a permit without blocking as long as there are some', (t) => {
  const semaphore = new Semaphore(2);
  const before = switches();
  t.true(semaphore.acquire());
  t.true(semaphore.acquire());
  t.is(semaphore.counter, 0);
  t.is(switches(), before);
});

hubTest('gevent.lock.Semaphore.acquire: blocks until it is released', (t) => {
  const semaphore = new Semaphore(0);
  const waiter = spawn(() => semaphore.acquire());
  idle();
  t.false(waiter.ready);
  semaphore.release();
  t.true(waiter.get());
  t.is(semaphore.counter, 0);
});

hubTest('gevent.lock.Semaphore.acquire: returns false if it must not block', (t) => {
  const semaphore = new Semaphore(0);
  const before = switches();
  t.false(semaphore.acquire({ block: false }));
  t.is(switches(), before);
});

hubTest('gevent.lock.Semaphore.acquire: returns false after the timeout', (t) => {
  t.false(new Semaphore(0).acquire(1));
});

hubTest('gevent.lock.Semaphore.acquire: lets the Timeout of somebody else through', (t) => {
  const semaphore = new Semaphore(0);
  const outer = Timeout.startNew(1);
  t.is(
    thrownBy(() => semaphore.acquire(60_000)),
    outer,
  );
  t.is(semaphore.linkCount, 0);
});

hubTest('gevent.lock.Semaphore.acquire: waiters are awakened in the order in which they waited', (t) => {
  const semaphore = new Semaphore(0);
  const order: number[] = [];
  const waiters = [1, 2, 3].map((id) =>
    spawn(() => {
      semaphore.acquire();
      order.push(id);
    }),
  );
  idle();
  for (let count = 0; count < 3; count++) semaphore.release();
  joinAll(waiters);
  t.deepEqual(order, [1, 2, 3]);
});

hubTest('gevent.lock.Semaphore.acquire: is fair, so nobody starves', (t) => {
  const semaphore = new Semaphore();
  let shouldQuit = false;
  function acquireThenSpawn(): void {
    if (shouldQuit) return;
    semaphore.acquire();
    spawn(releaseThenSpawn).join();
  }
  function releaseThenSpawn(): void {
    semaphore.release();
    if (!shouldQuit) spawn(acquireThenSpawn).join();
  }
  const [first, second] = [spawn(acquireThenSpawn), spawn(acquireThenSpawn)];
  const exiting = spawn(() => {
    semaphore.acquire();
    shouldQuit = true;
  });
  // Without fairness this would spin between the first two for ever.
  joinAll([second, exiting]);
  t.false(first.ready);
  semaphore.release();
  first.join();
});

hubTest('gevent.lock.Semaphore.release: can be called more often than acquire', (t) => {
  const semaphore = new Semaphore(1);
  semaphore.release();
  t.is(semaphore.counter, 2);
});

hubTest('gevent.lock.Semaphore.release: returns the counter', (t) => {
  const semaphore = new Semaphore(0);
  t.is(semaphore.release(), 1);
  t.is(semaphore.release(), 2);
});

hubTest('gevent.lock.Semaphore.release: any greenlet may call it', (t) => {
  const semaphore = new Semaphore();
  semaphore.acquire();
  spawn(() => semaphore.release()).get();
  t.is(semaphore.counter, 1);
});

hubTest('gevent.lock.Semaphore.wait: returns the counter without waiting or taking', (t) => {
  const semaphore = new Semaphore(2);
  t.is(semaphore.wait(), 2);
  t.is(semaphore.counter, 2);
});

hubTest('gevent.lock.Semaphore.wait: waits until a permit can be acquired', (t) => {
  const semaphore = new Semaphore(0);
  const waiter = spawn(() => semaphore.wait());
  idle();
  t.false(waiter.ready);
  semaphore.release();
  t.is(waiter.get(), 1);
});

hubTest('gevent.lock.Semaphore.wait: returns 0 after the timeout', (t) => {
  t.is(new Semaphore(0).wait(1), 0);
});

hubTest('gevent.lock.Semaphore.wait: may return 0 if another waiter has acquired it', (t) => {
  const semaphore = new Semaphore(0);
  const waiter = spawn(() => semaphore.wait());
  const acquirer = spawn(() => semaphore.acquire());
  idle();
  semaphore.release();
  t.is(waiter.get(), 0);
  t.true(acquirer.get());
});

hubTest('gevent.lock.Semaphore.locked: whether it cannot be acquired', (t) => {
  const semaphore = new Semaphore();
  t.false(semaphore.locked);
  t.true(semaphore.ready);
  semaphore.acquire();
  t.true(semaphore.locked);
  t.false(semaphore.ready);
});

hubTest('gevent.lock.Semaphore.rawlink: on one that is free the callback is called', (t) => {
  const semaphore = new Semaphore();
  t.deepEqual(wait([semaphore]), [semaphore]);
});

hubTest('gevent.lock.Semaphore.rawlink: callbacks of two releases are called', (t) => {
  const semaphore = new Semaphore();
  const result: string[] = [];
  semaphore.rawlink(() => result.push('a'));
  semaphore.release();
  semaphore.rawlink(() => result.push('b'));
  semaphore.release();
  idle();
  t.deepEqual(result, ['a', 'b']);
});

hubTest('gevent.lock.Semaphore.rawlink: the callback is called in the hub with the semaphore', (t) => {
  const semaphore = new Semaphore(0);
  const calls: unknown[] = [];
  semaphore.rawlink((source) => calls.push(source, getCurrent()));
  idle();
  t.deepEqual(calls, []);
  semaphore.release();
  idle();
  t.deepEqual(calls, [semaphore, null]);
});

hubTest('gevent.lock.Semaphore.unlink: removes the callback', (t) => {
  const semaphore = new Semaphore(0);
  let calls = 0;
  const callback = (): number => calls++;
  semaphore.rawlink(callback);
  semaphore.unlink(callback);
  semaphore.release();
  idle();
  t.is(calls, 0);
});

hubTest('gevent.lock.Semaphore.__enter__: is held for the block', (t) => {
  const semaphore = new Semaphore();
  {
    using _held = semaphore.hold();
    t.true(semaphore.locked);
  }
  t.false(semaphore.locked);
});

hubTest('gevent.lock.Semaphore.__str__: shows the counter and the links', (t) => {
  const semaphore = new Semaphore(0);
  semaphore.rawlink(() => {});
  t.is(String(semaphore), '<Semaphore 0 free, 1 waiting>');
});

// BoundedSemaphore, DummySemaphore

hubTest('gevent.lock.BoundedSemaphore.release: beyond the initial value is a ValueError', (t) => {
  const semaphore = new BoundedSemaphore();
  t.throws(() => semaphore.release(), { instanceOf: RangeError });
  semaphore.acquire();
  t.is(semaphore.release(), 1);
  t.throws(() => semaphore.release(), { instanceOf: RangeError });
});

hubTest('gevent.lock.BoundedSemaphore: the value defaults to 1', (t) => {
  t.is(new BoundedSemaphore().counter, 1);
});

hubTest('gevent.coros.Semaphore: a lock is a bounded semaphore of 1', (t) => {
  const lock = new Lock();
  t.true(lock instanceof BoundedSemaphore);
  t.is(lock.counter, 1);
});

hubTest('gevent.lock.DummySemaphore.acquire: is always true, and never blocks', (t) => {
  const semaphore = new DummySemaphore();
  const before = switches();
  for (let round = 0; round < 10; round++) t.true(semaphore.acquire());
  t.is(switches(), before);
});

hubTest('gevent.lock.DummySemaphore: accepts and ignores a value', (t) => {
  t.true(new DummySemaphore(0).acquire());
});

hubTest('gevent.lock.DummySemaphore.wait: is 1', (t) => {
  t.is(new DummySemaphore().wait(), 1);
});

hubTest('gevent.lock.DummySemaphore.locked: is never true', (t) => {
  const semaphore = new DummySemaphore();
  semaphore.acquire();
  t.false(semaphore.locked);
  t.true(semaphore.ready);
});

hubTest('gevent.lock.DummySemaphore.release: does nothing', (t) => {
  const semaphore = new DummySemaphore();
  t.notThrows(() => semaphore.release());
  t.notThrows(() => semaphore.release());
});

// RLock

hubTest('gevent.lock.RLock.acquire: the same greenlet may acquire it again', (t) => {
  const lock = new RLock();
  t.true(lock.acquire());
  t.true(lock.acquire());
  lock.release();
  t.true(lock.locked);
  lock.release();
  t.false(lock.locked);
});

hubTest('gevent.lock.RLock.acquire: other greenlets wait until it was released as often', (t) => {
  const lock = new RLock();
  lock.acquire();
  lock.acquire();
  const other = spawn(() => lock.with(() => true));
  idle();
  lock.release();
  idle();
  t.false(other.ready);
  lock.release();
  t.true(other.get());
});

hubTest('gevent.lock.RLock.acquire: returns false after the timeout, or if it must not block', (t) => {
  const lock = new RLock();
  const gate = new Gate();
  const holder = spawn(() => lock.with(() => gate.pass()));
  idle();
  t.false(lock.acquire(1));
  t.false(lock.acquire({ block: false }));
  gate.open();
  holder.join();
});

hubTest('gevent.lock.RLock.release: by another greenlet is a RuntimeError', (t) => {
  const lock = new RLock();
  lock.acquire();
  const error = spawn(() => thrownBy(() => lock.release())).get();
  t.true(error instanceof GreenstackError);
  t.true(lock.locked);
  lock.release();
});

hubTest('gevent.lock.RLock.release: of a free one is a RuntimeError', (t) => {
  t.throws(() => new RLock().release(), { instanceOf: GreenstackError });
});

hubTest('gevent.lock.RLock.locked: whether it is locked right now', (t) => {
  const lock = new RLock();
  t.false(lock.locked);
  lock.acquire();
  t.true(lock.locked);
  lock.release();
  t.false(lock.locked);
});

// Condition

hubTest('threading.Condition: makes an RLock if it is given none', (t) => {
  const condition = new Condition();
  condition.acquire();
  t.true(condition.acquire({ block: false }));
});

hubTest('threading.Condition.wait: without the lock is a RuntimeError', (t) => {
  t.throws(() => new Condition().wait(), { instanceOf: GreenstackError });
});

hubTest('threading.Condition.wait: releases the lock and re-acquires it', (t) => {
  const lock = new Lock();
  const condition = new Condition(lock);
  const waiter = spawn(() => condition.with(() => condition.wait() && lock.locked));
  idle();
  t.true(lock.acquire({ block: false }));
  condition.notify();
  lock.release();
  t.true(waiter.get());
  t.false(lock.locked);
});

hubTest('threading.Condition.wait: returns False after the timeout', (t) => {
  const condition = new Condition();
  t.false(condition.with(() => condition.wait(1)));
});

hubTest('threading.Condition.wait: releases an RLock that was acquired several times altogether', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  const waiter = spawn(() => {
    lock.acquire();
    lock.acquire();
    condition.wait();
    return lock.release() + lock.release();
  });
  idle();
  t.false(lock.locked);
  condition.with(() => condition.notify());
  t.is(waiter.get(), 1);
});

hubTest('threading.Condition.notify: without the lock is a RuntimeError', (t) => {
  t.throws(() => new Condition().notify(), { instanceOf: GreenstackError });
});

hubTest('threading.Condition.notify: wakes up at most n of those who wait', (t) => {
  const condition = new Condition();
  let woken = 0;
  const waiters = Array.from({ length: 5 }, () =>
    spawn(() =>
      condition.with(() => {
        condition.wait();
        woken++;
      }),
    ),
  );
  idle();
  condition.with(() => condition.notify(3));
  idle();
  t.is(woken, 3);
  condition.with(() => condition.notify(3));
  joinAll(waiters);
  t.is(woken, 5);
});

hubTest('threading.Condition.notify: does nothing if nobody waits', (t) => {
  const condition = new Condition();
  condition.with(() => condition.notify());
  t.false(condition.with(() => condition.wait(1)));
});

hubTest('threading.Condition.notify: the awakened one returns only when it can re-acquire the lock', (t) => {
  const condition = new Condition();
  const waiter = spawn(() => condition.with(() => condition.wait()));
  idle();
  condition.acquire();
  condition.notify();
  sleep(1);
  t.false(waiter.ready);
  condition.release();
  t.true(waiter.get());
});

hubTest('threading.Condition.notify_all: wakes up all who wait', (t) => {
  const condition = new Condition();
  const waiters = Array.from({ length: 5 }, () => spawn(() => condition.with(() => condition.wait())));
  idle();
  condition.with(() => condition.notifyAll());
  joinAll(waiters);
  t.true(waiters.every(({ value }) => value === true));
});

hubTest('threading.Condition.wait_for: waits until the predicate is true, and returns its value', (t) => {
  const condition = new Condition();
  let state = 0;
  const waiter = spawn(() => condition.with(() => condition.waitFor(() => state === 4 && 'four')));
  for (let round = 0; round < 5; round++) {
    idle();
    t.is(waiter.ready, false);
    condition.with(() => {
      state = round;
      condition.notify();
    });
  }
  t.is(waiter.get(), 'four');
});

hubTest('threading.Condition.wait_for: returns the last value of the predicate after the timeout', (t) => {
  const condition = new Condition();
  t.is(
    condition.with(() => condition.waitFor(() => 0, 1)),
    0,
  );
});
