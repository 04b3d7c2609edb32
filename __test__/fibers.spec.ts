import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { once } from 'node:events';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import {
  BlockingSwitchOutError,
  getCurrent,
  getHub,
  Greenlet,
  GreenletExit,
  idle,
  kill,
  type RawGreenlet,
  run,
  sleep,
  spawn,
  Timeout,
  withTimeout,
} from 'greenstack';
import { Event } from 'greenstack/event';
import Fiber from 'greenstack/fibers';
import { local } from 'greenstack/local';
import { collectGarbage } from './support/garbage.js';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { residue, settle } from './support/residue.js';

/** A fiber that has yielded and yields for ever. */
function yielding(): Fiber {
  const fiber = Fiber(() => {
    for (;;) Fiber.yield();
  });
  fiber.run();
  return fiber;
}

/** The next error that nobody catches. Ends ava's own listening meanwhile. */
async function nextUncaught(): Promise<unknown> {
  const listeners = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[];
  process.removeAllListeners('uncaughtException');
  try {
    const [error] = (await once(process, 'uncaughtException')) as [unknown];
    return error;
  } finally {
    for (const listener of listeners) process.on('uncaughtException', listener);
  }
}

// run and yield

test.serial('run() returns what is yielded, then what is returned', (t) => {
  const fiber = Fiber(() => {
    Fiber.yield('first');
    Fiber.yield('second');
    return 'last';
  });
  t.deepEqual([fiber.run(), fiber.run(), fiber.run()], ['first', 'second', 'last']);
});

test.serial('the function gets the argument of the first run(), yield() those of the next', (t) => {
  const got: unknown[] = [];
  const fiber = Fiber((first: unknown) => {
    got.push(first);
    got.push(Fiber.yield());
    got.push(Fiber.yield());
  });
  fiber.run(1);
  fiber.run(2);
  fiber.run();
  t.deepEqual(got, [1, 2, undefined]);
});

test.serial('the function gets as many arguments as run() has, and the global object as this', (t) => {
  const seen: unknown[] = [];
  const fiber = Fiber(function (this: unknown, ...args: unknown[]) {
    seen.push(this === globalThis, args.length);
  });
  fiber.run();
  fiber.run(undefined);
  t.deepEqual(seen, [true, 0, true, 1]);
});

test.serial('a fiber that has ended starts anew', (t) => {
  let runs = 0;
  const fiber = Fiber(() => ++runs);
  t.deepEqual([fiber.run(), fiber.run(), fiber.run()], [1, 2, 3]);
});

test.serial('an error that leaves the function leaves run(), and the fiber has ended', (t) => {
  const failure = new Error('failed');
  const fiber = Fiber(() => {
    Fiber.yield();
    throw failure;
  });
  fiber.run();
  t.is(
    thrownBy(() => fiber.run()),
    failure,
  );
  t.false(fiber.started);
});

test.serial('what is no error can be thrown too, undefined included', (t) => {
  let caught = 0;
  const fiber = Fiber(() => {
    throw undefined;
  });
  try {
    fiber.run();
  } catch (error) {
    if (error === undefined) caught++;
  }
  t.is(caught, 1);
});

test.serial('fibers nest as calls do', (t) => {
  const order: string[] = [];
  const inner = Fiber(() => {
    order.push('inner');
    Fiber.yield();
    order.push('inner again');
  });
  const outer = Fiber(() => {
    inner.run();
    order.push('outer');
    Fiber.yield();
    inner.run();
    order.push('outer again');
  });
  outer.run();
  order.push('main');
  outer.run();
  t.deepEqual(order, ['inner', 'outer', 'main', 'inner again', 'outer again']);
});

test.serial('a fiber can be resumed by another than who has started it', (t) => {
  const fiber = Fiber(() => {
    Fiber.yield();
    return Fiber.yield('to another');
  });
  fiber.run();
  const other = Fiber(() => fiber.run() as string);
  t.is(other.run(), 'to another');
  t.is(fiber.run('back'), 'back');
});

test.serial('a stack overflow in a fiber is a RangeError', (t) => {
  const deeper = (): number => deeper() + 1;
  t.throws(() => Fiber(deeper).run(), { instanceOf: RangeError });
});

