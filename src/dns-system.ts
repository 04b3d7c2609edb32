/** What the system's own resolver says: getaddrinfo on libuv's threads, and c-ares for records, both of `node:dns`. */
import { promises } from 'node:dns';

import { dnsError, overdue } from './dns-error.js';
import type { RecordType } from './dns-records.js';
import type { CheckedLimits } from './limits.js';
import { Timeout } from './timeout.js';
import { waitFor } from './wait-for.js';

/** Asks the system. Every call switches. */
export class SystemResolver {
  #records: promises.Resolver;
  #pending: Set<(error: Error) => void> = new Set();

  constructor(timeout: number, tries: number) {
    this.#records = new promises.Resolver({ timeout, tries });
  }

  /** Ends calls under way with `ECANCELLED`. */
  close(): void {
    for (const cancel of this.#pending) cancel(new Error('closed'));
  }

  lookup(host: string, family: 0 | 4 | 6, limits: CheckedLimits): string[] {
    const found = this.#wait('getaddrinfo', host, limits, () =>
      promises.lookup(host, { all: true, family, verbatim: true }),
    );
    return found.map(({ address }) => address);
  }

  /** With the time to live of addresses. */
  resolve(type: RecordType, syscall: string, name: string, limits: CheckedLimits): unknown {
    return this.#wait<unknown>(syscall, name, limits, () => {
      if (type === 'A') return this.#records.resolve4(name, { ttl: true });
      if (type === 'AAAA') return this.#records.resolve6(name, { ttl: true });
      return this.#records.resolve(name, type);
    });
  }

  reverse(ip: string, limits: CheckedLimits): string[] {
    return this.#wait('getHostByAddr', ip, limits, () => this.#records.reverse(ip));
  }

  nameInfo(ip: string, port: number, limits: CheckedLimits): { hostname: string; service: string } {
    return this.#wait('getnameinfo', ip, limits, () => promises.lookupService(ip, port));
  }

  #wait<T>(syscall: string, host: string, limits: CheckedLimits, start: () => Promise<T>): T {
    const own = limits.limit ?? (limits.timeout < 0 ? null : new Timeout(limits.timeout));
    let cancel: ((error: Error) => void) | undefined;
    const promise = new Promise<T>((resolve, reject) => {
      cancel = () => reject(dnsError('ECANCELLED', syscall, host, 'the resolver was closed'));
      this.#pending.add(cancel);
      start().then(resolve, reject);
    });
    try {
      return waitFor(promise, { timeout: own, signal: limits.signal ?? undefined }) as T;
    } catch (error) {
      // Nobody waits for the promise any more.
      promise.catch(() => {});
      throw error === own && limits.limit === null ? overdue(limits, syscall, host) : withOwnStack(error);
    } finally {
      if (cancel !== undefined) this.#pending.delete(cancel);
    }
  }
}

/** The stack of an error of a promise ends where the promise was rejected. */
function withOwnStack(error: unknown): unknown {
  if (error instanceof Error && 'syscall' in error) Error.captureStackTrace(error, withOwnStack);
  return error;
}
