/** Patches after originals were taken. */
import { patchAll } from 'greenstack/monkey';
import './monkey-capture.js';

const { readFileSync } = require('node:fs') as typeof import('node:fs');

patchAll();
readFileSync(__filename);
