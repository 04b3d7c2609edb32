/** Checks of what resolvers are told. */
import { isIP } from 'node:net';

import { checkCount, checkFlag, checkMilliseconds, checkOptions, describe } from './checks.js';
import { checkOrder, checkResolverKind, config } from './config.js';

/** In which order addresses are returned. */
export type AddressOrder = 'sorted' | 'ipv4first' | 'ipv6first' | 'verbatim';

/** A name server, in its long form. */
export interface NameserverOptions {
  /** An IP address. */
  address: string;
  /** Default: 53; with `'tls'` 853. */
  port?: number;
  /** `'udp'` (default): by UDP, and by TCP if an answer was cut off. */
  transport?: 'udp' | 'tcp' | 'tls';
  /** The name that the certificate of a `'tls'` server must be for (default: the address). */
  serverName?: string;
}

/** What is kept of answers. */
export interface CacheOptions {
  /** The most entries (default: `config.resolverCacheSize`, 4096); those used last stay. */
  size?: number;
  /** How long an answer is kept at the most, in ms, whatever it allows (default: a day). */
  maxTtl?: number;
  /** How long it is kept at least, in ms, whatever it allows (default: 0). Failures are never kept. */
  minTtl?: number;
}

/** Options of {@link Resolver}. */
export interface ResolverOptions {
  /**
   * `'hickory'` (default): asks name servers itself. `'system'`: uses `getaddrinfo` on libuv's threads; of the other options it
   * takes `timeout`, `tries` and `order`.
   */
  kind?: 'hickory' | 'system';
  /**
   * `'ip'`, `'ip:port'`, `'[ip]:port'`, the same after `'tcp://'` or `'tls://'`, the latter with `#name` for the name of the
   * certificate; or an object. None means those of the system (resolv.conf).
   */
  nameservers?: ReadonlyArray<string | NameserverOptions>;
  /** How long to wait for one answer, in ms (default: `config.resolverTimeout`). */
  timeout?: number;
  /** How often to ask each name server (default: `config.resolverTries`). */
  tries?: number;
  /** Whether each question goes to the next name server first, rather than to the first that has not failed lately. */
  rotate?: boolean;
  /** Whether the hosts file is looked at first (default: yes). */
  hosts?: boolean;
  /** Domains that are tried for short names (default: those of the system). */
  search?: readonly string[];
  /** How many dots a name must have to be tried as it is first (default: that of the system, else 1). */
  ndots?: number;
  /** What is kept of answers; `false`: nothing. */
  cache?: CacheOptions | false;
  /** In which order addresses are returned (default: `config.resolverOrder`). */
  order?: AddressOrder;
  /** Certificates, in PEM, of the authorities that `'tls'` servers are trusted by (default: those that Node has). */
  ca?: string | readonly string[];
}

/** {@link ResolverOptions}, checked, as native code takes them. */
export interface CheckedOptions {
  readonly kind: 'hickory' | 'system';
  readonly nameservers: string[];
  readonly timeout: number;
  readonly tries: number;
  readonly rotate: boolean;
  readonly hosts: boolean;
  readonly search: string[] | undefined;
  readonly ndots: number;
  readonly cache: readonly [size: number, maxTtl: number, minTtl: number];
  readonly order: AddressOrder;
  readonly authorities: string[];
}

const CALL = 'new Resolver()';
const DAY = 24 * 60 * 60 * 1000;
/** What native code can count. */
const MOST = 0x7fff_ffff;

/** Checks the options of a resolver. */
export function checkResolverOptions(options: ResolverOptions | undefined): CheckedOptions {
  const given = checkOptions(CALL, options);
  const {
    kind = 'hickory',
    nameservers = config.resolverNameservers,
    timeout = config.resolverTimeout,
    tries = config.resolverTries,
    rotate = false,
    hosts = true,
    search,
    ndots,
    cache = {},
    order = config.resolverOrder,
    ca,
  } = given;
  checkResolverKind(`${CALL}: kind`, kind);
  if (kind === 'system') refuseAllBut(given, ['kind', 'timeout', 'tries', 'order']);
  const servers = kind === 'system' ? [] : checkNameservers(nameservers);
  return {
    kind,
    nameservers: servers,
    timeout: checkTime(timeout),
    tries: checkCount(`${CALL}: tries`, tries, 1, MOST),
    rotate: checkFlag(CALL, 'rotate', rotate),
    hosts: checkFlag(CALL, 'hosts', hosts),
    search: search === undefined ? undefined : checkTexts('search', search, 'domains'),
    ndots: ndots === undefined ? -1 : checkCount(`${CALL}: ndots`, ndots, 0, MOST),
    cache: checkCache(cache),
    order: checkOrder(`${CALL}: order`, order),
    authorities: authoritiesOf(
      ca,
      servers.some((server) => server.startsWith('tls ')),
    ),
  };
}

