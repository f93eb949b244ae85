// node-opcua's server with the same variables and words as benchmarks/opcua_server.py. Arguments: TAGS PORT FOLDER none|encrypted.
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const opcua = require("node-opcua-server");
const { nodesets } = require("node-opcua-nodesets");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { DataType } = require("node-opcua-variant");

const [tags, port, folder, security] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
const PER_MACHINE = 100;
let variables = [];
let timer;

function change(hz) {
  clearInterval(timer);
  timer = setInterval(() => {
    const value = (performance.timeOrigin + performance.now()) / 1000;
    for (const one of variables) one.setValueFromSource({ dataType: DataType.Double, value });
  }, 1000 / hz);
}

async function main() {
  const encrypted = security === "encrypted";
  const store = new OPCUACertificateManager({ rootFolder: path.join(folder, "store"), automaticallyAcceptUnknownCertificate: true });
  await store.initialize();
  const server = new opcua.OPCUAServer({
    port: Number(port),
    hostname: "127.0.0.1",
    serverCertificateManager: store,
    securityModes: [encrypted ? MessageSecurityMode.SignAndEncrypt : MessageSecurityMode.None],
    securityPolicies: [encrypted ? SecurityPolicy.Basic256Sha256 : SecurityPolicy.None],
    allowAnonymous: true,
    nodeset_filename: [nodesets.standard],
    serverCapabilities: { maxMonitoredItemsPerCall: 100000, maxMonitoredItems: 200000, maxMonitoredItemsPerSubscription: 200000 },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.registerNamespace("urn:plantbridge:benchmark");
  const ids = [];
  for (let group = 0; group < Number(tags) / PER_MACHINE; group++) {
    const parent = own.addFolder(space.rootFolder.objects, { browseName: `m${group}` });
    for (let number = group * PER_MACHINE; number < (group + 1) * PER_MACHINE; number++) {
      const one = own.addVariable({ componentOf: parent, nodeId: `s=t${number}`, browseName: `t${number}`, dataType: "Double", minimumSamplingInterval: 0 });
      one.setValueFromSource({ dataType: DataType.Double, value: 0 });
      variables.push(one);
      ids.push(one.nodeId.toString());
    }
  }
  await server.start();
  fs.writeFileSync(path.join(folder, "ids.json"), JSON.stringify(ids));
  say({ ready: true });
  readline.createInterface({ input: process.stdin }).on("line", (words) => {
    change(Number(words.split(" ")[1]));
    say({ changing: words.split(" ")[1] });
  });
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
