import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { MessageChannel } from 'node:worker_threads';
import test from 'ava';
import {
  BlockingSwitchOutError,
  Greenlet,
  GreenletExit,
  Timeout,
  config,
  getHub,
  idle,
  joinAll,
  sleep,
  spawn,
} from 'greenstack';
import { Cancelled } from 'greenstack/event';
import { JobAborted, ThreadPool, WorkerLost, move } from 'greenstack/threadpool';
import { burn, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { Latch, failDeaf, hold, spin } from './support/latch.js';
import { runProgram } from './support/program.js';

const JOBS = join(__dirname, 'support', 'jobs.js');

const square = (value: number): number => value * value;

/** What `body` throws in the hub. */
function thrownInHub(body: () => unknown): unknown {
  let error: unknown;
  getHub().runCallback(() => {
    error = thrownBy(body);
  });
  idle();
  return error;
}

/** Collects what the hub reports while `body` runs. */
function reported(body: () => void): unknown[] {
  const errors: unknown[] = [];
  const hub = getHub();
  hub.handleError = (_, error) => errors.push(error);
  try {
    body();
  } finally {
    Reflect.deleteProperty(hub, 'handleError');
  }
  return errors;
}

/** Makes all threads of the pool that it may have. */
function warmUp(pool: ThreadPool): void {
  using latch = new Latch();
  for (let thread = 0; thread < pool.maxSize; thread++) pool.submit(hold, latch.flags);
  latch.waitForBegun(pool.maxSize);
  latch.open();
  pool.join();
}

// Functions by their source

hubTest('an arrow function, a function, a method and an async function can be sent', (t) => {
  using pool = new ThreadPool(1);
  const methods = {
    plain(value: number) {
      return value + 1;
    },
    async later(value: number) {
      await Promise.resolve();
      return value + 2;
    },
  };
  t.is(
    pool.apply((value: number) => value, [1]),
    1,
  );
  t.is(
    pool.apply(
      function named(value: number): number {
        return value < 2 ? value : value * named(value - 1);
      },
      [5],
    ),
    120,
  );
  t.is(pool.apply(methods.plain, [1]), 2);
  t.is(pool.apply(methods.later, [1]), 3);
});

hubTest('a function may require and import what it needs', (t) => {
  using pool = new ThreadPool(1);
  t.is(
    pool.apply(() => (require('node:path') as typeof import('node:path')).basename('/a/b')),
    'b',
  );
  t.is(
    pool.apply(async () => (await import('node:path')).basename('/a/b')),
    'b',
  );
});

hubTest('a function runs in strict mode, and without a receiver', (t) => {
  using pool = new ThreadPool(1);
  t.is(
    pool.apply(function (this: unknown) {
      return typeof this;
    }),
    'undefined',
  );
});

hubTest('a function that uses a variable from outside is told what to do', (t) => {
  using pool = new ThreadPool(1);
  const outside = 1;
  const error = thrownBy(() => pool.apply(() => outside)) as ReferenceError;
  t.true(error instanceof ReferenceError);
  t.regex(
    error.message,
    /outside is not defined\. A function that runs in a ThreadPool sees nothing outside/,
  );
  t.true(error.stack!.startsWith(`ReferenceError: ${error.message}\n`));
});

hubTest('a ReferenceError of something else gets no advice', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(() => {
      (require('node:vm') as typeof import('node:vm')).runInThisContext('missing', 'other.js');
    }),
  );
  t.is((error as Error).message, 'missing is not defined');
});

for (const [kind, fn, advice] of [
  ['a native function', Math.max, /native and bound functions/],
  ['a bound function', square.bind(null), /native and bound functions/],
  ['a class', class Job {}, /it is a class/],
  [
    'a generator function',
    function* values() {
      yield 1;
    },
    /a generator stays/,
  ],
  [
    'an async generator function',
    async function* values() {
      yield 1;
    },
    /a generator stays/,
  ],
  [
    'a method that needs its class',
    new (class {
      readonly #secret = 1;
      read() {
        return this.#secret;
      }
    })().read,
    /means nothing by itself/,
  ],
] as const) {
  hubTest(`${kind} cannot be sent`, (t) => {
    using pool = new ThreadPool(1);
    const error = t.throws(() => pool.spawn(fn as () => unknown), { instanceOf: TypeError, message: advice });
    t.regex(error.message, /^ThreadPool\.spawn\(\) cannot send the function /);
    t.is(pool.count, 0);
  });
}

// Functions of modules

for (const [kind, module] of [
  ['a path', JOBS],
  ['a URL', pathToFileURL(JOBS)],
  ["a URL's text", pathToFileURL(JOBS).href],
  ['a path from where the process was started', './build/support/jobs.js'],
] as const) {
  hubTest(`a module can be given as ${kind}`, (t) => {
    using pool = new ThreadPool(1);
    t.is(pool.apply<number>({ module, name: 'add' }, [1, 2]), 3);
  });
}

hubTest('without a name it is the default export that is called', (t) => {
  using pool = new ThreadPool(1);
  t.is(pool.apply({ module: JOBS }, [21]), 42);
});

hubTest('a package and a built-in module can be given by name', (t) => {
  using pool = new ThreadPool(1);
  t.is(pool.apply({ module: 'node:path', name: 'basename' }, ['/a/b']), 'b');
  t.is(pool.apply({ module: 'greenstack', name: 'getSwitchInterval' }), config.switchInterval);
});

hubTest('a module that does not export the function is an error that lists what it does', (t) => {
  using pool = new ThreadPool(1);
  for (const name of ['missing', 'notAFunction']) {
    t.throws(() => pool.apply({ module: JOBS, name }), {
      instanceOf: TypeError,
      message: new RegExp(`exports no function '${name}'; it exports .*add, .*fail`),
    });
  }
});

hubTest('a module that cannot be found is an error', (t) => {
  using pool = new ThreadPool(1);
  t.throws(() => pool.spawn({ module: './nowhere.js' }), { code: 'MODULE_NOT_FOUND' });
  t.throws(() => pool.apply({ module: '/nowhere.js' }), { code: 'ERR_MODULE_NOT_FOUND' });
  t.is(pool.count, 0);
});

