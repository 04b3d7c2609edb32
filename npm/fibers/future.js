'use strict';
module.exports = require('greenstack/fibers/future');
