// The reference server `everything`, which here tells the test that a tool really ran: everything.mjs streamableHttp|sse

import { pathToFileURL } from "node:url";

const from = (path) => import(pathToFileURL(`${process.env.NODE_PATH}/@modelcontextprotocol/${path}`));
const { McpServer } = await from("sdk/dist/esm/server/mcp.js");
const register = McpServer.prototype.registerTool;
McpServer.prototype.registerTool = function (name, config, run) {
  return register.call(this, name, config, (...given) => {
    console.error(`RAN ${name}`);
    return run(...given);
  });
};
await from("server-everything/dist/index.js");
