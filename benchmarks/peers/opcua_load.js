// OPC UA clients in one process. Argument: JSON of {url, ids: file, clients, items, publishing, sampling, encrypted, user, password, store, read}.
// Each client subscribes to its own share of `items` ids, or, with `read`, reads 1000 at a time without rest.
// Words on standard input, one JSON line each as answer: begin, report. The value of a variable is the time it was written, in seconds.
const fs = require("node:fs");
const readline = require("node:readline");
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const plan = JSON.parse(process.argv[2]);
const say = (what) => console.log(JSON.stringify(what));
const clock = () => (performance.timeOrigin + performance.now()) / 1000;
const AT_ONCE = 1000;
const seen = { notifications: 0, messages: 0, read: 0, ages: [], begun: clock(), cpu: process.cpuUsage() };

function take(value) {
  seen.notifications++;
  if (seen.ages.length < 2e6) seen.ages.push((clock() - value.value.value) * 1000);
}

function percentile(values, share) {
  return values.length ? Math.round(values[Math.min(values.length - 1, Math.floor(values.length * share))] * 10) / 10 : 0;
}

function begin() {
  Object.assign(seen, { notifications: 0, messages: 0, read: 0, ages: [], begun: clock(), cpu: process.cpuUsage() });
  return { begun: true };
}

function report() {
  const { user, system } = process.cpuUsage(seen.cpu);
  const ages = Float64Array.from(seen.ages).sort();
  const { notifications, messages, read } = seen;
  return { notifications, messages, read, seconds: clock() - seen.begun, cpu_s: (user + system) / 1e6, p50: percentile(ages, 0.5), p99: percentile(ages, 0.99) };
}

async function connect(store) {
  const client = opcua.OPCUAClient.create({
    endpointMustExist: false,
    securityMode: plan.encrypted ? opcua.MessageSecurityMode.SignAndEncrypt : opcua.MessageSecurityMode.None,
    securityPolicy: plan.encrypted ? opcua.SecurityPolicy.Basic256Sha256 : opcua.SecurityPolicy.None,
    connectionStrategy: { maxRetry: 5, initialDelay: 200 },
    clientCertificateManager: store,
    requestedSessionTimeout: 600000,
    transportTimeout: 60000,
  });
  await client.connect(plan.url);
  const named = plan.user && { type: opcua.UserTokenType.UserName, userName: plan.user, password: plan.password };
  return client.createSession(named || { type: opcua.UserTokenType.Anonymous });
}

async function subscribe(session, ids) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: plan.publishing,
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 100,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  subscription.on("raw_notification", () => seen.messages++);
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const items = ids.slice(start, start + AT_ONCE).map((nodeId) => ({ nodeId, attributeId: opcua.AttributeIds.Value }));
    const asked = { samplingInterval: plan.sampling, discardOldest: true, queueSize: 1 };
    const group = await subscription.monitorItems(items, asked, opcua.TimestampsToReturn.Both);
    group.on("changed", (_, value) => take(value));
  }
}

async function readOn(session, ids) {
  const nodes = ids.slice(0, AT_ONCE).map((nodeId) => ({ nodeId, attributeId: opcua.AttributeIds.Value }));
  for (;;) {
    const values = await session.read(nodes);
    if (values.some((one) => typeof one.value.value !== "number")) throw new Error("a value without a number was read");
    seen.read += values.length;
  }
}

async function main() {
  const store = new OPCUACertificateManager({ rootFolder: plan.store, automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  const ids = JSON.parse(fs.readFileSync(plan.ids, "utf8"));
  for (let number = 0; number < plan.clients; number++) {
    const session = await connect(store);
    const share = ids.slice(number * plan.items, (number + 1) * plan.items);
    if (plan.read) readOn(session, ids).catch(fail);
    else await subscribe(session, share);
  }
  say({ ready: true });
  readline.createInterface({ input: process.stdin }).on("line", (word) => say(word === "begin" ? begin() : report()));
}

function fail(error) {
  console.error(error.stack);
  process.exit(1);
}

main().catch(fail);
