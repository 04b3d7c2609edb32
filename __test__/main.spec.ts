import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { version } from 'greenstack';
import {
  COMMAND,
  comparable,
  folderOf,
  launch,
  type LaunchOptions,
  MAIN,
  MONKEY,
  PACKAGE,
  removeFolder,
} from './support/launch.js';

const stripsTypes = Boolean((process.features as { typescript?: unknown }).typescript);
const GREENSTACK = JSON.stringify(PACKAGE);
const require_ = `const { sleep, waitFor, getCurrent, spawn } = require(${GREENSTACK});`;
const import_ = `import { sleep, waitFor, getCurrent, spawn } from ${JSON.stringify(join(PACKAGE, 'index.js'))};`;

type Files = Readonly<Record<string, string>>;

/** Makes a folder for a test, which is removed after it. */
function folderFor(t: ExecutionContext, files: Files): string {
  const folder = folderOf(files);
  t.teardown(() => removeFolder(folder));
  return folder;
}

/** The ways to run a script, by what comes before it. */
const WAYS: Readonly<Record<string, string[]>> = {
  'the command': [COMMAND],
  '-r': ['-r', MAIN],
  '--import': ['--import', MAIN],
};

interface Same extends LaunchOptions {
  files: Files;
  args: string[];
  /** Options of Node's. */
  flags?: string[];
  ways?: string[];
}

/** Runs a program by `node` and in the ways of greenstack, and compares what they print and how they end. */
function same(title: string, { files, args, flags = [], ways = ['the command'], ...options }: Same): void {
  test(`as node: ${title}`, async (t) => {
    const cwd = folderFor(t, files);
    const [expected, ...outcomes] = await Promise.all(
      [[], ...ways.map((way) => WAYS[way]!)].map((way) =>
        launch([...flags, ...way, ...args], { cwd, ...options }),
      ),
    );
    outcomes.forEach((outcome, index) =>
      t.deepEqual(comparable(outcome), comparable(expected!), ways[index]),
    );
  });
}

/** Runs a program in the ways of greenstack; each has to print these lines and succeed. */
function prints(
  title: string,
  { files, args, flags = [], ways = ['the command'], ...options }: Same,
  lines: string[],
): void {
  test(title, async (t) => {
    const cwd = folderFor(t, files);
    const outcomes = await Promise.all(
      ways.map((way) => launch([...flags, ...WAYS[way]!, ...args], { cwd, ...options })),
    );
    outcomes.forEach((outcome, index) => {
      t.deepEqual(
        outcome,
        { code: 0, signal: null, stdout: lines.map((line) => `${line}\n`).join(''), stderr: '' },
        ways[index],
      );
    });
  });
}

const all = Object.keys(WAYS);

// Blocking at the top level

prints(
  'the top level of a CommonJS script may block',
  {
    files: {
      'a.js': `${require_}\nsetTimeout(() => console.log('timer'), 1); sleep(20); console.log(String(getCurrent()), waitFor(Promise.resolve(7)))`,
    },
    args: ['a.js'],
    ways: all,
  },
  ['timer', '<Greenlet "main": (anonymous)() running> 7'],
);

prints(
  'the top levels of ES modules may block',
  {
    files: {
      'a.mjs': `${import_}\nimport { value } from './b.mjs'; import c from './c.cjs'; sleep(1); console.log(value, c, waitFor(Promise.resolve(7)))`,
      'b.mjs': `${import_}\nsetTimeout(() => console.log('timer'), 1); sleep(20); export const value = getCurrent().name;`,
      'c.cjs': `${require_} sleep(1); module.exports = 'c';`,
    },
    args: ['a.mjs'],
    ways: all,
  },
  ['timer', 'main c 7'],
);

prints(
  'the program goes on when the top level has ended',
  {
    files: {
      'a.js': `${require_}
spawn(() => { sleep(20); console.log('greenlet'); });
process.on('beforeExit', () => console.log('beforeExit'));
process.on('exit', (code) => console.log('exit', code));
process.nextTick(() => console.log('tick'));
Promise.resolve().then(() => console.log('promise'));
console.log('end');`,
    },
    args: ['a.js'],
  },
  ['end', 'tick', 'promise', 'greenlet', 'beforeExit', 'exit 0'],
);

