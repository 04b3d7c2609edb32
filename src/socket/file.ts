/** Connections as files: with a buffer each way, and with lines. */
import { type BytesLike, bytesSent, checkBytes, DEFAULT_SIZE, resetBytesSent, viewOf } from '../bytes.js';
import { checkFlag, checkOptions, describe } from '../checks.js';
import type { Connection } from '../connection.js';
import { ConcurrentObjectUseError, GreenstackError, named } from '../errors.js';
import { type CheckedLimits, countingDown, type Limits } from '../limits.js';
import { errnoOf, systemError } from '../system-error.js';

/** Encodings in which the end of a line is one byte, and that byte is nothing else. */
export type FileEncoding = 'utf8' | 'utf-8' | 'latin1' | 'ascii';

const ENCODINGS: readonly unknown[] = ['utf8', 'utf-8', 'latin1', 'ascii'] satisfies FileEncoding[];

/** Options of {@link Connection.makeFile}. */
export interface FileOptions {
  /** Lines and `readAll` give text of this encoding, and strings are written in it (default: Buffers, and UTF-8). */
  encoding?: FileEncoding | undefined;
  /** How many bytes are collected before they are sent (default: 16 KiB). 0: each `write` sends at once. */
  bufferSize?: number;
  /** How many bytes a line may have, its end included (default: 1 MiB). */
  maxLineLength?: number;
  /** Whether closing the file closes the connection (default: no). */
  closeSocket?: boolean;
}

const BUFFER_SIZE = 16_384;
const MAX_LINE_LENGTH = 1 << 20;
const MAX_SIZE = Number.MAX_SAFE_INTEGER;

const NEWLINE = 10;
const NOTHING = Buffer.alloc(0);

/** A line is longer than allowed. Nothing is lost: its beginning can be read by `read`, or by `readLine` with a higher limit. */
export class LineTooLong extends GreenstackError {
  /** How many bytes a line may have, its end included. */
  readonly maxLength: number;

  constructor(maxLength: number) {
    super('ERR_GREENSTACK_LINE_TOO_LONG', `a line is longer than ${maxLength} bytes`);
    this.maxLength = maxLength;
  }

  static {
    named(this, 'LineTooLong');
  }
}

/** The stream has ended before everything had come. Nothing is lost: what has come can still be read. Python: `EOFError`. */
export class UnexpectedEnd extends GreenstackError {
  /** How many bytes were asked for. */
  readonly expected: number;
  /** What has come. */
  readonly partial: Buffer;

  constructor(expected: number, partial: Buffer) {
    super(
      'ERR_GREENSTACK_UNEXPECTED_END',
      `the stream has ended after ${partial.length} of the ${expected} bytes expected`,
    );
    this.expected = expected;
    this.partial = partial;
  }

  static {
    named(this, 'UnexpectedEnd');
  }
}

