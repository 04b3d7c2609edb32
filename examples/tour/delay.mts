import { createHash } from 'node:crypto';

/** How long the embedded name server takes to answer about a name: 10 to 30 ms, the same each time. */
export function nameDelay(name: string): number {
  return 10 + 20 * shareOf(name);
}

/** How long the embedded origin takes to answer for a host: 50 to 150 ms, the same each time. */
export function pageDelay(host: string): number {
  return 50 + 100 * shareOf(host);
}

/** A number from 0 to 1 that depends on the name alone. */
function shareOf(name: string): number {
  return createHash('sha256').update(name.toLowerCase()).digest().readUInt16BE() / 0xffff;
}
