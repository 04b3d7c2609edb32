'use strict';
module.exports = require('greenstack/deasync');
