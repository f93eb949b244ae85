// Decodes Sparkplug B payloads with sparkplug-payload: one line in (base64), one line out (JSON). 64-bit integers as strings.
"use strict";
const { decodePayload } = require("sparkplug-payload").get("spBv1.0");
const readline = require("readline");

function plain(key, value) {
  if (typeof value === "bigint") return value.toString();
  if (value && typeof value === "object" && typeof value.toNumber === "function") return value.toString();
  return value;
}

(async () => {
  process.stdout.write(">" + JSON.stringify({ ready: true }) + "\n");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const payload = decodePayload(Buffer.from(line, "base64"));
    process.stdout.write(">" + JSON.stringify(payload, plain) + "\n");
  }
})();
