/** Name resolution that parks only the greenlet: `greenstack/dns`. */
import type { RecordWithTtl } from 'node:dns';
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

import { native, Outcome, Query, type RecordFields, type Resolved } from './binding.js';
import { checkFlag, describe } from './checks.js';
import { checkOrder, config } from './config.js';
import { dnsError, overdue } from './dns-error.js';
import {
  type AddressOrder,
  type CheckedOptions,
  checkResolverOptions,
  type ResolverOptions,
} from './dns-options.js';
import {
  addressesOf,
  addressesWithTtl,
  isAddressType,
  recordKinds,
  type RecordsByType,
  type RecordType,
  shapeRecords,
} from './dns-records.js';
import type { SystemResolver } from './dns-system.js';
import { afterNative, beforeNative, requireGreenlet, throwInterruption, type Wait } from './hub.js';
import {
  type CheckedLimits,
  checkLimits,
  FOR_EVER,
  isImmediate,
  type LimitOptions,
  type Limits,
  withinLimits,
} from './limits.js';

export type { DnsError } from './dns-error.js';
export * from './dns-names.js';
export type { AddressOrder, CacheOptions, NameserverOptions, ResolverOptions } from './dns-options.js';
export type { RecordsByType, RecordType } from './dns-records.js';

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
  /** In which order they are returned (default: that of the resolver). */
  order?: AddressOrder;
}

/** Options of queries for addresses, limits included. */
export interface AddressQueryOptions extends LimitOptions {
  /** Returns `{ address, ttl }` each; the time to live is in seconds, as in `node:dns`. */
  ttl?: boolean;
}

/** What is called often. V8 keeps the functions of an addon in a dictionary, where it looks each up at every call. */
const { known, resolve: resolveNatively } = native;

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

const familyBits = { 0: 0, 4: Query.Ipv4, 6: Query.Ipv6 } as const;
const orderBits = {
  sorted: 0,
  ipv4first: Query.Ipv4First,
  ipv6first: Query.Ipv6First,
  verbatim: Query.Verbatim,
} as const;

const NO_OPTIONS: LookupOptions = Object.freeze({});

function checkName(call: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || name === '') {
    throw new TypeError(`${call} expects a name, got ${name === '' ? 'an empty string' : describe(name)}`);
  }
}

const beyondAscii = /[^\0-\x7f]/;

/** A name as it is asked for: other scripts in Punycode. What cannot be a name stays as it is, and is refused later. */
function toAscii(name: string): string {
  if (!beyondAscii.test(name)) return name;
  return domainToASCII(name) || name;
}

function isFailure(found: Resolved): found is string {
  return typeof found === 'string' && found.startsWith('!');
}

function addressOf(address: string): LookupAddress {
  return { address, family: address.includes(':') ? 6 : 4 };
}

/**
 * Resolves names, with servers, limits and a cache of its own.
 *
 * Questions that are equal and under way at the same time are asked once. gevent: `gevent.resolver`.
 */
export class Resolver {
  /** What it is: see {@link ResolverOptions.kind}. */
  readonly kind: 'hickory' | 'system';
  #id = -1;
  #system: SystemResolver | null = null;
  readonly #order: AddressOrder;
  /** The bits of a lookup without options. */
  readonly #lookupBits: number;

  /**
   * @throws {TypeError} if an option has the wrong type, or a nameserver is no address
   * @throws {RangeError} if a time or count is too small
   */
  constructor(options?: ResolverOptions) {
    const checked = checkResolverOptions(options);
    this.kind = checked.kind;
    this.#order = checked.order;
    this.#lookupBits = Query.Addresses | orderBits[checked.order];
    if (checked.kind === 'system') this.#useSystem(checked);
    else this.#useNative(checked);
  }

