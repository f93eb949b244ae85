// One OPC UA client on many tags; collects how old the values are. Arguments: URL PUBLISHING_MS FILE (a JSON array of NodeIds).
// Words on standard input, one JSON line each as answer: begin, report.
const fs = require("node:fs");
const readline = require("node:readline");
const { AttributeIds, MessageSecurityMode, OPCUAClient, TimestampsToReturn } = require("node-opcua-client");

const [url, publishing, file] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
const newest = new Map();
let arrival = [];
let held = [];

function take(index, value) {
  if (!value.sourceTimestamp || value.statusCode.value !== 0) return;
  const now = performance.timeOrigin + performance.now();
  const time = value.sourceTimestamp.getTime();
  const before = newest.get(index);
  if (before === time) return;
  newest.set(index, time);
  arrival.push(now - time);
  if (before !== undefined) held.push(now - before);
}

function percentile(values, share) {
  const value = values[Math.min(values.length - 1, Math.floor(values.length * share))];
  return value === undefined ? 0 : Math.round(value * 10) / 10;
}

function summary() {
  const ascending = (a, b) => a - b;
  arrival.sort(ascending);
  held.sort(ascending);
  return {
    values: arrival.length,
    tags: newest.size,
    arrival_p50: percentile(arrival, 0.5),
    arrival_p99: percentile(arrival, 0.99),
    held_p50: percentile(held, 0.5),
    held_p99: percentile(held, 0.99),
    held_max: percentile(held, 1),
  };
}

async function main() {
  const client = OPCUAClient.create({
    endpointMustExist: false,
    securityMode: MessageSecurityMode.None,
    connectionStrategy: { maxRetry: 5, initialDelay: 200 },
    requestedSessionTimeout: 600000,
  });
  await client.connect(url);
  const session = await client.createSession();
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: Number(publishing),
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 10,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  const ids = JSON.parse(fs.readFileSync(file, "utf8"));
  for (let start = 0; start < ids.length; start += 500) {
    const items = ids.slice(start, start + 500).map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value }));
    const asked = { samplingInterval: Number(publishing), discardOldest: true, queueSize: 1 };
    const group = await subscription.monitorItems(items, asked, TimestampsToReturn.Both);
    group.on("changed", (_, value, index) => take(start + index, value));
  }
  say({ ready: true, interval: subscription.publishingInterval });
  readline.createInterface({ input: process.stdin }).on("line", async (word) => {
    if (word === "begin") {
      arrival = [];
      held = [];
      say({ begun: true });
    } else if (word === "report") {
      say(summary());
    } else {
      await client.disconnect();
      process.exit(0);
    }
  });
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
