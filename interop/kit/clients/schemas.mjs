// Print the official JSON schemas of MCP, by revision, out of the conformance suite's bundle.
//     schemas.mjs .../conformance/dist/index.js

import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";

const bundle = readFileSync(process.argv[2], "utf8");

// The object literal that begins at `start`; brackets in strings do not count.
function literal(start) {
  let depth = 0;
  for (let at = start, quote = ""; ; at++) {
    const letter = bundle[at];
    if (quote) {
      if (letter === "\\") at++;
      else if (letter === quote) quote = "";
    } else if ("`'\"".includes(letter)) quote = letter;
    else if ("{[".includes(letter)) depth++;
    else if ("]}".includes(letter) && --depth === 0) return bundle.slice(start, at + 1);
  }
}

// const Re={"2025-03-26":Pe,...,[A]:Le}, whose last is 2026-07-28
const [, table] = bundle.match(/=\{("2025-03-26":\w+,[^}]*)\}/);
const schemas = {};
for (const [, revision, name] of table.matchAll(/"?([\d-]+|\[\w+\])"?:(\w+)/g)) {
  const start = bundle.indexOf(`${name}={$schema:`) + name.length + 1;
  const key = revision.startsWith("[") ? "2026-07-28" : revision;
  schemas[key] = runInNewContext(`(${literal(start)})`);
}
process.stdout.write(JSON.stringify(schemas));
