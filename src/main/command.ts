#!/usr/bin/env node
/** The command `greenstack`: `node`, with the top level of the script in the main greenlet. */
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { isatty } from 'node:tty';

import { version } from '../version.js';
import { type CommandLine, parse, UsageError } from './arguments.js';
import { replaceBy } from './child.js';
import { runCode } from './evaluate.js';
import { startRepl } from './repl.js';
import { runScript } from './script.js';

const HELP = `Usage: greenstack [options] [script.js | -e code | -] [arguments]

Runs a script as node does, with its top level in the main greenlet: there, and in
every function that it calls, calls of greenstack may block. Without a script it
reads one from stdin; on a terminal it starts a REPL whose lines may block.

  --patch                 patch Node's modules first, as greenstack/monkey does
  -e, --eval code         evaluate code
  -p, --print code        evaluate code and print its result
  -i, --interactive       start the REPL even if stdin is no terminal
  -                       read the script from stdin
  --                      end of options
  --input-type type       of code that is no file: commonjs or module
  -v, --version           print the version
  -h, --help              print this help

Every other option is passed to node (write its value with "=").
`;

/** As Node's for a wrong command line. */
const INVALID_COMMAND_LINE = 9;

const MAIN = join(__dirname, '..', 'main.js');
const MONKEY = join(__dirname, '..', 'monkey', 'index.js');

function preloadedBy({ patches }: CommandLine): string[] {
  return [...(patches ? ['-r', MONKEY] : []), '-r', MAIN];
}

/** The arguments of a Node with options that does what is asked. */
function argumentsOfNode(line: CommandLine): string[] {
  const { request, patches, inputType, nodeOptions, args } = line;
  const preloaded = preloadedBy(line);
  const own = [
    ...(patches ? ['--patch'] : []),
    ...(inputType === 'unclear' ? [] : [`--input-type=${inputType}`]),
  ];
  switch (request.kind) {
    case 'script':
      return [...nodeOptions, ...preloaded, '--', request.script, ...args];
    case 'node':
      return [...nodeOptions, ...preloaded, ...args];
    case 'code':
      return [...nodeOptions, __filename, ...own, request.prints ? '-p' : '-e', request.code, '--', ...args];
    case 'repl':
      return [...nodeOptions, __filename, ...own, '-i'];
    default:
      return [...nodeOptions, __filename, ...own, '-', ...args];
  }
}

function execute(line: CommandLine): void {
  const { request, patches, inputType, nodeOptions, args } = line;
  if (request.kind === 'help') return void process.stdout.write(HELP);
  if (request.kind === 'version')
    return void process.stdout.write(`greenstack ${version} on node ${process.version}\n`);
  if (nodeOptions.length > 0) return replaceBy(argumentsOfNode(line));
  if (patches) patch();
  // What is forked inherits it, as from a Node that has preloaded it.
  process.execArgv.push(...preloadedBy(line));
  const [node] = process.argv as [string];
  switch (request.kind) {
    case 'script':
      process.argv = [node, resolve(request.script), ...args];
      return runScript(process.argv[1] as string);
    case 'code':
      process.argv = [node, ...args];
      return runCode({ source: request.code, name: '[eval]', type: inputType, prints: request.prints });
    case 'repl':
      process.argv = [node];
      return startRepl();
    default:
      process.argv = [node, '-', ...args];
      return void text(process.stdin).then((source) =>
        runCode({ source, name: '[stdin]', type: inputType, prints: false }),
      );
  }
}

/** Loaded only if it is wanted. */
function patch(): void {
  (require('../monkey/index.js') as typeof import('../monkey/index.js')).patchAll();
}

try {
  execute(parse(process.argv.slice(2), isatty(0)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`greenstack: ${error.message}\n`);
  process.exitCode = INVALID_COMMAND_LINE;
}
