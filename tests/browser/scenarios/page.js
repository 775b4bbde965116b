// The first sight of the page, its sizes, its focus, and a server that goes away.
"use strict";
const assert = require("node:assert/strict");
const { accessible } = require("../axe.js");
const { drawn, settled, write } = require("../steps.js");

const focus = (page) => page.evaluate(() => document.activeElement.id);
const tooWide = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

module.exports = {
  async theFirstSight(page) {
    await drawn(page, 4); // without a hand being moved
    const examples = page.locator("#examples button");
    assert.equal(await examples.count(), 4);
    for (const [i, pictures] of [4, 4, 10, 40].entries()) {
      await examples.nth(i).click();
      await drawn(page, pictures);
      assert.ok(await examples.nth(i).evaluate((button) => button === document.activeElement));
    }
  },

  async drawKeepsTheFocus(page) {
    await page.focus("#draw");
    await page.keyboard.press("Enter");
    assert.equal(await focus(page), "draw");
    await drawn(page, 4);
    assert.equal(await focus(page), "draw");
    await page.click("#sampling summary");
    await page.selectOption("#sampler", "ddpm");
    await page.fill("#steps", "1000");
    await page.fill("#n", "50");
    page.expectRefusal = true; // a request that is given up
    await page.click("#draw");
    await page.focus("#stop");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#message").textContent === "Stopped.");
    assert.equal(await focus(page), "draw");
  },

  picturesBesideTheSettings: Object.assign(async (page) => {
    await page.click("#sampling summary");
    await page.locator("#guidance_end").scrollIntoViewIfNeeded();
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    const images = await page.locator("#stage img").all();
    assert.equal(images.length, 4);
    for (const box of await Promise.all(images.map((image) => image.boundingBox()))) {
      assert.ok(box.y >= 0 && box.y + box.height <= 768, JSON.stringify(box));
    }
  }, { context: { viewport: { width: 1366, height: 768 } } }),

  theTableOnAPhone: Object.assign(async (page) => {
    await page.locator("#examples button").nth(3).tap();
    await drawn(page, 40);
    assert.ok(await tooWide(page) <= 0, `${await tooWide(page)} pixels too wide`);
    for (const image of await page.locator("#stage tbody tr:first-child img").all()) {
      const { x, width } = await image.boundingBox();
      assert.ok(x >= 0 && x + width <= 390 && width >= 24, `${x}, ${width}`);
    }
    await accessible(page, "on a phone");
  }, { context: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true } }),

  async aServerThatGoesAway(page) {
    const latency = () => page.textContent("#status-latency");
    await page.waitForFunction(() => document.querySelector("#status-latency").textContent !== "–");
    page.expectDown = true;
    await page.route(/metrics|samples/, (route) => route.abort("connectionrefused"));
    await page.click("#draw");
    await page.waitForFunction(() => document.querySelector("#message.bad"));
    assert.match(await page.textContent("#message"), /^The server cannot be reached\./);
    await page.waitForFunction(() => document.querySelector("#status-ready").textContent === "not reached");
    assert.equal(await latency(), "–");
    await page.unroute(/metrics|samples/);
    await page.waitForFunction(() => document.querySelector("#status-ready").textContent === "ready");
    await page.click("#draw");
    await drawn(page, 4);
  },

  aServerThatComesLate: Object.assign(async (page) => {
    assert.match(await page.textContent("#message"), /^The server cannot be reached\./);
    await page.waitForFunction(() => document.querySelector("#status-ready").textContent === "not reached");
    await page.unroute(/metrics|v1/);
    await drawn(page, 4); // by itself
  }, {
    async prepare(page) {
      page.expectDown = true;
      await page.route(/metrics|v1/, (route) => route.abort("connectionrefused"));
    },
  }),

  async thePageIsAccessible(page) {
    await accessible(page, "at first");
    await page.click("#sampling summary");
    await page.selectOption("#sampler", "ddim");
    await page.locator("#examples button").nth(3).click();
    await drawn(page, 40);
    await accessible(page, "a table, with what was drawn before");
    await page.locator("#stage .picture button").first().click();
    await accessible(page, "a picture");
    await page.keyboard.press("Escape");
    await write(page, "7 and 8");
    await accessible(page, "a fault");
  },

  darkIsAccessible: Object.assign(async (page) => {
    await page.locator("#examples button").nth(1).click();
    await settled(page);
    await accessible(page, "dark");
  }, { context: { colorScheme: "dark", viewport: { width: 1920, height: 1080 } } }),
};
