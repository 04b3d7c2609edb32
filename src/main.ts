/**
 * `greenstack/main`, to be preloaded: `node -r greenstack/main script.js` or `node --import greenstack/main script.js`. The top
 * level of the script runs in the main greenlet, so that it may block. Exports nothing.
 *
 * Worker threads, which preload it too, are left as they are. gevent: a script is in the main greenlet anyway.
 */
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

import { GreenstackError } from './errors.js';
import { loader } from './main/loader.js';
import { runScript } from './main/script.js';
import { isPreloaded } from './monkey/preload.js';

const ENTRY = join(__dirname, 'main', 'entry.js');
/** Options that make Node's ES module loader begin. */
const LOADING = /(?:^|\s)--(?:import|loader|experimental-loader)(?:[=\s]|$)/;

function isGiven(option: RegExp): boolean {
  return [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].some((text) => option.test(text));
}

/** Preloaded by `-r`: what Node calls to run the script is ours. */
function replaceRunMain(): void {
  const { runMain } = loader;
  loader.runMain = (script = process.argv[1]) => {
    loader.runMain = runMain;
    // What else is to be loaded first, Node loads before any script, be it only ours.
    if (isGiven(LOADING)) runMain(ENTRY);
    else runScript(isGiven(/(?:^|\s)--entry-url(?:\s|$)/) ? pathOf(script as string) : (script as string));
  };
}

/** The path of a script that is given as an address. */
function pathOf(script: string): string {
  return fileURLToPath(new URL(script, pathToFileURL(`${process.cwd()}/`)));
}

/** Preloaded by `--import`: Node has decided already to import the script, which it then resolves to ours. */
function redirectScript(): void {
  const filename = process.argv[1] !== undefined && loader._findPath(process.argv[1], null, true);
  // Code from the command line or stdin, or a script that is not there.
  if (filename === false) return;
  const script = pathToFileURL(filename).href;
  const entry = pathToFileURL(ENTRY).href;
  if (loader.registerHooks === undefined) {
    loader.register(new URL('main/redirect.mjs', pathToFileURL(__filename)), { data: { script, entry } });
    return;
  }
  const hooks = loader.registerHooks({
    resolve(specifier, context, next) {
      if (String(specifier) !== script || context.parentURL !== undefined) return next(specifier, context);
      hooks.deregister();
      return { url: entry, format: 'commonjs', shortCircuit: true };
    },
  });
}

if (isMainThread) {
  if (module.isPreloading) replaceRunMain();
  else if (isPreloaded(module)) redirectScript();
  else
    throw new GreenstackError(
      'ERR_GREENSTACK_NOT_PRELOADED',
      'greenstack/main is to be preloaded: node -r greenstack/main script.js, or greenstack script.js. In a program that runs ' +
        'already, use run(() => …) of greenstack.',
    );
}
