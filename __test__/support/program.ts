import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** After this many milliseconds without an end a program counts as hung. */
const HANG_LIMIT = 300_000;

/** How a program ended, and what it said. */
export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface ProgramOptions {
  /** Flags for Node and V8, before the file. */
  flags?: string[];
  args?: string[];
  env?: Record<string, string>;
  /** Sent to the program as soon as it has printed `ready`. */
  signalWhenReady?: NodeJS.Signals;
}

/**
 * Runs `__test__/programs/<file>` as a process of its own, for what must exit, crash or be signalled.
 *
 * @param file - the compiled name, such as `natural-exit.js`
 * @returns how it ended; rejects only if it hung
 */
export function runProgram(file: string, options: ProgramOptions = {}): Promise<Outcome> {
  const { flags = [], args = [], env = {}, signalWhenReady } = options;
  const path = join(__dirname, '..', 'programs', file);
  const child = spawn(process.execPath, [...flags, path, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return outcomeOf(child, file, signalWhenReady);
}

/**
 * What a process with pipes for stdout and stderr comes to.
 *
 * @param name - what to call it if it hangs
 * @param signalWhenReady - sent as soon as it has printed `ready`
 * @returns how it ended; rejects only if it hung
 */
export function outcomeOf(
  child: ChildProcessByStdio<Writable | null, Readable, Readable>,
  name: string,
  signalWhenReady?: NodeJS.Signals,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    let hung = false;
    let toSend = signalWhenReady;
    const alarm = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, HANG_LIMIT);

    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (toSend === undefined || !/^ready$/m.test(stdout)) return;
      child.kill(toSend);
      toSend = undefined;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(alarm);
      if (hung) reject(new Error(`${name} hung for ${HANG_LIMIT} ms\n${stdout}\n${stderr}`));
      else resolve({ code, signal, stdout, stderr });
    });
  });
}
