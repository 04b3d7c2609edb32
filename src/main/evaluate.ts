/** Runs code that is no file, from the command line or stdin, such that its top level is in the main greenlet. */
import { join } from 'node:path';
import { constants, Script } from 'node:vm';

import { lockModules } from '../module-lock.js';
import type { InputType } from './arguments.js';
import { forgetMainModule, loader } from './loader.js';
import { type Entry, loadModule, runAsMain } from './script.js';

/** Code without a file. */
export interface Code {
  readonly source: string;
  /** As Node names it: `[eval]`, `[stdin]`. */
  readonly name: string;
  readonly type: InputType;
  /** Whether the value of its last statement is printed. */
  readonly prints: boolean;
}

/** By these Node knows, too, that code is an ES module. */
const MODULE_SYNTAX =
  /^(?:Cannot use import statement outside a module|Unexpected token 'export'|Cannot use 'import\.meta' outside a module|await is only valid in async functions)/;

/** Runs it. Never switches. */
export function runCode(code: Code): void {
  runAsMain((entry) => {
    lockModules();
    const script = code.type === 'module' ? undefined : compile(code);
    if (script === undefined) evaluateModule(code, entry);
    else evaluateScript(code, script);
  });
}

/** `undefined`: it is an ES module. */
function compile({ source, name, type }: Code): Script | undefined {
  try {
    return new Script(source, {
      filename: name,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    if (type === 'unclear' && error instanceof SyntaxError && MODULE_SYNTAX.test(error.message))
      return undefined;
    throw error;
  }
}

/** As Node does it: the variables of a module are global. */
function evaluateScript({ name, prints }: Code, script: Script): void {
  forgetMainModule();
  const module = new loader(name);
  module.filename = join(process.cwd(), name);
  module.paths = loader._nodeModulePaths(process.cwd());
  const within = module._compile(
    'Object.assign(globalThis, { module, exports, require, __dirname }); return (main) => main();',
    `${name}-wrapper`,
  ) as (main: () => unknown) => unknown;
  Object.assign(globalThis, { __filename: name });
  const value = within(() => script.runInThisContext());
  if (prints) console.log(value);
}

function evaluateModule({ source, name }: Code, entry: Entry): void {
  entry.isModule = true;
  forgetMainModule();
  const filename = join(process.cwd(), `${name.slice(0, -1)}1]`);
  loadModule(name, () => void new loader(filename)._compile(source, filename, 'module'));
}
