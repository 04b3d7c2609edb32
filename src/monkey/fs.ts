/** `node:fs`: the synchronous functions, by their callback forms. */
import * as fs from 'node:fs';

import { waitRead, waitWrite } from '../socket/wait.js';
import {
  atCaller,
  awaitCallback,
  blockingForm,
  byCallback,
  type Form,
  replaceEach,
  valueOf,
} from './blocking.js';
import type { AnyFunction } from './callback.js';
import { imitate, type Replacement } from './patching.js';

type Functions = Readonly<Record<string, AnyFunction>>;

/** Those that differ in the count of arguments before the callback only. */
const PLAIN: Readonly<Record<string, number>> = {
  access: 2,
  chmod: 2,
  chown: 3,
  close: 1,
  copyFile: 3,
  fchmod: 2,
  fchown: 3,
  fdatasync: 1,
  fsync: 1,
  ftruncate: 2,
  futimes: 3,
  lchown: 3,
  link: 2,
  lutimes: 3,
  mkdir: 2,
  readdir: 2,
  readlink: 2,
  rename: 2,
  rmdir: 2,
  statfs: 2,
  symlink: 3,
  truncate: 2,
  unlink: 1,
  utimes: 3,
};

/** What is not a file, and may not be ready for long: a pipe, a socket, a terminal. */
function mayWait(descriptor: unknown): descriptor is number {
  if (typeof descriptor !== 'number') return false;
  try {
    const stats = originalFstat(descriptor);
    return stats.isFIFO() || stats.isSocket() || stats.isCharacterDevice();
  } catch {
    return false;
  }
}

const originalFstat = fs.fstatSync;

/** Waits in the hub and not in a thread of libuv's, so that nothing is lost and no thread taken if the wait is given up. */
function awaitReadable(descriptor: unknown): void {
  if (mayWait(descriptor)) waitRead(descriptor);
}

function awaitWritable(descriptor: unknown): void {
  if (mayWait(descriptor)) waitWrite(descriptor);
}

/** The arguments of `readSync` in full: a descriptor, memory, offset, length, position. */
function readArguments(args: unknown[]): unknown[] {
  const [descriptor, memory, third, length, position] = args;
  const isShort = args.length <= 3 || (third !== null && typeof third === 'object');
  if (!isShort) return [descriptor, memory, third ?? 0, length, position ?? null];
  const options = (third ?? {}) as { offset?: unknown; length?: unknown; position?: unknown };
  const offset = options.offset ?? 0;
  const size = ArrayBuffer.isView(memory) ? memory.byteLength : 0;
  return [descriptor, memory, offset, options.length ?? size - Number(offset), options.position ?? null];
}

/** The arguments of `writeSync` in full. */
function writeArguments(args: unknown[]): unknown[] {
  const [descriptor, data, third, length, position] = args;
  if (!ArrayBuffer.isView(data)) return [descriptor, data, third ?? null, length ?? 'utf8'];
  if (typeof third !== 'object' || third === null)
    return [descriptor, data, third ?? 0, length ?? data.byteLength - Number(third ?? 0), position ?? null];
  const options = third as { offset?: unknown; length?: unknown; position?: unknown };
  const offset = options.offset ?? 0;
  return [
    descriptor,
    data,
    offset,
    options.length ?? data.byteLength - Number(offset),
    options.position ?? null,
  ];
}

/** `read` and `write` take numbers as positions, or none; the synchronous forms have words of their own for the rest. */
function hasNumbers([, memory, ...numbers]: unknown[]): boolean {
  return (
    ArrayBuffer.isView(memory) &&
    numbers.every((value) => value === null || typeof value === 'number' || typeof value === 'bigint')
  );
}

/** Options without a signal, which the synchronous form does not know. */
function withoutSignal(options: unknown): unknown {
  const { signal } = (options ?? {}) as { signal?: unknown };
  return signal instanceof AbortSignal ? { ...(options as object), signal: undefined } : options;
}

/** `null` in the place of options or an offset is not the same everywhere. */
function hasNoNull(args: unknown[]): boolean {
  return args[1] !== null && args[2] !== null;
}

/** Whether `call` counts a file in what is no directory as missing: that differs between the versions of Node. */
function ignoresNotDirectory(call: AnyFunction): boolean {
  try {
    call(`${__filename}/none`, { throwIfNoEntry: false });
    return true;
  } catch {
    return false;
  }
}

