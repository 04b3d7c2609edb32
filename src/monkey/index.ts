/** `greenstack/monkey`: Node's own modules, made such that they park greenlets rather than stop the process. */
import { checkFlag, checkOptions } from '../checks.js';
import { lockModules } from '../module-lock.js';
import { atomicsReplacements } from './atomics.js';
import { childProcessReplacements } from './child-process.js';
import { cryptoReplacements } from './crypto.js';
import {
  httpReplacements,
  netReplacements,
  processReplacements,
  readlineReplacements,
  workerReplacements,
} from './emitters.js';
import { fsReplacements } from './fs.js';
import { findCaptures } from './late.js';
import { install, isAllowed, patchedModules, patching, type Replacement, uninstall } from './patching.js';
import { isPreloaded } from './preload.js';
import { timersReplacements } from './timers.js';
import { zlibReplacements } from './zlib.js';

export { patchEvents, unpatchEvents } from './events.js';
export {
  DoNotPatch,
  getOriginal,
  isAnythingPatched,
  isModulePatched,
  isObjectPatched,
  type PatchEvent,
  patching,
  patchModule,
  unpatchModule,
} from './patching.js';

/** What {@link patchAll} patches: `false` leaves a part as it is (default: everything). */
export interface PatchOptions {
  /** `Atomics.wait`. */
  atomics?: boolean;
  /** `spawnSync`, `execSync`, `execFileSync`. */
  childProcess?: boolean;
  /** `scryptSync`, `pbkdf2Sync`, `generateKeyPairSync`, … */
  crypto?: boolean;
  /** `readFileSync` and all the other synchronous functions. */
  fs?: boolean;
  /** Listeners of HTTP servers. */
  http?: boolean;
  /** Listeners of servers for TCP, Unix-domain sockets and TLS. */
  net?: boolean;
  /** Listeners of signals. */
  process?: boolean;
  /** Listeners of readline interfaces. */
  readline?: boolean;
  /** Callbacks of `setTimeout`, `setInterval` and `setImmediate`. */
  timers?: boolean;
  /** Listeners of messages between threads. */
  worker?: boolean;
  /** `gzipSync` and its relatives. */
  zlib?: boolean;
}

type Part = keyof PatchOptions;

/** The name of what each part patches, and how, in the order in which it is done. */
const PARTS: Readonly<Record<Part, readonly [module: string, make: () => Replacement[]]>> = {
  fs: ['fs', fsReplacements],
  childProcess: ['child_process', childProcessReplacements],
  crypto: ['crypto', cryptoReplacements],
  zlib: ['zlib', zlibReplacements],
  atomics: ['atomics', atomicsReplacements],
  timers: ['timers', timersReplacements],
  net: ['net', netReplacements],
  http: ['http', httpReplacements],
  process: ['process', processReplacements],
  worker: ['worker_threads', workerReplacements],
  readline: ['readline', readlineReplacements],
};

const ALL = Object.keys(PARTS) as Part[];

function warn(message: string, code: string, detail?: string): void {
  process.emitWarning(message, {
    type: 'MonkeyPatchWarning',
    code,
    ...(detail === undefined ? {} : { detail }),
  });
}

/** Modules of which it has been told that they have kept originals. */
const toldOf = new Set<string>();

function warnOfCaptures(): void {
  const captures = [...findCaptures()].filter(([filename]) => !toldOf.has(filename));
  if (captures.length === 0) return;
  for (const [filename] of captures) toldOf.add(filename);
  warn(
    `patched too late for ${captures.length === 1 ? 'a module' : `${captures.length} modules`} that will go on to stop the ` +
      'process. Patch before anything else is loaded, for instance by node -r greenstack/monkey.',
    'GREENSTACK_PATCHED_LATE',
    captures.map(([filename, names]) => `${filename}: ${names.join(', ')}`).join('\n'),
  );
}

/** Patches one part. */
function patch(part: Part): boolean {
  const [module, make] = PARTS[part];
  // The top level of a module that reads files may park from now on.
  if (part === 'fs') lockModules();
  return install(module, make);
}

/** A function that patches one part alone. */
function patchOne(part: Part): boolean {
  const isNew = patch(part);
  if (isNew) warnOfCaptures();
  return isNew;
}

function unpatch(part: Part): boolean {
  return uninstall(PARTS[part][0]);
}

/**
 * Patches all that is not excluded. Patched functions park when they are called in a greenlet, and callbacks run in greenlets
 * of their own; everywhere else all is as before. It concerns the thread that calls it. Doing it again patches what was left
 * out before, and nothing twice. Never switches. gevent: `gevent.monkey.patch_all`.
 *
 * A warning tells which modules were loaded before and have kept the originals, as far as that can be seen.
 *
 * @returns whether anything has been patched
 * @throws {TypeError} if an option is unknown or no boolean
 *
 * @example
 * patchAll({ timers: false });
 */
