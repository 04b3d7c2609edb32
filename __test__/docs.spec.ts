import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import { config } from 'greenstack';

const ROOT = join(__dirname, '..');
/** Within the package, so that its examples can import it by its name. */
const PROGRAMS = join(ROOT, 'build', 'docs');
const HANG_LIMIT = 300_000;

const COMMAND = join(ROOT, 'dist', 'main', 'command.js');

/** A block of TypeScript that is marked as a whole program by its first line, `// runs` or `// runs by greenstack`. */
interface Block {
  file: string;
  /** Of the block's first line, from 1. */
  line: number;
  code: string;
  /** Whether it is run by the command, so that its top level may block. */
  blocks: boolean;
  /** What it says to print, by comments `// prints …`. */
  prints: string[];
}

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

const guide = readdirSync(join(ROOT, 'docs', 'guide')).map((name) => `docs/guide/${name}`);
const internals = readdirSync(join(ROOT, 'docs', 'internals')).map((name) => `docs/internals/${name}`);
const pages = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...guide, ...internals];
const blocks = ['README.md', ...guide].flatMap(blocksOf);

test.before(async () => {
  rmSync(PROGRAMS, { recursive: true, force: true });
  mkdirSync(PROGRAMS, { recursive: true });
  for (const block of blocks) writeFileSync(join(PROGRAMS, `${nameOf(block)}.mts`), block.code);
  const compilerOptions = { rootDir: '.', outDir: '.' };
  const files = { include: ['*.mts', '../../__test__/support/*.d.ts'], exclude: [] };
  const project = { extends: '../../tsconfig.examples.json', compilerOptions, ...files };
  writeFileSync(join(PROGRAMS, 'tsconfig.json'), JSON.stringify(project));
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const compiled = await node(compiler, ['--project', PROGRAMS]);
  if (compiled.code !== 0) throw new Error(compiled.stdout);
});

test('the pages have examples that run', (t) => {
  for (const file of ['README.md', ...guide]) {
    if (file.endsWith('configuration.md') || file.endsWith('errors.md')) continue;
    t.true(
      blocks.some((block) => block.file === file),
      file,
    );
  }
});

for (const block of blocks) {
  test(`the example in ${block.file}, line ${block.line}, runs and prints what it says`, async (t) => {
    const program = join(PROGRAMS, `${nameOf(block)}.mjs`);
    const { code, stdout, stderr } = await (block.blocks ? node(COMMAND, [program]) : node(program, []));
    t.is(code, 0, `${stdout}\n${stderr}`);
    const printed = stdout.split('\n').slice(0, -1);
    if (block.prints.length > 0) t.deepEqual(printed, block.prints);
  });
}

for (const page of pages) {
  test(`the links of ${page} lead somewhere`, (t) => {
    const text = readFileSync(join(ROOT, page), 'utf8').replace(/```[^]*?```/g, '');
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
    const broken = targets.filter((target) => !/^https?:/.test(target) && !leadsSomewhere(page, target));
    t.deepEqual(broken, []);
  });
}

test('every source file is on the map of the architecture', (t) => {
  const crates = readdirSync(join(ROOT, 'crates')).map((name) => `crates/${name}/src`);
  const files = ['src', ...crates].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { encoding: 'utf8', recursive: true }),
  );
  const names = files.map((file) => basename(file)).filter((name) => /\.(ts|rs)$/.test(name));
  const map = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  t.deepEqual(
    names.filter((name) => !map.includes(name)),
    [],
  );
});

test('every setting is described', (t) => {
  const text = readFileSync(join(ROOT, 'docs/guide/configuration.md'), 'utf8');
  for (const name of Object.keys(config)) {
    const variable = `GREENSTACK_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`;
    t.true(text.includes(`\`${name}\``) && text.includes(`\`${variable}\``), name);
  }
});

test('every code of an error is described', (t) => {
  const text = readFileSync(join(ROOT, 'docs/guide/errors.md'), 'utf8');
  const sources = ['src', 'crates/node/src'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { encoding: 'utf8', recursive: true })
      .filter((name) => /\.(ts|rs)$/.test(name))
      .map((name) => readFileSync(join(ROOT, folder, name), 'utf8')),
  );
  const codes = new Set(sources.join().match(/ERR_GREENSTACK_[A-Z_]*[A-Z]/g));
  t.deepEqual(
    [...codes].filter((code) => !text.includes(code)),
    [],
  );
});

/** The marked blocks of a page. */
function blocksOf(file: string): Block[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(/^```ts\n(\/\/ runs(?: by greenstack)?\n[^]*?)^```$/gm)].map((match) => {
    const code = match[1]!;
    const prints = [...code.matchAll(/\/\/ prints (.*)$/gm)].map(([, line]) => line!);
    return {
      file,
      line: text.slice(0, match.index).split('\n').length + 1,
      code,
      blocks: code.startsWith('// runs by'),
      prints,
    };
  });
}

function nameOf({ file, line }: Block): string {
  return `${file.replace(/[^a-z0-9]+/gi, '-')}-${line}`;
}

/** Whether a relative link has a file, and its fragment a heading there. */
function leadsSomewhere(page: string, target: string): boolean {
  const [path = '', fragment] = target.split('#');
  const file = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), path);
  if (!existsSync(file)) return false;
  if (fragment === undefined) return true;
  const headings = readFileSync(file, 'utf8').match(/^#+ .*$/gm) ?? [];
  return headings.some((heading) => anchorOf(heading) === fragment);
}

/** The fragment that Markdown viewers make of a heading. */
function anchorOf(heading: string): string {
  const text = heading.replace(/^#+ /, '').toLowerCase();
  return text.replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-');
}

/** Runs a program to its end with the Node that runs this test. One that hangs ends with code `null`. */
function node(file: string, args: string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [file, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    const alarm = setTimeout(() => child.kill('SIGKILL'), HANG_LIMIT);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(alarm);
      resolve({ code, stdout, stderr });
    });
  });
}
