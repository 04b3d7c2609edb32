/** What the command line asks of the command `greenstack`. */

/** What is to be run. */
export type Request =
  | { readonly kind: 'script'; readonly script: string }
  | { readonly kind: 'code'; readonly code: string; readonly prints: boolean }
  | { readonly kind: 'stdin' | 'repl' | 'help' | 'version' | 'node' };

/** A command line that was understood. */
export interface CommandLine {
  readonly request: Request;
  readonly patches: boolean;
  /** What `--input-type` says of code that is no file. */
  readonly inputType: InputType;
  /** For Node, in the order in which they were given. */
  readonly nodeOptions: readonly string[];
  /** What the program finds in `process.argv` from its third place on. */
  readonly args: readonly string[];
}

/** The type of code that is no file; `unclear`: what its syntax is. */
export type InputType = 'commonjs' | 'module' | 'unclear';

/** A mistake in the command line. */
export class UsageError extends Error {}

/** Options of Node whose value may be the next argument. Those of others are to be written with `=`. */
const WITH_VALUE = new Set(
  (
    '-r --require --import -C --conditions --loader --experimental-loader --env-file --env-file-if-exists --title ' +
    '--watch-path --disable-warning --unhandled-rejections --redirect-warnings --dns-result-order --icu-data-dir ' +
    '--max-http-header-size --diagnostic-dir --cpu-prof-dir --heap-prof-dir --test-name-pattern --test-skip-pattern ' +
    '--test-reporter --test-reporter-destination --test-concurrency --run --stack-trace-limit'
  ).split(' '),
);

/** Options by which Node does something else than running a script. */
const NO_SCRIPT = /^--(?:test|run|v8-options|completion-bash|prof-process|build-snapshot)(?:=|$)/;

/**
 * Reads the arguments of the command.
 *
 * @param isTerminal - whether stdin is one: without a script that is a REPL, otherwise the script comes from stdin
 * @throws {UsageError} if an argument is missing or wrong
 */
export function parse(given: readonly string[], isTerminal: boolean): CommandLine {
  const nodeOptions: string[] = [];
  let patches = false;
  let isInteractive = false;
  let prints = false;
  let code: string | undefined;
  let inputType: InputType = 'unclear';
  let request: Request | undefined;
  let index = 0;

  const valueOf = (option: string): string => {
    const at = option.startsWith('--') ? option.indexOf('=') : -1;
    if (at >= 0) return option.slice(at + 1);
    const value = given[++index];
    if (value === undefined) throw new UsageError(`${option} requires an argument`);
    return value;
  };

  options: for (; index < given.length; index++) {
    const option = given[index] as string;
    const [name] = option.split('=', 1) as [string];
    switch (name) {
      case '--':
        index++;
        break options;
      case '-':
        request = { kind: 'stdin' };
        index++;
        break options;
      case '--patch':
        patches = true;
        break;
      case '-h':
      case '--help':
        request = { kind: 'help' };
        break options;
      case '-v':
      case '--version':
        request = { kind: 'version' };
        break options;
      case '-i':
      case '--interactive':
        isInteractive = true;
        break;
      case '-p':
      case '-pe':
      case '--print':
        prints = true;
        code = valueOf(option);
        break;
      case '-e':
      case '--eval':
        code = valueOf(option);
        break;
      case '--input-type':
        inputType = typeNamed(valueOf(option));
        break;
      default:
        if (!option.startsWith('-')) break options;
        nodeOptions.push(option);
        if (WITH_VALUE.has(option)) nodeOptions.push(valueOf(option));
    }
  }

  if (request === undefined) {
    if (code !== undefined) request = { kind: 'code', code, prints };
    else if (isInteractive) request = { kind: 'repl' };
    else if (index < given.length) request = { kind: 'script', script: given[index++] as string };
    else if (nodeOptions.some((option) => NO_SCRIPT.test(option))) request = { kind: 'node' };
    else request = { kind: isTerminal ? 'repl' : 'stdin' };
  }
  return { request, patches, inputType, nodeOptions, args: given.slice(index) };
}

function typeNamed(name: string): InputType {
  if (name === 'commonjs' || name === 'module') return name;
  throw new UsageError(`--input-type must be commonjs or module, got ${name}`);
}
