import { createHash } from 'node:crypto';
import type { Connection } from 'greenstack/socket';

/** Reads up to the end of the stream. */
export function recvAll(socket: Connection): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk: Buffer; (chunk = socket.recv(65_536)).length > 0;) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Reads exactly `length` bytes. */
export function recvExactly(socket: Connection, length: number): Buffer {
  const chunks: Buffer[] = [];
  for (let missing = length; missing > 0;) {
    const chunk = socket.recv(missing);
    if (chunk.length === 0) throw new Error(`the stream ended ${missing} bytes early`);
    chunks.push(chunk);
    missing -= chunk.length;
  }
  return Buffer.concat(chunks);
}

/** `length` bytes that are different everywhere. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >> 8) * 17) & 0xff;
  return bytes;
}

/** A checksum. */
export const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex');
