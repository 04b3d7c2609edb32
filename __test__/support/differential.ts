/** Synchronous functions inside and outside of greenlets: what they give, and what they leave in a directory. */
import { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { spawn } from 'greenstack';

/** As they are before anything is patched. */
const {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} = { ...fs };

/** What a case may use: a directory with files, and a descriptor of one of them, open to be read and written. */
export interface Place {
  directory: string;
  descriptor: number;
}

export interface Case {
  title: string;
  call(place: Place): unknown;
}

const FIELDS = [
  'name',
  'message',
  'code',
  'errno',
  'syscall',
  'path',
  'dest',
  'spawnargs',
  'status',
  'signal',
  'output',
  'stdout',
  'stderr',
] as const;

const NOW = /^(atime|mtime|ctime|birthtime)/;

/** A value without what differs from call to call. */
function plain(value: unknown, directory: string): unknown {
  if (typeof value === 'string')
    return value.replaceAll(directory, 'DIR').replace(/prefix-\w{6}$/, 'prefix-');
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'function';
  if (value instanceof Uint8Array)
    return `bytes ${Buffer.from(value).toString('latin1').replaceAll(directory, 'DIR')}`;
  if (value instanceof ArrayBuffer) return `buffer ${Buffer.from(value).toString('hex')}`;
  if (value instanceof KeyObject) return `${value.type} key`;
  if (Array.isArray(value)) return value.map((item) => plain(item, directory));
  if (typeof value !== 'object' || value === null) return value;
  const kind = value.constructor?.name;
  const differing = ['ino', 'pid', 'bavail', 'bfree', 'ffree'];
  const entries = Object.entries(value).filter(([key]) => !NOW.test(key) && !differing.includes(key));
  return { kind, ...Object.fromEntries(entries.map(([key, item]) => [key, plain(item, directory)])) };
}

function contentOf(directory: string): unknown {
  return readdirSync(directory)
    .sort()
    .map((name) => {
      const path = join(directory, name);
      const stats = lstatSync(path);
      const mode = stats.mode.toString(8);
      const shown = name.replace(/^(prefix-|wrong)\w{6}$/, '$1');
      if (stats.isDirectory()) return [shown, mode, contentOf(path)];
      return [shown, mode, stats.isSymbolicLink() ? readlinkSync(path).length : stats.size];
    });
}

function prepare(): Place {
  const directory = mkdtempSync(join(tmpdir(), 'greenstack-'));
  writeFileSync(join(directory, 'file'), 'hello world');
  writeFileSync(join(directory, 'empty'), '');
  mkdirSync(join(directory, 'dir/sub/deep'), { recursive: true });
  for (const name of ['dir/a', 'dir/b', 'dir/sub/c', 'dir/sub/deep/d'])
    writeFileSync(join(directory, name), name);
  symlinkSync(join(directory, 'file'), join(directory, 'link'));
  return { directory, descriptor: openSync(join(directory, 'file'), 'r+') };
}

/** What a case gives. */
function outcomeOf({ call }: Case, place: Place): Record<string, unknown> {
  const { directory } = place;
  try {
    return { value: plain(call(place), directory) };
  } catch (error) {
    const fields = FIELDS.map((field) => [
      field,
      plain((error as Record<string, unknown>)[field], directory),
    ]);
    return { ...Object.fromEntries(fields), kind: (error as object)?.constructor?.name };
  }
}

/** What a case gives and leaves in a new directory. */
function observe(one: Case): unknown {
  const place = prepare();
  const { directory } = place;
  const home = process.cwd();
  // Names that are wrong, but not refused, are relative to here.
  process.chdir(directory);
  const outcome = outcomeOf(one, place);
  process.chdir(home);
  outcome.left = contentOf(directory);
  try {
    closeSync(place.descriptor);
  } catch {
    outcome.closed = true;
  }
  rmSync(directory, { recursive: true });
  return outcome;
}

/** Fails unless the case does the same in a greenlet and outside. */
export async function compareFiles(t: ExecutionContext, one: Case): Promise<void> {
  const outside = observe(one);
  const inside = await spawn(() => observe(one));
  t.deepEqual(inside, outside, one.title);
}

/** As {@link compareFiles}, for what needs no files. */
export async function compare(t: ExecutionContext, one: Case): Promise<void> {
  const nowhere: Place = { directory: '/none', descriptor: -1 };
  const outside = outcomeOf(one, nowhere);
  const inside = await spawn(() => outcomeOf(one, nowhere));
  t.deepEqual(inside, outside, one.title);
}

/** What is wrong almost anywhere. None of it is a descriptor that the test needs. */
export const WRONG: readonly unknown[] = [
  undefined,
  null,
  1.5,
  -1,
  99_999,
  true,
  'wrong\0name',
  'wrong',
  {},
  () => {},
];

function shown(value: unknown): string {
  if (typeof value === 'function' || typeof value === 'symbol') return typeof value;
  return JSON.stringify(value) ?? String(value);
}

/** The calls as they are; and the one with the most arguments with each of them left out, or wrong. */
export function variations(
  module: string,
  name: string,
  calls: ReadonlyArray<(place: Place) => unknown[]>,
  wrong: readonly unknown[] = WRONG,
  finish: (result: unknown) => unknown = (result) => result,
): Case[] {
  const object = require(module) as Record<string, (...args: unknown[]) => unknown>;
  if (typeof object[name] !== 'function') return [];
  const invoke = (args: unknown[]): unknown =>
    finish((object[name] as (...args: unknown[]) => unknown)(...args));
  const cases = calls.map((args, index): Case => ({
    title: `${name} ${index}`,
    call: (place) => invoke(args(place)),
  }));
  const counts = calls.map((args) => args({ directory: 'DIR', descriptor: 3 }).length);
  const count = Math.max(...counts);
  const longest = calls[counts.indexOf(count)] as (place: Place) => unknown[];
  for (let position = 0; position < count; position++) {
    cases.push({
      title: `${name}, the first ${position} arguments only`,
      call: (place) => invoke(longest(place).slice(0, position)),
    });
    for (const value of wrong) {
      cases.push({
        title: `${name}, argument ${position}: ${shown(value)}`,
        call: (place) =>
          invoke(longest(place).map((argument, index) => (index === position ? value : argument))),
      });
    }
  }
  return cases;
}
