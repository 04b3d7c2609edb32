/** As blocking.test.cjs, for runners that load ES modules: Vitest, and Node's own. */
import { createRequire } from 'node:module';

const runner = globalThis.it === undefined ? await import('node:test') : globalThis;
Object.assign(globalThis, { beforeEach: runner.beforeEach, it: runner.it });
createRequire(import.meta.url)('./blocking.test.cjs');
