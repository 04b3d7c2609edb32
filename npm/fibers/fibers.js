'use strict';
module.exports = require('greenstack/fibers');
