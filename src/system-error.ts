/** Errors of the operating system, as Node's own look: `code`, `errno`, `syscall`, `address`, `port`. */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

/** An error as Node makes it when a system call fails. */
export interface SystemError extends Error {
  code: string;
  errno: number;
  syscall: string;
  address?: string;
  port?: number;
}

/** Where the call was directed to. */
export interface ErrorAddress {
  address: string;
  /** None for paths. */
  port?: number;
}

/**
 * Makes the error for a failed system call.
 *
 * @param errno - negative, as libuv and Node have it
 */
export function systemError(errno: number, syscall: string, where?: ErrorAddress): SystemError {
  const code = getSystemErrorName(errno);
  const port = where?.port === undefined ? '' : `:${where.port}`;
  const place = where === undefined ? '' : ` ${where.address}${port}`;
  return Object.assign(
    new Error(`${syscall} ${code}${place}`),
    { errno, code, syscall },
    where,
  ) as SystemError;
}

/** The negative number of an error that the system knows by `name`. */
export function errnoOf(name: keyof typeof constants.errno): number {
  return -constants.errno[name];
}
