/** Whether a module is loaded ahead of the program, by `node -r` or `node --import`. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What follows each `--import`, in the arguments of Node and in `NODE_OPTIONS`. */
function importedAhead(): string[] {
  const fromEnvironment = (process.env.NODE_OPTIONS ?? '').match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
  const args = [...process.execArgv, ...fromEnvironment.map((word) => word.replace(/^"(.*)"$/, '$1'))];
  return args.flatMap((argument, index) => {
    if (argument === '--import') return args[index + 1] ?? [];
    return argument.startsWith('--import=') ? argument.slice('--import='.length) : [];
  });
}

/** Whether `specifier`, on the command line, means `filename`. */
function means(specifier: string, filename: string): boolean {
  try {
    if (specifier.startsWith('file:')) return fileURLToPath(specifier) === filename;
    return createRequire(join(process.cwd(), 'program.js')).resolve(specifier) === filename;
  } catch {
    return false;
  }
}

/** Whether `module`, which is being loaded, was asked for by the command line rather than by a program. */
export function isPreloaded(module: NodeJS.Module): boolean {
  return module.isPreloading || importedAhead().some((specifier) => means(specifier, module.filename));
}
