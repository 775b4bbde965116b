// Prints what the linter says of a description, as JSON: node lint.js openapi.yaml
"use strict";
const { createConfig, lint } = require("@redocly/openapi-core");

async function main() {
  const config = await createConfig({
    extends: ["recommended-strict"],
    rules: { "no-server-example.com": "off" }, // the admin listener is of this machine alone
  });
  const problems = await lint({ ref: process.argv[2], config });
  const told = problems.map((p) => ({
    rule: p.ruleId,
    message: p.message,
    pointer: p.location[0]?.pointer,
  }));
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
