/** What reviews and users have found, one test each. */
import test from 'ava';
import {
  BlockingSwitchOutError,
  fork,
  getHub,
  Greenlet,
  idle,
  joinAll,
  killAll,
  reinit,
  run,
  shield,
  sleep,
  spawn,
  spawnRaw,
  Timeout,
  wait,
  waitFor,
  Waiter,
} from 'greenstack';
import { runInNewContext } from 'node:vm';
import { thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { stderrOf } from './support/stderr.js';

virtualTest('a join that was refused by an aborted signal wakes nobody later', (t, clock) => {
  const target = spawn(() => sleep(5));
  t.truthy(thrownBy(() => target.join({ signal: AbortSignal.abort() })));
  sleep(30);
  t.is(clock.now(), 30);
  t.true(target.dead);
});

hubTest('a wait for a promise that was refused wakes nobody later', (t) => {
  const promise = new Promise((resolve) => setTimeout(resolve, 5));
  const end = performance.now() + 30;
  t.truthy(thrownBy(() => waitFor(promise, { signal: AbortSignal.abort() })));
  sleep(30);
  t.true(performance.now() >= end - 1);
});

virtualTest('a join that was refused where parking is impossible wakes nobody later', (t, clock) => {
  const target = spawn(() => sleep(5));
  const join = (): void => target.join();
  t.throws(() => void runInNewContext('join()', { join }, { timeout: 60_000 }), {
    instanceOf: BlockingSwitchOutError,
  });
  sleep(30);
  t.is(clock.now(), 30);
  t.true(target.dead);
});

virtualTest('an abort that comes after the end of the wait is not thrown in the next one', (t) => {
  const controller = new AbortController();
  const target = new Greenlet(() => undefined);
  const waiting = spawn(() => {
    target.join({ signal: controller.signal });
    sleep(1);
    return 'unharmed';
  });
  idle();
  target.kill(undefined, { block: false });
  controller.abort();
  t.is(waiting.get(), 'unharmed');
});

hubTest('a spawn callback that throws is reported, and the greenlet starts', (t) => {
  const careless = (): void => {
    throw new Error('careless');
  };
  Greenlet.addSpawnCallback(careless);
  const printed = stderrOf(() => {
    t.is(spawn(() => 'ran').get(), 'ran');
  });
  Greenlet.removeSpawnCallback(careless);
  t.regex(printed, /careless/);
});

virtualTest('a Timeout object limits a wait as a whole, as a number does', (t, clock) => {
  const greenlets = [5, 60, 120].map((ms) => spawn(sleep, ms));
  t.is(wait(greenlets, { timeout: new Timeout(30) }).length, 1);
  t.is(clock.now(), 30);
  joinAll(greenlets);
});

virtualTest('killAll() throws the Timeout that it was given', (t) => {
  const stubborn = spawn(() => {
    try {
      sleep(1000);
    } catch {
      sleep(20);
    }
  });
  sleep(0);
  const timeout = new Timeout(1);
  t.is(
    thrownBy(() => killAll([stubborn], { timeout })),
    timeout,
  );
  stubborn.join();
});

virtualTest('a Timeout that is started and passes within a shield is not kept off', (t) => {
  const outcome = shield(() => {
    using timeout = Timeout.startNew(1);
    return thrownBy(() => sleep(1000)) === timeout;
  });
  t.true(outcome);
});

hubTest('awaiting a greenlet whose value is itself is an error', async (t) => {
  const own: Greenlet<unknown> = spawn(() => own);
  own.join();
  const error = waitFor(
    own.then(
      () => null,
      (reason: unknown) => reason,
    ),
  ) as unknown;
  t.true(error instanceof TypeError);
});

hubTest('the signal of waitFor() is aborted if its own function is interrupted', (t) => {
  let signal: AbortSignal | undefined;
  const greenlet = spawn(() =>
    waitFor((given) => {
      signal = given;
      sleep(1000);
    }),
  );
  sleep(0);
  greenlet.kill();
  t.true(signal?.aborted);
});

hubTest('abort(null) throws null', (t) => {
  const controller = new AbortController();
  const greenlet = spawn(() => thrownBy(() => sleep(1000, { signal: controller.signal })));
  sleep(0);
  controller.abort(null);
  t.is(greenlet.get(), null);
});

hubTest('a listener of killIgnored that throws does not reach the greenlet', (t) => {
  const careless = (): void => {
    throw new Error('careless listener');
  };
  getHub().on('killIgnored', careless);
  const printed = stderrOf(() => {
    const survivor = spawn(() => {
      try {
        sleep(1000);
      } catch {
        sleep(0);
      }
      return 'unharmed';
    });
    sleep(0);
    survivor.kill();
    t.is(survivor.get(), 'unharmed');
  });
  getHub().off('killIgnored', careless);
  t.regex(printed, /careless listener/);
});

hubTest('the report of a failure shows the arguments', (t) => {
  const printed = stderrOf(() => {
    spawn(function work(_name: string) {
      throw new Error('failed');
    }, 'the argument').join();
  });
  t.regex(printed, /work\('the argument'\)/);
});

virtualTest('a second kill does not disturb the cleaning up after the first', (t) => {
  let cleaned = false;
  const victim = spawn(() => {
    try {
      sleep(1000);
    } finally {
      sleep(1);
      cleaned = true;
    }
  });
  sleep(0);
  victim.kill(undefined, { block: false });
  victim.kill(undefined, { block: false });
  victim.join();
  t.true(cleaned);
});

virtualTest('a Timeout whose class of errors throws in its constructor throws that', (t) => {
  class Broken extends Error {
    constructor() {
      super();
      throw new RangeError('no such error');
    }
  }
  using _timeout = Timeout.startNew(1, Broken);
  t.true(thrownBy(() => sleep(1000)) instanceof RangeError);
});

hubTest('Waiter.get() returns what it was woken for, cleared or not', (t) => {
  const waiter = new Waiter<string>();
  const waiting = spawn(() => waiter.get());
  sleep(0);
  waiter.switch('value');
  waiter.clear();
  t.is(waiting.get(), 'value');
});

hubTest('an aborted signal is ready without waiting', (t) => {
  const signal = AbortSignal.abort();
  t.deepEqual(wait([signal], { timeout: 0 }), [signal]);
});

hubTest('a child of a raw greenlet belongs to whoever spawned that', (t) => {
  let spawner: unknown = null;
  const parent = spawn(() => {
    spawnRaw(() => {
      spawner = spawn(() => undefined).spawningGreenlet;
    });
    sleep(2);
  });
  parent.join();
  t.is(spawner, parent);
});

virtualTest('a greenlet is joined at the end of its using block', (t) => {
  let ended = false;
  {
    using _greenlet = spawn(() => {
      sleep(1);
      ended = true;
    });
  }
  t.true(ended);
});

test.serial('the stack of a greenlet may be formatted by code that would park', async (t) => {
  const { stdout, signal } = await runProgram('formatted-stack.js');
  t.is(signal, null);
  t.is(stdout, 'refused\n');
});

test('fork() and reinit() say what to use instead', (t) => {
  t.throws(fork, { code: 'ENOSYS', message: /child_process/ });
  t.throws(reinit, { code: 'ENOSYS', message: /child_process/ });
});

test.serial('a main greenlet that is stuck within a shield gets its LoopExit', async (t) => {
  const { code, stderr } = await runProgram('stuck-shield.js');
  t.is(code, 1);
  t.regex(stderr, /LoopExit/);
});

test.serial('Ctrl-C reaches every one of several run() at once', async (t) => {
  const { stdout, signal } = await runProgram('two-runs.js', { signalWhenReady: 'SIGINT' });
  t.is(stdout, 'ready\nfirst: KeyboardInterrupt\nsecond: KeyboardInterrupt\n');
  t.is(signal, 'SIGINT');
});

test.serial('running out of stacks is an error, not an abort', async (t) => {
  const { stdout, signal } = await runProgram('out-of-stacks.js');
  t.is(signal, null);
  t.regex(stdout, /ERR_GREENSTACK_OUT_OF_STACKS/);
});

test.serial('greenlets that lack a stack wait until others end, and do not keep the loop busy', async (t) => {
  const { stdout, stderr } = await runProgram('waits-for-stack.js');
  const [busy, lacking, allRan, reports] = stdout.trim().split(' ');
  t.true(Number(busy) < 250, `${busy} ms of CPU time\n${stderr}`);
  t.deepEqual([lacking, allRan, reports], ['true', 'true', '1']);
});

test.serial('data that nobody waits for does not keep the loop busy', async (t) => {
  const { stdout } = await runProgram('idle-cpu.js');
  // The loop that spins uses all of the 500 ms; an idle one a few.
  t.true(Number(stdout) < 250, `${stdout} ms of CPU time`);
});

test.serial('an error may be thrown deep in the own stack of a worker', async (t) => {
  const { stdout } = await runProgram('deep-worker.js');
  t.is(stdout, 'thrown at the bottom\nexit 0\n');
});

test.serial('a worker is terminated whichever greenlet runs', async (t) => {
  const { stdout } = await runProgram('busy-worker-ends.js');
  t.is(stdout, 'all ended\n');
});

test.serial('a worker is terminated while it looks at the stack of a greenlet', async (t) => {
  const { stdout } = await runProgram('looking-worker-ends.js');
  t.is(stdout, 'ended\n');
});

hubTest('reading the stack of a greenlet lets nobody else run', (t) => {
  const parked = spawn(() => sleep(1000));
  sleep(0);
  const order: string[] = [];
  const reader = spawn(() => {
    order.push('before');
    void parked.stack;
    order.push('after');
  });
  const other = spawn(() => order.push('other'));
  joinAll([reader, other]);
  t.deepEqual(order, ['before', 'after', 'other']);
  parked.kill();
});

test.serial('run() leaves no listeners behind if it cannot start', async (t) => {
  const before = process.listenerCount('SIGINT');
  await run(() => undefined);
  t.is(process.listenerCount('SIGINT'), before);
});
