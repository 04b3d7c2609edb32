import { getEventListeners, once } from 'node:events';
import { type RequestListener, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import {
  BlockingSwitchOutError,
  ConcurrentObjectUseError,
  Greenlet,
  GreenletExit,
  GreenstackError,
  InvalidSwitchError,
  type SignalWatcher,
  Timeout,
  asyncify,
  config,
  getCurrent,
  getHub,
  getSwitchInterval,
  idle,
  iwait,
  joinAll,
  kill,
  killAll,
  run,
  setSwitchInterval,
  shield,
  signal,
  sleep,
  spawn,
  spawnRaw,
  version,
  wait,
  waitFor,
} from 'greenstack';
import { Gate, burn, current, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { identical } from './support/identical.js';
import { settle } from './support/residue.js';
import { runProgram } from './support/program.js';
import { muted, stderrOf } from './support/stderr.js';

const nothing = () => {};
const never = () => new Promise<never>(() => {});

class Boom extends Error {
  override name = 'Boom';
}

/** A greenlet that throws as soon as it runs. */
function failing(error: unknown = new Boom('boom')): Greenlet<never> {
  return spawn(() => {
    throw error;
  });
}

// run()

test.serial('run() resolves with what main returns', async (t) => {
  t.is(await run(() => 'value'), 'value');
});

test.serial('run() resolves with what main returns after it has parked', async (t) => {
  t.is(
    await run(() => {
      sleep(1);
      return 'value';
    }),
    'value',
  );
});

test.serial('run() resolves with the value of the promise that main returns', async (t) => {
  t.is(await run(async () => 'value'), 'value');
});

test.serial('run() rejects with what main throws', async (t) => {
  const error = new Boom('boom');
  await t.throwsAsync(
    run(() => {
      sleep(1);
      throw error;
    }),
    { is: error },
  );
});

test.serial('run() rejects with what the promise of main rejects with', async (t) => {
  const error = new Boom('boom');
  await t.throwsAsync(
    run(async () => {
      throw error;
    }),
    { is: error },
  );
});

test.serial('run() does not call main before it returns', async (t) => {
  let called = false;
  const promise = run(() => (called = true));
  t.false(called);
  await promise;
  t.true(called);
});

test.serial('run() names the main greenlet', async (t) => {
  t.is(await run(() => current().name, { name: 'importer' }), 'importer');
});

test.serial('several run() at once do not mix', async (t) => {
  const results = await Promise.all(
    [3, 1, 2].map((ms) =>
      run(() => {
        sleep(ms);
        return ms;
      }),
    ),
  );
  t.deepEqual(results, [3, 1, 2]);
});

hubTest('run() within a greenlet runs another main greenlet', (t) => {
  const outer = getCurrent();
  const inner = waitFor(run(() => getCurrent() !== outer));
  t.true(inner);
});

test.serial('run() refuses what is not a function', async (t) => {
  await t.throwsAsync(async () => run('main' as never), { instanceOf: TypeError });
});

test.serial('run() refuses a stack size that is not a number', async (t) => {
  await t.throwsAsync(async () => run(nothing, { stackSize: 'large' as never }), { instanceOf: TypeError });
});

test.serial('run() leaves no signal listener', async (t) => {
  const listeners = () => ['SIGINT', 'SIGTERM'].map((name) => process.listenerCount(name));
  const before = listeners();
  await run(() => sleep(1));
  await settle();
  t.deepEqual(listeners(), before);
});

// sleep()

hubTest('sleep() waits at least as long as it was told', (t) => {
  const start = performance.now();
  sleep(20);
  t.true(performance.now() - start >= 20);
});

hubTest('sleep() of a fraction of a millisecond waits at least that long', (t) => {
  const start = performance.now();
  sleep(1.5);
  t.true(performance.now() - start >= 1.5);
});

hubTest('sleep() counts from the call, not from the beginning of the turn', (t) => {
  burn(20);
  const start = performance.now();
  sleep(10);
  t.true(performance.now() - start >= 10);
});

virtualTest('sleepers wake in the order of their times', (t, clock) => {
  const order: [ms: number, at: number][] = [];
  const sleeper = (ms: number) => {
    sleep(ms);
    order.push([ms, clock.now()]);
  };
  joinAll([30, 10, 20, 1].map((ms) => spawn(sleeper, ms)));
  t.deepEqual(
    order,
    [1, 10, 20, 30].map((ms) => [ms, ms]),
  );
});

virtualTest('sleepers with equal times wake in the order of falling asleep', (t) => {
  const order: number[] = [];
  const greenlets = Array.from({ length: 100 }, (_, index) =>
    spawn(() => {
      sleep(5);
      order.push(index);
    }),
  );
  joinAll(greenlets);
  t.deepEqual(
    order,
    Array.from({ length: 100 }, (_, index) => index),
  );
});

for (const [title, ms] of [
  ['sleep()', undefined],
  ['sleep(0)', 0],
  ['sleep() of a negative time', -5],
] as const) {
  hubTest(`${title} lets the others run once`, (t) => {
    const order: string[] = [];
    const other = spawn(() => order.push('other'));
    sleep(ms);
    order.push('main');
    t.deepEqual(order, ['other', 'main']);
    other.join();
  });
}

hubTest('sleep() refuses NaN', (t) => {
  t.throws(() => sleep(NaN), { instanceOf: TypeError });
});

hubTest('sleep() refuses a string', (t) => {
  t.throws(() => sleep('5' as never), { instanceOf: TypeError });
});

hubTest('sleep() refuses a bigint', (t) => {
  t.throws(() => sleep(5n as never), { instanceOf: TypeError });
});

hubTest('sleep() refuses a signal that is no AbortSignal', (t) => {
  t.throws(() => sleep(1, { signal: 'abort' as never }), { instanceOf: TypeError });
});

hubTest('sleep() ends with the reason of its signal', (t) => {
  const abort = new AbortController();
  const reason = new Boom('enough');
  setImmediate(() => abort.abort(reason));
  t.throws(() => sleep(60_000, { signal: abort.signal }), { is: reason });
});

hubTest('sleep() with an aborted signal does not park', (t) => {
  let ran = false;
  const other = spawn(() => (ran = true));
  t.is((thrownBy(() => sleep(60_000, { signal: AbortSignal.abort() })) as Error).name, 'AbortError');
  t.false(ran);
  other.join();
});

virtualTest('sleep() leaves no listener on its signal', (t) => {
  const abort = new AbortController();
  sleep(1, { signal: abort.signal });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
});

// idle()

hubTest('idle() returns once all others have parked or ended', (t) => {
  const order: string[] = [];
  const greenlet = spawn(() => {
    order.push('1');
    sleep(0);
    order.push('2');
    sleep(0);
    order.push('3');
  });
  idle();
  t.deepEqual(order, ['1', '2', '3']);
  t.true(greenlet.dead);
});

hubTest('idle() runs what the others spawn', (t) => {
  let ran = false;
  spawn(() => {
    spawn(() => {
      ran = true;
    });
  });
  idle();
  t.true(ran);
});

hubTest('idle() does not wait for timers', (t) => {
  const sleeper = parked();
  idle();
  t.false(sleeper.dead);
  sleeper.kill();
});

// joinAll()

virtualTest('joinAll() returns the greenlets in the order of their ends', (t) => {
  const [slow, quick] = [30, 1].map((ms) => spawn(sleep, ms));
  identical(t, joinAll([slow!, quick!]), [quick, slow]);
});

virtualTest('joinAll() returns those that have ended when its time is up', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  identical(t, joinAll([slow, quick], { timeout: 5 }), [quick]);
  slow.kill();
});

hubTest('joinAll() returns after as many as it was told', (t) => {
  const greenlets = [1, 2, 3].map(() => spawn(nothing));
  const slow = parked();
  t.is(joinAll([slow, ...greenlets], { count: 2 }).length, 2);
  slow.kill();
  joinAll(greenlets);
});

hubTest('joinAll() of nothing returns nothing', (t) => {
  t.deepEqual(joinAll([]), []);
});

hubTest('joinAll() counts a greenlet once that is listed twice', (t) => {
  const greenlet = spawn(nothing);
  identical(t, [...new Set(joinAll([greenlet, greenlet]))], [greenlet]);
});

hubTest('joinAll() takes a set', (t) => {
  const greenlets = new Set([spawn(nothing), spawn(nothing)]);
  t.is(joinAll(greenlets).length, 2);
});

hubTest('joinAll() keeps the errors of the greenlets to itself', (t) => {
  const greenlet = failing();
  const ended = muted(() => joinAll([greenlet]));
  identical(t, ended, [greenlet]);
});

virtualTest(
  'joinAll() with raiseError throws the error of the first to fail in time, and the others go on',
  (t) => {
    const [early, late] = [new Boom('early'), new Boom('late')];
    const greenlets = [
      spawn(() => {
        sleep(30);
        throw late;
      }),
      spawn(() => {
        sleep(1);
        throw early;
      }),
    ];
    muted(() => {
      t.throws(() => joinAll(greenlets, { raiseError: true }), { is: early });
      t.false(greenlets[0]!.dead);
      joinAll(greenlets);
      idle();
    });
    t.is(greenlets[0]!.error, late);
  },
);

hubTest('joinAll() with raiseError does not throw for a killed greenlet', (t) => {
  const greenlet = parked();
  greenlet.kill();
  identical(t, joinAll([greenlet], { raiseError: true }), [greenlet]);
});

virtualTest('joinAll() removes its links when its time is up', (t) => {
  const greenlet = parked();
  joinAll([greenlet], { timeout: 1 });
  t.false(greenlet.hasLinks());
  greenlet.kill();
});

hubTest('joinAll() refuses what is not a greenlet', (t) => {
  const greenlet = parked();
  t.throws(() => joinAll([greenlet, 'greenlet' as never]), { instanceOf: TypeError });
  t.false(greenlet.hasLinks());
  greenlet.kill();
});

// killAll()

virtualTest('killAll() returns when all are dead', (t) => {
  const greenlets = [1, 2, 3].map(() =>
    spawn(() => {
      try {
        parkForLong();
      } finally {
        sleep(1);
      }
    }),
  );
  idle();
  killAll(greenlets);
  t.true(greenlets.every((greenlet) => greenlet.dead));
});

hubTest('killAll() keeps greenlets that never started from running, and notifies their links', (t) => {
  const order: string[] = [];
  const greenlet = new Greenlet(() => order.push('ran'));
  greenlet.link(() => order.push('link'));
  killAll([greenlet]);
  greenlet.start();
  idle();
  t.deepEqual(order, ['link']);
});

hubTest('killAll() throws its error in each', (t) => {
  const error = new Boom('boom');
  const greenlets = [parked(), parked()];
  muted(() => {
    killAll(greenlets, { error });
    idle();
  });
  t.deepEqual(
    greenlets.map((greenlet) => greenlet.error === error),
    [true, true],
  );
});

virtualTest('killAll() throws Timeout when its time is up', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  muted(() => t.throws(() => killAll([stubborn], { timeout: 5 }), { instanceOf: Timeout }));
  gate.open();
  stubborn.join();
});

