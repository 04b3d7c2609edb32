/** Runs the specs of fibrous by jasmine-node's jasmine, whose own command finds no files on any Node since 12. */
require('coffee-script');

// What is global in a browser: `describe`, `it`, `expect` and so on.
for (const [name, value] of Object.entries(require('jasmine-node')))
  if (name !== 'undefined') globalThis[name] = value;
require('fibrous/spec/fibrous.spec.coffee');

globalThis.jasmine.DEFAULT_TIMEOUT_INTERVAL = 60_000;
const environment = globalThis.jasmine.getEnv();
environment.addReporter({
  reportRunnerStarting() {},
  reportSuiteResults() {},
  reportSpecStarting() {},
  reportSpecResults(spec) {
    const results = spec.results();
    console.log(`${results.passed() ? 'ok' : 'not ok'} ${spec.id + 1} ${spec.getFullName()}`);
    for (const item of results.getItems()) if (!item.passed()) console.log(item.message);
  },
  reportRunnerResults() {},
  log() {},
});
environment.execute();
