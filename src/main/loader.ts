/** What greenstack uses of Node's loader of modules, beyond what is documented. Only this file names it. */
import nodeModule = require('node:module');

/** A CommonJS module. */
export interface LoadedModule {
  exports: unknown;
  filename: string;
  paths: string[];
  _compile(source: string, filename: string, format?: 'module'): unknown;
}

/** What a hook is told of a module, and what it answers. */
interface HookContext {
  parentURL?: string | undefined;
}

interface Resolution {
  url: string;
  format?: string;
  shortCircuit?: boolean;
}

interface Loaded {
  source?: string | Uint8Array | null;
}

interface Hooks {
  resolve?(
    specifier: string,
    context: HookContext,
    next: (specifier: string, context: HookContext) => Resolution,
  ): Resolution;
  load?(url: string, context: object, next: (url: string, context: object) => Loaded): Loaded;
}

interface Loader {
  new (id: string, parent?: undefined): LoadedModule;
  /** Finds a file as `node` finds its script: extensions, directories and links included. */
  _findPath(request: string, paths: null, isMain: boolean): string | false;
  _load(request: string, parent: null | undefined, isMain: boolean): unknown;
  _nodeModulePaths(from: string): string[];
  readonly _extensions: Readonly<Record<string, unknown>>;
  /** What Node calls to run the script, read anew when it does: for preloaded modules to replace. */
  runMain(script?: string): void;
  /** From Node 22.15 on. */
  readonly registerHooks?: (hooks: Hooks) => { deregister(): void };
  readonly register: (specifier: string | URL, options: { data: unknown }) => void;
  /** From Node 22.13 on. */
  readonly stripTypeScriptTypes?: (source: string) => string;
}

export const loader = nodeModule as unknown as Loader;

/** As long as no CommonJS module is the main one, `require.main` is `undefined`: so it is when the script is an ES module. */
export function forgetMainModule(): void {
  Object.assign(process, { mainModule: undefined });
}
