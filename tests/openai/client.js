// OpenAI's own client against a running daemon: node client.js URL. Prints {scenario: null or a fault}.
"use strict";

const assert = require("node:assert/strict");
const { OpenAI, APIError } = require("openai");

const url = process.argv[2];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none is needed", maxRetries: 0 });
const generate = (fields) => client.images.generate({ model: "mnist", num_inference_steps: 2, ...fields });

function pngSize(b64) {
  const bytes = Buffer.from(b64, "base64");
  assert.equal(bytes.toString("latin1", 1, 4), "PNG");
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

async function drawnFor(fields) {
  return (await generate(fields)).data.map((image) => image.revised_prompt);
}

/** What the client throws, checked to carry the server's error object. */
async function fault(fields) {
  try {
    await generate(fields);
  } catch (error) {
    assert(error instanceof APIError, String(error));
    assert.match(error.requestID, /^req_/);
    return error;
  }
  return assert.fail(`accepted: ${JSON.stringify(fields)}`);
}

const scenarios = {
  async oneImage() {
    const before = Math.floor(Date.now() / 1000) - 1;
    const answer = await generate({ prompt: "a handwritten 7" });
    assert(answer.created >= before);
    assert.equal(answer.output_format, "png");
    assert.equal(answer.size, "28x28");
    assert.equal(answer.usage.total_tokens, 0);
    assert.equal(answer.data.length, 1);
    assert.equal(answer.data[0].revised_prompt, "seven");
    assert.deepEqual(pngSize(answer.data[0].b64_json), [28, 28]);
  },

  async prompts() {
    assert.deepEqual(await drawnFor({ prompt: "7" }), ["seven"]);
    assert.deepEqual(await drawnFor({ prompt: "Seven" }), ["seven"]);
    assert.deepEqual(await drawnFor({ prompt: "four sevens" }), Array(4).fill("seven"));
    assert.deepEqual(await drawnFor({ prompt: "2026" }), ["two", "zero", "two", "six"]);
    assert.deepEqual(await drawnFor({ prompt: "12", n: 4 }), ["one", "two", "one", "two"]);
    assert.deepEqual(await drawnFor({ prompt: "3", n: 2 }), ["three", "three"]);
  },

  async sizes() {
    for (const [size, side] of [["28x28", 28], ["280x280", 280], ["896x896", 896], ["auto", 28]]) {
      const answer = await generate({ prompt: "3", size });
      assert.equal(answer.size, `${side}x${side}`);
      assert.deepEqual(pngSize(answer.data[0].b64_json), [side, side]);
    }
  },

  async theSeedFixesTheImages() {
    const fields = { prompt: "two 3s and a 5", seed: 42, guidance_scale: 2, sampler: "ddim" };
    const [one, two] = [await generate(fields), await generate(fields)];
    assert.deepEqual(one.data, two.data);
    assert.notDeepEqual(one.data, (await generate({ ...fields, seed: 43 })).data);
    const native = await fetch(`${url}/v1/samples`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...one.params, model: one.model.digest }),
    });
    const digests = (await native.json()).images.map((image) => image.digest);
    assert.deepEqual(one.data.map((image) => image.digest), digests);
  },

  async whatClientsSend() {
    const fields = { prompt: "1", seed: 1 };
    const plain = (await generate(fields)).data;
    const more = { user: "u", quality: "standard", style: "natural", background: "opaque",
                   moderation: "low", response_format: "b64_json", output_format: "png",
                   output_compression: 100, stream: false, partial_images: 0 };
    assert.deepEqual((await generate({ ...fields, ...more })).data, plain);
    const nulls = Object.fromEntries(Object.keys(more).map((name) => [name, null]));
    assert.deepEqual((await generate({ ...fields, ...nulls, n: null, size: null })).data, plain);
  },

  async streams() {
    const fields = { prompt: "12", seed: 9, size: "56x56", num_inference_steps: 20 };
    const wanted = (await generate(fields)).data.map((image) => image.b64_json);
    const done = [];
    const partial = [0, 0];
    for await (const event of await generate({ ...fields, stream: true, partial_images: 3 })) {
      assert.equal(event.output_format, "png");
      if (event.type === "image_generation.partial_image") {
        assert(!(event.index in done));
        assert(event.partial_image_index >= partial[event.index]);
        partial[event.index] = event.partial_image_index;
        assert(event.partial_image_index < 3);
        assert.deepEqual(pngSize(event.b64_json), [28, 28]);
      } else {
        assert.equal(event.type, "image_generation.completed");
        assert.equal(event.usage.total_tokens, 0);
        assert.deepEqual([event.seed, event.model.id], [9, "mnist"]);
        done[event.index] = event.b64_json;
      }
    }
    assert.deepEqual(done, wanted);
    const plain = [];
    for await (const event of await generate({ ...fields, stream: true })) plain.push(event.type);
    assert.deepEqual(plain, Array(2).fill("image_generation.completed"));
    const raw = await fetch(`${url}/v1/images/generations`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...fields, stream: true, partial_images: 2, sampler: "ddpm",
                             num_inference_steps: 300 }),
    });
    assert.equal(raw.headers.get("Content-Type"), "text/event-stream");
    const text = await raw.text();
    assert(text.endsWith("data: [DONE]\n\n"));
    assert.match(text, /event: image_generation.partial_image\ndata: \{/);
    assert.equal((await fault({ prompt: "7", partial_images: 1 })).param, "partial_images");
  },

  async faults() {
    const cases = {
      prompt: ["a cat", "", 7, null, "zero sevens", "300 sevens"],
      n: [0, 1.5, 257, "1", true],
      size: ["1024x1024", "28x56", "28", "028x028", 28],
      seed: [-1, 0.5, 2 ** 53, "1"],
      num_inference_steps: [0, 1001],
      guidance_scale: [-1, 21],
      sampler: ["euler"],
      response_format: ["url"],
      output_format: ["jpeg", "webp"],
      output_compression: [50],
      quality: ["best"],
      style: ["vivid"],
      background: ["transparent"],
      moderation: ["none"],
      stream: ["yes"],
      partial_images: [1.5, 4, "1"],
      label: [7],
      input_fidelity: ["high"],
    };
    for (const [name, values] of Object.entries(cases)) {
      for (const value of values) {
        const error = await fault({ prompt: "7", [name]: value });
        assert(error instanceof OpenAI.BadRequestError, `${name} ${value}: ${error}`);
        assert.deepEqual([error.param, error.type, error.code],
                         [name, "invalid_request_error", "invalid_request"]);
        assert(error.message.startsWith(`400 ${name}: `), error.message);
      }
    }
    const several = await fault({ prompt: "12", n: 3, size: "7x7" });
    assert.match(several.message, /size: .*; n: the prompt names 2 images/);
  },

  async models() {
    const models = [];
    for await (const model of client.models.list()) models.push(model);
    assert.equal(models.length, 1);
    const model = await client.models.retrieve("mnist");
    assert.deepEqual(model, models[0]);
    assert.equal(model.object, "model");
    assert.equal(model.owned_by, "denoised");
    assert(Number.isInteger(model.created) && model.created > 1e9);
    assert.deepEqual(model.aliases, ["dall-e-3", "gpt-image-1"]);
    await assert.rejects(client.models.retrieve("dall-e-2"), OpenAI.NotFoundError);
  },

  async modelsByName() {
    const error = await fault({ prompt: "7", model: "dall-e-2" });
    assert(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param], ["model_not_found", "model"]);
    const { digest } = await client.models.retrieve("mnist");
    const fields = { prompt: "7", seed: 3 };
    const wanted = (await generate(fields)).data;
    for (const model of ["dall-e-3", "gpt-image-1", digest, null]) {
      const answer = await generate({ ...fields, model });
      assert.deepEqual(answer.data, wanted);
      assert.deepEqual(answer.model, { id: "mnist", digest });
    }
  },
};

async function main() {
  const results = {};
  for (const [name, play] of Object.entries(scenarios)) {
    results[name] = await play().then(() => null, (error) => error.stack);
  }
  console.log(JSON.stringify(results));
}

main();
