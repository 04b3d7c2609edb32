/** Errors of name resolution, as `node:dns` makes them. */
import type { CheckedLimits } from './limits.js';

/** The error of a failed lookup, as `node:dns` makes it. */
export interface DnsError extends Error {
  /** `ENOTFOUND`, `ENODATA`, `ETIMEOUT`, `ESERVFAIL`, `EREFUSED`, `ECANCELLED`, … */
  code: string;
  /** `'getaddrinfo'`, `'queryMx'`, `'getHostByAddr'`, … */
  syscall: string;
  hostname: string;
}

/** Makes an error that looks as one of Node's. */
export function dnsError(code: string, syscall: string, hostname: string, detail = ''): DnsError {
  const message = `${syscall} ${code} ${hostname}`;
  const error = new Error(detail === '' ? message : `${message}: ${detail}`);
  return Object.assign(error, { code, syscall, hostname });
}

/** What to throw when the limit of a lookup has passed. */
export function overdue({ limit }: CheckedLimits, syscall: string, hostname: string): unknown {
  return limit?.thrown() ?? dnsError('ETIMEOUT', syscall, hostname);
}
