// Pictures on their way out of the noise, and ways that end early.
"use strict";
const assert = require("node:assert/strict");
const { drawn, sources, write, stream } = require("../steps.js");

module.exports = {
  async picturesComeOutOfTheNoise(page) {
    await page.evaluate(() => {
      window.frames7 = new Set();
      new MutationObserver((changes) => changes.forEach(({ target }) => frames7.add(target.src)))
        .observe(document.querySelector("#stage"), { subtree: true, attributeFilter: ["src"] });
    });
    await write(page, "7");
    await drawn(page, 1);
    await page.waitForFunction(() => window.frames7.size >= 4);
    const frame = page.locator("#frame");
    const last = Number(await frame.getAttribute("max"));
    assert.ok(last >= 3, `${last} frames`);
    await page.waitForFunction((n) => Number(document.querySelector("#frame").value) === n, last);
    const [picture] = await sources(page);
    await frame.focus();
    await page.keyboard.press("Home");
    const [noise] = await sources(page);
    assert.notEqual(noise, picture);
    await page.keyboard.press("End");
    assert.deepEqual(await sources(page), [picture]);
  },

  theFilm: Object.assign(async (page) => {
    await page.evaluate(() => {
      window.shown = new Set();
      new MutationObserver((changes) => changes.forEach(({ target }) => shown.add(target.src)))
        .observe(document.querySelector("#stage"), { subtree: true, attributeFilter: ["src"] });
    });
    await write(page, "7");
    await drawn(page, 1);
    await page.waitForFunction(() => window.shown.size === 6);
    assert.equal(await page.inputValue("#frame"), "5");
    const [last] = await sources(page);
    await page.focus("#frame");
    await page.keyboard.press("Home");
    const [first] = await sources(page);
    assert.notEqual(first, last);
    await page.keyboard.press("End");
    assert.deepEqual(await sources(page), [last]);
    await page.click("#play");
    await page.waitForFunction((src) => document.querySelector("#stage img").src === src, last);
  }, {
    prepare: (page) => stream(page, ([picture, ...others]) => [
      ["started", { id: "smp_1" }],
      ...others.map(({ b64 }) => ["preview", { index: 0, b64 }]),
      ["progress", { step: 20, steps: 20, eta_ms: 0 }],
      ["image", picture],
      ["completed", { id: "smp_1", timings: { queue_ms: 0, sample_ms: 1, encode_ms: 1 } }],
    ]),
  }),

  reducedMotion: Object.assign(async (page) => {
    await page.evaluate(() => {
      window.shown = [];
      new MutationObserver((changes) => changes.forEach(({ target }) => shown.push(target.src)))
        .observe(document.querySelector("#stage"), { subtree: true, attributeFilter: ["src"] });
    });
    await write(page, "7");
    await drawn(page, 1);
    await page.waitForFunction(() => window.shown.length > 0);
    assert.equal(new Set(await page.evaluate(() => window.shown)).size, 1);
  }, { context: { reducedMotion: "reduce" } }),

  aStreamThatFails: Object.assign(async (page) => {
    await write(page, "7");
    await page.waitForFunction(() => document.querySelector("#message.bad"));
    assert.equal(await page.textContent("#message"), "The engine failed.");
    assert.ok(await page.isEnabled("#draw"));
    assert.equal(await page.locator("#stage .picture").count(), 0);
  }, {
    prepare: (page) => stream(page, () => [
      ["started", { id: "smp_1" }],
      ["error", { status: 500, title: "Internal error", detail: "The engine failed.", errors: [] }],
    ]),
  }),

  aStreamThatBreaksOff: Object.assign(async (page) => {
    await write(page, "7");
    await page.waitForFunction(() => document.querySelector("#message.bad"));
    assert.match(await page.textContent("#message"), /hung up/);
    assert.ok(await page.isEnabled("#draw"));
  }, { prepare: (page) => stream(page, () => [["started", { id: "smp_1" }]]) }),

  async stopping(page) {
    await page.click("#sampling summary");
    await page.selectOption("#sampler", "ddpm");
    await page.fill("#steps", "1000");
    await page.fill("#n", "50");
    page.expectRefusal = true; // a request that is given up
    await write(page, "01234");
    await page.click("#stop");
    await page.waitForFunction(() => document.querySelector("#message").textContent === "Stopped.");
    await page.waitForFunction(() => document.querySelector("#status-queue").textContent === "0");
    assert.ok(await page.isEnabled("#draw"));
  },
};
