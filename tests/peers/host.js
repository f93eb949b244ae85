// One process for many clients: what the library takes to load is paid once. A connection is a client of its own.
// Argument: the descriptor of a listening Unix socket. First line of a connection (JSON): {script, plan}; what follows is told in the script,
// a module that exports async (plan, lines, say, gone): lines in, lines out, and whether there is nobody to hear them.
"use strict";
const net = require("node:net");
const readline = require("node:readline");

async function serve(socket) {
  const input = readline.createInterface({ input: socket });
  const lines = input[Symbol.asyncIterator]();
  const say = (line) => socket.destroyed || socket.write(JSON.stringify(line) + "\n");
  socket.on("error", () => input.close());
  try {
    const { script, plan } = JSON.parse((await lines.next()).value);
    await require("./" + script)(plan, lines, say, () => socket.destroyed || socket.readableEnded);
  } catch (error) {
    say({ error: String(error.stack || error) });
  }
  socket.end();
}

net.createServer({ allowHalfOpen: true }, serve).listen({ fd: Number(process.argv[2]) });
process.stdin.resume().on("end", () => process.exit(0)); // who started this is gone
