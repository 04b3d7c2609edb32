/** A REPL whose lines may block: each is evaluated in a greenlet. */
import { type REPLServer, start } from 'node:repl';
import type { Context } from 'node:vm';

import * as greenstack from '../index.js';
import { type Greenlet, KeyboardInterrupt, spawn } from '../index.js';

type Callback = (error: Error | null, result?: unknown) => void;
type Evaluate = (this: REPLServer, code: string, context: Context, file: string, callback: Callback) => void;
type Listener = (this: REPLServer, ...args: unknown[]) => void;

interface Key {
  readonly name?: string;
  readonly ctrl?: boolean;
}

/** What Node's REPL has besides its types. */
interface Internals {
  eval: Evaluate;
  /** Takes each key that is pressed. */
  _ttyWrite(text: string | undefined, key: Key | undefined): void;
  /** Whether the history is being written. */
  readonly _flushing?: boolean;
}

const HISTORY_SIZE = 1000;

/** Starts it on stdin and stdout. Never switches. */
export function startRepl(): void {
  console.log(
    `Welcome to Node.js ${process.version} with greenstack ${greenstack.version}: lines may block.\n` +
      'Type ".help" for more information.',
  );
  const isTerminal = process.stdout.isTTY && !Number(process.env['NODE_NO_READLINE']);
  const size = Number(process.env['NODE_REPL_HISTORY_SIZE']);
  const options = {
    prompt: '> ',
    useGlobal: true,
    terminal: isTerminal,
    historySize: size > 0 ? size : HISTORY_SIZE,
  };
  const server = start(options) as REPLServer & Internals;
  Object.defineProperty(server.context, 'greenstack', {
    value: greenstack,
    configurable: true,
    writable: true,
  });
  new BlockingLines(server);
  server.on('exit', () => exit(server));
  if (!isTerminal) return;
  server.setupHistory(process.env['NODE_REPL_HISTORY'] as string, (error) => {
    if (error) throw error;
  });
}

function exit(server: REPLServer & Internals): void {
  if (server._flushing !== true) process.exit();
  server.pause();
  server.once('flushHistory', () => process.exit());
}

/** Has a REPL evaluate its lines in greenlets, one after another: what is typed meanwhile waits. */
class BlockingLines {
  /** Evaluates the line whose turn it is. */
  #greenlet: Greenlet<unknown> | null = null;
  readonly #lines: unknown[][] = [];
  readonly #keys: Array<[text: string | undefined, key: Key | undefined]> = [];
  readonly #onLine: (...line: unknown[]) => void;
  readonly #pressKey: (text: string | undefined, key: Key | undefined) => void;
  readonly #close: () => void;
  /** Whether a line is being taken: what closes the REPL then is that line. */
  #isTaking = false;
  /** Whether the input has ended, but not all its lines. */
  #isEnding = false;

  constructor(server: REPLServer & Internals) {
    const evaluate = server.eval;
    server.eval = (...args) => this.#start(() => Reflect.apply(evaluate, server, args));
    this.#onLine = takeListeners(server, 'line');
    server.on('line', (...line: unknown[]) => {
      this.#lines.push(line);
      this.#goOn();
    });
    const onInterrupt = takeListeners(server, 'SIGINT');
    server.on('SIGINT', () => {
      if (this.#greenlet === null) onInterrupt();
      else this.#greenlet.kill(new KeyboardInterrupt('SIGINT'), { block: false });
    });
    this.#pressKey = server._ttyWrite.bind(server);
    server._ttyWrite = (text, key) => {
      if (this.#greenlet === null || (key?.ctrl === true && key.name === 'c')) this.#pressKey(text, key);
      else this.#keys.push([text, key]);
    };
    this.#close = server.close.bind(server);
    server.close = () => {
      this.#isEnding = true;
      if (this.#isTaking) this.#lines.length = this.#keys.length = 0;
      this.#goOn();
    };
  }

  #start(evaluate: () => void): void {
    this.#greenlet = spawn(evaluate);
    this.#greenlet.rawlink(() => {
      this.#greenlet = null;
      this.#goOn();
    });
  }

  /** Takes what has been typed meanwhile, until a line is evaluated again. */
  #goOn(): void {
    if (this.#isTaking) return;
    this.#isTaking = true;
    while (this.#greenlet === null) {
      const line = this.#lines.shift();
      const key = line === undefined ? this.#keys.shift() : undefined;
      if (line !== undefined) this.#onLine(...line);
      else if (key !== undefined) this.#pressKey(...key);
      else break;
    }
    this.#isTaking = false;
    if (this.#greenlet === null && this.#isEnding) this.#close();
  }
}

/** Takes the listeners of an event away, and returns what calls them. */
function takeListeners(server: REPLServer, event: 'line' | 'SIGINT'): (...args: unknown[]) => void {
  const listeners = server.listeners(event) as Listener[];
  server.removeAllListeners(event);
  return (...args) => {
    for (const listener of listeners) Reflect.apply(listener, server, args);
  };
}
