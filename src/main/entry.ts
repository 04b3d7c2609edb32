/** What Node loads in the place of the script when its ES module loader begins: with `--import`, or loaders of the user's. */
import { runScript } from './script.js';

runScript(process.argv[1] as string);
