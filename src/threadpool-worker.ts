/** What runs in the worker threads of a `ThreadPool`. It loads nothing of greenstack; a job may, if it needs it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inspect, types } from 'node:util';
import { constants, Script } from 'node:vm';
import { MessageChannel, type MessagePort } from 'node:worker_threads';

import { movedValue } from './piscina.js';

/** What a job is to call. */
export interface Task {
  /** The source of a function, as an expression; or the URL of a module. */
  readonly text: string;
  readonly isModule: boolean;
  /** The name of the function, or of the export. */
  readonly name: string;
}

/** A job as it is sent to a worker thread. */
export interface JobMessage {
  readonly task: Task;
  readonly args: readonly unknown[];
}

/** An error as it is sent back: structured cloning would lose its name, code and other properties. */
export interface PackedError {
  /** The class to make it of. */
  readonly kind: string;
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly cause?: Packed;
  readonly errors?: readonly Packed[];
}

/** Whatever was thrown, packed if it is an error. */
export type Packed = { readonly error: PackedError } | { readonly value: unknown };

/** What a job that fails rejects with. Anything else that rejects it comes from piscina. */
export interface Failure {
  readonly failure: Packed;
}

type Fn = (...args: readonly unknown[]) => unknown;

/** Functions that were loaded, by what they were made of. */
const loaded = new Map<string, Fn>();
/** So that programs that make functions at run time do not fill the memory. */
const MOST_LOADED = 1000;

/** Runs one job. piscina calls it. */
export default async function perform({ task, args }: JobMessage): Promise<unknown> {
  try {
    const fn = loaded.get(keyOf(task)) ?? (await load(task));
    const result = await fn(...args);
    checkCloneable(result);
    return result;
  } catch (error) {
    const failure: Failure = { failure: pack(error, task) };
    return Promise.reject(failure as unknown as Error);
  }
}

function keyOf({ text, isModule, name }: Task): string {
  return isModule ? `${text}#${name}` : text;
}

async function load(task: Task): Promise<Fn> {
  const fn = task.isModule ? await exportOf(task) : compile(task);
  if (loaded.size === MOST_LOADED) loaded.delete(loaded.keys().next().value as string);
  loaded.set(keyOf(task), fn);
  return fn;
}

function fileOf({ name }: Task): string {
  return `job ${name}`;
}

/** What a function sees beside its arguments: the globals, and a `require` that begins where the process was started. */
function compile(task: Task): Fn {
  const head = "'use strict';(function(require){return ";
  const script = new Script(`${head}${task.text}})`, {
    filename: fileOf(task),
    columnOffset: -head.length,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const make = script.runInThisContext() as (require: NodeJS.Require) => Fn;
  return make(createRequire(join(process.cwd(), fileOf(task))));
}

async function exportOf({ text, name }: Task): Promise<Fn> {
  const namespace = (await import(text)) as Record<string, unknown>;
  const found = isFunction(namespace[name]) ? namespace : (namespace.default as typeof namespace | undefined);
  const fn = found?.[name];
  if (!isFunction(fn)) {
    const names = Object.keys(namespace).filter((key) => isFunction(namespace[key]));
    throw new TypeError(
      `the module ${text} exports no function '${name}'; it exports ${names.join(', ') || 'none'}`,
    );
  }
  return fn;
}

function isFunction(value: unknown): value is Fn {
  return typeof value === 'function';
}

/** A closed port: what is posted there is serialised, and that is all. */
let closedPort: MessagePort | null = null;

function makeClosedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/**
 * Throws a `DataCloneError` unless `value` can be sent to another thread. Here, since it would end the worker thread if piscina
 * found out. What was given to `move` cannot be checked, as that would move it.
 */
export function checkCloneable(value: unknown): void {
  if (typeof value === 'object') {
    if (value === null || ArrayBuffer.isView(value) || movedValue in value) return;
  } else if (typeof value !== 'function' && typeof value !== 'symbol') {
    return;
  }
  closedPort ??= makeClosedPort();
  closedPort.postMessage(value);
}

// ---- errors

const kinds = [AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError];
const MOST_NESTED = 10;

function pack(thrown: unknown, task: Task, depth = 0): Packed {
  try {
    if (types.isNativeError(thrown) || thrown instanceof DOMException)
      return { error: packError(thrown, task, depth) };
    if (isCloneable(thrown)) return { value: thrown };
    return pack(new Error(`the job threw what cannot be cloned: ${inspect(thrown)}`), task, depth);
  } catch (failure) {
    // An error with getters that throw.
    return pack(new Error('the job threw an error that cannot be read', { cause: failure }), task, depth);
  }
}

function packError(
  error: Error & { code?: unknown; errors?: unknown },
  task: Task,
  depth: number,
): PackedError {
  const { name, cause, code, errors } = error;
  const isDomException = error instanceof DOMException;
  const kind = isDomException ? 'DOMException' : kinds.find((kind) => error instanceof kind)?.name;
  const properties = Object.entries(
    code === undefined || isDomException ? { ...error } : { ...error, code },
  ).filter(([key, value]) => key !== 'cause' && key !== 'errors' && isCloneable(value));
  const message = String(error.message);
  const advice = adviceFor(error, task);
  const stack = ownLines(String(error.stack));
  const isNested = depth < MOST_NESTED;
  return {
    kind: kind ?? 'Error',
    name: String(name),
    message: message + advice,
    stack: advice === '' ? stack : stack.replace(message, () => message + advice),
    properties: Object.fromEntries(properties),
    ...(isNested && cause !== undefined ? { cause: pack(cause, task, depth + 1) } : {}),
    ...(isNested && Array.isArray(errors)
      ? { errors: errors.map((each: unknown) => pack(each, task, depth + 1)) }
      : {}),
  };
}

/** What to do about a variable that was left behind in the other thread. */
function adviceFor(error: Error, task: Task): string {
  const isOutside =
    error instanceof ReferenceError && !task.isModule && frames(error.stack)[0]?.includes(fileOf(task));
  return isOutside === true
    ? '. A function that runs in a ThreadPool sees nothing outside itself: pass what it needs as arguments, require() ' +
        'it inside the function, or give { module, name } instead of the function'
    : '';
}

function frames(stack = ''): string[] {
  return stack.split('\n').filter((line) => /^\s+at /.test(line));
}

/** A stack without the frames of this file and what called it. */
function ownLines(stack: string): string {
  const lines = stack.split('\n');
  const end = lines.findIndex((line) => /^\s+at .*[\\/]threadpool-worker\.[jt]s:/.test(line));
  return end < 0 ? stack : lines.slice(0, end).join('\n');
}

function isCloneable(value: unknown): boolean {
  try {
    checkCloneable(value);
    return true;
  } catch {
    return false;
  }
}
