// An OPC UA server's address space that is not ours: imports NodeSet2 files, browses from Objects, says what it found.
// Arguments: our own namespace's URI, then the files in order, after the standard nodeset that comes with node-opcua.
// Prints: {namespaces: [uri, …], nodes: {identifier: {class, type, dataType, unit, range, texts, arguments}}} of our namespace
"use strict";
const { AddressSpace, PseudoSession } = require("node-opcua-address-space");
const { generateAddressSpace } = require("node-opcua-address-space/nodeJS");
const { nodesets } = require("node-opcua-nodesets");
const { AttributeIds, NodeClass, DataType } = require("node-opcua-client");

const [uri, ...files] = process.argv.slice(2);
const HIERARCHY = "ns=0;i=33";

async function value(session, nodeId) {
  return (await session.read({ nodeId, attributeId: AttributeIds.Value })).value.value;
}

async function described(session, reference, children) {
  const found = { class: NodeClass[reference.nodeClass], type: reference.typeDefinition.toString() };
  if (reference.nodeClass !== NodeClass.Variable) return found;
  const dataType = await session.read({ nodeId: reference.nodeId, attributeId: AttributeIds.DataType });
  found.dataType = DataType[dataType.value.value.value] || dataType.value.value.toString();
  for (const child of children) {
    const held = await value(session, child.nodeId);
    if (child.browseName.name === "EURange") found.range = [held.low, held.high];
    if (child.browseName.name === "EngineeringUnits") found.unit = held.unitId;
    if (child.browseName.name === "EnumStrings") found.texts = held.map((one) => one.text);
    if (child.browseName.name === "EnumValues") found.texts = held.map((one) => one.displayName.text);
  }
  if (/^(In|Out)putArguments$/.test(reference.browseName.name))
    found.arguments = (await value(session, reference.nodeId)).map((one) => [one.name, DataType[one.dataType.value]]);
  return found;
}

(async () => {
  const space = AddressSpace.create();
  await generateAddressSpace(space, [nodesets.standard, ...files]);
  const session = new PseudoSession(space);
  const namespaces = space.getNamespaceArray().map((one) => one.namespaceUri);
  const own = namespaces.indexOf(uri);
  const nodes = {};
  const seen = new Set();
  const waiting = ["ns=0;i=85"];
  while (waiting.length) {
    const nodeId = waiting.pop();
    const result = await session.browse({ nodeId, referenceTypeId: HIERARCHY, includeSubtypes: true, browseDirection: 0, resultMask: 63, nodeClassMask: 0 });
    for (const one of result.references.filter((one) => one.nodeId.namespace > 0)) {
      const id = one.nodeId.toString();
      if (seen.has(id)) continue;
      seen.add(id);
      waiting.push(id);
      if (one.nodeId.namespace !== own) continue;
      const below = await session.browse({ nodeId: id, referenceTypeId: "HasProperty", includeSubtypes: true, browseDirection: 0, resultMask: 63, nodeClassMask: 0 });
      nodes[one.nodeId.value] = await described(session, one, below.references);
    }
  }
  await new Promise((done) => process.stdout.write(JSON.stringify({ namespaces, nodes }) + "\n", done));
  space.shutdown();
  process.exit(0);
})().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
