import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Outcome, outcomeOf } from './program.js';

/** The root of the package. */
export const PACKAGE = dirname(require.resolve('greenstack/package.json'));
export const COMMAND = join(PACKAGE, 'dist', 'main', 'command.js');
export const MAIN = join(PACKAGE, 'dist', 'main.js');
export const MONKEY = join(PACKAGE, 'dist', 'monkey', 'index.js');

export interface LaunchOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Written to stdin, which then ends. */
  input?: string;
  /** Sent as soon as the process has printed `ready`. */
  signalWhenReady?: NodeJS.Signals;
}

/** Tests of a file begin all at once; so many of their processes run at the same time. */
const AT_ONCE = 4;
let running = 0;
const waiting: Array<() => void> = [];

/** Runs this Node with arguments. Rejects only if it hangs. */
export async function launch(args: readonly string[], options: LaunchOptions = {}): Promise<Outcome> {
  if (running === AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    return await start(args, options);
  } finally {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}

function start(args: readonly string[], options: LaunchOptions): Promise<Outcome> {
  const { cwd, env = {}, input, signalWhenReady } = options;
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env } });
  // It may end before it has read all.
  child.stdin.on('error', () => {}).end(input ?? '');
  return outcomeOf(child, args.join(' '), signalWhenReady);
}

/** Makes a folder with files in it, and returns its path. */
export function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'greenstack-main-')));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** What a program has said, without what differs from run to run or tells how it was loaded. */
export function comparable({ code, signal, stdout, stderr }: Outcome): object {
  const said = stderr
    .replaceAll(/^(\s+at .*) \{$/gm, '$1\n{')
    .split('\n')
    .filter(
      (line) =>
        line !== '' && !/^\s+at .*(?:node:|\/dist\/|-wrapper:|<anonymous>$|\(<anonymous>\)$)/.test(line),
    )
    .join('\n')
    .replaceAll(/\(node:\d+\)/g, '(node:PID)')
    .replaceAll(/\d+ lines matching/g, 'lines matching')
    .replaceAll(/^node:internal\S+:\d+$/gm, 'node:internal');
  return { code, signal, stdout, stderr: said };
}
