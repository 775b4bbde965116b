// ONNX Runtime as a peer: a process that does what it is asked, a JSON object a line, as
// torch_peer.py. Its argument is the folder with the ONNX files and the inputs, which has its
// node_modules too; a second one, int8, takes the quantised network.
//
//     {"do": "variants"}  {"do": "measure", ...}  {"do": "evaluate", ...}    as torch_peer.py
//     {"do": "call"}      -> {"ms": ...}   what a call costs that computes next to nothing
"use strict";

const fs = require("fs");
const path = require("path");
const readline = require("readline");

const folder = path.resolve(process.argv[2]);
const ort = require(path.join(folder, "node_modules", "onnxruntime-node"));

const WARM_UP_CALLS = 3;
const WARM_UP_SHARE = 0.15; // of the time to measure, at least
const FILES = process.argv[3] === "int8" ? { "folded upsampling, QDQ": "int8.onnx" }
  : { "folded upsampling": "folded.onnx", "ConvTranspose": "transposed.onnx" };

function inputs(batch) {
  const bytes = fs.readFileSync(path.join(folder, `inputs-${batch}.bin`));
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const pixels = batch * 28 * 28;
  return {
    x: new ort.Tensor("float32", new Float32Array(data, 0, pixels), [batch, 1, 28, 28]),
    t: new ort.Tensor("float32", new Float32Array(data, 4 * pixels, batch), [batch]),
    label: new ort.Tensor("int64", new BigInt64Array(data.slice(4 * (pixels + batch))), [batch]),
  };
}

const sessions = new Map();

// A session made for this batch size and this number of threads, which is when it optimises.
async function session(variant, batch, threads) {
  const key = `${variant} ${batch} ${threads}`;
  if (!sessions.has(key)) {
    sessions.set(key, await ort.InferenceSession.create(path.join(folder, FILES[variant]), {
      executionProviders: ["cpu"],
      graphOptimizationLevel: "all",
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      freeDimensionOverrides: { N: batch },
    }));
  }
  return sessions.get(key);
}

// [p10, median, p90] as NumPy's percentile(): linear between neighbours.
function percentiles(values) {
  values.sort((a, b) => a - b);
  return [0.1, 0.5, 0.9].map((share) => {
    const at = share * (values.length - 1);
    const below = Math.floor(at);
    const above = Math.min(below + 1, values.length - 1);
    return values[below] + (at - below) * (values[above] - values[below]);
  });
}

async function timed(run, batch, seconds) {
  let began = performance.now();
  for (let calls = 0; calls < WARM_UP_CALLS ||
       performance.now() - began < WARM_UP_SHARE * seconds * 1e3; calls++) {
    await run();
  }
  const ms = [];
  began = performance.now();
  for (let before = began; before - began < seconds * 1e3;) {
    await run();
    const after = performance.now();
    ms.push((after - before) / batch);
    before = after;
  }
  return { ms: percentiles(ms), calls: ms.length };
}

const deeds = {
  async variants() {
    return { variants: Object.keys(FILES), version: ort.env.versions.node };
  },
  async measure({ variant, batch, threads, seconds }) {
    const s = await session(variant, batch, threads);
    const feeds = inputs(batch);
    return timed(() => s.run(feeds), batch, seconds);
  },
  async evaluate({ variant, batch, into }) {
    const s = await session(variant, batch, 1);
    const { v } = await s.run(inputs(batch));
    fs.writeFileSync(into, Buffer.from(v.data.buffer, v.data.byteOffset, v.data.byteLength));
    return {};
  },
  async call({ seconds }) {
    const s = await ort.InferenceSession.create(path.join(folder, "nothing.onnx"),
      { executionProviders: ["cpu"], intraOpNumThreads: 1 });
    const x = new ort.Tensor("float32", new Float32Array(1), [1]);
    return timed(() => s.run({ x }), 1, seconds);
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    process.stdout.write(JSON.stringify(await deeds[request.do](request)) + "\n");
  }
}

main().catch((error) => {
  process.stderr.write(`onnx_peer: ${error.message}\n`);
  process.exitCode = 1;
  process.stdin.destroy();
});
