// The form and the page around it: by keyboard, on a phone, in the dark.
"use strict";
const assert = require("node:assert/strict");
const { drawn, write } = require("../steps.js");

module.exports = {
  async byKeyboardAlone(page) {
    await page.focus("#labels");
    await page.keyboard.press("Control+A");
    await page.keyboard.press("Backspace");
    await page.keyboard.press("Tab");
    for (let i = 0; i < 3; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the button 3
    assert.equal(await page.inputValue("#labels"), "3");
    await page.focus("#seed");
    await page.keyboard.press("Enter"); // a form is sent from any of its fields
    await drawn(page, 1);
    await page.focus("#draw");
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.matches("#stage .picture button"))) break;
    }
    await page.keyboard.press("Enter");
    assert.ok(await page.isVisible("#picture"));
    await page.keyboard.press("Escape");
    assert.ok(!await page.isVisible("#picture"));
    assert.ok(await page.evaluate(() => document.activeElement.matches("#stage .picture button")));
  },

  async everythingHasAName(page) {
    await page.click("#sampling summary");
    await page.selectOption("#sampler", "ddim");
    await write(page, "5");
    await drawn(page, 1);
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    const roles = ["button", "textbox", "spinbutton", "combobox", "radio", "slider", "link", "group"];
    const wanted = nodes.filter(({ role, ignored }) => !ignored && roles.includes(role?.value));
    assert.ok(wanted.length > 20, `${wanted.length} controls`);
    const bare = wanted.filter(({ role, name }) => role.value !== "group" && !name?.value);
    assert.deepEqual(bare.map(({ role }) => role.value), []);
  },

  async faultsAreSaidAtTheField(page) {
    await write(page, "7 and 8");
    assert.match(await page.textContent("#message"), /“and” is none of zero, one/);
    assert.equal(await page.getAttribute("#labels", "aria-invalid"), "true");
    await page.evaluate(() => document.querySelector("#n").removeAttribute("max"));
    await page.fill("#n", "300");
    page.expectRefusal = true;
    await write(page, "7");
    await page.waitForFunction(() => document.querySelector("#n").ariaInvalid === "true");
    assert.match(await page.textContent("#message"), /n: /);
    assert.equal(await page.locator("#stage .picture").count(), 0);
    await page.fill("#n", "1");
    await page.click("#draw");
    await drawn(page, 1);
    assert.equal(await page.getAttribute("#n", "aria-invalid"), null);
  },

  async aFaultInAClosedPart(page) {
    await page.click("#sampling summary");
    await page.fill("#steps", "0");
    await page.click("#sampling summary");
    await page.click("#draw");
    assert.ok(await page.isVisible("#steps"));
    assert.ok(await page.evaluate(() => document.activeElement.id === "steps"));
  },

  phone: Object.assign(async (page) => {
    await write(page, "2026");
    await drawn(page, 4);
    await page.check("input[value=grid]");
    await page.click("#draw");
    await drawn(page, 3);
    const { wide, small } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth - innerWidth,
      small: [...document.querySelectorAll("button, input:not([type=radio]), select")]
        .filter((e) => e.checkVisibility()).filter((e) => e.getBoundingClientRect().height < 40).map((e) => e.id),
    }));
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    assert.deepEqual(small, []);
  }, { context: { viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true } }),

  dark: Object.assign(async (page) => {
    await write(page, "2026");
    await drawn(page, 4);
    const [r, g, b] = (await page.evaluate(() => getComputedStyle(document.body).backgroundColor))
      .match(/\d+/g).map(Number);
    assert.ok(r + g + b < 150, `rgb(${r} ${g} ${b}) is not dark`);
  }, { context: { colorScheme: "dark" } }),

  async theServerIsShown(page) {
    await page.waitForFunction(() => document.querySelector("#status-ready").textContent === "ready");
    await write(page, "1");
    await page.waitForFunction(() => /^[\d.]+ ms$/.test(document.querySelector("#status-latency").textContent));
    assert.match(await page.textContent("#status-queue"), /^\d+$/);
    assert.match(await page.textContent("#status-rate"), /^\d+\/s$/);
  },

  async theWatchIsNotBlind(page) {
    page.expectTroubles = 1;
    await page.evaluate(() => document.body.setAttribute("style", "color: red"));
    await page.waitForFunction(() => getComputedStyle(document.body).color !== "rgb(255, 0, 0)");
  },
};
