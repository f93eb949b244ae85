// An OPC UA client that is not ours, for events, conditions and history: one line in, one line out, in order.
// Run by host.js. plan: {url, user, password, certificate, key, store, applicationUri}
// Line in:  {<what>: …}      line out: {answer} or {error}
//   watch: {node, fields: [name, …], where: {…}, queue, type}   -> {status, select: [names]}; fields like "3:Kind" and "Message"
//   heard: count                                                -> [[value, …], …] once so many have come
//   history: {node, start, end, count, bounds, timestamps}      -> {status, values: […], more: bool}
//   pages: {node, start, end, count}                            -> [[value, …], …], with the server's continuation points
//   eventHistory: {node, start, end, count, fields}             -> [[value, …], …], page by page
//   call: [objectId, methodId, [[type, value], …]]              -> {status, inputs, outputs}
//   browse: nodeId                                              -> [[browseName, nodeId, typeDefinition], …]
//   attributes: [[nodeId, attribute name], …]                   -> [value, …]
//   subscription: true                                          -> its id
"use strict";
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

function plain(value) {
  if (value === undefined || value === null) return null;
  if (value instanceof Date) return value.getTime();
  if (Buffer.isBuffer(value)) return value.toString("hex");
  if (value instanceof opcua.NodeId) return value.toString();
  if (value.text !== undefined) return value.text;
  if (value.name !== undefined && value.value !== undefined) return value.name;
  if (value.affected !== undefined && value.verb === undefined) return plain(value.affected);
  if (value.affected !== undefined) return { affected: plain(value.affected), verb: value.verb };
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value).map(plain);
  return value;
}

const variant = ([type, value]) =>
  new opcua.Variant({
    dataType: opcua.DataType[type],
    value: type === "LocalizedText" ? opcua.coerceLocalizedText(value.text) : type === "ByteString" ? Buffer.from(value, "hex") : type === "NodeId" ? opcua.resolveNodeId(value) : value,
  });

// {op: "OfType", of: [{node}]} | {op: "GreaterThan", of: [{field}, {type, value}]} | nested {op…}: elements in the order of their use
function where(tree) {
  const elements = [];
  const add = (one) => {
    const element = { filterOperator: opcua.FilterOperator[one.op], filterOperands: [] };
    elements.push(element);
    element.filterOperands = one.of.map((operand) => {
      if (operand.op) return new opcua.ElementOperand({ index: add(operand) });
      if (operand.field) return select([operand.field])[0];
      if (operand.node) return new opcua.LiteralOperand({ value: variant(["NodeId", operand.node]) });
      return new opcua.LiteralOperand({ value: variant([operand.type, operand.value]) });
    });
    return elements.indexOf(element);
  };
  add(tree);
  return new opcua.ContentFilter({ elements });
}

const select = (fields, type = "ns=0;i=2041") =>
  fields.map((field) =>
    field === "ConditionId"
      ? new opcua.SimpleAttributeOperand({ typeDefinitionId: "ns=0;i=2782", browsePath: [], attributeId: opcua.AttributeIds.NodeId })
      : new opcua.SimpleAttributeOperand({
          typeDefinitionId: type,
          browsePath: field.split("/").map((step) => opcua.stringToQualifiedName(step)),
          attributeId: opcua.AttributeIds.Value,
        }),
  );

const eventFilter = (wish) =>
  new opcua.EventFilter({
    selectClauses: select(wish.fields, wish.type),
    whereClause: wish.where ? where(wish.where) : undefined,
  });

async function pages(session, request) {
  const found = [];
  let continuationPoint = null;
  do {
    request.nodesToRead[0].continuationPoint = continuationPoint;
    const response = await session.performMessageTransaction(new opcua.HistoryReadRequest(request));
    const result = response.results[0];
    if (result.statusCode.value >= 0x40000000) return { status: result.statusCode.name, found };
    found.push(result.historyData ? (result.historyData.events || result.historyData.dataValues || []) : []);
    continuationPoint = result.continuationPoint && result.continuationPoint.length ? result.continuationPoint : null;
  } while (continuationPoint && found.length < 1000);
  return { status: "Good", found };
}

const moment = (text) => (text ? new Date(text) : opcua.getMinOPCUADate ? opcua.getMinOPCUADate() : new Date(Date.UTC(1601, 0, 1)));

