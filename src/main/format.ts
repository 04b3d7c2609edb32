/** Whether a script is an ES module: as Node decides it. */
import { readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { compileFunction } from 'node:vm';

import { loader } from './loader.js';

/** What is known of a script before it is loaded; `unclear`: it does not compile as CommonJS. */
export type Format = 'commonjs' | 'module' | 'unclear';

const FORMATS: Readonly<Record<string, Format>> = {
  '.mjs': 'module',
  '.mts': 'module',
  '.cjs': 'commonjs',
  '.cts': 'commonjs',
  '.json': 'commonjs',
  '.node': 'commonjs',
};

/** The format of a script by its name, its package, or its syntax. */
export function formatOf(filename: string): Format {
  const byName = FORMATS[extname(filename)];
  if (byName !== undefined) return byName;
  const type = packageType(dirname(filename));
  if (type === 'module' || type === 'commonjs') return type;
  return compiles(readFileSync(filename, 'utf8'), filename) ? 'commonjs' : 'unclear';
}

/** The `type` of the nearest package.json. */
function packageType(folder: string): unknown {
  for (let at = folder; ; at = dirname(at)) {
    try {
      return (JSON.parse(readFileSync(join(at, 'package.json'), 'utf8')) as { type?: unknown }).type;
    } catch (error) {
      // Node itself complains of one that cannot be read.
      if ((error as NodeJS.ErrnoException).code === undefined) return undefined;
    }
    if (at === dirname(at) || at.endsWith('/node_modules')) return undefined;
  }
}

function compiles(source: string, filename: string): boolean {
  try {
    const script = extname(filename) === '.ts' ? withoutTypes(source) : source;
    compileFunction(script.replace(/^\uFEFF/, ''), [
      'exports',
      'require',
      'module',
      '__filename',
      '__dirname',
    ]);
    return true;
  } catch {
    return false;
  }
}

/** Without types, and without the warning that Node gives when it strips them itself. */
function withoutTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return loader.stripTypeScriptTypes?.(source) ?? source;
  } finally {
    process.emitWarning = emitWarning;
  }
}
