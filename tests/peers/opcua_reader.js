// Reads nodes with node-opcua: one line in (JSON list of NodeIds), one line out (JSON list of data values).
// Argument: endpoint URL. Security None, anonymous. Values: numbers, strings, booleans; Int64 as a decimal string; DateTime as ms.
"use strict";
const { OPCUAClient, AttributeIds, DataType, MessageSecurityMode, SecurityPolicy } = require("node-opcua-client");
const readline = require("readline");

function plain(dataValue) {
  const variant = dataValue.value;
  let value = variant ? variant.value : null;
  if (variant && variant.dataType === DataType.Int64 && value !== null) {
    const [high, low] = value;
    value = (BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))).toString();
  } else if (value instanceof Date) {
    value = value.getTime();
  } else if (variant && variant.dataType === DataType.Null) {
    value = null;
  }
  return {
    value: value === undefined ? null : value,
    type: variant ? DataType[variant.dataType] : "Null",
    status: dataValue.statusCode.value,
    sourceTimestamp: dataValue.sourceTimestamp ? dataValue.sourceTimestamp.getTime() : null,
  };
}

async function main() {
  const client = OPCUAClient.create({
    endpointMustExist: false,
    securityMode: MessageSecurityMode.None,
    securityPolicy: SecurityPolicy.None,
    connectionStrategy: { maxRetry: 3, initialDelay: 100 },
  });
  await client.connect(process.argv[2]);
  const session = await client.createSession();
  process.stdout.write(">" + JSON.stringify({ ready: true }) + "\n");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const nodes = JSON.parse(line);
    const values = [];
    for (let start = 0; start < nodes.length; start += 500) {
      const slice = nodes.slice(start, start + 500).map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value }));
      values.push(...(await session.read(slice, 0)));
    }
    process.stdout.write(">" + JSON.stringify(values.map(plain)) + "\n");
  }
  await session.close();
  await client.disconnect();
}

main().catch((error) => {
  process.stderr.write(String(error.stack || error) + "\n");
  process.exit(1);
});
