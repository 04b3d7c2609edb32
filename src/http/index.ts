/** A server of HTTP whose handlers simply block: `greenstack/http`. */
export type { CompressOptions } from './compression.js';
export type { Environ } from './environ.js';
export { HttpError, type HttpErrorOptions } from './error.js';
export {
  type FetchApp,
  type FetchFunction,
  fetchHandler,
  type FetchHandlerOptions,
} from './fetch-handler.js';
export { fetch, type FetchInit, FetchResponse } from './fetch.js';
export { NodeServer } from './node-server.js';
export { type HeadersInit, HttpHeaders } from './headers.js';
export type { AccessLog, AccessLogEntry } from './log.js';
export { HttpUnsupportedError } from './node-connection.js';
export {
  type NodeListener,
  nodeListener,
  type NodeListenerOptions,
  type UpgradeListener,
} from './node-listener.js';
export type { HttpRequest, ReadBodyOptions, Upgraded } from './request.js';
export { type HttpBody, HttpResponse, type HttpResponseInit, type Piece } from './response.js';
export { type HandlerResult, type HttpHandler, HttpServer, type HttpServerOptions, serve } from './server.js';
