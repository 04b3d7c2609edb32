/** Tests of other runners that block. `scripts/test-runners.mjs` fetches the runners. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const ROOT = join(__dirname, '..');
const FETCHED = join(ROOT, 'node_modules', '.cache', 'greenstack-runners');
const MODULES = join(FETCHED, 'node_modules');
const TESTS = join(ROOT, '__test__', 'runners');

/** Runs the blocking tests, of which two pass and one fails, and returns what is printed. */
function output(args: string[]): Promise<string> {
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env;
  const env = { ...rest, NO_COLOR: '1', FORCE_COLOR: '0' };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env, timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}

function runnerTest(name: string, args: string[], counts: RegExp[], reason?: string): void {
  const title = `${name} runs tests that block`;
  if (reason !== undefined) test.skip(`${title} (${reason})`, () => {});
  else {
    test.serial(title, async (t) => {
      const printed = await output(args);
      for (const count of [...counts, /as it should/]) t.regex(printed, count);
    });
  }
}

const missing = existsSync(join(FETCHED, 'fetched')) ? undefined : 'it was not fetched';
const isOldNode = Number(process.versions.node.split('.')[0]) < 22;

runnerTest('node:test', ['--test', join(TESTS, 'blocking.test.mjs')], [/pass 2/, /fail 1/]);
runnerTest(
  'Mocha',
  [join(MODULES, 'mocha/bin/mocha.js'), join(TESTS, 'blocking.test.cjs')],
  [/2 passing/, /1 failing/],
  missing,
);
runnerTest(
  'Jest',
  [join(MODULES, 'jest/bin/jest.js'), '--rootDir', TESTS, '--testMatch', '**/*.test.cjs', '--runInBand'],
  [/1 failed, 2 passed, 3 total/],
  missing,
);
runnerTest(
  'Vitest',
  [
    join(MODULES, 'vitest/vitest.mjs'),
    'run',
    '--globals',
    '--root',
    ROOT,
    '--dir',
    TESTS,
    'blocking.test.mjs',
  ],
  [/1 failed \| 2 passed \(3\)/],
  isOldNode ? 'it needs Node 22' : missing,
);