test.serial('a fiber runs in what other code calls: sort, replace, JSON.stringify, a getter', (t) => {
  const fiber = yielding();
  const through = <T>(value: T): T => {
    fiber.run();
    return value;
  };
  t.deepEqual(
    [3, 1, 2].sort((a, b) => through(a - b)),
    [1, 2, 3],
  );
  t.is(
    'abc'.replace(/b/, () => through('x')),
    'axc',
  );
  t.is(JSON.stringify({ toJSON: () => through({ a: 1 }) }), '{"a":1}');
  t.is([{ toString: () => through('joined') }].join(), 'joined');
  fiber.reset();
});

test.serial('a fiber can be left in the middle of what other code calls', (t) => {
  const one = Fiber(() => JSON.stringify({ toJSON: () => Fiber.yield('one') as unknown }));
  const two = Fiber(() => [1, 2].map(() => [{ toString: () => Fiber.yield('two') as string }].join()));
  t.is(one.run(), 'one');
  t.is(two.run(), 'two');
  t.is(one.run('1'), '"1"');
  t.is(two.run('2'), 'two');
  t.deepEqual(two.run('3'), ['2', '3']);
});

// current and started

test.serial('Fiber.current is the running fiber, and undefined outside', (t) => {
  const seen: unknown[] = [];
  const inner = Fiber(() => seen.push(Fiber.current));
  const outer = Fiber(() => {
    inner.run();
    seen.push(Fiber.current);
    Fiber.yield();
    seen.push(Fiber.current);
  });
  outer.run();
  seen.push(Fiber.current);
  outer.run();
  t.deepEqual(
    seen.map((fiber) => (fiber === inner ? 'inner' : fiber === outer ? 'outer' : fiber)),
    ['inner', 'outer', undefined, 'outer'],
  );
});

test.serial('started is true from the first run() to the end', (t) => {
  const seen: boolean[] = [];
  const fiber = Fiber(() => {
    seen.push(fiber.started);
    Fiber.yield();
  });
  seen.push(fiber.started);
  fiber.run();
  seen.push(fiber.started);
  fiber.run();
  seen.push(fiber.started);
  t.deepEqual(seen, [false, true, true, false]);
});

// throwInto and reset

test.serial('throwInto() lets the pending yield throw, and returns what is yielded next', (t) => {
  const fiber = Fiber(() => {
    try {
      Fiber.yield();
    } catch (error) {
      Fiber.yield(`caught ${(error as Error).message}`);
    }
    return 'end';
  });
  fiber.run();
  t.is(fiber.throwInto(new Error('that')), 'caught that');
  t.is(fiber.run(), 'end');
});

test.serial('what throwInto() throws and nobody catches leaves throwInto()', (t) => {
  const fiber = yielding();
  t.throws(() => fiber.throwInto(new Error('out')), { message: 'out' });
  t.false(fiber.started);
});

test.serial('throwInto() without an argument throws undefined', (t) => {
  const fiber = Fiber(() => {
    try {
      Fiber.yield();
    } catch (error) {
      return { error };
    }
    return 'nothing was thrown';
  });
  fiber.run();
  t.deepEqual(fiber.throwInto(), { error: undefined });
});

test.serial('reset() unwinds by a zombie exception, and returns undefined', (t) => {
  const messages: string[] = [];
  const fiber = Fiber(() => {
    try {
      Fiber.yield();
    } catch (error) {
      messages.push((error as Error).message);
      throw error;
    } finally {
      messages.push('finally');
    }
  });
  fiber.run();
  t.is(fiber.reset(), undefined);
  t.deepEqual(messages, ['This Fiber is a zombie', 'finally']);
  t.false(fiber.started);
});

test.serial('every yield of a fiber that is being reset throws the same exception', (t) => {
  const errors = new Set<unknown>();
  const fiber = Fiber(() => {
    for (let round = 0; round < 100; round++) {
      try {
        Fiber.yield();
      } catch (error) {
        errors.add(error);
      }
    }
    return 'at last';
  });
  fiber.run();
  t.is(fiber.reset(), 'at last');
  t.is(errors.size, 1);
});

