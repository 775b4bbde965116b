// Presets and sampling.
"use strict";
const assert = require("node:assert/strict");
const { urls } = require("../world.js");
const { drawn, settled, write } = require("../steps.js");

module.exports = {
  presetsAreOneTap: Object.assign(async (page) => {
    const buttons = page.locator("#presets button");
    assert.deepEqual(await buttons.locator("b").allTextContents(), ["turbo", "fast", "balanced"]);
    assert.match(await buttons.first().textContent(), /^turbo1 evaluation$/);
    assert.match(await buttons.last().textContent(), /^balanced6 evaluations$/);
    await page.fill("#seed", "42");
    await buttons.first().click();
    await drawn(page, 4);
    await page.waitForFunction(() => /4 in [\d.]+ ms$/.test(document.querySelector("#presets button").textContent));
    assert.equal(await buttons.first().getAttribute("aria-pressed"), "true");
    await page.click("#sampling summary");
    const fields = () => page.$$eval("#model, #sampler, #steps, #guidance_scale", (all) => all.map((e) => e.value));
    assert.deepEqual(await fields(), ["few", "consistency", "1", "1.5"]);
    assert.match(await page.locator("#stage .picture a").first().getAttribute("href"),
                 /sampler=consistency&steps=1&guidance_scale=1.5&model=few&/);
    await buttons.nth(2).click();
    await drawn(page, 4);
    assert.deepEqual(await fields(), ["base", "dpmpp_2m", "3", "2"]);
    const pressed = () => buttons.evaluateAll((all) => all.map((b) => b.ariaPressed));
    assert.deepEqual(await pressed(), ["false", "false", "true"]);
    await page.fill("#steps", "2");
    assert.deepEqual(await pressed(), ["false", "false", "false"]);
    await page.fill("#guidance_scale", "1");
    assert.deepEqual(await pressed(), ["false", "true", "false"]);
    await page.click("#draw"); // the address has the settings, and so the preset
    await drawn(page, 4);
    await page.reload();
    await settled(page);
    assert.deepEqual(await pressed(), ["false", "true", "false"]);
  }, { url: urls.preset }),

  async guidanceOnAPart(page) {
    await page.click("#sampling summary");
    await page.fill("#guidance_start", "0.2");
    await page.fill("#guidance_end", "0.8");
    await page.fill("#seed", "42");
    await write(page, "7");
    await drawn(page, 1);
    const href = await page.locator("#stage .picture a").evaluate((a) => a.href);
    assert.equal(new URL(href).searchParams.get("guidance_interval"), "0.2,0.8");
    await page.locator("#stage .picture button").click();
    const answer = await page.request.get(href);
    assert.equal(await page.textContent("#picture-digest"), answer.headers()["x-sample-digest"]);
    await page.keyboard.press("Escape");
    await page.reload(); // the address has it
    await settled(page);
    await page.click("#sampling summary");
    assert.equal(await page.inputValue("#guidance_end"), "0.8");
    page.expectRefusal = true;
    await page.fill("#guidance_end", "0.1");
    await page.click("#draw");
    await page.waitForFunction(() => document.querySelector("#guidance_start").ariaInvalid === "true");
    assert.match(await page.textContent("#message"), /0 <= start < end <= 1/);
    await page.fill("#guidance_scale", "1"); // without guidance there is no part of it
    assert.ok(!await page.isVisible("#guidance_start"));
    await page.click("#draw");
    await drawn(page, 1);
  },

  presetsOnAPhone: Object.assign(async (page) => {
    await page.locator("#presets button").first().tap();
    await drawn(page, 4);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
  }, { url: urls.preset,
       context: { viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true, colorScheme: "dark" } }),
};
