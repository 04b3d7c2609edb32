/** Who has taken the originals before they were replaced. */
import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join } from 'node:path';

import { originals } from './patching.js';

const OWN_DIRECTORY = join(dirname(__dirname), '/');
/** Beside that directory. */
const OWN_FILES = ['index.js', 'binding.js'].map((name) => join(dirname(OWN_DIRECTORY), name));

/** `const { a, b: c } = require('m')`, and `const a = require('m').b`. */
const DESTRUCTURED = /\{([^{}]*)\}\s*=\s*require\(\s*['"](?:node:)?([\w/]+)['"]\s*\)(?!\s*\.)/g;
const MEMBER = /=\s*require\(\s*['"](?:node:)?([\w/]+)['"]\s*\)\s*\.\s*(\w+)/g;

/** The names that a source takes out of Node's modules, as `fs.readFileSync`. */
function takenNames(source: string): string[] {
  const taken: string[] = [];
  for (const [, names, module] of source.matchAll(DESTRUCTURED)) {
    if (!builtinModules.includes(module as string)) continue;
    for (const name of (names as string).split(','))
      taken.push(`${module}.${(name.split(':')[0] as string).trim()}`);
  }
  for (const [, module, name] of source.matchAll(MEMBER)) taken.push(`${module}.${name}`);
  return taken;
}

function sourceOf(filename: string): string {
  try {
    return readFileSync(filename, 'utf8');
  } catch {
    return '';
  }
}

/** The originals among what a module exports. Getters are left alone. */
function exportedNames(exported: unknown, known: ReadonlyMap<unknown, string>): string[] {
  if ((typeof exported !== 'object' && typeof exported !== 'function') || exported === null) return [];
  const values = [
    exported,
    ...Object.values(Object.getOwnPropertyDescriptors(exported)).map(({ value }) => value as unknown),
  ];
  return values.flatMap((value) => known.get(value) ?? []);
}

/**
 * The CommonJS modules that were loaded before and have kept originals, each with their names: those that export them, and
 * those whose source takes them out of Node's modules. Named imports are none of them, as those change with what they name.
 */
export function findCaptures(): Map<string, string[]> {
  const known = originals();
  const names = new Set(known.values());
  const captures = new Map<string, string[]>();
  for (const [filename, module] of Object.entries(require.cache)) {
    if (module === undefined || filename.startsWith(OWN_DIRECTORY) || OWN_FILES.includes(filename)) continue;
    const taken = takenNames(sourceOf(filename)).filter((name) => names.has(name));
    const kept = new Set([...taken, ...exportedNames(module.exports, known)]);
    if (kept.size > 0) captures.set(filename, [...kept]);
  }
  return captures;
}