function refuseAllBut(options: ResolverOptions, taken: string[]): void {
  const refused = Object.entries(options).find(
    ([name, value]) => value !== undefined && !taken.includes(name),
  );
  if (refused !== undefined) {
    throw new TypeError(`${CALL}: the resolver of the system does not take ${refused[0]}`);
  }
}

function checkTime(timeout: unknown): number {
  const ms = checkMilliseconds(`${CALL}: timeout`, timeout);
  if (ms < 1) throw new RangeError(`${CALL}: timeout must be at least 1 ms, got ${String(timeout)}`);
  return ms;
}

function checkTexts(name: string, texts: unknown, what: string): string[] {
  if (!Array.isArray(texts) || texts.some((text) => typeof text !== 'string')) {
    throw new TypeError(`${CALL}: ${name} must be an array of ${what}, got ${describe(texts)}`);
  }
  return texts as string[];
}

function checkCache(cache: CacheOptions | false): [size: number, maxTtl: number, minTtl: number] {
  if (cache === false) return [0, 0, 0];
  const { size = config.resolverCacheSize, maxTtl = DAY, minTtl = 0 } = checkOptions(`${CALL}: cache`, cache);
  return [
    checkCount(`${CALL}: cache.size`, size, 0, MOST),
    checkMilliseconds(`${CALL}: cache.maxTtl`, maxTtl),
    checkMilliseconds(`${CALL}: cache.minTtl`, minTtl),
  ];
}

function authoritiesOf(ca: unknown, isWanted: boolean): string[] {
  // Loaded when it is wanted: few resolvers use TLS.
  if (ca === undefined)
    return isWanted ? [...(require('node:tls') as typeof import('node:tls')).rootCertificates] : [];
  return typeof ca === 'string' ? [ca] : checkTexts('ca', ca, 'certificates in PEM');
}

function checkNameservers(nameservers: unknown): string[] {
  if (!Array.isArray(nameservers)) {
    throw new TypeError(`${CALL}: nameservers must be an array, got ${describe(nameservers)}`);
  }
  return nameservers.map(checkNameserver);
}

const FORM =
  "a nameserver is 'ip', 'ip:port', '[ip]:port', the same after 'tcp://' or 'tls://', or an object";

function checkNameserver(server: unknown): string {
  const parts = typeof server === 'string' ? parse(server) : server;
  if (typeof parts !== 'object' || parts === null) {
    throw new TypeError(
      `${CALL}: ${FORM}; got ${typeof server === 'string' ? `'${server}'` : describe(server)}`,
    );
  }
  const { address, port, transport = 'udp', serverName } = parts as Partial<NameserverOptions>;
  if (typeof address !== 'string' || isIP(address) === 0) {
    throw new TypeError(
      `${CALL}: the address of a nameserver must be an IP address, got ${describe(address)}`,
    );
  }
  if (transport !== 'udp' && transport !== 'tcp' && transport !== 'tls') {
    throw new TypeError(
      `${CALL}: the transport of a nameserver must be udp, tcp or tls, got ${describe(transport)}`,
    );
  }
  if (serverName !== undefined && (typeof serverName !== 'string' || !/^[^\s#]+$/.test(serverName))) {
    throw new TypeError(
      `${CALL}: the serverName of a nameserver must be a name, got ${describe(serverName)}`,
    );
  }
  const number = checkCount(
    `${CALL}: the port of a nameserver`,
    port ?? (transport === 'tls' ? 853 : 53),
    1,
    65_535,
  );
  const where = isIP(address) === 6 ? `[${address}]:${number}` : `${address}:${number}`;
  return transport === 'tls' ? `tls ${where} ${serverName ?? address}` : `${transport} ${where}`;
}

function parse(text: string): NameserverOptions | null {
  const [, transport, rest = '', serverName] = /^(?:(udp|tcp|tls):\/\/)?([^#]*)(?:#(.+))?$/.exec(text) ?? [];
  const [, bracketed, bare, port] =
    isIP(rest) === 0 ? (/^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(rest) ?? []) : [];
  const parts = { address: bracketed ?? bare ?? rest, ...(port === undefined ? {} : { port: Number(port) }) };
  if (isIP(parts.address) === 0 || (serverName !== undefined && transport !== 'tls')) return null;
  return {
    ...parts,
    transport: (transport ?? 'udp') as 'udp' | 'tcp' | 'tls',
    ...(serverName === undefined ? {} : { serverName }),
  };
}
