import test from 'ava';
import {
  BlockingSwitchOutError,
  GreenletExit,
  getCurrent,
  getHub,
  idle,
  sleep,
  spawn,
  waitFor,
} from 'greenstack';
import { parkForLong, parked, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { settle } from './support/residue.js';
import { stderrOf } from './support/stderr.js';

class Boom extends Error {
  override name = 'Boom';
}

const fail = () => {
  throw new Boom('boom');
};

// runCallback()

hubTest('callbacks of the hub are called in order, in the hub, with their arguments', (t) => {
  const calls: unknown[][] = [];
  const callback = (...args: unknown[]) => calls.push([...args, getCurrent()]);
  getHub().runCallback(callback, 1, 'one');
  getHub().runCallback(callback, 2);
  t.deepEqual(calls, []);
  idle();
  t.deepEqual(calls, [
    [1, 'one', null],
    [2, null],
  ]);
});

hubTest('callbacks and greenlets take their turns in the order of being queued', (t) => {
  const order: string[] = [];
  spawn(() => order.push('greenlet 1'));
  getHub().runCallback(() => order.push('callback 1'));
  spawn(() => order.push('greenlet 2'));
  getHub().runCallback(() => order.push('callback 2'));
  idle();
  t.deepEqual(order, ['greenlet 1', 'callback 1', 'greenlet 2', 'callback 2']);
});

hubTest('the error of a callback is reported, and the callbacks after it are called', (t) => {
  let called = false;
  const text = stderrOf(() => {
    getHub().runCallback(fail);
    getHub().runCallback(() => (called = true));
    idle();
  });
  t.true(called);
  t.regex(text, /Boom: boom[^]*fail.* failed with Boom/);
});

hubTest('a callback of the hub may spawn, but not park', (t) => {
  let error: unknown;
  let spawned = false;
  getHub().runCallback(() => {
    error = thrownBy(() => sleep(1));
    spawn(() => (spawned = true));
  });
  idle();
  t.true(error instanceof BlockingSwitchOutError);
  t.true(spawned);
});

hubTest('runCallback() refuses what is not a function', (t) => {
  t.throws(() => getHub().runCallback('callback' as never), { instanceOf: TypeError });
});

// Errors

hubTest('errors of the classes in notError are not reported', (t) => {
  getHub().notError.add(Boom);
  const text = stderrOf(() => {
    spawn(fail).join();
    idle();
  });
  getHub().notError.delete(Boom);
  t.is(text, '');
});

hubTest('errors of the classes in systemError are thrown in main', (t) => {
  getHub().systemError.add(Boom);
  const text = stderrOf(() => {
    spawn(fail);
    t.throws(parkForLong, { instanceOf: Boom });
  });
  getHub().systemError.delete(Boom);
  t.is(text, '');
});

hubTest('an error of handleError itself is printed along with the one it was to handle', (t) => {
  const hub = getHub();
  const { handleError } = hub;
  hub.handleError = () => {
    throw new Error('in the handler');
  };
  const text = stderrOf(() => {
    spawn(fail).join();
    idle();
  });
  hub.handleError = handleError;
  t.regex(text, /Boom: boom/);
  t.regex(text, /Error: in the handler/);
});

hubTest('handleError is called in the hub, where nothing may park', (t) => {
  const hub = getHub();
  const { handleError } = hub;
  let error: unknown;
  hub.handleError = () => {
    error = thrownBy(() => sleep(1));
  };
  spawn(fail).join();
  idle();
  hub.handleError = handleError;
  t.true(error instanceof BlockingSwitchOutError);
});

// stats()

hubTest('stats() counts the greenlets that have started and not ended', (t) => {
  const { greenlets: before } = getHub().stats();
  const greenlet = parked();
  t.is(getHub().stats().greenlets, before + 1);
  greenlet.kill();
  t.is(getHub().stats().greenlets, before);
});

hubTest('stats() counts those that are parked', (t) => {
  const { parked: before } = getHub().stats();
  const greenlets = [parked(), parked()];
  t.is(getHub().stats().parked, before + 2);
  for (const greenlet of greenlets) greenlet.kill();
});

hubTest('stats() counts pending timers', (t) => {
  const { timers: before } = getHub().stats();
  const greenlet = parked();
  t.is(getHub().stats().timers, before + 1);
  greenlet.kill();
  t.is(getHub().stats().timers, before);
});

hubTest('stats() counts switches up', (t) => {
  const { switches: before } = getHub().stats();
  spawn(() => sleep(0)).join();
  t.true(getHub().stats().switches > before);
});

hubTest('greenlets that run one after another need no more stacks than one', (t) => {
  const { stacks: before } = getHub().stats();
  for (let count = 0; count < 1000; count++) spawn(() => {}).join();
  t.true(getHub().stats().stacks <= before + 2);
});

hubTest('the stacks of many greenlets that were parked at once are given back, but for the pool', (t) => {
  const greenlets = Array.from({ length: 2000 }, () => spawn(parkForLong));
  idle();
  t.true(getHub().stats().stacks >= 2000);
  for (const greenlet of greenlets) greenlet.kill();
  // When nothing else is to do; if they were not, the test would hang.
  while (getHub().stats().stacks >= 1000) sleep(1);
  t.true(getHub().stats().idleRunners < 1000);
});

// kill() in the hub

test.serial(
  'a blocking kill() in plain code is refused while the greenlet lives, and does nothing',
  async (t) => {
    const greenlet = spawn(parkForLong);
    await settle();
    t.throws(() => greenlet.kill(), { instanceOf: BlockingSwitchOutError });
    await settle();
    t.false(greenlet.dead);
    greenlet.kill(undefined, { block: false });
    await greenlet;
    t.true((greenlet.value as unknown) instanceof GreenletExit);
  },
);

test.serial('kill() in plain code of a greenlet that has not begun needs not wait', async (t) => {
  let ran = false;
  const greenlet = spawn(() => (ran = true));
  greenlet.kill();
  await settle();
  t.true(greenlet.dead);
  t.false(ran);
});

// Plain callbacks beside greenlets

test.serial('errors of plain code that a greenlet started are not errors of the greenlet', async (t) => {
  const { code, stdout, stderr } = await runProgram('plain-errors.js');
  t.is(code, 0, stderr);
  t.is(stdout, 'uncaughtException: thrown\nunhandledRejection: rejected\nunharmed\n');
  t.is(stderr, '');
});

hubTest('getCurrent() is null in plain callbacks while greenlets are parked', (t) => {
  t.is(waitFor(new Promise((resolve) => setImmediate(() => resolve(getCurrent())))), null);
});

// Hostile errors

hubTest('an error whose properties throw is reported all the same', (t) => {
  const hostile = new Proxy(new Boom('boom'), {
    get: (_, key) => {
      throw new Error(`no ${String(key)}`);
    },
  });
  let survived = false;
  stderrOf(() => {
    spawn({ name: 'hostile' }, () => {
      throw hostile;
    }).join();
    idle();
    survived = true;
  });
  t.true(survived);
});
