import { createRequire } from 'node:module';
import * as dns from 'greenstack/dns';
import * as index from 'greenstack';
import greenstack from 'greenstack';
import * as socket from 'greenstack/socket';

const require = createRequire(import.meta.url);
const required = {
  index: require('greenstack') as typeof index,
  socket: require('greenstack/socket') as typeof socket,
  dns: require('greenstack/dns') as typeof dns,
};
console.log(
  `index: ${required.index.Greenlet === index.Greenlet && required.index.getHub() === index.getHub()}`,
);
console.log(`socket: ${required.socket.Socket === socket.Socket}`);
console.log(`dns: ${required.dns.Resolver === dns.Resolver}`);
console.log(`default: ${greenstack.spawn === index.spawn}`);
