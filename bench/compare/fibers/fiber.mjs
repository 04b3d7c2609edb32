import { createRequire } from 'node:module';
import { report } from '../../measure.mjs';
import { measureFibers } from '../fiber-work.mjs';

report(measureFibers(createRequire(import.meta.url)(/** @type {string} */ (process.env.BENCH_FIBERS))));
