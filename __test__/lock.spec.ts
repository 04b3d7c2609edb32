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
  shield,
  sleep,
  spawn,
  Timeout,
  wait,
  waitFor,
} from 'greenstack';
import {
  BoundedSemaphore,
  Condition,
  DummySemaphore,
  type Holdable,
  Lock,
  RLock,
  Semaphore,
} from 'greenstack/lock';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { burn, Gate, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';

function switches(): number {
  return getHub().stats().switches;
}

/** A greenlet that is parked in `acquire()`, and ends with what that returned. */
function acquirerOf(lock: Holdable, limits?: Parameters<Holdable['acquire']>[0]): Greenlet<boolean> {
  const greenlet = spawn(() => lock.acquire(limits));
  idle();
  return greenlet;
}

/** Calls `fn` in the hub, and returns what it returned. */
function inHub<T>(fn: () => T): T {
  return waitFor(new Promise<T>((resolve) => setImmediate(() => resolve(fn()))));
}

/** A greenlet that holds `lock` until `gate` is open. */
function holderOf(lock: Holdable, gate: Gate): Greenlet<void> {
  const greenlet = spawn(() => lock.with(() => gate.pass()));
  idle();
  return greenlet;
}

const KINDS = { Semaphore, BoundedSemaphore, Lock, RLock };

// Semaphore: the counter

hubTest('a semaphore has one permit, or as many as it was made with', (t) => {
  t.is(new Semaphore().counter, 1);
  t.is(new Semaphore(undefined).counter, 1);
  t.is(new Semaphore(0).counter, 0);
  t.is(new Semaphore(5).counter, 5);
});

hubTest('acquire() takes a permit, release() adds one and returns how many are free', (t) => {
  const semaphore = new Semaphore(2);
  const before = switches();
  t.true(semaphore.acquire());
  t.is(semaphore.counter, 1);
  t.false(semaphore.locked);
  t.true(semaphore.ready);
  t.true(semaphore.acquire(1));
  t.is(semaphore.counter, 0);
  t.true(semaphore.locked);
  t.false(semaphore.ready);
  t.is(semaphore.release(), 1);
  t.is(semaphore.release(), 2);
  t.is(switches(), before);
});

hubTest('a semaphore may be released more often than it was acquired', (t) => {
  const semaphore = new Semaphore(0);
  t.is(semaphore.release(), 1);
  t.is(semaphore.release(), 2);
  t.true(semaphore.acquire());
  t.true(semaphore.acquire());
  t.false(semaphore.acquire(0));
});

hubTest('a semaphore shows its permits and how many wait', (t) => {
  const semaphore = new Semaphore();
  t.is(inspect(semaphore), '<Semaphore 1 free>');
  semaphore.acquire();
  const waiter = acquirerOf(semaphore);
  t.is(String(semaphore), '<Semaphore 0 free, 1 waiting>');
  t.is(semaphore.linkCount, 1);
  semaphore.release();
  waiter.join();
  t.is(inspect(new BoundedSemaphore(3)), '<BoundedSemaphore 3 free>');
});

for (const [value, type] of [
  ['2', TypeError],
  [null, TypeError],
  [Number.NaN, TypeError],
  [1n, TypeError],
  [-1, RangeError],
  [1.5, RangeError],
  [Infinity, RangeError],
] as const) {
  hubTest(`a semaphore of ${inspect(value)} permits is refused`, (t) => {
    for (const [name, Kind] of Object.entries({ Semaphore, BoundedSemaphore })) {
      const message = new RegExp(`new ${name}\\(\\): value must be`);
      t.throws(() => new Kind(value as never), { instanceOf: type, message });
    }
  });
}

// What all that can be held have in common

for (const [name, Kind] of Object.entries(KINDS)) {
  const call = name === 'RLock' ? /RLock\.acquire\(\)/ : /Semaphore\.acquire\(\)/;

  hubTest(`${name}: acquire() waits until it is released`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const waiter = acquirerOf(lock);
    t.false(waiter.ready);
    lock.release();
    t.true(lock.locked);
    t.true(waiter.get());
    t.true(lock.locked);
  });

  hubTest(`${name}: those who wait are served in the order in which they came`, (t) => {
    const lock = new Kind();
    const order: number[] = [];
    lock.acquire();
    const greenlets = [1, 2, 3, 4].map((id) =>
      spawn(() => {
        lock.acquire();
        order.push(id);
        sleep(0);
        lock.release();
      }),
    );
    idle();
    lock.release();
    joinAll(greenlets, { raiseError: true });
    t.deepEqual(order, [1, 2, 3, 4]);
    t.false(lock.locked);
  });

  hubTest(`${name}: nobody overtakes who was handed it and has not gone on yet`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const waiter = acquirerOf(lock);
    lock.release();
    t.false(lock.acquire(0));
    const late = acquirerOf(lock);
    t.true(waiter.ready);
    t.false(late.ready);
    late.kill();
  });

  hubTest(`${name}: acquire() returns false when its time has passed, and leaves nothing`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    t.false(lock.acquire(1));
    t.false(lock.acquire({ timeout: 1 }));
    t.false(lock.acquire(new Timeout(1)));
    const before = switches();
    t.false(lock.acquire(0));
    t.false(lock.acquire({ block: false }));
    t.is(switches(), before);
    t.is(lock.linkCount, 0);
    gate.open();
    holder.join();
    t.true(lock.acquire(0));
    lock.release();
  });

  hubTest(`${name}: an outer Timeout goes through acquire(), and leaves nothing`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const timeout = Timeout.startNew(1);
    t.is(
      thrownBy(() => lock.acquire(60_000)),
      timeout,
    );
    t.is(lock.linkCount, 0);
    gate.open();
    holder.join();
    t.false(lock.locked);
  });

  hubTest(`${name}: a Timeout with an error of its own as the limit throws that`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const error = new Error('too late');
    t.is(
      thrownBy(() => lock.acquire(new Timeout(1, error))),
      error,
    );
    gate.open();
    holder.join();
    t.false(lock.locked);
  });

  hubTest(`${name}: a Timeout with an error of its own throws that also where no waiting is allowed`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const error = new Error('too late');
    const limits = [new Timeout(0, error), { timeout: new Timeout(1000, error), block: false }];
    for (const limit of limits) {
      t.is(
        thrownBy(() => lock.acquire(limit)),
        error,
      );
      if (lock instanceof Semaphore)
        t.is(
          thrownBy(() => lock.wait(limit)),
          error,
        );
    }
    t.false(lock.acquire(new Timeout(0)));
    gate.open();
    holder.join();
    t.true(lock.acquire(new Timeout(0, error)));
    lock.release();
  });

  hubTest(`${name}: an aborted signal ends an acquire() that was called within a shield`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const controller = new AbortController();
    const reason = new Error('never mind');
    const waiter = spawn(() => thrownBy(() => shield(() => lock.acquire({ signal: controller.signal }))));
    idle();
    controller.abort(reason);
    idle();
    t.is(lock.linkCount, 0);
    t.is(waiter.value, reason);
    gate.open();
    joinAll([holder, waiter]);
    t.false(lock.locked);
  });

  hubTest(`${name}: an aborted signal ends acquire() with its reason`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const controller = new AbortController();
    const reason = new Error('never mind');
    const waiter = spawn(() => thrownBy(() => lock.acquire({ signal: controller.signal })));
    idle();
    controller.abort(reason);
    t.is(waiter.get(), reason);
    const refused = spawn(() => thrownBy(() => lock.acquire({ signal: AbortSignal.abort(reason) })));
    t.is(refused.get(), reason);
    t.is(lock.linkCount, 0);
    lock.release();
    t.false(lock.locked);
  });

  hubTest(`${name}: a greenlet that is killed before the release passes it on`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const killed = acquirerOf(lock);
    const next = acquirerOf(lock);
    killed.kill(undefined, { block: false });
    t.is(lock.linkCount, 1);
    lock.release();
    t.true(next.get());
    t.true((killed.get() as unknown) instanceof GreenletExit);
  });

  hubTest(`${name}: a greenlet that is killed after the release has it, and gives it back`, (t) => {
    const lock = new Kind();
    lock.acquire();
    let entered = false;
    const killed = spawn(() =>
      lock.with(() => {
        entered = true;
        parkForLong();
      }),
    );
    idle();
    const next = acquirerOf(lock);
    lock.release();
    killed.kill(undefined, { block: false });
    t.true(next.get());
    t.true(entered);
    t.true((killed.get() as unknown) instanceof GreenletExit);
  });

  hubTest(`${name}: throw() before and after the release is as a kill`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const error = new Error('on purpose');
    const early = spawn(() => thrownBy(() => lock.acquire()));
    const late = spawn(() => {
      const acquired = lock.acquire();
      const thrown = thrownBy(parkForLong);
      lock.release();
      return [acquired, thrown];
    });
    idle();
    early.throw(error);
    lock.release();
    late.throw(error);
    t.is(early.get(), error);
    t.deepEqual(late.get(), [true, error]);
    t.false(lock.locked);
  });

  virtualTest(
    `${name}: a release after the end of the time, but before the greenlet goes on, is in time`,
    (t) => {
      const lock = new Kind();
      const holder = spawn(() => lock.with(() => sleep(1)));
      const waiter = spawn(() => {
        const acquired = lock.acquire(1);
        const counted = lock.locked;
        lock.release();
        return [acquired, counted];
      });
      t.deepEqual(waiter.get(), [true, true]);
      holder.join();
      t.false(lock.locked);
      t.is(lock.linkCount, 0);
    },
  );

  virtualTest(`${name}: the end of the time before the release is final, and it is passed on`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const waiter = spawn(() => {
      const acquired = lock.acquire(1);
      gate.open();
      return acquired;
    });
    idle();
    const next = spawn(() => lock.with(() => true));
    idle();
    t.false(waiter.get());
    t.true(next.get());
    holder.join();
    t.false(lock.locked);
  });

  hubTest(
    `${name}: a Timeout that ends before the release leaves it to the next, one after it comes later`,
    (t) => {
      const lock = new Kind();
      const gate = new Gate();
      const holder = holderOf(lock, gate);
      const early = spawn(() => {
        const timeout = Timeout.startNew(1);
        const thrown = thrownBy(() => lock.acquire());
        gate.open();
        return thrown === timeout;
      });
      const late = spawn(() => {
        lock.acquire();
        burn(5);
        lock.release();
        return true;
      });
      t.true(early.get());
      t.true(late.get());
      holder.join();
      t.false(lock.locked);
    },
  );

  hubTest(`${name}: an abort after the release is not thrown`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const controller = new AbortController();
    const waiter = spawn(() => {
      const acquired = lock.acquire({ signal: controller.signal });
      sleep(0);
      lock.release();
      return acquired;
    });
    idle();
    lock.release();
    controller.abort();
    t.true(waiter.get());
    t.false(lock.locked);
  });

  hubTest(`${name}: of many who wait, some killed, some out of time, the others are all served`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const served: number[] = [];
    const greenlets = Array.from({ length: 30 }, (_, id) =>
      spawn(() => {
        if (!lock.acquire(id % 3 === 1 ? 1 : null)) return;
        served.push(id);
        sleep(0);
        lock.release();
      }),
    );
    idle();
    sleep(2);
    for (const [id, greenlet] of greenlets.entries())
      if (id % 3 === 2) greenlet.kill(undefined, { block: false });
    t.is(lock.linkCount, 10);
    lock.release();
    joinAll(greenlets);
    t.deepEqual(
      served,
      Array.from({ length: 10 }, (_, index) => index * 3),
    );
    t.false(lock.locked);
  });

  hubTest(`${name}: outside greenlets it can be acquired when it is free, and is refused when not`, (t) => {
    const lock = new Kind();
    t.true(inHub(() => lock.acquire()));
    const waiter = acquirerOf(lock);
    inHub(() => lock.release());
    t.true(waiter.ready);
    const error = inHub(() => thrownBy(() => lock.acquire()));
    t.true(error instanceof BlockingSwitchOutError);
    t.regex((error as Error).message, call);
    t.false(inHub(() => lock.acquire(0)));
    t.false(inHub(() => lock.acquire({ block: false })));
    t.is(lock.linkCount, 0);
  });

  hubTest(`${name}: where no greenlet can be left, acquire() is refused and leaves nothing`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const acquire = (): boolean => lock.acquire();
    const error = { instanceOf: BlockingSwitchOutError, message: call };
    t.throws(() => void runInNewContext('acquire()', { acquire }, { timeout: 60_000 }), error);
    t.is(lock.linkCount, 0);
    gate.open();
    holder.join();
    t.true(runInNewContext('acquire()', { acquire }, { timeout: 60_000 }) as boolean);
    lock.release();
  });

  hubTest(`${name}: acquire() refuses wrong limits, free or not, and takes nothing`, (t) => {
    const lock = new Kind();
    t.throws(() => lock.acquire('soon' as never), { instanceOf: TypeError, message: call });
    t.false(lock.locked);
    lock.acquire();
    t.throws(() => lock.acquire(Number.NaN), { instanceOf: TypeError, message: call });
    lock.release();
    t.false(lock.locked);
  });

  hubTest(`${name}: using hold() releases it at the end of the block, however that ends`, (t) => {
    const lock = new Kind();
    {
      using _held = lock.hold();
      t.true(lock.locked);
    }
    t.false(lock.locked);
    t.throws(
      () => {
        using _held = lock.hold(1000);
        throw new Error('on purpose');
      },
      { message: 'on purpose' },
    );
    t.false(lock.locked);
    t.is(lock.acquire(0) && Number(lock.release()) >= 0, true);
  });

  hubTest(`${name}: what hold() returns releases once`, (t) => {
    const lock = new Kind();
    const held = lock.hold();
    held[Symbol.dispose]();
    lock.acquire();
    held[Symbol.dispose]();
    t.true(lock.locked);
    lock.release();
    t.false(lock.locked);
  });

  hubTest(`${name}: hold() and with() throw a Timeout when their time has passed, and hold nothing`, (t) => {
    const lock = new Kind();
    const gate = new Gate();
    const holder = holderOf(lock, gate);
    const timeout = new Timeout(1);
    let calls = 0;
    t.true(thrownBy(() => lock.hold(1)) instanceof Timeout);
    t.true(thrownBy(() => lock.hold({ block: false })) instanceof Timeout);
    t.true(thrownBy(() => lock.with(() => calls++, 1)) instanceof Timeout);
    t.is(
      thrownBy(() => lock.hold(timeout)),
      timeout,
    );
    t.is(calls, 0);
    t.is(lock.linkCount, 0);
    gate.open();
    holder.join();
    t.false(lock.locked);
  });

  hubTest(`${name}: with() calls a function while holding it, and returns what that returns`, (t) => {
    const lock = new Kind();
    t.is(
      lock.with(() => (lock.locked ? 'held' : 'free')),
      'held',
    );
    t.false(lock.locked);
    t.throws(
      () =>
        lock.with(() => {
          throw new Error('on purpose');
        }),
      { message: 'on purpose' },
    );
    t.false(lock.locked);
  });

  hubTest(`${name}: hold() and with() refuse wrong arguments, and hold nothing`, (t) => {
    const lock = new Kind();
    t.throws(() => lock.with(5 as never), {
      instanceOf: TypeError,
      message: `${name}.with() expects a function, got number`,
    });
    const expected = `${name}.hold() expects a timeout in milliseconds, a Timeout or { timeout, block, signal }, got string soon`;
    t.throws(() => lock.hold('soon' as never), { instanceOf: TypeError, message: expected });
    t.throws(() => lock.with(() => {}, 'soon' as never), {
      instanceOf: TypeError,
      message: expected.replace('hold', 'with'),
    });
    t.false(lock.locked);
  });

  hubTest(`${name}: a greenlet that is killed while holding it by using gives it back`, (t) => {
    const lock = new Kind();
    const holder = spawn(() => {
      using _held = lock.hold();
      parkForLong();
    });
    idle();
    t.true(lock.locked);
    holder.kill();
    t.false(lock.locked);
  });

  hubTest(`${name}: rawlink() to a free one calls back soon`, (t) => {
    const lock = new Kind();
    const calls: unknown[] = [];
    lock.rawlink((source) => calls.push(source, getCurrent()));
    t.deepEqual(calls, []);
    idle();
    t.deepEqual(calls, [lock, null]);
  });

  hubTest(`${name}: a link is called when somebody could have it`, (t) => {
    const lock = new Kind();
    lock.acquire();
    const waiter = spawn(() => lock.with(() => sleep(0)));
    idle();
    let calls = 0;
    lock.rawlink(() => calls++);
    const unwanted = (): number => (calls += 100);
    lock.rawlink(unwanted);
    lock.unlink(unwanted);
    t.is(lock.linkCount, 2);
    lock.release();
    t.is(lock.linkCount, 1);
    idle();
    t.true(waiter.ready);
    t.is(calls, 1);
  });

  hubTest(`${name}: wait() of several takes it`, (t) => {
    const [held, free] = [new Kind(), new Kind()];
    held.acquire();
    t.deepEqual(wait([held, free], { timeout: 1 }), [free]);
    const waiting = spawn(() => wait([held]));
    idle();
    held.release();
    t.deepEqual(waiting.get(), [held]);
    t.is(held.linkCount, 0);
  });
}

