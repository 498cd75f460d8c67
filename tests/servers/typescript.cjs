// What both lines of the TypeScript SDK serve: what `sdk_v2.py` does.

const { createServer } = require("node:http");
const { z } = require("zod");

// Tells the test that a tool really ran, or stopped.
const tell = (word, tool) => console.error(`${word} ${tool}`);
const text = (value) => ({ content: [{ type: "text", text: String(value) }] });
const message = (value) => ({ messages: [{ role: "user", content: { type: "text", text: value } }] });
const note = (uri, value) => ({ contents: [{ uri: uri.href, text: value }] });
const names = (start) => ["alice", "bob"].filter((name) => name.startsWith(start ?? ""));

// `schema` makes a schema of its members; `request` takes what the SDK gives a tool to { signal, token, notify, close }; `updated` tells subscribers of a resource.
exports.furnish = (server, { completable, ResourceTemplate, schema }, request, updated) => {
  const numbers = { inputSchema: schema({ a: z.number(), b: z.number() }) };
  server.registerTool("add", { description: "Add two numbers.", ...numbers }, ({ a, b }) => {
    tell("RAN", "add");
    return text(a + b);
  });
  server.registerTool("multiply", { description: "Multiply two numbers.", ...numbers }, ({ a, b }) => {
    tell("RAN", "multiply");
    return text(a * b);
  });
  const steps = { description: "Count slowly, telling of each step.", inputSchema: schema({ to: z.number() }) };
  server.registerTool("count", steps, async ({ to }, extra) => {
    tell("RAN", "count");
    const { signal, token, notify } = request(extra);
    signal.addEventListener("abort", () => tell("STOPPED", "count"));
    for (let step = 0; step < to && !signal.aborted; step++) {
      if (token !== undefined) {
        await notify({ method: "notifications/progress", params: { progressToken: token, progress: step, total: to } });
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return text("done");
  });
  const action = {
    repo: z.object({ owner: z.coerce.string() }),
    to: z.coerce.string(),
    force: z.coerce.boolean().optional(),
    amount: z.coerce.number().optional(),
    labels: z.union([z.array(z.coerce.string()), z.coerce.string()]).optional(),
  };
  const acted = { description: "Act, and tell with which arguments.", inputSchema: schema(action) };
  server.registerTool("act", acted, ({ repo, to, force = false, amount = 0, labels = [] }) => {
    const did = { owner: repo.owner, to, force, amount, labels: [labels].flat() };
    tell("RAN", `act ${JSON.stringify(did)}`);
    return text("done");
  });
  const paused = { description: "Close the stream; the result comes on the next.", inputSchema: schema({}) };
  server.registerTool("pause", paused, async (_, extra) => {
    tell("RAN", "pause");
    request(extra).close?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return text("resumed");
  });
  const touched = { description: "Tell whoever subscribed.", inputSchema: schema({ uri: z.string() }) };
  server.registerTool("touch", touched, async ({ uri }) => {
    tell("RAN", "touch");
    await updated(uri);
    return text("done");
  });

  const name = completable(z.string(), (start) => {
    tell("RAN", "completion");
    return names(start);
  });
  server.registerPrompt("greeting", { description: "Greet somebody.", argsSchema: schema({ name }) }, (args) =>
    message(`Hello ${args.name}`),
  );
  server.registerPrompt("secret", { description: "A prompt that not everybody may have." }, () => {
    tell("RAN", "secret");
    return message("hidden");
  });

  server.registerResource("today", "note://today", { description: "Today's note." }, (uri) => note(uri, "nothing"));
  server.registerResource("secret_note", "note://secret", { description: "Not for everybody." }, (uri) => {
    tell("RAN", "note://secret");
    return note(uri, "hidden");
  });
  const of = (pattern) => new ResourceTemplate(pattern, { list: undefined });
  server.registerResource("day_note", of("note://day/{day}"), { description: "The note of a day." }, (uri, { day }) =>
    note(uri, `nothing on ${day}`),
  );
  server.registerResource("secret_day_note", of("secret://day/{day}"), { description: "Not for everybody." }, (uri) => {
    tell("RAN", "secret://day");
    return note(uri, "hidden");
  });
};

// What streams have carried, so that clients can resume them.
exports.eventLog = () => {
  const events = [];
  return {
    async storeEvent(stream, message) {
      return String(events.push({ stream, message }));
    },
    async getStreamIdForEventId(id) {
      return events[Number(id) - 1]?.stream;
    },
    async replayEventsAfter(id, { send }) {
      const { stream } = events[Number(id) - 1];
      for (let next = Number(id); next < events.length; next++) {
        const event = events[next];
        if (event.stream === stream && event.message.jsonrpc) await send(String(next + 1), event.message);
      }
      return stream;
    },
  };
};

// Listens on the port that the variable PORT says.
exports.listen = (handle) => {
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch((error) => {
      console.error(error);
      outgoing.destroy();
    });
  });
  server.listen(Number(process.env.PORT), "127.0.0.1");
};