// As node

same('what a CommonJS script finds', {
  files: {
    'a.js': `console.log(require.main === module, module.id, module.parent, __filename, process.argv, module.paths, typeof exports, this === exports, process.mainModule === module, require.cache[__filename] === module, module.children.length, require('./b').parent);`,
    'b.js': 'exports.parent = module.parent.id; exports.main = require.main.filename;',
  },
  args: ['a.js', '--patch', '-x', 'one'],
  ways: all,
});

same('what an ES module finds', {
  files: {
    'a.mjs': `#!/usr/bin/env node
import { createRequire } from 'node:module'; import * as b from './b.mjs';
console.log(import.meta.url, import.meta.filename, import.meta.dirname, import.meta.resolve('./x.mjs'), process.argv, typeof require, typeof this, process.mainModule, createRequire(import.meta.url).main, b.main, import.meta);
console.log(import.meta.main, json, new Error().stack.split('\\n')[1]);
import json from './c.json' with { type: 'json' };`,
    'b.mjs': 'export const main = import.meta.main; export default 1;',
    'c.json': '{"x":1}',
  },
  args: ['a.mjs', 'one'],
  ways: all,
});

same('a script in a folder', {
  files: { 'app/index.js': 'console.log(__filename, process.argv)' },
  args: ['app'],
});
same('a script in a folder with a package.json', {
  files: {
    'app/package.json': '{"main":"lib/x.js"}',
    'app/lib/x.js': 'console.log(__filename, process.argv)',
  },
  args: ['./app'],
});
same('a script without its extension', {
  files: { 'a.js': 'console.log(__filename, process.argv)' },
  args: ['a'],
});
same('a file without extension', {
  files: { tool: '#!/usr/bin/env node\nconsole.log(__filename, require.main === module)' },
  args: ['tool'],
});
same('an ES module by the type of its package', {
  files: {
    'package.json': '{"type":"module"}',
    'a.js': 'import "./b.js"; console.log(import.meta.url)',
    'b.js': 'console.log("b", import.meta.url)',
  },
  args: ['a.js'],
  ways: all,
});
same('an ES module by its syntax', {
  files: {
    'a.js': 'import { b } from "./b.mjs"; console.log(b, import.meta.url, process.mainModule)',
    'b.mjs': 'export const b = 1',
  },
  args: ['a.js'],
});
same('a JSON file', { files: { 'a.json': '{}' }, args: ['a.json'] });

if (process.allowedNodeEnvironmentFlags.has('--entry-url'))
  same('a script given by its address', {
    files: { 'a b.mjs': 'console.log(import.meta.url)' },
    flags: ['--entry-url', '--no-warnings'],
    args: ['./a%20b.mjs'],
    ways: ['-r'],
  });
for (const flags of [[], ['--preserve-symlinks-main']]) {
  test(`as node: a script behind a link ${flags.join()}`, async (t) => {
    const cwd = folderFor(t, {
      'a/b.js': 'console.log(__filename); require("./c")',
      'a/c.js': 'console.log(__filename)',
    });
    symlinkSync('a/b.js', join(cwd, 'link.js'));
    const ways = [flags, [COMMAND, ...flags], ['-r', MAIN, ...flags]];
    const [expected, ...outcomes] = await Promise.all(
      ways.map((way) => launch([...way, 'link.js'], { cwd })),
    );
    for (const outcome of outcomes) t.deepEqual(comparable(outcome), comparable(expected!));
  });
}

// Errors

