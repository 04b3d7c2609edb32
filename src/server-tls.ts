/** Encryption as an option of servers. */
import { checkOptions } from './checks.js';
import type { SecureContext, SecureContextOptions, TlsOptions } from './tls.js';

/** How a server encrypts: see `wrapSocket` of `greenstack/tls`. */
export interface ServerTlsOptions extends SecureContextOptions {
  /** Made by `createSecureContext`; instead of its options. */
  secureContext?: SecureContext;
  /** How long a handshake may take, in ms (default: 120,000). */
  handshakeTimeout?: number;
  /** Whether the end of a connection without the peer's word counts as the end of the stream (default: no). */
  suppressRaggedEofs?: boolean;
}

/** The options of each connection's handshake. */
export type ServerTls = TlsOptions & { secureContext: SecureContext };

/** Loaded when it is wanted: most servers have no use for it. */
export function moduleOfTls(): typeof import('./tls.js') {
  return require('./tls.js') as typeof import('./tls.js');
}

/** Checks the options of each connection's handshake. Whatever is wrong with certificates shows here. */
export function checkServerTls(call: string, options: ServerTlsOptions): ServerTls {
  const { secureContext, handshakeTimeout, suppressRaggedEofs, ...others } = checkOptions(call, options);
  const context = secureContext ?? moduleOfTls().createSecureContext(others);
  const checked = {
    secureContext: context,
    isServer: true,
    ...(handshakeTimeout !== undefined && { handshakeTimeout }),
    ...(suppressRaggedEofs !== undefined && { suppressRaggedEofs }),
  };
  moduleOfTls().checkTlsOptions(call, checked);
  return checked;
}
