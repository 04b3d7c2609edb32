/** An Express 5 app on node:http, patched: its handlers may block. Prints its port, and ends with its standard input. */
import { patchAll } from 'greenstack/monkey';

patchAll();
await import('./compare/node/http-patched.mjs');
