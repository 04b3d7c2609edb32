import Fiber = require('greenstack/fibers');
export = Fiber;
