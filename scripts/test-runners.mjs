/**
 * Fetches the test runners in which `runners.spec.ts` runs tests that block. They are large, so they are no dependencies of this
 * package: `npm test` puts them into its cache, once.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../node_modules/.cache/greenstack-runners', import.meta.url));
const packages = ['mocha@12.0.3', 'jest@30.5.2', 'vitest@5.1.1'];

if (!existsSync(`${folder}/fetched`)) {
  mkdirSync(folder, { recursive: true });
  const options = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', ['install', ...options, ...packages], { stdio: 'inherit' });
  if (status === 0) mkdirSync(`${folder}/fetched`);
  else console.log('Mocha, Jest and Vitest cannot be fetched: tests that need them are skipped');
}
