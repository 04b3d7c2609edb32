import { networkInterfaces } from 'node:os';

const interfaces = Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
  (entries ?? []).map((entry) => ({ name, ...entry })),
);

/** Whether this host has IPv6 on its loopback. */
export const hasIpv6 = interfaces.some(({ address }) => address === '::1');

/** A link-local IPv6 address of this host, with the name and the number of its network interface. */
export const linkLocal = interfaces.find(({ address }) => address.startsWith('fe80:'));