// What a job is given and gives

hubTest('arguments and results are copied', (t) => {
  using pool = new ThreadPool(1);
  const argument = { list: [1], date: new Date(5), map: new Map([['a', 1n]]) };
  const result = pool.apply((value: typeof argument) => value, [argument]);
  t.deepEqual(result, argument);
  t.not(result, argument);
});

hubTest('a promise that a job returns is waited for', (t) => {
  using pool = new ThreadPool(1);
  t.is(
    pool.apply(() => new Promise<string>((resolve) => setTimeout(resolve, 1, 'late'))),
    'late',
  );
});

hubTest('an argument in move() is moved', (t) => {
  using pool = new ThreadPool(1);
  const bytes = new Uint8Array([1, 2, 3]);
  t.is(
    pool.apply((sent: Uint8Array) => sent.reduce((sum, byte) => sum + byte), [move(bytes)]),
    6,
  );
  t.is(bytes.length, 0);
});

hubTest('a result in move() is moved', (t) => {
  using pool = new ThreadPool(1);
  const bytes = pool.apply(() => {
    const threadpool = require('greenstack/threadpool') as typeof import('greenstack/threadpool');
    return threadpool.move(new Uint8Array([1, 2, 3]));
  });
  t.deepEqual([...bytes], [1, 2, 3]);
});

hubTest('move() takes what is to be moved of an object', (t) => {
  using pool = new ThreadPool(1);
  const { port1, port2 } = new MessageChannel();
  const result = pool.spawn(
    ({ port, text }: { port: typeof port2; text: string }) => port.postMessage(text),
    move({ port: port2, text: 'hello' }, [port2]),
  );
  const received = new Promise((resolve) => port1.once('message', resolve));
  result.get();
  return received.then((text) => {
    port1.close();
    t.is(text, 'hello');
  });
});

for (const value of [1, null, 'text', undefined]) {
  test(`move() refuses ${String(value)}`, (t) => {
    t.throws(() => move(value as never), { instanceOf: TypeError, message: /move\(\) expects an object/ });
  });
}

test('move() refuses a transfer list that is none', (t) => {
  t.throws(() => move({}, {} as never), { instanceOf: TypeError, message: /array of objects to transfer/ });
});

for (const [kind, value] of [
  ['a function', () => 1],
  ['a symbol', Symbol('mine')],
  ['an object with a method', { method() {} }],
  ['a promise', Promise.resolve()],
] as const) {
  hubTest(`an argument that is ${kind} cannot be sent, and the call says so`, (t) => {
    using pool = new ThreadPool(1);
    for (const call of [
      () => pool.spawn((sent: unknown) => sent, value),
      () => pool.submit((sent: unknown) => sent, value),
      () => pool.applyAsync((sent: unknown) => sent, [value]),
      () => pool.apply((sent: unknown) => sent, [value]),
      () => pool.map((sent: unknown) => sent, [value]),
    ]) {
      const error = thrownBy(call) as Error;
      t.is(error.name, 'DataCloneError');
      t.is(pool.count, 0);
    }
    t.is(pool.apply(square, [2]), 4);
  });
}

hubTest('an item that cannot be sent fails in its place', (t) => {
  using pool = new ThreadPool(1);
  const results = pool.imap((sent: unknown) => sent, [1, () => 2, 3]);
  t.is(results.next().value, 1);
  t.is((thrownBy(() => results.next()) as Error).name, 'DataCloneError');
  t.is(results.next().value, 3);
});

hubTest('a thing that cannot be moved is an error of the job', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() => pool.apply((sent: object) => sent, [move({ plain: true })])) as Error;
  t.regex(error.message, /transfer/i);
  t.is(pool.apply(square, [2]), 4);
});

hubTest('a result that cannot be sent is an error of the job, and its thread lives on', (t) => {
  using pool = new ThreadPool(1);
  const thread = pool.apply(
    () => (require('node:worker_threads') as typeof import('node:worker_threads')).threadId,
  );
  for (const task of [() => () => 1, () => Symbol('mine'), () => ({ nested: { method() {} } })]) {
    const error = thrownBy(() => pool.apply<unknown>(task)) as Error;
    t.is(error.name, 'DataCloneError');
    t.true(error instanceof DOMException);
  }
  t.is(
    pool.apply(() => (require('node:worker_threads') as typeof import('node:worker_threads')).threadId),
    thread,
  );
});

// Errors

hubTest('an error keeps its class, name, code, properties, cause and stack', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(function reads() {
      const cause = new SyntaxError('the cause');
      throw Object.assign(new RangeError('too far', { cause }), {
        code: 'E_FAR',
        name: 'FarError',
        path: '/x',
      });
    }),
  ) as RangeError & { code: string; path: string };
  t.true(error instanceof RangeError);
  t.like(error, { name: 'FarError', message: 'too far', code: 'E_FAR', path: '/x' });
  t.true(error.cause instanceof SyntaxError);
  t.is((error.cause as Error).message, 'the cause');
  t.regex(error.stack!, /at reads \(job reads:\d+:\d+\)/);
});

hubTest("an error's stack goes on with the call of the pool, and shows nothing of the pool's inside", (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(function theCaller() {
    pool.apply({ module: JOBS, name: 'fail' }, ['wrong']);
  }) as Error;
  t.regex(error.stack!, /at fail \(.*jobs\.[jt]s.*\n\s+at theCaller /);
  t.notRegex(error.stack!, /piscina|threadpool-/);
});

hubTest('errors of several calls: AggregateError and DOMException', (t) => {
  using pool = new ThreadPool(1);
  const aggregate = thrownBy(() =>
    pool.apply(() => {
      throw new AggregateError([new TypeError('one'), 'two'], 'both');
    }),
  ) as AggregateError;
  t.true(aggregate instanceof AggregateError);
  t.true(aggregate.errors[0] instanceof TypeError);
  t.is(aggregate.errors[1], 'two');
  const aborted = thrownBy(() =>
    pool.apply(() => {
      AbortSignal.abort().throwIfAborted();
    }),
  );
  t.true(aborted instanceof DOMException);
  t.is((aborted as Error).name, 'AbortError');
});

hubTest('an error of greenstack comes back with its name and code', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(async () => {
      const { run, withTimeout, sleep: pause } = require('greenstack') as typeof import('greenstack');
      await run(() => withTimeout(1, () => pause(1000)));
    }),
  );
  t.like(error, { name: 'Timeout', code: 'ERR_GREENSTACK_TIMEOUT', message: '1 ms' });
});

