/**
 * The embedded servers: a process of their own, so that time and memory of the tour are the greenlets' alone.
 *
 * Tells its parent the addresses, and ends with it.
 */
import { startNameServer } from './name-server.mts';
import { startOrigin } from './origin.mts';

/** Where the embedded servers listen. */
export interface Addresses {
  /** `ip:port` of the DNS server. */
  nameserver: string;
  /** The HTTP server's port on 127.0.0.1. */
  origin: number;
}

process.once('disconnect', () => process.exit());
const [nameserver, origin] = await Promise.all([startNameServer(), startOrigin()]);
process.send?.({ nameserver, origin } satisfies Addresses);
