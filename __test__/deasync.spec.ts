import { readFile } from 'node:fs';
import test from 'ava';
import {
  BlockingSwitchOutError,
  GreenletExit,
  idle,
  joinAll,
  LoopExit,
  run,
  spawn,
  Timeout,
  withTimeout,
} from 'greenstack';
import deasync from 'greenstack/deasync';
import Fiber from 'greenstack/fibers';
import { thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';

type Callback<T> = (error: unknown, result: T) => void;

/** One of the forms of `readFile`, which types cannot choose. */
const readText: (path: string, encoding: 'utf8', callback: Callback<string>) => void = readFile;

hubTest('the result of the callback is returned', (t) => {
  t.regex(deasync(readText)(__filename, 'utf8'), /the result of the callback/);
});

hubTest('the error of the callback is thrown', (t) => {
  const failing = deasync((callback: Callback<void>) => void setImmediate(callback, new Error('failed')));
  t.throws(() => failing(), { message: 'failed' });
});

hubTest('a callback that is called at once needs no wait', (t) => {
  t.is(deasync((value: number, callback: Callback<number>) => callback(null, value + 1))(1), 2);
});

hubTest('what the function throws itself is thrown', (t) => {
  const failing = deasync((_callback: Callback<never>) => {
    throw new Error('at once');
  });
  t.throws(() => failing(), { message: 'at once' });
});

hubTest('the function gets its receiver and its arguments', (t) => {
  const object = {
    base: 10,
    add: deasync(function (this: { base: number }, a: number, b: number, callback: Callback<number>) {
      setImmediate(callback, null, this.base + a + b);
    } as (a: number, b: number, callback: Callback<number>) => void),
  };
  t.is(object.add(1, 2), 13);
});

hubTest('only the first call of a callback counts', (t) => {
  const twice = deasync((callback: Callback<string>) => {
    callback(null, 'first');
    callback(new Error('second'), '');
  });
  t.is(twice(), 'first');
});

hubTest('many calls are under way at once, and end in any order', (t) => {
  const callbacks: Array<() => void> = [];
  const order: number[] = [];
  const waitFor = deasync((id: number, callback: Callback<number>) => {
    callbacks.push(() => callback(null, id));
  });
  const greenlets = [0, 1, 2].map((id) => spawn(() => order.push(waitFor(id))));
  idle();
  for (const index of [1, 0, 2]) callbacks[index]?.();
  joinAll(greenlets);
  t.deepEqual(order, [1, 0, 2]);
});

hubTest('a wait that is killed or out of time leaves nothing behind', (t) => {
  const callbacks: Array<Callback<string>> = [];
  const never = deasync((callback: Callback<string>) => void callbacks.push(callback));
  t.true(thrownBy(() => withTimeout(1, () => never())) instanceof Timeout);
  const greenlet = spawn(() => never());
  idle();
  greenlet.kill();
  t.true(greenlet.value instanceof GreenletExit);
  for (const callback of callbacks) callback(null, 'late');
});

hubTest('sleep() waits', (t) => {
  const start = performance.now();
  deasync.sleep(3);
  t.true(performance.now() - start >= 2);
  t.throws(() => deasync.sleep('x' as never), { instanceOf: TypeError });
});

hubTest('runLoopOnce() lets callbacks that are due be called', (t) => {
  let called = false;
  setImmediate(() => (called = true));
  deasync.runLoopOnce();
  t.true(called);
});

hubTest('loopWhile() waits until its condition is false', (t) => {
  let rounds = 0;
  deasync.loopWhile(() => rounds++ < 3);
  t.is(rounds, 4);
  let isDone = false;
  setTimeout(() => (isDone = true), 60);
  deasync.loopWhile(() => !isDone);
  t.true(isDone);
  deasync.loopWhile(() => false);
});

hubTest('loopWhile() lets greenlets run', (t) => {
  let isDone = false;
  spawn(() => {
    deasync.sleep(1);
    isDone = true;
  });
  deasync.loopWhile(() => !isDone);
  t.true(isDone);
});

hubTest('what loopWhile() calls may throw', (t) => {
  t.throws(
    () =>
      deasync.loopWhile(() => {
        throw new Error('in the condition');
      }),
    { message: 'in the condition' },
  );
});

test.serial('all of it works in fibers too', async (t) => {
  const content = await new Promise((resolve) =>
    Fiber(() => {
      deasync.sleep(1);
      deasync.runLoopOnce();
      let isDone = false;
      setImmediate(() => (isDone = true));
      deasync.loopWhile(() => !isDone);
      resolve(deasync(readText)(__filename, 'utf8'));
    }).run(),
  );
  t.regex(content as string, /all of it works/);
});

test.serial('outside greenlets it is refused, and nothing is called', (t) => {
  const refused = { instanceOf: BlockingSwitchOutError };
  let calls = 0;
  const note = (callback: Callback<void>): void => {
    calls++;
    callback(null, undefined);
  };
  t.throws(() => deasync(note)(), { ...refused, message: /^note\(\) of deasync would block the hub\./ });
  t.throws(() => deasync.sleep(1), refused);
  t.throws(() => deasync.runLoopOnce(), refused);
  t.throws(() => deasync.loopWhile(() => calls++), refused);
  t.is(calls, 0);
});

test.serial('what is no function is refused', async (t) => {
  const message = { instanceOf: TypeError, message: 'deasync() expects a function, got number' };
  t.throws(() => deasync(1 as never), message);
  await run(() => t.throws(() => deasync.loopWhile(1 as never), { instanceOf: TypeError }));
});

test.serial('loopWhile() on what nobody can change ends by LoopExit', async (t) => {
  const program = `
    const { run } = require('greenstack');
    const deasync = require('greenstack/deasync');
    run(() => deasync.loopWhile(() => true)).catch((error) => console.log(error.name, error.message));
  `;
  const { execFile } = await import('node:child_process');
  const stdout = await new Promise<string>((resolve) =>
    execFile(process.execPath, ['-e', program], { cwd: __dirname }, (_error, text) => resolve(text)),
  );
  t.regex(stdout, /^LoopExit loopWhile\(\) would loop for ever/);
  t.is(LoopExit.name, 'LoopExit');
});
