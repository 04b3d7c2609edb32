import test from 'ava';
import { constants } from 'node:os';
import { type Outcome, runProgram } from './support/program.js';

/** Fails with everything the program said unless it ended as expected. */
function endedWith(code: number, outcome: Outcome): string | undefined {
  if (outcome.code === code && outcome.signal === null) return undefined;
  return `code ${outcome.code}, signal ${outcome.signal}\n${outcome.stdout}\n${outcome.stderr}`;
}

// The natural end

test('the process ends by itself when nothing is left', async (t) => {
  const outcome = await runProgram('natural-exit.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'main\nafter main\n');
  t.is(outcome.stderr, '');
});

test('process.exitCode holds beside greenlets', async (t) => {
  const outcome = await runProgram('exit-code.js');
  t.is(endedWith(3, outcome), undefined);
});

test('greenlets spawned in plain code keep the process alive until they end', async (t) => {
  const outcome = await runProgram('spawned-in-plain-code.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'done\n');
});

test('sleep() with ref: false does not keep the process alive', async (t) => {
  const outcome = await runProgram('unreferenced-sleep.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'exit\n');
});

test('greenlets that nobody can wake do not keep the process alive', async (t) => {
  const outcome = await runProgram('forgotten-greenlets.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'main ends\nexit\n');
});

test('importing greenstack does not keep the process alive, nor change anything', async (t) => {
  const outcome = await runProgram('import-only.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, '[]\n');
});

// process.exit()

test('process.exit() in a greenlet ends the process while others are parked', async (t) => {
  const outcome = await runProgram('exit-in-greenlet.js');
  t.is(endedWith(7, outcome), undefined);
  t.is(outcome.stdout, 'exit listener 7\n');
});

test('process.exit() in a plain callback ends the process while greenlets are parked', async (t) => {
  const outcome = await runProgram('exit-in-callback.js');
  t.is(endedWith(8, outcome), undefined);
});

test('process.exit() in a link ends the process', async (t) => {
  const outcome = await runProgram('exit-in-link.js');
  t.is(endedWith(9, outcome), undefined);
});

// Errors

test('an uncaught error in a plain callback ends the process while greenlets are parked', async (t) => {
  const outcome = await runProgram('uncaught.js');
  t.is(endedWith(1, outcome), undefined);
  t.regex(outcome.stderr, /Error: thrown in a plain callback/);
});

test('with a handler an uncaught error in a plain callback leaves the greenlets alone', async (t) => {
  const outcome = await runProgram('uncaught.js', { args: ['handled'] });
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'handled: thrown in a plain callback\nwoken: 50\n');
});

test('the failure of a greenlet is printed and does not end the process', async (t) => {
  const outcome = await runProgram('failing-greenlet.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'uncaughtException: 0, unhandledRejection: 0\n');
  t.regex(outcome.stderr, /RangeError: on purpose\n\s+at theCulprit/);
  t.regex(outcome.stderr, /the-failing-one.* failed with RangeError/);
});

test('a failure of main rejects run(), which ends the process unless it is handled', async (t) => {
  const outcome = await runProgram('failing-main.js');
  t.is(endedWith(1, outcome), undefined);
  t.regex(outcome.stderr, /RangeError: on purpose\n\s+at theCulprit/);
});

// Signals

/** Whether a process ended as one that the signal has killed. */
function endedBy(name: 'SIGINT' | 'SIGTERM', { code, signal }: Outcome): boolean {
  return signal === name || code === 128 + constants.signals[name];
}

for (const name of ['SIGINT', 'SIGTERM'] as const) {
  test(`${name} is thrown in main as KeyboardInterrupt, and ends the process after main`, async (t) => {
    const outcome = await runProgram('interrupt.js', { signalWhenReady: name });
    t.is(outcome.stdout, `ready\nKeyboardInterrupt ERR_GREENSTACK_KEYBOARD_INTERRUPT ${name}\n`);
    t.true(endedBy(name, outcome), endedWith(0, outcome));
  });

  test(`${name} that main does not catch unwinds every greenlet`, async (t) => {
    const outcome = await runProgram('uncaught-interrupt.js', { signalWhenReady: name });
    t.true(endedBy(name, outcome), endedWith(0, outcome));
    const lines = outcome.stdout.trim().split('\n').sort();
    t.deepEqual(lines, ['main finally', 'ready', 'worker 1 finally', 'worker 2 finally']);
  });
}

test('a greenlet that ignores the end after SIGINT delays it only so long', async (t) => {
  const env = { GREENSTACK_SHUTDOWN_TIMEOUT: '50' };
  const outcome = await runProgram('stubborn-interrupt.js', { env, signalWhenReady: 'SIGINT' });
  t.true(endedBy('SIGINT', outcome), endedWith(0, outcome));
  t.is(outcome.stdout, 'ready\nignored\n');
});

test('run() with signals: false leaves SIGINT to Node', async (t) => {
  const outcome = await runProgram('interrupt.js', { args: ['ignored'], signalWhenReady: 'SIGINT' });
  t.is(outcome.signal, 'SIGINT');
  t.is(outcome.stdout, 'ready\n');
});

test('SIGINT handlers of plain code run while greenlets are parked', async (t) => {
  const outcome = await runProgram('own-interrupt-handler.js', { signalWhenReady: 'SIGINT' });
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'ready\nhandler\nwoken: 50\n');
});

// The end of the hub

test('a destroyed hub refuses to spawn, to run and to park', async (t) => {
  const outcome = await runProgram('destroyed-hub.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'spawn: ERR_GREENSTACK_HUB_DESTROYED\nrun: ERR_GREENSTACK_HUB_DESTROYED\n');
});

// Many

test('a hundred thousand greenlets can be parked at once and all be woken', async (t) => {
  const outcome = await runProgram('hundred-thousand.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'parked 100000, woken 100000, left 0\n');
});

test('a million greenlets that never park need no stack each', async (t) => {
  const outcome = await runProgram('million.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'ran 1000000, few stacks: true\n');
});

// Worker threads

test('each worker thread has a hub of its own', async (t) => {
  const outcome = await runProgram('workers.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, '1: 55\n2: 110\n3: 165\nmain: woken\n');
});

test('worker threads can be terminated while greenlets are parked in them', async (t) => {
  const outcome = await runProgram('terminated-workers.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'terminated 25\nmain: woken\n');
});

test('process.exit() in a greenlet of a worker ends the worker only', async (t) => {
  const outcome = await runProgram('exit-in-worker.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'worker ended with 5\n');
});

test('a failing main of a worker is the error of the worker', async (t) => {
  const outcome = await runProgram('failing-worker.js');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'worker failed: on purpose\n');
});

// Loading

test('require() and import give the same module', async (t) => {
  const outcome = await runProgram('same-module.mjs');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'index: true\nsocket: true\ndns: true\ndefault: true\n');
});

test('every name can be imported by name from an ES module', async (t) => {
  const outcome = await runProgram('named-imports.mjs');
  t.is(endedWith(0, outcome), undefined);
  t.is(outcome.stdout, 'missing: none\nran: 42\n');
});

test('loading a second copy of the modules does not break the first', async (t) => {
  const outcome = await runProgram('second-copy.js');
  t.is(endedWith(0, outcome), undefined);
  t.regex(outcome.stdout, /^first: 1\n(second: 2|second: refused: .*greenstack.*)\nfirst again: 3\n$/);
});

const steps = [
  ['platform', /platform/],
  ['node-version', /Node/],
  ['symbols', /symbols/],
  ['isolate', /isolate/],
  ['thread-id', /thread-id/],
  ['stack-start', /stack-start/],
  ['collector-start', /collector-start/],
  ['handle-scope', /handle-scope/],
  ['async-context', /async-context/],
  ['self-test', /self-test/],
] as const;

for (const [step, expected] of steps) {
  test(`where the check '${step}' fails, loading is refused with an error that says so, and Node goes on`, async (t) => {
    const outcome = await runProgram('refused.js', { env: { GREENSTACK_FORCE_FAIL: step } });
    t.is(endedWith(0, outcome), undefined);
    const [report, after] = outcome.stdout.split('\n');
    const { name, code, message } = JSON.parse(report!) as { name: string; code: string; message: string };
    t.is(name, 'GreenstackError');
    t.is(code, 'ERR_GREENSTACK_UNSUPPORTED');
    t.regex(message, expected);
    t.true(message.includes(process.version), message);
    t.true(message.includes(`${process.platform}-${process.arch}`), message);
    t.regex(message, /Supported: Node 20, 22, 24 and 26/);
    t.is(after, 'still running');
  });
}

for (const [variable, value] of [
  ['GREENSTACK_STACK_SIZE', 'large'],
  ['GREENSTACK_STACK_SIZE', '-1'],
  ['GREENSTACK_STACK_SIZE', ''],
  ['GREENSTACK_SWITCH_INTERVAL', 'often'],
  ['GREENSTACK_RESOLVER', 'bind'],
  ['GREENSTACK_RESOLVER', ''],
  ['GREENSTACK_RESOLVER_ORDER', 'random'],
  ['GREENSTACK_RESOLVER_CACHE_SIZE', '-1'],
  ['GREENSTACK_RESOLVER_TIMEOUT', '0'],
  ['GREENSTACK_RESOLVER_TRIES', '1.5'],
] as const) {
  test(`${variable}='${value}' is refused with an error that names the variable`, async (t) => {
    const outcome = await runProgram('refused.js', { env: { [variable]: value } });
    t.is(endedWith(0, outcome), undefined);
    t.regex(outcome.stdout, new RegExp(`(TypeError|RangeError).*${variable}`));
  });
}

test('GREENSTACK_STACK_SIZE sets how deep greenlets may recurse', async (t) => {
  const depth = async (bytes: number) => {
    const flags = ['--no-opt', '--no-sparkplug', '--no-maglev'];
    const outcome = await runProgram('recursion.js', {
      flags,
      env: { GREENSTACK_STACK_SIZE: String(bytes) },
    });
    return (JSON.parse(outcome.stdout) as { greenlet: number }).greenlet;
  };
  const [small, large] = [await depth(512 * 1024), await depth(4 * 1024 * 1024)];
  t.true(large > 4 * small, `small: ${small}, large: ${large}`);
});

test('the variables GREENSTACK_RESOLVER… say what the default resolver is', async (t) => {
  const settings = {
    GREENSTACK_RESOLVER: 'hickory, system',
    GREENSTACK_RESOLVER_NAMESERVERS: 'no address',
    GREENSTACK_RESOLVER_ORDER: 'ipv4first',
    GREENSTACK_RESOLVER_CACHE_SIZE: '10',
    GREENSTACK_RESOLVER_TIMEOUT: '100',
    GREENSTACK_RESOLVER_TRIES: '3',
  };
  const outcome = await runProgram('resolver.js', { env: settings });
  t.is(endedWith(0, outcome), undefined);
  const [read, address, kind] = outcome.stdout.split('\n');
  t.deepEqual(JSON.parse(read!), [['hickory', 'system'], ['no address'], 'ipv4first', 10, 100, 3]);
  t.is(address, '127.0.0.1');
  t.is(kind, 'system');
  const plain = await runProgram('resolver.js', { env: { GREENSTACK_RESOLVER: 'system' } });
  t.is(plain.stdout.split('\n')[2], 'system');
  const usual = await runProgram('resolver.js', {});
  t.is(usual.stdout.split('\n')[2], 'hickory');
});

// Hostile flags; the stress part of the suite has more of them

for (const flags of [
  ['--jitless'],
  ['--gc-interval=97'],
  ['--stress-compaction'],
  ['--max-semi-space-size=1'],
  ['--stack-size=2000'],
]) {
  test(`a mixed program ends well with ${flags.join(' ')}`, async (t) => {
    const outcome = await runProgram('mixed.js', { flags });
    t.is(endedWith(0, outcome), undefined);
    t.is(outcome.stdout, 'wrong: 0, ended: 100\n');
  });
}
