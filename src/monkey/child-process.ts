/** `node:child_process`: the synchronous functions, by `spawn`. */
import type { ChildProcess, SpawnOptions, SpawnSyncReturns } from 'node:child_process';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

import { atCaller, awaitCallback, blockingForm } from './blocking.js';
import type { AnyFunction } from './callback.js';
import type { Replacement } from './patching.js';

/** What all of them take. */
interface Options extends Omit<SpawnOptions, 'timeout' | 'killSignal'> {
  encoding?: string | null;
  input?: unknown;
  killSignal?: NodeJS.Signals | number | null;
  maxBuffer?: number | null;
  timeout?: number | null;
}

type Output = string | Buffer | null;
type Result = SpawnSyncReturns<Output>;

const MAX_BUFFER = 1024 * 1024;
const MAX_NUMBER = 2 ** 31 - 1;

/** Whether the original has nothing to say against options that `spawn` does not know, or takes for something else. */
function areOptionsPlain({ timeout, maxBuffer, killSignal, input, stdio }: Options): boolean {
  const isTime = timeout === undefined || timeout === null || (Number.isInteger(timeout) && timeout >= 0);
  const isSize =
    maxBuffer === undefined || maxBuffer === null || (typeof maxBuffer === 'number' && maxBuffer >= 0);
  const isSignal =
    killSignal === undefined ||
    killSignal === null ||
    (typeof killSignal === 'string' && killSignal in constants.signals) ||
    (typeof killSignal === 'number' && Object.values(constants.signals).includes(killSignal));
  const isInput =
    input === undefined || input === null || typeof input === 'string' || ArrayBuffer.isView(input);
  const ways = Array.isArray(stdio) ? stdio : [stdio];
  const isStdio = ways.every(
    (way) =>
      way === undefined ||
      way === null ||
      way === 'pipe' ||
      way === 'inherit' ||
      way === 'ignore' ||
      (typeof way === 'number' && way >= 0),
  );
  return isTime && isSize && isSignal && isInput && isStdio;
}

/** An error of the system as the synchronous functions have it. */
function failure(errno: number, file: string, args: readonly string[]): Error {
  const code = getSystemErrorName(errno);
  const syscall = `spawnSync ${file}`;
  return Object.assign(new Error(`${syscall} ${code}`), {
    errno,
    code,
    syscall,
    path: file,
    spawnargs: args.slice(1),
  });
}

/** A child process that is waited for. */
class Run {
  readonly #chunks: Array<Buffer[] | null>;
  #size = 0;
  #errno = 0;
  #exit: [code: number | null, signal: NodeJS.Signals | null] | null = null;
  #timer: NodeJS.Timeout | undefined;
  #done: () => void = () => {};