same('an error of a CommonJS script', {
  files: { 'a.js': '\nfunction f() {\n  throw new TypeError("wrong");\n}\nf();' },
  args: ['a.js'],
  ways: all,
});
same('an error with a cause and properties', {
  files: { 'a.js': 'throw Object.assign(new Error("x", { cause: new Error("y") }), { code: "E_X" })' },
  args: ['a.js'],
});
for (const [name, value] of [
  ['string', '"text"'],
  ['null', 'null'],
  ['object', '{ a: 1 }'],
] as const) {
  same(`a thrown ${name}`, { files: { 'a.js': `\n  throw ${value};` }, args: ['a.js'] });
}
same('an error that is thrown again', {
  files: { 'a.js': 'let error;\ntry { null.x } catch (e) { error = e }\nthrow error' },
  args: ['a.js'],
});
same('an error of an ES module', {
  files: { 'a.mjs': '\nfunction f() {\n  throw new TypeError("wrong");\n}\nf();' },
  args: ['a.mjs'],
  ways: all,
});
same('an error of a module that is imported', {
  files: { 'a.mjs': 'import "./b.mjs"', 'b.mjs': 'throw new Error("b")' },
  args: ['a.mjs'],
});
same('a syntax error', { files: { 'a.js': 'let x = 1;\nlet y = ;\n' }, args: ['a.js'] });
same('a syntax error of an ES module', { files: { 'a.mjs': 'let x = 1;\nlet y = ;\n' }, args: ['a.mjs'] });
same('an export that is missing', {
  files: { 'a.mjs': 'import { x } from "./b.mjs";', 'b.mjs': '' },
  args: ['a.mjs'],
});
same('a module that is missing', { files: { 'a.mjs': 'import "./b.mjs";' }, args: ['a.mjs'] });
same('a script that is missing', { files: {}, args: ['a.js'] });
same('a script that is an empty folder', { files: { 'app/x.txt': '' }, args: ['app'] });
same('a rejection that nobody handles', {
  files: { 'a.js': 'Promise.reject(new Error("rejected")); console.log("end")' },
  args: ['a.js'],
});
same('listeners for uncaught errors', {
  files: {
    'a.js': `process.on('uncaughtException', (error, origin) => console.log('caught', error.message, origin, error.stack.split('\\n')[0]));
setTimeout(() => console.log('goes on'), 1); throw new Error('x')`,
  },
  args: ['a.js'],
});
for (const event of ['uncaughtException', 'unhandledRejection']) {
  same(`a listener for ${event} and an error of an ES module`, {
    files: {
      'a.mjs': `process.on('${event}', (error, origin) => console.log('caught', error.message, String(origin)));
setTimeout(() => console.log('goes on'), 1); throw new Error('x')`,
    },
    args: ['a.mjs'],
  });
}
same('exit codes', {
  files: { 'a.js': 'process.exitCode = 3; process.on("exit", (code) => console.log(code))' },
  args: ['a.js'],
});
same('process.exit()', {
  files: {
    'a.mjs': 'process.on("exit", (code) => console.log(code)); process.exit(4); console.log("never")',
  },
  args: ['a.mjs'],
});
same('warnings', { files: { 'a.js': 'process.emitWarning("careful")' }, args: ['a.js'] });
same('an unknown option', { files: { 'a.js': '' }, args: ['--no-such-option', 'a.js'] });

// How it ends