/** `stat` and `lstat`, to which missing files are no error if that is asked for. */
function statForm(functions: Functions, name: string): Form {
  const ignoresMore = ignoresNotDirectory(functions[`${name}Sync`] as AnyFunction);
  return {
    callback: functions[name] as AnyFunction,
    count: 2,
    suits: hasNoNull,
    recover(error, [, options]) {
      const { throwIfNoEntry } = (options ?? {}) as { throwIfNoEntry?: unknown };
      const { code } = error as NodeJS.ErrnoException;
      const isMissing = code === 'ENOENT' || (code === 'ENOTDIR' && ignoresMore);
      return throwIfNoEntry === false && isMissing ? { value: undefined } : undefined;
    },
  };
}

/** The callback forms look at the number of a descriptor too late, or not at all. */
function isPathOrDescriptor([path]: unknown[]): boolean {
  return typeof path !== 'number' || (Number.isInteger(path) && path >= 0 && path < 2 ** 31);
}

/** Whether an error is one of the checks that `cp` makes before it copies anything. */
function isCheckOfCopy(error: unknown, [, , options]: unknown[]): boolean {
  const { code } = error as NodeJS.ErrnoException;
  const { recursive } = (options ?? {}) as { recursive?: unknown };
  return code?.startsWith('ERR_FS_') === true && (code !== 'ERR_FS_CP_EEXIST' || recursive !== true);
}

const STANDARD_INPUT = new Set(['/dev/stdin', '/dev/fd/0', '/proc/self/fd/0', '/dev/tty']);
const CHUNK = 64 * 1024;

/** Reads a descriptor to its end, where that may take long. */
function readToEnd(descriptor: number): Buffer {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const count = fs.readSync(descriptor, chunk, 0, CHUNK, null);
    if (count === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, count));
  }
}

function encodingOf(options: unknown): unknown {
  return typeof options === 'object' && options !== null
    ? (options as { encoding?: unknown }).encoding
    : options;
}

/** `readFileSync`, which reads what is not a file piece by piece. */
function readFile(original: AnyFunction, callback: AnyFunction): AnyFunction {
  const ofFiles = byCallback('fs.readFileSync()', original, {
    callback,
    count: 2,
    suits: isPathOrDescriptor,
    adapt: ([path, options]) => [path, withoutSignal(options)],
    repeats: (error, [path]) =>
      typeof path === 'number' || (error as NodeJS.ErrnoException).code === 'EISDIR',
  });
  return blockingForm(original, (receiver, args, self) => {
    const [path, options] = args;
    const encoding = encodingOf(options) ?? null;
    const isPlain =
      encoding === null ||
      encoding === 'buffer' ||
      (typeof encoding === 'string' && Buffer.isEncoding(encoding));
    const isStream = mayWait(path) || (typeof path === 'string' && STANDARD_INPUT.has(path));
    try {
      if (!isStream || !isPlain) return { value: Reflect.apply(ofFiles, receiver, args) };
      const descriptor = typeof path === 'number' ? path : fs.openSync(path, 'r');
      try {
        const content = readToEnd(descriptor);
        if (encoding === null || encoding === 'buffer') return { value: content };
        return { value: content.toString(encoding as BufferEncoding) };
      } finally {
        if (descriptor !== path) fs.closeSync(descriptor);
      }
    } catch (error) {
      throw atCaller(error, self);
    }
  });
}

/** Links to files are taken for directories by the synchronous form alone. */
function followsLinks(options: unknown): boolean {
  const { dereference, recursive } = (options ?? {}) as { dereference?: unknown; recursive?: unknown };
  return dereference === true && recursive !== true;
}

function isError(): boolean {
  return true;
}

/** Those whose forms differ more. */
function special(functions: Functions): Record<string, Form> {
  return {
    existsSync: {
      callback: (path, callback) =>
        (functions.exists as AnyFunction)(path, (exists: unknown) => {
          (callback as AnyFunction)(null, exists);
        }),
      count: 1,
      suits: ([path]) => typeof path === 'string' || Buffer.isBuffer(path) || path instanceof URL,
    },
    statSync: statForm(functions, 'stat'),
    lstatSync: statForm(functions, 'lstat'),
    fstatSync: { callback: functions.fstat as AnyFunction, count: 2, suits: hasNoNull },
    openSync: {
      callback: functions.open as AnyFunction,
      count: 3,
      abandoned: (error, descriptor) => {
        if (error === null) fs.close(descriptor as number);
      },
    },
    opendirSync: {
      callback: functions.opendir as AnyFunction,
      count: 2,
      repeats: isError,
      abandoned: (error, directory) => {
        if (error === null) void (directory as fs.Dir).close();
      },
    },
    readvSync: {
      callback: functions.readv as AnyFunction,
      count: 3,
      adapt: ([descriptor, buffers, position]) => [descriptor, buffers, position ?? null],
    },
    writevSync: {
      callback: functions.writev as AnyFunction,
      count: 3,
      adapt: ([descriptor, buffers, position]) => [descriptor, buffers, position ?? null],
    },
    readSync: {
      callback: functions.read as AnyFunction,
      count: 5,
      adapt: readArguments,
      suits: (args) => {
        const isShort = args.length > 2 && args.length < 4 && typeof args[2] !== 'object';
        return !isShort && hasNoNull(args) && hasNumbers(readArguments(args));
      },
    },
    writeSync: {
      callback: functions.write as AnyFunction,
      adapt: writeArguments,
      suits: (args) => typeof args[1] === 'string' || (hasNoNull(args) && hasNumbers(writeArguments(args))),
    },
    writeFileSync: {
      callback: functions.writeFile as AnyFunction,
      count: 3,
      suits: isPathOrDescriptor,
      adapt: ([path, data, options]) => [path, data, withoutSignal(options)],
    },
    mkdtempSync: { callback: functions.mkdtemp as AnyFunction, count: 2, repeats: isError },
    cpSync: {
      callback: functions.cp as AnyFunction,
      count: 3,
      suits: ([, , options]) => !followsLinks(options),
      repeats: isCheckOfCopy,
    },
    appendFileSync: { callback: functions.appendFile as AnyFunction, count: 3, suits: isPathOrDescriptor },
    rmSync: {
      callback: functions.rm as AnyFunction,
      count: 2,
      repeats: (error) => (error as NodeJS.ErrnoException).code === 'ERR_FS_EISDIR',
    },
    globSync: { callback: functions.glob as AnyFunction, count: 2 },
  };
}

