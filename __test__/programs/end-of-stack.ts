/**
 * Overflows the stack of a greenlet, and calls native code from the last frames on the way back: it finds less room than on
 * the main stack, where there are megabytes behind V8's limit. Prints what was neither a result nor a `RangeError`.
 */
import { createHash, generateKeyPairSync, pbkdf2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext, runInThisContext } from 'node:vm';
import { gunzipSync, gzipSync } from 'node:zlib';
import { run, spawn } from 'greenstack';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function nested(levels: number): unknown {
  let array: unknown[] = [];
  for (let level = 0; level < levels; level++) array = [array];
  return array;
}

const deep = nested(100_000);
const operations: Record<string, () => unknown> = {
  stringify: () => JSON.stringify(deep),
  parse: () => JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)) as unknown,
  compilePattern: () => new RegExp('('.repeat(20_000) + ')'.repeat(20_000)),
  compile: () => new Function(`return ${'('.repeat(5_000)}1${')'.repeat(5_000)}`),
  evaluate: () => runInThisContext('(class { #field = 1; static { this.value = 1 + 1; } })') as unknown,
  format: () => new Intl.DateTimeFormat('de', { dateStyle: 'full', timeStyle: 'full' }).format(0),
  collate: () => ['ä', 'z', 'a'].sort(new Intl.Collator('de').compare),
  segment: () => [...new Intl.Segmenter('th').segment('สวัสดีครับ')],
  normalize: () => 'é'.repeat(1_000).normalize('NFD'),
  bigint: () => (2n ** 20_000n).toString(),
  hash: () => createHash('sha512').update('text').digest('hex'),
  derive: () => pbkdf2Sync('password', 'salt', 10, 64, 'sha512'),
  generate: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  read: () => readFileSync(__filename),
  zip: () => gunzipSync(gzipSync('x'.repeat(1_000))),
  clone: () => structuredClone(nested(1_000)),
  inspect: () => inspect(nested(50), { depth: 100 }),
  trace: () => new Error('here').stack,
  parseUrl: () => new URL(`https://ä.example/?q=${'x'.repeat(1_000)}`),
  collect,
};

const unexpected: Record<string, string> = {};

/** Tries `operation` in every third frame from the end of the stack, until it has worked a few times. */
function attempt(name: string, operation: () => unknown): void {
  let frames = 0;
  let successes = 0;
  const descend = (): void => {
    try {
      descend();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    if (++frames % 3 !== 0 || successes > 5 || frames > 1_000) return;
    try {
      operation();
      successes++;
    } catch (error) {
      if (!(error instanceof RangeError)) unexpected[name] = String(error);
    }
  };
  descend();
}

void run(() => {
  for (const [name, operation] of Object.entries(operations)) spawn(attempt, name, operation).join();
  console.log(JSON.stringify(unexpected));
});
