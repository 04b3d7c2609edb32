/** Keeps originals of Node's, by exporting one. */
import * as fs from 'node:fs';

export const stat = fs.statSync;
