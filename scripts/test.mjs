/**
 * `npm test`: sets everything up and runs all tests: those of the Rust crates, the suite on every supported Node, and the
 * stress programs under hostile flags on every supported Node. Ends with one line `N passed, N failed`.
 *
 * node scripts/test.mjs [--node 20,26] [--only rust,suite,stress]
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const supportedNodes = ['20', '22', '24', '26'];

const { values } = parseArgs({ options: { node: { type: 'string' }, only: { type: 'string' } } });
const nodes = values.node?.split(',') ?? supportedNodes;
const parts = new Set(values.only?.split(',') ?? ['rust', 'suite', 'stress']);

/** Runs a command to its end. Its output is kept, or shown as it comes. */
function run(command, args, { timeout = 3_600_000, show = false, env = {} } = {}) {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const alarm = setTimeout(() => {
    output += `\nstill running after ${timeout} ms: killed\n`;
    child.kill('SIGKILL');
  }, timeout);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(alarm);
      resolve({ code: code ?? signal, output });
    });
  });
}

/** Runs a command that everything after it needs. */
async function need(command, args) {
  const { code } = await run(command, args, { show: true });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed with ${code}`);
}

function nodeBinary(major) {
  return `${root}/node_modules/node${major}/bin/node`;
}

const totals = { passed: 0, failed: 0, skipped: 0 };

function add(title, { passed, failed, skipped = 0 }, output) {
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skipped;
  console.log(
    `${failed === 0 ? 'ok  ' : 'FAIL'} ${title}: ${passed} passed, ${failed} failed, ${skipped} skipped`,
  );
  if (failed > 0) console.log(output);
}

function count(text, pattern) {
  return [...text.matchAll(pattern)].reduce((sum, [, number]) => sum + Number(number), 0);
}

/** Unit and integration tests of the crates that can run without Node. */
async function testRust() {
  const { code, output } = await run('cargo', [
    'test',
    '--workspace',
    '--exclude',
    'greenstack-node',
    '--no-fail-fast',
  ]);
  const passed = count(output, /(\d+) passed;/g);
  const failed = count(output, /(\d+) failed;/g);
  add('cargo test', { passed, failed: code === 0 ? failed : Math.max(1, failed) }, output);
}

/** The suite, by ava. */
async function testSuite(node) {
  const ava = `${root}/node_modules/ava/entrypoints/cli.mjs`;
  const { code, output } = await run(nodeBinary(node), [ava, '--tap'], { timeout: 3_600_000 });
  const lines = output.split('\n');
  const skipped = lines.filter((line) => /^ok .*# (SKIP|TODO)/.test(line)).length;
  const passed = lines.filter((line) => line.startsWith('ok ')).length - skipped;
  const failed = lines.filter((line) => line.startsWith('not ok ')).length;
  add(
    `suite on Node ${node}`,
    { passed, failed: code === 0 ? failed : Math.max(1, failed), skipped },
    failures(output),
  );
}

/** The failing tests of TAP output, each with what follows it. */
function failures(output) {
  const blocks = output.split(/^(?=(?:not )?ok )/m);
  return blocks.filter((block) => block.startsWith('not ok') || !block.startsWith('ok')).join('');
}

/** Flags under which V8 does at every opportunity what it else does rarely, and how many rounds each gets. */
const hostileFlags = [
  { flags: [], rounds: 2000 },
  { flags: ['--gc-interval=97'], rounds: 1000 },
  { flags: ['--stress-compaction'], rounds: 1000 },
  { flags: ['--stress-scavenge=50', '--stress-marking=50'], rounds: 1000 },
  { flags: ['--stress-scavenge=80', '--max-semi-space-size=1'], rounds: 1000 },
  { flags: ['--always-turbofan'], rounds: 500, nodes: ['20', '22', '24'] },
  { flags: ['--always-sparkplug'], rounds: 500 },
  { flags: ['--jitless'], rounds: 500 },
  { flags: ['--cpu-prof', '--cpu-prof-dir=build/profiles'], rounds: 500 },
  { flags: ['--heap-prof', '--heap-prof-dir=build/profiles'], rounds: 500 },
  { flags: ['--stress-wasm-code-gc', '--wasm-dynamic-tiering'], rounds: 1000 },
  { flags: ['--experimental-async-context-frame', '--stress-scavenge=80'], rounds: 1000, nodes: ['22'] },
];

/** What is used where the kernel lacks something. */
const fallbacks = ['pipe', 'guard-protection', 'guard-absent'];

const TERMINATED_WORKERS = 30;

async function testStress(node) {
  const programs = hostileFlags
    .filter((entry) => entry.nodes?.includes(node) ?? true)
    .map(({ flags, rounds }) => ({
      flags,
      program: 'everything.js',
      count: rounds,
      last: /, 0 wrong \{\}$/m,
    }));
  const ended = new RegExp(`^${TERMINATED_WORKERS} terminated$`, 'm');
  for (const fallback of fallbacks) {
    const env = { GREENSTACK_FORCE_FALLBACK: fallback };
    programs.push({ flags: [], env, program: 'everything.js', count: 300, last: /, 0 wrong \{\}$/m });
  }
  for (const flags of [[], ['--stress-scavenge=50'], ['--gc-interval=97']]) {
    programs.push({ flags, program: 'terminated-workers.js', count: TERMINATED_WORKERS, last: ended });
  }
  for (const { flags, env = {}, program, count: rounds, last } of programs) {
    const args = [...flags, `${root}/build/stress/${program}`, String(rounds)];
    const { code, output } = await run(nodeBinary(node), args, { timeout: 1_200_000, env });
    const passed = code === 0 && last.test(output) ? 1 : 0;
    add(
      `${[program, 'on Node', node, ...flags, ...Object.values(env)].join(' ')}`,
      { passed, failed: 1 - passed },
      output,
    );
  }
}

if (!existsSync(`${root}/node_modules/.package-lock.json`)) {
  // Not `npm ci`, which refuses a lock file that was made where the packages of other platforms were out of reach. Warnings
  // would be about packages of our tools that do not promise to run on Node 20, though what we use of them does.
  await need('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']);
}
if (parts.has('suite')) {
  await need(process.execPath, ['scripts/services.mjs']);
  await need(process.execPath, ['scripts/test-runners.mjs']);
}
if (parts.has('rust')) await testRust();
if (parts.has('suite') || parts.has('stress')) {
  await need('npm', ['run', 'build']);
  await need('npx', ['tsc', '-p', 'tsconfig.test.json']);
}
for (const node of nodes) {
  if (parts.has('suite')) await testSuite(node);
  if (parts.has('stress')) await testStress(node);
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