test.serial('reset() throws what is thrown instead of the zombie exception', (t) => {
  const fiber = Fiber(() => {
    try {
      Fiber.yield();
    } finally {
      // oxlint-disable-next-line no-unsafe-finally
      throw new Error('another');
    }
  });
  fiber.run();
  t.throws(() => fiber.reset(), { message: 'another' });
});

test.serial('what waits in a fiber that is being reset throws the zombie exception', (t) => {
  const before = residue();
  let thrown: unknown;
  const fiber = Fiber(() => {
    try {
      Fiber.yield();
    } finally {
      thrown = thrownBy(() => sleep(1));
    }
  });
  fiber.run();
  fiber.reset();
  t.is((thrown as Error).message, 'This Fiber is a zombie');
  t.deepEqual(residue(), before);
});

test.serial('a fiber can be run again after reset()', (t) => {
  const fiber = Fiber(() => Fiber.yield('yielded') as unknown);
  fiber.run();
  fiber.reset();
  t.is(fiber.run(), 'yielded');
  t.is(fiber.run('again'), 'again');
});

test.serial('reset() of a fiber that is not started does nothing', (t) => {
  t.is(Fiber(() => t.fail()).reset(), undefined);
});

// messages

test.serial('Fiber() tells what it expects', (t) => {
  const make = Fiber as unknown as (...args: unknown[]) => Fiber;
  t.throws(() => make(), { instanceOf: TypeError, message: 'Fiber expects 1 argument' });
  t.throws(() => make(test, test), { instanceOf: TypeError, message: 'Fiber expects 1 argument' });
  t.throws(() => make('text'), { instanceOf: TypeError, message: 'Fiber expects a function' });
});

test.serial('Fiber() is the same with and without new', (t) => {
  const fibers = [Fiber(() => 1), new Fiber(() => 1)];
  for (const fiber of fibers) {
    t.true(fiber instanceof Fiber);
    t.is(fiber.constructor, Fiber);
    t.is(fiber.run(), 1);
  }
});

test.serial('Fiber can be subclassed', (t) => {
  class Named extends (Fiber as unknown as new (fn: () => unknown) => Fiber) {
    name = 'own';
  }
  const fiber = new Named(() => Fiber.yield(Fiber.current) as unknown);
  t.is(fiber.run(), fiber);
  t.is(fiber.name, 'own');
  t.true(fiber instanceof Named && fiber instanceof Fiber);
  fiber.reset();
});

test.serial('Fiber.yield() outside of fibers throws', (t) => {
  t.throws(() => Fiber.yield(), { instanceOf: Error, message: 'yield() called with no fiber running' });
});

test.serial('a running fiber cannot be run, reset or thrown into', (t) => {
  const running = { instanceOf: Error, message: 'This Fiber is already running' };
  const notYielding = { instanceOf: Error, message: 'This Fiber is not yielding' };
  const fiber = Fiber(() => {
    t.throws(() => fiber.run(), running);
    t.throws(() => fiber.reset(), notYielding);
    t.throws(() => fiber.throwInto(1), notYielding);
    Fiber(() => t.throws(() => fiber.run(), running)).run();
  });
  fiber.run();
  t.false(fiber.started);
});

test.serial('throwInto() needs a fiber that yields', (t) => {
  const notYielding = { instanceOf: Error, message: 'This Fiber is not yielding' };
  const fiber = Fiber(() => {});
  t.throws(() => fiber.throwInto(1), notYielding);
  fiber.run();
  t.throws(() => fiber.throwInto(1), notYielding);
});

test.serial('too many arguments are refused, and change nothing', (t) => {
  const call = (fn: unknown, receiver: unknown, ...args: unknown[]) =>
    Reflect.apply(fn as () => unknown, receiver, args);
  const fiber = Fiber(() => {
    t.throws(() => call(Fiber.yield, Fiber, 1, 2), {
      instanceOf: TypeError,
      message: 'yield() expects 1 or no arguments',
    });
    return Fiber.yield('yielded') as unknown;
  });
  t.throws(() => call(fiber.run, fiber, 1, 2), {
    instanceOf: TypeError,
    message: 'run() excepts 1 or no arguments',
  });
  t.is(fiber.run(), 'yielded');
  t.throws(() => call(fiber.run, fiber, 1, 2), { message: 'run() excepts 1 or no arguments' });
  t.throws(() => call(fiber.throwInto, fiber, 1, 2), {
    instanceOf: TypeError,
    message: 'throwInto() expects 1 or no arguments',
  });
  t.throws(() => call(fiber.reset, fiber, 1), {
    instanceOf: TypeError,
    message: 'reset() expects no arguments',
  });
  t.is(fiber.run('returned'), 'returned');
});