for (const way of ['the command', '-r']) {
  test(`${way}: a top level that would wait for ever is an uncaught LoopExit`, async (t) => {
    const cwd = folderFor(t, { 'a.js': `${require_}\nwaitFor(new Promise(() => {}));` });
    const { code, stderr } = await launch([...WAYS[way]!, 'a.js'], { cwd });
    t.is(code, 1);
    t.regex(stderr, /LoopExit: the main greenlet would wait for ever[^]*waitFor of a promise[^]*a\.js:2/);
    t.regex(stderr, /code: 'ERR_GREENSTACK_LOOP_EXIT'/);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${way}: ${signal} ends a parked top level, whose finally blocks run`, async (t) => {
      const cwd = folderFor(t, {
        'a.js': `${require_} try { console.log('ready'); sleep(60_000) } finally { console.log('finally') }`,
      });
      const outcome = await launch([...WAYS[way]!, 'a.js'], { cwd, signalWhenReady: signal });
      t.deepEqual(outcome, { code: null, signal, stdout: 'ready\nfinally\n', stderr: '' });
    });
  }
}

prints(
  'process.exit() of a greenlet while the top level is parked',
  {
    files: { 'a.js': `${require_} spawn(() => { console.log('greenlet'); process.exit() }); sleep(60_000);` },
    args: ['a.js'],
  },
  ['greenlet'],
);

prints(
  'a listener for uncaught errors may block',
  {
    files: {
      'a.js': `${require_} process.on('uncaughtException', (error) => { sleep(1); console.log('caught', error.message); spawn(() => { sleep(1); console.log('goes on') }) });
sleep(1); throw new Error('x')`,
    },
    args: ['a.js'],
  },
  ['caught x', 'goes on'],
);

prints(
  'a killed top level is no failure',
  {
    files: {
      'a.js': `${require_} const main = getCurrent(); setTimeout(() => main.kill(undefined, { block: false }), 1); sleep(60_000);`,
    },
    args: ['a.js'],
  },
  [],
);

for (const way of ['the command', '-r'] as const) {
  test(`${way}: await at the top level is refused`, async (t) => {
    const cwd = folderFor(t, { 'a.mjs': 'import "./b.mjs"; console.log("never")', 'b.mjs': 'await 1;' });
    const { code, stdout, stderr } = await launch([...WAYS[way]!, 'a.mjs'], { cwd });
    t.deepEqual([code, stdout], [1, '']);
    t.regex(stderr, /a\.mjs, or a module that it imports, uses await at its top level/);
    t.regex(stderr, /code: 'ERR_GREENSTACK_TOP_LEVEL_AWAIT'/);
  });
}

prints(
  'modules that are being evaluated can be imported as in a cycle, and afterwards',
  {
    files: {
      'a.mjs': `${import_}
const seen = async (name) => { try { return Object.keys(await import(name)).join() } catch (error) { return error.message } };
const first = new Promise((resolve) => {
  setTimeout(async () => resolve(console.log(await seen('./b.mjs'), await seen('./a.mjs'))), 1);
});
waitFor(first);
console.log('end');
setImmediate(async () => console.log(await seen('./b.mjs'), await seen('./a.mjs'), await seen('./c.mjs')));
export const x = 1;`,
      'b.mjs': 'import "./a.mjs"; export const b = 1;',
      'c.mjs': 'import "./b.mjs"; export const c = 1;',
    },
    args: ['a.mjs'],
    ways: all,
  },
  ["b Cannot access 'x' before initialization", 'end', 'b x c'],
);

prints(
  'whoever requires a module that another greenlet is loading waits for it',
  {
    files: {
      'a.js': `${require_} const { idle, joinAll } = require(${GREENSTACK});
let open; globalThis.gate = new Promise((resolve) => (open = resolve));
const load = () => JSON.stringify(require('./b'));
const [first, second, third] = [spawn(load), spawn(load), spawn(load)];
idle(); third.kill(); open(); joinAll([first, second]);
console.log(first.value, second.value, third.value.name);
setImmediate(() => console.log(load()));`,
      'b.js': `${require_} exports.x = 1; waitFor(gate); exports.y = 2;`,
    },
    args: ['a.js'],
  },
  ['{"x":1,"y":2} {"x":1,"y":2} GreenletExit', '{"x":1,"y":2}'],
);

prints(
  'a module that fails to load is loaded again by who has waited for it',
  {
    files: {
      'a.js': `${require_} const { joinAll } = require(${GREENSTACK}); let times = 0; globalThis.load = () => ++times;
const load = () => { try { return require('./b') } catch (error) { return error.message } };
const both = [spawn(load), spawn(load)]; joinAll(both); console.log(both.map(({ value }) => value).join());`,
      'b.js': `${require_} const time = load(); sleep(1); if (time === 1) throw new Error('failed'); module.exports = time;`,
    },
    args: ['a.js'],
  },
  ['failed,2'],
);

prints(
  'greenlets that load the modules of a cycle do not wait for each other for ever',
  {
    files: {
      'a.js': `${require_} const { joinAll } = require(${GREENSTACK});
const both = [spawn(() => require('./b')), spawn(() => require('./c'))]; joinAll(both);
console.log(both.map(({ value }) => value.name).join());`,
      'b.js': `${require_} exports.name = 'b'; sleep(1); require('./c'); sleep(1);`,
      'c.js': `${require_} exports.name = 'c'; sleep(1); require('./b'); sleep(1);`,
    },
    args: ['a.js'],
  },
  ['b,c'],
);

// Patched

prints(
  '--patch: what would stop the process parks the top level',
  {
    files: {
      'a.js': `${require_} const { isModulePatched } = require(${JSON.stringify(MONKEY)});
let turns = 0; const other = spawn(() => { for (;;) { sleep(0); turns++ } });
require('node:child_process').execSync('sleep 0.05'); other.kill();
console.log(isModulePatched('fs'), turns > 1);`,
    },
    args: ['--patch', 'a.js'],
  },
  ['true true'],
);

for (const way of [
  ['-r', MONKEY],
  [COMMAND, '--patch'],
]) {
  test(`greenlets that require the same module when fs is patched: ${way[0] === COMMAND ? '--patch' : '-r'}`, async (t) => {
    const cwd = folderFor(t, {
      'a.js': `const { run, joinAll, spawn } = require(${GREENSTACK});
run(() => {
  const all = [1, 2, 3].map(() => spawn(() => require('./b').length)); joinAll(all);
  console.log(all.map(({ value }) => value).join());
});`,
      'b.js': `exports.half = true; exports.length = require('node:fs').readFileSync(__filename, 'utf8').slice(0, 7).length;`,
    });
    const outcome = await launch([...way, 'a.js'], { cwd });
    t.deepEqual(outcome, { code: 0, signal: null, stdout: '7,7,7\n', stderr: '' });
  });
}

test('--patch with options of Node', async (t) => {
  const code = `require(${JSON.stringify(MONKEY)}).isModulePatched('fs')`;
  const cwd = folderFor(t, { 'a.js': `console.log(${code})` });
  const outcomes = await Promise.all([
    launch([COMMAND, '--patch', '--no-deprecation', 'a.js'], { cwd }),
    launch([COMMAND, '--no-deprecation', '--patch', '-p', code], { cwd }),
  ]);
  for (const outcome of outcomes)
    t.deepEqual(outcome, { code: 0, signal: null, stdout: 'true\n', stderr: '' });
});

// Types

const typed: Files = {
  'a.ts': `${require_} const x: number = 1; sleep(1); console.log(x, require.main === module);`,
  'b.mts': `${import_} import type { X } from './x.mts'; const x: number = 1; sleep(1); console.log(x, import.meta.main);`,
  'c.cts': `${require_} const x: number = 1; sleep(1); console.log(x, require.main === module);`,
  'd.ts': `${import_} const x: number = 1; sleep(1); console.log(x, typeof require);`,
};
for (const file of Object.keys(typed)) {
  if (stripsTypes) {
    test(`types are stripped: ${file}`, async (t) => {
      const cwd = folderFor(t, typed);
      const { stdout, code } = await launch(['--disable-warning=ExperimentalWarning', COMMAND, file], {
        cwd,
      });
      t.is(code, 0);
      t.is(stdout, file === 'd.ts' ? '1 undefined\n' : '1 true\n');
    });
  } else {
    test(`types that nobody strips are refused: ${file}`, async (t) => {
      const cwd = folderFor(t, typed);
      const { stderr, code } = await launch([COMMAND, file], { cwd });
      t.is(code, 1);
      t.true(stderr.includes(`${file}: Node ${process.version} does not strip types`));
      t.regex(stderr, /code: 'ERR_GREENSTACK_TYPESCRIPT'/);
    });
  }
}

// Code that is no file

same('-e', {
  files: {},
  args: [
    '-e',
    'console.log(process.argv.slice(1), __filename, module.id, require("node:path").sep)',
    'one',
    'two',
  ],
});
same('-p', {
  files: {},
  args: ['-p', '[1, process.argv.length, module.paths[0]]', 'one'],
});
same('an error of -e', { files: {}, args: ['-e', '\n  throw new Error("x")'] });
// Where Node strips types, it adds what its parser of types says.
if (!stripsTypes) same('a syntax error of -e', { files: {}, args: ['-e', 'let x = ;'] });
same('an ES module from the command line', {
  files: {},
  args: ['--input-type=module', '-e', 'import { sep } from "node:path"; console.log(sep, typeof require)'],
});
same('a script from stdin', {
  files: {},
  args: ['-', 'one'],
  input: 'console.log(process.argv.slice(1), __filename)',
});

prints(
  'code from the command line may block',
  { files: {}, args: ['-p', `${require_} sleep(1); getCurrent().name`] },
  ['main'],
);
prints(
  'an ES module from stdin may block',
  {
    files: {},
    args: [],
    input: `${import_} sleep(1); console.log(getCurrent().name)`,
  },
  ['main'],
);

// Options of Node's

test('options of Node are passed on, with the exit code', async (t) => {
  const cwd = folderFor(t, {
    'a.js': `${require_} sleep(1); console.log(process.env.FROM_FILE, process.argv.slice(2), getCurrent().name); process.exit(7)`,
    '.env': 'FROM_FILE=yes',
  });
  const outcome = await launch([COMMAND, '--env-file=.env', '--enable-source-maps', 'a.js', '--one'], {
    cwd,
  });
  t.deepEqual(outcome, { code: 7, signal: null, stdout: "yes [ '--one' ] main\n", stderr: '' });
});

test('with options of Node, code from the command line may block', async (t) => {
  const outcome = await launch([
    COMMAND,
    '--no-warnings',
    '-p',
    `${require_} sleep(1); process.execArgv[0]`,
    'x',
  ]);
  t.deepEqual(outcome, { code: 0, signal: null, stdout: '--no-warnings\n', stderr: '' });
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`with options of Node, ${signal} is passed on, and the command ends by it`, async (t) => {
    const cwd = folderFor(t, {
      'a.js': `${require_} try { console.log('ready'); sleep(60_000) } finally { console.log('finally') }`,
    });
    const outcome = await launch([COMMAND, '--no-warnings', 'a.js'], { cwd, signalWhenReady: signal });
    t.deepEqual(outcome, { code: null, signal, stdout: 'ready\nfinally\n', stderr: '' });
  });
}

test('other modules are preloaded before the script', async (t) => {
  const cwd = folderFor(t, {
    'r.js': 'console.log("required")',
    'i.mjs': 'await 1; console.log("imported")',
    'a.js': `${require_} sleep(1); console.log(getCurrent().name, require.main === module)`,
  });
  const { stdout, stderr } = await launch([COMMAND, '-r', './r.js', '--import', './i.mjs', 'a.js'], { cwd });
  t.deepEqual([stdout, stderr], ['required\nimported\nmain true\n', '']);
});

test('lines of source maps are shown', async (t) => {
  const map = {
    version: 3,
    sources: ['a.original'],
    sourcesContent: ['\n\n\n\nthrow it'],
    names: [],
    mappings: 'AAIA',
  };
  const cwd = folderFor(t, {
    'a.js': `throw new Error('mapped');\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}`,
  });
  const { code, stderr } = await launch([COMMAND, '--enable-source-maps', 'a.js'], { cwd });
  t.is(code, 1);
  t.regex(stderr, /^\S+a\.original:5\nthrow it\n\^/);
});

test('--test runs test files whose top levels may block', async (t) => {
  const cwd = folderFor(t, {
    'a.test.js': `${require_} const { test } = require('node:test'); sleep(1); const { name } = getCurrent(); test('in ' + name, () => {});`,
  });
  const { code, stdout } = await launch([COMMAND, '--test', '--test-reporter=tap', 'a.test.js'], { cwd });
  t.is(code, 0);
  t.regex(stdout, /ok 1 - in main/);
});

test('--inspect-brk stops before the script', async (t) => {
  const cwd = folderFor(t, { 'a.js': 'console.log("runs")' });
  const port = await new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, [COMMAND, '--inspect-brk=127.0.0.1:0', 'a.js'], { cwd });
    t.teardown(() => child.kill());
    let said = '';
    child.on('exit', () => reject(new Error(`it has ended\n${said}`)));
    child.stdout.on('data', () => reject(new Error('the script runs')));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const found = /ws:\/\/127\.0\.0\.1:(\d+)\//.exec(said);
      if (found !== null) resolve(found[1]!);
    });
  });
  const response = await fetch(`http://127.0.0.1:${port}/json/list`);
  const [target] = (await response.json()) as [{ title: string; url: string }];
  t.true(target.url.endsWith('/a.js'));
});

