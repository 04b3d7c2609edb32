/** `node:zlib`: the synchronous functions, by their callback forms. */
import { types } from 'node:util';

import { type Form, replaceEach } from './blocking.js';
import type { AnyFunction } from './callback.js';
import type { Replacement } from './patching.js';

const NAMES = [
  'deflate',
  'deflateRaw',
  'gzip',
  'gunzip',
  'inflate',
  'inflateRaw',
  'unzip',
  'brotliCompress',
  'brotliDecompress',
  'zstdCompress',
  'zstdDecompress',
];

/** The stream behind the callback form has other words for the wrong kinds of data. */
function isData(value: unknown): boolean {
  return typeof value === 'string' || ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}

/** Knowing the size beforehand, the synchronous form writes it down. */
function withSize([data, options]: unknown[]): unknown[] {
  const pledgedSrcSize =
    typeof data === 'string' ? Buffer.byteLength(data) : (data as ArrayBuffer).byteLength;
  const given = typeof options === 'object' ? options : {};
  return [data, { pledgedSrcSize, ...given }];
}

/** What is replaced in `node:zlib`. */
export function zlibReplacements(): Replacement[] {
  const owner = require('node:zlib') as Record<string, AnyFunction>;
  const forms = NAMES.map((name): [string, Form] => [
    `${name}Sync`,
    { callback: owner[name] as AnyFunction, count: 2, suits: ([data]) => isData(data) },
  ]);
  const all: Record<string, Form> = Object.fromEntries(forms);
  all.zstdCompressSync = { ...(all.zstdCompressSync as Form), adapt: withSize };
  return replaceEach('zlib', owner, all);
}
