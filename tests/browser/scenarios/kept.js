// What is kept of a drawing: files, and what was drawn before.
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { drawn, settled, sources, write } = require("../steps.js");

async function saved(page, selector) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  return { name: file.suggestedFilename(), path: await file.path() };
}

// {name: bytes} as a reader of ZIP archives has them that is not ours.
function unpacked(path) {
  const program = `import base64, json, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
print(json.dumps({name: base64.b64encode(archive.read(name)).decode() for name in archive.namelist()}))`;
  const all = JSON.parse(execFileSync("/usr/bin/python3", ["-c", program, path], { maxBuffer: 1 << 26 }));
  return Object.fromEntries(Object.entries(all).map(([name, b64]) => [name, Buffer.from(b64, "base64")]));
}

const sizeOf = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

module.exports = {
  async saveAll(page) {
    await page.fill("#seed", "42");
    await write(page, "20");
    await drawn(page, 2);
    await settled(page);
    const archive = await saved(page, "#save-zip");
    assert.equal(archive.name, "pictures.zip");
    const files = unpacked(archive.path);
    assert.deepEqual(Object.keys(files), ["manifest.json", "0000-2-seed42.png", "0001-0-seed42.png"]);
    const shown = (await sources(page)).map((src) => Buffer.from(src.split(",")[1], "base64"));
    assert.ok(files["0000-2-seed42.png"].equals(shown[0]) && files["0001-0-seed42.png"].equals(shown[1]));
    const [{ url, digest, ...first }] = JSON.parse(files["manifest.json"]);
    assert.deepEqual(first, { file: "0000-2-seed42.png", name: "two", label: 2, seed: 42, index: 0 });
    assert.equal((await page.request.get(url)).headers()["x-sample-digest"], digest);

    const picture = await saved(page, "#save-sheet");
    assert.equal(picture.name, "pictures.png");
    const png = readFileSync(picture.path);
    assert.deepEqual(sizeOf(png), [2 * 28 * 8, 28 * 8]);
    // It is marked as generated where its parts are.
    const mark = "XML:com.adobe.xmp";
    assert.equal(png.includes(mark), shown[0].includes(mark));

    await page.check("input[value=grid]");
    await page.fill("#n", "3");
    await page.click("#draw");
    await drawn(page, 6);
    assert.deepEqual(sizeOf(readFileSync((await saved(page, "#save-sheet")).path)), [2 * 28 * 8, 3 * 28 * 8]);
    assert.equal(Object.keys(unpacked((await saved(page, "#save-zip")).path)).length, 7);
    await page.fill("#labels", "7 and 8"); // what is on the stage is what is saved
    await page.click("#draw");
    assert.equal(Object.keys(unpacked((await saved(page, "#save-zip")).path)).length, 7);
  },

  async whatWasDrawnBefore(page) {
    await page.fill("#seed", "1");
    await write(page, "33");
    await drawn(page, 2);
    await settled(page);
    const before = await sources(page);
    await page.check("input[value=grid]");
    await page.fill("#seed", "2");
    await write(page, "4");
    await drawn(page, 1);
    let asked = 0;
    page.on("request", (request) => {
      if (request.url().includes("v1/samples")) asked++;
    });
    const entries = page.locator("#history button");
    assert.equal(await entries.count(), 3);
    assert.equal(await entries.first().getAttribute("aria-current"), "true");
    await entries.nth(1).click();
    assert.deepEqual(await sources(page), before);
    assert.equal(await page.inputValue("#labels"), "33");
    assert.equal(await page.inputValue("#seed"), "1");
    assert.ok(await page.isChecked("input[value=list]"));
    assert.match(page.url(), /#labels=33&/);
    assert.equal(await entries.nth(1).getAttribute("aria-current"), "true");
    await page.locator("#stage .picture button").first().click();
    assert.match(await page.textContent("#picture-digest"), /^sha256:/);
    await page.keyboard.press("Escape");
    await page.focus("#frame");
    await page.keyboard.press("Home");
    assert.notDeepEqual(await sources(page), before);
    assert.equal(asked, 0); // nothing is drawn again
    // The same once more is the same entry, and there are no more than eight.
    await page.click("#draw");
    await drawn(page, 2);
    assert.equal(await entries.count(), 3);
    for (let seed = 10; seed < 18; seed++) {
      await page.fill("#seed", `${seed}`);
      await page.click("#draw");
      await drawn(page, 2);
      await settled(page);
    }
    assert.equal(await entries.count(), 8);
    assert.match(await entries.last().textContent(), /seed 10/);
  },
};
