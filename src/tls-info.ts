/** What is known of an encrypted connection: what its ends have agreed on, and who the peer is. */
import { X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';

import { native, type TlsAgreed } from './binding.js';

/** The error of a peer that is not trusted, as `node:tls` makes it. */
export interface CertificateError extends Error {
  /** `CERT_HAS_EXPIRED`, `UNABLE_TO_VERIFY_LEAF_SIGNATURE`, `ERR_TLS_CERT_ALTNAME_INVALID`, … */
  code: string;
  /** What the peer has shown. */
  cert?: X509Certificate;
  /** For `ERR_TLS_CERT_ALTNAME_INVALID`: which server was asked for. */
  host?: string;
  /** For `ERR_TLS_CERT_ALTNAME_INVALID`: the message in short. */
  reason?: string;
}

/** The cipher suite of a connection. */
export interface Cipher {
  /** Its name in OpenSSL. */
  name: string;
  /** Its name in the standard. */
  standardName: string;
  /** The protocol version. */
  version: string;
}

/**
 * What is known of an encrypted connection. Asked for the first time, each property wants the connection to be there still.
 * Never switches.
 */
export class TlsInfo {
  /** Native code's name for the session. */
  readonly #key: number;
  /** Which server the client has asked for. */
  readonly #host: string;
  #agreed: TlsAgreed | undefined;
  #chain: X509Certificate[] | undefined;

  /** @internal */
  constructor(key: number, host = '') {
    this.#key = key;
    this.#host = host;
  }

  #what(): TlsAgreed | undefined {
    return (this.#agreed ??= native.tlsAgreed(this.#key));
  }

  /** `'TLSv1.3'` or `'TLSv1.2'`; `null` before the handshake. gevent: `version()`. */
  get protocol(): string | null {
    return this.#what()?.[0] ?? null;
  }

  /** The cipher suite; `null` before the handshake. */
  get cipher(): Cipher | null {
    const agreed = this.#what();
    if (agreed === undefined) return null;
    const [version, name, standardName] = agreed;
    return { name, standardName, version };
  }

  /** The protocol of the application that both ends have chosen; `null` if there is none. gevent: `selected_alpn_protocol()`. */
  get alpnProtocol(): string | null {
    return this.#what()?.[3] || null;
  }

  /** The name that the client has asked for; `null` if there is none. */
  get serverName(): string | null {
    return this.#what()?.[4] || null;
  }

  /** Whether an earlier session was resumed. gevent: `session_reused`. */
  get sessionReused(): boolean {
    return this.#what()?.[5] === 'resumed';
  }

  /** Whether the peer has shown a certificate that is trusted. */
  get authorized(): boolean {
    return (
      this.#what() !== undefined && this.peerCertificate !== undefined && this.authorizationError === null
    );
  }

  /** Why the peer is not trusted, where that is allowed by `rejectUnauthorized: false`; `null` if it is. */
  get authorizationError(): Error | null {
    const agreed = this.#what();
    const code = agreed?.[6] ?? '';
    return code === '' ? null : this._certificateError(code, agreed?.[7] ?? '');
  }

  /** What the peer has shown; `undefined` if it has not. gevent: `getpeercert()`. */
  get peerCertificate(): X509Certificate | undefined {
    return this.peerCertificateChain[0];
  }

  /** The peer's certificate and those that it has sent with it. */
  get peerCertificateChain(): X509Certificate[] {
    if (this.#chain !== undefined) return this.#chain;
    const chain = native.tlsPeerCertificates(this.#key).map((der) => new X509Certificate(der));
    // Before the handshake it may still come.
    if (this.#what() !== undefined) this.#chain = chain;
    return chain;
  }

  /** @internal */
  _certificateError(code: string, message: string): CertificateError {
    const error: CertificateError = Object.assign(new Error(message), { code });
    const cert = this.peerCertificate;
    if (cert !== undefined) error.cert = cert;
    if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return error;
    const reason = message.slice(message.indexOf(': ') + 2);
    return Object.assign(error, { host: this.#host, reason });
  }

  [inspect.custom](): string {
    return `<TlsInfo ${this.protocol ?? 'closed'}>`;
  }
}