/** Bytes that have been received and not yet read, in one piece. What was taken out is never written to again. */
class Incoming {
  #memory: Buffer = NOTHING;
  #start = 0;
  #end = 0;
  /** Up to where no end of a line was found. */
  #searched = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  /** Puts a chunk behind what is there; if that is nothing, without a copy. */
  add(chunk: Buffer): void {
    if (this.#start === this.#end) {
      this.#memory = chunk;
      this.#start = this.#searched = 0;
      this.#end = chunk.length;
      return;
    }
    this.reserve(chunk.length);
    chunk.copy(this.#memory, this.#end);
    this.#end += chunk.length;
  }

  /** Makes room for more bytes, and returns where they go. They count after {@link filled}. */
  reserve(count: number): { memory: Buffer; offset: number } {
    if (this.#memory.length - this.#end < count) {
      // Twice as much as needed: the bytes are copied once on average, however small the chunks are.
      const memory = Buffer.allocUnsafe(Math.max(this.length + count, 2 * this.length));
      this.#memory.copy(memory, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#searched -= this.#start;
      this.#start = 0;
      this.#memory = memory;
    }
    return { memory: this.#memory, offset: this.#end };
  }

  /** Counts bytes that were put where {@link reserve} has said. */
  filled(count: number): void {
    this.#end += count;
  }

  /** The length of the first line, its end included; 0 if it has not come yet. */
  lineLength(): number {
    const found = this.#memory.indexOf(NEWLINE, this.#searched);
    // Behind the end there is whatever was there before.
    const isThere = found >= 0 && found < this.#end;
    this.#searched = isThere ? found : this.#end;
    return isThere ? found + 1 - this.#start : 0;
  }

  /** The first bytes, without taking them. */
  peek(count: number): Buffer {
    return this.#memory.subarray(this.#start, this.#start + count);
  }

  take(count: number): Buffer {
    const taken = this.peek(count);
    this.#advance(count);
    return taken;
  }

  takeText(count: number, encoding: FileEncoding): string {
    const text = this.#memory.toString(encoding, this.#start, this.#start + count);
    this.#advance(count);
    return text;
  }

  #advance(count: number): void {
    this.#start += count;
    this.#searched = Math.max(this.#searched, this.#start);
    if (this.#start < this.#end) return;
    this.#memory = NOTHING;
    this.#start = this.#end = this.#searched = 0;
  }
}

/** Bytes that have been written and not yet sent. */
class Outgoing {
  #memory: Buffer = NOTHING;
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  /** Copies bytes behind what is there. */
  add(bytes: Uint8Array, capacity: number): void {
    if (this.#memory.length - this.#end < bytes.length) {
      const memory = Buffer.allocUnsafe(Math.max(capacity, this.length + bytes.length));
      this.#memory.copy(memory, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      this.#memory = memory;
    }
    this.#memory.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** Puts bytes before what is there. */
  putBack(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const memory = Buffer.concat([bytes, this.all()]);
    this.#memory = memory;
    this.#start = 0;
    this.#end = memory.length;
  }

  /** Everything, without taking it. */
  all(): Buffer {
    return this.#memory.subarray(this.#start, this.#end);
  }

  /** Takes bytes away that were sent. */
  drop(count: number): void {
    this.#start += count;
    if (this.#start < this.#end) return;
    this.#start = this.#end = 0;
  }
}

/**
 * A connection with a buffer each way: for lines, and for bytes in numbers that are not those in which they come. Made by
 * {@link Connection.makeFile}. Reads and writes obey the `timeout` of the connection where they have no limits of their own, each
 * as a whole; when their time is up, what has come or was written stays in the buffers. One greenlet may read while another
 * writes. gevent: what `socket.makefile` gives.
 */
export class SocketFile<Text extends string | Buffer = Buffer> {
  readonly #connection: Connection;
  readonly #encoding: FileEncoding | undefined;
  readonly #bufferSize: number;
  readonly #maxLineLength: number;
  readonly #closeSocket: boolean;
  readonly #incoming = new Incoming();
  readonly #outgoing = new Outgoing();
  #closed = false;
  /** Whether a greenlet is receiving. */
  #reading = false;

  /** @internal */
  constructor(connection: Connection, options: FileOptions | undefined) {
    const call = 'makeFile()';
    const given = checkOptions(call, options);
    const {
      encoding,
      bufferSize = BUFFER_SIZE,
      maxLineLength = MAX_LINE_LENGTH,
      closeSocket = false,
    } = given;
    if (encoding !== undefined && !ENCODINGS.includes(encoding))
      throw new TypeError(
        `${call}: encoding must be one of ${ENCODINGS.join(', ')}, got ${describe(encoding)}`,
      );
    this.#connection = connection;
    this.#encoding = encoding;
    this.#bufferSize = checkBytes(call, 'bufferSize', bufferSize, 0, MAX_SIZE);
    this.#maxLineLength = checkBytes(call, 'maxLineLength', maxLineLength, 1, MAX_SIZE);
    this.#closeSocket = checkFlag(call, 'closeSocket', closeSocket);
    connection._checkOpen(call);
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** How many bytes have been received and not yet read. */
  get buffered(): number {
    return this.#incoming.length;
  }

  /** How many bytes have been written and not yet sent. */
  get unsent(): number {
    return this.#outgoing.length;
  }

  /**
   * Reads a line, with its `\n`. The last one may lack it; at the end of the stream it is empty. Switches only if it must wait.
   *
   * @param maxLength - how many bytes it may have, its end included (default: `maxLineLength` of the file)
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws {LineTooLong} if it is longer
   * @throws as {@link Connection.recv}
   */
  readLine(maxLength: number = this.#maxLineLength, limits?: Limits): Text {
    const call = 'readLine()';
    checkBytes(call, 'maxLength', maxLength, 1, MAX_SIZE);
    const length = this.#incoming.lineLength();
    if (length > 0 && length <= maxLength && this.#isReadable()) return this.#text(length);
    const left = this.#beginReading(call, limits);
    for (;;) {
      const found = this.#incoming.lineLength();
      if (found > maxLength || (found === 0 && this.#incoming.length > maxLength))
        throw new LineTooLong(maxLength);
      if (found > 0) return this.#text(found);
      if (!this.#receive(left())) return this.#text(this.#incoming.length);
    }
  }

  /** Iterates over the lines up to the end of the stream, each with its `\n`; as {@link readLine}. */
  *[Symbol.iterator](): Generator<Text, void, undefined> {
    for (let line = this.readLine(); line.length > 0; line = this.readLine()) yield line;
  }

  /**
   * Reads bytes: as many as asked for, fewer only at the end of the stream. Switches only if it must wait.
   *
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws as {@link Connection.recv}
   */
  read(size: number, limits?: Limits): Buffer {
    checkBytes('read()', 'size', size, 0, MAX_SIZE);
    this.#fill('read()', size, limits);
    return this.#incoming.take(Math.min(size, this.#incoming.length));
  }

  /**
   * Reads what has come, but at least one byte: waits only if there is none. Empty at the end of the stream. Switches only if it
   * must wait.
   *
   * @param maxSize - bytes at the most (default: all that is there)
   * @throws as {@link Connection.recv}
   */
  readSome(maxSize: number = MAX_SIZE, limits?: Limits): Buffer {
    checkBytes('readSome()', 'maxSize', maxSize, 0, MAX_SIZE);
    this.#fill('readSome()', Math.min(maxSize, 1), limits);
    return this.#incoming.take(Math.min(maxSize, this.#incoming.length));
  }

  /**
   * Reads exactly so many bytes. Switches only if it must wait.
   *
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws {UnexpectedEnd} if the stream ends before
   * @throws as {@link Connection.recv}
   */
  readExactly(size: number, limits?: Limits): Buffer {
    checkBytes('readExactly()', 'size', size, 0, MAX_SIZE);
    this.#fill('readExactly()', size, limits);
    const { length } = this.#incoming;
    if (length < size) throw new UnexpectedEnd(size, this.#incoming.peek(length));
    return this.#incoming.take(size);
  }

  /**
   * Reads everything up to the end of the stream. Switches only if it must wait.
   *
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws as {@link Connection.recv}
   */
  readAll(limits?: Limits): Text {
    this.#fill('readAll()', Infinity, limits);
    return this.#text(this.#incoming.length);
  }

  /**
   * Returns the next bytes without taking them: as many as asked for, fewer only at the end of the stream. Switches only if it
   * must wait.
   *
   * @throws as {@link Connection.recv}
   */
  peek(size: number, limits?: Limits): Buffer {
    checkBytes('peek()', 'size', size, 0, MAX_SIZE);
    this.#fill('peek()', size, limits);
    return this.#incoming.peek(Math.min(size, this.#incoming.length));
  }

  /**
   * Writes bytes, which are sent when there are `bufferSize` of them, and by {@link flush} and {@link close}. Switches only if it
   * must wait.
   *
   * Whatever this throws because of the connection, the time or a kill, the data was taken: what could not be sent is still to be
   * sent, by `flush()`, and must not be written again.
   *
   * @param limits - how long sending may take, in ms, and what else may end the wait
   * @throws as {@link Connection.sendAll}
   */
  write(data: BytesLike, limits?: Limits): void {
    const call = 'write()';
    const view = typeof data === 'string' ? Buffer.from(data, this.#encoding) : viewOf(call, data);
    const isLarge = view.length >= this.#bufferSize;
    if (!isLarge && this.#outgoing.length + view.length < this.#bufferSize && !this.#closed) {
      this.#outgoing.add(view, this.#bufferSize);
      return;
    }
    const left = this.#begin(call, limits);
    // What is large is sent from where it is; only what is left of it has to be kept.
    if (!isLarge) this.#outgoing.add(view, this.#bufferSize);
    try {
      this.#sendAll(left);
    } catch (error) {
      if (isLarge) this.#outgoing.add(view, this.#bufferSize);
      throw error;
    }
    // Others may have written meanwhile: that comes after it.
    if (isLarge) this.#send(view, left(), (sent) => this.#outgoing.putBack(view.subarray(sent)));
  }

  /**
   * Sends what was written. Switches only if it must wait.
   *
   * @param limits - how long for all of it, in ms, and what else may end the wait
   * @throws as {@link Connection.sendAll}; what could not be sent is still to be sent
   */
  flush(limits?: Limits): void {
    this.#sendAll(this.#begin('flush()', limits));
  }

  /**
   * Sends what was written, and ends the use of the file. The connection stays open, unless the file was made with
   * `closeSocket`; bytes that were received and not read are lost. If sending fails it is closed all the same. Calling it again
   * does nothing. Switches only if it must wait.
   *
   * @throws as {@link flush}
   */
  close(limits?: Limits): void {
    if (this.#closed) return;
    try {
      if (this.#outgoing.length > 0) this.flush(limits);
    } finally {
      this.#closed = true;
      if (this.#closeSocket) this.#connection.close();
    }
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Checks what all calls need, and starts their time. */
  #begin(call: string, limits: Limits): () => CheckedLimits {
    if (this.#closed) throw systemError(errnoOf('EBADF'), call.slice(0, -2));
    return countingDown(this.#connection._limits(call, limits));
  }

  #isReadable(): boolean {
    return !this.#closed && !this.#reading;
  }

  #beginReading(call: string, limits: Limits): () => CheckedLimits {
    const left = this.#begin(call, limits);
    if (this.#reading)
      throw new ConcurrentObjectUseError(`${call}: another greenlet is reading this file; its wait goes on`);
    return left;
  }

  /** Receives until there are `size` bytes, or the stream has ended. */
  #fill(call: string, size: number, limits: Limits): void {
    if (this.#incoming.length >= size && this.#isReadable()) return;
    const left = this.#beginReading(call, limits);
    while (this.#incoming.length < size) {
      const missing = size - this.#incoming.length;
      const isLarge = missing >= DEFAULT_SIZE && missing !== Infinity;
      if (!(isLarge ? this.#receiveInto(missing, left()) : this.#receive(left()))) return;
    }
  }

  /** Receives what has come. `false` at the end of the stream. */
  #receive(limits: CheckedLimits): boolean {
    this.#reading = true;
    try {
      const chunk = this.#connection._recvWithin(DEFAULT_SIZE, limits);
      this.#incoming.add(chunk);
      return chunk.length > 0;
    } finally {
      this.#reading = false;
    }
  }

  /** Receives many bytes to where they stay. `false` at the end of the stream. */
  #receiveInto(missing: number, limits: CheckedLimits): boolean {
    const { memory, offset } = this.#incoming.reserve(missing);
    this.#reading = true;
    try {
      const count = this.#connection._recvIntoWithin(memory, offset, missing, limits);
      this.#incoming.filled(count);
      return count > 0;
    } finally {
      this.#reading = false;
    }
  }

  #sendAll(left: () => CheckedLimits): void {
    if (this.#outgoing.length > 0)
      this.#send(this.#outgoing.all(), left(), (sent) => this.#outgoing.drop(sent));
  }

  /** Sends bytes, and tells how many of them were sent, however it ends. */
  #send(view: Uint8Array, limits: CheckedLimits, onSent: (count: number) => void): void {
    // Should the native call not even be made.
    resetBytesSent();
    try {
      this.#connection._sendWithin('sendAll()', view, limits, true);
    } catch (error) {
      onSent(bytesSent());
      throw error;
    }
    onSent(view.length);
  }

  #text(length: number): Text {
    if (this.#encoding === undefined) return this.#incoming.take(length) as Text;
    return this.#incoming.takeText(length, this.#encoding) as Text;
  }
}
