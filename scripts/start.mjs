/**
 * `npm start`: sets up whatever is missing and runs the tour (examples/tour).
 *
 * Plain JavaScript without dependencies, since on a fresh clone it runs before anything is installed or compiled.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MAX_GREENLETS = 10_000;
const USAGE_ERROR = 2;
const USAGE = `npm start [-- [--greenlets N] [URL…]]

Sets up greenstack (dependencies, native module) and runs its tour: greenlets that look names up, connect and
read pages all at once, in plain synchronous code. Pages and names come from embedded servers, or are the URLs'.

  URL            http:// or https:// pages to read instead of the embedded ones
  --greenlets N  how many read at once, 1 to ${MAX_GREENLETS} (default: 1000; with URLs one for each, with N they take turns)
  --help         this text`;
const SEE_HELP = "'npm start -- --help' tells what there is.";

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const tourArguments = checkedArguments();
const node = nodeToUse();
const platform = checkedPlatform();

if (!existsSync(join(ROOT, 'node_modules', '.package-lock.json'))) {
  // Not `npm ci`, which refuses a lock file that was made where the packages of other platforms were out of reach. Warnings
  // would be about packages of our tools that do not promise to run on Node 20, though what we use of them does.
  step('Installing the dependencies', 'npm', [
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
}
if (!hasNativeModule()) {
  requireCargo();
  step('Building the native module and the library, which takes a minute or two', 'npm', ['run', 'build']);
}
if (isOlder('dist/index.js', ['src', 'tsconfig.json'])) compile('the library', 'tsconfig.json');
if (isOlder('build/examples/tour/main.mjs', ['examples', 'tsconfig.examples.json'])) {
  compile('the tour', 'tsconfig.examples.json');
}
runTour();

/** The command line, as it is handed on to the tour. Ends the process if there is nothing to run. */
function checkedArguments() {
  const { values, positionals } = parsedArguments();
  if (values.help) {
    console.log(USAGE);
    process.exit();
  }
  const mistakes = positionals.flatMap((text) => mistakeInUrl(text) ?? []);
  const count = values.greenlets;
  if (count !== undefined && !(/^\d+$/.test(count) && count >= 1 && count <= MAX_GREENLETS)) {
    mistakes.push(`--greenlets must be a whole number from 1 to ${MAX_GREENLETS}, got '${count}'`);
  }
  if (mistakes.length > 0) fail(`${mistakes.join('\n')}\n${SEE_HELP}`, USAGE_ERROR);
  return [...(count === undefined ? [] : ['--greenlets', count]), '--', ...positionals];
}

function parsedArguments() {
  const options = { help: { type: 'boolean', short: 'h' }, greenlets: { type: 'string' } };
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return fail(`${error.message}\n${SEE_HELP}`, USAGE_ERROR);
  }
}

function mistakeInUrl(text) {
  if (!/^https?:\/\//i.test(text)) return `'${text}' is not a URL that begins with http:// or https://`;
  if (!URL.canParse(text)) return `'${text}' is not a valid URL`;
  const { username, password } = new URL(text);
  if (username || password) return `'${text}' contains a user name or password, which the tour does not send`;
}

/**
 * The Node that was asked for.
 *
 * npm puts node_modules/.bin first in PATH, where `node` is one of those that the tests run on; it tells its own apart.
 */
function nodeToUse() {
  const { npm_lifecycle_event: script, npm_node_execpath: npmsOwn } = process.env;
  const path = script === 'start' && npmsOwn ? npmsOwn : process.execPath;
  const version = spawnSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).stdout.trim();
  if (!satisfies(version, manifest.engines.node)) {
    fail(`greenstack needs Node ${manifest.engines.node}, and this is ${version} (${path}).`);
  }
  return path;
}

/** Whether `version` is in `range`, which consists of `^major` and `^major.minor`. */
function satisfies(version, range) {
  const [major, minor] = version.split('.').map(Number);
  return range.split('||').some((part) => {
    const [wantedMajor, leastMinor = 0] = part.trim().slice(1).split('.').map(Number);
    return major === wantedMajor && minor >= leastMinor;
  });
}

/** Such as `linux-x64-gnu`: how this platform is called in the names of binaries. */
function checkedPlatform() {
  const abi = { linux: libc, win32: () => 'msvc' }[process.platform];
  const here = [process.platform, process.arch, abi?.()].filter(Boolean).join('-');
  const supported = manifest.napi.targets.map(platformOf);
  if (!supported.includes(here)) fail(`greenstack runs on ${supported.join(', ')}; this is ${here}.`);
  return here;
}

function libc() {
  return process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
}

/** `x86_64-unknown-linux-gnu`, as Rust says, is `linux-x64-gnu`. */
function platformOf(target) {
  const [cpu, , system, abi] = target.split('-');
  const arch = { x86_64: 'x64', aarch64: 'arm64' }[cpu] ?? cpu;
  const name = { windows: 'win32' }[system] ?? system;
  return [name, arch, abi].filter(Boolean).join('-');
}

/** Whether there is one that was built from these sources, or else a prebuilt one of this version. */
function hasNativeModule() {
  const built = `greenstack.${platform}.node`;
  if (existsSync(join(ROOT, built))) return !isOlder(built, ['crates', 'Cargo.toml', 'Cargo.lock']);
  const prebuilt = join(ROOT, 'node_modules', `greenstack-${platform}`, 'package.json');
  return existsSync(prebuilt) && JSON.parse(readFileSync(prebuilt, 'utf8')).version === manifest.version;
}

/** Whether `product` is missing, or was made before one of the files in `sources` was changed last. */
function isOlder(product, sources) {
  const made = modified(join(ROOT, product));
  return sources.some((source) => filesOf(join(ROOT, source)).some((file) => modified(file) > made));
}

function filesOf(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true }).map((name) => join(path, name));
}

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;
}

function requireCargo() {
  if (spawnSync('cargo', ['--version']).status === 0) return;
  fail(`There is no prebuilt native module for this version, and building it needs Rust, whose 'cargo' was not found.
Install Rust from https://rustup.rs and run npm start again.`);
}

function compile(what, project) {
  step(`Compiling ${what}`, node, [
    join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
    '--project',
    project,
  ]);
}

/** Runs a command, or ends the process if it fails. */
function step(title, command, args) {
  console.log(title);
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail(`'${[command, ...args].join(' ')}' failed${error ? `: ${error.message}` : ''}.`);
}

/** Runs the tour and ends as it does. */
function runTour() {
  const tour = spawn(node, [join(ROOT, 'build', 'examples', 'tour', 'main.mjs'), ...tourArguments], {
    stdio: 'inherit',
  });
  process.on('SIGINT', () => {}); // Ctrl-C goes to the tour as well, which ends in its own way
  process.on('SIGTERM', () => tour.kill('SIGTERM'));
  tour.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

function fail(message, code = 1) {
  console.error(message);
  process.exit(code);
}
