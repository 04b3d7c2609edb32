/** The tests of a package that lives on `node:fs`, as its authors publish them, with and without the preload. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const CACHE = join(__dirname, '..', 'node_modules', '.cache', 'greenstack-suites');
/** Packages that carry their tests, and what runs those. */
const PACKAGES = ['resolve@1.22.10', 'tape@5.9.0'];
const TESTS = join(CACHE, 'node_modules', 'resolve', 'test');
const MONKEY = require.resolve('greenstack/monkey');

const execute = promisify(execFile);

/** Whether the packages are there; without a network they may not be. */
async function fetchPackages(): Promise<boolean> {
  if (existsSync(join(CACHE, 'node_modules', 'tape'))) return true;
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(join(CACHE, 'package.json'), '{}');
  try {
    await execute('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...PACKAGES], {
      cwd: CACHE,
    });
    return true;
  } catch {
    return false;
  }
}

/** What a file of tests says, and how it ends. */
async function outcomeOf(file: string, flags: string[]): Promise<{ code: number; stdout: string }> {
  const args = [...flags, join(TESTS, file)];
  try {
    return { code: 0, stdout: (await execute(process.execPath, args, { cwd: join(TESTS, '..') })).stdout };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, stdout };
  }
}

test.serial('the tests of resolve say the same with everything patched', async (t) => {
  t.timeout(300_000);
  if (!(await fetchPackages())) {
    t.log('skipped: the packages cannot be had');
    return t.pass();
  }
  const files = readdirSync(TESTS).filter((name) => name.endsWith('.js'));
  let compared = 0;
  for (const file of files) {
    const plain = await outcomeOf(file, []);
    // Some need packages that are not there.
    if (plain.code !== 0) continue;
    t.deepEqual(await outcomeOf(file, ['-r', MONKEY]), plain, file);
    compared++;
  }
  t.true(compared >= 10, `${compared} files`);
});
