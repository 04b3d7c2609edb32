/** The emitters of Node's own whose listeners get greenlets: servers, signals, worker threads, lines of input. */
import type { EventEmitter } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import { constants } from 'node:os';
import * as readline from 'node:readline';
import * as tls from 'node:tls';
import { MessagePort, Worker } from 'node:worker_threads';

import { type AnyFunction, callInGreenlet } from './callback.js';
import { emitReplacement } from './events.js';
import { imitate, type Replacement } from './patching.js';

type Methods = Record<string, AnyFunction>;

function oneOf(events: readonly string[]): (type: string | symbol) => boolean {
  const set = new Set<string | symbol>(events);
  return (type) => set.has(type);
}

const isConnection = oneOf(['connection', 'secureConnection', 'drop']);
const isRequest = oneOf([
  'request',
  'checkContinue',
  'checkExpectation',
  'connect',
  'upgrade',
  'clientError',
  'dropRequest',
]);
/** What brings a body. Whoever parses it goes on from there to handlers. */
const isContent = oneOf(['data', 'end']);
const isStream = oneOf(['stream', 'session', 'request', 'checkContinue', 'connect']);

/** Whether the only listener is Node's own, by which one kind of server is built on another: it need not be in a greenlet. */
function isServedByNode(type: string | symbol, server: EventEmitter): boolean {
  if (server.listenerCount(type) > 1) return false;
  const isHttp2 = 'updateSettings' in server;
  if (type === 'secureConnection') return isHttp2 || server instanceof https.Server;
  return type === 'connection' && (isHttp2 || server instanceof http.Server || server instanceof tls.Server);
}

/** What is replaced for `node:net` and `node:tls`. */
export function netReplacements(): Replacement[] {
  const concerns = (type: string | symbol, server: EventEmitter): boolean =>
    isConnection(type) && !isServedByNode(type, server);
  return [emitReplacement(net.Server.prototype, concerns)];
}

/** What is replaced for `node:http`, `node:https` and `node:http2`. */
export function httpReplacements(): Replacement[] {
  // Its classes are not exported.
  const prototypes = [http2.createServer(), http2.createSecureServer()].map(
    (server) => Object.getPrototypeOf(server) as object,
  );
  return [
    emitReplacement(http.Server.prototype, isRequest),
    emitReplacement(https.Server.prototype, isRequest),
    emitReplacement(http.IncomingMessage.prototype, isContent),
    emitReplacement(http2.Http2ServerRequest.prototype, isContent),
    ...prototypes.map((prototype) => emitReplacement(prototype, isStream)),
  ];
}

/** What is replaced in `process`: the delivery of signals. */
export function processReplacements(): Replacement[] {
  return [emitReplacement(process, (type) => typeof type === 'string' && type in constants.signals)];
}

/** The events of readline interfaces, and the answers to questions. */
export function readlineReplacements(): Replacement[] {
  const owner = readline.Interface.prototype as unknown as Methods;
  const original = owner.question as AnyFunction;
  const question = imitate(original, function (this: unknown, ...args) {
    const last = args.at(-1);
    if (typeof last === 'function')
      args[args.length - 1] = (answer: unknown) => callInGreenlet(last as AnyFunction, undefined, [answer]);
    return Reflect.apply(original, this, args);
  });
  return [emitReplacement(owner, oneOf(['line', 'close'])), { owner, key: 'question', value: question }];
}

const ADDING = ['on', 'addListener', 'once', 'addEventListener'];
const REMOVING = ['off', 'removeListener', 'removeEventListener'];

/** Ports are event targets: each listener is wrapped when it is added. */
function portReplacements(owner: Methods): Replacement[] {
  const wrapped = new WeakMap<AnyFunction, AnyFunction>();
  const wrap = (listener: AnyFunction): AnyFunction => {
    const known = wrapped.get(listener);
    if (known !== undefined) return known;
    const made: AnyFunction = function (this: unknown, ...args) {
      return callInGreenlet(listener, this, args);
    };
    wrapped.set(listener, made);
    return made;
  };
  const passing = (key: string, replace: (listener: AnyFunction) => AnyFunction): Replacement[] => {
    const original = owner[key];
    if (typeof original !== 'function') return [];
    const value = imitate(original, function (this: unknown, ...args) {
      const [type, listener, ...rest] = args;
      if (type !== 'message' || typeof listener !== 'function') return Reflect.apply(original, this, args);
      return Reflect.apply(original, this, [type, replace(listener as AnyFunction), ...rest]);
    });
    return [{ owner, key, value }];
  };
  return [
    ...ADDING.flatMap((key) => passing(key, wrap)),
    ...REMOVING.flatMap((key) => passing(key, (listener) => wrapped.get(listener) ?? listener)),
  ];
}

/** What is replaced for `node:worker_threads`. */
export function workerReplacements(): Replacement[] {
  return [
    emitReplacement(Worker.prototype, oneOf(['message', 'messageerror', 'online', 'error', 'exit'])),
    ...portReplacements(MessagePort.prototype as unknown as Methods),
  ];
}
