import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');
const SUITES = join(ROOT, '__test__', 'fiber-suites');
const CACHE = join(ROOT, 'node_modules', '.cache', 'greenstack-fiber-suites');
/** Set when something could not be fetched: nothing else is tried then. */
let isOffline = false;

const FETCH_LIMIT = 90_000;
const HANG_LIMIT = 90_000;

/**
 * Fetches a published package with its tests and what they need, as `__test__/fiber-suites/<name>` pins them, and puts
 * `npm/fibers` in the place of `fibers`. What was fetched once is kept.
 *
 * @returns the folder, whose `fibers-original` is the package itself; `undefined` if the registry cannot be reached
 */
export function fetchSuite(name: string): string | undefined {
  const pins = join(SUITES, name);
  const lock = readFileSync(join(pins, 'package-lock.json'));
  const folder = join(CACHE, `${name}-${createHash('sha256').update(lock).digest('hex').slice(0, 12)}`);
  if (!existsSync(folder)) {
    if (isOffline) return undefined;
    // Under a name of its own until it is complete: others may fetch at the same time.
    const incomplete = `${folder}.${process.pid}`;
    mkdirSync(incomplete, { recursive: true });
    for (const file of ['package.json', 'package-lock.json'])
      copyFileSync(join(pins, file), join(incomplete, file));
    try {
      execFileSync(
        'npm',
        ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=0', '--loglevel=error'],
        {
          cwd: incomplete,
          timeout: FETCH_LIMIT,
          stdio: 'ignore',
        },
      );
      const modules = join(incomplete, 'node_modules');
      renameSync(join(modules, 'fibers'), join(modules, 'fibers-original'));
      symlinkSync(ROOT, join(modules, 'greenstack'));
      if (!existsSync(folder)) renameSync(incomplete, folder);
    } catch {
      isOffline = true;
      return undefined;
    } finally {
      rmSync(incomplete, { recursive: true, force: true });
    }
  }
  // As it is now, whenever the rest was fetched.
  cpSync(join(ROOT, 'npm', 'fibers'), join(folder, 'node_modules', 'fibers'), { recursive: true });
  return folder;
}

/** How a program of a suite ended, and what it said. */
export interface SuiteOutcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs Node, as it runs now, in a folder of a suite. Rejects only if that hangs. */
export function runInSuite(
  folder: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<SuiteOutcome> {
  const options = { cwd: folder, env: { ...process.env, ...env }, timeout: HANG_LIMIT };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (error?.killed) reject(new Error(`${args.join(' ')} hung\n${stdout}\n${stderr}`));
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The lines of a report in the form of TAP: titles that have passed, and those that have not. */
export function readTap(report: string): { passed: string[]; failed: string[] } {
  const titles = (pattern: RegExp): string[] =>
    [...report.matchAll(pattern)].map(([, title]) => (title as string).trim());
  return { passed: titles(/^ok \d+ (.*)$/gm), failed: titles(/^not ok \d+ (.*)$/gm) };
}