// Semaphore: waiting without taking

hubTest('wait() of a semaphore returns how many permits are free, and takes none', (t) => {
  const semaphore = new Semaphore(2);
  t.is(semaphore.wait(), 2);
  t.is(semaphore.wait(0), 2);
  t.is(semaphore.counter, 2);
});

hubTest('wait() of a semaphore waits until a permit is free', (t) => {
  const semaphore = new Semaphore(0);
  const waiters = [spawn(() => semaphore.wait()), spawn(() => semaphore.wait())];
  idle();
  t.is(semaphore.linkCount, 2);
  semaphore.release();
  t.deepEqual(
    waiters.map((waiter) => waiter.get()),
    [1, 1],
  );
  t.is(semaphore.counter, 1);
});

hubTest('wait() of a semaphore returns 0 if somebody takes the permit first', (t) => {
  const semaphore = new Semaphore(0);
  const waiter = spawn(() => semaphore.wait());
  idle();
  const acquirer = acquirerOf(semaphore);
  semaphore.release();
  t.is(waiter.get(), 0);
  t.true(acquirer.get());
});

hubTest('wait() behind somebody who takes the permit goes on waiting', (t) => {
  const semaphore = new Semaphore(0);
  const acquirer = acquirerOf(semaphore);
  const waiter = spawn(() => semaphore.wait());
  idle();
  semaphore.release();
  t.true(acquirer.get());
  t.false(waiter.ready);
  semaphore.release();
  t.is(waiter.get(), 1);
});

