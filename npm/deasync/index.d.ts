import deasync = require('greenstack/deasync');
export = deasync;
