import { inspect } from 'node:util';
import test from 'ava';
import {
  BlockingSwitchOutError,
  Greenlet,
  GreenletExit,
  InvalidSwitchError,
  Timeout,
  config,
  getCurrent,
  getHub,
  idle,
  joinAll,
  kill,
  killAll,
  run,
  sleep,
  spawn,
  spawnLater,
  spawnRaw,
  waitFor,
} from 'greenstack';
import { collectGarbage } from './support/garbage.js';
import { Gate, burn, current, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { identical } from './support/identical.js';
import { muted, stderrOf } from './support/stderr.js';

const nothing = () => {};

class Boom extends Error {
  override name = 'Boom';
}

const fail = () => {
  throw new Boom('boom');
};

// Starting

hubTest('greenlets start in the order of their spawning and take turns at sleep(0)', (t) => {
  const order: string[] = [];
  const twice = (id: number) => {
    order.push(`${id}A`);
    sleep(0);
    order.push(`${id}B`);
  };
  joinAll([spawn(twice, 1), spawn(twice, 2)]);
  t.deepEqual(order, ['1A', '2A', '1B', '2B']);
});

hubTest('spawn() runs nothing before the caller parks', (t) => {
  let ran = false;
  const greenlet = spawn(() => (ran = true));
  burn(10);
  t.false(ran);
  greenlet.join();
  t.true(ran);
});

hubTest('spawn() hands its arguments on', (t) => {
  const greenlet = spawn((...args: unknown[]) => args, 1, 'two', null);
  t.deepEqual(greenlet.get(), [1, 'two', null]);
});

hubTest('spawn() takes options in front of the function', (t) => {
  const greenlet = spawn({ name: 'adder' }, (a: number, b: number) => a + b, 2, 3);
  t.is(greenlet.name, 'adder');
  t.is(greenlet.get(), 5);
});

hubTest('spawn() refuses what is not a function and spawns nothing', (t) => {
  const before = getHub().stats().greenlets;
  t.throws(() => spawn('not a function' as never), { instanceOf: TypeError });
  t.is(getHub().stats().greenlets, before);
});

hubTest('spawn() with options refuses what is not a function', (t) => {
  t.throws(() => spawn({ name: 'x' }, 5 as never), { instanceOf: TypeError });
});

hubTest('spawn() refuses a name that is not a string', (t) => {
  t.throws(() => spawn({ name: 5 as never }, nothing), { instanceOf: TypeError });
});

hubTest('spawn() refuses a stack size that is not a number', (t) => {
  t.throws(() => spawn({ stackSize: NaN }, nothing), { instanceOf: TypeError });
});

hubTest('spawn() refuses a negative stack size', (t) => {
  t.throws(() => spawn({ stackSize: -1 }, nothing), { instanceOf: RangeError });
});

hubTest('new Greenlet() refuses what is not a function', (t) => {
  t.throws(() => new Greenlet(5 as never), { instanceOf: TypeError });
});

hubTest('a second start() does not run the function again', (t) => {
  let runs = 0;
  const greenlet = new Greenlet(() => ++runs);
  greenlet.start();
  greenlet.start();
  greenlet.join();
  idle();
  t.is(runs, 1);
});

hubTest('start() after the end does nothing', (t) => {
  let runs = 0;
  const greenlet = spawn(() => ++runs);
  greenlet.join();
  greenlet.start();
  idle();
  t.is(runs, 1);
  t.is(greenlet.value, 1);
});

hubTest('a greenlet spawned by one that ends at once still runs', (t) => {
  const order: string[] = [];
  let child: Greenlet<unknown> | undefined;
  const parent = spawn(() => {
    child = spawn(() => order.push('child'));
    order.push('parent');
  });
  parent.join();
  child!.join();
  t.deepEqual(order, ['parent', 'child']);
});

hubTest('spawnLater() waits at least as long as it was told', (t) => {
  const start = performance.now();
  const greenlet = spawnLater(20, () => performance.now() - start);
  t.true((greenlet.get() as number) >= 20);
});

virtualTest('spawnLater() hands its arguments on', (t) => {
  t.deepEqual(spawnLater(0, (...args: unknown[]) => args, 'a', 2).get(), ['a', 2]);
});

virtualTest('spawnLater() runs shorter delays first', (t, clock) => {
  const times: number[] = [];
  joinAll([30, 1, 15].map((ms) => spawnLater(ms, () => times.push(clock.now()))));
  t.deepEqual(times, [1, 15, 30]);
});

hubTest('spawnLater() refuses a missing function', (t) => {
  t.throws(() => spawnLater(1, undefined as never), { instanceOf: TypeError });
});

hubTest('spawnLater() refuses what is not a function', (t) => {
  t.throws(() => spawnLater(1, 1 as never), { instanceOf: TypeError });
});

hubTest('spawnLater() refuses NaN', (t) => {
  t.throws(() => spawnLater(NaN, nothing), { instanceOf: TypeError });
});

virtualTest('spawnLater() takes a negative delay for 0', (t) => {
  t.is(spawnLater(-5, () => 'ran').get(), 'ran');
});

virtualTest('a delayed greenlet that is killed before its time never runs', (t) => {
  let ran = false;
  const greenlet = spawnLater(5, () => (ran = true));
  greenlet.kill();
  sleep(1000);
  t.false(ran);
});

virtualTest('startLater() counts as started at once', (t) => {
  const greenlet = new Greenlet(() => 'ran');
  greenlet.startLater(1);
  t.true(greenlet.started);
  t.is(greenlet.get(), 'ran');
});

virtualTest('start() brings no second run to one that waits for its delay', (t) => {
  let runs = 0;
  const greenlet = new Greenlet(() => ++runs);
  greenlet.startLater(5);
  greenlet.start();
  greenlet.join();
  sleep(1000);
  t.is(runs, 1);
});

test.serial('spawn() works in a plain callback', async (t) => {
  const greenlet = await new Promise<Greenlet<number>>((resolve) => {
    setImmediate(() =>
      resolve(
        spawn(() => {
          sleep(1);
          return 5;
        }),
      ),
    );
  });
  t.is(await greenlet, 5);
});

// Raw greenlets

hubTest('spawnRaw() hands its arguments on', (t) => {
  let received: unknown[] = [];
  spawnRaw((...args: unknown[]) => (received = args), 1, 2);
  idle();
  t.deepEqual(received, [1, 2]);
});

hubTest('spawnRaw() refuses what is not a function', (t) => {
  t.throws(() => spawnRaw({} as never), { instanceOf: TypeError });
});

hubTest('a raw greenlet is dead once it has ended', (t) => {
  const raw = spawnRaw(nothing);
  t.false(raw.dead);
  idle();
  t.true(raw.dead);
});

hubTest('a raw greenlet can park', (t) => {
  const gate = new Gate();
  const order: string[] = [];
  spawnRaw(() => {
    gate.pass();
    order.push('raw');
  });
  idle();
  order.push('main');
  gate.open();
  idle();
  t.deepEqual(order, ['main', 'raw']);
});

hubTest('kill() ends a parked raw greenlet', (t) => {
  let seen: unknown;
  const raw = spawnRaw(() => {
    seen = thrownBy(parkForLong);
  });
  idle();
  kill(raw);
  idle();
  t.true(GreenletExit.is(seen));
  t.true(raw.dead);
});

hubTest('the error of a raw greenlet is reported', (t) => {
  const text = stderrOf(() => {
    spawnRaw(fail);
    idle();
  });
  t.regex(text, /Boom: boom/);
});

// State

hubTest('a new greenlet is neither started nor ready nor dead', (t) => {
  const { started, ready, dead, successful, value, error } = new Greenlet(nothing);
  t.deepEqual(
    { started, ready, dead, successful, value, error: error ?? undefined },
    { started: false, ready: false, dead: false, successful: false, value: undefined, error: undefined },
  );
});

hubTest('a greenlet counts as started from start() on, before its first turn', (t) => {
  const greenlet = new Greenlet(nothing);
  greenlet.start();
  t.true(greenlet.started);
  t.false(greenlet.ready);
  greenlet.join();
});

hubTest('a running greenlet is started and not dead', (t) => {
  const state = spawn(() => {
    const { started, dead, ready } = current();
    return { started, dead, ready };
  }).get();
  t.deepEqual(state, { started: true, dead: false, ready: false });
});

hubTest('a greenlet that returned is successful, and has no error', (t) => {
  const greenlet = spawn(() => 'result');
  greenlet.join();
  const { started, ready, dead, successful, value, error } = greenlet;
  t.deepEqual(
    { started, ready, dead, successful, value, error: error ?? undefined },
    { started: false, ready: true, dead: true, successful: true, value: 'result', error: undefined },
  );
});

hubTest('a greenlet that threw keeps its error and has no value', (t) => {
  const failure = new Boom('boom');
  const greenlet = spawn(() => {
    throw failure;
  });
  muted(() => greenlet.join());
  const { started, ready, dead, successful, value } = greenlet;
  t.deepEqual(
    { started, ready, dead, successful, value },
    { started: false, ready: true, dead: true, successful: false, value: undefined },
  );
  t.is(greenlet.error, failure);
});

hubTest('a greenlet that throws undefined has failed', (t) => {
  const greenlet = spawn(() => {
    throw undefined;
  });
  muted(() => greenlet.join());
  t.false(greenlet.successful);
  t.is(
    thrownBy(() => greenlet.get()),
    undefined,
  );
});

// join() and get()

hubTest('get() returns the value every time', (t) => {
  const value = {};
  const greenlet = spawn(() => value);
  t.is(greenlet.get(), value);
  t.is(greenlet.get(), value);
});

hubTest('get() throws the very error of the greenlet every time', (t) => {
  const failure = new Boom('boom');
  const greenlet = spawn(() => {
    throw failure;
  });
  muted(() => t.throws(() => greenlet.get(), { is: failure }));
  t.throws(() => greenlet.get(), { is: failure });
});

hubTest('get({ block: false }) throws Timeout while there is no value', (t) => {
  const greenlet = spawn(() => 1);
  t.throws(() => greenlet.get({ block: false }), { instanceOf: Timeout });
  t.false(greenlet.ready);
  greenlet.join();
  t.is(greenlet.get({ block: false }), 1);
});

hubTest('get(0) throws Timeout without parking', (t) => {
  let ran = false;
  const greenlet = spawn(() => (ran = true));
  t.throws(() => greenlet.get(0), { instanceOf: Timeout });
  t.false(ran);
  greenlet.join();
});

virtualTest('get() throws Timeout when its time is up, and the greenlet goes on', (t) => {
  const gate = new Gate();
  const greenlet = spawn(() => {
    gate.pass();
    return 'late';
  });
  t.throws(() => greenlet.get(1), { instanceOf: Timeout, code: 'ERR_GREENSTACK_TIMEOUT' });
  gate.open();
  t.is(greenlet.get(), 'late');
});

virtualTest('get() throws the Timeout it was given as its limit', (t) => {
  const limit = new Timeout(1);
  const greenlet = parked();
  t.throws(() => greenlet.get(limit), { is: limit });
  greenlet.kill();
});

hubTest('get() waits no longer than its signal', (t) => {
  const abort = new AbortController();
  const greenlet = parked();
  setImmediate(() => abort.abort());
  t.is((thrownBy(() => greenlet.get({ signal: abort.signal })) as Error).name, 'AbortError');
  greenlet.kill();
});

hubTest('get() with an aborted signal throws its reason', (t) => {
  const reason = new Boom('no more');
  const greenlet = parked();
  t.throws(() => greenlet.get({ signal: AbortSignal.abort(reason) }), { is: reason });
  greenlet.kill();
});

hubTest('get() refuses limits that are neither number nor Timeout nor options', (t) => {
  const greenlet = spawn(nothing);
  t.throws(() => greenlet.get('5' as never), { instanceOf: TypeError });
  greenlet.join();
});

hubTest('get() refuses a signal that is not an AbortSignal', (t) => {
  const greenlet = spawn(nothing);
  t.throws(() => greenlet.get({ signal: {} as never }), { instanceOf: TypeError });
  greenlet.join();
});

hubTest('join() returns nothing and keeps the error to itself', (t) => {
  const greenlet = spawn(fail);
  t.is(
    muted(() => greenlet.join() as unknown),
    undefined,
  );
  t.true(greenlet.ready);
});

virtualTest('join() returns when its own time is up', (t) => {
  const greenlet = parked();
  t.is(greenlet.join(1) as unknown, undefined);
  t.false(greenlet.ready);
  greenlet.kill();
});

hubTest('join() of one that has ended does not switch', (t) => {
  const ended = spawn(nothing);
  ended.join();
  let ran = false;
  const other = spawn(() => (ran = true));
  ended.join();
  t.false(ran);
  other.join();
});

hubTest('join() refuses NaN', (t) => {
  const greenlet = spawn(nothing);
  t.throws(() => greenlet.join(NaN), { instanceOf: TypeError });
  greenlet.join();
});

hubTest('join() of oneself is refused', (t) => {
  const greenlet = spawn(() => thrownBy(() => current().join()));
  t.true(greenlet.get() instanceof InvalidSwitchError);
});

hubTest('get() of oneself is refused', (t) => {
  const greenlet = spawn(() => thrownBy(() => current().get()));
  t.true(greenlet.get() instanceof InvalidSwitchError);
});

hubTest('a hundred greenlets can join one', (t) => {
  const gate = new Gate();
  const order: number[] = [];
  const joiners = Array.from({ length: 100 }, (_, index) =>
    spawn(() => {
      gate.pass();
      order.push(index);
    }),
  );
  idle();
  gate.open();
  joinAll(joiners);
  t.deepEqual(
    order,
    order.map((_, index) => index),
  );
  t.is(order.length, 100);
});

// kill()

hubTest('a greenlet killed before start() never runs, and counts as dead and successful', (t) => {
  let ran = false;
  const greenlet = new Greenlet(() => (ran = true));
  greenlet.kill();
  greenlet.start();
  idle();
  t.false(ran);
  t.true(greenlet.dead);
  t.true(greenlet.ready);
  t.true(greenlet.successful);
});

hubTest('a greenlet killed between start() and its first turn never runs', (t) => {
  let ran = false;
  const greenlet = spawn(() => (ran = true));
  greenlet.kill();
  idle();
  t.false(ran);
  t.true(greenlet.dead);
});

hubTest('kill() before start() wakes who joins', (t) => {
  const greenlet = new Greenlet(nothing);
  const joiner = spawn(() => {
    greenlet.join();
    return 'woken';
  });
  idle();
  greenlet.kill();
  t.is(joiner.get(), 'woken');
});

hubTest('kill() before start() notifies links', (t) => {
  const notified: Greenlet[] = [];
  const greenlet = new Greenlet(nothing);
  greenlet.link((ended) => notified.push(ended));
  greenlet.kill();
  idle();
  identical(t, notified, [greenlet]);
});

hubTest('kill() throws GreenletExit where the greenlet is parked', (t) => {
  let seen: unknown;
  const greenlet = spawn(() => {
    seen = thrownBy(parkForLong);
  });
  idle();
  greenlet.kill();
  t.true(seen instanceof GreenletExit);
  t.is((seen as GreenletExit).code, 'ERR_GREENSTACK_GREENLET_EXIT');
});

hubTest('the value of a killed greenlet is its GreenletExit, which get() returns', (t) => {
  const greenlet = parked();
  greenlet.kill();
  t.true(greenlet.value instanceof GreenletExit);
  t.is(greenlet.get() as unknown, greenlet.value);
  t.true(greenlet.successful);
});

virtualTest('finally of a killed greenlet runs, and may park', (t) => {
  const order: string[] = [];
  const greenlet = spawn(() => {
    try {
      parkForLong();
    } finally {
      order.push('rollback');
      sleep(1);
      order.push('rolled back');
    }
  });
  idle();
  greenlet.kill();
  order.push('killed');
  t.deepEqual(order, ['rollback', 'rolled back', 'killed']);
});

hubTest('kill() of one that catches it and returns leaves that value', (t) => {
  const greenlet = spawn(() => {
    try {
      parkForLong();
    } catch {
      return 'caught';
    }
    return 'not killed';
  });
  idle();
  greenlet.kill();
  t.is(greenlet.value, 'caught');
});

hubTest('kill(undefined, { block: false }) returns before the greenlet notices', (t) => {
  const greenlet = parked();
  greenlet.kill(undefined, { block: false });
  t.false(greenlet.dead);
  greenlet.join();
  t.true(greenlet.dead);
});

virtualTest('kill() returns silently when its time is up', (t) => {
  let ignored = 0;
  const stubborn = spawn(() => {
    while (ignored < 2) {
      try {
        parkForLong();
      } catch {
        ignored++;
      }
    }
  });
  idle();
  muted(() => stubborn.kill(undefined, 5));
  t.is(ignored, 1);
  t.false(stubborn.dead);
  stubborn.kill();
  t.true(stubborn.dead);
});

virtualTest('a kill is thrown once: the greenlet that swallows it lives on', (t) => {
  const greenlet = spawn(() => {
    thrownBy(parkForLong);
    sleep(1);
    return 'lived on';
  });
  idle();
  muted(() => greenlet.kill());
  t.is(greenlet.value, 'lived on');
});

virtualTest('a greenlet that parks again after a kill is reported by the hub', (t) => {
  const ignored: unknown[][] = [];
  const listener = (...args: unknown[]) => ignored.push(args);
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  getHub().on('killIgnored', listener);
  stubborn.kill(undefined, 5);
  getHub().off('killIgnored', listener);
  gate.open();
  stubborn.join();
  t.is(ignored.length, 1);
  t.is(ignored[0]![0], stubborn);
  t.true(GreenletExit.is(ignored[0]![1]));
});

hubTest('a greenlet that ends after a kill without parking again is not reported as ignoring it', (t) => {
  let reported = false;
  const listener = () => (reported = true);
  getHub().on('killIgnored', listener);
  parked().kill();
  spawn(() => sleep(0)).join();
  getHub().off('killIgnored', listener);
  t.false(reported);
});

hubTest('kill(error) throws that error', (t) => {
  const failure = new Boom('boom');
  const greenlet = parked();
  muted(() => greenlet.kill(failure));
  t.is(greenlet.error, failure);
  t.false(greenlet.successful);
});

hubTest('kill(ErrorClass) throws an instance of it', (t) => {
  const greenlet = parked();
  muted(() => greenlet.kill(Boom));
  t.true(greenlet.error instanceof Boom);
});

hubTest('kill(error) before start() makes the greenlet fail with it', (t) => {
  const failure = new Boom('boom');
  const greenlet = new Greenlet(nothing);
  muted(() => {
    greenlet.kill(failure);
    idle();
  });
  t.throws(() => greenlet.get(), { is: failure });
});

hubTest('kill() of a dead greenlet changes nothing', (t) => {
  const greenlet = spawn(() => 'value');
  greenlet.join();
  greenlet.kill();
  greenlet.kill(new Boom('too late'));
  t.is(greenlet.value, 'value');
  t.true(greenlet.successful);
});

hubTest('a greenlet that kills itself ends there', (t) => {
  const order: string[] = [];
  const greenlet = spawn(() => {
    try {
      current().kill();
      order.push('went on');
    } finally {
      order.push('finally');
    }
  });
  greenlet.join();
  t.deepEqual(order, ['finally']);
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('a greenlet that kills itself with an error fails with it', (t) => {
  const failure = new Boom('boom');
  const greenlet = spawn(() => current().kill(failure));
  muted(() => greenlet.join());
  t.is(greenlet.error, failure);
});

hubTest('several killers of one greenlet all return', (t) => {
  const victim = parked();
  const killers = [1, 2, 3].map((id) =>
    spawn(() => {
      victim.kill();
      return id;
    }),
  );
  t.deepEqual(
    killers.map((killer) => killer.get()),
    [1, 2, 3],
  );
});

hubTest('a killer that is killed stops waiting, and its victim dies all the same', (t) => {
  const gate = new Gate();
  const victim = spawn(() => {
    try {
      parkForLong();
    } finally {
      gate.pass();
    }
  });
  idle();
  const killer = spawn(() => victim.kill());
  idle();
  killer.kill();
  t.true(killer.dead);
  t.false(victim.dead);
  gate.open();
  victim.join();
  t.true(victim.value instanceof GreenletExit);
});

/**
 * A greenlet that parks in `waitFirst`, for 5 ms, and then for long, while two others kill it just as that wait ends: one
 * before and one after it. Needs a virtual clock.
 */
function killedAtTheEndOf(waitFirst: () => void): Greenlet<string> {
  const victims: Greenlet<string>[] = [];
  const killer = () => {
    sleep(5);
    victims[0]!.kill(undefined, { block: false });
  };
  spawn(killer);
  victims.push(
    spawn(() => {
      waitFirst();
      parkForLong();
      return 'survived';
    }),
  );
  spawn(killer);
  victims[0]!.join(5_000);
  return victims[0]!;
}

virtualTest('a kill at the moment of waking from sleep() is not lost', (t) => {
  t.true((killedAtTheEndOf(() => sleep(5)).value as unknown) instanceof GreenletExit);
});

virtualTest('a kill at the moment at which the time of join() is up is not lost', (t) => {
  const other = parked();
  t.true((killedAtTheEndOf(() => other.join(5)).value as unknown) instanceof GreenletExit);
  other.kill();
});

virtualTest('a kill at the moment of a timeout is not lost', (t) => {
  const greenlet = killedAtTheEndOf(() => {
    using _timeout = Timeout.startNew(5);
    const error = thrownBy(parkForLong);
    if (GreenletExit.is(error)) throw error;
  });
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

hubTest('a kill of a greenlet that was just woken is thrown at its next park', (t) => {
  const gate = new Gate();
  const order: string[] = [];
  const greenlet = spawn(() => {
    gate.pass();
    order.push('woken');
    parkForLong();
    order.push('survived');
  });
  idle();
  gate.open();
  spawn(() => greenlet.kill(undefined, { block: false }));
  greenlet.join();
  t.deepEqual(order, ['woken']);
});

hubTest('two errors thrown in one greenlet at once are thrown one after the other', (t) => {
  const [first, second] = [new Boom('first'), new Boom('second')];
  const greenlet = spawn(() => [thrownBy(parkForLong), thrownBy(parkForLong)]);
  idle();
  kill(greenlet, first);
  kill(greenlet, second);
  const errors = greenlet.get();
  t.is(errors[0], first);
  t.is(errors[1], second);
});

hubTest('greenlets that kill each other both die', (t) => {
  const pair: Greenlet<unknown>[] = [];
  for (const other of [1, 0]) {
    pair.push(
      spawn(() => {
        sleep(0);
        pair[other]!.kill();
      }),
    );
  }
  joinAll(pair);
  t.true(pair.every((greenlet) => greenlet.dead));
});

hubTest('kill() refuses what is neither an error nor a class of errors', (t) => {
  const greenlet = parked();
  t.throws(() => greenlet.kill('stop' as never), { instanceOf: TypeError });
  idle();
  t.false(greenlet.dead);
  greenlet.kill();
});

hubTest('kill() refuses limits that are not limits', (t) => {
  const greenlet = spawn(nothing);
  t.throws(() => greenlet.kill(undefined, 'soon' as never), { instanceOf: TypeError });
  t.false(greenlet.dead);
  greenlet.join();
});

virtualTest('killAll() that times out names the greenlet that ignores its kill', (t) => {
  const gate = new Gate();
  const stubborn = stubbornUntil(gate);
  const error = muted(() => thrownBy(() => killAll([stubborn], { timeout: 5 })));
  t.true(error instanceof Timeout);
  t.regex((error as Error).message, /the-stubborn-one/);
  gate.open();
  stubborn.join();
});

hubTest('GreenletExit.is() tells a kill from other errors', (t) => {
  t.true(GreenletExit.is(new GreenletExit()));
  t.false(GreenletExit.is(new Boom('boom')));
  t.false(GreenletExit.is(undefined));
});

// throw()

hubTest('throw() before start() cancels the start and notifies links', (t) => {
  let ran = false;
  let notified = false;
  const greenlet = new Greenlet(() => (ran = true));
  greenlet.link(() => (notified = true));
  greenlet.throw(new GreenletExit());
  greenlet.start();
  idle();
  t.false(ran);
  t.true(notified);
  t.true(greenlet.dead);
});

hubTest('throw() from a plain callback throws where the greenlet is parked', (t) => {
  const failure = new Boom('boom');
  const greenlet = spawn(() => thrownBy(parkForLong));
  idle();
  setImmediate(() => greenlet.throw(failure));
  t.is(greenlet.get(), failure);
});

hubTest('throw() without an error throws GreenletExit', (t) => {
  const greenlet = parked();
  setImmediate(() => greenlet.throw());
  greenlet.join();
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('throw() into a dead greenlet changes nothing', (t) => {
  const greenlet = spawn(() => 'value');
  greenlet.join();
  greenlet.throw(new Boom('too late'));
  idle();
  t.is(greenlet.value, 'value');
});

// Links

hubTest('link() calls back with the greenlet, once it has ended', (t) => {
  const seen: unknown[] = [];
  const greenlet = spawn(() => 'value');
  greenlet.link((ended) => seen.push(ended, ended.value));
  t.deepEqual(seen, []);
  greenlet.join();
  idle();
  t.is(seen[0], greenlet);
  t.is(seen[1], 'value');
  t.is(seen.length, 2);
});

virtualTest('a link runs in a greenlet of its own and may park', (t) => {
  let slept = false;
  const greenlet = spawn(nothing);
  greenlet.link(() => {
    sleep(1);
    slept = true;
  });
  greenlet.join();
  sleep(1000);
  t.true(slept);
});

hubTest('linkValue() calls back after success only', (t) => {
  const seen: string[] = [];
  const succeeding = spawn(nothing);
  const failing = spawn(fail);
  succeeding.linkValue(() => seen.push('succeeding'));
  failing.linkValue(() => seen.push('failing'));
  muted(() => {
    joinAll([succeeding, failing]);
    idle();
  });
  t.deepEqual(seen, ['succeeding']);
});

hubTest('linkValue() calls back after a kill', (t) => {
  let called = false;
  const greenlet = parked();
  greenlet.linkValue(() => (called = true));
  greenlet.kill();
  idle();
  t.true(called);
});

hubTest('linkException() calls back after failure only', (t) => {
  const seen: string[] = [];
  const succeeding = spawn(nothing);
  const failing = spawn(fail);
  succeeding.linkException(() => seen.push('succeeding'));
  failing.linkException(() => seen.push('failing'));
  muted(() => {
    joinAll([succeeding, failing]);
    idle();
  });
  t.deepEqual(seen, ['failing']);
});

hubTest('a thousand links are called in the order of linking', (t) => {
  const order: number[] = [];
  const greenlet = spawn(nothing);
  for (let index = 0; index < 1000; index++) greenlet.link(() => order.push(index));
  greenlet.join();
  idle();
  t.deepEqual(
    order,
    Array.from({ length: 1000 }, (_, index) => index),
  );
});

hubTest('a link on a dead greenlet is called, but not before the caller parks', (t) => {
  let called = 0;
  const greenlet = spawn(nothing);
  greenlet.join();
  greenlet.link(() => called++);
  t.is(called, 0);
  idle();
  t.is(called, 1);
});

hubTest('a link added by a link is called', (t) => {
  const order: string[] = [];
  const greenlet = spawn(nothing);
  greenlet.link(() => {
    order.push('first');
    greenlet.link(() => order.push('second'));
  });
  greenlet.join();
  idle();
  t.deepEqual(order, ['first', 'second']);
});

hubTest('the error of a link is reported, and the links after it are called', (t) => {
  let called = false;
  const greenlet = spawn(nothing);
  greenlet.link(fail);
  greenlet.link(() => (called = true));
  const text = stderrOf(() => {
    greenlet.join();
    idle();
  });
  t.true(called);
  t.regex(text, /Boom: boom/);
});

for (const method of ['link', 'linkValue', 'linkException', 'rawlink'] as const) {
  hubTest(`${method}() refuses what is not a function`, (t) => {
    const greenlet = spawn(nothing);
    t.throws(() => greenlet[method]('callback' as never), { instanceOf: TypeError });
    greenlet.join();
  });

  hubTest(`unlink() removes what ${method}() was given`, (t) => {
    let called = false;
    const callback = () => {
      called = true;
    };
    const greenlet = spawn(method === 'linkException' ? fail : nothing);
    greenlet[method](callback);
    t.true(greenlet.hasLinks());
    greenlet.unlink(callback);
    t.false(greenlet.hasLinks());
    muted(() => {
      greenlet.join();
      idle();
    });
    t.false(called);
  });
}

hubTest('unlink() of an unknown function does nothing', (t) => {
  let called = 0;
  const greenlet = spawn(nothing);
  greenlet.link(() => called++);
  greenlet.unlink(nothing);
  greenlet.join();
  idle();
  t.is(called, 1);
});

hubTest('unlinkAll() removes every kind of link', (t) => {
  let called = 0;
  const greenlet = spawn(nothing);
  const callback = () => called++;
  greenlet.link(callback);
  greenlet.linkValue(callback);
  greenlet.rawlink(callback);
  greenlet.unlinkAll();
  t.false(greenlet.hasLinks());
  greenlet.join();
  idle();
  t.is(called, 0);
});

hubTest('a rawlink is called with the greenlet in the hub, where nothing may park', (t) => {
  const seen: unknown[] = [];
  const greenlet = spawn(nothing);
  greenlet.rawlink((ended) =>
    seen.push(
      ended,
      getCurrent(),
      thrownBy(() => sleep(1)),
    ),
  );
  greenlet.join();
  idle();
  t.is(seen[0], greenlet);
  t.false(seen[1] instanceof Greenlet);
  t.true(seen[2] instanceof BlockingSwitchOutError);
});

hubTest('the error of a rawlink is reported, and the links after it are called', (t) => {
  let called = false;
  const greenlet = spawn(nothing);
  greenlet.rawlink(fail);
  greenlet.rawlink(() => (called = true));
  const text = stderrOf(() => {
    greenlet.join();
    idle();
  });
  t.true(called);
  t.regex(text, /Boom: boom/);
});

hubTest('a rawlink on a dead greenlet is called', (t) => {
  let called = 0;
  const greenlet = spawn(nothing);
  greenlet.join();
  greenlet.rawlink(() => called++);
  idle();
  t.is(called, 1);
});

// Subclasses

hubTest('a subclass runs its _run()', (t) => {
  class Answer extends Greenlet<number> {
    protected override _run(): number {
      sleep(0);
      return 42;
    }
  }
  const greenlet = new Answer();
  greenlet.start();
  t.is(greenlet.get(), 42);
});

virtualTest('spawn() of a subclass hands its arguments to the constructor', (t) => {
  class Sleeper extends Greenlet<number> {
    readonly ms: number;
    constructor(ms: number) {
      super();
      this.ms = ms;
    }
    protected override _run(): number {
      sleep(this.ms);
      return this.ms;
    }
  }
  const greenlet = Sleeper.spawn(2);
  t.true(greenlet instanceof Sleeper);
  t.is(greenlet.get(), 2);
});

virtualTest('spawnLater() of a subclass hands its arguments to the constructor', (t) => {
  class Adder extends Greenlet<number> {
    readonly #terms: number[];
    constructor(...terms: number[]) {
      super();
      this.#terms = terms;
    }
    protected override _run(): number {
      return this.#terms.reduce((sum, term) => sum + term, 0);
    }
  }
  t.is(Adder.spawnLater(1, 2, 3).get(), 5);
});

hubTest('_run() receives the arguments that the constructor handed up', (t) => {
  class Joiner extends Greenlet<string> {
    constructor(...words: string[]) {
      super(undefined, ...words);
    }
    protected override _run(...words: string[]): string {
      return words.join(' ');
    }
  }
  t.is(Joiner.spawn('a', 'b').get(), 'a b');
});

hubTest('a subclass may have fields of any name', (t) => {
  const fields = Object.fromEntries(
    'state status context wait links args fn callback result outcome details timer stackId ident family queue id owner hub'
      .split(' ')
      .map((name) => [name, name]),
  );
  class Crowded extends Greenlet<string> {
    constructor() {
      super();
      Object.defineProperties(this, Object.getOwnPropertyDescriptors(fields));
    }
    protected override _run(): string {
      sleep(0);
      return 'ran';
    }
  }
  const greenlet = new Crowded();
  greenlet.start();
  t.is(greenlet.get(1000), 'ran');
  t.like(greenlet, fields);
});

hubTest('a greenlet with neither a function nor a _run() is refused', (t) => {
  t.throws(() => new Greenlet(), { instanceOf: TypeError });
});

hubTest('Greenlet.spawn() starts a greenlet', (t) => {
  t.is(Greenlet.spawn((a: number) => a + 1, 1).get(), 2);
});

hubTest('getCurrent() is the running greenlet, and the same one after a park', (t) => {
  let seen: unknown[] = [];
  const greenlet: Greenlet<unknown> = spawn(() => {
    const before = getCurrent();
    sleep(0);
    seen = [before, getCurrent()];
  });
  greenlet.join();
  t.is(seen[0], greenlet);
  t.is(seen[1], greenlet);
});

// Spawn callbacks and the spawn tree

test.serial('a spawn callback is called in start() with the greenlet, until it is removed', async (t) => {
  const seen: unknown[] = [];
  const callback = (greenlet: Greenlet<unknown>) => seen.push(greenlet);
  await run(() => {
    const greenlet = new Greenlet(nothing);
    Greenlet.addSpawnCallback(callback);
    try {
      t.deepEqual(seen, []);
      greenlet.start();
      t.is(seen[0], greenlet);
    } finally {
      Greenlet.removeSpawnCallback(callback);
    }
    greenlet.join();
    spawn(nothing).join();
  });
  t.is(seen.length, 1);
});

virtualTest('a spawn callback is called in startLater()', (t) => {
  const seen: unknown[] = [];
  const callback = (greenlet: Greenlet<unknown>) => seen.push(greenlet);
  Greenlet.addSpawnCallback(callback);
  try {
    const greenlet = spawnLater(1, nothing);
    t.is(seen[0], greenlet);
    greenlet.join();
  } finally {
    Greenlet.removeSpawnCallback(callback);
  }
});

hubTest('a spawn callback added twice is called once', (t) => {
  let calls = 0;
  const callback = () => calls++;
  Greenlet.addSpawnCallback(callback);
  Greenlet.addSpawnCallback(callback);
  try {
    spawn(nothing).join();
    t.is(calls, 1);
  } finally {
    Greenlet.removeSpawnCallback(callback);
  }
});

hubTest('removing an unknown spawn callback does nothing', (t) => {
  t.notThrows(() => Greenlet.removeSpawnCallback(nothing));
});

hubTest('addSpawnCallback() refuses what is not a function', (t) => {
  t.throws(() => Greenlet.addSpawnCallback(5 as never), { instanceOf: TypeError });
});

hubTest('a greenlet knows who spawned it', (t) => {
  let child: Greenlet<unknown> | undefined;
  const parent = spawn(() => {
    child = spawn(nothing);
    child.join();
  });
  parent.join();
  t.is(child!.spawningGreenlet, parent);
});

hubTest('the spawning stack names the function that spawned, where it is kept', (t) => {
  function theSpawner() {
    return spawn(nothing);
  }
  const { spawningStackLimit } = config;
  config.spawningStackLimit = 10;
  const greenlet = theSpawner();
  config.spawningStackLimit = spawningStackLimit;
  t.regex(greenlet.spawningStack, /theSpawner/);
  greenlet.join();
});

hubTest('a greenlet does not know its spawner where the tree is not tracked', (t) => {
  config.trackGreenletTree = false;
  const greenlet = spawn(nothing);
  config.trackGreenletTree = true;
  t.is(greenlet.spawningGreenlet, undefined);
  greenlet.join();
});

hubTest('a spawn tree shares its locals', (t) => {
  const root = spawn(() => {
    current().spawnTreeLocals!['request'] = 7;
    return spawn(() => spawn(() => current().spawnTreeLocals!['request']).get()).get();
  });
  t.is(root.get(), 7);
});

hubTest('trees spawned by the main greenlet share no locals', (t) => {
  const first = spawn(() => {
    current().spawnTreeLocals!['request'] = 7;
  });
  first.join();
  t.is(spawn(() => current().spawnTreeLocals!['request']).get(), undefined);
});

hubTest('assigning the locals starts a tree of its own', (t) => {
  const seen = spawn(() => {
    current().spawnTreeLocals!['request'] = 7;
    const child = spawn(() => {
      current().spawnTreeLocals = { request: 8 };
      return spawn(() => current().spawnTreeLocals!['request']).get();
    });
    return [child.get(), current().spawnTreeLocals!['request']];
  }).get();
  t.deepEqual(seen, [8, 7]);
});

// Names, inspection, stack

hubTest('living greenlets have different small numbers', (t) => {
  const [first, second] = [parked(), parked()];
  t.true(Number.isInteger(first.minimalIdent) && first.minimalIdent >= 0);
  t.not(first.minimalIdent, second.minimalIdent);
  t.is(first.minimalIdent, first.minimalIdent);
  killAll([first, second]);
});

hubTest('the number of an ended greenlet is given out again', (t) => {
  const numbers = new Set<number>();
  for (let count = 0; count < 50; count++) {
    const greenlet = spawn(nothing);
    numbers.add(greenlet.minimalIdent);
    greenlet.join();
  }
  t.true(numbers.size < 50, `${numbers.size} different numbers`);
});

hubTest('a greenlet without a name is called by its number', (t) => {
  const greenlet = spawn(nothing);
  t.is(greenlet.name, `Greenlet-${greenlet.minimalIdent}`);
  greenlet.join();
});

hubTest('a name can be assigned', (t) => {
  const greenlet = spawn(nothing);
  greenlet.name = 'crawler';
  t.is(greenlet.name, 'crawler');
  greenlet.join();
});

hubTest('util.inspect() shows the class, the assigned name and the function', (t) => {
  function fetchPage() {}
  const greenlet = spawn({ name: 'crawler' }, fetchPage);
  const text = inspect(greenlet);
  t.regex(text, /Greenlet/);
  t.regex(text, /crawler/);
  t.regex(text, /fetchPage/);
  greenlet.join();
});

hubTest('util.inspect() still shows the function after the end', (t) => {
  function fetchPage() {}
  const greenlet = spawn(fetchPage);
  greenlet.join();
  t.regex(inspect(greenlet), /fetchPage/);
});

hubTest('util.inspect() names the subclass', (t) => {
  class Crawler extends Greenlet {}
  t.regex(inspect(new Crawler(nothing)), /Crawler/);
});

hubTest('String() of a greenlet names it', (t) => {
  const greenlet = spawn({ name: 'crawler' }, nothing);
  t.regex(String(greenlet), /crawler/);
  greenlet.join();
});

hubTest('the string tag of a greenlet is Greenlet', (t) => {
  t.is(Object.prototype.toString.call(new Greenlet(nothing)), '[object Greenlet]');
});

hubTest('the stack of a parked greenlet names the functions it is parked in', (t) => {
  function innermost() {
    parkForLong();
  }
  function outermost() {
    innermost();
  }
  const greenlet = spawn(outermost);
  idle();
  const { stack } = greenlet;
  t.regex(stack, /innermost[^]*outermost/);
  greenlet.kill();
});

hubTest('asking for the stack does not disturb the parked greenlet', (t) => {
  const gate = new Gate();
  const greenlet = spawn(() => {
    gate.pass();
    return 'passed';
  });
  idle();
  t.is(greenlet.stack, greenlet.stack);
  gate.open();
  t.is(greenlet.get(), 'passed');
});

// Awaiting

test.serial('awaiting a greenlet gives its value', async (t) => {
  const greenlet = spawn(() => {
    sleep(1);
    return 'value';
  });
  t.is(await greenlet, 'value');
  t.is(await greenlet, 'value');
});

test.serial('awaiting a failing greenlet throws its error', async (t) => {
  const failure = new Boom('boom');
  await run(() => {
    const greenlet = spawn(() => {
      throw failure;
    });
    const error = muted(() => thrownBy(() => waitFor(Promise.resolve(greenlet))));
    t.is(error, failure);
  });
});

hubTest('awaiting a killed greenlet gives its GreenletExit', (t) => {
  const greenlet = parked();
  greenlet.kill();
  t.is(waitFor(Promise.resolve(greenlet)) as unknown, greenlet.value);
});

// Reports

hubTest('the error of a failing greenlet is printed with its stack and who failed', (t) => {
  function theCulprit() {
    throw new Boom('boom');
  }
  const text = stderrOf(() => {
    spawn({ name: 'worker-7' }, theCulprit).join();
    idle();
  });
  t.regex(text, /Boom: boom/);
  t.regex(text, /theCulprit/);
  t.regex(text, /worker-7.* failed with Boom/);
});

hubTest('an error is printed even when somebody gets it', (t) => {
  const text = stderrOf(() => {
    t.throws(() => spawn(fail).get(), { instanceOf: Boom });
    idle();
  });
  t.regex(text, /failed with Boom/);
});

hubTest('an error that is no Error is printed', (t) => {
  const text = stderrOf(() => {
    spawn(() => {
      throw 'a mere string';
    }).join();
    idle();
  });
  t.regex(text, /a mere string/);
});

hubTest('a killed greenlet prints nothing', (t) => {
  const text = stderrOf(() => {
    parked().kill();
    idle();
  });
  t.is(text, '');
});

hubTest('a greenlet that throws GreenletExit prints nothing', (t) => {
  const greenlet = spawn(() => {
    throw new GreenletExit('done');
  });
  const text = stderrOf(() => {
    greenlet.join();
    idle();
  });
  t.is(text, '');
  t.true(greenlet.value instanceof GreenletExit);
});

hubTest('getHub().handleError can be replaced, and put back', (t) => {
  const hub = getHub();
  const { handleError } = hub;
  const handled: unknown[][] = [];
  hub.handleError = (...args) => handled.push(args);
  const greenlet = spawn(fail);
  const text = stderrOf(() => {
    try {
      greenlet.join();
      idle();
    } finally {
      hub.handleError = handleError;
    }
  });
  t.is(text, '');
  t.is(handled.length, 1);
  t.is(handled[0]![0], greenlet);
  t.is(handled[0]![1], greenlet.error);
});

// What is kept

test.serial('the arguments of a greenlet are released when it ends', async (t) => {
  const [greenlet, argument] = await run(() => {
    const value = { large: Array.from({ length: 1000 }) };
    const kept = spawn((received: object) => typeof received, value);
    kept.join();
    return [kept, new WeakRef(value)] as const;
  });
  await collectGarbage();
  t.is(argument.deref(), undefined);
  t.is(greenlet.value, 'object');
});

test.serial('the arguments of a greenlet that is killed before it starts are released', async (t) => {
  const [greenlet, argument] = await run(() => {
    const value = { large: Array.from({ length: 1000 }) };
    const kept = new Greenlet(nothing, value);
    kept.kill();
    return [kept, new WeakRef(value)] as const;
  });
  await collectGarbage();
  t.is(argument.deref(), undefined);
  t.true(greenlet.dead);
});

test.serial('an ended greenlet that nobody holds is collected', async (t) => {
  const reference = await run(() => {
    const greenlet = spawn(() => sleep(1));
    greenlet.join();
    return new WeakRef(greenlet);
  });
  await collectGarbage();
  t.is(reference.deref(), undefined);
});
