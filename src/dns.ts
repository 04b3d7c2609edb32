/** Name resolution that parks only the greenlet: `greenstack/dns`. */
import { isIP } from 'node:net';

import { native, Outcome } from './binding.js';
import { checkMilliseconds, describe } from './checks.js';
import { config } from './config.js';
import { afterNative, beforeNative, requireGreenlet, throwInterruption, type Wait } from './hub.js';
import { type CheckedLimits, checkLimits, isImmediate, type LimitOptions, withinLimits } from './limits.js';

/** An address, as `node:dns` has it. */
export interface LookupAddress {
  address: string;
  family: 4 | 6;
}

/** Options of {@link Resolver.lookup}, limits included. */
export interface LookupOptions extends LimitOptions {
  /** Only addresses of this family; 0 (default): of both. */
  family?: 0 | 4 | 6;
  /** All addresses rather than the first. */
  all?: boolean;
}

/** Options of {@link Resolver}. */
export interface ResolverOptions {
  /** `'ip'`, `'ip:port'` or `'[ip]:port'` each; none means those of the system (resolv.conf). */
  nameservers?: readonly string[];
  /** How long to wait for one answer, in ms (default: `config.resolverTimeout`). */
  timeout?: number;
  /** How often to ask (default: `config.resolverTries`). */
  tries?: number;
  /** Whether the hosts file is looked at first (default: yes). */
  hosts?: boolean;
  /** Domains that are tried for names without a dot (default: those of the system). */
  search?: readonly string[];
}

/** The error of a failed lookup, as `node:dns` makes it. */
export interface DnsError extends Error {
  /** `ENOTFOUND`, `ENODATA`, `ETIMEOUT`, `ESERVFAIL`, `EREFUSED`, `ECANCELLED`, … */
  code: string;
  syscall: 'getaddrinfo';
  hostname: string;
}

function dnsError(code: string, hostname: string, detail: string): DnsError {
  const message = `getaddrinfo ${code} ${hostname}`;
  const error = new Error(detail === '' ? message : `${message}: ${detail}`);
  return Object.assign(error, { code, syscall: 'getaddrinfo' as const, hostname });
}

function checkTries(tries: unknown): number {
  if (typeof tries !== 'number') throw new TypeError(`tries must be a number, got ${typeof tries}`);
  if (!Number.isInteger(tries) || tries < 1) {
    throw new RangeError(`tries must be a whole number from 1, got ${tries}`);
  }
  return tries;
}

function checkTime(timeout: unknown): number {
  const ms = checkMilliseconds('timeout', timeout);
  if (ms < 1) throw new RangeError(`timeout must be at least 1 ms, got ${String(timeout)}`);
  return ms;
}

function checkSearch(search: unknown): string[] {
  if (!Array.isArray(search) || search.some((domain) => typeof domain !== 'string')) {
    throw new TypeError(`search must be an array of domains, got ${describe(search)}`);
  }
  return search as string[];
}

function checkNameservers(nameservers: unknown): string[] {
  if (!Array.isArray(nameservers))
    throw new TypeError(`nameservers must be an array, got ${typeof nameservers}`);
  return nameservers.map((server: unknown) => {
    const text = String(server);
    const parts = isIP(text) === 0 ? /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) : null;
    const ip = parts?.[1] ?? parts?.[2] ?? text;
    const port = Number(parts?.[3] ?? 53);
    if (isIP(ip) === 0 || port < 1 || port > 65_535) {
      throw new TypeError(`a nameserver is 'ip', 'ip:port' or '[ip]:port', got '${String(server)}'`);
    }
    return isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
  });
}

/** A greenlet that is parked until a name is resolved. */
class LookupWait implements Wait {
  constructor(private readonly host: string) {}

  cancel(): void {
    // Native code forgets the lookup when the greenlet goes on.
  }

  describe(): string {
    return `lookup of ${this.host}`;
  }
}

/** What to throw when the limit of a lookup has passed. */
function overdue({ limit }: CheckedLimits, host: string): unknown {
  return limit?.thrown() ?? dnsError('ETIMEOUT', host, '');
}

/** Resolves names, with servers, limits and a cache of its own. gevent: `gevent.resolver`. */
export class Resolver {
  #id: number;