  constructor(
    private readonly child: ChildProcess,
    private readonly options: Options,
    input: Buffer | null,
  ) {
    this.#chunks = child.stdio.map((stream, index) => (index > 0 && stream ? [] : null));
    child.on('error', (error: NodeJS.ErrnoException) => this.#fail(error));
    child.on('exit', (code, signal) => {
      this.#exit = [code, signal];
      clearTimeout(this.#timer);
      if (this.#errno !== 0) this.#done();
    });
    child.on('close', () => this.#done());
    child.stdio.forEach((stream, index) => {
      // A child need not read its input, nor write to the end.
      stream?.on('error', () => {});
      if (stream === null || index === 0) return;
      (stream as NodeJS.ReadableStream).on('data', (chunk: Buffer) => this.#take(index, chunk));
    });
    child.stdin?.end(input ?? undefined);
    for (const stream of child.stdio.slice(3)) (stream as NodeJS.WritableStream | null)?.end();
    const { timeout } = options;
    if (typeof timeout === 'number' && timeout > 0)
      this.#timer = setTimeout(() => this.#stop(-constants.errno.ETIMEDOUT), Math.min(timeout, MAX_NUMBER));
  }

  /** Calls `done` when it has ended and all it has written is there. */
  whenOver(done: () => void): void {
    this.#done = done;
  }

  /** Ends the child for somebody who does not wait any more. */
  abandon(): void {
    this.#stop(-constants.errno.ECANCELED);
  }

  #take(index: number, chunk: Buffer): void {
    this.#chunks[index]?.push(chunk);
    this.#size += chunk.length;
    const { maxBuffer } = this.options;
    if (this.#size > (maxBuffer ?? MAX_BUFFER) && maxBuffer !== 0) this.#stop(-constants.errno.ENOBUFS);
  }

  #stop(errno: number): void {
    if (this.#errno !== 0) return;
    this.#errno = errno;
    clearTimeout(this.#timer);
    this.child.kill(this.options.killSignal ?? 'SIGTERM');
    for (const stream of this.child.stdio) stream?.destroy();
    if (this.#exit !== null) this.#done();
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.child.pid !== undefined) return;
    this.#errno = error.errno ?? -constants.errno.EIO;
    clearTimeout(this.#timer);
    this.#done();
  }

  get result(): Result {
    const { encoding } = this.options;
    const [status, signal] = this.#exit ?? [null, null];
    const output =
      this.#exit === null
        ? null
        : this.#chunks.map((chunks): Output => {
            if (chunks === null) return null;
            const bytes = Buffer.concat(chunks);
            return typeof encoding === 'string' && encoding !== 'buffer'
              ? bytes.toString(encoding as BufferEncoding)
              : bytes;
          });
    const { spawnfile, spawnargs } = this.child;
    const error = this.#errno === 0 ? {} : { error: failure(this.#errno, spawnfile, spawnargs) };
    return {
      ...error,
      status,
      signal,
      output,
      pid: this.child.pid ?? 0,
      stdout: output === null ? null : output[1],
      stderr: output === null ? null : output[2],
    } as Result;
  }
}

type Spawn = (file: unknown, args: unknown, options: unknown) => ChildProcess;

/** Runs a child to its end; `undefined` if the original is to deal with the arguments. */
function runChild(
  call: string,
  spawn: Spawn,
  file: unknown,
  args: unknown,
  given: unknown,
): Result | undefined {
  // As `spawn` has it: arguments may be left out.
  const [list, rest] =
    Array.isArray(args) || args === undefined || args === null ? [args ?? [], given] : [[], args];
  if (rest !== undefined && (typeof rest !== 'object' || rest === null)) return undefined;
  const options: Options = { ...rest };
  if (!areOptionsPlain(options)) return undefined;
  const { timeout: _, killSignal: __, signal: ___, input, ...passed } = options;
  let content: Buffer | null = null;
  let child: ChildProcess;
  try {
    if (typeof input === 'string')
      content = Buffer.from(input, (options.encoding ?? undefined) as BufferEncoding);
    else if (ArrayBuffer.isView(input))
      content = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    child = spawn(file, list, passed);
  } catch {
    return undefined;
  }
  const run = new Run(child, options, content);
  let isOver = false;
  try {
    awaitCallback(call, (done) => {
      run.whenOver(() => {
        isOver = true;
        done();
      });
    });
  } finally {
    if (!isOver) run.abandon();
  }
  // It has not even begun: nor will it for the original, which has its own form for that.
  return child.pid === undefined ? undefined : run.result;
}

/** What `execSync` and `execFileSync` throw for a child that has failed, or `null`. */
function failureOf(result: Result, command: string): Error | null {
  if (result.error !== undefined) return Object.assign(result.error, result);
  if (result.status === 0) return null;
  const { stderr } = result;
  const said = stderr !== null && stderr.length > 0 ? `\n${stderr.toString()}` : '';
  return Object.assign(new Error(`Command failed: ${command}${said}`), result);
}

function outputOf(result: Result, options: Options, command: string, thrower: AnyFunction): Output {
  if (!options.stdio && result.stderr !== null) process.stderr.write(result.stderr);
  const error = failureOf(result, command);
  if (error !== null) throw atCaller(error, thrower);
  return result.stdout;
}

/** What is replaced in `node:child_process`. */
export function childProcessReplacements(): Replacement[] {
  const owner = require('node:child_process') as Record<string, AnyFunction>;
  const { spawn, spawnSync, execSync, execFileSync } = owner as Record<
    'spawn' | 'spawnSync' | 'execSync' | 'execFileSync',
    AnyFunction
  >;
  const start = spawn as Spawn;
  return [
    {
      owner,
      key: 'spawnSync',
      value: blockingForm(spawnSync, (_, [file, args, options]) => {
        const result = runChild('child_process.spawnSync()', start, file, args, options);
        return result === undefined ? undefined : { value: result };
      }),
    },
    {
      owner,
      key: 'execFileSync',
      value: blockingForm(execFileSync, (_, [file, ...rest], self) => {
        if (rest[0] !== undefined && typeof rest[0] !== 'object') return undefined;
        const args = Array.isArray(rest[0]) ? (rest[0] as string[]) : [];
        const isFirst = !Array.isArray(rest[0]) && typeof rest[0] === 'object' && rest[0] !== null;
        if (isFirst && rest[1] !== undefined && rest[1] !== null) return undefined;
        const options = ((isFirst ? rest[0] : rest[1]) ?? {}) as Options;
        const result = runChild('child_process.execFileSync()', start, file, args, options);
        if (result === undefined) return undefined;
        const command = [options.argv0 ?? String(file), ...args].join(' ');
        return { value: outputOf(result, options, command, self) };
      }),
    },
    {
      owner,
      key: 'execSync',
      value: blockingForm(execSync, (_, [command, given], self) => {
        if (
          typeof command !== 'string' ||
          (given !== undefined && (typeof given !== 'object' || given === null))
        )
          return undefined;
        const options: Options = { ...given };
        if (typeof options.shell !== 'string') options.shell = true;
        const result = runChild('child_process.execSync()', start, command, [], options);
        return result === undefined ? undefined : { value: outputOf(result, options, command, self) };
      }),
    },
  ];
}