  #useSystem({ timeout, tries }: CheckedOptions): void {
    // Loaded when it is wanted: few programs do.
    const module = require('./dns-system.js') as typeof import('./dns-system.js');
    this.#system = new module.SystemResolver(timeout, tries);
  }

  #useNative(checked: CheckedOptions): void {
    const { nameservers, timeout, tries, rotate, hosts, search, ndots, cache, authorities } = checked;
    try {
      this.#id = native.addResolver(
        nameservers,
        search ?? [],
        authorities,
        [timeout, tries, ndots, ...cache],
        hosts,
        rotate,
        search !== undefined,
      );
    } catch (error) {
      // A domain that is no name, a certificate that is none.
      throw new TypeError(`new Resolver(): ${(error as Error).message}`, { cause: error });
    }
  }

  /** Ends the resolver; lookups under way fail with `ECANCELLED`. Calling it again does nothing. Never switches. */
  close(): void {
    this.#system?.close();
    if (this.#id >= 0) native.removeResolver(this.#id);
    this.#id = -1;
    this.#system = null;
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * The addresses of a host, as `getaddrinfo` finds them: an IP address is its own; then come the hosts file, `localhost`, and
   * the name servers, with the search domains for short names. Switches only if it must wait. gevent: `socket.getaddrinfo`.
   *
   * @throws {DnsError} `ENOTFOUND` if there is no such name, `ETIMEOUT` if nobody answers in time or the limit passed, …
   */
  lookup(host: string, options: LookupOptions & { all: true }): LookupAddress[];
  lookup(host: string, options?: LookupOptions & { all?: false }): LookupAddress;
  lookup(host: string, options?: LookupOptions): LookupAddress | LookupAddress[];
  lookup(host: string, options: LookupOptions = NO_OPTIONS): LookupAddress | LookupAddress[] {
    checkName('lookup()', host);
    const { family = 0, all = false, order = this.#order } = options;
    let query = this.#lookupBits;
    let limits = FOR_EVER;
    if (options !== NO_OPTIONS) {
      if (family !== 0 && family !== 4 && family !== 6) {
        throw new TypeError(`lookup(): family must be 0, 4 or 6, got ${describe(family)}`);
      }
      checkFlag('lookup()', 'all', all);
      if (order !== this.#order) checkOrder('lookup(): order', order);
      limits = checkLimits('lookup()', options);
      query = Query.Addresses | familyBits[family] | orderBits[order] | (all ? Query.All : 0);
    }
    if (this.#system !== null) {
      const found = inOrder(this.#system.lookup(host, family, limits).map(addressOf), order);
      return all ? found : (found[0] as LookupAddress);
    }
    const found = this.#find('lookup()', 'getaddrinfo', host, query, limits);
    return typeof found === 'string' ? addressOf(found) : (found as string[]).map(addressOf);
  }

  /** The name at the end of all aliases of a host, and its addresses. @internal */
  _lookupCanonical(
    host: string,
    family: 0 | 4 | 6,
    limits: CheckedLimits,
  ): [canonical: string, ...addresses: string[]] {
    if (this.#system !== null) return [host, ...this.#system.lookup(host, family, limits)];
    const query = this.#lookupBits | familyBits[family] | Query.All | Query.Canonical;
    return this.#find('lookup()', 'getaddrinfo', host, query, limits) as [string, ...string[]];
  }

  /** What the system calls an address and a port; `undefined` if this resolver does not ask the system. @internal */
  _systemNameInfo(
    ip: string,
    port: number,
    limits: CheckedLimits,
  ): { hostname: string; service: string } | undefined {
    return this.#system?.nameInfo(ip, port, limits);
  }

  /**
   * The records of a name, of one type, in the shapes of `node:dns`. Asks name servers only, and takes the name as it is.
   * Switches only if it must wait. gevent has no counterpart.
   *
   * @param name - the name
   * @param type - which records (default: `'A'`)
   * @param options - limits; for `'A'` and `'AAAA'` also `ttl`
   * @throws {DnsError} `ENODATA` if the name has no such records, `ENOTFOUND` if there is no such name, …
   */
  resolve(name: string, type: 'A' | 'AAAA', options: AddressQueryOptions & { ttl: true }): RecordWithTtl[];
  resolve(name: string, type?: undefined, limits?: Limits): string[];
  resolve<Type extends RecordType>(name: string, type: Type, limits?: Limits): RecordsByType[Type];
  resolve(name: string, type: RecordType = 'A', limits?: Limits | AddressQueryOptions): unknown {
    if (typeof type !== 'string' || !Object.hasOwn(recordKinds, type)) {
      const types = Object.keys(recordKinds).join(', ');
      throw new TypeError(`resolve(): the type must be one of ${types}, got ${describe(type)}`);
    }
    return this.#query('resolve()', name, type, limits);
  }

  /** The IPv4 addresses of a name, or `{ address, ttl }` each with the option `ttl`. See {@link resolve}. Switches only if it must wait. */
  resolve4(name: string, options: AddressQueryOptions & { ttl: true }): RecordWithTtl[];
  resolve4(name: string, options?: Limits | (AddressQueryOptions & { ttl?: false })): string[];
  resolve4(name: string, options?: Limits | AddressQueryOptions): unknown {
    return this.#query('resolve4()', name, 'A', options);
  }

  /** The IPv6 addresses of a name, or `{ address, ttl }` each with the option `ttl`. See {@link resolve}. Switches only if it must wait. */
  resolve6(name: string, options: AddressQueryOptions & { ttl: true }): RecordWithTtl[];
  resolve6(name: string, options?: Limits | (AddressQueryOptions & { ttl?: false })): string[];
  resolve6(name: string, options?: Limits | AddressQueryOptions): unknown {
    return this.#query('resolve6()', name, 'AAAA', options);
  }

  /** Who may issue certificates for a name. See {@link resolve}. Switches only if it must wait. */
  resolveCaa(name: string, limits?: Limits): RecordsByType['CAA'] {
    return this.#query('resolveCaa()', name, 'CAA', limits) as RecordsByType['CAA'];
  }

  /** The name that a name is an alias of. See {@link resolve}. Switches only if it must wait. */
  resolveCname(name: string, limits?: Limits): string[] {
    return this.#query('resolveCname()', name, 'CNAME', limits) as string[];
  }

  /** Who takes the mail of a name. See {@link resolve}. Switches only if it must wait. */
  resolveMx(name: string, limits?: Limits): RecordsByType['MX'] {
    return this.#query('resolveMx()', name, 'MX', limits) as RecordsByType['MX'];
  }

  /** How a name is to be rewritten. See {@link resolve}. Switches only if it must wait. */
  resolveNaptr(name: string, limits?: Limits): RecordsByType['NAPTR'] {
    return this.#query('resolveNaptr()', name, 'NAPTR', limits) as RecordsByType['NAPTR'];
  }

  /** The name servers of a name. See {@link resolve}. Switches only if it must wait. */
  resolveNs(name: string, limits?: Limits): string[] {
    return this.#query('resolveNs()', name, 'NS', limits) as string[];
  }

  /** What a name points to. See {@link resolve}, and {@link reverse} for addresses. Switches only if it must wait. */
  resolvePtr(name: string, limits?: Limits): string[] {
    return this.#query('resolvePtr()', name, 'PTR', limits) as string[];
  }

  /** The start of the zone of a name. See {@link resolve}. Switches only if it must wait. */
  resolveSoa(name: string, limits?: Limits): RecordsByType['SOA'] {
    return this.#query('resolveSoa()', name, 'SOA', limits) as RecordsByType['SOA'];
  }

  /** Where a service is. See {@link resolve}. Switches only if it must wait. */
  resolveSrv(name: string, limits?: Limits): RecordsByType['SRV'] {
    return this.#query('resolveSrv()', name, 'SRV', limits) as RecordsByType['SRV'];
  }

  /** The texts of a name, each in its pieces. See {@link resolve}. Switches only if it must wait. */
  resolveTxt(name: string, limits?: Limits): string[][] {
    return this.#query('resolveTxt()', name, 'TXT', limits) as string[][];
  }

  /**
   * The names of an IP address: from the hosts file, else from the name servers. Switches only if it must wait. gevent:
   * `socket.gethostbyaddr`.
   *
   * @throws {DnsError} `ENOTFOUND` if it has none, …
   */
  reverse(ip: string, limits?: Limits): string[] {
    if (typeof ip !== 'string' || isIP(ip) === 0 || ip.includes('%')) {
      throw new TypeError(`reverse() expects an IP address, got ${describe(ip)}`);
    }
    const checked = checkLimits('reverse()', limits);
    if (this.#system !== null) return this.#system.reverse(ip, checked);
    const names = this.#id < 0 ? undefined : native.namesOf(this.#id, ip);
    if (names !== undefined) return names;
    const { number, shape } = recordKinds.PTR;
    const found = this.#find('reverse()', 'getHostByAddr', ip, number, checked, native.reversed(ip));
    return (found as RecordFields[]).map(([, ...fields]) => shape(fields) as string);
  }

  #query(call: string, name: string, type: RecordType, options: Limits | AddressQueryOptions): unknown {
    checkName(call, name);
    const { number, syscall } = recordKinds[type];
    const limits = checkLimits(call, options);
    const withTtl = isAddressType(type) && wantsTtl(call, options);
    if (this.#system !== null) {
      const found = this.#system.resolve(type, syscall, name, limits);
      return withTtl || !isAddressType(type)
        ? found
        : (found as RecordWithTtl[]).map(({ address }) => address);
    }
    const found = this.#find(call, syscall, name, number, limits);
    if (!isAddressType(type)) return shapeRecords(type, found as RecordFields[]);
    return withTtl ? addressesWithTtl(found as string[]) : addressesOf(found as string[]);
  }

  /** What is known, or what others answer. `asked` is the name that they are asked for, if it is not `host`. */
  #find(
    call: string,
    syscall: string,
    host: string,
    query: number,
    limits: CheckedLimits,
    asked = toAscii(host),
  ): Resolved {
    if (this.#id < 0) throw dnsError('ECANCELLED', syscall, host, 'the resolver is closed');
    limits.signal?.throwIfAborted();
    const found = known(this.#id, asked, query) ?? this.#ask(call, syscall, host, query, limits, asked);
    if (isFailure(found)) {
      const space = found.indexOf(' ');
      throw dnsError(found.slice(1, space), syscall, host, found.slice(space + 1));
    }
    return found;
  }

  #ask(
    call: string,
    syscall: string,
    host: string,
    query: number,
    limits: CheckedLimits,
    asked: string,
  ): Resolved {
    return withinLimits(call, limits, () => {
      const greenlet = requireGreenlet(call);
      if (isImmediate(limits)) throw overdue(limits, syscall, host);
      const saved = beforeNative(call, new LookupWait(host));
      let found: Resolved | number;
      try {
        found = resolveNatively(this.#id, asked, query, limits.timeout);
      } finally {
        afterNative(greenlet, saved);
      }
      if (found === Outcome.Interrupted) throwInterruption(greenlet);
      if (typeof found === 'number') throw overdue(limits, syscall, host);
      return found;
    });
  }
}

function wantsTtl(call: string, options: Limits | AddressQueryOptions): boolean {
  if (typeof options !== 'object' || options === null || !('ttl' in options)) return false;
  return options.ttl !== undefined && checkFlag(call, 'ttl', options.ttl);
}

/** What the system has sorted already. */
function inOrder(found: LookupAddress[], order: AddressOrder): LookupAddress[] {
  const first = { ipv4first: 4, ipv6first: 6, sorted: 0, verbatim: 0 }[order];
  return found.sort((a, b) => Number(b.family === first) - Number(a.family === first));
}

let defaultResolver: Resolver | null = null;

/** The resolver that is used where none is named, made from `config` at its first use. gevent: `Hub.resolver`. */
export function getDefaultResolver(): Resolver {
  return (defaultResolver ??= makeDefaultResolver());
}

function makeDefaultResolver(): Resolver {
  const [first, ...others] = config.resolver as [ResolverOptions['kind'], ...Array<ResolverOptions['kind']>];
  try {
    return new Resolver(first === undefined ? {} : { kind: first });
  } catch (error) {
    for (const kind of others) {
      try {
        return new Resolver(kind === undefined ? {} : { kind });
      } catch {
        // The first error tells most.
      }
    }
    throw error;
  }
}

/** Replaces the default resolver; `null` makes a new one from `config` at the next use. Never switches. */
export function setDefaultResolver(resolver: Resolver | null): void {
  if (resolver !== null && !(resolver instanceof Resolver)) {
    throw new TypeError(`setDefaultResolver() expects a Resolver or null, got ${describe(resolver)}`);
  }
  defaultResolver = resolver;
}

/** As {@link Resolver.lookup}, by the default resolver. Switches only if it must wait. */
export function lookup(host: string, options: LookupOptions & { all: true }): LookupAddress[];
export function lookup(host: string, options?: LookupOptions & { all?: false }): LookupAddress;
export function lookup(host: string, options?: LookupOptions): LookupAddress | LookupAddress[];
export function lookup(host: string, options?: LookupOptions): LookupAddress | LookupAddress[] {
  return getDefaultResolver().lookup(host, options);
}

/** As {@link Resolver.resolve}, by the default resolver. Switches only if it must wait. */
export const resolve: Resolver['resolve'] = (name: string, type?: RecordType, limits?: Limits) =>
  getDefaultResolver().resolve(name, type as 'A', limits) as never;

/** As {@link Resolver.resolve4}, by the default resolver. Switches only if it must wait. */
export const resolve4: Resolver['resolve4'] = (name: string, options?: Limits) =>
  getDefaultResolver().resolve4(name, options) as never;

/** As {@link Resolver.resolve6}, by the default resolver. Switches only if it must wait. */
export const resolve6: Resolver['resolve6'] = (name: string, options?: Limits) =>
  getDefaultResolver().resolve6(name, options) as never;

/** As {@link Resolver.resolveCaa}, by the default resolver. Switches only if it must wait. */
export function resolveCaa(name: string, limits?: Limits): RecordsByType['CAA'] {
  return getDefaultResolver().resolveCaa(name, limits);
}

/** As {@link Resolver.resolveCname}, by the default resolver. Switches only if it must wait. */
export function resolveCname(name: string, limits?: Limits): string[] {
  return getDefaultResolver().resolveCname(name, limits);
}

/** As {@link Resolver.resolveMx}, by the default resolver. Switches only if it must wait. */
export function resolveMx(name: string, limits?: Limits): RecordsByType['MX'] {
  return getDefaultResolver().resolveMx(name, limits);
}

/** As {@link Resolver.resolveNaptr}, by the default resolver. Switches only if it must wait. */
export function resolveNaptr(name: string, limits?: Limits): RecordsByType['NAPTR'] {
  return getDefaultResolver().resolveNaptr(name, limits);
}

/** As {@link Resolver.resolveNs}, by the default resolver. Switches only if it must wait. */
export function resolveNs(name: string, limits?: Limits): string[] {
  return getDefaultResolver().resolveNs(name, limits);
}

/** As {@link Resolver.resolvePtr}, by the default resolver. Switches only if it must wait. */
export function resolvePtr(name: string, limits?: Limits): string[] {
  return getDefaultResolver().resolvePtr(name, limits);
}

/** As {@link Resolver.resolveSoa}, by the default resolver. Switches only if it must wait. */
export function resolveSoa(name: string, limits?: Limits): RecordsByType['SOA'] {
  return getDefaultResolver().resolveSoa(name, limits);
}

/** As {@link Resolver.resolveSrv}, by the default resolver. Switches only if it must wait. */
export function resolveSrv(name: string, limits?: Limits): RecordsByType['SRV'] {
  return getDefaultResolver().resolveSrv(name, limits);
}

/** As {@link Resolver.resolveTxt}, by the default resolver. Switches only if it must wait. */
export function resolveTxt(name: string, limits?: Limits): string[][] {
  return getDefaultResolver().resolveTxt(name, limits);
}

/** As {@link Resolver.reverse}, by the default resolver. Switches only if it must wait. */
export function reverse(ip: string, limits?: Limits): string[] {
  return getDefaultResolver().reverse(ip, limits);
}