// `mine` is what one client has: {heard, subscription, gone}
const acts = {
  subscription: async (session, _, mine) => {
    if (!mine.subscription) {
      mine.subscription = await session.createSubscription2({
        requestedPublishingInterval: 50,
        requestedLifetimeCount: 1000,
        requestedMaxKeepAliveCount: 20,
        publishingEnabled: true,
      });
    }
    return mine.subscription.subscriptionId;
  },
  watch: async (session, wish, mine) => {
    await acts.subscription(session, true, mine);
    const item = opcua.ClientMonitoredItem.create(
      mine.subscription,
      { nodeId: wish.node, attributeId: opcua.AttributeIds.EventNotifier },
      { queueSize: wish.queue || 100, discardOldest: true, filter: eventFilter(wish) },
      opcua.TimestampsToReturn.Both,
    );
    return await new Promise((resolve) => {
      item.once("err", (message) => resolve({ status: message }));
      item.once("initialized", () => resolve({ status: item.statusCode.name, id: item.monitoredItemId }));
      item.on("changed", (fields) => mine.heard.push(fields.map((one) => plain(one.value))));
    });
  },
  heard: async (session, count, mine) => {
    while (mine.heard.length < count && !mine.gone()) await new Promise((resolve) => setTimeout(resolve, 20));
    return mine.heard.splice(0);
  },
  history: async (session, wish) => {
    const request = new opcua.HistoryReadRequest({
      historyReadDetails: new opcua.ReadRawModifiedDetails({
        isReadModified: Boolean(wish.modified),
        startTime: moment(wish.start),
        endTime: moment(wish.end),
        numValuesPerNode: wish.count || 0,
        returnBounds: Boolean(wish.bounds),
      }),
      timestampsToReturn: opcua.TimestampsToReturn[wish.timestamps || "Both"],
      releaseContinuationPoints: false,
      nodesToRead: [{ nodeId: wish.node, indexRange: null, dataEncoding: null, continuationPoint: null }],
    });
    const answer = await pages(session, request);
    return {
      status: answer.status,
      pages: answer.found.map((page) =>
        page.map((one) => ({
          value: plain(one.value.value),
          status: one.statusCode.name,
          source: plain(one.sourceTimestamp),
          server: plain(one.serverTimestamp),
        })),
      ),
    };
  },
  eventHistory: async (session, wish) => {
    const request = new opcua.HistoryReadRequest({
      historyReadDetails: new opcua.ReadEventDetails({
        startTime: moment(wish.start),
        endTime: moment(wish.end),
        numValuesPerNode: wish.count || 0,
        filter: eventFilter(wish),
      }),
      timestampsToReturn: opcua.TimestampsToReturn.Both,
      releaseContinuationPoints: false,
      nodesToRead: [{ nodeId: wish.node, indexRange: null, dataEncoding: null, continuationPoint: null }],
    });
    const answer = await pages(session, request);
    return { status: answer.status, pages: answer.found.map((page) => page.map((one) => one.eventFields.map((v) => plain(v.value)))) };
  },
  call: async (session, [objectId, methodId, given]) => {
    const result = await session.call({ objectId, methodId, inputArguments: given.map(variant) });
    return {
      status: result.statusCode.name,
      inputs: (result.inputArgumentResults || []).map((code) => code.name),
      outputs: (result.outputArguments || []).map((one) => plain(one.value)),
    };
  },
  browse: async (session, nodeId) => {
    const found = await session.browse(nodeId);
    return found.references.map((one) => [one.browseName.toString(), one.nodeId.toString(), one.typeDefinition.toString()]);
  },
  attributes: async (session, wanted) => {
    const values = await session.read(wanted.map(([nodeId, name]) => ({ nodeId, attributeId: opcua.AttributeIds[name] })));
    return values.map((one) => plain(one.value.value));
  },
};

module.exports = async (plan, lines, say, gone) => {
  const mine = { heard: [], subscription: undefined, gone };
  const store = new OPCUACertificateManager({ rootFolder: plan.store, automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  const client = opcua.OPCUAClient.create({
    applicationName: "events",
    applicationUri: plan.applicationUri,
    endpointMustExist: false,
    securityMode: opcua.MessageSecurityMode.SignAndEncrypt,
    securityPolicy: opcua.SecurityPolicy.Basic256Sha256,
    connectionStrategy: { maxRetry: 0 },
    clientCertificateManager: store,
    certificateFile: plan.certificate,
    privateKeyFile: plan.key,
  });
  try {
    await client.connect(plan.url);
    const session = await client.createSession({ type: opcua.UserTokenType.UserName, userName: plan.user, password: plan.password });
    say({ ready: true });
    for await (const line of lines) {
      const [[act, given]] = Object.entries(JSON.parse(line));
      try {
        say({ answer: await acts[act](session, given, mine) });
      } catch (error) {
        say({ error: String(error.stack || error.message) });
      }
    }
    if (mine.subscription) await mine.subscription.terminate();
    await session.close();
  } finally {
    await client.disconnect();
    await store.dispose();
  }
};