hubTest('whatever can be cloned can be thrown', (t) => {
  using pool = new ThreadPool(1);
  t.is(
    thrownBy(() =>
      pool.apply(() => {
        throw 'text';
      }),
    ),
    'text',
  );
  t.deepEqual(
    thrownBy(() =>
      pool.apply(() => {
        throw { failure: 1 };
      }),
    ),
    { failure: 1 },
  );
});

hubTest('what cannot be cloned is described', (t) => {
  using pool = new ThreadPool(1);
  const thrown = () => {
    throw () => 1;
  };
  t.throws(() => pool.apply(thrown), { message: /threw what cannot be cloned: \[Function/ });
});

hubTest('an error with properties that cannot be cloned comes back without them', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(() => {
      throw Object.assign(new Error('rich'), { socket: { end() {} }, port: 80 });
    }),
  );
  t.like(error, { message: 'rich', port: 80, socket: undefined });
});

hubTest('an error that throws when it is read is an error all the same', (t) => {
  using pool = new ThreadPool(1);
  t.throws(
    () =>
      pool.apply(() => {
        throw Object.defineProperty(new Error('hidden'), 'name', {
          get() {
            throw new Error('no name');
          },
        });
      }),
    { message: 'the job threw an error that cannot be read' },
  );
});

hubTest('an error that is its own cause comes back', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(() => {
      const circular = new Error('circular');
      circular.cause = circular;
      throw circular;
    }),
  ) as Error;
  t.is((error.cause as Error).message, 'circular');
});

// Waiting for one job

for (const [kind, limit] of [
  ['a kill', 'kill'],
  ['a timeout of the call', 'timeout'],
  ['a Timeout around it', 'outer'],
  ['an aborted signal', 'signal'],
] as const) {
  /** Begins a greenlet that applies `task`, and something that will end its wait. */
  const endedWait = (
    pool: ThreadPool,
    task: (flags: Int32Array) => unknown,
    latch: Latch,
    abort?: boolean,
  ) => {
    const controller = new AbortController();
    const options = abort === undefined ? {} : { abort };
    const limits = {
      ...options,
      ...(limit === 'timeout' ? { timeout: 20 } : {}),
      ...(limit === 'signal' ? { signal: controller.signal } : {}),
    };
    const greenlet = spawn(() =>
      thrownBy(() => {
        using _outer = Timeout.startNew(limit === 'outer' ? 20 : null);
        pool.apply(task, [latch.flags], limits);
      }),
    );
    return {
      greenlet,
      end() {
        if (limit === 'kill') greenlet.kill();
        if (limit === 'signal') controller.abort(new Error('aborted'));
        const error = greenlet.get();
        if (limit === 'kill') return GreenletExit.is(error);
        return limit === 'signal' ? (error as Error).message === 'aborted' : error instanceof Timeout;
      },
    };
  };

  hubTest(`${kind} ends the wait for a job that runs, and the job with its thread`, (t) => {
    using pool = new ThreadPool(1);
    using latch = new Latch();
    pool.apply(square, [1]);
    const { end } = endedWait(pool, spin, latch);
    if (limit === 'kill' || limit === 'signal') latch.waitForBegun(1);
    t.true(end());
    t.is(pool.count, 0);
    t.true(pool.size === 0 || latch.begun === 0, 'the thread has ended if the job had begun');
    t.is(pool.apply(square, [2]), 4);
  });

  hubTest(`${kind} takes a job out that has not begun`, (t) => {
    using pool = new ThreadPool(1);
    using latch = new Latch();
    const running = pool.spawn(hold<string>, latch.flags, 'held');
    latch.waitForBegun(1);
    const { end } = endedWait(pool, hold, latch);
    // At once, as its time may be up soon.
    t.is(spawn(() => pool.count).get(), 2);
    t.true(end());
    t.is(pool.count, 1);
    latch.open();
    t.is(running.get(), 'held');
    t.true(pool.join());
    t.is(latch.begun, 1);
  });

  hubTest(`${kind} leaves a job running that is not to be aborted`, (t) => {
    using pool = new ThreadPool(1);
    using latch = new Latch();
    const { end } = endedWait(pool, hold, latch, false);
    latch.waitForBegun(1);
    t.true(end());
    t.is(pool.count, 1);
    latch.open();
    t.true(pool.join());
    t.is(pool.size, 1);
  });
}

hubTest('the error of a job that was left running is reported', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const errors = reported(() => {
    const work = (flags: Int32Array): never => {
      Atomics.wait(flags, 1, 0);
      throw new Error('too late');
    };
    t.throws(() => pool.apply(work, [latch.flags], { timeout: 5, abort: false }), { instanceOf: Timeout });
    latch.open();
    pool.join();
  });
  t.deepEqual(
    errors.map((error) => (error as Error).message),
    ['too late'],
  );
});

hubTest('a job that runs when another one is aborted is not disturbed', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const kept = pool.spawn(hold<string>, latch.flags, 'kept');
  const aborted = pool.spawn(spin, latch.flags);
  latch.waitForBegun(2);
  aborted.cancel();
  t.is(pool.apply(square, [2]), 4);
  latch.open();
  t.is(kept.get(), 'kept');
});

