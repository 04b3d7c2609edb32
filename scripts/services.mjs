/**
 * PostgreSQL, MariaDB and Redis for tests and benchmarks: each start is a server of its own in a temporary folder, reached by a
 * Unix-domain socket there. `node scripts/services.mjs` installs what is missing, where that is possible: on Debian, as root.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const POSTGRES_HOMES = '/usr/lib/postgresql';
const REDIS = '/usr/bin/redis-server';
const MARIADB = '/usr/sbin/mariadbd';
const MARIADB_INSTALL = '/usr/bin/mariadb-install-db';
/** What MariaDB's installation needs of the package of its clients. */
const MARIADB_DEFAULTS = '/usr/bin/my_print_defaults';
/** Where a server that does not start counts as hung, in ms. */
const START_LIMIT = 60_000;

/** The folder of PostgreSQL's programs; `undefined` without it. */
function postgresPrograms() {
  if (!existsSync(POSTGRES_HOMES)) return undefined;
  const [latest] = readdirSync(POSTGRES_HOMES).sort((a, b) => Number(b) - Number(a));
  const folder = join(POSTGRES_HOMES, latest ?? '', 'bin');
  return existsSync(join(folder, 'initdb')) ? folder : undefined;
}

export const hasPostgres = postgresPrograms() !== undefined;
export const hasRedis = existsSync(REDIS);
export const hasMariadb = [MARIADB, MARIADB_INSTALL, MARIADB_DEFAULTS].every((path) => existsSync(path));

/** Installs the Debian packages that are missing. Says so where it cannot. */
export function install() {
  const missing = [
    ...(hasPostgres ? [] : [['postgresql']]),
    ...(hasRedis ? [] : [['redis-server']]),
    // Without `mariadb-server`, which makes a service of it.
    ...(hasMariadb ? [] : [['mariadb-server-core', 'mariadb-client-core']]),
  ];
  if (missing.length === 0) return;
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0;
  const possible = process.getuid?.() === 0 && apt('update');
  for (const packages of missing) {
    if (possible && apt('install', '--yes', '--no-install-recommends', ...packages)) continue;
    console.log(`${packages.join(' and ')} cannot be installed: tests that need it are skipped`);
  }
}

/** Whom a server runs as that refuses to be root's. */
function unprivileged(name) {
  if (process.getuid?.() !== 0) return undefined;
  const ids = (option) => spawnSync('id', [option, name], { encoding: 'utf8' }).stdout.trim();
  return { uid: Number(ids('-u')), gid: Number(ids('-g')) };
}

/**
 * A server in a folder of its own, which ends with this process at the latest.
 *
 * @param {(folder: string) => { socket: string, command: string[], user?: { uid: number, gid: number } }} prepare
 * @param {NodeJS.Signals} ending
 */
async function start(prepare, ending) {
  const folder = mkdtempSync(join(tmpdir(), 'greenstack-'));
  const { socket, command, user } = prepare(folder);
  const identity = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : [];
  const child = spawn('setpriv', [`--pdeathsig=${ending}`, ...identity, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  await untilReady(child);
  return {
    folder,
    socket,
    async stop() {
      child.kill(`SIG${ending}`);
      await ended;
      process.off('exit', remove);
      remove();
    },
  };
}

/** Makes the files of a server, as the user whom it will run as. */
function initialize(folder, user, program, args) {
  if (user) chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o755);
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: folder, ...user });
  if (status !== 0) throw new Error(`${basename(program)} failed\n${stderr}`);
}

/** Returns when a server has said that it is ready. */
async function untilReady(child) {
  let output = '';
  const alarm = setTimeout(() => child.kill('SIGKILL'), START_LIMIT);
  try {
    await new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (text) => {
          output += text;
          if (/ready (to accept|for) connections/i.test(output)) resolve();
        });
      }
      child.on('error', reject);
      child.on('exit', () => reject(new Error(`a server does not start\n${output}`)));
    });
  } finally {
    clearTimeout(alarm);
  }
}

/**
 * Starts PostgreSQL. Clients connect to `host`, as user `postgres`, without a password.
 *
 * @param {{ maxConnections?: number }} [options]
 */
export async function startPostgres({ maxConnections = 120 } = {}) {
  const programs = /** @type {string} */ (postgresPrograms());
  const user = unprivileged('postgres');
  const server = await start((folder) => {
    const data = join(folder, 'data');
    const cluster = ['--username=postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
    initialize(folder, user, join(programs, 'initdb'), ['--pgdata', data, ...cluster]);
    const settings = {
      listen_addresses: '',
      unix_socket_directories: folder,
      max_connections: maxConnections,
      fsync: 'off',
      shared_buffers: '16MB',
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const command = [join(programs, 'postgres'), '-D', data, ...options];
    return { socket: join(folder, '.s.PGSQL.5432'), command, user };
  }, 'INT');
  return { ...server, host: server.folder };
}

/** Starts Redis. Clients connect to `socket`. */
export function startRedis() {
  return start((folder) => {
    const socket = join(folder, 'redis');
    const command = [REDIS, '--port', '0', '--unixsocket', socket, '--save', '', '--dir', folder];
    return { socket, command };
  }, 'KILL');
}

/** Starts MariaDB. Clients connect to `socket`, as user `root`, without a password; there is a database `test`. */
export function startMariadb() {
  const user = unprivileged('nobody');
  return start((folder) => {
    const socket = join(folder, 'mariadb');
    const common = [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      '--skip-name-resolve',
      '--innodb-buffer-pool-size=16M',
      '--innodb-log-file-size=4M',
      '--innodb-flush-method=nosync',
      '--innodb-use-native-aio=OFF',
    ];
    initialize(folder, user, MARIADB_INSTALL, [...common, '--auth-root-authentication-method=normal']);
    const command = [MARIADB, ...common, '--skip-networking', `--socket=${socket}`];
    return { socket, command, user };
  }, 'KILL');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) install();
