/**
 * Modules that greenlets load at the same time. Node loads a module at one go, unless its top level parks:
 * then others would find what it has exported so far. So whoever requires a module that another greenlet is loading waits
 * until that is done, except where the two wait for each other: a cycle is what it is everywhere.
 *
 * Python: the import lock of each module.
 */
import nodeModule = require('node:module');

import { currentRunnable, isParkable, park, type Runnable, type Wait, wake } from './hub.js';
import { replaceMethod } from './replace-method.js';

interface Loader {
  readonly prototype: object;
  _resolveFilename(...request: unknown[]): string;
}

const loader = nodeModule as unknown as Loader;

/** A module that a greenlet is loading. */
class Loading {
  readonly waits = new Set<LoadingWait>();

  constructor(
    readonly filename: string,
    readonly greenlet: Runnable,
  ) {}

  end(): void {
    for (const wait of this.waits) wait.end();
  }
}

/** A greenlet that is parked until another one has loaded a module. */
class LoadingWait implements Wait {
  constructor(
    readonly waiting: Runnable,
    readonly loading: Loading,
  ) {
    loading.waits.add(this);
    waits.set(waiting, this);
  }

  end(): void {
    this.cancel();
    wake(this.waiting, this);
  }

  cancel(): void {
    this.loading.waits.delete(this);
    waits.delete(this.waiting);
  }

  describe(): string {
    return `require of ${this.loading.filename}, which ${this.loading.greenlet._describe()} is loading`;
  }
}

/** What is being loaded, by its file. */
const loadings = new Map<string, Loading>();
const waits = new Map<Runnable, LoadingWait>();

/** Whether `loading` ends only after `greenlet` has gone on. */
function dependsOn(loading: Loading, greenlet: Runnable): boolean {
  for (let at: Loading | undefined = loading; at !== undefined; at = waits.get(at.greenlet)?.loading)
    if (at.greenlet === greenlet) return true;
  return false;
}

/** Whether another greenlet loads anything: mostly there is only one that does. */
function isAnotherLoading(greenlet: Runnable): boolean {
  for (const loading of loadings.values()) if (loading.greenlet !== greenlet) return true;
  return false;
}

/** Waits until nobody else is loading what is requested. */
function awaitLoaded(greenlet: Runnable, request: unknown[]): void {
  if (!isAnotherLoading(greenlet)) return;
  const filename = resolved(request);
  for (;;) {
    const loading = loadings.get(filename);
    if (loading === undefined || dependsOn(loading, greenlet) || !isParkable()) return;
    park('require()', new LoadingWait(greenlet, loading));
  }
}

/** The file of a request; empty if there is none, of which Node complains then. */
function resolved(request: unknown[]): string {
  try {
    return loader._resolveFilename(...request);
  } catch {
    return '';
  }
}

let isLocking = false;

/**
 * From now on greenlets wait for modules that others are loading. Never switches.
 *
 * @param main - the file of the main module: its top level may last as long as the program, so nobody waits for it
 */
export function lockModules(main?: string): void {
  if (isLocking) return;
  isLocking = true;
  replaceMethod(loader, '_load', (original) => {
    return function (this: unknown, ...request: unknown[]): unknown {
      const greenlet = currentRunnable();
      if (greenlet !== null && loadings.size > 0) awaitLoaded(greenlet, request);
      return Reflect.apply(original, this, request);
    };
  });
  replaceMethod(loader.prototype, 'load', (original) => {
    return function (this: unknown, ...args: unknown[]): unknown {
      const greenlet = currentRunnable();
      const [filename] = args as [string];
      if (greenlet === null || filename === main) return Reflect.apply(original, this, args);
      const loading = new Loading(filename, greenlet);
      loadings.set(filename, loading);
      try {
        return Reflect.apply(original, this, args);
      } finally {
        loadings.delete(filename);
        loading.end();
      }
    };
  });
}
