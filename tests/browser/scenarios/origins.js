// Pages of other origins, which --cors-origin lets in.
"use strict";
const assert = require("node:assert/strict");
const { readFile } = require("node:fs/promises");
const { createServer } = require("node:http");
const path = require("node:path");
const { urls, key, openai } = require("../world.js");

// A server of the page that fetches OpenAI's client; its port makes it another origin.
async function serve() {
  const server = createServer(async (request, answer) => {
    if (request.url === "/") return answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>other</title>");
    try {
      const file = await readFile(path.join(openai, path.posix.normalize(request.url)));
      return answer.setHeader("Content-Type", "text/javascript").end(file);
    } catch {
      return answer.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

module.exports = {
  // With the headers of its own that it adds to every request (x-stainless-...).
  openaisClientFromAnotherOrigin: Object.assign(async (page) => {
    const server = await serve();
    page.expectOthers = true;
    try {
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      const found = await page.evaluate(async ([baseURL, apiKey]) => {
        const { default: OpenAI } = await import("/index.mjs");
        const client = new OpenAI({ baseURL, apiKey, dangerouslyAllowBrowser: true, maxRetries: 0 });
        const models = await client.models.list();
        const images = await client.images.generate({ model: "mnist", prompt: "four sevens", response_format: "b64_json" });
        const events = [];
        const stream = await client.images.generate({ prompt: "7", stream: true, partial_images: 2 });
        for await (const { type } of stream) events.push(type);
        const refused = await client.images.generate({ prompt: "7", model: "none" }).catch((error) => error);
        return { model: models.data[0].id, images: images.data.map(({ b64_json }) => b64_json.slice(0, 5)), events,
                 status: refused.status, type: refused.type, requestId: refused.requestID };
      }, [`${urls.cors}/v1`, key]);
      assert.equal(found.model, "mnist");
      assert.deepEqual(found.images, ["iVBOR", "iVBOR", "iVBOR", "iVBOR"]);
      assert.equal(found.events.at(-1), "image_generation.completed");
      assert.ok(found.events.includes("image_generation.partial_image"), found.events.join());
      assert.deepEqual([found.status, found.type], [404, "invalid_request_error"]);
      assert.match(found.requestId ?? "", /\w/); // a header that the page may read
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }, { url: urls.cors, expectRefusal: true }),
};