test('--watch runs the script again when it changes', async (t) => {
  const cwd = folderFor(t, { 'a.js': `${require_} sleep(1); console.log('first', getCurrent().name)` });
  const child = spawn(process.execPath, [COMMAND, '--watch', 'a.js'], { cwd });
  t.teardown(() => child.kill());
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const hasSaid = async (text: string): Promise<void> => {
    while (!said.includes(text)) await once(child.stdout, 'data');
  };
  await hasSaid('first main');
  // Until it is noticed: the watching may begin a moment later.
  const writing = setInterval(() => {
    writeFileSync(join(cwd, 'a.js'), `${require_} sleep(1); console.log('second', getCurrent().name)`);
  }, 300);
  t.teardown(() => clearInterval(writing));
  await hasSaid('second main');
  clearInterval(writing);
  child.kill();
  await once(child, 'exit');
  t.pass();
});

prints(
  'worker threads are left as they are',
  {
    files: {
      'a.js': `${require_} const { Worker } = require('node:worker_threads');
const worker = new Worker('./b.js'); waitFor(new Promise((resolve) => worker.on('exit', resolve))); console.log('end')`,
      'b.js': `${require_} console.log(getCurrent())`,
    },
    args: ['a.js'],
  },
  ['null', 'end'],
);

prints(
  'the top level of what is forked may block, too',
  {
    files: {
      'a.js': `const { fork } = require('node:child_process'); fork('./b.js', ['one']).on('exit', (code) => console.log('end', code));`,
      'b.js': `${require_} sleep(1); console.log(getCurrent().name, process.argv[2]);`,
    },
    args: ['a.js'],
    ways: all,
  },
  ['main one', 'end 0'],
);

