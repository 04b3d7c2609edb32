/**
 * Measures greenstack beside its peers and prints one table: see README.md.
 *
 *     node bench/run.mjs [--only NAME…] [--quick] [--rounds N] [--node MAJOR,…] [--json FILE]
 *
 * @typedef {import('./contenders.mjs').Contender} Contender
 * @typedef {import('./operations.mjs').Operation} Operation
 * @typedef {import('./table.mjs').Row} Row
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hasPostgres, startPostgres } from '../scripts/services.mjs';
import { setUp } from './contenders.mjs';
import { higherIsBetter, operations } from './operations.mjs';
import { figure, table } from './table.mjs';

/** Longer than any program needs, in ms. */
const HANGING = 300_000;

const options = readOptions();
const contenders = setUp(options.nodes, say);
const machine = {
  processor: cpus()[0].model,
  cores: cpus().length,
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `${process.platform}-${process.arch} ${release()}`,
  load: loadavg()[0],
};
/** @type {Map<string, number[]>} by contender, Node version and metric */
const samples = new Map();
/** @type {string[]} */
const failures = [];

introduce();
const echo = await startServer('echo-server');
const names = await startServer('dns-server');
const identity = makeIdentity();
const postgres = await startWhatIsNeeded();
try {
  for (const operation of options.operations) await measureAll(operation);
} finally {
  await postgres?.stop();
  echo.stop();
  names.stop();
  rmSync(identity, { recursive: true });
}
conclude();

/** Prints what the figures depend on. */
function introduce() {
  const { processor, cores, memory, system, load } = machine;
  say(`${processor}, ${cores} cores, ${memory}, ${system}, load ${load.toFixed(2)}`);
  for (const { name, version, node } of contenders) {
    say(`${name} ${version}${node && node !== version ? ` on Node ${node}` : ''}`);
  }
  if (options.quick) say('A quick run, with a tenth of every count: for a look, not for quoting.');
}

/**
 * Runs every contender's program for an operation, round by round.
 *
 * @param {Operation} operation
 */
async function measureAll({ name, server, only }) {
  const program = server ?? name;
  const taking = new Set(
    contenders.filter((contender) => contender.command(program) && (only?.includes(contender.name) ?? true)),
  );
  for (let round = 1; round <= options.rounds; round++) {
    process.stderr.write(`${name} ${round}/${options.rounds}\n`);
    for (const contender of taking) {
      const succeeded = server ? await measureServer(contender, server, name) : measure(contender, name);
      if (!succeeded) taking.delete(contender);
    }
  }
}

/**
 * Runs a contender's program once and keeps its figures.
 *
 * @param {Contender} contender
 * @param {string} operation
 * @returns {boolean} whether that went well
 */
function measure(contender, operation) {
  return take(contender, operation, /** @type {string[]} */ (contender.command(operation)), contender.env);
}

/**
 * Starts a contender's server, loads it by the client that is the same for all, and keeps the figures.
 *
 * @param {Contender} contender
 * @param {string} program - the server's
 * @param {string} operation
 * @returns {Promise<boolean>} whether that went well
 */
