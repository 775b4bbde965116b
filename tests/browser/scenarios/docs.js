// The API reference at /docs.
"use strict";
const assert = require("node:assert/strict");
const { urls } = require("../world.js");
const { accessible } = require("../axe.js");

const ready = (page) => page.waitForSelector("#operations-sampling-createSamples");

// The operations as they stand there: {id, method, path}.
const operations = (page) => page.$$eval(".opblock", (all) => all.map((block) => ({
  id: block.id,
  method: block.querySelector(".opblock-summary-method").textContent,
  path: block.querySelector(".opblock-summary-path").dataset.path,
})));

const block = (page, id) => page.locator(`[id="${id}"]`);

async function open(page, id) {
  if (await block(page, id).locator(".opblock-body").count() > 0) return;
  await block(page, id).locator(".opblock-summary-control").click();
  await block(page, id).locator(".opblock-body").waitFor();
}

// "Try it out", "Execute": the status of the answer.
async function execute(page, { id, method, path }) {
  const pattern = new RegExp(`${path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}(\\?.*)?$`);
  const answer = page.waitForResponse((it) => it.request().method() === method && pattern.test(it.url()));
  await block(page, id).locator(".execute").click();
  const status = (await answer).status();
  await block(page, id).locator(".live-responses-table .response-col_status", { hasText: `${status}` }).waitFor();
  return status;
}

module.exports = {
  docs: Object.assign(async (page) => {
    await ready(page);
    const shown = (await operations(page)).map(({ id }) => id);
    assert.ok(shown.includes("operations-operation-metrics"), shown.join());
    await open(page, "operations-sampling-createSamples");
    await page.waitForSelector("#operations-sampling-createSamples .responses-table");
  }, { path: "docs" }),

  // With what is filled in, and again: a second try is as good as the first.
  docsTriedOut: Object.assign(async (page) => {
    await ready(page);
    const picture = await page.request.get(`${urls.open}/v1/samples/7.png?seed=42`);
    const file = { name: "7.png", mimeType: "image/png", buffer: await picture.body() };
    const tried = [], refused = [];
    const all = await operations(page);
    for (const operation of all) {
      await open(page, operation.id);
      const button = block(page, operation.id).locator(".try-out__btn");
      if (operation.path.startsWith("/admin")) {
        assert.equal(await button.count(), 0, operation.id); // of a listener that browsers may not ask
        continue;
      }
      await button.click();
      if (operation.id.endsWith("verifyPicture")) {
        await block(page, operation.id).locator("input[type=file]").setInputFiles(file);
      }
      for (const time of ["first", "second"]) {
        const status = await execute(page, operation);
        if (status >= 300) refused.push(`${operation.id}, ${time} time: ${status}`);
        if (operation.id.endsWith("deleteJob")) { // there is one again for what comes after
          await execute(page, all.find(({ id }) => id.endsWith("createJob")));
        }
      }
      tried.push(operation.id);
      await block(page, operation.id).locator(".opblock-summary-control").click();
      if (operation.id.endsWith("createJob")) await open(page, operation.id);
    }
    assert.deepEqual(refused, []);
    assert.ok(tried.length > 20, tried.join());
  }, { path: "docs" }),

  docsShowThePicture: Object.assign(async (page) => {
    await ready(page);
    await open(page, "operations-sampling-getSample");
    const operation = block(page, "operations-sampling-getSample");
    await operation.locator(".try-out__btn").click();
    await operation.locator(".execute").click();
    const picture = operation.locator(".live-responses-table img");
    await picture.waitFor();
    await page.waitForFunction((image) => image.naturalWidth === 224, await picture.elementHandle());
  }, { path: "docs" }),

  docsInTheDark: Object.assign(async (page) => {
    await ready(page);
    assert.ok(await page.evaluate(() => document.documentElement.matches(".dark-mode")));
    await accessible(page, "dark");
  }, { path: "docs", context: { colorScheme: "dark" } }),

  docsAreAccessible: Object.assign(async (page) => {
    await ready(page);
    await accessible(page, "closed");
    for (const id of ["operations-sampling-getSample", "operations-sampling-createSamples",
                      "operations-jobs-deleteJob", "operations-admin-loadModel"]) {
      await open(page, id);
    }
    await accessible(page, "open");
    for (const id of ["operations-sampling-getSample", "operations-sampling-createSamples"]) {
      await block(page, id).locator(".try-out__btn").click();
    }
    await accessible(page, "to be tried out");
    await execute(page, { id: "operations-sampling-getSample", method: "GET", path: "/v1/samples/{label}.png" });
    await block(page, "operations-sampling-getSample").locator(".live-responses-table img").waitFor();
    await execute(page, { id: "operations-sampling-createSamples", method: "POST", path: "/v1/samples" });
    await accessible(page, "tried out");
    await page.locator(".models-control, section.models h4 button").first().click();
    await page.waitForSelector("section.models.is-open");
    await accessible(page, "schemas");
    await page.locator(".auth-wrapper .authorize").first().click();
    await page.waitForSelector(".dialog-ux");
    await accessible(page, "keys");
  }, { path: "docs" }),
};
