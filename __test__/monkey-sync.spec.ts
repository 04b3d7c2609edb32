/** Each patched function in and out of a greenlet, with right and wrong arguments. */
import * as childProcess from 'node:child_process';
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import test from 'ava';
import { spawn } from 'greenstack';
import { isObjectPatched, patchAll, unpatchAll } from 'greenstack/monkey';
import { compare, compareFiles, type Place, variations, WRONG } from './support/differential.js';

const nodeMajor = Number.parseInt(process.versions.node, 10);

type Call = (place: Place) => unknown[];

test.before(() => {
  process.noDeprecation = true;
  patchAll();
});

test.after.always(() => {
  unpatchAll();
});

const at =
  (name: string, ...rest: unknown[]): Call =>
  ({ directory }) => [join(directory, name), ...rest];

const between =
  (from: string, to: string, ...rest: unknown[]): Call =>
  ({ directory }) => [join(directory, from), join(directory, to), ...rest];

const on =
  (...rest: unknown[]): Call =>
  ({ descriptor }) => [
    descriptor,
    ...rest.map((value) => (Buffer.isBuffer(value) ? Buffer.from(value) : value)),
  ];

const time = new Date(1_000_000);
const bytes = Buffer.from('bytes');

const FS: Record<string, Call[]> = {
  accessSync: [at('file'), at('none'), at('file', fs.constants.X_OK), at('file', 99)],
  appendFileSync: [
    at('file', '!'),
    at('new', bytes, { mode: 0o600, flag: 'a' }),
    at('dir', 'x'),
    on('more'),
    at('file', 'ÿ', 'latin1'),
  ],
  chmodSync: [at('file', 0o600), at('none', 0o600), at('file', '700')],
  chownSync: [at('file', 0, 0), at('none', 0, 0)],
  closeSync: [on()],
  copyFileSync: [
    between('file', 'copy'),
    between('none', 'copy'),
    between('file', 'empty', fs.constants.COPYFILE_EXCL),
    between('dir', 'copy'),
  ],
  cpSync: [
    between('file', 'copy'),
    between('dir', 'copy', { recursive: true }),
    between('dir', 'copy'),
    between('none', 'copy'),
    between('file', 'empty', { force: false, errorOnExist: true }),
    between('dir', 'file', { recursive: true }),
    between('file', 'dir', { recursive: true }),
    between('dir', 'dir/sub', { recursive: true }),
    between('link', 'copy', { dereference: true }),
    between('link', 'copy', { verbatimSymlinks: true, preserveTimestamps: true }),
    between('dir', 'copy', { recursive: true, filter: (path: string) => !path.endsWith('a') }),
    between('file', 'file'),
    between('file', 'new/deep/copy'),
  ],
  existsSync: [at('file'), at('none'), at('file/none')],
  fchmodSync: [on(0o600)],
  fchownSync: [on(0, 0)],
  fdatasyncSync: [on()],
  fstatSync: [on(), on({ bigint: true })],
  fsyncSync: [on()],
  ftruncateSync: [on(), on(3)],
  futimesSync: [on(time, time), on(1, 2)],
  globSync: [
    ({ directory }) => ['*', { cwd: directory }],
    ({ directory }) => [['**/*'], { cwd: directory, exclude: ['dir/sub/**'] }],
  ],
  lchownSync: [at('link', 0, 0), at('none', 0, 0)],
  linkSync: [between('file', 'hard'), between('none', 'hard'), between('file', 'empty')],
  lstatSync: [
    at('link'),
    at('none'),
    at('none', { throwIfNoEntry: false }),
    at('file/none', { throwIfNoEntry: false }),
  ],
  lutimesSync: [at('link', time, time), at('none', 1, 2)],
  mkdirSync: [
    at('new'),
    at('dir'),
    at('new/deep', { recursive: true }),
    at('dir/sub', { recursive: true }),
    at('file/x', { recursive: true }),
    at('new/deep'),
    at('new', 0o700),
  ],
  mkdtempSync: [at('prefix-'), at('none/prefix-'), at('prefix-', { encoding: 'buffer' })],
  openSync: [at('file'), at('none'), at('none', 'r', 0o600), at('file', 'wx'), at('dir', 'w')],
  opendirSync: [at('dir'), at('none'), at('file'), at('none', { bufferSize: 1 })],
  readFileSync: [
    at('file'),
    at('file', 'utf8'),
    at('file', { encoding: 'hex', flag: 'r' }),
    at('none'),
    at('none', 'utf8'),
    at('dir'),
    at('dir', 'utf8'),
    at('empty'),
    on('utf8'),
    at('file', { encoding: 'utf8', signal: 1 }),
  ],
  readSync: [
    on(Buffer.alloc(20)),
    on(Buffer.alloc(20), 1, 5, 2),
    on(Buffer.alloc(20), { length: 4, position: 3 }),
    on(Buffer.alloc(20), 0, 0, 0),
    on(Buffer.alloc(20), 0, 20, -1),
    on(Buffer.alloc(20), 0, 20, 3n),
    on(Buffer.alloc(20), 0, 21, 0),
    on(Buffer.alloc(20), 21, 1, 0),
    on(Buffer.alloc(0)),
    on(new Uint16Array(4)),
    on(Buffer.alloc(5), {}),
  ],
  readdirSync: [
    at('.'),
    at('none'),
    at('file'),
    at('dir', { recursive: true }),
    at('dir', { withFileTypes: true }),
    at('.', { recursive: true, withFileTypes: true }),
    at('.', 'buffer'),
    at('none', { recursive: true }),
  ],
  readlinkSync: [at('link'), at('file'), at('none'), at('link', 'buffer')],
  readvSync: [on([Buffer.alloc(3), Buffer.alloc(4)]), on([Buffer.alloc(3)], 2), on([])],
  realpathSync: [at('link'), at('none'), at('dir/../link'), at('link', 'buffer'), at('file/none')],
  renameSync: [
    between('file', 'moved'),
    between('none', 'moved'),
    between('file', 'dir'),
    between('dir', 'file'),
  ],
  rmSync: [
    at('file'),
    at('none'),
    at('none', { force: true }),
    at('dir'),
    at('dir', { recursive: true }),
    at('link'),
    at('file/none'),
    at('file', { maxRetries: 1, retryDelay: 1 }),
  ],
  rmdirSync: [at('dir/sub/deep'), at('dir'), at('file'), at('none'), at('dir', {})],
  statSync: [
    at('link'),
    at('none'),
    at('none', { throwIfNoEntry: false }),
    at('file/none', { throwIfNoEntry: false }),
    at('file', { bigint: true }),
    at('dir'),
  ],
  statfsSync: [at('.'), at('none'), at('.', { bigint: true })],
  symlinkSync: [
    ({ directory }) => ['file', join(directory, 'new')],
    ({ directory }) => ['file', join(directory, 'link')],
    ({ directory }) => ['x', join(directory, 'new'), 'dir'],
  ],
  truncateSync: [at('file'), at('file', 3), at('none', 1), at('dir')],
  unlinkSync: [at('file'), at('none'), at('dir')],
  utimesSync: [at('file', time, time), at('none', 1, 2), at('file', '1', '2')],
  writeFileSync: [
    at('file', 'new'),
    at('new', bytes, { mode: 0o600, flush: true }),
    at('dir', 'x'),
    at('file', 'x', { flag: 'wx' }),
    on('again'),
    at('file', 'ff', 'hex'),
    at('none/x', 'x'),
    at('file', 'x', { signal: 1 }),
  ],
  writeSync: [
    on('text'),
    on('text', 3),
    on('ff', 0, 'hex'),
    on(bytes),
    on(bytes, 1, 2, 3),
    on(bytes, { offset: 2 }),
    on(bytes, { length: 2, position: 4 }),
    on(bytes, 9, 1),
    on(new Uint16Array([0x4142])),
    on(bytes, 0, 0),
  ],
  writevSync: [on([bytes, bytes]), on([bytes], 3), on([])],
};