async function measureServer(contender, program, operation) {
  const client = contenders.find(({ name }) => name === 'go');
  const load = client?.command('load');
  if (client === undefined || load === undefined) {
    failures.push(`${operation} by ${contender.name}: without Go there is no client`);
    return false;
  }
  const [command, ...args] = pinned(0, [.../** @type {string[]} */ (contender.command(program)), operation]);
  const server = spawn(command, args, {
    env: { ...process.env, ...contender.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const [line] = await Promise.race([once(server.stdout, 'data'), once(server, 'exit')]);
    const port = String(Number(line));
    return take(contender, operation, pinned(1, [...load, operation, port, String(server.pid)]), client.env);
  } finally {
    server.stdin.end();
    if (server.exitCode === null) await once(server, 'exit');
  }
}

/**
 * A command on a processor of its own, where there are several.
 *
 * @param {number} processor
 * @param {string[]} command
 */
function pinned(processor, command) {
  const canPin = cpus().length > 1 && spawnSync('taskset', ['--version']).status === 0;
  return canPin ? ['taskset', '--cpu-list', String(processor), ...command] : command;
}

/**
 * Runs a command that prints figures, and keeps them.
 *
 * @param {Contender} contender
 * @param {string} operation
 * @param {string[]} program
 * @param {Record<string, string>} [env]
 * @returns {boolean} whether that went well
 */
function take(contender, operation, [command, ...args], env) {
  const child = spawnSync(command, args, {
    env: {
      ...process.env,
      ...env,
      BENCH_SCALE: options.quick ? '0.1' : '1',
      BENCH_ECHO_PORT: String(echo.port),
      BENCH_DNS_PORT: String(names.port),
      BENCH_TLS: identity,
      BENCH_TLS_LOAD: fileURLToPath(new URL('compare/tls-load.mjs', import.meta.url)),
      BENCH_NODE: process.execPath,
    },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: HANGING,
  });
  if (child.status !== 0) {
    const how = child.signal ? `ended by ${child.signal}` : `ended with exit code ${child.status}`;
    const reason = child.error?.message ?? how;
    failures.push(`${operation} by ${contender.name} ${contender.version}: ${reason}\n${child.stderr ?? ''}`);
    return false;
  }
  for (const [key, value] of Object.entries(JSON.parse(child.stdout))) {
    const id = sampleId(contender, key);
    samples.set(id, [...(samples.get(id) ?? []), ...[value].flat()]);
  }
  return true;
}

/**
 * @param {Contender} contender
 * @param {string} key
 */
function sampleId(contender, key) {
  return `${contender.name} ${contender.node ?? ''} ${key}`;
}

/**
 * Makes a certificate for the TLS servers.
 *
 * @returns {string} the folder with `cert.pem` and `key.pem`
 */
function makeIdentity() {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-bench-'));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = ['-subj', '/CN=bench', '-keyout', 'key.pem', '-out', 'cert.pem'];
  const made = spawnSync('openssl', ['req', '-x509', ...key, ...files], { cwd: folder });
  if (made.status !== 0) say('There is no openssl to make a certificate with: TLS will not be measured.');
  return folder;
}

/** Prints the tables and the failures, and writes the JSON file. */
function conclude() {
  const nodes = [...new Set(contenders.flatMap(({ node }) => node ?? []))];
  const results = nodes.map((node) => ({
    node,
    rows: options.operations.flatMap((operation) => rowsOf(operation, node)),
  }));
  for (const { node, rows } of results) say(`\nNode ${node}\n${table(rows)}`);
  for (const failure of failures) say(`\nFAILED: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
  if (options.json === undefined) return;
  const document = {
    date: new Date().toISOString(),
    machine,
    quick: options.quick,
    rounds: options.rounds,
    contenders: contenders.map(({ name, version, node }) => ({ name, version, node })),
    results,
    failures,
  };
  writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
}

/**
 * The rows of an operation in the table for one Node version.
 *
 * @param {Operation} operation
 * @param {string} node
 * @returns {(Row & { operation: string, key: string })[]}
 */
function rowsOf(operation, node) {
  const taking = contenders.filter((contender) => !contender.node || contender.node === node);
  return operation.metrics.map(({ key, title, unit, targets = [] }) => {
    /** @type {Row['figures']} */
    const figures = {};
    for (const contender of taking) {
      const taken = samples.get(sampleId(contender, key));
      if (taken) figures[contender.name] = figure(taken, unit);
    }
    /** @type {Row['ratios']} */
    const ratios = {};
    const ours = figures.greenstack?.best ?? 0;
    for (const [name, theirs] of Object.entries(figures)) {
      if (name === 'greenstack' || unit === 'MB' || ours <= 0 || !theirs || theirs.best <= 0) continue;
      ratios[name] = higherIsBetter(unit) ? ours / theirs.best : theirs.best / ours;
    }
    /** @type {import('./operations.mjs').Best} */
    const best = (name, ofKey) => {
      const contender = taking.find((one) => one.name === name);
      const taken = contender && samples.get(sampleId(contender, ofKey));
      return taken && figure(taken, unit).best;
    };
    const verdicts = targets.flatMap(({ asks, met }) => {
      const verdict = met(best, key);
      return verdict === undefined ? [] : [{ asks, met: verdict }];
    });
    return { operation: operation.name, key, title, unit, figures, ratios, verdicts };
  });
}

/** Starts PostgreSQL, if an operation needs it; without it, takes those operations out. */
async function startWhatIsNeeded() {
  const inNeed = options.operations.filter(({ needs }) => needs === 'postgres');
  if (inNeed.length === 0) return undefined;
  if (!hasPostgres) {
    say('There is no PostgreSQL: what needs it will not be measured.');
    options.operations = options.operations.filter((operation) => !inNeed.includes(operation));
    return undefined;
  }
  const server = await startPostgres();
  process.env.BENCH_POSTGRES = server.host;
  return server;
}

/**
 * Starts a program that prints its port and ends with its standard input.
 *
 * @param {string} name
 * @returns {Promise<{ port: number, stop(): void }>}
 */
async function startServer(name) {
  const program = fileURLToPath(new URL(`compare/${name}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return { port: Number(line), stop: () => child.stdin.end() };
}

/** @param {string} line */
function say(line) {
  process.stdout.write(`${line}\n`);
}

function readOptions() {
  try {
    const { values, positionals } = parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        node: { type: 'string', default: '' },
        json: { type: 'string' },
      },
      allowPositionals: true,
    });
    const quick = values.quick === true;
    const asked = [...(values.only ?? []), ...positionals].flatMap((names) => names.split(','));
    return {
      quick,
      operations: asked.length > 0 ? asked.map(operationNamed) : operations,
      rounds: wholeNumber('--rounds', values.rounds ?? (quick ? '2' : '5')),
      nodes: (values.node ?? '').split(',').filter((major) => major !== ''),
      json: values.json,
    };
  } catch (error) {
    process.stderr.write(`${/** @type {Error} */ (error).message}\n`);
    process.exit(2);
  }
}

/** @param {string} name */
function operationNamed(name) {
  const operation = operations.find((one) => one.name === name);
  if (operation) return operation;
  throw new Error(
    `there is no operation ${name}; the operations are ${operations.map((one) => one.name).join(', ')}`,
  );
}

/**
 * @param {string} option
 * @param {string} text
 */
function wholeNumber(option, text) {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${option} takes a whole number from 1 up, got ${text}`);
}
