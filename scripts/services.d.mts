/** A server of a test's own. */
export interface Service {
  readonly folder: string;
  /** The path of its Unix-domain socket. */
  readonly socket: string;
  stop(): Promise<void>;
}

export const hasPostgres: boolean;
export const hasRedis: boolean;
export const hasMariadb: boolean;
export function install(): void;
export function startPostgres(options?: {
  maxConnections?: number;
}): Promise<Service & { readonly host: string }>;
export function startRedis(): Promise<Service>;
export function startMariadb(): Promise<Service>;