test.serial('methods called on what is no fiber throw a TypeError', (t) => {
  for (const receiver of [null, undefined, {}, 1, Object.create(Fiber.prototype)]) {
    for (const name of ['run', 'reset', 'throwInto'] as const)
      t.throws(() => Reflect.apply(Fiber.prototype[name], receiver, []), {
        instanceOf: TypeError,
        message: 'Illegal invocation',
      });
  }
  t.is(Fiber.prototype.started, undefined as unknown as boolean);
});

// state

test.serial('a fiber has no enumerable properties of its own', (t) => {
  const fiber = yielding();
  t.deepEqual(Reflect.ownKeys(fiber), []);
  Object.assign(fiber, { mine: 1 });
  for (const key of Object.keys(fiber)) Reflect.deleteProperty(fiber, key);
  fiber.run();
  t.true(fiber.started);
  fiber.reset();
});

test.serial('poolSize can be set, and fibersCreated counts stacks, not fibers', (t) => {
  t.is(Fiber.poolSize, 120);
  Fiber.poolSize = 1000;
  t.is(Fiber.poolSize, 1000);
  (Fiber as { poolSize: unknown }).poolSize = '120';
  t.is(Fiber.poolSize, 120);
  Fiber(() => {}).run();
  const before = Fiber.fibersCreated;
  for (let count = 0; count < 50; count++) Fiber(() => {}).run();
  t.is(Fiber.fibersCreated, before);
  const fibers = Array.from({ length: 400 }, yielding);
  t.true(Fiber.fibersCreated > before);
  for (const fiber of fibers) fiber.reset();
});

test.serial('copies of the package fibers find this one', (t) => {
  t.is((process as unknown as { fiberLib: unknown }).fiberLib, Fiber);
});

test.serial('fibers leave no stack in use behind', async (t) => {
  const before = residue();
  for (let count = 0; count < 1000; count++) {
    const fiber = Fiber(() => Fiber.yield() as unknown);
    fiber.run();
    fiber.run();
  }
  await settle();
  t.deepEqual(residue(), before);
});

// collection

test.serial('a suspended fiber that nobody can reach is unwound', async (t) => {
  const before = residue();
  const messages: string[] = [];
  const currents: unknown[] = [];
  (() => {
    for (let count = 0; count < 10; count++)
      Fiber(() => {
        try {
          Fiber.yield();
        } catch (error) {
          messages.push((error as Error).message);
          currents.push(Fiber.current);
        }
      }).run();
  })();
  for (let round = 0; round < 20 && messages.length < 10; round++) await collectGarbage();
  t.deepEqual(
    messages,
    Array.from({ length: 10 }, () => 'This Fiber is a zombie'),
  );
  t.true(currents.every((fiber) => fiber instanceof Fiber));
  await settle();
  t.deepEqual(residue(), before);
});

test.serial('a suspended fiber that can be reached is kept', async (t) => {
  const fiber = yielding();
  await collectGarbage();
  await collectGarbage();
  t.true(fiber.started);
  fiber.run();
  fiber.reset();
});

test.serial('collections while many fibers are suspended change nothing', async (t) => {
  const fibers = Array.from({ length: 300 }, (_, index) =>
    Fiber((value: unknown) => {
      let kept = { index, value };
      for (;;) kept = { index, value: Fiber.yield(kept) };
    }),
  );
  for (let round = 0; round < 4; round++) {
    for (const [index, fiber] of fibers.entries())
      t.deepEqual(fiber.run({ round }), { index, value: { round } });
    await collectGarbage();
  }
  for (const fiber of fibers) fiber.reset();
});

// async context

