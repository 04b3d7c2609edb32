/** Certificates that the tests make for themselves with the `openssl` program, with the dates of today. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key, in PEM. */
export interface Identity {
  cert: string;
  key: string;
}

/** What a certificate is to be. */
export interface Wanted {
  /** Its names and addresses, as OpenSSL writes them: `'DNS:a.test,IP:127.0.0.1'`. */
  names?: string;
  /** The algorithm of its key (default: ECDSA with P-256). */
  kind?: 'ec' | 'rsa' | 'ed25519';
  /** Who has signed it: itself, if it is not told. */
  issuer?: Identity;
  /** Whether it may sign others. */
  isAuthority?: boolean;
  /** Days from now. */
  from?: number;
  until?: number;
}

const REQUEST = '[req]\ndistinguished_name = dn\n[dn]\n';
const ISSUER = `[ca]
default_ca = issuer
[issuer]
database = index
new_certs_dir = .
rand_serial = yes
policy = policy
default_md = sha256
copy_extensions = copy
unique_subject = no
[policy]
commonName = optional
`;

const KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['-newkey', 'rsa:2048'],
  ed25519: ['-newkey', 'ed25519'],
};

let made = 0;

/** Makes a certificate. Blocks the process for some milliseconds. */
export function certificate(wanted: Wanted = {}): Identity {
  const { names, kind = 'ec', issuer, isAuthority = false, from = -1, until = 30 } = wanted;
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-tls-'));
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const write = (files: Record<string, string>): void => {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  };
  const read = (name: string): string => readFileSync(join(folder, name), 'latin1');
  try {
    write({ request: REQUEST, issuer: ISSUER, index: '' });
    const extensions = [
      ...(names === undefined ? [] : ['-addext', `subjectAltName=${names}`]),
      ...['-addext', `basicConstraints=critical,CA:${isAuthority ? 'TRUE' : 'FALSE'}`],
    ];
    const subject = ['-subj', `/CN=certificate ${++made}`];
    const fixed = ['-new', '-config', 'request', '-nodes', '-keyout', 'key', '-out', 'request.pem'];
    openssl('req', ...fixed, ...KEYS[kind], ...subject, ...extensions);
    const key = read('key');
    write({ 'issuer.pem': issuer?.cert ?? '', 'issuer.key': issuer?.key ?? key });
    const signer = issuer === undefined ? ['-selfsign'] : ['-cert', 'issuer.pem'];
    const dates = ['-startdate', date(from), '-enddate', date(until)];
    const paths = ['-keyfile', 'issuer.key', '-in', 'request.pem', '-out', 'cert.pem'];
    openssl('ca', '-batch', '-notext', '-config', 'issuer', ...signer, ...dates, ...paths);
    return { cert: read('cert.pem'), key };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** As OpenSSL wants it: YYYYMMDDHHMMSSZ. */
function date(days: number): string {
  const time = new Date(Date.now() + days * 86_400_000).toISOString();
  return `${time.slice(0, 19).replace(/[-T:]/g, '')}Z`;
}

/** The files of an identity in a folder of their own, for programs that take no text. */
export class Files implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'greenstack-tls-'));

  constructor(contents: Record<string, string>) {
    for (const [name, content] of Object.entries(contents)) writeFileSync(this.path(name), content);
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** Makes a value at its first use. */
function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

const NAMES = 'DNS:a.test,DNS:*.wild.test,DNS:localhost,IP:127.0.0.1';

/** Each made once for a file of tests, when it is first asked for. */
export const pki = {
  root: lazy(() => certificate({ isAuthority: true })),
  otherRoot: lazy(() => certificate({ isAuthority: true })),
  /** For `a.test`, `*.wild.test`, `localhost` and 127.0.0.1. */
  server: lazy((): Identity => certificate({ names: NAMES, issuer: pki.root() })),
  rsaServer: lazy((): Identity => certificate({ names: NAMES, issuer: pki.root(), kind: 'rsa' })),
  client: lazy((): Identity => certificate({ names: 'DNS:client.test', issuer: pki.root() })),
  expired: lazy((): Identity => certificate({ names: NAMES, issuer: pki.root(), from: -10, until: -5 })),
  notYetValid: lazy((): Identity => certificate({ names: NAMES, issuer: pki.root(), from: 5, until: 10 })),
  selfSigned: lazy((): Identity => certificate({ names: NAMES })),
  /** As `openssl req -x509` makes them. */
  selfSignedAuthority: lazy((): Identity => certificate({ names: NAMES, isAuthority: true })),
  /** Issued by an authority that the root has issued, which is not sent along. */
  intermediate: lazy((): Identity => certificate({ isAuthority: true, issuer: pki.root() })),
  leaf: lazy((): Identity => certificate({ names: NAMES, issuer: pki.intermediate() })),
};
