import Future = require('greenstack/fibers/future');
export = Future;
