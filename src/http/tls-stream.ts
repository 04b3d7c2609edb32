/** An encrypted connection as a stream of Node's, for those who take connections over. */
import { Duplex } from 'node:stream';

import { DEFAULT_SIZE } from '../bytes.js';
import { spawn } from '../greenlet.js';
import type { TlsSocket } from '../tls.js';

type Callback = (error?: Error | null) => void;

/** A duplex stream whose bytes go through a `TlsSocket`; greenlets wait for it. */
export class TlsStream extends Duplex {
  readonly encrypted = true;
  readonly #socket: TlsSocket;
  #isReading = false;
  #timer: NodeJS.Timeout | null = null;
  #timeout = 0;

  constructor(socket: TlsSocket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress.address;
  }

  get remotePort(): number {
    return this.#socket.remoteAddress.port;
  }

  get localAddress(): string {
    return this.#socket.localAddress.address;
  }

  get localPort(): number {
    return this.#socket.localAddress.port;
  }

  get authorized(): boolean {
    return this.#socket.authorized;
  }

  /** Emits `timeout` when nothing has come or gone for so long; 0: never. */
  setTimeout(ms: number, callback?: () => void): this {
    this.#timeout = ms;
    if (callback !== undefined) this.once('timeout', callback);
    this.#touch();
    return this;
  }

  #touch(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#timeout > 0 ? setTimeout(() => this.emit('timeout'), this.#timeout).unref() : null;
  }

  /** The server has this on for all connections. */
  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    spawn(() => this.#readPieces());
  }

  /** Reads until nobody wants more for now. */
  #readPieces(): void {
    try {
      for (;;) {
        const piece = this.#socket.recv(DEFAULT_SIZE);
        this.#touch();
        if (piece.length === 0) this.push(null);
        if (piece.length === 0 || !this.push(piece)) return;
      }
    } catch (error) {
      this.destroy(error as Error);
    } finally {
      this.#isReading = false;
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    this.#run(callback, () => this.#socket.sendAll(chunk));
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, callback: Callback): void {
    this.#run(callback, () => this.#socket.sendAll(Buffer.concat(chunks.map(({ chunk }) => chunk))));
  }

  override _final(callback: Callback): void {
    this.#run(callback, () => this.#socket.shutdown('w'));
  }

  #run(callback: Callback, operation: () => void): void {
    this.#touch();
    spawn(() => {
      try {
        operation();
      } catch (error) {
        callback(error as Error);
        return;
      }
      callback();
    });
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#timeout = 0;
    this.#touch();
    this.#socket.close();
    callback(error);
  }
}