test('a server may be served at the top level until a signal comes', async (t) => {
  const cwd = folderFor(t, {
    'a.js': `const { StreamServer } = require(${JSON.stringify(join(PACKAGE, 'dist', 'server.js'))});
const server = new StreamServer('127.0.0.1:0', (socket) => socket.sendAll('hello'));
server.start(); console.log(server.address.port); server.serveForever();`,
  });
  const child = spawn(process.execPath, [COMMAND, 'a.js'], { cwd });
  t.teardown(() => child.kill('SIGKILL'));
  const [port] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const hello = await text(connect(Number(port), '127.0.0.1'));
  t.is(hello, 'hello');
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
});

test('greenstack/main in a program that runs is refused', async (t) => {
  const { code, stderr } = await launch(['-e', `require(${JSON.stringify(MAIN)})`]);
  t.is(code, 1);
  t.regex(stderr, /code: 'ERR_GREENSTACK_NOT_PRELOADED'/);
});

// The command

test('package.json names the command', (t) => {
  const { bin, files } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as {
    bin: { greenstack: string };
    files: string[];
  };
  t.is(join(PACKAGE, bin.greenstack), COMMAND);
  t.true(files.includes(bin.greenstack.split('/')[0]!));
  t.true(readFileSync(COMMAND, 'utf8').startsWith('#!/usr/bin/env node\n'));
});