  /**
   * @throws {TypeError} if a nameserver is no address
   * @throws {RangeError} if a time or count is too small
   */
  constructor(options: ResolverOptions = {}) {
    const {
      nameservers = config.resolverNameservers,
      timeout = config.resolverTimeout,
      tries = config.resolverTries,
      hosts = true,
      search,
    } = options;
    if (typeof hosts !== 'boolean') throw new TypeError(`hosts must be true or false, got ${typeof hosts}`);
    this.#id = native.addResolver(
      checkNameservers(nameservers),
      checkTime(timeout),
      checkTries(tries),
      hosts,
      search === undefined ? [] : checkSearch(search),
      search !== undefined,
    );
  }

  /** Ends the resolver; lookups under way fail with `ECANCELLED`. Calling it again does nothing. */
  close(): void {
    if (this.#id >= 0) native.removeResolver(this.#id);
    this.#id = -1;
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * The addresses of a host, from the hosts file or the name servers. An IP address is its own. Switches only if it must
   * wait. gevent: `socket.getaddrinfo`.
   *
   * @throws {DnsError} `ENOTFOUND` if there is no such name, `ETIMEOUT` if nobody answers in time or the limit passed, …
   */
  lookup(host: string, options: LookupOptions & { all: true }): LookupAddress[];
  lookup(host: string, options?: LookupOptions & { all?: false }): LookupAddress;
  lookup(host: string, options: LookupOptions = {}): LookupAddress | LookupAddress[] {
    if (typeof host !== 'string' || host === '') {
      throw new TypeError(
        `lookup() expects a host name, got ${host === '' ? 'an empty string' : typeof host}`,
      );
    }
    const { family = 0, all = false } = options;
    if (family !== 0 && family !== 4 && family !== 6) {
      throw new TypeError(`lookup(): family must be 0, 4 or 6, got ${String(family)}`);
    }
    const limits = checkLimits('lookup()', options);
    const addresses = withinLimits('lookup()', limits, () => {
      const literal = isIP(host);
      if (literal !== 0) return [host];
      if (isImmediate(limits)) throw overdue(limits, host);
      return this.#ask(host, family, limits);
    });
    const found = addresses.map((address): LookupAddress => ({
      address,
      family: isIP(address) === 6 ? 6 : 4,
    }));
    const [first] = found;
    if (first === undefined) throw dnsError('ENOTFOUND', host, '');
    return all ? found : first;
  }

  #ask(host: string, family: 0 | 4 | 6, limits: CheckedLimits): string[] {
    if (this.#id < 0) throw dnsError('ECANCELLED', host, 'the resolver is closed');
    const greenlet = requireGreenlet('lookup()');
    const saved = beforeNative('lookup()', new LookupWait(host));
    let answer: string[] | string | number;
    try {
      answer = native.lookup(this.#id, host, family, limits.timeout);
    } finally {
      afterNative(greenlet, saved);
    }
    if (typeof answer === 'object') return answer;
    if (answer === Outcome.Interrupted) throwInterruption(greenlet);
    if (typeof answer === 'number') throw overdue(limits, host);
    const space = answer.indexOf(' ');
    throw dnsError(answer.slice(0, space), host, answer.slice(space + 1));
  }
}

let defaultResolver: Resolver | null = null;

/** The resolver that is used where none is named, made from `config` at its first use. */
export function getDefaultResolver(): Resolver {
  return (defaultResolver ??= new Resolver());
}

/** Replaces the default resolver; `null` makes a new one from `config` at the next use. */
export function setDefaultResolver(resolver: Resolver | null): void {
  if (resolver !== null && !(resolver instanceof Resolver)) {
    throw new TypeError(`setDefaultResolver() expects a Resolver or null, got ${typeof resolver}`);
  }
  defaultResolver = resolver;
}

/** As {@link Resolver.lookup}, by the default resolver. Switches only if it must wait. */
export function lookup(host: string, options: LookupOptions & { all: true }): LookupAddress[];
export function lookup(host: string, options?: LookupOptions & { all?: false }): LookupAddress;
export function lookup(host: string, options?: LookupOptions): LookupAddress | LookupAddress[] {
  return getDefaultResolver().lookup(host, options as LookupOptions & { all?: false });
}
