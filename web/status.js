// The line at the top: readiness, queue, latency and speed, from /metrics.

import { request } from "./client.js";

const PERIOD_MS = 2000;
const PATIENCE_MS = 5000;

// {name: sum over all its samples whose labels hold `only`} of a Prometheus exposition.
function sums(text, only = {}) {
  const values = {};
  for (const [, name, labels = "", value] of text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)) {
    if (labels.includes(only[name] ?? "")) values[name] = (values[name] ?? 0) + Number(value);
  }
  return values;
}

const DURATION = "denoised_http_request_duration_seconds";
const SAMPLES = 'route="/v1/samples"';

export function read(text) {
  const m = sums(text, { [`${DURATION}_sum`]: SAMPLES, [`${DURATION}_count`]: SAMPLES });
  return {
    ready: m.denoised_ready === 1,
    queue: m.denoised_queue_rows,
    images: m.denoised_images_total,
    requests: m[`${DURATION}_count`],
    seconds: m[`${DURATION}_sum`],
  };
}

const shown = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

export function showStatus(show, keyOf) {
  let last = null, looking = false;
  async function look() {
    if (document.hidden || looking) return;
    looking = true;
    try {
      const answer = await request("metrics", { key: keyOf(), signal: AbortSignal.timeout(PATIENCE_MS) });
      const now = read(await answer.text());
      now.at = performance.now();
      const since = last ?? { images: 0, requests: 0, seconds: 0, at: Infinity };
      const requests = now.requests - since.requests;
      show({
        ready: now.ready ? "ready" : "not ready",
        queue: `${now.queue}`,
        latency: requests ? shown(1000 * (now.seconds - since.seconds) / requests) : null,
        rate: `${Math.round(1000 * Math.max(0, (now.images - since.images) / (now.at - since.at)))}/s`,
      });
      last = now;
    } catch (error) {
      const ready = error.status === 401 ? "wants a key" : error.status ? "not ready" : "not reached";
      show({ ready, queue: "–", latency: "–", rate: "–" });
      last = null;
    } finally {
      looking = false;
    }
  }
  look();
  setInterval(look, PERIOD_MS);
  document.addEventListener("visibilitychange", look);
}
