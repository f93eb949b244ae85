// An OPC UA client that is not ours: says what it saw as one line of JSON. Run by host.js.
// plan: {url, user, password, certificate, key, store, applicationUri, read: [nodeId], browse: nodeId, subscribe: nodeId | [nodeId], none: bool,
//   write: [[[nodeId, type, value], …], …] (one request each), call: [[objectId, methodId, [[type, value], …]], …] (one request),
//   methods: [methodId]}
// With "subscribe" it prints one line per change, with its node where there are several, and runs until its input ends.
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const shown = (value) => ({
  value: value.value.value === null || value.value.value === undefined ? null : plain(value.value.value),
  type: opcua.DataType[value.value.dataType],
  status: value.statusCode.value,
  source: value.sourceTimestamp ? value.sourceTimestamp.getTime() : null,
});

function plain(value) {
  if (value instanceof Date) return value.getTime();
  if (Array.isArray(value)) return value.length === 2 && typeof value[0] === "number" ? int64(value) : value.map(plain);
  if (value && value.text !== undefined) return value.text;
  return value;
}

const int64 = ([high, low]) => ((BigInt.asIntN(32, BigInt(high)) << 32n) | BigInt(low >>> 0)).toString();

const variant = ([type, value]) => new opcua.Variant({ dataType: opcua.DataType[type], value });
const written = ([nodeId, type, value]) => ({
  nodeId,
  attributeId: opcua.AttributeIds.Value,
  value: { value: variant([type, value]) },
});

module.exports = async (plan, lines, say) => {
  const secured = !plan.none;
  const store = new OPCUACertificateManager({ rootFolder: plan.store, automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  const client = opcua.OPCUAClient.create({
    applicationName: "peer",
    applicationUri: plan.applicationUri,
    endpointMustExist: false,
    securityMode: secured ? opcua.MessageSecurityMode.SignAndEncrypt : opcua.MessageSecurityMode.None,
    securityPolicy: secured ? opcua.SecurityPolicy.Basic256Sha256 : opcua.SecurityPolicy.None,
    connectionStrategy: { maxRetry: 0 },
    clientCertificateManager: store,
    certificateFile: plan.certificate,
    privateKeyFile: plan.key,
  });
  try {
    await client.connect(plan.url);
    const identity = plan.user
      ? { type: opcua.UserTokenType.UserName, userName: plan.user, password: plan.password }
      : { type: opcua.UserTokenType.Anonymous };
    const session = await client.createSession(identity);
    const answer = { namespaces: await session.readNamespaceArray() };
    if (plan.read) {
      const values = await session.read(plan.read.map((nodeId) => ({ nodeId, attributeId: opcua.AttributeIds.Value })));
      answer.values = values.map(shown);
    }
    if (plan.browse) {
      const found = await session.browse(plan.browse);
      answer.children = found.references.map((one) => [one.browseName.toString(), one.nodeId.toString()]);
    }
    if (plan.write) {
      answer.written = [];
      for (const items of plan.write) answer.written.push((await session.write(items.map(written))).map((one) => one.name));
    }
    if (plan.call) {
      const requests = plan.call.map(([objectId, methodId, given]) => ({ objectId, methodId, inputArguments: given.map(variant) }));
      answer.called = (await session.call(requests)).map((one) => ({
        status: one.statusCode.name,
        inputs: (one.inputArgumentResults || []).map((code) => code.name),
        outputs: (one.outputArguments || []).map((output) => plain(output.value)),
      }));
    }
    if (plan.methods) {
      answer.methods = [];
      for (const nodeId of plan.methods) {
        const found = await session.getArgumentDefinition(nodeId);
        answer.methods.push(found.inputArguments.map((one) => [one.name, one.description.text, one.valueRank]));
      }
    }
    say(answer);
    if (plan.subscribe) await watch(session, plan.subscribe, lines, say);
    await session.close();
  } finally {
    await client.disconnect();
    await store.dispose();
  }
};

async function watch(session, nodeId, lines, say) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50,
    requestedLifetimeCount: 1000,
    requestedMaxKeepAliveCount: 20,
    maxNotificationsPerPublish: 0,
    publishingEnabled: true,
    priority: 1,
  });
  for (const one of [nodeId].flat()) {
    const item = await subscription.monitor(
      { nodeId: one, attributeId: opcua.AttributeIds.Value },
      { samplingInterval: 50, queueSize: 10, discardOldest: true },
      opcua.TimestampsToReturn.Both,
    );
    item.on("changed", (value) => say(one === nodeId ? shown(value) : { node: one, ...shown(value) }));
  }
  await lines.next();
  await subscription.terminate();
}