hubTest('a greenlet that was woken with its result has it, though it is killed before it goes on', (t) => {
  using pool = new ThreadPool(2);
  const work = (flags: Int32Array): number => Atomics.add(flags, 0, 1);
  // Until both results have come in one turn, so that whoever goes on first kills the other in the middle.
  for (let proven = false; !proven;) {
    warmUp(pool);
    const latch = new Latch();
    let results = 0;
    const greenlets: Greenlet[] = [0, 1].map(
      (index) =>
        new Greenlet(() => {
          pool.apply(work, [latch.flags]);
          if (++results === 1) greenlets[1 - index]!.kill(undefined, { block: false });
          else parkForLong();
        }),
    );
    for (const greenlet of greenlets) greenlet.start();
    idle();
    while (latch.begun < 2 && results === 0) burn(1);
    burn(1);
    joinAll(greenlets);
    t.is(pool.count, 0);
    proven = results === 2;
  }
});

hubTest('apply() without time for it throws, and begins nothing', (t) => {
  using pool = new ThreadPool(1);
  t.throws(() => pool.apply(square, [2], 0), { instanceOf: Timeout });
  t.throws(() => pool.apply(square, [2], { block: false }), { instanceOf: Timeout });
  t.throws(() => pool.map(square, [2], 0), { instanceOf: Timeout });
  t.is(pool.size, 0);
});

hubTest('apply() with a signal that is aborted already begins nothing', (t) => {
  using pool = new ThreadPool(1);
  const signal = AbortSignal.abort(new Error('before'));
  t.throws(() => pool.apply(square, [2], { signal }), { message: 'before' });
  t.throws(() => pool.map(square, [2], { signal }), { message: 'before' });
  t.is(pool.size, 0);
});

hubTest('a Timeout that is given to apply() is the one that is thrown', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const timeout = new Timeout(5);
  t.is(
    thrownBy(() => pool.apply(hold, [latch.flags], timeout)),
    timeout,
  );
  const own = new RangeError('mine');
  t.is(
    thrownBy(() => pool.apply(hold, [latch.flags], { timeout: new Timeout(5, own) })),
    own,
  );
});

hubTest('a greenlet that is killed while it waits for a thread in spawn() leaves the queue', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  const spawner = spawn(() => pool.spawn(hold, latch.flags));
  const next = spawn(() => pool.spawn(square, 3));
  idle();
  t.is(pool.count, 3);
  spawner.kill();
  t.is(pool.count, 2);
  latch.open();
  t.is(next.get().get(), 9);
  t.is(latch.begun, 1);
});

hubTest('cancelling a result takes its job out, or ends it', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const running = pool.submit(spin, latch.flags);
  const queued = pool.submit(hold, latch.flags);
  latch.waitForBegun(1);
  t.true(queued.cancel());
  t.is(pool.count, 1);
  t.true(running.cancel('enough'));
  t.is(pool.count, 0);
  t.throws(() => running.get(), { instanceOf: Cancelled, message: 'enough' });
  t.is(pool.apply(square, [2]), 4);
  t.is(latch.begun, 1);
});

hubTest('cancelling a result that has come changes nothing', (t) => {
  using pool = new ThreadPool(1);
  const result = pool.spawn(square, 2);
  result.get();
  t.false(result.cancel());
  t.is(result.get(), 4);
  t.is(pool.size, 1);
});

hubTest('a timeout of get() leaves the job running', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const result = pool.spawn(hold<string>, latch.flags, 'held');
  t.throws(() => result.get(1), { instanceOf: Timeout });
  latch.open();
  t.is(result.get(), 'held');
});

hubTest('results wake only those who wait for them', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const held = pool.spawn(hold, latch.flags);
  const waiting = spawn(() => held.get());
  latch.waitForBegun(1);
  const before = getHub().stats().parked;
  pool.map(square, [1, 2, 3]);
  t.is(getHub().stats().parked, before);
  t.false(waiting.ready);
  latch.open();
  waiting.join();
});

// Many jobs

hubTest('map() of nothing returns nothing, without a thread', (t) => {
  using pool = new ThreadPool(1);
  t.deepEqual(pool.map(square, []), []);
  t.is(pool.size, 0);
});

hubTest('map() takes sets, generators and moved items', (t) => {
  using pool = new ThreadPool(2);
  t.deepEqual(pool.map(square, new Set([1, 2])), [1, 4]);
  const buffers = [1, 2].map((length) => new Uint8Array(length));
  t.deepEqual(
    pool.map(
      (bytes: Uint8Array) => bytes.length,
      buffers.map((bytes) => move(bytes)),
    ),
    [1, 2],
  );
  t.deepEqual(
    buffers.map((bytes) => bytes.length),
    [0, 0],
  );
});

hubTest('map() lets other jobs have their turn', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const mapping = spawn(() => pool.map(hold, Array<Int32Array>(5).fill(latch.flags)));
  latch.waitForBegun(1);
  const begunBefore = pool.submit((flags: Int32Array) => Atomics.load(flags, 0), latch.flags);
  latch.open();
  t.true(begunBefore.get() < 5);
  mapping.join();
});

hubTest('map() with maxSize has at most so many jobs at once', (t) => {
  using pool = new ThreadPool(3);
  using latch = new Latch();
  const mapping = spawn(() => pool.map(hold, [latch.flags, latch.flags, latch.flags], { maxSize: 1 }));
  latch.waitForBegun(1);
  t.is(pool.count, 1);
  latch.open();
  mapping.join();
  t.is(latch.begun, 3);
});

hubTest('when an item of map() fails, what has not begun never does', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const work = (flags: Int32Array): never => {
    throw new Error(`job ${Atomics.add(flags, 0, 1)}`);
  };
  t.throws(() => pool.map(work, Array<Int32Array>(10).fill(latch.flags)), { message: 'job 0' });
  t.true(pool.join());
  t.is(latch.begun, 1);
});

hubTest('when an item of map() fails, the others that run go on', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const work = ({ item, flags }: { item: number; flags: Int32Array }): void => {
    Atomics.add(flags, 0, 1);
    if (item === 1) Atomics.wait(flags, 1, 0);
    else while (Atomics.load(flags, 0) < 2);
    if (item === 0) throw new Error('first');
  };
  const items = [0, 1].map((item) => ({ item, flags: latch.flags }));
  t.throws(() => pool.map(work, items), { message: 'first' });
  t.is(pool.count, 1);
  latch.open();
  t.true(pool.join());
  t.is(pool.size, 2);
});

