// What a person does with the pages, done by Chromium: plays the scenarios of world.js, each in scenarios/. Prints one
// JSON object: the name of each scenario and what went wrong in it, or null.
//
// A complaint on the console (a violation of the Content-Security-Policy is one), an exception, a
// request to another server or one that fails spoils a scenario, whatever else it found.
"use strict";
const assert = require("node:assert/strict");
const { readdirSync } = require("node:fs");
const { chromium } = require("playwright-core");
const { urls, names, folder } = require("./world.js");
const { settled } = require("./steps.js");

const DEADLINE_MS = 60000;

function watch(page, url) {
  const troubles = [];
  page.on("console", (message) => {
    const refused = (page.expectRefusal || page.expectDown) && message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !refused) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    const own = page.expectOthers || request.url().startsWith(url) || /^(data|blob):/.test(request.url());
    if (!own) troubles.push(`asked for ${request.url()}`);
  });
  page.on("requestfailed", (request) => {
    const { errorText } = request.failure();
    if (errorText !== "net::ERR_ABORTED" && !page.expectDown) troubles.push(`${request.url()}: ${errorText}`);
  });
  return troubles;
}

async function play(browser, name, scenario) {
  const url = scenario.url ?? urls.open;
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...scenario.context });
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.expectRefusal = scenario.expectRefusal;
  const troubles = watch(page, url);
  try {
    await scenario.prepare?.(page);
    await page.goto(`${url}/${scenario.path ?? ""}`);
    if (!scenario.path?.startsWith("docs")) await settled(page);
    await scenario(page);
    if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
    assert.equal(troubles.length, page.expectTroubles ?? 0, troubles.join("\n"));
    return null;
  } catch (error) {
    if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
    return `${error.stack}\n${troubles.join("\n")}`;
  } finally {
    await context.close();
  }
}

async function main() {
  const files = readdirSync(`${__dirname}/scenarios`);
  const scenarios = Object.assign({}, ...files.map((file) => require(`./scenarios/${file}`)));
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : []; // Chromium's has no use for root
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: sandbox });
  const results = {};
  for (const name of names) results[name] = await play(browser, name, scenarios[name]);
  await browser.close();
  console.log(JSON.stringify(results));
}

main();
