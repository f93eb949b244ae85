// An OPC UA client that is not ours and stays: people who are logged in, and what they do, one line each.
// Argument (JSON): {url, password, certificate, key, store, applicationUri}
// Line in:  {id, as: "<user>" or "<user>#<session>", <what>: …}      line out: {id, answer} or {id, error}; not in order
//   write: [[nodeId, type, value], …]                     -> [[status name, number], …]
//   call: [objectId, methodId, [[type, value], …]]        -> {status, code, inputs, outputs}
//   read: [nodeId, …]                                     -> [{value, status}, …]
//   attributes: [[nodeId, attribute name], …]             -> [value, …]
//   cycle: [nodeId, type, value, milliseconds]            -> true; writes again and again, whatever the answer, as PLCs do
//   heard: true                                           -> every answer of this one's cycle since it was last asked, in order
//   halt: true                                            -> true; ends the cycle
//   vanish: true                                          -> no answer: the connections are reset, the process is gone
"use strict";
const net = require("node:net");
const readline = require("node:readline");

const sockets = [];
const connect = net.createConnection;
net.createConnection = (...given) => {
  const socket = connect(...given);
  sockets.push(socket);
  return socket;
};

const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const plan = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(">" + JSON.stringify(line) + "\n");
const variant = ([type, value]) =>
  new opcua.Variant({ dataType: opcua.DataType[type], value: type === "DateTime" ? new Date(value) : value });
const plain = (value) => (value === undefined ? null : value instanceof Date ? value.getTime() : value);
const cycles = new Map();
const sessions = new Map();

const item = ([nodeId, type, value]) => ({
  nodeId,
  attributeId: opcua.AttributeIds.Value,
  value: { value: variant([type, value]) },
});

async function login(who, store) {
  const client = opcua.OPCUAClient.create({
    applicationName: "commander",
    applicationUri: plan.applicationUri,
    endpointMustExist: false,
    securityMode: opcua.MessageSecurityMode.SignAndEncrypt,
    securityPolicy: opcua.SecurityPolicy.Basic256Sha256,
    connectionStrategy: { maxRetry: -1, initialDelay: 50, maxDelay: 200 },
    requestedSessionTimeout: 60000,
    keepSessionAlive: true,
    clientCertificateManager: store,
    certificateFile: plan.certificate,
    privateKeyFile: plan.key,
  });
  await client.connect(plan.url);
  return client.createSession({ type: opcua.UserTokenType.UserName, userName: who.split("#")[0], password: plan.password });
}

const acts = {
  write: async (session, items) => (await session.write(items.map(item))).map((one) => [one.name, one.value]),
  call: async (session, [objectId, methodId, given]) => {
    const result = await session.call({ objectId, methodId, inputArguments: given.map(variant) });
    return {
      status: result.statusCode.name,
      code: result.statusCode.value,
      inputs: (result.inputArgumentResults || []).map((code) => code.name),
      outputs: (result.outputArguments || []).map((one) => plain(one.value)),
    };
  },
  read: async (session, nodes) => {
    const values = await session.read(nodes.map((nodeId) => ({ nodeId, attributeId: opcua.AttributeIds.Value })), 0);
    return values.map((one) => ({ value: one.value ? plain(one.value.value) : null, status: one.statusCode.name }));
  },
  attributes: async (session, wanted) => {
    const values = await session.read(wanted.map(([nodeId, name]) => ({ nodeId, attributeId: opcua.AttributeIds[name] })));
    return values.map((one) => plain(one.value.value));
  },
  cycle: async (session, [nodeId, type, value, every], who) => {
    const cycle = { heard: [], running: true };
    cycles.set(who, cycle);
    (async () => {
      while (cycle.running) {
        try {
          cycle.heard.push((await session.write([item([nodeId, type, value])]))[0].name);
        } catch (error) {
          cycle.heard.push("lost");
        }
        if (cycle.heard.length > 1000) cycle.heard.shift();
        await new Promise((resolve) => setTimeout(resolve, every));
      }
    })();
    return true;
  },
  heard: async (session, _, who) => cycles.get(who).heard.splice(0),
  halt: async (session, _, who) => !(cycles.get(who).running = false),
  vanish: async () => {
    for (const socket of sockets) socket.resetAndDestroy();
    setImmediate(() => process.kill(process.pid, "SIGKILL"));
  },
};

async function main() {
  const store = new OPCUACertificateManager({ rootFolder: plan.store, automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, as, ...wish } = JSON.parse(line);
    if (!sessions.has(as)) sessions.set(as, login(as, store));
    const [[act, given]] = Object.entries(wish);
    sessions
      .get(as)
      .then((session) => acts[act](session, given, as))
      .then(
        (answer) => say({ id, answer }),
        (error) => say({ id, error: error.message }),
      );
  }
  process.exit(0);
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n");
  process.exit(1);
});