/** What is compared in place of what differs from call to call; whatever is open is closed. */
const FINISH: Record<string, (result: unknown) => unknown> = {
  mkdtempSync: (name) => (Buffer.isBuffer(name) ? 'a name in bytes' : String(name).slice(0, -6)),
  openSync: (descriptor) => {
    fs.closeSync(descriptor as number);
    return 'a descriptor';
  },
  opendirSync: (directory) => {
    const names: string[] = [];
    const open = directory as fs.Dir;
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) names.push(entry.name);
    open.closeSync();
    return names.sort();
  },
};

/** Where an empty name would mean the current directory. */
const RISKY = new Set(['cpSync', 'rmSync', 'mkdtempSync']);

for (const [name, calls] of Object.entries(FS)) {
  test.serial(`fs.${name}() does the same in a greenlet`, async (t) => {
    const wrong = RISKY.has(name) ? WRONG : [...WRONG, ''];
    for (const one of variations('node:fs', name, calls, wrong, FINISH[name])) await compareFiles(t, one);
    t.true(!(name in fs) || isObjectPatched('fs', name));
  });
}

const CHILD: Record<string, Call[]> = {
  execFileSync: [
    () => ['echo', ['a', 'b'], { encoding: 'utf8' }],
    () => ['cat', { input: 'some text' }],
    () => ['none'],
    () => ['sh', ['-c', 'echo out; exit 3'], { stdio: 'pipe' }],
    () => ['sh', ['-c', 'echo "$X"'], { env: { X: 'from env' }, encoding: 'utf8' }],
    () => ['pwd', [], { cwd: '/' }],
    () => ['pwd', [], { cwd: '/none' }],
    () => ['sh', ['-c', 'kill -9 $$'], { stdio: 'pipe' }],
    () => ['echo', ['a'], { shell: true, encoding: 'buffer' }],
    () => ['sleep', ['60'], { timeout: 20, killSignal: 'SIGKILL' }],
    () => ['true', [], { stdio: 'ignore' }],
    () => ['true', [], { encoding: 'none' }],
  ],
  execSync: [
    () => ['echo $X', { env: { ...process.env, X: '1' }, encoding: 'utf8' }],
    () => ['cat', { input: Buffer.from('bytes') }],
    () => ['exit 7'],
    () => ['echo oops >&2; exit 1', { stdio: 'pipe' }],
    () => ['none', { stdio: 'pipe', shell: '/bin/sh' }],
    () => ['true', { shell: '/none' }],
  ],
  spawnSync: [
    () => ['echo', ['a'], { encoding: 'utf8' }],
    () => ['none', ['x']],
    () => ['none', ['x'], { shell: true, encoding: 'utf8' }],
    () => ['sh', ['-c', 'echo out; echo err >&2; kill -TERM $$']],
    () => ['cat', [], { input: new Uint8Array([104, 105]), encoding: 'latin1' }],
    () => ['cat', [], { input: 7 }],
    () => ['cat', [], { input: 'x', encoding: 'none' }],
    () => ['true', [], { stdio: ['pipe', 'pipe', 'pipe', 'ipc'] }],
    () => [
      'sh',
      ['-c', 'echo three >&3'],
      { stdio: ['ignore', 'pipe', 'inherit', 'pipe'], encoding: 'utf8' },
    ],
    () =>
      ['sh', ['-c', 'echo to a file >&3'], { stdio: ['ignore', 'pipe', 'pipe', process.stdout.fd] }].slice(
        0,
        1,
      ),
    () => ['head', ['-c', '3000000', '/dev/zero'], { maxBuffer: 4_000_000, encoding: 'latin1' }],
    () => ['true', [], { maxBuffer: -1 }],
    () => ['true', [], { maxBuffer: 'x' }],
    () => ['true', [], { timeout: -1 }],
    () => ['true', [], { timeout: 'x' }],
    () => ['true', [], { killSignal: 'SIGNONE' }],
    () => ['true', [], { uid: 'x' }],
    () => ['true', [], { cwd: 5 }],
    () => ['sleep', ['60'], { timeout: 20 }],
    () => ['true', [], { argv0: 'other' }],
    () => ['true', [], { stdio: 'other' }],
    () => ['true', [], { stdio: [0, 'pipe', null, undefined] }],
    () => ['', []],
    () => ['true', 'wrong'],
    () => ['/'],
  ],
};

