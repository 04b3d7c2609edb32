import { getHub, idle, sleep, waitFor } from 'greenstack';
import { StreamServer, type StreamHandler, type StreamServerOptions } from 'greenstack/server';
import { type Connection, createConnection } from 'greenstack/socket';

/** Sends back what it receives until the end. */
export function echo(socket: Connection): void {
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) socket.sendAll(data);
}

/** Receives until the client ends. */
export function drain(socket: Connection): void {
  while (socket.recv().length > 0);
}

/** A started server on 127.0.0.1; `using` stops it. */
export function serve(handle: StreamHandler, options: StreamServerOptions = {}): StreamServer {
  const server = new StreamServer('127.0.0.1:0', handle, options);
  server.start();
  return server;
}

/** Everything that the peer sends, up to its end. */
export function readAll(socket: Connection): string {
  const pieces: Buffer[] = [];
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) pieces.push(data);
  return Buffer.concat(pieces).toString();
}

/** Sends a text and returns what comes back at once. */
export function exchange(socket: Connection, text: string): string {
  socket.sendAll(text);
  return socket.recv(65_536, 10_000).toString();
}

/** Connects, sends, and returns what comes back at once. */
export function ask(server: { readonly port: number }, text = 'x'): string {
  using socket = createConnection({ host: '127.0.0.1', port: server.port });
  return exchange(socket, text);
}

/** Lets others run until `condition` holds. */
export function until(condition: () => boolean): void {
  idle();
  while (!condition()) sleep(1);
}

/** What is told to the hub's error handler while `body` runs: by whom, and what. */
export function reportsOf(
  body: (reports: Array<[who: string, error: Error]>) => void,
): Array<[string, Error]> {
  const hub = getHub();
  const reports: Array<[string, Error]> = [];
  hub.handleError = (who, error) => void reports.push([String(who), error as Error]);
  try {
    body(reports);
  } finally {
    Reflect.deleteProperty(hub, 'handleError');
  }
  return reports;
}

/** What a callback of Node's is given. */
export function fromCallback<T>(start: (callback: (value: T) => void) => void): T {
  return waitFor(new Promise<T>((resolve) => start(resolve)));
}
