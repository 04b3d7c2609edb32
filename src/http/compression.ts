/** Compressed responses: gzip and Brotli, where the client takes them. */
import { promisify } from 'node:util';
import {
  brotliCompress,
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  gzip,
  gzipSync,
} from 'node:zlib';

import { HttpFlag } from '../binding.js';
import { waitFor } from '../wait-for.js';
import type { HttpRequest } from './request.js';
import { bytesOf, type Piece, type Reply, wholeOf } from './response.js';

/** Options of compression. */
export interface CompressOptions {
  /** Bodies of known length are left as they are below this, in bytes (default: 1024). */
  threshold?: number;
}

/** What is compressed at once; longer bodies are compressed by libuv's threads. */
const MOST_AT_ONCE = 16_384;

const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

const COMPRESSIBLE =
  /^(?:text\/|application\/(?:json|javascript|xml|wasm|[\w.-]+\+(?:json|xml))|image\/svg\+xml)/i;

type Coding = 'br' | 'gzip';

/** What the client takes, by RFC 9110, 12.5.3. */
function codingFor(request: HttpRequest): Coding | null {
  const accepted = request.headers.get('accept-encoding');
  if (accepted === null) return null;
  const qualities = new Map<string, number>();
  for (const element of accepted.toLowerCase().split(',')) {
    const [name = '', ...parameters] = element.split(';').map((part) => part.trim());
    const quality = parameters.find((parameter) => parameter.startsWith('q='));
    qualities.set(name, quality === undefined ? 1 : Number(quality.slice(2)) || 0);
  }
  const quality = (name: string): number => qualities.get(name) ?? qualities.get('*') ?? 0;
  const [br, zipped] = [quality('br'), quality('gzip')];
  if (br === 0 && zipped === 0) return null;
  return br >= zipped ? 'br' : 'gzip';
}

function isCompressible({ status, flags, fields }: Reply): boolean {
  if (status === 204 || status === 206 || status === 304) return false;
  const type = /^content-type: (.*)$/im.exec(fields)?.[1];
  const isText =
    type === undefined ? (flags & 7) !== 0 && (flags & 7) !== HttpFlag.Bytes : COMPRESSIBLE.test(type);
  return isText && !/^content-encoding:|^cache-control:.*no-transform/im.test(fields);
}

/** Compresses the body of a reply, if that is wanted. May wait. */
export function compress(request: HttpRequest, reply: Reply, { threshold = 1024 }: CompressOptions): void {
  if (reply.body === null || !isCompressible(reply)) return;
  const whole = wholeOf(reply.body);
  const bytes = whole === undefined ? undefined : (bytesOf(whole) as Uint8Array);
  if (bytes !== undefined && bytes.length < threshold) return;
  addField(reply, 'Vary: Accept-Encoding');
  const coding = codingFor(request);
  if (coding === null) return;
  addField(reply, `Content-Encoding: ${coding}`);
  reply.fields = reply.fields.replace(/^etag: "/im, 'ETag: W/"');
  reply.length = -1;
  reply.body =
    bytes === undefined
      ? compressed(reply.body as Iterable<Piece> | AsyncIterable<Piece>, coding)
      : compressWhole(bytes, coding);
}

function addField(reply: Reply, line: string): void {
  reply.fields += `${line}\r\n`;
  reply.flags |= HttpFlag.HasFields;
}

function compressWhole(bytes: Uint8Array, coding: Coding): Buffer {
  if (bytes.length <= MOST_AT_ONCE)
    return coding === 'br' ? brotliCompressSync(bytes, BROTLI) : gzipSync(bytes);
  return waitFor(
    coding === 'br' ? promisify(brotliCompress)(bytes, BROTLI) : promisify(gzip)(bytes),
  ) as Buffer;
}

/** Compresses pieces as they come. What is written is flushed, so that the client need not wait for the next. */
function* compressed(pieces: Iterable<Piece> | AsyncIterable<Piece>, coding: Coding): Generator<Buffer> {
  const stream =
    coding === 'br'
      ? createBrotliCompress({ ...BROTLI, flush: constants.BROTLI_OPERATION_FLUSH })
      : createGzip({ flush: constants.Z_SYNC_FLUSH });
  const output: Buffer[] = [];
  stream.on('data', (piece: Buffer) => output.push(piece));
  const step = (begin: (done: (error?: Error | null) => void) => void): void =>
    waitFor(new Promise<void>((resolve, reject) => begin((error) => (error ? reject(error) : resolve()))));
  try {
    for (const piece of inTurn(pieces)) {
      const bytes = bytesOf(piece);
      if (bytes === undefined) throw new TypeError('a piece of a body must be a string or bytes');
      if (bytes.length === 0) continue;
      step((done) => stream.write(bytes, done));
      yield* output.splice(0);
    }
    step((done) => {
      stream.once('end', done).once('error', done);
      stream.end();
    });
    yield* output.splice(0);
  } finally {
    stream.destroy();
  }
}

/** The pieces of a body, waiting for those that are promised. */
export function* inTurn(pieces: Iterable<Piece> | AsyncIterable<Piece>): Generator<Piece> {
  if (Symbol.iterator in pieces) {
    yield* pieces;
    return;
  }
  const iterator = pieces[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const { done = false, value } = waitFor(iterator.next());
      ended = done;
      if (done) return;
      yield value as Piece;
    }
  } finally {
    if (!ended && iterator.return !== undefined) waitFor(iterator.return());
  }
}
