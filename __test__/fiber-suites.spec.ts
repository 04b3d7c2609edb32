/** The tests of `fibers` itself and of packages that were built on it, with `npm/fibers` in its place. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { fetchSuite, readTap, runInSuite } from './support/npm-suite.js';

/** For mocha, whose own limit a busy machine may exceed. */
const PATIENT = ['--timeout', '60000'];

/** Defines tests of a package, or one that is skipped where it cannot be fetched. */
function suite(name: string, define: (folder: string) => void): void {
  const folder = fetchSuite(name);
  if (folder === undefined) test.skip(`${name}: skipped, the npm registry cannot be reached`, () => {});
  else define(folder);
}

suite('fibers', (folder) => {
  const tests = join('node_modules', 'fibers-original', 'test');
  // Their own runner does this: `require('fibers')` and `require('future')` find the package's files.
  const env = { NODE_PATH: join(folder, 'node_modules', 'fibers') };
  for (const file of readdirSync(join(folder, tests))) {
    test(`fibers 5.0.3: ${file}`, async (t) => {
      const { code, stdout, stderr } = await runInSuite(folder, [join(tests, file)], env);
      // cleanup.js compares the times of two runs, which the machine may disturb, and says which was longer.
      if (file === 'cleanup.js') t.regex(stdout, /^(pass|fail)\n$/);
      else t.is(stdout, 'pass\n');
      t.is(stderr, '');
      t.is(code, 0);
    });
  }
});

suite('synchronize', (folder) => {
  test('synchronize 2.0.0: its tests', async (t) => {
    const { stdout } = await runInSuite(folder, [
      join('node_modules', 'mocha', 'bin', '_mocha'),
      '--reporter',
      'tap',
      ...PATIENT,
      join('node_modules', 'synchronize', 'test', 'sync.js'),
    ]);
    const { passed, failed } = readTap(stdout);
    // It fails by itself: with fibers 5 on Node 14 as well.
    t.deepEqual(failed, ['Control Flow should throw error when not matched defer-await pair']);
    t.is(passed.length, 27);
  });
});

suite('sync', (folder) => {
  test('sync 0.2.5: its tests', async (t) => {
    const { stdout } = await runInSuite(folder, [
      '--require',
      join(__dirname, '..', '__test__', 'fiber-suites', 'sync', 'legacy-assert.cjs'),
      join('node_modules', 'sync', 'test', 'index.js'),
    ]);
    const lines = stdout.trim().split('\n');
    t.is(lines.pop(), 'done');
    t.deepEqual(lines.sort(), [
      'async passed',
      'fiber passed',
      'future passed',
      'sleep passed',
      'sync passed',
    ]);
  });
});

suite('asyncawait', (folder) => {
  test('asyncawait 3.0.0: its tests', async (t) => {
    const tests = readdirSync(join(folder, 'node_modules', 'asyncawait', 'test'));
    const { stdout, stderr } = await runInSuite(folder, [
      join('node_modules', 'mocha', 'bin', '_mocha'),
      '--reporter',
      'tap',
      ...PATIENT,
      ...tests
        .filter((file) => file.endsWith('.js'))
        .map((file) => join('node_modules', 'asyncawait', 'test', file)),
    ]);
    const { passed, failed } = readTap(stdout);
    t.deepEqual(failed, [], stderr);
    t.is(passed.length, 50);
  });
});

suite('fibrous', (folder) => {
  test('fibrous 0.4.0: its specs', async (t) => {
    const runner = join(__dirname, '..', '__test__', 'fiber-suites', 'fibrous', 'run.cjs');
    const env = { NODE_PATH: join(folder, 'node_modules') };
    const { stdout, stderr } = await runInSuite(folder, [runner], env);
    const { passed, failed } = readTap(stdout);
    t.deepEqual(failed, [], stderr);
    t.is(passed.length, 42);
  });
});
