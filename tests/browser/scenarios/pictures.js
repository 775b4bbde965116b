// What is drawn, and its links.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { urls } = require("../world.js");
const { drawn, sources, names, write } = require("../steps.js");

module.exports = {
  async fourSevens(page) {
    await write(page, "four sevens");
    await drawn(page, 4);
    assert.deepEqual(await names(page), ["7", "7", "7", "7"]);
    const found = await sources(page);
    assert.equal(new Set(found).size, 4);
    assert.ok(found.every((src) => src.startsWith("data:image/png;base64,iVBOR")));
  },

  async theExampleWithAnEventSource(page) {
    const readme = readFileSync(`${__dirname}/../../../README.md`, "utf8");
    const [, example] = readme.match(/```js\n((?:(?!```)[^])*EventSource[^]*?)```/);
    const digests = [];
    const two = page.waitForEvent("console", (message) => digests.push(message.text()) === 2);
    await page.evaluate(`(async () => {${example.replaceAll("http://localhost:8080", urls.open)}})()`);
    await two;
    assert.ok(digests.every((text) => /^sha256:[0-9a-f]{64}$/.test(text)), digests.join());
  },

  async linksReproduceThePixels(page) {
    await page.fill("#seed", "42");
    await write(page, "20");
    await drawn(page, 2);
    const href = await page.locator("#stage .picture a").nth(1).evaluate((a) => a.href);
    assert.match(href, /\/v1\/samples\/0\.png\?seed=42&index=1&/);
    const answer = await page.request.get(href);
    assert.equal(answer.status(), 200);
    await page.locator("#stage .picture button").nth(1).click();
    assert.equal(await page.textContent("#picture-digest"), answer.headers()["x-sample-digest"]);
    assert.equal(await page.textContent("#picture-curl"), `curl -s '${href}' -o 0-42.png`);
    const film = await page.request.get(await page.locator("#picture-film").evaluate((a) => a.href));
    assert.equal(film.headers()["content-type"], "image/apng");
    assert.equal(film.headers()["x-sample-digest"], answer.headers()["x-sample-digest"]);
  },

  async theAddressKeepsTheForm(page) {
    await page.fill("#seed", "7");
    await write(page, "2026");
    await drawn(page, 4);
    const first = await page.locator("#stage .picture a").evaluateAll((all) => all.map((a) => a.href));
    await page.reload();
    await drawn(page, 4);
    assert.deepEqual(
      await page.locator("#stage .picture a").evaluateAll((all) => all.map((a) => a.href)), first);
  },

  async aGridOfSeedsAndLabels(page) {
    await page.check("input[value=grid]");
    await page.fill("#seed", "10");
    await page.fill("#n", "5");
    await write(page, "0123456789");
    await drawn(page, 50);
    const heads = await page.$$eval("#stage tbody th", (all) => all.map((th) => th.textContent));
    assert.deepEqual(heads, ["10", "11", "12", "13", "14"]);
    assert.equal(new Set(await sources(page)).size, 50);
  },

  aModelOfOtherThings: Object.assign(async (page) => {
    const keys = await page.$$eval("#keys button", (all) => all.map((key) => key.textContent));
    assert.equal(keys[9], "ankle boot");
    await page.fill("#labels", "");
    await page.click("#keys button >> text=coat");
    await page.click("#keys button >> text=ankle boot");
    assert.equal(await page.inputValue("#labels"), "coat, ankle boot");
    await page.check("input[value=grid]");
    await page.click("#draw");
    await drawn(page, 2);
    const heads = await page.$$eval("#stage thead th", (all) => all.map((th) => th.textContent));
    assert.deepEqual(heads, ["seed", "coat", "ankle boot"]);
    assert.match(await page.locator("#stage .picture a").last().getAttribute("href"), /\/9\.png/);
  }, {
    async prepare(page) {
      await page.route("**/v1/models", async (route) => {
        const list = await (await route.fetch()).json();
        list.data[0].classes = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt",
                                "sneaker", "bag", "ankle boot"];
        await route.fulfill({ json: list });
      });
    },
  }),
};
