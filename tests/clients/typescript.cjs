// What clients on both lines of the TypeScript SDK do: what every client of the tests does.

// A part of a result, or the code of an error.
async function outcome(action, part = (result) => result) {
  try {
    return part(await action());
  } catch (error) {
    return typeof error.code === "number" ? { code: error.code } : { error: String(error) };
  }
}

// Touches until an update comes: nobody says when a subscription begins.
async function updated(touch, updates) {
  for (let again = 0; again < 50 && updates.length === 0; again++) {
    await touch();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return updates[0] ?? "no update";
}

// `call` takes a tool, its arguments and options; `updates` fills with the URIs of resources that were updated, for which
// `subscribe` asks.
exports.use = async (client, version, call, updates, subscribe) => {
  const text = (result) => result.content[0].text;
  const report = {
    tools: (await client.listTools()).tools.map((tool) => tool.name),
    prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    resources: (await client.listResources()).resources.map((resource) => resource.uri),
    templates: (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
  };
  for (const name of ["add", "multiply"]) report[name] = await outcome(() => call(name, { a: 6, b: 7 }), text);
  const content = (result) => result.messages[0].content.text;
  report.greeting = await outcome(() => client.getPrompt({ name: "greeting", arguments: { name: "Bob" } }), content);
  report.secret = await outcome(() => client.getPrompt({ name: "secret" }), content);
  for (const uri of ["note://today", "note://secret"]) {
    report[uri] = await outcome(() => client.readResource({ uri }), (result) => result.contents[0].text);
  }
  for (const name of ["greeting", "secret"]) {
    const request = { ref: { type: "ref/prompt", name }, argument: { name: "name", value: "a" } };
    report[`complete ${name}`] = await outcome(() => client.complete(request), (result) => result.completion.values);
  }
  report.subscribe = await outcome(async () => {
    await subscribe("note://today");
    return updated(() => call("touch", { uri: "note://today" }), updates);
  });
  const counting = call("count", { to: 200 }, { signal: AbortSignal.timeout(1000) });
  report.cancel = await counting.then(() => "not cancelled", () => "cancelled");
  if (version < "2026") report.pause = await outcome(() => call("pause", {}), text);
  console.log(JSON.stringify(report));
  // Time for what is sent last.
  setTimeout(() => process.exit(), 100);
};