for (const [name, calls] of Object.entries(CHILD)) {
  test.serial(`child_process.${name}() does the same in a greenlet`, async (t) => {
    for (const one of variations('node:child_process', name, calls)) await compare(t, one);
  });
}

/** For one size of a stream the rest is cut off, at a place that depends on the moment. */
test.serial('child_process.spawnSync() ends a child that writes more than maxBuffer', async (t) => {
  const flood = (): unknown => {
    const result = childProcess.spawnSync('cat', ['/dev/zero'], { maxBuffer: 1000 });
    const { code } = result.error as NodeJS.ErrnoException;
    return [code, result.status, result.signal, result.stdout.length >= 1000];
  };
  t.deepEqual(await spawn(flood), flood());
});

/** A prime of so many bits takes a while. */
const WRONG_KEYS = WRONG.filter((value) => value !== 99_999);

const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 1024 });
const one = crypto.generateKeyPairSync('x25519');
const two = crypto.generateKeyPairSync('x25519');

const CRYPTO: Record<string, Call[]> = {
  scryptSync: [
    () => ['secret', 'salt', 32],
    () => ['secret', 'salt', 16, { N: 1024, r: 8, p: 1 }],
    () => ['secret', 'salt', 16, { N: 3 }],
    () => ['secret', 'salt', 16, { N: 2 ** 20, maxmem: 1 }],
  ],
  pbkdf2Sync: [
    () => ['secret', 'salt', 10, 20, 'sha256'],
    () => ['secret', 'salt', 10, 20, 'none'],
    () => [bytes, bytes, 1, 0, 'sha1'],
  ],
  hkdfSync: [
    () => ['sha256', 'key', 'salt', 'info', 20],
    () => ['none', 'key', 'salt', 'info', 20],
    () => ['sha256', 'key', 'salt', 'info', 2 ** 20],
  ],
  generateKeySync: [
    () => ['hmac', { length: 64 }],
    () => ['aes', { length: 128 }],
    () => ['aes', { length: 127 }],
    () => ['none', { length: 127 }],
  ],
  generateKeyPairSync: [
    () => ['ec', { namedCurve: 'P-256' }],
    () => ['ed25519'],
    () => ['rsa', { modulusLength: 512 }],
    () => ['none', {}],
    () => ['ec', { namedCurve: 'none' }],
  ],
  generatePrimeSync: [() => [3, { safe: true, bigint: true }], () => [3], () => [-1]],
  checkPrimeSync: [() => [7n], () => [8n, { checks: 1 }], () => [Buffer.from([7])], () => [-1n]],
  sign: [
    () => ['sha256', bytes, rsa.privateKey],
    () => ['none', bytes, rsa.privateKey],
    () => ['sha256', bytes, rsa.publicKey],
  ],
  verify: [() => ['sha256', bytes, rsa.publicKey, bytes], () => ['none', bytes, rsa.publicKey, bytes]],
  diffieHellman: [
    () => [{ privateKey: one.privateKey, publicKey: two.publicKey }],
    () => [{ privateKey: one.privateKey, publicKey: rsa.publicKey }],
  ],
  argon2Sync: [
    () => [
      'argon2id',
      { message: 'm', nonce: 'n'.repeat(16), parallelism: 1, tagLength: 8, memory: 8, passes: 1 },
    ],
    () => ['argon2id', {}],
  ],
};