test('--version', async (t) => {
  const { stdout, code } = await launch([COMMAND, '--version']);
  t.is(stdout, `greenstack ${version} on node ${process.version}\n`);
  t.is(code, 0);
});

for (const option of ['-h', '--help']) {
  test(option, async (t) => {
    const { stdout, code } = await launch([COMMAND, option]);
    t.regex(stdout, /^Usage: greenstack /);
    t.is(code, 0);
  });
}

for (const [args, message] of [
  [['-e'], '-e requires an argument'],
  [['--import'], '--import requires an argument'],
  [['--input-type=json', '-e', '1'], '--input-type must be commonjs or module, got json'],
] as const) {
  test(`a wrong command line: ${args.join(' ')}`, async (t) => {
    t.deepEqual(await launch([COMMAND, ...args]), {
      code: 9,
      signal: null,
      stdout: '',
      stderr: `greenstack: ${message}\n`,
    });
  });
}

test('a script whose name begins with a dash', async (t) => {
  const cwd = folderFor(t, { '-a.js': 'console.log(process.argv.slice(2))' });
  const { stdout } = await launch([COMMAND, '--', '-a.js', '-i'], { cwd });
  t.is(stdout, "[ '-i' ]\n");
});

// The REPL

/** What a REPL prints for lines from a pipe, without its prompts. */
async function replOf(t: ExecutionContext, lines: string[]): Promise<string[]> {
  const cwd = folderFor(t, {});
  const { stdout, stderr, code } = await launch([COMMAND, '-i'], {
    cwd,
    input: lines.map((line) => `${line}\n`).join(''),
  });
  t.deepEqual([code, stderr], [0, '']);
  return stdout
    .replaceAll(/^(?:> |\.\.\. |\| )+/gm, '')
    .split('\n')
    .slice(2)
    .filter((line) => line !== '');
}

