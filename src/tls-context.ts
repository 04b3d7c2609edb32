/** What encrypted connections share: certificates, roots, versions, resumable sessions. */
import type { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';

import { native, TlsFlag } from './binding.js';
import { checkFlag, checkFunction, checkOptions, describe } from './checks.js';
import { GreenstackError, named } from './errors.js';

/** A version of the protocol, as Node spells it. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** Text in PEM; a Buffer is one too. */
type Pem = string | Uint8Array;

/** A certificate with its key. */
export interface Identity {
  /** The certificate, followed by those that lead to a root, in PEM. */
  cert: Pem;
  /** Its key, in PEM: PKCS#8, PKCS#1 or SEC1, not encrypted. */
  key: Pem;
}

/** Options of {@link createSecureContext}. */
export interface SecureContextOptions {
  /** The certificate to show, or one each of several kinds (ECDSA and RSA): in PEM, followed by those that lead to a root. */
  cert?: Pem | readonly Pem[];
  /** The key of each certificate, in PEM: PKCS#8, PKCS#1 or SEC1, not encrypted. */
  key?: Pem | readonly Pem[];
  /** The roots to trust, in PEM (default: those that Node brings, `tls.rootCertificates`). */
  ca?: Pem | readonly Pem[];
  /** For servers: certificates by the name that the client asks for, `'*.example.org'` included; `cert` is for all others. */
  sni?: Readonly<Record<string, Identity>>;
  /** Protocols of the application, best first, such as `['h2', 'http/1.1']`. */
  alpnProtocols?: readonly string[];
  /**
   * Cipher suites allowed, best first, separated by `:`, by their names in OpenSSL or in the standard (default: all, and
   * servers leave the choice to the client).
   */
  ciphers?: string;
  /** The lowest version allowed (default: `'TLSv1.2'`). */
  minVersion?: TlsVersion;
  /** The highest version allowed (default: `'TLSv1.3'`). */
  maxVersion?: TlsVersion;
  /** For servers: whether clients are asked for a certificate (default: no). */
  requestCert?: boolean;
  /**
   * Whether a peer that is not trusted ends the handshake (default: yes). If not, `authorized` and `authorizationError` of the
   * socket tell.
   */
  rejectUnauthorized?: boolean;
  /** For clients: decides whether a trusted certificate is that of the server, instead of the usual rules; returns why not. */
  checkServerIdentity?: (hostname: string, cert: X509Certificate) => Error | undefined;
  /** Whether a peer that comes again may resume its session (default: yes). */
  sessionResumption?: boolean;
  /** Gets each line of the key log, in the format of NSS, which lets Wireshark decrypt. */
  keyLog?: (line: string) => void;
}

/** An option of a secure context cannot be used. */
export class SecureContextError extends GreenstackError {
  /** Which one: `'cert'`, `'key'`, `'ca'`, … */
  readonly argument: string;

  constructor(call: string, argument: string, problem: string) {
    super('ERR_GREENSTACK_SECURE_CONTEXT', `${call}: ${argument} ${problem}`);
    this.argument = argument;
  }

  static {
    named(this, 'SecureContextError');
  }
}

const OPTIONS: ReadonlyArray<keyof SecureContextOptions> = [
  'cert',
  'key',
  'ca',
  'sni',
  'alpnProtocols',
  'ciphers',
  'minVersion',
  'maxVersion',
  'requestCert',
  'rejectUnauthorized',
  'checkServerIdentity',
  'sessionResumption',
  'keyLog',
];

function pem(call: string, name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  throw new TypeError(`${call}: ${name} must be a string or Buffer in PEM, got ${describe(value)}`);
}

function pems(call: string, name: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return [pem(call, name, value)];
  return value.map((part) => pem(call, name, part));
}

/** Names, certificates and keys, one after another. */
function identities(call: string, { cert, key, sni = {} }: SecureContextOptions): string[] {
  const certificates = pems(call, 'cert', cert);
  const keys = pems(call, 'key', key);
  if (certificates.length !== keys.length) {
    throw new TypeError(
      `${call}: cert and key belong together, got ${certificates.length} and ${keys.length} of them`,
    );
  }
  if (typeof sni !== 'object' || sni === null)
    throw new TypeError(`${call}: sni must be an object of names with { cert, key }, got ${describe(sni)}`);
  const named = Object.entries(sni).flatMap(([name, identity]) => {
    if (!/^(\*\.)?[^*\s]+$/.test(name))
      throw new TypeError(`${call}: sni has names such as 'example.org' and '*.example.org', got '${name}'`);
    if (typeof identity !== 'object' || identity === null)
      throw new TypeError(`${call}: sni['${name}'] must be { cert, key }, got ${describe(identity)}`);
    return [
      name,
      pem(call, `sni['${name}'].cert`, identity.cert),
      pem(call, `sni['${name}'].key`, identity.key),
    ];
  });
  return [
    ...certificates.flatMap((certificate, index) => ['', certificate, keys[index] as string]),
    ...named,
  ];
}

function checkProtocols(call: string, protocols: unknown): string[] {
  if (!Array.isArray(protocols))
    throw new TypeError(`${call}: alpnProtocols must be an array of names, got ${describe(protocols)}`);
  for (const protocol of protocols) {
    if (typeof protocol !== 'string' || protocol === '' || Buffer.byteLength(protocol) > 255) {
      throw new TypeError(
        `${call}: alpnProtocols must be names of 1 to 255 bytes, got ${describe(protocol)}`,
      );
    }
  }
  return protocols as string[];
}

function checkCiphers(call: string, ciphers: unknown): string[] {
  if (ciphers === undefined) return [];
  if (typeof ciphers !== 'string' || ciphers === '')
    throw new TypeError(`${call}: ciphers must be names separated by ':', got ${describe(ciphers)}`);
  return ciphers.split(':');
}

function checkVersion(call: string, name: string, version: unknown): void {
  if (version === 'TLSv1.2' || version === 'TLSv1.3') return;
  const isOld = version === 'TLSv1' || version === 'TLSv1.1';
  throw new (isOld ? RangeError : TypeError)(
    `${call}: ${name} must be 'TLSv1.2' or 'TLSv1.3', got ${describe(version)}`,
  );
}

interface Checked {
  identities: string[];
  roots: string[] | null;
  alpn: string[];
  ciphers: string[];
  flags: number;
}

function check(call: string, options: SecureContextOptions): Checked {
  const {
    alpnProtocols = [],
    minVersion = 'TLSv1.2',
    maxVersion = 'TLSv1.3',
    requestCert = false,
    rejectUnauthorized = true,
    checkServerIdentity,
    sessionResumption = true,
    keyLog,
  } = options;
  for (const [name, value] of Object.entries({ requestCert, rejectUnauthorized, sessionResumption }))
    checkFlag(call, name, value);
  for (const [name, value] of Object.entries({ minVersion, maxVersion })) checkVersion(call, name, value);
  if (minVersion > maxVersion)
    throw new RangeError(`${call}: minVersion ${minVersion} is higher than maxVersion ${maxVersion}`);
  if (checkServerIdentity !== undefined) checkFunction(`${call}: checkServerIdentity`, checkServerIdentity);
  if (keyLog !== undefined) checkFunction(`${call}: keyLog`, keyLog);
  const roots = options.ca === undefined ? null : pems(call, 'ca', options.ca);
  const flags: Array<[boolean, TlsFlag]> = [
    [rejectUnauthorized, TlsFlag.RejectUnauthorized],
    [checkServerIdentity === undefined, TlsFlag.CheckName],
    [sessionResumption, TlsFlag.Resumption],
    [keyLog !== undefined, TlsFlag.LogKeys],
    [minVersion === 'TLSv1.3', TlsFlag.NotTls12],
    [maxVersion === 'TLSv1.2', TlsFlag.NotTls13],
    [requestCert, TlsFlag.RequestCertificate],
    [roots !== null, TlsFlag.NameRoots],
  ];
  return {
    identities: identities(call, options),
    roots,
    alpn: checkProtocols(call, alpnProtocols),
    ciphers: checkCiphers(call, options.ciphers),
    flags: flags.reduce((bits, [isSet, bit]) => (isSet ? bits | bit : bits), 0),
  };
}

/** Configs of native code whose contexts are gone. */
const forgotten = new FinalizationRegistry<number>((key) => native.tlsRemoveConfig(key));

let defaultContext: SecureContext | null = null;

/** Certificates, roots and versions, checked once, for any number of connections, and the sessions that can be resumed. */
export class SecureContext {
  readonly #checked: Checked;
  readonly #options: SecureContextOptions;
  #client = -1;
  #server = -1;

  /** @internal Use {@link createSecureContext}. */
  constructor(call: string, options: SecureContextOptions) {
    this.#checked = check(call, options);
    this.#options = options;
    // What is not given needs no check before it is used.
    if (this._canServe) this._config(call, true);
    if (!this._canServe || options.ca !== undefined) this._config(call, false);
  }

  /** The context that was passed, or one of the options beside it. @internal */
  static _from(call: string, context: unknown, options: SecureContextOptions): SecureContext {
    const given = OPTIONS.filter((name) => options[name] !== undefined);
    if (context !== undefined) {
      if (!(context instanceof SecureContext))
        throw new TypeError(
          `${call}: secureContext must be made by createSecureContext(), got ${describe(context)}`,
        );
      if (given.length > 0)
        throw new TypeError(`${call}: ${given.join(', ')} must be given to createSecureContext() instead`);
      return context;
    }
    if (given.length === 0) return (defaultContext ??= new SecureContext(call, {}));
    return new SecureContext(call, options);
  }

  /** Native code's name for what it has made of this. @internal */
  _config(call: string, isServer: boolean): number {
    const known = isServer ? this.#server : this.#client;
    if (known >= 0) return known;
    const { identities, alpn, ciphers, flags } = this.#checked;
    // Servers that ask for no certificate trust nobody.
    const needsRoots = !isServer || (flags & TlsFlag.RequestCertificate) !== 0;
    const roots = needsRoots ? (this.#checked.roots ?? [...rootCertificates]) : [];
    const key = native.tlsConfig(isServer, identities, roots, alpn, ciphers, flags);
    if (typeof key !== 'number') throw new SecureContextError(call, key[0], key[1]);
    forgotten.register(this, key);
    if (isServer) this.#server = key;
    else this.#client = key;
    return key;
  }

  /** Whether it has a certificate to show. @internal */
  get _canServe(): boolean {
    return this.#checked.identities.length > 0;
  }

  /** The protocols of the application that it takes. @internal */
  get _alpn(): readonly string[] {
    return this.#checked.alpn;
  }

  /** Whether lines of a key log are wanted. @internal */
  get _logsKeys(): boolean {
    return this.#options.keyLog !== undefined;
  }

  /** Whether a client has to tell which server it expects. @internal */
  get _needsName(): boolean {
    const mask = TlsFlag.RejectUnauthorized | TlsFlag.CheckName;
    return (this.#checked.flags & mask) === mask;
  }

  /** Whether a peer that is not trusted ends the handshake. @internal */
  get _rejects(): boolean {
    return (this.#checked.flags & TlsFlag.RejectUnauthorized) !== 0;
  }

  /** Whether the user decides which certificates are those of a server. @internal */
  get _checksIdentity(): boolean {
    return this.#options.checkServerIdentity !== undefined;
  }

  /** Why a certificate is not that of the server, as the user sees it. @internal */
  _checkIdentity(servername: string, certificate: X509Certificate): Error | undefined {
    return this.#options.checkServerIdentity?.(servername, certificate);
  }

  /** @internal */
  _deliverKeyLog(isServer: boolean): void {
    const { keyLog } = this.#options;
    if (keyLog === undefined) return;
    const lines = native.tlsKeyLog(isServer ? this.#server : this.#client).split('\n');
    for (const line of lines) if (line !== '') keyLog(line);
  }
}

/**
 * Checks certificates, keys and the rest, for any number of connections. Never switches. gevent: `ssl.create_default_context`.
 *
 * @throws {SecureContextError} if an option cannot be used: its `argument` says which
 */
export function createSecureContext(options?: SecureContextOptions): SecureContext {
  const call = 'createSecureContext()';
  return new SecureContext(call, checkOptions(call, options));
}
