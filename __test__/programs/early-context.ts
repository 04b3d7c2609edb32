import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<string>();

storage.run('store', () => {
  // Loaded within the context, after the storage was made and used.
  const { run, sleep, spawn } = require('greenstack') as typeof import('greenstack');
  void run(() => {
    const greenlet = spawn(() => {
      const before = storage.getStore();
      sleep(1);
      return `${before}, ${storage.getStore()} after a park`;
    });
    console.log(greenlet.get());
  });
  setTimeout(() => console.log(`${storage.getStore()} in plain code`), 30);
});