export function patchAll(options?: PatchOptions): boolean {
  const checked = checkOptions('patchAll()', options);
  for (const [name, value] of Object.entries(checked)) {
    if (!Object.hasOwn(PARTS, name))
      throw new TypeError(`patchAll(): there is no option ${name}; there are ${ALL.join(', ')}`);
    if (value !== undefined) checkFlag('patchAll()', name, value);
  }
  const wanted = Object.fromEntries(ALL.map((part) => [part, checked[part] ?? true]));
  const excluded = ALL.filter((part) => !wanted[part] && patchedModules().includes(PARTS[part][0]));
  if (excluded.length > 0)
    warn(
      `patchAll() leaves out ${excluded.join(', ')}, which is patched already. unpatchAll() undoes that.`,
      'GREENSTACK_PATCHED_ALREADY',
    );
  if (!isAllowed(() => patching.emit('willPatchAll', wanted))) return false;
  const isNew = ALL.filter((part) => wanted[part] && patch(part)).length > 0;
  if (isNew) warnOfCaptures();
  patching.emit('didPatchAll', wanted);
  return isNew;
}

/** Undoes all patches, those of {@link patchModule} included. `false` if there were none. Never switches. */
export function unpatchAll(): boolean {
  return patchedModules().filter((module) => uninstall(module)).length > 0;
}

/**
 * Patches `node:fs`: in a greenlet every `…Sync` function parks. `false` if that was done before. Never switches.
 */
export function patchFs(): boolean {
  return patchOne('fs');
}

/** Undoes {@link patchFs}. `false` if it was not patched. Never switches. */
export function unpatchFs(): boolean {
  return unpatch('fs');
}

/** Patches `node:child_process`: in a greenlet `spawnSync`, `execSync` and `execFileSync` park until the child has ended. A kill or timeout of the greenlet kills the child by its `killSignal`. gevent: `gevent.monkey.patch_subprocess`. `false` if that was done before. Never switches. */
export function patchChildProcess(): boolean {
  return patchOne('childProcess');
}

/** Undoes {@link patchChildProcess}. `false` if it was not patched. Never switches. */
export function unpatchChildProcess(): boolean {
  return unpatch('childProcess');
}

/** Patches `node:crypto`: in a greenlet the synchronous functions that have a callback form park. `false` if that was done before. Never switches. */
export function patchCrypto(): boolean {
  return patchOne('crypto');
}

/** Undoes {@link patchCrypto}. `false` if it was not patched. Never switches. */
export function unpatchCrypto(): boolean {
  return unpatch('crypto');
}

/** Patches `node:zlib`: in a greenlet the `…Sync` functions park. `false` if that was done before. Never switches. */
export function patchZlib(): boolean {
  return patchOne('zlib');
}

/** Undoes {@link patchZlib}. `false` if it was not patched. Never switches. */
export function unpatchZlib(): boolean {
  return unpatch('zlib');
}

/** Patches `Atomics.wait`: in a greenlet it parks until another thread notifies. `false` if that was done before. Never switches. */
export function patchAtomics(): boolean {
  return patchOne('atomics');
}

/** Undoes {@link patchAtomics}. `false` if it was not patched. Never switches. */
export function unpatchAtomics(): boolean {
  return unpatch('atomics');
}

/** Patches `setTimeout`, `setInterval` and `setImmediate`: each callback runs in a greenlet of its own. An interval is not called again while its callback waits. gevent: `gevent.monkey.patch_time`. `false` if that was done before. Never switches. */
export function patchTimers(): boolean {
  return patchOne('timers');
}

/** Undoes {@link patchTimers}. `false` if it was not patched. Never switches. */
export function unpatchTimers(): boolean {
  return unpatch('timers');
}

/** Patches servers of `node:net` and `node:tls`: listeners of connections run in greenlets of their own. gevent: `gevent.monkey.patch_socket`. `false` if that was done before. Never switches. */
export function patchNet(): boolean {
  return patchOne('net');
}

/** Undoes {@link patchNet}. `false` if it was not patched. Never switches. */
export function unpatchNet(): boolean {
  return unpatch('net');
}

/** Patches servers of `node:http`, `node:https` and `node:http2`: listeners of requests, upgrades and streams run in greenlets of their own. `false` if that was done before. Never switches. */
export function patchHttp(): boolean {
  return patchOne('http');
}

/** Undoes {@link patchHttp}. `false` if it was not patched. Never switches. */
export function unpatchHttp(): boolean {
  return unpatch('http');
}

/** Patches `process`: listeners of signals run in greenlets of their own. gevent: `gevent.monkey.patch_signal`. `false` if that was done before. Never switches. */
export function patchProcess(): boolean {
  return patchOne('process');
}

/** Undoes {@link patchProcess}. `false` if it was not patched. Never switches. */
export function unpatchProcess(): boolean {
  return unpatch('process');
}

/** Patches `node:worker_threads`: listeners of workers, and those of messages at ports, run in greenlets of their own. `false` if that was done before. Never switches. */
export function patchWorker(): boolean {
  return patchOne('worker');
}

/** Undoes {@link patchWorker}. `false` if it was not patched. Never switches. */
export function unpatchWorker(): boolean {
  return unpatch('worker');
}

/** Patches `node:readline`: listeners of lines, and what is called with an answer, run in greenlets of their own. `false` if that was done before. Never switches. */
export function patchReadline(): boolean {
  return patchOne('readline');
}

/** Undoes {@link patchReadline}. `false` if it was not patched. Never switches. */
export function unpatchReadline(): boolean {
  return unpatch('readline');
}

if (isPreloaded(module)) patchAll();