test.serial('a fiber starts with the stores of whoever runs it first, and keeps its own', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const see = (): void => void seen.push(storage.getStore());
  const fiber = Fiber(() => {
    see();
    Fiber.yield();
    see();
    storage.run('inner', () => {
      Fiber.yield();
      see();
    });
    see();
  });
  storage.run('first', () => fiber.run());
  storage.run('second', () => {
    fiber.run();
    see();
  });
  fiber.run();
  see();
  t.deepEqual(seen, ['first', 'first', 'second', 'inner', 'first', undefined]);
});

hubTest('a fiber that a greenlet or a fiber starts has its stores too', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const make = (): Fiber =>
    Fiber(() => {
      seen.push(storage.getStore());
      storage.enterWith('changed');
      Fiber.yield();
      seen.push(storage.getStore());
    });
  const fibers = ['greenlet', 'again'].map((store) =>
    storage.run(store, () => {
      const fiber = make();
      fiber.run();
      seen.push(storage.getStore());
      return fiber;
    }),
  );
  Fiber(() =>
    storage.run('fiber', () => {
      const fiber = make();
      fiber.run();
      seen.push(storage.getStore());
      fiber.run();
    }),
  ).run();
  for (const fiber of fibers) fiber.run();
  t.deepEqual(seen, [
    ...['greenlet', 'greenlet', 'again', 'again'],
    ...['fiber', 'fiber', 'changed', 'changed', 'changed'],
  ]);
});

test.serial('timers and promises that a fiber makes have its stores', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const fiber = Fiber(() => {
    Fiber.yield();
    const inTimer = new Promise<void>((resolve) =>
      setImmediate(() => {
        seen.push(storage.getStore());
        resolve();
      }),
    );
    const inReaction = Promise.resolve().then(() => seen.push(storage.getStore()));
    return Promise.all([inTimer, inReaction]);
  });
  storage.run('mine', () => fiber.run());
  await fiber.run();
  t.deepEqual(seen, ['mine', 'mine']);
});

test.serial('a fiber can yield within runInAsyncScope, and go on in another callback', async (t) => {
  const fiber = Fiber(() => {
    new AsyncResource('test').runInAsyncScope(() => {
      Fiber.yield();
    });
    return 'went on';
  });
  await new Promise<void>((resolve) => setImmediate(() => (fiber.run(), resolve())));
  t.is(await new Promise((resolve) => setTimeout(() => resolve(fiber.run()), 1)), 'went on');
});

// with greenlets

test.serial('run() returns when the fiber waits, which the hub resumes then', async (t) => {
  const order: string[] = [];
  const ended = new Promise<void>((resolve) => {
    const fiber = Fiber(() => {
      order.push('before');
      sleep(1);
      order.push('after');
      t.is(Fiber.current, fiber);
      resolve();
      return 'lost';
    });
    t.is(fiber.run(), undefined);
    t.throws(() => fiber.run(), { message: 'This Fiber is already running' });
    t.throws(() => fiber.reset(), { message: 'This Fiber is not yielding' });
  });
  order.push('main');
  await ended;
  t.deepEqual(order, ['before', 'main', 'after']);
});

test.serial('a fiber that the hub has resumed can yield, and be run again', async (t) => {
  let fiber!: Fiber;
  await new Promise<void>((resolve) => {
    fiber = Fiber(() => {
      sleep(1);
      resolve();
      return Fiber.yield('lost') as unknown;
    });
    fiber.run();
  });
  await settle();
  t.is(fiber.run('got'), 'got');
});

test.serial('what nobody is left to catch is an uncaught exception', async (t) => {
  const uncaught = nextUncaught();
  const failure = new Error('out of a fiber that waited');
  Fiber(() => {
    sleep(1);
    throw failure;
  }).run();
  t.is(await uncaught, failure);
});

hubTest('a greenlet goes on at once when the fiber that it runs waits, yields or ends', (t) => {
  const event = new Event();
  const order: unknown[] = [];
  const fiber = Fiber(() => {
    order.push(Fiber.yield('yielded'));
    event.wait();
    order.push('set');
  });
  order.push(fiber.run());
  order.push(fiber.run('resumed'));
  event.set();
  idle();
  t.deepEqual(order, ['yielded', 'resumed', undefined, 'set']);
  t.false(fiber.started);
});