test('lines of the REPL may block, one after another', async (t) => {
  const printed = await replOf(t, [
    'let order = []; const { sleep, getCurrent, waitFor } = greenstack',
    'setTimeout(() => order.push("timer"), 1); sleep(20); order.push(1)',
    'order.push(waitFor(Promise.resolve(2)))',
    'order',
  ]);
  t.deepEqual(printed, ['undefined', '2', '3', "[ 'timer', 1, 2 ]"]);
});

test('the REPL takes functions of several lines, await, errors and keywords', async (t) => {
  const printed = await replOf(t, [
    'function f() {',
    '  greenstack.sleep(1)',
    '  return 5',
    '}',
    'f()',
    '_ + 1',
    '({ a: 1 })',
    'await Promise.resolve(8)',
    'throw new Error("x")',
    'let x = ;',
    '.exit',
    '9',
  ]);
  t.deepEqual(printed.slice(0, 5), ['undefined', '5', '6', '{ a: 1 }', '8']);
  const rest = printed.slice(5).join('\n');
  t.regex(rest, /^Uncaught Error: x\n[^]*SyntaxError: Unexpected token ';'/);
  t.notRegex(rest, /^9$/m);
});

const hasTerminals = spawnSync('script', ['--version']).status === 0;

(hasTerminals ? test : test.skip)(
  'Ctrl-C kills the line that is parked, and the prompt comes back',
  async (t) => {
    const cwd = folderFor(t, {});
    const child = spawn('script', ['-qfec', `"${process.execPath}" "${COMMAND}"`, '/dev/null'], {
      cwd,
      env: { ...process.env, TERM: 'dumb', NODE_REPL_HISTORY: '' },
    });
    t.teardown(() => child.kill());
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const hasSaid = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(said)) await once(child.stdout, 'data');
      said = '';
    };
    await hasSaid(/> $/);
    child.stdin.write(
      'try { console.log("par" + "ked"); greenstack.sleep(60_000) } finally { console.log("fin" + "ally") }\r',
    );
    await hasSaid(/parked/);
    child.stdin.write('1 + 1\r\x03');
    await hasSaid(/finally[^]*KeyboardInterrupt[^]*\n2\r?\n/);
    child.stdin.write('.exit\r');
    const [code] = (await once(child, 'exit')) as [number];
    t.is(code, 0);
  },
);