hubTest('a killed map() ends all its jobs', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  const mapping = spawn(() => pool.map(spin, Array<Int32Array>(10).fill(latch.flags)));
  latch.waitForBegun(2);
  mapping.kill();
  t.is(pool.count, 0);
  t.is(latch.begun, 2);
  t.deepEqual(pool.map(square, [1, 2]), [1, 4]);
});

hubTest('a map() that is over its time throws Timeout and ends all its jobs', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  t.throws(() => pool.map(spin, [latch.flags, latch.flags], 20), { instanceOf: Timeout });
  t.is(pool.count, 0);
});

hubTest('cancelling the result of mapAsync() ends its jobs', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const result = pool.mapAsync(spin, [latch.flags, latch.flags]);
  latch.waitForBegun(1);
  result.cancel();
  t.is(pool.count, 0);
  t.throws(() => result.get(), { instanceOf: Cancelled });
});

hubTest('mapCb() returns the results, and calls back with them', (t) => {
  using pool = new ThreadPool(1);
  const lists: number[][] = [];
  t.deepEqual(
    pool.mapCb(square, [1, 2], (list) => lists.push(list)),
    [1, 4],
  );
  t.deepEqual(lists, [[1, 4]]);
});

hubTest('mapAsync() of nothing has its result at once', (t) => {
  using pool = new ThreadPool(1);
  t.deepEqual(pool.mapAsync(square, []).getNowait(), []);
});

hubTest('mapAsync() gives the first error in the order of the items', (t) => {
  using pool = new ThreadPool(2);
  const work = (item: number): never => {
    throw new Error(`item ${item}`);
  };
  t.throws(() => pool.mapAsync(work, [1, 2, 3]).get(), { message: 'item 1' });
});

hubTest('leaving a loop over imap() ends what is left', (t) => {
  using pool = new ThreadPool(1);
  let closed = false;
  function* items(): Generator<number> {
    try {
      for (let item = 0; ; item++) yield item;
    } finally {
      closed = true;
    }
  }
  for (const result of pool.imap(square, items())) if (result === 4) break;
  idle();
  t.true(closed);
  t.is(pool.count, 0);
});

hubTest('disposing of imap() ends its jobs and wakes who waits for a result', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const results = pool.imapUnordered(spin, [latch.flags, latch.flags]);
  const reader = spawn(() => results.next());
  latch.waitForBegun(1);
  results[Symbol.dispose]();
  t.deepEqual(reader.get(), { done: true, value: undefined });
  t.is(pool.count, 0);
});

hubTest('imap() with abort: false lets the job that runs go on', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const results = pool.imap(hold, [latch.flags, latch.flags], { abort: false });
  latch.waitForBegun(1);
  idle();
  results.return?.();
  t.is(pool.count, 1);
  latch.open();
  t.true(pool.join());
  t.is(latch.begun, 1);
});

hubTest('the error of an iterable ends imap() in its place', (t) => {
  using pool = new ThreadPool(1);
  function* items(): Generator<number> {
    yield 1;
    throw new RangeError('no more');
  }
  const results = pool.imap(square, items());
  t.is(results.next().value, 1);
  t.throws(() => results.next(), { instanceOf: RangeError, message: 'no more' });
  t.true(results.next().done);
  t.true(results.next().done);
});

hubTest('several greenlets can share one imap()', (t) => {
  using pool = new ThreadPool(2);
  const results = pool.imap(square, [1, 2, 3, 4]);
  const readers = [1, 2].map(() => spawn(() => [...results]));
  const lists = readers.map((reader) => reader.get());
  t.deepEqual(
    lists.flat().sort((a, b) => a - b),
    [1, 4, 9, 16],
  );
});

hubTest('imap() is ready when next() need not wait, and can be linked', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const results = pool.imap(hold<string>, [latch.flags], ['held']);
  let told = 0;
  results.rawlink(() => told++);
  latch.waitForBegun(1);
  t.false(results.ready);
  latch.open();
  pool.join();
  idle();
  t.true(results.ready);
  t.is(told, 1);
  t.deepEqual([...results], ['held']);
  t.true(results.ready);
});

hubTest('a kill of the greenlet that waits for the next result of imap() ends what is left', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  let closed = false;
  function* items(): Generator<Int32Array> {
    try {
      for (;;) yield latch.flags;
    } finally {
      closed = true;
    }
  }
  const reader = spawn(() => {
    for (const result of pool.imap(spin, items())) return result;
  });
  latch.waitForBegun(1);
  reader.kill();
  idle();
  t.is(pool.count, 0);
  t.true(closed);
});

hubTest('a kill of one that waits for the next result of imap() leaves it to another that waits', (t) => {
  const pool = new ThreadPool(1);
  using latch = new Latch();
  const results = pool.imap(hold<string>, [latch.flags], ['held']);
  const victim = spawn(() => results.next());
  const other = spawn(() => [...results]);
  idle();
  victim.kill();
  latch.open();
  t.deepEqual(other.get(), ['held']);
  pool.kill();
});

hubTest('a Timeout with an error of its own throws that error, also at once', (t) => {
  const pool = new ThreadPool(1);
  using latch = new Latch();
  const result = pool.submit(hold, latch.flags);
  const own = new Error('own');
  for (const ms of [0, 1]) {
    t.is(
      thrownBy(() => pool.join(new Timeout(ms, own))),
      own,
    );
    t.is(
      thrownBy(() => pool.waitAvailable(new Timeout(ms, own))),
      own,
    );
    t.false(pool.join(new Timeout(ms)));
    t.is(pool.waitAvailable(new Timeout(ms)), 0);
  }
  latch.open();
  result.get();
  pool.kill();
});

hubTest('outside greenlets imap() gives what is there, and refuses to wait', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const results = pool.imap(hold<string>, [latch.flags, latch.flags], ['one', 'two']);
  t.true(thrownInHub(() => results.next()) instanceof BlockingSwitchOutError);
  latch.open();
  t.deepEqual([...results], ['one', 'two']);
});

// Waiting for the pool

