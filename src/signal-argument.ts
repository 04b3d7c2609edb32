/** Which functions take an `AbortSignal` among their options, and calling them with one. */
import { exec, execFile } from 'node:child_process';
import { on, once } from 'node:events';
import { promises as files } from 'node:fs';
import { finished } from 'node:stream/promises';
import * as timers from 'node:timers/promises';
import { promisify } from 'node:util';

/** Any function. */
export type AnyFunction = (...args: never[]) => unknown;

/** By function: the position of the options that have a `signal`, from 0. */
const positions = new WeakMap<AnyFunction, number>([
  [globalThis.fetch, 1],
  [files.readFile, 1],
  [files.writeFile, 2],
  [files.appendFile, 2],
  [files.watch, 1],
  [timers.setTimeout, 2],
  [timers.setImmediate, 1],
  [timers.setInterval, 2],
  [timers.scheduler.wait, 1],
  [once, 2],
  [on, 2],
  [finished, 1],
  [promisify(exec), 1],
  [promisify(execFile), 2],
]);

/** Notes that `fn` takes its options, with a `signal`, at a position. */
export function noteSignal(fn: AnyFunction, position: number): void {
  positions.set(fn, position);
}

/** The position of the options of `fn` that have a `signal`; `undefined` if it takes none, or it is not known. */
export function signalPosition(fn: AnyFunction): number | undefined {
  return positions.get(fn);
}

/** `args` with a signal in the options at `position`, beside the one that is there. What are no options is left alone. */
export function withSignal(args: readonly unknown[], position: number, signal: AbortSignal): unknown[] {
  const changed = [...args];
  while (changed.length < position) changed.push(undefined);
  const options = changed[position];
  // Node takes an encoding in the place of options.
  if (typeof options === 'string') changed[position] = { encoding: options, signal };
  else if (options === undefined || options === null) changed[position] = { signal };
  else if (typeof options === 'object') {
    const { signal: theirs } = options as { signal?: unknown };
    const both = theirs instanceof AbortSignal ? AbortSignal.any([theirs, signal]) : signal;
    changed[position] =
      theirs === undefined || theirs instanceof AbortSignal ? { ...options, signal: both } : options;
  }
  return changed;
}
