// What the page's address says: drawn as it is meant, or told in words, and the page works.
"use strict";
const assert = require("node:assert/strict");
const { urls } = require("../world.js");
const { drawn, settled, names } = require("../steps.js");

// Goes to a link within the page and waits until it is drawn, or told why not.
async function follow(page, hash) {
  await page.evaluate((it) => {
    document.querySelector("#message").textContent = "";
    history.replaceState(null, "", "#");
    location.hash = it;
  }, hash);
  await settled(page);
}

const isBad = (page) => page.evaluate(() => document.querySelector("#message").matches(".bad"));

const UNFIT = {
  "sampler=foo": /sampler cannot be “foo”: base has ddim, dpmpp_2m/,
  "sampler=consistency": /sampler cannot be “consistency”/, // another model's
  "model=few&sampler=ddim": /sampler cannot be “ddim”: few has consistency/,
  "model=none": /model cannot be “none”: there is base, few, clothes/,
  "model=few&steps=3": /steps cannot be “3”: one of 1, 2, 4/,
  "model=few&guidance_scale=7": /guidance_scale cannot be “7”: few has 1.5 alone/,
  "steps=0": /steps cannot be “0”: a whole number from 1 to 1000/,
  "steps=1001": /steps/, "steps=1.5": /steps/, "steps=": /steps/, "steps=NaN": /steps/,
  "n=0": /n cannot be “0”: a whole number from 1 to 256/, "n=257": /n cannot/, "n=1e9": /n cannot/,
  "seed=-1": /seed/, "seed=9007199254740992": /seed/, "seed=x": /seed/,
  "guidance_scale=21": /guidance_scale cannot be “21”: from 0 to 20/, "guidance_scale=Infinity": /guidance_scale/,
  "guidance_start=0.8&guidance_end=0.2": /guidance_start must be less/,
  "guidance_end=2": /guidance_end/,
  "guidance_scale=1&guidance_start=0.2": /guidance_start cannot be “0.2”: nothing is guided/,
  "eta=0.5": /eta cannot be “0.5”: dpmpp_2m has none/, "sampler=ddim&eta=2": /eta/,
  "layout=spiral": /layout cannot be “spiral”: list or grid/,
  "labels=seven+and+eight": /labels cannot be “seven and eight”: “and” is none of zero/,
  "labels=999+sevens": /labels cannot be .*: That is more than 256/,
  "labels=": /labels/,
  "model=clothes&labels=2026": /labels cannot be “2026”/,
  "nonsense": /“nonsense” is nothing that this page knows/,
  "key=secret": /“key” is nothing/, "length=7": /“length” is nothing/, "__proto__=7": /“__proto__” is nothing/,
  "n=1&n=2": /n stands there more than once/,
  "%ff=%": /is nothing that this page knows/,
};

module.exports = {
  aLinkIsDrawn: Object.assign(async (page) => {
    await drawn(page, 2);
    assert.deepEqual(await names(page), ["7", "7"]);
    assert.match(await page.locator("#stage .picture a").nth(1).getAttribute("href"),
                 /seed=5&index=1&sampler=ddim&steps=3&.*eta=0.25/);
    await follow(page, "labels=8&layout=grid&n=3&seed=6"); // a link within the page as well
    await drawn(page, 3);
    assert.deepEqual(await page.$$eval("#stage tbody th", (all) => all.map((th) => th.textContent)), ["6", "7", "8"]);
  }, { path: "#labels=seven&n=2&seed=5&sampler=ddim&steps=3&eta=.25" }),

  aLinkThatDoesNotFit: Object.assign(async (page) => {
    assert.match(await page.textContent("#message"), /sampler cannot be “foo”/);
    assert.equal(await page.inputValue("#labels"), "7"); // what fits is there
    await page.click("#draw");
    await drawn(page, 1);
  }, { path: "#sampler=foo&labels=7" }),

  linksThatDoNotFit: Object.assign(async (page) => {
    for (const [hash, words] of Object.entries(UNFIT)) {
      await follow(page, hash);
      assert.match(await page.textContent("#message"), words, hash);
      assert.ok(await isBad(page) && await page.isEnabled("#draw"), hash);
      assert.ok(await page.evaluate(() => document.querySelector("#form").checkValidity()), hash);
      assert.equal(await page.locator("#stage .picture").count(), 0, hash);
    }
    await page.click("#draw");
    await settled(page);
    assert.ok(!await isBad(page));
  }, { url: urls.preset, path: "#" }),

  // Each field with each value: what is told is told, and what is drawn is drawn.
  linksOfAllKinds: Object.assign(async (page) => {
    const fields = ["labels", "layout", "n", "seed", "model", "sampler", "steps", "guidance_scale", "guidance_start",
                    "guidance_end", "eta", "item", "elements"];
    const values = ["", "0", "1", "-1", "0.5", "1e1", "x", "grid", "few", "ddim", "%00", "<b>", "[]", "é".repeat(50)];
    let told = 0, drew = 0;
    for (const field of fields) {
      for (const value of values) {
        await follow(page, `${field}=${value === "%00" ? value : encodeURIComponent(value)}`);
        const bad = await isBad(page);
        assert.ok(bad || await page.locator("#stage .picture").count() > 0, `${field}=${value}`);
        assert.ok(await page.evaluate(() => document.querySelector("#form").checkValidity()), `${field}=${value}`);
        if (bad) told++;
        else drew++;
      }
    }
    assert.ok(told > 100 && drew > 15, `${told} told, ${drew} drawn`);
  }, { url: urls.preset, path: "#" }),

  eachModelHasItsOwnClasses: Object.assign(async (page) => {
    await page.click("#sampling summary");
    await page.selectOption("#model", "clothes");
    assert.equal(await page.inputValue("#labels"), "t-shirt, trouser, pullover, dress");
    assert.equal(await page.locator("#keys button").last().textContent(), "ankle boot");
    await page.click("#draw");
    await drawn(page, 4);
    assert.deepEqual(await names(page), ["t-shirt", "trouser", "pullover", "dress"]);
    for (let i = 0; i < 4; i++) {
      await page.locator("#examples button").nth(i).click();
      await settled(page);
      assert.ok(!await isBad(page));
    }
    await page.selectOption("#model", "base");
    assert.equal(await page.inputValue("#labels"), "2026");
    await page.reload(); // a reload has the model that was drawn with
    await drawn(page, 40);
    assert.equal(await page.inputValue("#model"), "clothes");
  }, { url: urls.preset }),
};