hubTest('fibers spawn greenlets, wait for them, and run fibers in them', (t) => {
  const results: unknown[] = [];
  Fiber(() => {
    const greenlet = spawn(() => {
      t.is(Fiber.current, undefined);
      sleep(0);
      const fiber = Fiber(() => Fiber.yield('of a fiber in a greenlet') as unknown);
      const yielded: unknown = fiber.run();
      fiber.run();
      return yielded;
    });
    results.push(greenlet.get());
  }).run();
  idle();
  idle();
  t.deepEqual(results, ['of a fiber in a greenlet']);
});

hubTest('one fiber is run by several greenlets in turn', (t) => {
  const fiber = Fiber(() => {
    for (let count = 0; ; count++) Fiber.yield(count);
  });
  const taken = Array.from({ length: 4 }, () =>
    spawn(() =>
      Array.from({ length: 3 }, () => {
        const count = fiber.run() as number;
        sleep(0);
        return count;
      }),
    ),
  ).flatMap((greenlet) => greenlet.get());
  t.deepEqual(
    taken.sort((a, b) => a - b),
    [...Array(12).keys()],
  );
  fiber.reset();
});

hubTest('callbacks of the hub can run fibers', (t) => {
  const fiber = Fiber(() => Fiber.yield(getCurrent()) as unknown);
  const got: unknown[] = [];
  getHub().runCallback(() => got.push(fiber.run()));
  getHub().runCallback(() => got.push(fiber.run('end')));
  idle();
  t.is(String(got[0]), '<Fiber (anonymous)() ended>');
  t.is(got[1], 'end');
});

hubTest('in a fiber the current greenlet is a raw one that describes it', (t) => {
  const fiber = Fiber(function named() {
    return Fiber.yield(getCurrent()) as unknown;
  });
  const greenlet = fiber.run() as RawGreenlet;
  t.is(String(greenlet), '<Fiber named() parked in Fiber.yield()>');
  t.regex(greenlet.stack, /named/);
  fiber.run();
  t.true(greenlet.dead);
});

hubTest('a greenlet can look at its stack and at those of others while it runs a fiber', (t) => {
  const main = getCurrent() as Greenlet;
  const other = yielding();
  const stacks: string[] = [];
  Fiber(function lookAround() {
    stacks.push(main.stack);
    other.run();
    stacks.push((getCurrent() as RawGreenlet).stack);
  }).run();
  t.regex(stacks[0] as string, /fibers\.spec/);
  t.regex(stacks[1] as string, /lookAround/);
  other.reset();
});

hubTest('a killed fiber is unwound from where it yields', (t) => {
  const caught: unknown[] = [];
  const fiber = Fiber(() => {
    try {
      Fiber.yield(getCurrent());
    } catch (error) {
      caught.push(error);
      throw error;
    }
  });
  const greenlet = fiber.run() as RawGreenlet;
  kill(greenlet);
  t.throws(() => fiber.run(), { message: 'This Fiber is already running' });
  idle();
  t.true(caught[0] instanceof GreenletExit);
  t.false(fiber.started);
});

hubTest('a fiber that kills itself ends quietly', (t) => {
  const fiber = Fiber(() => kill(getCurrent() as RawGreenlet));
  t.is(fiber.run(), undefined);
  t.false(fiber.started);
});

hubTest('a timeout goes off in a fiber that yields', (t) => {
  let thrown: unknown;
  const fiber = Fiber(() => {
    thrown = thrownBy(() => withTimeout(1, () => Fiber.yield() as unknown));
    t.is(Fiber.current, fiber);
  });
  fiber.run();
  while (fiber.started) sleep(1);
  t.true(thrown instanceof Timeout);
});

hubTest('a kill of the greenlet that runs a fiber arrives at its own next park', (t) => {
  const order: string[] = [];
  const greenlet = spawn(() => {
    const fiber = Fiber(() => {
      greenlet.kill(undefined, { block: false });
      order.push('the fiber goes on');
      Fiber.yield();
    });
    fiber.run();
    order.push('the greenlet goes on');
    try {
      sleep(0);
    } finally {
      order.push('killed');
      fiber.reset();
    }
  });
  greenlet.join();
  t.deepEqual(order, ['the fiber goes on', 'the greenlet goes on', 'killed']);
});

