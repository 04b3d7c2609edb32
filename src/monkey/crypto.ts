/** `node:crypto`: the synchronous functions that have a callback form. */
import { type Form, replaceEach } from './blocking.js';
import type { AnyFunction } from './callback.js';
import type { Replacement } from './patching.js';

/** As many random bytes are there sooner than a thread could be asked for them. */
const FEW_BYTES = 64 * 1024;

function size(value: unknown): number {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer
    ? value.byteLength
    : 0;
}

/** What is replaced in `node:crypto`. */
export function cryptoReplacements(): Replacement[] {
  const owner = require('node:crypto') as Record<string, AnyFunction>;
  const plain = (name: string): Form => ({ callback: owner[name] as AnyFunction });
  const forms: Record<string, Form> = {
    scryptSync: plain('scrypt'),
    pbkdf2Sync: plain('pbkdf2'),
    hkdfSync: plain('hkdf'),
    argon2Sync: plain('argon2'),
    generateKeySync: plain('generateKey'),
    generateKeyPairSync: {
      ...plain('generateKeyPair'),
      result: ([publicKey, privateKey]) => ({ publicKey, privateKey }),
    },
    generatePrimeSync: plain('generatePrime'),
    checkPrimeSync: plain('checkPrime'),
    randomFillSync: { ...plain('randomFill'), suits: ([memory]) => size(memory) > FEW_BYTES },
    randomBytes: {
      ...plain('randomBytes'),
      suits: ([count]) => typeof count === 'number' && count > FEW_BYTES,
    },
    sign: { ...plain('sign'), suits: (args) => args.length <= 3 },
    verify: { ...plain('verify'), suits: (args) => args.length <= 4 },
    // Before Node 24 it has no callback form.
    diffieHellman: plain((owner.diffieHellman as AnyFunction).length > 1 ? 'diffieHellman' : ''),
    encapsulate: plain('encapsulate'),
    decapsulate: plain('decapsulate'),
  };
  return replaceEach('crypto', owner, forms);
}