hubTest('join() of an idle pool does not wait', (t) => {
  using pool = new ThreadPool(1);
  t.true(pool.join(0));
});

hubTest('join() returns false when the time is up', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  t.false(pool.join(1));
  t.false(pool.join(0));
  latch.open();
  t.true(pool.join());
});

hubTest('a pool can be linked, and is ready when nothing is under way', (t) => {
  using pool = new ThreadPool(1);
  let told = 0;
  const result = pool.spawn(square, 1);
  pool.rawlink(() => told++);
  t.false(pool.ready);
  result.get();
  idle();
  t.is(told, 1);
  t.true(pool.ready);
});

hubTest('waitAvailable() waits in turn, and returns how many jobs could begin', (t) => {
  using pool = new ThreadPool(2);
  using latch = new Latch();
  t.is(pool.waitAvailable(), 2);
  pool.spawn(hold, latch.flags);
  pool.spawn(hold, latch.flags);
  t.true(pool.full);
  t.is(pool.freeCount, 0);
  t.is(pool.waitAvailable(1), 0);
  t.is(pool.waitAvailable(0), 0);
  const waiting = spawn(() => pool.waitAvailable());
  idle();
  latch.open();
  t.true(waiting.get() > 0);
  pool.join();
});

hubTest('kill() ends jobs and threads; who waits gets JobAborted', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const running = pool.spawn(spin, latch.flags);
  const applied = spawn(() => thrownBy(() => pool.apply(square, [1])));
  const mapped = spawn(() => thrownBy(() => pool.map(square, [1, 2, 3])));
  const spawned = spawn(() => pool.spawn(square, 1));
  const results = pool.imap(square, [1, 2, 3]);
  latch.waitForBegun(1);
  idle();
  t.is(pool.count, 5);
  pool.kill();
  t.is(pool.count, 0);
  t.is(pool.size, 0);
  t.throws(() => running.get(), { instanceOf: JobAborted, code: 'ERR_GREENSTACK_JOB_ABORTED' });
  t.true(applied.get() instanceof JobAborted);
  t.true(mapped.get() instanceof JobAborted);
  t.throws(() => spawned.get().get(), { instanceOf: JobAborted });
  t.throws(() => results.next(), { instanceOf: JobAborted });
  t.true(results.next().done);
  t.is(pool.apply(square, [2]), 4);
});

hubTest('kill() waits for the end of a thread that loses the first request to end', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const result = pool.spawn(failDeaf, latch.flags);
  latch.waitForBegun(1);
  pool.kill();
  t.throws(() => result.get(), { instanceOf: JobAborted });
});

hubTest('kill() lets those go on who wait for the pool', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(spin, latch.flags);
  const joining = spawn(() => pool.join());
  const waiting = spawn(() => pool.waitAvailable());
  latch.waitForBegun(1);
  idle();
  pool.kill();
  t.true(joining.get());
  t.is(waiting.get(), 1);
});

hubTest('kill() of a pool without threads does not wait', (t) => {
  const pool = new ThreadPool(1);
  pool.kill();
  let returned = false;
  getHub().runCallback(() => {
    pool.kill();
    returned = true;
  });
  idle();
  t.true(returned);
});

hubTest('kill() can be told not to wait', (t) => {
  const pool = new ThreadPool(1);
  pool.apply(square, [1]);
  pool.kill({ block: false });
  t.is(pool.size, 0);
});

hubTest('a pool in a using declaration is killed at the end of the block', (t) => {
  using latch = new Latch();
  let kept: ThreadPool;
  {
    using pool = new ThreadPool(1);
    kept = pool;
    pool.spawn(spin, latch.flags);
    latch.waitForBegun(1);
  }
  t.is(kept.count, 0);
  t.is(kept.size, 0);
});

// What can happen to a thread

hubTest('process.exit() in a job is an error of the job, and the pool goes on', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() => pool.apply(() => process.exit(3))) as WorkerLost;
  t.true(error instanceof WorkerLost);
  t.is(error.code, 'ERR_GREENSTACK_WORKER_LOST');
  t.regex(error.message, /lost with its worker thread: .*3$/);
  t.is(pool.apply(square, [2]), 4);
});

hubTest('an uncaught error in a thread is an error of its job, and the pool goes on', (t) => {
  using pool = new ThreadPool(1);
  const error = thrownBy(() =>
    pool.apply(
      () =>
        new Promise(() => {
          setTimeout(() => {
            throw new Error('uncaught');
          }, 1);
        }),
    ),
  ) as WorkerLost;
  t.true(error instanceof WorkerLost);
  t.is((error.cause as Error).message, 'uncaught');
  t.is(pool.apply(square, [2]), 4);
});

hubTest('lack of memory in a thread is an error of its job, and the pool goes on', (t) => {
  using pool = new ThreadPool(1, { resourceLimits: { maxOldGenerationSizeMb: 16 } });
  const error = thrownBy(() =>
    pool.apply(() => {
      const kept: unknown[] = [];
      for (;;) kept.push(Array.from({ length: 1000 }, Math.random));
    }),
  ) as WorkerLost;
  t.true(error instanceof WorkerLost);
  t.is((error.cause as { code: string }).code, 'ERR_WORKER_OUT_OF_MEMORY');
  t.is(pool.apply(square, [2]), 4);
});

hubTest('jobs may use greenstack in their threads', (t) => {
  using pool = new ThreadPool(2);
  const work = async (count: number): Promise<number> => {
    const greenstack = require('greenstack') as typeof import('greenstack');
    return greenstack.run(() => {
      const greenlets = Array.from({ length: count }, (_, index) =>
        greenstack.spawn(() => {
          greenstack.sleep(1);
          return index;
        }),
      );
      return greenstack.joinAll(greenlets).reduce((sum, greenlet) => sum + (greenlet.value as number), 0);
    });
  };
  t.deepEqual(pool.map(work, [10, 20, 30, 10]), [45, 190, 435, 45]);
});