hubTest('killAll({ block: false }) returns at once, whatever its timeout', (t) => {
  const greenlet = parked();
  killAll([greenlet], { block: false, timeout: 0 });
  t.false(greenlet.dead);
  greenlet.join();
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('killAll() takes raw greenlets', (t) => {
  let ended = false;
  const raw = spawnRaw(() => {
    try {
      parkForLong();
    } finally {
      ended = true;
    }
  });
  idle();
  killAll([raw]);
  t.true(ended);
});

hubTest('killAll() twice is harmless', (t) => {
  const greenlets = [parked(), parked()];
  killAll(greenlets);
  t.notThrows(() => killAll(greenlets));
});

hubTest('killAll() takes a set', (t) => {
  const greenlet = parked();
  killAll(new Set([greenlet]));
  t.true(greenlet.dead);
});

hubTest('killAll() of a list with the running greenlet ends that too', (t) => {
  const other = parked();
  const greenlet = spawn(() => {
    killAll([other, current()]);
    return 'survived';
  });
  greenlet.join();
  idle();
  t.true(other.dead);
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('killAll() refuses what is not a greenlet, and kills nobody', (t) => {
  const greenlet = parked();
  t.throws(() => killAll([greenlet, {} as never]), { instanceOf: TypeError });
  idle();
  t.false(greenlet.dead);
  greenlet.kill();
});

// kill()

hubTest('kill() returns before the greenlet notices', (t) => {
  const greenlet = parked();
  kill(greenlet);
  t.false(greenlet.dead);
  greenlet.join();
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('kill() throws its error in the greenlet', (t) => {
  const error = new Boom('boom');
  const greenlet = parked();
  kill(greenlet, error);
  muted(() => {
    greenlet.join();
    idle();
  });
  t.is(greenlet.error, error);
});

test.serial('kill() works in a plain callback', async (t) => {
  const greenlet = spawn(parkForLong);
  await settle();
  kill(greenlet);
  await greenlet;
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

hubTest('kill() refuses what is not a greenlet', (t) => {
  t.throws(() => kill({} as never), { instanceOf: TypeError });
});

hubTest('kill() refuses null', (t) => {
  t.throws(() => kill(null as never), { instanceOf: TypeError });
});

hubTest('kill() of the hub is refused', (t) => {
  t.throws(() => kill(getHub() as never), { instanceOf: InvalidSwitchError });
});

hubTest('joinAll() of a list with the running greenlet is refused', (t) => {
  const error = spawn(() => thrownBy(() => joinAll([current()]))).get();
  t.true(error instanceof InvalidSwitchError, String(error));
});

// wait() and iwait()

virtualTest('wait() returns the ready ones in the order of their becoming so', (t) => {
  const [slow, quick] = [20, 1].map((ms) => spawn(sleep, ms));
  identical(t, wait([slow!, quick!]), [quick, slow]);
});

virtualTest('wait() returns what is ready when its time is up', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  identical(t, wait([slow, quick], { timeout: 5 }), [quick]);
  slow.kill();
});

hubTest('wait() returns as many as it was told', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  identical(t, wait([slow, quick], { count: 1 }), [quick]);
  slow.kill();
});

hubTest('wait() removes its links from those it does not wait for any more', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  wait([slow, quick], { count: 1 });
  t.false(slow.hasLinks());
  slow.kill();
});

hubTest('wait() of nothing returns nothing', (t) => {
  t.deepEqual(wait([]), []);
});

hubTest('wait() takes whatever has rawlink, unlink and ready', (t) => {
  type Callback = (self: never) => unknown;
  const callbacks = new Set<Callback>();
  const flag = {
    ready: false,
    rawlink: (callback: Callback) => void callbacks.add(callback),
    unlink: (callback: Callback) => void callbacks.delete(callback),
  };
  setImmediate(() => {
    flag.ready = true;
    for (const callback of callbacks) callback(flag as never);
  });
  t.deepEqual(
    wait([flag]).map((ready) => ready === flag),
    [true],
  );
  t.is(callbacks.size, 0);
});

hubTest('wait() refuses what cannot be waited for, and leaves no link', (t) => {
  const greenlet = parked();
  t.throws(() => wait([greenlet, 5 as never]), { instanceOf: TypeError });
  t.false(greenlet.hasLinks());
  greenlet.kill();
});

virtualTest('wait() without objects returns false when its time is up', (t) => {
  const greenlet = parked();
  t.false(wait(undefined, { timeout: 5 }));
  greenlet.kill();
});

virtualTest('iwait() yields each as it gets ready', (t) => {
  const [slow, quick] = [20, 1].map((ms) => spawn(sleep, ms));
  identical(t, [...iwait([slow!, quick!])], [quick, slow]);
});

hubTest('iwait() yields what was ready before', (t) => {
  const greenlet = spawn(nothing);
  greenlet.join();
  identical(t, [...iwait([greenlet])], [greenlet]);
});

hubTest('iwait() is its own iterator', (t) => {
  const iterator = iwait([]);
  t.is(iterator[Symbol.iterator](), iterator);
});

virtualTest('iwait() stops when its time is up', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  identical(t, [...iwait([slow, quick], { timeout: 5 })], [quick]);
  t.false(slow.hasLinks());
  slow.kill();
});

hubTest('iwait() stops after as many as it was told', (t) => {
  const greenlets = [spawn(nothing), spawn(nothing), spawn(nothing)];
  t.is([...iwait(greenlets, { count: 2 })].length, 2);
  t.false(greenlets.some((greenlet) => greenlet.hasLinks()));
  joinAll(greenlets);
});

virtualTest('iwait() may park between two results', (t) => {
  const greenlets = [1, 2, 3].map((ms) => spawn(sleep, ms));
  const seen: Greenlet<unknown>[] = [];
  for (const greenlet of iwait(greenlets)) {
    sleep(5);
    seen.push(greenlet);
  }
  identical(t, seen, greenlets);
});

hubTest('leaving the loop over iwait() removes its links', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  for (const greenlet of iwait([slow, quick])) {
    t.is(greenlet, quick);
    break;
  }
  t.false(slow.hasLinks());
  slow.kill();
});

hubTest('disposing of iwait() removes its links', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  {
    using iterator = iwait<Greenlet<void>>([slow, quick]);
    t.is(iterator.next().value, quick);
    t.true(slow.hasLinks());
  }
  t.false(slow.hasLinks());
  slow.kill();
});

virtualTest('iwait() yields each once, though its time runs out between two results', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  const seen: Greenlet<void>[] = [];
  for (const greenlet of iwait([quick, slow], { timeout: 5 })) {
    seen.push(greenlet);
    sleep(20);
  }
  identical(t, seen, [quick]);
  slow.kill();
});

hubTest('two greenlets that take from one iwait() both get something, or one is refused', (t) => {
  const gates = [new Gate(), new Gate()];
  const sources = gates.map((gate) => spawn(() => gate.pass()));
  const iterator = iwait(sources);
  const takers = [1, 2].map(() => spawn(() => thrownOrTaken(iterator)));
  idle();
  for (const gate of gates) gate.open();
  t.is(joinAll(takers, { timeout: 50_000 }).length, 2, 'one of them hangs');
  for (const taker of takers)
    t.true(sources.includes(taker.value as never) || taker.value instanceof ConcurrentObjectUseError);
  killAll(takers);
});

function thrownOrTaken(iterator: Iterator<Greenlet<void>>): unknown {
  try {
    return { taken: iterator.next().value as unknown }.taken;
  } catch (error) {
    return error;
  }
}

hubTest('wait() and iwait() with no time to wait return what is ready', (t) => {
  const quick = spawn(nothing);
  const slow = parked();
  identical(t, wait([slow, quick], { timeout: 0 }), [quick]);
  identical(t, [...iwait([slow, quick], { timeout: 0 })], [quick]);
  slow.kill();
});

hubTest('wait() takes promises and signals beside greenlets', (t) => {
  const greenlet = spawn(nothing);
  const promise = Promise.resolve('value');
  const abort = new AbortController();
  greenlet.rawlink(() => setTimeout(() => abort.abort(), 1));
  const ready = wait([abort.signal, promise, greenlet]);
  t.is(ready.length, 3);
  t.true(ready.includes(promise) && ready.includes(greenlet));
  t.is(ready[2], abort.signal);
});

hubTest('wait() leaves no listener on a signal', (t) => {
  const { signal: aborted } = new AbortController();
  wait([aborted], { timeout: 1 });
  t.is(getEventListeners(aborted, 'abort').length, 0);
});

virtualTest('wait() takes raw greenlets', (t) => {
  const raw = spawnRaw(sleep, 5);
  identical(t, wait([raw]), [raw]);
  t.true(raw.dead);
});

virtualTest('getHub().join() returns false when its time is up', (t) => {
  const greenlet = parked();
  t.false(getHub().join(5));
  greenlet.kill();
});

hubTest('getHub().join() refuses NaN', (t) => {
  t.throws(() => getHub().join(NaN), { instanceOf: TypeError });
});

hubTest('iwait() refuses a count that is no whole number from 0', (t) => {
  const greenlet = parked();
  t.throws(() => [...iwait([greenlet], { count: 'one' as never })], {
    instanceOf: TypeError,
    message: 'iwait(): count must be a number, got string one',
  });
  for (const count of [-1, 0.5, Infinity])
    t.throws(() => [...iwait([greenlet], { count })], {
      instanceOf: RangeError,
      message: `iwait(): count must be a whole number from 0, got ${count}`,
    });
  t.false(greenlet.hasLinks());
  greenlet.kill();
});

// waitFor()

hubTest('waitFor() returns the value of a promise', (t) => {
  t.is(waitFor(new Promise((resolve) => setTimeout(resolve, 1, 'value'))), 'value');
});

hubTest('waitFor() returns the value of a settled promise', (t) => {
  t.is(waitFor(Promise.resolve('value')), 'value');
});

hubTest('waitFor() throws what the promise rejects with', (t) => {
  const error = new Boom('boom');
  t.throws(() => waitFor(Promise.reject(error)), { is: error });
});

hubTest('waitFor() throws undefined when the promise rejects with it', (t) => {
  let caught: unknown = 'nothing';
  try {
    waitFor(Promise.reject(undefined));
  } catch (error) {
    caught = error;
  }
  t.is(caught, undefined);
});

hubTest('waitFor() hands through what is no promise', (t) => {
  const object = {};
  t.is(waitFor(object), object);
  t.is(waitFor(5), 5);
  t.is(waitFor(undefined), undefined);
});

hubTest('waitFor() takes any thenable', (t) => {
  const thenable: PromiseLike<string> = {
    then: (resolve) => Promise.resolve('value').then(resolve),
  };
  t.is(waitFor(thenable), 'value');
});

hubTest('waitFor() takes a thenable that resolves at once', (t) => {
  const thenable = { then: (resolve: (value: string) => void) => resolve('value') };
  t.is(waitFor(thenable as unknown as PromiseLike<string>), 'value');
});

hubTest('waitFor() throws what the then of a thenable throws', (t) => {
  const error = new Boom('boom');
  const thenable = {
    then() {
      throw error;
    },
  };
  t.throws(() => waitFor(thenable as unknown as PromiseLike<string>), { is: error });
});

hubTest('waitFor() calls a function with a signal and returns what its promise gives', (t) => {
  t.is(
    waitFor(async (abort) => {
      t.true(abort instanceof AbortSignal);
      return abort.aborted;
    }),
    false,
  );
});

hubTest('waitFor() throws what its function throws', (t) => {
  const error = new Boom('boom');
  t.throws(
    () =>
      waitFor(() => {
        throw error;
      }),
    { is: error },
  );
});

hubTest('a kill aborts the signal of waitFor()', (t) => {
  let seen: AbortSignal | undefined;
  const greenlet = spawn(() =>
    waitFor((abort) => {
      seen = abort;
      return never();
    }),
  );
  idle();
  t.false(seen!.aborted);
  greenlet.kill();
  t.true(seen!.aborted);
});

hubTest('a timeout aborts the signal of waitFor()', (t) => {
  let seen: AbortSignal | undefined;
  const wait = () =>
    waitFor((abort) => {
      seen = abort;
      return never();
    }, 1);
  t.throws(wait, { instanceOf: Timeout });
  t.true(seen!.aborted);
});

hubTest('the signal of waitFor() is not aborted when its promise is kept', (t) => {
  let seen: AbortSignal | undefined;
  waitFor(async (abort) => {
    seen = abort;
  });
  idle();
  t.false(seen!.aborted);
});

hubTest('a promise that is rejected after the wait for it was given up is no unhandled rejection', (t) => {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', listener);
  t.throws(() => waitFor((abort) => rejectedOn(abort), 1), { instanceOf: Timeout });
  sleep(20);
  process.off('unhandledRejection', listener);
  t.deepEqual(unhandled, []);
});

/** As `fetch` does: rejects once the signal is aborted. */
function rejectedOn(abort: AbortSignal): Promise<never> {
  return new Promise((_, reject) => abort.addEventListener('abort', () => reject(abort.reason)));
}

hubTest('waitFor() ends with the reason of the signal in its limits', (t) => {
  const abort = new AbortController();
  const reason = new Boom('enough');
  setImmediate(() => abort.abort(reason));
  t.throws(() => waitFor(never(), { signal: abort.signal }), { is: reason });
  t.is(getEventListeners(abort.signal, 'abort').length, 0);
});

hubTest('waitFor({ block: false }) throws Timeout for a promise that is not settled', (t) => {
  t.throws(() => waitFor(never(), { block: false }), { instanceOf: Timeout });
});

hubTest('many greenlets can wait for one promise', (t) => {
  const promise = new Promise<string>((resolve) => setTimeout(resolve, 1, 'value'));
  const greenlets = Array.from({ length: 100 }, () => spawn(() => waitFor(promise)));
  joinAll(greenlets);
  t.true(greenlets.every((greenlet) => greenlet.value === 'value'));
});

hubTest('fetch can be waited for beside parked greenlets', (t) => {
  const others = [parked(), parked()];
  using server = httpServer((_, response) => void response.end('hello'));
  const pages = [1, 2, 3].map(() =>
    spawn(() => waitFor(waitFor((abort) => fetch(server.url, { signal: abort })).text())),
  );
  joinAll(pages, { raiseError: true });
  t.deepEqual(
    pages.map((page) => page.value),
    ['hello', 'hello', 'hello'],
  );
  killAll(others);
});

hubTest('a kill aborts the fetch that the greenlet waits for', (t) => {
  let requested = false;
  let closed = false;
  using server = httpServer((_, response) => {
    requested = true;
    response.on('close', () => (closed = true));
  });
  const greenlet = spawn(() => waitFor((abort) => fetch(server.url, { signal: abort })));
  while (!requested) sleep(1);
  greenlet.kill();
  while (!closed) sleep(1);
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

/** An HTTP server of Node's on 127.0.0.1. */
function httpServer(handler: RequestListener): Disposable & { url: string } {
  const server = createServer(handler).listen(0, '127.0.0.1');
  waitFor(once(server, 'listening'));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.dispose]() {
      server.closeAllConnections();
      waitFor(new Promise((resolve) => server.close(resolve)));
    },
  };
}

hubTest('waitFor() waits for what runs in other greenlets', (t) => {
  const gate = new Gate();
  const ask = asyncify(() => {
    gate.pass();
    return 'answer';
  });
  const greenlet = spawn(() => waitFor(ask()));
  idle();
  gate.open();
  t.is(greenlet.get(), 'answer');
});

// asyncify()

test.serial('asyncify() makes a promise of a function that parks', async (t) => {
  const add = asyncify((a: number, b: number) => {
    sleep(1);
    return a + b;
  });
  t.is(await add(2, 3), 5);
});

test.serial('asyncify() rejects with what the function throws', async (t) => {
  const error = new Boom('boom');
  const broken = asyncify(() => {
    sleep(1);
    throw error;
  });
  await t.throwsAsync(broken(), { is: error });
});

test.serial('asyncify() hands this on', async (t) => {
  const counter = {
    count: 5,
    read: asyncify(function (this: { count: number }) {
      sleep(0);
      return this.count;
    } as () => number),
  };
  t.is(await counter.read(), 5);
});

test.serial('each call of an asyncified function has a greenlet of its own', async (t) => {
  const who = asyncify(() => {
    sleep(1);
    return { greenlet: getCurrent() };
  });
  const [first, second] = await Promise.all([who(), who()]);
  t.true(first.greenlet instanceof Greenlet);
  t.not(first.greenlet, second.greenlet);
});

test.serial('asyncify() refuses what is not a function', (t) => {
  t.throws(() => asyncify(5 as never), { instanceOf: TypeError });
});

// shield()

hubTest('shield() returns what its function returns', (t) => {
  t.is(
    shield(() => 'value'),
    'value',
  );
});

hubTest('shield() throws what its function throws', (t) => {
  const error = new Boom('boom');
  t.throws(
    () =>
      shield(() => {
        throw error;
      }),
    { is: error },
  );
});

hubTest('a kill waits for the end of the shield', (t) => {
  const order: string[] = [];
  const gate = new Gate();
  const greenlet = spawn(() => {
    shield(() => {
      gate.pass();
      order.push('committed');
    });
    parkForLong();
    order.push('went on');
  });
  idle();
  kill(greenlet);
  idle();
  t.false(greenlet.dead);
  gate.open();
  greenlet.join();
  t.deepEqual(order, ['committed']);
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

virtualTest('of two nested shields the outer one ends the protection', (t) => {
  const gate = new Gate();
  const order: string[] = [];
  const greenlet = spawn(() => {
    shield(() => {
      shield(() => gate.pass());
      sleep(1);
      order.push('outer');
    });
    parkForLong();
  });
  idle();
  kill(greenlet);
  gate.open();
  greenlet.join();
  t.deepEqual(order, ['outer']);
});

virtualTest('a time limit of a call within a shield still holds', (t) => {
  const greenlet = parked();
  t.throws(() => shield(() => greenlet.get(1)), { instanceOf: Timeout });
  greenlet.kill();
});

// signal()

/** Sends a signal to this process, and waits until it was told. */
function raise(name: NodeJS.Signals): void {
  const told = once(process, name);
  process.kill(process.pid, name);
  waitFor(told);
  idle();
}

hubTest('signal() calls its handler with its arguments in a greenlet of its own, which may park', (t) => {
  const seen: unknown[] = [];
  using _watcher: SignalWatcher = signal(
    'SIGUSR2',
    (...args: unknown[]) => {
      sleep(0);
      seen.push(...args, getCurrent() !== null);
    },
    'a',
    2,
  );
  raise('SIGUSR2');
  t.deepEqual(seen, ['a', 2, true]);
});

hubTest('signal() stays installed until cancel()', (t) => {
  let count = 0;
  const before = process.listenerCount('SIGUSR2');
  const watcher = signal('SIGUSR2', () => count++);
  raise('SIGUSR2');
  raise('SIGUSR2');
  watcher.cancel();
  t.is(count, 2);
  t.is(process.listenerCount('SIGUSR2'), before);
});

hubTest('the error of a signal handler is reported', (t) => {
  using _watcher = signal('SIGUSR2', () => {
    throw new Boom('boom');
  });
  t.regex(
    stderrOf(() => raise('SIGUSR2')),
    /Boom: boom/,
  );
});

hubTest('a signal watcher does not keep the process alive unless it is told to', (t) => {
  using watcher = signal('SIGUSR2', nothing);
  t.false(watcher.ref);
});

hubTest('signal() refuses what is not a function', (t) => {
  t.throws(() => signal('SIGUSR2', 5 as never), { instanceOf: TypeError });
});

hubTest('signal() refuses an unknown signal', (t) => {
  t.throws(() => signal('SIGNOTHING' as never, nothing), { instanceOf: Error });
});

// The rest of the surface

test.serial('getCurrent() is no greenlet in plain code', (t) => {
  t.false(getCurrent() instanceof Greenlet);
});

test.serial('getHub() is the same every time', (t) => {
  t.is(getHub(), getHub());
});

test.serial('version is the version of the package', (t) => {
  const { version: expected } = require('greenstack/package.json') as { version: string };
  t.is(version, expected);
});

test.serial('config is one object', (t) => {
  t.is(typeof config, 'object');
});

test.serial('the switch interval can be set, and put back', (t) => {
  const before = getSwitchInterval();
  t.true(before > 0);
  setSwitchInterval(before + 1);
  t.is(getSwitchInterval(), before + 1);
  setSwitchInterval(before);
});

hubTest('with a switch interval of 0 each turn lets one greenlet go on', (t) => {
  const before = getSwitchInterval();
  setSwitchInterval(0);
  const greenlets = [1, 2, 3].map((id) =>
    spawn(() => {
      sleep(0);
      return id;
    }),
  );
  joinAll(greenlets);
  setSwitchInterval(before);
  t.deepEqual(
    greenlets.map(({ value }) => value),
    [1, 2, 3],
  );
});

test.serial('setSwitchInterval() refuses NaN', (t) => {
  const before = getSwitchInterval();
  t.throws(() => setSwitchInterval(NaN), { instanceOf: TypeError });
  t.is(getSwitchInterval(), before);
});

// Blocking where one must not

const blockers: [string, () => unknown][] = [
  ['sleep()', () => sleep(1)],
  ['sleep(0)', () => sleep(0)],
  ['idle()', () => idle()],
  ['waitFor()', () => waitFor(never())],
  ['wait()', () => wait()],
  ['join()', () => new Greenlet(nothing).join()],
  ['get()', () => new Greenlet(nothing).get()],
  ['joinAll()', () => joinAll([new Greenlet(nothing)])],
];

for (const [call, block] of blockers) {
  test.serial(`${call} in plain code is refused with advice`, async (t) => {
    const before = getHub().stats();
    const error = await new Promise((resolve) => setImmediate(() => resolve(thrownBy(block))));
    t.true(error instanceof BlockingSwitchOutError);
    t.is((error as GreenstackError).code, 'ERR_GREENSTACK_BLOCKING_SWITCH_OUT');
    t.regex((error as Error).message, /\b(run|spawn|asyncify)\(|await the greenlet/);
    await settle();
    t.is(getHub().stats().timers, before.timers);
    t.is(getHub().stats().parked, before.parked);
  });
}

test.serial('sleep() in a promise reaction is refused', async (t) => {
  const error = await Promise.resolve().then(() => thrownBy(() => sleep(1)));
  t.true(error instanceof BlockingSwitchOutError);
});

hubTest('sleep() in a plain callback is refused while greenlets are parked', (t) => {
  const greenlet = parked();
  const error = waitFor(new Promise((resolve) => setTimeout(() => resolve(thrownBy(() => sleep(1))), 1)));
  t.true(error instanceof BlockingSwitchOutError);
  greenlet.kill();
});

test.serial('join() in plain code returns if the greenlet has ended', async (t) => {
  const greenlet = spawn(() => 'value');
  await greenlet;
  t.notThrows(() => greenlet.join());
  t.is(greenlet.get(), 'value');
});

test.serial('join() in plain code with no time to wait returns', (t) => {
  t.notThrows(() => new Greenlet(nothing).join(0));
});

// Deadlock

test.serial('a deadlock is thrown in main as LoopExit, saying who waits where', async (t) => {
  const { code, stdout } = await runProgram('deadlock.js');
  const report = JSON.parse(stdout) as { name: string; code: string; message: string };
  t.is(report.name, 'LoopExit');
  t.is(report.code, 'ERR_GREENSTACK_LOOP_EXIT');
  t.regex(report.message, /the-forgotten-one/);
  t.regex(report.message, /waitsForNobody/);
  t.is(code, 0);
});

test.serial('after LoopExit main can go on blocking', async (t) => {
  const { code, stdout } = await runProgram('after-loop-exit.js');
  t.is(stdout, 'LoopExit\nwoken\n');
  t.is(code, 0);
});

test.serial('a plain timer that will wake main is no deadlock', async (t) => {
  const { code, stdout } = await runProgram('woken-by-callback.js');
  t.is(stdout, 'woken\n');
  t.is(code, 0);
});

test.serial('a deadlock that nobody catches rejects run() and ends the process', async (t) => {
  const { code, stderr } = await runProgram('uncaught-deadlock.js');
  t.is(code, 1);
  t.regex(stderr, /LoopExit/);
});

test.serial('wait() without objects returns true when the loop has nothing left', async (t) => {
  const { code, stdout } = await runProgram('wait-for-loop.js');
  t.is(stdout, 'greenlet\ncallback\ntrue\n');
  t.is(code, 0);
});

// Fairness

/** Yields until `done()` holds; the limit is far beyond what any fair hub needs. */
function yieldUntil(done: () => boolean): boolean {
  for (let yields = 0; yields < 2_000_000 && !done(); yields++) sleep(0);
  return done();
}

hubTest('promise reactions run while greenlets yield in a loop', (t) => {
  let steps = 0;
  const step = (): Promise<void> => Promise.resolve().then(() => (++steps < 100 ? step() : undefined));
  void step();
  t.true(yieldUntil(() => steps >= 100));
});

hubTest('nextTick callbacks run while greenlets yield in a loop', (t) => {
  let steps = 0;
  const step = () => {
    if (++steps < 100) process.nextTick(step);
  };
  process.nextTick(step);
  t.true(yieldUntil(() => steps >= 100));
});

hubTest('setImmediate callbacks run while greenlets yield in a loop', (t) => {
  let steps = 0;
  const step = () => {
    if (++steps < 10) setImmediate(step);
  };
  setImmediate(step);
  t.true(yieldUntil(() => steps >= 10));
});

hubTest('plain timers run while greenlets yield in a loop', (t) => {
  let fired = false;
  setTimeout(() => (fired = true), 5);
  t.true(yieldUntil(() => fired));
});

hubTest('sleepers wake while greenlets yield in a loop', (t) => {
  const sleeper = spawn(sleep, 5);
  t.true(yieldUntil(() => sleeper.dead));
});

hubTest('greenlets run while plain callbacks follow one another', (t) => {
  let stop = false;
  const chain = () => {
    if (!stop) setImmediate(chain);
  };
  setImmediate(chain);
  const greenlet = spawn(() => {
    for (let turn = 0; turn < 100; turn++) sleep(0);
    sleep(1);
    return 'done';
  });
  t.is(greenlet.get(), 'done');
  stop = true;
});

hubTest('of a thousand greenlets that yield none is left behind', (t) => {
  const turns = Array.from({ length: 1000 }, () => 0);
  let least = 0;
  let most = 0;
  const greenlets = turns.map((_, index) =>
    spawn(() => {
      for (let turn = 0; turn < 20; turn++) {
        turns[index]!++;
        least = Math.min(...turns);
        most = Math.max(...turns);
        if (most - least > 1) throw new Error(`one has had ${most} turns, another ${least}`);
        sleep(0);
      }
    }),
  );
  joinAll(greenlets, { raiseError: true });
  t.is(least, 20);
});