hubTest('wait() of a semaphore returns 0 when its time has passed, and leaves nothing', (t) => {
  const semaphore = new Semaphore(0);
  t.is(semaphore.wait(1), 0);
  t.is(semaphore.wait(0), 0);
  t.is(semaphore.linkCount, 0);
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => semaphore.wait(60_000)),
    timeout,
  );
  t.is(semaphore.linkCount, 0);
  t.true(inHub(() => thrownBy(() => semaphore.wait())) instanceof BlockingSwitchOutError);
  t.throws(() => semaphore.wait('soon' as never), { instanceOf: TypeError, message: /Semaphore\.wait\(\)/ });
});

hubTest('several permits released at once go to as many', (t) => {
  const semaphore = new Semaphore(0);
  const waiters = [acquirerOf(semaphore), acquirerOf(semaphore), acquirerOf(semaphore)];
  t.is(semaphore.release(), 0);
  t.is(semaphore.release(), 0);
  idle();
  t.deepEqual(
    waiters.map(({ ready }) => ready),
    [true, true, false],
  );
  t.is(semaphore.release(), 0);
  t.is(semaphore.release(), 1);
  waiters[2]!.join();
});

hubTest('no permit is lost or doubled by many greenlets that interleave', (t) => {
  const semaphore = new Semaphore(3);
  let inside = 0;
  let most = 0;
  const greenlets = Array.from({ length: 100 }, (_, id) =>
    spawn(() => {
      for (let round = 0; round < 10; round++) {
        semaphore.with(() => {
          most = Math.max(most, ++inside);
          if ((id + round) % 2 === 0) sleep(0);
          inside--;
        });
      }
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(most, 3);
  t.is(inside, 0);
  t.is(semaphore.counter, 3);
});

// BoundedSemaphore, Lock, DummySemaphore

for (const [name, make] of Object.entries({
  BoundedSemaphore: () => new BoundedSemaphore(1),
  Lock: () => new Lock(),
})) {
  hubTest(`${name}: release() too often throws a RangeError, and changes nothing`, (t) => {
    const lock = make();
    const error = { instanceOf: RangeError, message: `${name}.release(): released more often than acquired` };
    t.throws(() => lock.release(), error);
    t.true(lock.acquire());
    t.false(lock.acquire(0));
    t.is(lock.release(), 1);
    t.throws(() => lock.release(), error);
    t.is(lock.counter, 1);
  });
}

hubTest('a bounded semaphore may be released up to what it was made with', (t) => {
  const semaphore = new BoundedSemaphore(2);
  semaphore.acquire();
  semaphore.acquire();
  t.is(semaphore.release(), 1);
  t.is(semaphore.release(), 2);
  t.throws(() => semaphore.release(), { instanceOf: RangeError });
  t.throws(() => new BoundedSemaphore(0).release(), { instanceOf: RangeError });
});

hubTest('a lock can be released by another greenlet', (t) => {
  const lock = new Lock();
  lock.acquire();
  spawn(() => lock.release()).get();
  t.false(lock.locked);
});

hubTest('a lock shows whether it is held', (t) => {
  const lock = new Lock();
  t.is(inspect(lock), '<Lock free>');
  lock.acquire();
  const waiter = acquirerOf(lock);
  t.is(String(lock), '<Lock held, 1 waiting>');
  waiter.kill();
  t.true(lock instanceof BoundedSemaphore);
});

hubTest('a dummy semaphore never blocks', (t) => {
  const semaphore = new DummySemaphore(0);
  const before = switches();
  for (let round = 0; round < 3; round++) {
    t.true(semaphore.acquire());
    t.true(semaphore.acquire(0));
    t.is(semaphore.wait(), 1);
    t.false(semaphore.locked);
    t.true(semaphore.ready);
    t.is(semaphore.counter, 1);
  }
  for (let round = 0; round < 9; round++) t.is(semaphore.release(), 1);
  t.is(
    semaphore.with(() => 5),
    5,
  );
  semaphore.hold()[Symbol.dispose]();
  t.is(switches(), before);
  t.true(inHub(() => semaphore.acquire()));
  t.is(inspect(semaphore), '<DummySemaphore free>');
});

hubTest('a dummy semaphore is ready for those who wait for several things', (t) => {
  const semaphore = new DummySemaphore();
  t.deepEqual(wait([semaphore]), [semaphore]);
});

hubTest('a dummy semaphore refuses wrong limits', (t) => {
  const semaphore = new DummySemaphore();
  t.throws(() => semaphore.acquire('soon' as never), {
    instanceOf: TypeError,
    message: /DummySemaphore\.acquire\(\)/,
  });
  t.throws(() => semaphore.wait('soon' as never), {
    instanceOf: TypeError,
    message: /DummySemaphore\.wait\(\)/,
  });
});

// RLock

hubTest('an RLock can be acquired again by its owner, and is free when it was released as often', (t) => {
  const lock = new RLock();
  const other = spawn(() => lock.with(() => true));
  t.true(lock.acquire());
  t.true(lock.acquire());
  t.true(lock.acquire(0));
  idle();
  t.is(lock.release(), 2);
  t.is(lock.release(), 1);
  idle();
  t.false(other.ready);
  t.true(lock.locked);
  t.is(lock.release(), 0);
  t.true(other.get());
  t.false(lock.locked);
});

hubTest('an RLock is not released by who does not hold it', (t) => {
  const lock = new RLock();
  const error = {
    instanceOf: GreenstackError,
    code: 'ERR_GREENSTACK_LOCK_NOT_HELD',
    message: /RLock\.release\(\)/,
  };
  t.throws(() => lock.release(), error);
  lock.acquire();
  const thrown = spawn(() => thrownBy(() => lock.release())).get() as GreenstackError;
  t.is(thrown.code, 'ERR_GREENSTACK_LOCK_NOT_HELD');
  const fromHub = inHub(() => thrownBy(() => lock.release())) as GreenstackError;
  t.is(fromHub.code, 'ERR_GREENSTACK_LOCK_NOT_HELD');
  t.true(lock.locked);
  t.is(lock.release(), 0);
  t.throws(() => lock.release(), error);
});

hubTest('an RLock that was handed over belongs to who was handed it, before that one goes on', (t) => {
  const lock = new RLock();
  lock.acquire();
  const waiter = spawn(() => {
    lock.acquire();
    lock.acquire();
    return [lock.release(), lock.release()];
  });
  idle();
  lock.release();
  t.throws(() => lock.release(), { code: 'ERR_GREENSTACK_LOCK_NOT_HELD' });
  t.deepEqual(waiter.get(), [1, 0]);
});

hubTest('outside greenlets an RLock has one owner, the hub', (t) => {
  const lock = new RLock();
  inHub(() => lock.acquire());
  t.true(inHub(() => lock.acquire()));
  t.is(inspect(lock), '<RLock held 2 times by the hub>');
  t.false(lock.acquire(0));
  inHub(() => lock.release());
  const waiter = acquirerOf(lock);
  t.is(
    inHub(() => lock.release()),
    0,
  );
  t.true(waiter.get());
});

hubTest('an RLock shows its owner', (t) => {
  const lock = new RLock();
  t.is(inspect(lock), '<RLock free>');
  const gate = new Gate();
  const holder = spawn({ name: 'the owner' }, () => lock.with(() => gate.pass()));
  idle();
  t.regex(String(lock), /^<RLock held once by <Greenlet "the owner".*>>$/);
  gate.open();
  holder.join();
});

// Condition

/** A greenlet that waits for `condition` once, and ends with what `wait` returned. */
function conditionWaiter(condition: Condition, limits?: Parameters<Condition['wait']>[0]): Greenlet<boolean> {
  const greenlet = spawn(() => condition.with(() => condition.wait(limits)));
  idle();
  return greenlet;
}

const LOCKS = {
  'an RLock': () => new RLock(),
  'a Lock': () => new Lock(),
  'a Semaphore': () => new Semaphore(),
};

for (const [name, make] of Object.entries(LOCKS)) {
  hubTest(`a condition over ${name}: wait() releases the lock, and has it again when it is notified`, (t) => {
    const lock = make();
    const condition = new Condition(lock);
    const waiter = spawn(() => {
      using _held = condition.hold();
      const notified = condition.wait();
      return [notified, lock.locked, lock.acquire(0) && lock instanceof RLock];
    });
    idle();
    t.false(lock.locked);
    condition.acquire();
    condition.notify();
    idle();
    t.false(waiter.ready);
    condition.release();
    t.deepEqual(waiter.get(), [true, true, lock instanceof RLock]);
    if (lock instanceof RLock) return;
    t.false(lock.locked);
  });

  hubTest(`a condition over ${name}: wait() returns false when its time has passed, with the lock`, (t) => {
    const lock = make();
    const condition = new Condition(lock);
    condition.acquire();
    t.false(condition.wait(1));
    t.true(lock.locked);
    t.false(condition.wait(new Timeout(1)));
    t.true(lock.locked);
    condition.release();
    t.false(lock.locked);
    t.is(inspect(condition), `<Condition of ${inspect(lock)}>`);
  });

  hubTest(
    `a condition over ${name}: a killed greenlet has the lock again before its finally blocks run`,
    (t) => {
      const lock = make();
      const condition = new Condition(lock);
      let heldAtEnd: unknown;
      const gate = new Gate();
      const waiter = spawn(() => {
        condition.acquire();
        try {
          condition.wait();
        } finally {
          heldAtEnd = thrownNothing(() => condition.notify());
          condition.release();
        }
      });
      idle();
      const holder = holderOf(lock, gate);
      waiter.kill(undefined, { block: false });
      idle();
      t.false(waiter.ready);
      gate.open();
      waiter.join();
      holder.join();
      t.true(heldAtEnd);
      t.true((waiter.value as unknown) instanceof GreenletExit);
      t.false(lock.locked);
    },
  );

  hubTest(`a condition over ${name}: a kill while it gets the lock again is not lost`, (t) => {
    const lock = make();
    const condition = new Condition(lock);
    const steps: string[] = [];
    const waiter = spawn(() => {
      using _held = condition.hold();
      steps.push(condition.wait() ? 'notified' : 'out of time');
      steps.push(lock.locked ? 'held' : 'free');
      parkForLong();
    });
    idle();
    condition.acquire();
    condition.notify();
    idle();
    t.is(lock.linkCount, 1);
    waiter.kill(undefined, { block: false });
    waiter.kill(undefined, { block: false });
    idle();
    t.is(lock.linkCount, 1);
    condition.release();
    waiter.join();
    t.deepEqual(steps, ['notified', 'held']);
    t.true((waiter.value as unknown) instanceof GreenletExit);
    t.false(lock.locked);
  });
}

/** Whether `body` throws nothing. */
function thrownNothing(body: () => void): boolean {
  body();
  return true;
}

test.serial('a deadlock in a condition is thrown as it is, and nobody is robbed of the lock', async (t) => {
  const { code, stdout } = await runProgram('lost-lock.js');
  t.deepEqual(stdout.trimEnd().split('\n'), [
    'RLock: LoopExit, kept true, free true',
    'released too often: GreenstackError',
    'Lock: LoopExit, kept true, free true',
    'released too often: RangeError',
    'Semaphore: LoopExit, kept true, free true',
  ]);
  t.is(code, 0);
});

hubTest('a condition needs a lock for one at a time', (t) => {
  for (const lock of [new Semaphore(2), new BoundedSemaphore(3)]) {
    t.throws(() => new Condition(lock), {
      instanceOf: RangeError,
      message: `new Condition() expects a lock for one at a time, got ${String(lock)}`,
    });
  }
  const bounded = new BoundedSemaphore(2);
  bounded.acquire();
  t.throws(() => new Condition(bounded), { instanceOf: RangeError });
  const held = new Semaphore(1);
  held.acquire();
  t.notThrows(() => new Condition(held));
});

hubTest('a condition makes an RLock of its own', (t) => {
  const condition = new Condition();
  condition.acquire();
  t.true(condition.acquire(0));
  t.is(condition.release(), 1);
  t.is(condition.release(), 0);
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

hubTest('conditions can share a lock', (t) => {
  const lock = new Lock();
  const [first, second] = [new Condition(lock), new Condition(lock)];
  const waiters = [conditionWaiter(first), conditionWaiter(second)];
  lock.with(() => second.notifyAll());
  idle();
  t.deepEqual(
    waiters.map(({ ready }) => ready),
    [false, true],
  );
  first.with(() => first.notify());
  t.true(waiters[0]!.get());
});

hubTest('notify() wakes those who have waited longest, as many as it is told', (t) => {
  const condition = new Condition();
  const order: number[] = [];
  const waiters = [1, 2, 3, 4].map((id) =>
    spawn(() =>
      condition.with(() => {
        condition.wait();
        order.push(id);
      }),
    ),
  );
  idle();
  t.is(inspect(condition), '<Condition of <RLock free>, 4 waiting>');
  condition.with(() => condition.notify(0));
  idle();
  t.deepEqual(order, []);
  condition.with(() => condition.notify());
  idle();
  t.deepEqual(order, [1]);
  condition.with(() => condition.notify(2));
  idle();
  t.deepEqual(order, [1, 2, 3]);
  condition.with(() => condition.notify(5));
  joinAll(waiters);
  t.deepEqual(order, [1, 2, 3, 4]);
});

hubTest('notifyAll() wakes all who wait, in their order', (t) => {
  const condition = new Condition();
  const order: number[] = [];
  const waiters = [1, 2, 3].map((id) =>
    spawn(() =>
      condition.with(() => {
        condition.wait();
        order.push(id);
      }),
    ),
  );
  idle();
  condition.with(() => condition.notifyAll());
  joinAll(waiters);
  t.deepEqual(order, [1, 2, 3]);
});

hubTest('a notification that nobody waits for is gone', (t) => {
  const condition = new Condition();
  condition.with(() => {
    condition.notify();
    condition.notifyAll();
    t.false(condition.wait(1));
  });
});

hubTest('a killed or late waiter takes no notification', (t) => {
  const condition = new Condition();
  const killed = conditionWaiter(condition);
  const late = conditionWaiter(condition, 1);
  const next = conditionWaiter(condition);
  killed.kill(undefined, { block: false });
  t.false(late.get());
  t.is(inspect(condition), '<Condition of <RLock free>, 1 waiting>');
  condition.with(() => condition.notify());
  t.true(next.get());
});

hubTest('an RLock that is held several times is given up for the wait, and held as often after it', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  const gate = new Gate();
  const waiter = spawn(() => {
    lock.acquire();
    lock.acquire();
    lock.acquire();
    condition.wait();
    return [lock.release(), lock.release(), lock.release()];
  });
  idle();
  t.false(lock.locked);
  const notifier = spawn(() =>
    condition.with(() => {
      condition.notify();
      gate.pass();
    }),
  );
  idle();
  t.false(waiter.ready);
  gate.open();
  t.deepEqual(waiter.get(), [2, 1, 0]);
  notifier.join();
  t.false(lock.locked);
});

virtualTest('a timeout of wait() that passes while it gets the lock again does not matter', (t) => {
  const condition = new Condition();
  const waiter = conditionWaiter(condition, 50);
  condition.acquire();
  condition.notify();
  sleep(60);
  t.false(waiter.ready);
  condition.release();
  t.true(waiter.get());
});

hubTest('an outer Timeout goes through wait(), with the lock held', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  condition.acquire();
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => condition.wait(60_000)),
    timeout,
  );
  t.is(lock.release(), 0);
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

virtualTest('an outer Timeout that ends while wait() gets the lock again is thrown at the next park', (t) => {
  const condition = new Condition();
  const waiter = spawn(() => {
    const timeout = Timeout.startNew(50);
    using _held = condition.hold();
    const notified = condition.wait();
    return [notified, thrownBy(() => sleep(0)) === timeout];
  });
  idle();
  condition.acquire();
  condition.notify();
  sleep(60);
  condition.release();
  t.deepEqual(waiter.get(), [true, true]);
});

hubTest('an aborted signal ends wait() with its reason, with the lock held', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  const controller = new AbortController();
  const reason = new Error('never mind');
  const body = (signal: AbortSignal) => (): unknown[] => {
    lock.acquire();
    const thrown = thrownBy(() => condition.wait({ signal }));
    return [thrown, lock.release()];
  };
  const waiter = spawn(body(controller.signal));
  idle();
  controller.abort(reason);
  t.deepEqual(waiter.get(), [reason, 0]);
  t.deepEqual(spawn(body(controller.signal)).get(), [reason, 0]);
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

virtualTest('a pending Timeout that is due when wait() or waitFor() is called is its own limit', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  for (const call of [
    (limit: Timeout) => condition.wait(limit),
    (limit: Timeout) => condition.waitFor(() => false, limit),
  ]) {
    lock.acquire();
    const timeout = Timeout.startNew(1);
    shield(() => sleep(2));
    t.false(call(timeout));
    t.is(lock.release(), 0);
  }
  const error = new Error('too late');
  lock.acquire();
  const timeout = Timeout.startNew(1, error);
  shield(() => sleep(2));
  t.is(
    thrownBy(() => condition.wait(timeout)),
    error,
  );
  t.is(lock.release(), 0);
});

virtualTest('a pending Timeout that ends while waitFor() gets the lock again is its own limit', (t) => {
  const condition = new Condition();
  const waiter = spawn(() => {
    const timeout = Timeout.startNew(10);
    return condition.with(() => condition.waitFor(() => 0, timeout));
  });
  idle();
  condition.with(() => {
    condition.notify();
    sleep(20);
  });
  t.is(waiter.get(), 0);
});

virtualTest('the own error of the limit of waitFor() is thrown if its time passes in between', (t) => {
  const condition = new Condition();
  const error = new Error('too late');
  const waiter = spawn(() =>
    thrownBy(() => condition.with(() => condition.waitFor(() => 0, new Timeout(10, error)))),
  );
  idle();
  condition.with(() => {
    condition.notify();
    sleep(20);
  });
  t.is(waiter.get(), error);
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

hubTest('a Timeout with an error of its own throws that where wait() may not wait', (t) => {
  const condition = new Condition();
  const error = new Error('too late');
  condition.acquire();
  t.is(
    thrownBy(() => condition.wait(new Timeout(0, error))),
    error,
  );
  t.is(
    thrownBy(() => condition.waitFor(() => 0, new Timeout(0, error))),
    error,
  );
  t.is(condition.release(), 0);
});

hubTest('wait() that allows no waiting returns false and keeps the lock', (t) => {
  const lock = new Lock();
  const condition = new Condition(lock);
  lock.acquire();
  const other = acquirerOf(lock);
  const before = switches();
  t.false(condition.wait(0));
  t.false(condition.wait({ block: false }));
  t.is(switches(), before);
  t.false(other.ready);
  lock.release();
  t.true(other.get());
});

hubTest('wait(), waitFor() and notify() without the lock throw, and change nothing', (t) => {
  const condition = new Condition();
  const waiter = conditionWaiter(condition);
  const calls = {
    'Condition.wait()': () => condition.wait(),
    'Condition.waitFor()': () => condition.waitFor(() => true),
    'Condition.notify()': () => condition.notify(),
    'Condition.notifyAll()': () => condition.notifyAll(),
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = thrownBy(call) as GreenstackError;
    t.true(error instanceof GreenstackError);
    t.is(error.code, 'ERR_GREENSTACK_LOCK_NOT_HELD');
    t.true(error.message.startsWith(`${name}: the caller does not hold <RLock free>`));
  }
  t.is(inspect(condition), '<Condition of <RLock free>, 1 waiting>');
  waiter.kill();
});

hubTest('wait() where no greenlet can be left is refused before the lock is given up', (t) => {
  const lock = new Lock();
  const condition = new Condition(lock);
  lock.acquire();
  const other = acquirerOf(lock);
  const waitHere = (): boolean => condition.wait();
  t.throws(() => void runInNewContext('waitHere()', { waitHere }, { timeout: 60_000 }), {
    instanceOf: BlockingSwitchOutError,
  });
  idle();
  t.false(other.ready);
  t.is(inspect(condition), '<Condition of <Lock held, 1 waiting>>');
  lock.release();
  t.true(other.get());
});

hubTest('a kill that is due when wait() is called is thrown before the lock is given up', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  lock.acquire();
  const steps: unknown[] = [];
  const victim = spawn(() => {
    lock.acquire();
    try {
      condition.wait();
    } finally {
      steps.push(lock.linkCount, lock.release());
    }
  });
  idle();
  const other = spawn(() => lock.with(() => true));
  idle();
  lock.release();
  // It has the lock, but has not gone on yet: the kill waits for its next park.
  victim.kill(undefined, { block: false });
  t.true(other.get());
  t.deepEqual(steps, [1, 0]);
  t.true((victim.value as unknown) instanceof GreenletExit);
});

hubTest('outside greenlets a condition cannot be waited for, but notified', (t) => {
  const condition = new Condition();
  const waiter = conditionWaiter(condition);
  inHub(() => condition.acquire());
  t.true(inHub(() => thrownBy(() => condition.wait())) instanceof BlockingSwitchOutError);
  t.false(inHub(() => condition.wait(0)));
  inHub(() => condition.notify());
  inHub(() => condition.release());
  t.true(waiter.get());
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

hubTest('waitFor() waits until its predicate holds, and returns what that returned', (t) => {
  const condition = new Condition();
  const items: string[] = [];
  const consumer = spawn(() => condition.with(() => condition.waitFor(() => items.shift())));
  idle();
  condition.with(() => condition.notify());
  idle();
  t.false(consumer.ready);
  condition.with(() => {
    items.push('item');
    condition.notify();
  });
  t.is(consumer.get(), 'item');
  t.deepEqual(items, []);
});

hubTest('waitFor() returns at once if the predicate holds', (t) => {
  const condition = new Condition();
  const before = switches();
  t.is(
    condition.with(() => condition.waitFor(() => 5)),
    5,
  );
  t.is(
    condition.with(() => condition.waitFor(() => 0, 0)),
    0,
  );
  t.is(switches(), before);
});

hubTest('notifications do not make the time of waitFor() longer', (t) => {
  const condition = new Condition();
  const waiter = spawn(() => condition.with(() => condition.waitFor(() => false, 20)));
  const notifier = spawn(() => {
    for (;;) {
      condition.with(() => condition.notify());
      sleep(1);
    }
  });
  t.false(waiter.get());
  notifier.kill();
  t.is(inspect(condition), '<Condition of <RLock free>>');
});

hubTest('waitFor() looks once more when its time has passed', (t) => {
  const condition = new Condition();
  let looks = 0;
  condition.with(() => {
    t.true(condition.waitFor(() => ++looks === 2, 1));
  });
  t.is(looks, 2);
});

hubTest('an error of the predicate goes through waitFor(), with the lock held', (t) => {
  const lock = new RLock();
  const condition = new Condition(lock);
  condition.acquire();
  const error = new Error('on purpose');
  t.is(
    thrownBy(() =>
      condition.waitFor(() => {
        throw error;
      }),
    ),
    error,
  );
  t.is(lock.release(), 0);
});

hubTest('a condition refuses wrong arguments', (t) => {
  for (const lock of [null, {}, new DummySemaphore()]) {
    t.throws(() => new Condition(lock as never), { instanceOf: TypeError, message: /new Condition\(\)/ });
  }
  for (const [value, shown] of [
    [Object.create(null), 'object'],
    [() => 'a long source', 'function'],
    [undefined, 'undefined'],
    [Symbol('s'), 'symbol Symbol(s)'],
  ]) {
    const message = `Condition.notify(): n must be a number, got ${shown}`;
    const notify = (): void => new Condition().notify(value);
    if (value !== undefined) t.throws(notify, { instanceOf: TypeError, message });
  }
  const condition = new Condition();
  condition.acquire();
  t.throws(() => condition.waitFor(5 as never), {
    instanceOf: TypeError,
    message: /Condition\.waitFor\(\)/,
  });
  t.throws(() => condition.wait('soon' as never), { instanceOf: TypeError, message: /Condition\.wait\(\)/ });
  t.throws(() => condition.waitFor(() => 1, 'soon' as never), {
    instanceOf: TypeError,
    message: /Condition\.waitFor\(\)/,
  });
  t.throws(() => condition.notify('all' as never), {
    instanceOf: TypeError,
    message: /Condition\.notify\(\)/,
  });
  t.throws(() => condition.notify(-1), { instanceOf: RangeError, message: /Condition\.notify\(\)/ });
  t.throws(() => condition.notify(0.5), { instanceOf: RangeError, message: /Condition\.notify\(\)/ });
  t.is(condition.release(), 0);
});

hubTest('producers and consumers over a condition lose and double nothing', (t) => {
  const condition = new Condition(new Lock());
  const buffer: number[] = [];
  const taken: number[] = [];
  const consumers = Array.from({ length: 5 }, () =>
    spawn(() => {
      for (let round = 0; round < 40; round++) {
        using _held = condition.hold();
        condition.waitFor(() => buffer.length > 0);
        taken.push(buffer.shift()!);
        condition.notifyAll();
      }
    }),
  );
  const producers = Array.from({ length: 4 }, (_, id) =>
    spawn(() => {
      for (let round = 0; round < 50; round++) {
        using _held = condition.hold();
        condition.waitFor(() => buffer.length < 3);
        buffer.push(id * 50 + round);
        condition.notifyAll();
      }
    }),
  );
  joinAll([...consumers, ...producers], { raiseError: true });
  t.deepEqual(
    [...taken].sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, index) => index),
  );
});

test('locks need no hub to be made and used', (t) => {
  const lock = new RLock();
  t.true(lock.acquire());
  t.is(lock.release(), 0);
});
