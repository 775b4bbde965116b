// What scenarios have in common.
"use strict";
const assert = require("node:assert/strict");
const { urls } = require("./world.js");

// Something is said on the page, and nothing is being drawn or moves.
async function settled(page) {
  await page.waitForFunction(() => {
    const { value, max } = document.querySelector("#frame");
    return document.querySelector("#message").textContent !== "" && document.querySelector("#progress").hidden &&
           (document.querySelector("#film").hidden || value === max);
  });
}

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
    const answer = await page.request.post(`${urls.open}/v1/samples`,
                                           { data: { ...body, label: labels[0], n: 6 } });
    const events = eventsOf((await answer.json()).images);
    await route.fulfill({ contentType: "text/event-stream", body: events.map(([name, data]) =>
      `: comment\n\nid: 1\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join("") });
  });
}

module.exports = { settled, drawn, sources, names, write, stream };
