import { existsSync } from 'node:fs';

type Services = typeof import('../../scripts/services.mjs', { with: { 'resolution-mode': 'import' } });

/** A PostgreSQL that a test has started. */
export type RunningPostgres = Awaited<ReturnType<Services['startPostgres']>>;

/** A Redis that a test has started. */
export type RunningRedis = Awaited<ReturnType<Services['startRedis']>>;

/** A MariaDB that a test has started. */
export type RunningMariadb = Awaited<ReturnType<Services['startMariadb']>>;

// As `scripts/services.mjs` has it, which can only be loaded later.
export const hasPostgres = existsSync('/usr/lib/postgresql');
export const hasRedis = existsSync('/usr/bin/redis-server');
export const hasMariadb = ['/usr/sbin/mariadbd', '/usr/bin/my_print_defaults'].every((path) =>
  existsSync(path),
);

/** Starts a PostgreSQL of one's own, without anything in it. */
export async function startPostgres(options: { maxConnections?: number } = {}): Promise<RunningPostgres> {
  return (await import('../../scripts/services.mjs')).startPostgres(options);
}

/** Starts a Redis of one's own, without anything in it. */
export async function startRedis(): Promise<RunningRedis> {
  return (await import('../../scripts/services.mjs')).startRedis();
}

/** Starts a MariaDB of one's own, with an empty database `test`. */
export async function startMariadb(): Promise<RunningMariadb> {
  return (await import('../../scripts/services.mjs')).startMariadb();
}
