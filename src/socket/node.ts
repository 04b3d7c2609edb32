/** Sockets from Node's and back. */
import { closeSync } from 'node:fs';
import { createServer, type Server, type ServerOpts, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

import { native } from '../binding.js';
import { systemError } from '../system-error.js';

/** A connection that was taken from Node. */
interface Taken {
  readonly descriptor: number;
  /** What Node had received of it. */
  readonly received: Buffer;
}

/** What Node keeps a connection in. */
interface Handle {
  readonly fd?: number;
  readStop?(): number;
}

function handleOf(socket: Socket): Handle | null {
  return (socket as unknown as { _handle?: Handle | null })._handle ?? null;
}

/** Why a socket cannot be taken; `undefined` if it can. */
function refusalToTake(socket: Socket): string | undefined {
  if (socket instanceof TLSSocket) return 'a TLSSocket encrypts, and its keys stay with Node';
  if (socket.destroyed) return 'the net.Socket is destroyed';
  if (socket.connecting || socket.pending) return "the net.Socket is not connected: wait for 'connect'";
  if (socket.writableLength > 0) return "the net.Socket has something left to send: wait for 'drain'";
  if (socket.writableEnded) return 'the net.Socket has been ended';
  if (socket.readableEncoding !== null)
    return 'the net.Socket has an encoding, which may have cut a character';
  return undefined;
}

/** Takes a connection from Node, without shutting it down. */
export function takeFromNode(call: string, socket: unknown): Taken {
  if (!(socket instanceof Socket)) throw new TypeError(`${call} expects a net.Socket`);
  const handle = handleOf(socket);
  const refusal = refusalToTake(socket);
  if (refusal !== undefined) throw new TypeError(`${call}: ${refusal}`);
  if (typeof handle?.fd !== 'number' || handle.fd < 0)
    throw new TypeError(`${call}: the net.Socket has no descriptor`);
  const descriptor = native.duplicate(handle.fd);
  if (descriptor < 0) throw systemError(descriptor, 'dup');
  // All in this turn: whatever comes from now on stays in the system.
  handle.readStop?.();
  socket.removeAllListeners('data').removeAllListeners('readable');
  const chunks: Buffer[] = [];
  for (let chunk: Buffer | null; (chunk = socket.read() as Buffer | null) !== null;) chunks.push(chunk);
  socket.destroy();
  return { descriptor, received: Buffer.concat(chunks) };
}

/** Gives a connection to Node, with what was received of it already. */
export function nodeSocketOf(descriptor: number, received: Buffer, allowHalfOpen: boolean): Socket {
  const socket = given(
    descriptor,
    () => new Socket({ fd: descriptor, allowHalfOpen, readable: true, writable: true }),
  );
  if (received.length > 0) socket.unshift(received);
  return socket;
}

/** Gives a socket that listens to Node. */
export function nodeServerOf(descriptor: number, options: ServerOpts): Server {
  return given(descriptor, () => createServer(options).listen({ fd: descriptor, exclusive: true }));
}

/** Makes what takes a descriptor over, which is closed if that fails. */
function given<T>(descriptor: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}
