// Writes every HTTP exchange of this process into the file that RECORD names, one JSON object in a line. Of secrets only
// tokens' claims.

const { appendFileSync } = require("node:fs");

const send = globalThis.fetch;

function claims(token) {
  const [, payload] = (token ?? "").split(".");
  return payload && JSON.parse(Buffer.from(payload, "base64url").toString());
}

function sent(body) {
  const text = String(body ?? "");
  if (text.startsWith("{")) return JSON.parse(text);
  const form = Object.fromEntries(new URLSearchParams(text));
  return { grant_type: form.grant_type, resource: form.resource };
}

// A GET may be answered with a stream that does not end.
async function read(method, answer) {
  const type = answer.headers.get("content-type") ?? "";
  if (type.includes("json")) return answer.json();
  if (method !== "POST" || !type.includes("event-stream")) return {};
  const data = (await answer.text()).split("\n").filter((line) => line.startsWith("data: {"));
  return data.length ? JSON.parse(data.at(-1).slice(6)) : {};
}

if (process.env.RECORD) {
  globalThis.fetch = async (input, init) => {
    const url = String(input.url ?? input);
    const answer = await send(input, init);
    const record = {
      method: init?.method ?? input.method ?? "GET",
      url,
      status: answer.status,
      challenge: answer.headers.get("www-authenticate"),
    };
    try {
      record.sent = sent(init?.body);
      const answered = await read(record.method, answer.clone());
      record.answered = answered.access_token ? { token: claims(answered.access_token) } : answered;
    } catch {
      // What can't be read is not shown.
    }
    appendFileSync(process.env.RECORD, JSON.stringify(record) + "\n");
    return answer;
  };
}
