import { readdirSync } from 'node:fs';

/** How many descriptors this process has. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