hubTest('a thread with parked greenlets can be ended', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const parks = async (flags: Int32Array): Promise<void> => {
    const greenstack = require('greenstack') as typeof import('greenstack');
    greenstack.spawn(() => Atomics.add(flags, 0, 1));
    await greenstack.run(() => greenstack.sleep(3_600_000));
  };
  const result = pool.spawn(parks, latch.flags);
  latch.waitForBegun(1);
  result.cancel();
  t.is(pool.apply(square, [2]), 4);
});

// All at once

hubTest('whatever happens to jobs, each wait ends, with the result or an error, and nothing is left', (t) => {
  const pool = new ThreadPool(3, { idleTimeout: 20 });
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.log(`seed ${seed}`);
  const random = randomNumbers(seed);
  const work = (ms: number, value: number): number => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    if (value % 7 === 0) throw new RangeError('seven');
    return value * 2;
  };
  const double = (value: number): number => value * 2;
  const expected = [GreenletExit, Timeout, Cancelled, JobAborted, RangeError];
  const use = (kind: number, value: number): number => {
    switch (kind) {
      case 0:
        return pool.apply(work, [random(4), value]);
      case 1:
        return pool.apply(work, [random(4), value], { timeout: random(8), abort: random(2) === 0 });
      case 2:
        return pool.spawn(work, random(4), value).get();
      case 3: {
        const result = pool.submit(work, random(4), value);
        sleep(random(3));
        if (random(2) === 0) result.cancel();
        return result.get();
      }
      case 4:
        return pool.map(double, [value, value, value])[2]!;
      case 5: {
        for (const result of pool.imap(double, [value, value, value], { maxSize: 1 + random(3) })) {
          if (random(10) === 0) return result;
        }
        return value * 2;
      }
      default:
        pool.waitAvailable(random(5));
        if (random(20) === 0) pool.kill({ block: random(2) === 0 });
        if (random(10) === 0) pool.maxSize = 1 + random(4);
        return value * 2;
    }
  };
  const wrong: unknown[] = [];
  const greenlets: Array<Greenlet<void>> = [];
  // Errors of jobs that were left running.
  reported(() => {
    for (let index = 0; index < 200; index++) {
      const [kind, value] = [random(7), random(100)];
      const greenlet = spawn(() => {
        try {
          const result = use(kind, value);
          if (result !== value * 2) wrong.push(result);
        } catch (error) {
          if (!expected.some((errorClass) => error instanceof errorClass)) wrong.push(error);
        }
      });
      greenlets.push(greenlet);
      if (random(6) === 0) sleep(random(3));
      if (random(10) === 0) greenlets[random(greenlets.length)]!.kill(undefined, { block: false });
    }
    joinAll(greenlets);
    t.true(pool.join());
  });
  t.deepEqual(wrong, []);
  t.is(pool.count, 0);
  t.is(pool.apply(square, [3]), 9);
  pool.kill();
});

