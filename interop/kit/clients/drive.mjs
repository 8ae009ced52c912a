// Drive a TypeScript MCP client library; README.md describes the commands.
// Runs with @modelcontextprotocol/sdk 1 and @modelcontextprotocol/client 2.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2]);
const load = createRequire(`${options.library}/`);
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");

// --- Libraries

function library() {
  try {
    const { Client } = load("@modelcontextprotocol/client");
    const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
    const callTool = (client, params, how) => client.callTool(params, how);
    const onElicit = (client, answer) => client.setRequestHandler("elicitation/create", answer);
    const version = (client) => client.getNegotiatedProtocolVersion();
    return { Client, StdioClientTransport, callTool, onElicit, version };
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
  }
  const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
  const { ElicitRequestSchema } = load("@modelcontextprotocol/sdk/types.js");
  const callTool = (client, params, how) => client.callTool(params, undefined, how);
  const onElicit = (client, answer) => client.setRequestHandler(ElicitRequestSchema, answer);
  const version = (client, transport) => transport.protocolVersion;
  return { Client, StdioClientTransport, callTool, onElicit, version };
}

async function elicited({ params }) {
  tell({ elicited: params });
  if (options.elicit === "never") await new Promise(() => {});
  if (options.elicit === "error") throw new Error("this client fails to ask");
  return { action: options.elicit };
}

// --- Main

const { Client, StdioClientTransport, callTool, onElicit, version } = library();
const capabilities = options.elicit ? { elicitation: { form: {}, url: {} } } : {};
const how = options.mode ? { versionNegotiation: { mode: options.mode } } : {};
const client = new Client({ name: "drive", version: "1" }, { capabilities, ...how });
if (options.elicit) onElicit(client, elicited);

const [command, ...args] = options.command;
const transport = new StdioClientTransport({ command, args, env: options.env, stderr: "ignore" });
let connectedAs = null;
transport.setProtocolVersion = (spoken) => (connectedAs = spoken);
await client.connect(transport);
tell({ connected: version(client, { protocolVersion: connectedAs }) ?? null });

const limits = options.limit ? { timeout: options.limit * 1000 } : {};
const calls = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if (told.do === "list") {
    tell({ tools: (await client.listTools()).tools });
  } else if (told.do === "call") {
    const { call, tool: name } = told;
    const stop = new AbortController();
    calls.set(call, stop);
    const onprogress = ({ message }) => tell({ progress: call, message });
    const answer = callTool(
      client, { name, arguments: told.arguments }, { signal: stop.signal, onprogress, ...limits },
    );
    answer.then(
      (result) => tell({ answer: call, result }),
      (error) => tell({ failed: call, error: String(error) }),
    );
  } else {
    calls.get(told.call).abort("the caller cancelled");
  }
}
const closing = performance.now();
await client.close();
tell({ closed: (performance.now() - closing) / 1000 });
process.exit(0);
