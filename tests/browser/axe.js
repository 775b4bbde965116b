// Rules of accessibility, by axe-core: `accessible(page)` fails with every violation and where it is.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");

const source = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

async function accessible(page, where) {
  await page.evaluate(source);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document));
  assert.ok(passes.length > 10, `${passes.length} rules were tried`);
  const found = violations.map(({ id, nodes }) => `${where}: ${id}, ${nodes.length} times: ` + nodes.slice(0, 3)
    .map(({ target, failureSummary }) => `${target.join(" ")}: ${failureSummary.split("\n").slice(1).join(";")}`).join("\n    "));
  assert.ok(found.length === 0, found.join("\n"));
}

module.exports = { accessible };
