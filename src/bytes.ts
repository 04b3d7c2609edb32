/** Bytes on their way in and out of sockets: what users pass, and the memory that is shared with native code. */
import { native, Shared, shared } from './binding.js';
import { describe } from './checks.js';

/** Bytes that can be sent; a string is sent as UTF-8. */
export type BytesLike = string | ArrayBufferLike | ArrayBufferView;

/** Bytes that one call receives at the most where it is not told. */
export const DEFAULT_SIZE = 65_536;

/** The bytes of a view, buffer or string. */
export function viewOf(call: string, data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data);
  throw new TypeError(`${call} expects a string, Uint8Array, ArrayBuffer or view, got ${describe(data)}`);
}

/** Checks a number of bytes. */
export function checkBytes(call: string, name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new TypeError(`${call}: ${name} must be a whole number of bytes, got ${describe(value)}`);
  if (value < least || value > most)
    throw new RangeError(`${call}: ${name} must be from ${least} to ${most}, got ${value}`);
  return value;
}

/** Bytes sent by the native call that failed last. */
export function bytesSent(): number {
  return (shared[Shared.SentHigh] as number) * 2 ** 30 + (shared[Shared.SentLow] as number);
}

/** Nothing was sent yet, should the next native call not even be made. */
export function resetBytesSent(): void {
  shared[Shared.SentHigh] = 0;
  shared[Shared.SentLow] = 0;
}

const scratch = Buffer.from(native.scratch);

/** Takes bytes out of the scratch memory, which is everybody's: before anything else can run. */
export function takeBytes(count: number): Buffer {
  const received = Buffer.allocUnsafe(count);
  scratch.copy(received, 0, 0, count);
  return received;
}
