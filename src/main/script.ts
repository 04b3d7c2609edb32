/** Runs a script such that its top level is in the main greenlet. */
import { readFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { native, Reporting } from '../binding.js';
import { GreenletExit, GreenstackError, KeyboardInterrupt, run } from '../index.js';
import { lockModules } from '../module-lock.js';
import { signalGuard } from '../run.js';
import { formatOf } from './format.js';
import { forgetMainModule, loader } from './loader.js';

/** What is known of a script that runs. */
export interface Entry {
  /** Whether it is an ES module, whose errors are for Node reasons of a rejected promise. */
  isModule: boolean;
}

/** Runs `body` in the main greenlet. An error that leaves it is an uncaught one, as at the top level of a script. */
export function runAsMain(body: (entry: Entry) => void): void {
  const entry: Entry = { isModule: false };
  const reporting = (error: unknown): Reporting => {
    if (!isFailure(error)) return Reporting.Nothing;
    return entry.isModule ? Reporting.Rejected : Reporting.Thrown;
  };
  void run(() => native.callReporting(() => body(entry), reporting));
}

/** Whether an error is to be reported: not if it is a kill, or the signal that ends the process anyway. */
function isFailure(error: unknown): boolean {
  if (error instanceof KeyboardInterrupt) return error.signal !== signalGuard.received;
  return !GreenletExit.is(error);
}

/** Runs a script, given as to `node`. Never switches. */
export function runScript(script: string): void {
  runAsMain((entry) => load(script, entry));
}

function load(script: string, entry: Entry): void {
  const filename = loader._findPath(resolve(script), null, true);
  if (filename !== false) checkTypes(filename);
  lockModules(filename || undefined);
  const format = filename === false ? 'commonjs' : formatOf(filename);
  if (filename === false || format === 'commonjs') {
    loader._load(script, null, true);
    return;
  }
  forgetMainModule();
  entry.isModule = true;
  const demark = markAsMain(filename);
  try {
    loadModule(filename, () => loader._load(filename, undefined, false));
  } catch (error) {
    // If it does not compile either way, it counts as CommonJS.
    entry.isModule = format === 'module' || !(error instanceof SyntaxError);
    throw error;
  } finally {
    demark();
  }
}

/**
 * Evaluates an ES module and all that it imports, on the stack of the caller: as `require` does it.
 *
 * @throws {GreenstackError} `ERR_GREENSTACK_TOP_LEVEL_AWAIT` if one of them awaits at its top level
 */
export function loadModule(name: string, evaluate: () => void): void {
  try {
    evaluate();
  } catch (error) {
    if (!isAwaiting(error)) throw error;
    throw new GreenstackError(
      'ERR_GREENSTACK_TOP_LEVEL_AWAIT',
      `${name}, or a module that it imports, uses await at its top level, which cannot be in a greenlet. Use ` +
        'waitFor(promise) of greenstack there instead of await, or run the script by node alone.',
      { cause: error },
    );
  }
}

/** Whether the module was refused because of an await, and not one that it has required. */
function isAwaiting(error: unknown): boolean {
  if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== 'ERR_REQUIRE_ASYNC_MODULE')
    return false;
  return !/\bat (Module\.)?require \(/.test(error.stack ?? '');
}

const TYPESCRIPT = ['.ts', '.mts', '.cts'];

/** Throws if the script has types that nobody would strip. */
function checkTypes(filename: string): void {
  const extension = extname(filename);
  if (!TYPESCRIPT.includes(extension) || extension in loader._extensions) return;
  if ((process.features as { typescript?: unknown }).typescript) return;
  throw new GreenstackError(
    'ERR_GREENSTACK_TYPESCRIPT',
    `${filename}: Node ${process.version} does not strip types here. Node 22.18 and later do, unless told not to; ` +
      'or compile it first.',
  );
}

/** Sees to `import.meta.main` of an ES module, where Node has that: what `require` loads would not have it set. */
function markAsMain(filename: string): () => void {
  const { registerHooks } = loader;
  if (registerHooks === undefined || !/\bimport\s*\.\s*meta\b/.test(readFileSync(filename, 'utf8')))
    return () => {};
  const entry = pathToFileURL(filename).href;
  const hooks = registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (url !== entry) return loaded;
      hooks.deregister();
      // On the line of the first statement, so that lines keep their numbers.
      const source = Buffer.from(loaded.source ?? '').toString();
      return { ...loaded, source: source.replace(/^(\uFEFF?(?:#!.*\r?\n)?)/, '$1import.meta.main=true;') };
    },
  });
  return () => hooks.deregister();
}