/** Numbers below what is asked for, the same for the same seed. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

// Where it may be used

test.serial('outside greenlets jobs can be submitted, and awaited', async (t) => {
  using pool = new ThreadPool(1);
  t.is(await pool.spawn(square, 2), 4);
  t.is(await pool.submit(square, 3), 9);
  t.is(await pool.applyAsync(square, [4]), 16);
  t.deepEqual(await pool.mapAsync(square, [5, 6]), [25, 36]);
  await t.throwsAsync(async () => await pool.submit({ module: JOBS, name: 'fail' }, 'wrong'), {
    instanceOf: RangeError,
    message: 'wrong',
  });
});

hubTest('outside greenlets what must wait is refused, and changes nothing', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  pool.spawn(hold, latch.flags);
  for (const call of [
    () => pool.spawn(square, 1),
    () => pool.apply(square, [1]),
    () => pool.map(square, [1]),
    () => pool.join(),
    () => pool.waitAvailable(),
    () => pool.kill(),
  ]) {
    t.true(thrownInHub(call) instanceof BlockingSwitchOutError, String(call));
    t.is(pool.count, 1);
  }
  latch.open();
  pool.join();
});

hubTest('the callback of applyAsync() has the async context of the call', (t) => {
  using pool = new ThreadPool(1);
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const result = storage.run('mine', () => pool.applyAsync(square, [2], () => seen.push(storage.getStore())));
  result.get();
  idle();
  t.deepEqual(seen, ['mine']);
});

// Bad input

for (const [value, error] of [
  ['3', TypeError],
  [NaN, TypeError],
  [0, RangeError],
  [-1, RangeError],
  [1.5, RangeError],
  [Infinity, RangeError],
] as const) {
  test(`new ThreadPool() refuses the size ${inspect(value)}`, (t) => {
    t.throws(() => new ThreadPool(value as number), { instanceOf: error, message: /ThreadPool's maxSize/ });
    const pool = new ThreadPool(2);
    t.throws(() => (pool.maxSize = value as number), { instanceOf: error, message: /ThreadPool's maxSize/ });
    t.is(pool.maxSize, 2);
  });
}

for (const [value, error] of [
  ['3', TypeError],
  [NaN, TypeError],
  [-1, RangeError],
] as const) {
  test(`new ThreadPool() refuses the idle time ${inspect(value)}`, (t) => {
    t.throws(() => new ThreadPool(1, { idleTimeout: value as number }), {
      instanceOf: error,
      message: /ThreadPool: idleTimeout/,
    });
  });
}

test('new ThreadPool() refuses options that are no object', (t) => {
  t.throws(() => new ThreadPool(1, 5 as never), { instanceOf: TypeError, message: /object of options/ });
});

test('the default size of a pool is that of config', (t) => {
  t.is(new ThreadPool().maxSize, config.threadpoolSize);
  t.is(new ThreadPool(null).maxSize, config.threadpoolSize);
});

for (const value of [undefined, null, 5, 'text', {}, []]) {
  hubTest(`${inspect(value)} is no job`, (t) => {
    using pool = new ThreadPool(1);
    for (const call of [
      () => pool.spawn(value as never),
      () => pool.submit(value as never),
      () => pool.apply(value as never),
      () => pool.applyAsync(value as never),
      () => pool.map(value as never, [1]),
      () => pool.mapAsync(value as never, [1]),
      () => pool.imap(value as never, [1]),
      () => pool.imapUnordered(value as never, [1]),
    ]) {
      t.throws(call, {
        instanceOf: TypeError,
        message: /^ThreadPool\.\w+\(\) expects a function or \{ module/,
      });
    }
    t.is(pool.size, 0);
  });
}

hubTest('wrong arguments are refused before anything begins', (t) => {
  using pool = new ThreadPool(1);
  const wrong: Array<[() => unknown, typeof TypeError | typeof RangeError, RegExp]> = [
    [() => pool.apply(square, 5 as never), TypeError, /array of arguments, got 5/],
    [() => pool.applyAsync(square, 5 as never), TypeError, /array of arguments/],
    [() => pool.applyAsync(square, [1], 5 as never), TypeError, /applyAsync\(\) expects a function/],
    [() => pool.applyCb(square, [1], 5 as never), TypeError, /applyCb\(\) expects a function/],
    [() => pool.mapCb(square, [1], 5 as never), TypeError, /mapCb\(\) expects a function/],
    [() => pool.mapAsync(square, [1], 5 as never), TypeError, /mapAsync\(\) expects a function/],
    [() => pool.map(square, 5 as never), TypeError, /expects an iterable, got 5/],
    [() => pool.imap(square, 5 as never), TypeError, /expects an iterable, got 5/],
    [() => pool.imap({ module: JOBS }), TypeError, /expects at least one iterable/],
    [() => pool.imap(square, [1], { maxSize: 0 }), RangeError, /maxSize must be a whole number from 1/],
    [() => pool.imap(square, [1], { maxSize: 1.5 }), RangeError, /maxSize must be a whole number/],
    [() => pool.map(square, [1], { maxSize: '1' as never }), TypeError, /maxSize must be a number/],
    [() => pool.apply(square, [1], { abort: 1 as never }), TypeError, /abort must be true or false/],
    [() => pool.apply(square, [1], 'soon' as never), TypeError, /timeout in milliseconds/],
    [() => pool.apply({ module: 5 as never }), TypeError, /module must be a URL, a path/],
    [() => pool.apply({ module: JOBS, name: 5 as never }), TypeError, /name must be a string/],
  ];
  for (const [call, instanceOf, message] of wrong) t.throws(call, { instanceOf, message });
  t.is(pool.size, 0);
  t.is(pool.count, 0);
});

// What it shows

hubTest('a pool is shown with its threads and jobs', (t) => {
  using pool = new ThreadPool(2);
  t.is(String(pool), '<ThreadPool 0 of 2 threads, 0 jobs>');
  pool.apply(square, [1]);
  t.is(inspect(pool), '<ThreadPool 1 of 2 threads, 0 jobs>');
  t.is(pool.idle, 1);
});

hubTest('a greenlet that waits for a job says so', (t) => {
  using pool = new ThreadPool(1);
  using latch = new Latch();
  const greenlet = spawn(() => pool.apply(hold, [latch.flags]));
  idle();
  t.regex(String(greenlet), /parked in ThreadPool\.apply\(\)/);
  latch.open();
  greenlet.join();
});

// The life of the process

test('a pool without jobs does not keep the process alive', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['idle'] }), { code: 0, stdout: 'done\n', stderr: '' });
});

test('a job keeps the process alive while a greenlet waits for it', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['busy'] }), { code: 0, stdout: 'done\n', stderr: '' });
});

test('a job that nobody waits for is done before the process ends', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['forgotten'] }), {
    code: 0,
    stdout: 'done\n',
    stderr: '',
  });
});

test('process.exit() ends jobs that run', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['exit'] }), {
    code: 3,
    stdout: 'exiting\n',
    stderr: '',
  });
});

test('a thread that loses the first request to end does not keep the process alive', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['deaf'] }), { code: 0, stdout: '0\n', stderr: '' });
});

test('an error of the main greenlet that leaves the block of a pool ends the process', async (t) => {
  const { code, stderr } = await runProgram('thread-pool.js', { args: ['failure'] });
  t.is(code, 1);
  t.regex(stderr, /the end/);
});

test('the pool of the hub ends with the hub', async (t) => {
  t.like(await runProgram('thread-pool.js', { args: ['destroyed'] }), {
    code: 0,
    stdout: '0\nHubDestroyed\n',
  });
});

for (const [way, env, message] of [
  ['by an error', {}, 'not in a worker'],
  ['by exiting', { END: 'exit' }, 'no thread can be started'],
] as const) {
  test(`threads that end ${way} before they begin are errors of the jobs`, async (t) => {
    const preload = ['-r', join(__dirname, 'programs', 'no-workers.js')];
    const { code, stdout } = await runProgram('thread-pool.js', { flags: preload, args: ['broken'], env });
    t.is(code, 0);
    const line = `WorkerLost the job was lost with its worker thread: ${message}\n`;
    t.is(stdout, `1 ${line}2 ${line}true\n`);
  });
}

test('an error of a thread without a job is reported, and the other threads do the work', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const { code, stdout } = await runProgram('thread-pool.js', {
    flags: ['-r', join(__dirname, 'programs', 'no-workers.js')],
    args: ['halfBroken'],
    env: { END: 'first', REPORTED: join(folder, 'reported') },
  });
  t.is(code, 0);
  t.is(stdout, 'Error: not in a worker\n[ 1, 4, 9 ]\n');
});

const hasPermissions = Number(process.versions.node.split('.')[0]) >= 24;
(hasPermissions ? test : test.skip)('without the permission for threads jobs fail', async (t) => {
  const flags = ['--permission', '--allow-fs-read=*', '--allow-addons'];
  const { code, stdout } = await runProgram('thread-pool.js', { flags, args: ['forbidden'] });
  t.is(code, 0);
  t.is(stdout, 'WorkerLost ERR_ACCESS_DENIED\ntrue\n');
});

test.serial('the thread pool of the hub needs no import of its own', async (t) => {
  const { code, stdout, stderr } = await runProgram('hub-thread-pool.js');
  t.is(stdout, '49\n', stderr);
  t.is(code, 0);
});
