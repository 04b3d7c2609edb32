/** Node-style `(request, response)` listeners as handlers. */
import { IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Socket as NodeSocket } from 'node:net';

import { checkFunction, checkOptions } from '../checks.js';
import { GreenletExit } from '../errors.js';
import { Socket } from '../socket/socket.js';
import { NodeConnection } from './node-connection.js';
import { NodeRequest, NodeResponse } from './node-message.js';
import type { HttpRequest } from './request.js';
import type { HttpHandler } from './server.js';
import { TlsStream } from './tls-stream.js';

/** What Node-style listeners are: an Express app, `app.callback()` of Koa. */
export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown;

/** Takes connections over: as listeners to `upgrade` of Node's servers. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Options of {@link nodeListener}. */
export interface NodeListenerOptions {
  /** Takes over connections whose clients offer another protocol. Without it, they are answered as others. */
  onUpgrade?: UpgradeListener;
}

/**
 * Makes a handler of a Node-style listener, so that an Express or Koa app runs on `HttpServer`. Each request is run in a
 * greenlet, so the listener may block. The request and the response are Node's own classes; their socket is not a `net.Socket`.
 *
 * @example
 * serve(8080, nodeListener(express().get('/', (request, response) => {
 *   sleep(100);
 *   response.send('hello');
 * })));
 */
export function nodeListener(listener: NodeListener, options?: NodeListenerOptions): HttpHandler {
  checkFunction('nodeListener()', listener);
  const { onUpgrade } = checkOptions('nodeListener()', options);
  if (onUpgrade !== undefined) checkFunction('nodeListener(): onUpgrade', onUpgrade);
  return (request) => {
    if (onUpgrade !== undefined && request.upgrades) upgrade(request, onUpgrade);
    else listen(request, listener);
  };
}

/** Calls a listener, and waits until it has answered. */
export function listen(request: HttpRequest, listener: NodeListener): void {
  const connection = new NodeConnection(request);
  const incoming = new NodeRequest(request, connection);
  const response = new NodeResponse(incoming, connection);
  try {
    let result: unknown;
    connection._begin();
    try {
      result = listener(incoming, response);
    } finally {
      connection._leave();
    }
    if (connection._isOver) {
      if (connection._owesEvents && response._isHeard()) connection._emitEnd();
      return;
    }
    if (result instanceof Promise) result.then(undefined, (error: unknown) => connection._fail(error));
    connection._awaitEnd();
  } catch (error) {
    // In the middle there is nothing left to say; else the server answers.
    if (request._answered || GreenletExit.is(error)) connection._cut();
    else connection._giveUp();
    throw error;
  }
}

/** Gives the connection to whoever takes it over. */
export function upgrade(request: HttpRequest, listener: UpgradeListener): void {
  const { socket, head } = request.upgrade();
  const node =
    socket instanceof Socket ? socket.toNodeSocket({ allowHalfOpen: true }) : new TlsStream(socket);
  const incoming = new IncomingMessage(node as NodeSocket);
  incoming.method = request.method;
  incoming.url = request.url;
  const headers = request._rawHeaders();
  (incoming as unknown as NodeRequest)._addHeaderLines(headers, headers.length);
  incoming.httpVersionMajor = 1;
  incoming.httpVersionMinor = 1;
  incoming.httpVersion = '1.1';
  Object.assign(incoming, { upgrade: true });
  incoming.complete = true;
  try {
    listener(incoming, node, head);
  } catch (error) {
    node.destroy();
    throw error;
  }
}
