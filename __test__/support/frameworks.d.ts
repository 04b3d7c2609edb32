/** What the tests use of frameworks that bring no types. */
declare module 'express4' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

  export interface Request extends IncomingMessage {
    body: unknown;
    ip: string;
    params: Record<string, string>;
    query: Record<string, string>;
  }
  export interface Response extends ServerResponse {
    json(value: unknown): this;
    send(body: string | Buffer): this;
    sendFile(path: string): void;
    status(status: number): this;
  }
  export type Next = (error?: unknown) => void;
  export type Handler = (request: Request, response: Response, next: Next) => unknown;
  export type ErrorHandler = (error: Error, request: Request, response: Response, next: Next) => unknown;
  export interface Express extends RequestListener {
    get(path: string, ...handlers: Handler[]): this;
    post(path: string, ...handlers: Handler[]): this;
    use(...handlers: Array<string | Handler | ErrorHandler>): this;
  }
  const express: {
    (): Express;
    json(): Handler;
    static(root: string): Handler;
    urlencoded(options: { extended: boolean }): Handler;
  };
  export default express;
}

declare module 'express5' {
  export * from 'express4';
  export { default } from 'express4';
}

declare module 'koa' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

  interface Context {
    body: unknown;
    method: string;
    path: string;
    req: IncomingMessage;
    res: ServerResponse;
    status: number;
    throw(status: number, message: string): never;
  }
  class Koa {
    silent: boolean;
    use(middleware: (context: Context, next: () => Promise<void>) => unknown): this;
    callback(): RequestListener;
  }
  export = Koa;
}