hubTest('locals of a fiber are its own', (t) => {
  const data = local(() => ({ owner: 'new' }));
  data.owner = 'greenlet';
  const fiber = Fiber(() => {
    const first = data.owner;
    data.owner = 'fiber';
    Fiber.yield(first);
    return data.owner;
  });
  t.is(fiber.run(), 'new');
  t.is(data.owner, 'greenlet');
  t.is(fiber.run(), 'fiber');
});

hubTest('no fiber is run in code of node:vm with a timeout, and nothing is lost', (t) => {
  const fiber = yielding();
  const refused = {
    instanceOf: BlockingSwitchOutError,
    message: /^running a fiber is not possible in code that/,
  };
  const tryAll = (): void => {
    t.throws(() => fiber.run(), refused);
    t.throws(() => fiber.reset(), refused);
    t.throws(() => fiber.throwInto(1), refused);
    t.throws(() => Fiber(() => {}).run(), refused);
  };
  const inLimits = (): void => void runInNewContext('tryAll()', { tryAll }, { timeout: 60_000 });
  inLimits();
  getHub().runCallback(inLimits);
  idle();
  t.is(fiber.run(), undefined);
  t.true(fiber.started);
  fiber.reset();
});

test.serial('what plain code waits for is refused as ever, beside fibers', (t) => {
  const fiber = yielding();
  t.throws(() => sleep(1), { instanceOf: BlockingSwitchOutError });
  fiber.reset();
});

test.serial('what a fiber leaves to the loop is done, though nobody runs it again', async (t) => {
  const done: string[] = [];
  const allDone = new Promise<void>((resolve) => {
    const fiber = Fiber(() => {
      spawn(() => done.push('spawned'));
      getHub().runCallback(() => {
        done.push('called');
        resolve();
      });
      Fiber.yield();
    });
    fiber.run();
    void allDoneLater(fiber);
  });
  async function allDoneLater(fiber: Fiber): Promise<void> {
    await settle();
    fiber.reset();
  }
  await allDone;
  await settle();
  t.deepEqual(done, ['spawned', 'called']);
});

test.serial('run() and fibers go together', async (t) => {
  const fiber = Fiber(() => {
    const inner = run(() => {
      sleep(0);
      return 'of run()';
    });
    return Fiber.yield(inner) as unknown;
  });
  t.is(await (fiber.run() as Promise<string>), 'of run()');
  fiber.run();
});

// threads

test.serial('each worker thread has fibers of its own, and ends with some suspended', async (t) => {
  const program = `
    const { parentPort } = require('node:worker_threads');
    const Fiber = require('greenstack/fibers');
    const { sleep } = require('greenstack');
    const kept = Array.from({ length: 100 }, (_, index) => {
      const fiber = Fiber(() => { for (let sum = index; ; sum += Fiber.yield(sum)); });
      fiber.run();
      return fiber;
    });
    Fiber(() => {
      sleep(1);
      parentPort.postMessage(kept.map((fiber) => fiber.run(1)).reduce((a, b) => a + b));
      parentPort.close();
    }).run();
  `;
  const sums = await Promise.all(
    [1, 2].map(async () => {
      const worker = new Worker(program, { eval: true });
      // The last message and the end may come in one go.
      const ended = once(worker, 'exit');
      const [sum] = (await once(worker, 'message')) as [number];
      await ended;
      return sum;
    }),
  );
  t.deepEqual(sums, [5050, 5050]);
});

test.serial('a worker thread can be terminated in a fiber', async (t) => {
  const program = `
    const { parentPort } = require('node:worker_threads');
    const Fiber = require('greenstack/fibers');
    const inner = Fiber(() => { for (;;) Fiber.yield(); });
    Fiber(() => {
      parentPort.postMessage('ready');
      for (;;) inner.run();
    }).run();
  `;
  const worker = new Worker(program, { eval: true });
  await once(worker, 'message');
  t.is(await worker.terminate(), 1);
});
