// What a person does with the pages, done by Chromium: scenarios.js URL KEYED_URL PRESET_URL KEY
// [FOLDER]; the second daemon asks for an API key and has two models, those of the third have presets, the folder is
// for screenshots. Prints one JSON object: the name of each scenario and what went wrong in it, or null.
//
// A complaint on the console (a violation of the Content-Security-Policy is one), an exception, a
// request to another server or one that fails spoils a scenario, whatever else it found.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { chromium } = require("playwright-core");

const [openUrl, keyedUrl, presetUrl, key, folder] = process.argv.slice(2);
const DEADLINE_MS = 60000;

async function drawn(page, n) {
  await page.waitForFunction((wanted) => {
    const open = [...document.querySelectorAll("#stage .picture button")];
    return open.length === wanted && open.every((button) => !button.disabled) &&
           document.querySelector("#progress").hidden;
  }, n);
}

// The source that every picture shows, a data: URL of a PNG.
const sources = (page) => page.$$eval("#stage img", (images) => images.map(({ src }) => src));

const names = (page) => page.$$eval("#stage .picture a", (links) => links.map((a) => a.textContent));

async function write(page, text) {
  await page.fill("#labels", text);
  await page.click("#draw");
}

// Answer POST v1/samples with the stream that `eventsOf` makes of six pictures of the first label.
async function stream(page, eventsOf) {
  await page.route("**/v1/capabilities", async (route) => {
    const document = await (await route.fetch()).json();
    document.media_types = [...new Set([...document.media_types, "text/event-stream"])];
    await route.fulfill({ json: document });
  });
  await page.route("**/v1/samples", async (route) => {
    const { preview_every, labels, ...body } = route.request().postDataJSON();
    assert.ok(preview_every >= 1);
    const answer = await page.request.post(`${openUrl}/v1/samples`,
                                           { data: { ...body, label: labels[0], n: 6 } });
    const events = eventsOf((await answer.json()).images);
    await route.fulfill({ contentType: "text/event-stream", body: events.map(([name, data]) =>
      `: comment\n\nid: 1\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join("") });
  });
}

const scenarios = {
  async fourSevens(page) {
    await write(page, "four sevens");
    await drawn(page, 4);
    assert.deepEqual(await names(page), ["7", "7", "7", "7"]);
    const found = await sources(page);
    assert.equal(new Set(found).size, 4);
    assert.ok(found.every((src) => src.startsWith("data:image/png;base64,iVBOR")));
  },

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

  async theExampleWithAnEventSource(page) {
    const readme = readFileSync(`${__dirname}/../../README.md`, "utf8");
    const [, example] = readme.match(/```js\n((?:(?!```)[^])*EventSource[^]*?)```/);
    const digests = [];
    const two = page.waitForEvent("console", (message) => digests.push(message.text()) === 2);
    await page.evaluate(`(async () => {${example.replaceAll("http://localhost:8080", openUrl)}})()`);
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
    await page.waitForFunction(() => document.querySelector("#message").textContent !== "");
    await page.click("#draw");
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

  async theServerIsShown(page) {
    await page.waitForFunction(() => document.querySelector("#status-ready").textContent === "ready");
    await write(page, "1");
    await page.waitForFunction(() => /^[\d.]+ ms$/.test(document.querySelector("#status-latency").textContent));
    assert.match(await page.textContent("#status-queue"), /^\d+$/);
    assert.match(await page.textContent("#status-rate"), /^\d+\/s$/);
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
      ["completed", { id: "smp_1" }],
    ]),
  }),

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

  withAKey: Object.assign(async (page) => {
    assert.match(await page.textContent("#message"), /key/);
    await page.fill("#key", "wrong");
    await page.press("#key", "Enter");
    await page.waitForFunction(() => document.querySelector("#key").ariaInvalid === "true");
    await page.fill("#key", key);
    await page.press("#key", "Tab");
    await page.waitForFunction(() => document.querySelector("#message").textContent === "Press Draw.");
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
  }, { url: keyedUrl, expectRefusal: true }),

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
    await page.waitForFunction(() => document.querySelector("#message").textContent !== "");
    assert.deepEqual(await pressed(), ["false", "true", "false"]);
  }, { url: presetUrl }),

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
    await page.waitForFunction(() => document.querySelector("#message").textContent !== "");
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
  }, { url: presetUrl,
       context: { viewport: { width: 375, height: 720 }, hasTouch: true, isMobile: true, colorScheme: "dark" } }),

  linksWithAKeySaveFiles: Object.assign(async (page) => {
    await page.fill("#key", key);
    await page.press("#key", "Tab");
    await page.waitForFunction(() => document.querySelector("#message").textContent === "Press Draw.");
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
  }, { url: keyedUrl, expectRefusal: true }),

  docs: Object.assign(async (page) => {
    await page.waitForSelector("#operations-sampling-createSamples");
    const shown = await page.$$eval(".opblock", (all) => all.map((e) => e.id));
    assert.ok(shown.includes("operations-operation-metrics"), shown.join());
    await page.click("#operations-sampling-createSamples .opblock-summary-control");
    await page.waitForSelector("#operations-sampling-createSamples .responses-table");
  }, { path: "docs" }),

  docsTriedOut: Object.assign(async (page) => {
    const operation = page.locator("#operations-sampling-getSample");
    await operation.locator(".opblock-summary-control").click();
    await operation.locator(".try-out__btn").click();
    await operation.locator(".execute").click();
    const picture = operation.locator(".live-responses-table img");
    await picture.waitFor();
    await page.waitForFunction((image) => image.naturalWidth === 56, await picture.elementHandle());
  }, { path: "docs" }),

  docsInTheDark: Object.assign(async (page) => {
    await page.waitForSelector("#operations-sampling-createSamples");
    assert.ok(await page.evaluate(() => document.documentElement.matches(".dark-mode")));
  }, { path: "docs", context: { colorScheme: "dark" } }),

  async theWatchIsNotBlind(page) {
    page.expectTroubles = 1;
    await page.evaluate(() => document.body.setAttribute("style", "color: red"));
    await page.waitForFunction(() => getComputedStyle(document.body).color !== "rgb(255, 0, 0)");
  },
};

function watch(page, url) {
  const troubles = [];
  page.on("console", (message) => {
    const refused = page.expectRefusal && message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !refused) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    const own = request.url().startsWith(url) || /^(data|blob):/.test(request.url());
    if (!own) troubles.push(`asked for ${request.url()}`);
  });
  page.on("requestfailed", (request) => {
    const { errorText } = request.failure();
    if (errorText !== "net::ERR_ABORTED") troubles.push(`${request.url()}: ${errorText}`);
  });
  return troubles;
}

async function play(browser, name, scenario) {
  const url = scenario.url ?? openUrl;
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...scenario.context });
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.expectRefusal = scenario.expectRefusal;
  const troubles = watch(page, url);
  try {
    await scenario.prepare?.(page);
    await page.goto(`${url}/${scenario.path ?? ""}`);
    if (!scenario.path) {
      await page.waitForFunction(() => document.querySelector("#message").textContent !== "");
    }
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
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : []; // Chromium's has no use for root
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: sandbox });
  const results = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    results[name] = await play(browser, name, scenario);
  }
  await browser.close();
  console.log(JSON.stringify(results));
}

main();
