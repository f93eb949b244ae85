// Does the same things with each security policy and each login; says one line of JSON per pair, then {}. Run by host.js.
// plan: {url, applicationUri, certificate, key, store, policies: [name], user, password, userCertificate, userKey,
//   browse: nodeId, portion, read: [nodeId], write: [[nodeId, type, value]], call: [objectId, methodId, [[type, value]]],
//   watch: nodeId, deadband}
const fs = require("fs");
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const variant = ([type, value]) => new opcua.Variant({ dataType: opcua.DataType[type], value });

async function everything(session, plan) {
  const answer = {};
  let found = await session.browse({ nodeId: plan.browse, referenceTypeId: null, resultMask: 63 });
  answer.whole = found.references.map((one) => one.nodeId.toString());
  session.requestedMaxReferencesPerNode = plan.portion;
  found = await session.browse({ nodeId: plan.browse, referenceTypeId: null, resultMask: 63 });
  answer.portions = [found.references.map((one) => one.nodeId.toString())];
  while (found.continuationPoint) {
    found = await session.browseNext(found.continuationPoint, false);
    answer.portions.push(found.references.map((one) => one.nodeId.toString()));
  }
  const values = await session.read(plan.read.map((nodeId) => ({ nodeId, attributeId: opcua.AttributeIds.Value })));
  answer.read = values.map((one) => [one.value.value, one.statusCode.name]);
  const items = plan.write.map(([nodeId, type, value]) => ({
    nodeId, attributeId: opcua.AttributeIds.Value, value: { value: variant([type, value]) },
  }));
  answer.written = (await session.write(items)).map((one) => one.name);
  const [objectId, methodId, given] = plan.call;
  answer.called = (await session.call({ objectId, methodId, inputArguments: given.map(variant) })).statusCode.name;
  answer.seen = await watch(session, plan);
  return answer;
}

// The first value with a deadband; a deadband where there can be none.
async function watch(session, plan) {
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 20,
    maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
  });
  const filter = new opcua.DataChangeFilter({
    trigger: opcua.DataChangeTrigger.StatusValue, deadbandType: opcua.DeadbandType.Percent, deadbandValue: plan.deadband,
  });
  const item = await subscription.monitor(
    { nodeId: plan.watch, attributeId: opcua.AttributeIds.Value },
    { samplingInterval: 50, queueSize: 10, discardOldest: true, filter }, opcua.TimestampsToReturn.Both,
  );
  const first = await new Promise((resolve) => item.once("changed", resolve));
  await subscription.terminate();
  return first.value.value;
}

module.exports = async (plan, _, say) => {
  const store = new OPCUACertificateManager({ rootFolder: plan.store, automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  const logins = {
    password: { type: opcua.UserTokenType.UserName, userName: plan.user, password: plan.password },
    certificate: {
      type: opcua.UserTokenType.Certificate,
      certificateData: fs.readFileSync(plan.userCertificate),
      privateKey: fs.readFileSync(plan.userKey, "ascii"),
    },
  };
  for (const policy of plan.policies) {
    const client = opcua.OPCUAClient.create({
      applicationName: "peer", applicationUri: plan.applicationUri, endpointMustExist: false,
      securityMode: opcua.MessageSecurityMode.SignAndEncrypt, securityPolicy: opcua.SecurityPolicy[policy],
      connectionStrategy: { maxRetry: 0 }, clientCertificateManager: store,
      certificateFile: plan.certificate, privateKeyFile: plan.key,
    });
    await client.connect(plan.url);
    for (const [login, identity] of Object.entries(logins)) {
      const session = await client.createSession(identity);
      say({ policy, login, ...(await everything(session, plan)) });
      await session.close();
    }
    await client.disconnect();
  }
  await store.dispose();
  say({});
};
