// Lets this process find one host elsewhere: RESOLVE=HOST=ADDRESS.

const dns = require("node:dns");

if (process.env.RESOLVE) {
  const [host, address] = process.env.RESOLVE.split("=");
  const lookUp = dns.lookup;
  dns.lookup = (name, options, callback) =>
    typeof options === "function" ? lookUp(name === host ? address : name, options) : lookUp(name === host ? address : name, options, callback);
}
