// Encodes Sparkplug B payloads with sparkplug-payload: one line in (JSON), one line out (base64).
"use strict";
const { encodePayload } = require("sparkplug-payload").get("spBv1.0");
const readline = require("readline");

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(Buffer.from(encodePayload(JSON.parse(line))).toString("base64") + "\n");
  }
})();