const FINISH_KEYS = (result: unknown): unknown => {
  const { publicKey, privateKey } = (result ?? {}) as {
    publicKey?: crypto.KeyObject;
    privateKey?: crypto.KeyObject;
  };
  return publicKey === undefined ? result : [publicKey.type, publicKey.asymmetricKeyType, privateKey?.type];
};

for (const [name, calls] of Object.entries(CRYPTO)) {
  test.serial(`crypto.${name}() does the same in a greenlet`, async (t) => {
    const finish = name === 'generateKeyPairSync' ? FINISH_KEYS : undefined;
    for (const each of variations('node:crypto', name, calls, WRONG_KEYS, finish)) await compare(t, each);
    t.is(isObjectPatched('crypto', name), name in crypto && !(name === 'diffieHellman' && nodeMajor < 24));
  });
}

/** What they give is not the same twice: how much of it there is. */
const length = (result: unknown): unknown =>
  ArrayBuffer.isView(result) ? [result.constructor.name, result.byteLength] : result;

const RANDOM: Record<string, Call[]> = {
  randomBytes: [() => [10], () => [100_000], () => [2 ** 40]],
  randomFillSync: [
    () => [Buffer.alloc(10)],
    () => [new Uint32Array(30_000)],
    () => [new Uint32Array(30_000), 10],
    () => [new Uint32Array(30_000), 10, 20_000],
    () => [new Uint32Array(30_000), 10, 40_000],
    () => [new Uint32Array(30_000), -1],
  ],
};

