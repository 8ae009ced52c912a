// The two tools on the official TypeScript SDK, which is installed in the folder named.
import { createRequire } from "node:module";

const require = createRequire(`${process.argv[2]}/`);
const { McpServer } = require("@modelcontextprotocol/server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");
const { z } = require("zod");

const profile = z.string().optional();

serveStdio(() => {
  const server = new McpServer({ name: "bench", version: "1" });
  server.registerTool(
    "refresh_aws_sso_token",
    {
      description: "Renew an expired or missing AWS SSO token.",
      inputSchema: z.object({ profile, force: z.boolean().optional() }),
    },
    ({ profile, force }) => ({ content: [{ type: "text", text: `${profile} ${force}` }] }),
  );
  server.registerTool(
    "get_aws_sso_status",
    {
      description: "Tell which AWS SSO sessions there are.",
      inputSchema: z.object({ profile }),
    },
    ({ profile }) => ({ content: [{ type: "text", text: `${profile}` }] }),
  );
  return server;
});