/** As `form`, once what it is about is ready. */
function afterWaiting(
  call: string,
  original: AnyFunction,
  form: Form,
  ready: (descriptor: unknown) => void,
): AnyFunction {
  const waited = byCallback(call, original, form);
  return blockingForm(original, (receiver, args, self) => {
    try {
      ready(args[0]);
      return { value: Reflect.apply(waited, receiver, args) };
    } catch (error) {
      throw atCaller(error, self);
    }
  });
}

function directoryMethods(): Replacement[] {
  const owner = fs.Dir.prototype as unknown as Record<string, AnyFunction>;
  return ['read', 'close'].map((name) => {
    const key = `${name}Sync`;
    const original = owner[key] as AnyFunction;
    const callback = owner[name] as AnyFunction;
    const value = blockingForm(original, (receiver, _, self) => {
      let isRefused = false;
      const values = awaitCallback(`Dir.${key}()`, (done) => {
        try {
          Reflect.apply(callback, receiver, [done]);
        } catch {
          isRefused = true;
          done();
        }
      });
      return isRefused ? undefined : { value: valueOf(values, self) };
    });
    return { owner, key, value };
  });
}

/** Node's stream for a standard output that is a file takes functions of `fs` when it is made: it must get the originals. */
function makeOutputs(): void {
  for (const [descriptor, name] of [
    [1, 'stdout'],
    [2, 'stderr'],
  ] as const) {
    try {
      if (originalFstat(descriptor).isFile()) void process[name];
    } catch {
      // It is closed: there will be no stream.
    }
  }
}

/** What is replaced in `node:fs`. */
export function fsReplacements(): Replacement[] {
  makeOutputs();
  const module = fs as unknown as Functions;
  const owner = require('node:fs') as Record<string, AnyFunction>;
  const plain = Object.entries(PLAIN).map(([name, count]): [string, Form] => [
    `${name}Sync`,
    { callback: module[name] as AnyFunction, count },
  ]);
  const forms: Record<string, Form> = { ...Object.fromEntries(plain), ...special(module) };
  const replacements = replaceEach('fs', owner, forms).map((replacement): Replacement => {
    const { key } = replacement;
    const original = owner[key] as AnyFunction;
    const form = forms[key] as Form;
    if (key === 'readSync' || key === 'readvSync')
      return { ...replacement, value: afterWaiting(`fs.${key}()`, original, form, awaitReadable) };
    if (key === 'writeSync' || key === 'writevSync')
      return { ...replacement, value: afterWaiting(`fs.${key}()`, original, form, awaitWritable) };
    return replacement;
  });
  const realpathSync = owner.realpathSync as AnyFunction & { native: AnyFunction };
  const realpath = owner.realpath as AnyFunction & { native: AnyFunction };
  const real = imitate(
    realpathSync,
    byCallback('fs.realpathSync()', realpathSync, { callback: realpath, count: 2 }),
  ) as typeof realpathSync;
  real.native = byCallback('fs.realpathSync.native()', realpathSync.native, {
    callback: realpath.native,
    count: 2,
  });
  return [
    ...replacements,
    { owner, key: 'realpathSync', value: real },
    {
      owner,
      key: 'readFileSync',
      value: readFile(owner.readFileSync as AnyFunction, owner.readFile as AnyFunction),
    },
    ...directoryMethods(),
  ];
}