for (const [name, calls] of Object.entries(RANDOM)) {
  test.serial(`crypto.${name}() does the same in a greenlet`, async (t) => {
    for (const each of variations('node:crypto', name, calls, WRONG, length)) await compare(t, each);
  });
}

const text = 'compress me, compress me, compress me';
const inflating: Record<string, string> = {
  gunzipSync: 'gzipSync',
  inflateSync: 'deflateSync',
  inflateRawSync: 'deflateRawSync',
  unzipSync: 'gzipSync',
  brotliDecompressSync: 'brotliCompressSync',
  zstdDecompressSync: 'zstdCompressSync',
};
const compressors = zlib as unknown as Record<string, ((data: string) => Buffer) | undefined>;

for (const [name, counterpart] of Object.entries(inflating)) {
  test.serial(`zlib.${name}() and ${counterpart}() do the same in a greenlet`, async (t) => {
    const packed = compressors[counterpart]?.(text) ?? bytes;
    const unpacking: Call[] = [
      () => [packed],
      () => [packed, { info: true }].slice(0, 1),
      () => [packed, { maxOutputLength: 3 }],
      () => [packed.subarray(0, 10)],
      () => [Buffer.from('wrong')],
      () => ['wrong'],
      () => [packed, { chunkSize: 1 }],
      () => [new Uint16Array(packed.buffer.slice(0, 2))],
      () => [Buffer.alloc(0)],
    ];
    const packing: Call[] = [
      () => [text],
      () => [bytes, {}],
      () => [new ArrayBuffer(8)],
      () => [text, { chunkSize: 64 }],
    ];
    for (const each of variations('node:zlib', name, unpacking)) await compare(t, each);
    for (const each of variations('node:zlib', counterpart, packing)) await compare(t, each);
    t.is(isObjectPatched('zlib', name), name in zlib);
  });
}

test.serial('Atomics.wait() does the same in a greenlet', async (t) => {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const wait = Atomics.wait as (...args: unknown[]) => unknown;
  const calls: unknown[][] = [
    [shared, 0, 1],
    [shared, 0, 0, 1],
    [shared, 0, 0, 0],
    [shared, 0, 0, -5],
    [shared, 0, 0, '1'],
    [shared, 5, 0],
    [shared, -1, 0],
    [new Int32Array(1), 0, 0],
    [new Uint8Array(new SharedArrayBuffer(1)), 0, 0],
    [new BigInt64Array(new SharedArrayBuffer(8)), 0, 1n],
    [new BigInt64Array(new SharedArrayBuffer(8)), 0, 1],
    [null],
    [],
  ];
  for (const args of calls)
    await compare(t, { title: `Atomics.wait(${args.length})`, call: () => wait(...args) });
});
