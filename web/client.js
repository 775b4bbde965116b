// The daemon's API, as far as the playground needs it. Addresses are relative, so that the page works
// behind a proxy's path as well.

// An answer of application/problem+json.
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

// What fetch() and a stream's reader say when the network fails differs by browser and tells a person nothing.
async function reach(promise, text) {
  try {
    return await promise;
  } catch (error) {
    throw error instanceof TypeError ? new Error(text) : error;
  }
}

export async function request(path, { key, headers, ...options } = {}) {
  if (key) headers = { ...headers, Authorization: `Bearer ${key}` };
  const answer = await reach(fetch(path, { ...options, headers }),
                             "The server cannot be reached. Is it running? Try again in a moment.");
  if (!answer.ok) {
    throw new Problem(answer.status, await answer.json().catch(() => ({})));
  }
  return answer;
}

// The events of a text/event-stream: {type, ...data}. Comments and unnamed blocks are skipped.
export async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "";;) {
    const { done, value } = await reach(reader.read(), "The server hung up before it was done.");
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(name))
        .map((line) => line.slice(name.length).trim()).join("\n");
      if (field("event:")) yield { ...JSON.parse(field("data:") || "{}"), type: field("event:") };
    }
  }
}

// Draw: the events of POST v1/samples, the same ones where the server answers with JSON at once.
export async function* draw(body, { key, signal }) {
  const answer = await request("v1/samples", {
    method: "POST",
    headers: { "Content-Type": "application/json",
               Accept: "text/event-stream, application/json;q=0.5" },
    body: JSON.stringify(body),
    key,
    signal,
  });
  if (!answer.headers.get("Content-Type").startsWith("text/event-stream")) {
    const { images, ...rest } = await answer.json();
    for (const image of images) yield { ...image, type: "image" };
    yield { ...rest, type: "completed" };
    return;
  }
  for await (const event of readEvents(answer.body)) {
    if (event.type === "error") throw new Problem(event.status, event);
    yield event;
    if (event.type === "completed") return;
  }
  throw new Error("The server hung up before it was done.");
}

// The URL that gives one picture again, whenever it is asked for.
// The label is as it stands in a URL.
export function pictureUrl({ label, index, seed }, { sampler, steps, guidance_scale, guidance_interval, eta, model }) {
  const query = new URLSearchParams({ seed, index, sampler, steps, guidance_scale });
  if (guidance_interval !== undefined) query.set("guidance_interval", guidance_interval);
  if (eta !== undefined) query.set("eta", eta);
  if (model !== undefined) query.set("model", model);
  query.set("scale", 8);
  return new URL(`v1/samples/${label}.png?${query}`, document.baseURI).href;
}

// Fetch a file with the key, which a link cannot carry, and save it under this name.
export async function save(url, name, key) {
  saveBlob(await (await request(url, { key })).blob(), name);
}

export function saveBlob(blob, name) {
  const href = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000); // the browser has begun to read it by then
}

// The shell command that fetches it. A URL has no single quote in it.
export function curlOf(url, name, key) {
  const header = key ? ` -H "Authorization: Bearer $KEY"` : "";
  return `curl -s '${url.replaceAll("'", "%27")}'${header} -o ${name}.png`;
}
