/** Hooks of Node 20 for `--import greenstack/main`. They run on a thread of Node's. */

interface Places {
  script: string;
  entry: string;
}

let places: Places;

export function initialize(given: Places): void {
  places = given;
}

/** What is imported by nobody is the script: ours runs in its place. */
export function resolve(
  specifier: string,
  context: { parentURL?: string },
  next: (specifier: string, context: object) => unknown,
): unknown {
  if (String(specifier) !== places.script || context.parentURL !== undefined) return next(specifier, context);
  return { url: places.entry, format: 'commonjs', shortCircuit: true };
}
