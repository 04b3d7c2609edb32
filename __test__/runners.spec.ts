/** Tests of other runners that block. The runners are fetched once, into the cache of this package's folder. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const ROOT = join(__dirname, '..');
const FOLDER = join(ROOT, 'node_modules', '.cache', 'greenstack-runners');
const MODULES = join(FOLDER, 'node_modules');
const VERSIONS = { mocha: '12.0.3', jest: '30.5.2', vitest: '5.1.1' };
const TESTS = join(ROOT, '__test__', 'runners');
const FETCH_LIMIT = 300_000;

let reason: string | undefined;

test.before(async (t) => {
  t.timeout(FETCH_LIMIT);
  if (existsSync(join(MODULES, 'vitest'))) return;
  const packages = Object.entries(VERSIONS).map(([name, version]) => `${name}@${version}`);
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  try {
    await promisify(execFile)('npm', ['install', '--prefix', FOLDER, ...options, ...packages]);
  } catch (error) {
    reason = `the runners cannot be fetched: ${String(error)}`;
  }
});

/** Runs the blocking tests, of which two pass and one fails, and returns what is printed. */
function output(args: string[]): Promise<string> {
  return new Promise((resolve) => {
    const { NODE_TEST_CONTEXT: _, ...rest } = process.env;
    const env = { ...rest, NO_COLOR: '1', FORCE_COLOR: '0' };
    execFile(process.execPath, args, { cwd: ROOT, env, timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}

function runnerTest(name: string, args: string[], counts: RegExp[], isAvailable = true): void {
  (isAvailable ? test.serial : test.skip)(`${name} runs tests that block`, async (t) => {
    if (reason !== undefined && name !== 'node:test') {
      t.log(reason);
      t.pass();
      return;
    }
    const printed = await output(args);
    for (const count of [...counts, /as it should/]) t.regex(printed, count);
  });
}

const modern = Number(process.versions.node.split('.')[0]) >= 22;

runnerTest('node:test', ['--test', join(TESTS, 'blocking.test.mjs')], [/pass 2/, /fail 1/]);
runnerTest(
  'Mocha',
  [join(MODULES, 'mocha/bin/mocha.js'), join(TESTS, 'blocking.test.cjs')],
  [/2 passing/, /1 failing/],
);
runnerTest(
  'Jest',
  [join(MODULES, 'jest/bin/jest.js'), '--rootDir', TESTS, '--testMatch', '**/*.test.cjs', '--runInBand'],
  [/1 failed, 2 passed, 3 total/],
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
  modern,
);
