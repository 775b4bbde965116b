// A server that asks for an API key.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { urls, key } = require("../world.js");
const { drawn, settled, write } = require("../steps.js");

module.exports = {
  withAKey: Object.assign(async (page) => {
    assert.match(await page.textContent("#message"), /key/);
    await page.fill("#key", "wrong");
    await page.press("#key", "Enter");
    await page.waitForFunction(() => document.querySelector("#key").ariaInvalid === "true");
    await page.fill("#key", key);
    await page.press("#key", "Tab");
    await settled(page);
    await drawn(page, 4); // as soon as it may
    await page.click("#sampling summary");
    await page.selectOption("#model", "second");
    await page.click("#draw");
    await drawn(page, 4);
    assert.match(await page.locator("#stage .picture a").first().getAttribute("href"), /&model=second&/);
    // It takes few step counts and one guidance scale.
    assert.equal(await page.textContent("#steps-hint"), "1, 2, 4");
    assert.ok(await page.isDisabled("#guidance_scale"));
    await page.fill("#steps", "3");
    await page.click("#draw");
    await page.waitForFunction(() => document.querySelector("#steps").ariaInvalid === "true");
    assert.match(await page.textContent("#message"), /1, 2 or 4 expected/);
    await page.fill("#steps", "4");
    await page.click("#draw");
    await drawn(page, 4);
    await page.locator("#stage .picture button").first().click();
    const curl = await page.textContent("#picture-curl");
    assert.ok(curl.includes('-H "Authorization: Bearer $KEY"') && !curl.includes(key), curl);
  }, { url: urls.keyed, expectRefusal: true }),

  linksWithAKeySaveFiles: Object.assign(async (page) => {
    await page.fill("#key", key);
    await page.press("#key", "Tab");
    await settled(page);
    await drawn(page, 4); // as soon as it may
    await page.fill("#seed", "42");
    await write(page, "7");
    await drawn(page, 1);
    const saved = async (selector) => {
      const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
      return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
    };
    const picture = await saved("#stage .picture a");
    assert.equal(picture.name, "7-42.png");
    await page.click("#stage .picture button");
    const again = await saved("#picture-link");
    assert.ok(picture.bytes.equals(again.bytes) && picture.bytes.includes("IHDR"));
    const film = await saved("#picture-film");
    assert.equal(film.name, "7-42.apng");
    assert.ok(film.bytes.includes("acTL"));
    // What is refused is said on the page.
    await page.route("**/*.apng?*", (route) => route.fulfill({
      status: 429, contentType: "application/problem+json", json: { detail: "Too many." } }));
    await page.click("#picture-film");
    await page.waitForFunction(() => document.querySelector("#message.bad")?.textContent === "Too many.");
  }, { url: urls.keyed, expectRefusal: true }),
};
