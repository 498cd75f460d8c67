// Says what Node.js reads in JSON-RPC bodies: for each line of base64 the method, the name and the arguments.
import { createInterface } from "node:readline";

const hex = (text) => Buffer.from(text, "utf8").toString("hex");

// The value in the form that all readers write: no two values have the same.
const canonical = (value) => {
  if (value === null || value === undefined) return "n";
  if (typeof value === "boolean") return value ? "t" : "f";
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value + 0);
    return "d" + bytes.toString("hex");
  }
  if (typeof value === "string") return "s" + hex(value);
  if (Array.isArray(value)) return "[" + value.map(canonical).join(",") + "]";
  const members = Object.entries(value).map(([name, member]) => canonical(name) + ":" + canonical(member));
  return "{" + members.sort().join(",") + "}";
};

const read = (body) => {
  const message = JSON.parse(new TextDecoder().decode(body));
  return [message.method, message.params.name, message.params.arguments].map(canonical).join(" ");
};

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = read(Buffer.from(line, "base64"));
  } catch {
    said = "refused";
  }
  console.log(said);
}
