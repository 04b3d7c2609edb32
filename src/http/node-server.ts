/** A server with the outside of Node's: for frameworks that make, listen and close by themselves. */
import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';

import { checkFunction, checkOptions } from '../checks.js';
import { spawn } from '../greenlet.js';
import { parseAddress } from '../socket-address.js';
import { HttpUnsupportedError } from './node-connection.js';
import { listen, type NodeListener, upgrade, type UpgradeListener } from './node-listener.js';
import { type HttpHandler, HttpServer, type HttpServerOptions } from './server.js';

/** Events that ask for what the server decides by itself. */
const UNSUPPORTED = new Map([
  ['checkContinue', 'the client is told to go on when the body is read first'],
  ['checkExpectation', 'other expectations are refused with 417'],
  ['connect', 'a CONNECT is a request as others'],
]);

/** Where Node's servers listen. */
interface NodeListenOptions {
  port?: number | string | undefined;
  host?: string | undefined;
  path?: string | undefined;
}

/**
 * An `HttpServer` with the interface of Node's `http.Server`: events, `listen`, `close`, `address`. For what makes its own server:
 * `serverFactory` of Fastify, `new WebSocketServer({ server })` of ws. Listeners to `request` run in greenlets and may block.
 *
 * @example
 * const app = fastify({ serverFactory: (listener) => new NodeServer(listener) });
 */
export class NodeServer extends EventEmitter {
  #server: HttpServer | null = null;
  readonly #options: HttpServerOptions;
  #closing = false;
  /** Those of Node's servers that are set by frameworks. The options of `HttpServer` are what holds. */
  timeout = 0;
  keepAliveTimeout = 0;
  headersTimeout = 0;
  requestTimeout = 0;
  maxRequestsPerSocket = 0;
  maxHeadersCount: number | null = null;

  /**
   * @param listener - a listener to `request`
   * @param options - of {@link HttpServer}
   */
  constructor(listener?: NodeListener | null, options?: HttpServerOptions) {
    super();
    this.#options = checkOptions('new NodeServer()', options);
    if (listener !== undefined && listener !== null) {
      checkFunction('new NodeServer()', listener);
      this.on('request', listener);
    }
    this.on('newListener', (event) => {
      const reason = UNSUPPORTED.get(String(event));
      if (reason !== undefined) throw new HttpUnsupportedError(`the event '${String(event)}'`, reason);
    });
  }

  /** Whether it listens. */
  get listening(): boolean {
    return this.#server?.started ?? false;
  }

  /** The server that does the work, once it listens. */
  get server(): HttpServer | null {
    return this.#server;
  }

  /**
   * Listens, as `net.Server.listen`: `(port, host, callback)`, `(path, callback)` or `({ port, host, path }, callback)`. Emits
   * `listening` or `error`. Never switches.
   */
  listen(...args: unknown[]): this {
    const callback = args.find((argument) => typeof argument === 'function') as (() => void) | undefined;
    if (callback !== undefined) this.once('listening', callback);
    if (this.#server !== null)
      throw Object.assign(new Error('Listen method has been called more than once without closing.'), {
        code: 'ERR_SERVER_ALREADY_LISTEN',
      });
    const { port, host, path } = whereOf(args);
    const address =
      path === undefined ? { port: Number(port ?? 0), ...(host === undefined ? {} : { host }) } : { path };
    parseAddress('listen()', address);
    const listener: NodeListener = (request, response) => {
      if (!this.emit('request', request, response)) response.end();
    };
    const onUpgrade: UpgradeListener = (...args) => void this.emit('upgrade', ...args);
    const handler: HttpHandler = (request) => {
      if (request.upgrades && this.listenerCount('upgrade') > 0) upgrade(request, onUpgrade);
      else listen(request, listener);
    };
    const server = new HttpServer(address, handler, this.#options);
    this.#server = server;
    this.#closing = false;
    // Names are looked up, which takes a greenlet.
    spawn(() => {
      try {
        server.start();
      } catch (error) {
        this.#server = null;
        process.nextTick(() => this.emit('error', error));
        return;
      }
      process.nextTick(() => this.emit('listening'));
    });
    return this;
  }

  /** Where it listens; `null` if it does not. */
  address(): AddressInfo | string | null {
    if (this.#server?.started !== true) return null;
    const { address, port, family } = this.#server.address;
    return family === 'unix' ? address : { address, port, family: `IPv${family}` };
  }

  /**
   * Accepts no more, lets requests end that are under way, and emits `close`. Unlike Node's it does not wait longer than the
   * option `stopTimeout`. Never switches.
   */
  close(callback?: (error?: Error) => void): this {
    const server = this.#server;
    if (server === null || this.#closing) {
      const error = Object.assign(new Error('Server is not running.'), { code: 'ERR_SERVER_NOT_RUNNING' });
      if (callback !== undefined) process.nextTick(callback, error);
      return this;
    }
    if (callback !== undefined) this.once('close', callback);
    this.#closing = true;
    spawn(() => {
      try {
        server.stop();
      } finally {
        this.#server = null;
        process.nextTick(() => this.emit('close'));
      }
    });
    return this;
  }

  /** Connections that wait for a request are closed by {@link close} in any case. */
  closeIdleConnections(): void {}

  /** Closes all connections, whatever they do. */
  closeAllConnections(): void {
    this.#server?.stop(0);
  }

  /** The options of `HttpServer` are what holds. */
  setTimeout(ms: number): this {
    this.timeout = ms;
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): never {
    throw new HttpUnsupportedError('unref()', 'a server keeps the process alive');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server !== null) await new Promise<void>((resolve) => this.close(() => resolve()));
  }
}

function whereOf(args: unknown[]): NodeListenOptions {
  const [first, second] = args;
  if (typeof first === 'object' && first !== null) return first as NodeListenOptions;
  if (typeof first === 'string' && !/^\d+$/.test(first)) return { path: first };
  const port = typeof first === 'number' || typeof first === 'string' ? first : 0;
  return { port, host: typeof second === 'string' ? second : undefined };
}
