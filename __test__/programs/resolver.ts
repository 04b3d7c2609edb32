/** Prints the settings of the default resolver, what it finds and what it is. */
import { config, run } from 'greenstack';
import { getDefaultResolver, lookup } from 'greenstack/dns';

const { resolver, resolverNameservers, resolverOrder, resolverCacheSize, resolverTimeout, resolverTries } =
  config;

void run(() => {
  console.log(
    JSON.stringify([
      resolver,
      resolverNameservers,
      resolverOrder,
      resolverCacheSize,
      resolverTimeout,
      resolverTries,
    ]),
  );
  console.log(lookup('localhost', { family: 4 }).address);
  console.log(getDefaultResolver().kind);
});
