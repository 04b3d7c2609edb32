/** What goes to the worker threads of a `ThreadPool` and comes back: functions, arguments, errors. */
import { createRequire } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { types } from 'node:util';
import { Script } from 'node:vm';

import { describe } from './checks.js';
import { loadPiscina, movedList, movedValue } from './piscina.js';
import { checkCloneable, type Packed, type PackedError, type Task } from './threadpool-worker.js';

// ---- what to call

/** The tasks of functions that were sent before. */
const tasks = new WeakMap<object, Task>();

/** Expressions by sources: a function that is written in a call is a new one each time. */
const expressions = new Map<string, string>();
const MOST_EXPRESSIONS = 1000;

/** Reads what a job is to call; throws a `TypeError` if that cannot be sent. */
export function checkTask(call: string, task: unknown): Task {
  if (typeof task === 'function') return tasks.get(task) ?? readFunction(call, task);
  if (typeof task === 'object' && task !== null && 'module' in task) return readModule(call, task);
  throw new TypeError(`${call} expects a function or { module, name }, got ${describe(task)}`);
}

type AnyFunction = (...args: never[]) => unknown;

function readFunction(call: string, fn: object): Task {
  const name = (fn as AnyFunction).name || '(anonymous)';
  const source = Function.prototype.toString.call(fn);
  let text = expressions.get(source);
  if (text === undefined) {
    const reason = reasonAgainst(fn, source);
    text = reason === undefined ? expressionOf(source) : undefined;
    if (text === undefined) {
      const why = reason ?? 'its source means nothing by itself';
      throw new TypeError(`${call} cannot send the function ${name} to a worker thread: ${why}`);
    }
    if (expressions.size === MOST_EXPRESSIONS) expressions.delete(expressions.keys().next().value as string);
    expressions.set(source, text);
  }
  const task: Task = { text, isModule: false, name };
  tasks.set(fn, task);
  return task;
}

/** An expression for a function: most sources are one; that of a method becomes one in an object. */
function expressionOf(source: string): string | undefined {
  return [`(${source}\n)`, `(Object.values({${source}\n})[0])`].find(isExpression);
}

function isExpression(text: string): boolean {
  try {
    void new Script(`'use strict';${text}`);
    return true;
  } catch {
    return false;
  }
}

/** Why a function cannot be run by its source, as far as that can be seen. */
function reasonAgainst(fn: object, source: string): string | undefined {
  if (/\{\s*\[native code\]\s*\}$/.test(source)) {
    return 'native and bound functions have no source. Write a function that calls it, or give { module, name }';
  }
  if (types.isGeneratorFunction(fn)) return 'a generator stays in the thread that made it. Return an array';
  if (/^class[\s{]/.test(source)) return 'it is a class. Write a function that makes an instance';
  return undefined;
}

function readModule(call: string, { module, name = 'default' }: { module?: unknown; name?: unknown }): Task {
  if (typeof name !== 'string') throw new TypeError(`${call}: name must be a string, got ${describe(name)}`);
  return { text: urlOf(call, module), isModule: true, name };
}

function urlOf(call: string, module: unknown): string {
  if (module instanceof URL) return module.href;
  if (typeof module !== 'string') {
    throw new TypeError(
      `${call}: module must be a URL, a path or the name of a package, got ${describe(module)}`,
    );
  }
  if (/^(file|node|data):/.test(module)) return module;
  const path = isAbsolute(module) ? module : createRequire(join(process.cwd(), 'job')).resolve(module);
  return isAbsolute(path) ? pathToFileURL(path).href : path;
}

// ---- what to send

/** A value that is moved rather than copied, in the form in which piscina recognises it in results. */
class Moved {
  constructor(value: object, transferList: readonly object[]) {
    Object.assign(this, { [movedValue]: value, [movedList]: transferList });
  }
}

interface MovedLike {
  readonly [movedValue]: unknown;
  readonly [movedList]: object | readonly object[];
}

function isMoved(value: unknown): value is MovedLike {
  return typeof value === 'object' && value !== null && movedValue in value;
}

/**
 * Marks an argument or a result of a job as one to be moved between threads instead of being copied: the sender has it no
 * more. Around a whole argument, or around what the job returns. Never switches.
 *
 * @param value - what to send: an `ArrayBuffer`, a typed array, a `MessagePort` …, or any object that contains such
 * @param transferList - what is moved (default: `value`, or the buffer of a typed array)
 * @returns a mark, with the type of what the receiver gets
 *
 * @example
 * const thumbnail = pool.apply(shrink, [move(image)]);
 */
export function move<T extends object>(value: T, transferList?: readonly object[]): T {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`move() expects an object, got ${describe(value)}`);
  }
  if (transferList !== undefined && !Array.isArray(transferList)) {
    throw new TypeError(`move() expects an array of objects to transfer, got ${describe(transferList)}`);
  }
  const moved = new Moved(value, transferList ?? [ArrayBuffer.isView(value) ? value.buffer : value]);
  return loadPiscina().move(moved) as T;
}

/** The arguments themselves, and what is moved of them. */
export function separate(args: readonly unknown[]): {
  values: readonly unknown[];
  transferList: object[] | undefined;
} {
  if (!args.some(isMoved)) return { values: args, transferList: undefined };
  return {
    values: args.map((argument) => (isMoved(argument) ? argument[movedValue] : argument)),
    transferList: args.filter(isMoved).flatMap((moved) => moved[movedList]),
  };
}

/** Throws a `DataCloneError` for arguments that cannot be sent, as far as trying does not move them. */
export function checkArguments(args: readonly unknown[]): void {
  if (!args.some(isMoved)) for (const argument of args) checkCloneable(argument);
}

// ---- what comes back

const errorClasses = new Map<string, ErrorConstructor>(
  [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((each) => [each.name, each]),
);

const fromWorkers = new WeakSet<object>();

/** Whether an error was thrown by a job. */
export function isFromWorker(error: unknown): error is Error {
  return error instanceof Error && fromWorkers.has(error);
}

/** Makes again what was thrown. */
export function unpack(packed: Packed): unknown {
  return 'error' in packed ? unpackError(packed.error) : packed.value;
}

function unpackError({ kind, name, message, stack, properties, cause, errors }: PackedError): Error {
  const error = newError(kind, name, message, errors);
  for (const [key, value] of Object.entries(properties)) {
    Object.defineProperty(error, key, { value, configurable: true, enumerable: true, writable: true });
  }
  const hidden: Record<string, unknown> = { stack };
  if (error.name !== name) hidden.name = name;
  if (cause !== undefined) hidden.cause = unpack(cause);
  for (const [key, value] of Object.entries(hidden)) {
    Object.defineProperty(error, key, { value, configurable: true, writable: true });
  }
  fromWorkers.add(error);
  return error;
}

function newError(kind: string, name: string, message: string, errors: readonly Packed[] = []): Error {
  if (kind === 'DOMException') return new DOMException(message, name);
  if (kind === 'AggregateError') return new AggregateError(errors.map(unpack), message);
  return new (errorClasses.get(kind) ?? Error)(message);
}
