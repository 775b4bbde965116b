// The stage: how the pictures of a drawing are arranged, one picture up close, and all of them as files.

import { bytesOf, sheet, zip } from "./archive.js";
import { curlOf, pictureUrl, saveBlob } from "./client.js";
import { $, make } from "./dom.js";
import { areDigits, labelInUrl } from "./labels.js";

// One picture: its button opens it up close, its name is the link to its URL.
function pictureOf({ label, index, seed }, { classes, params, film, keyOf }) {
  const name = classes[label];
  const url = pictureUrl({ label: labelInUrl(label, classes), index, seed }, params);
  const image = make("img", { alt: "" });
  const open = make("button", { type: "button", disabled: true, ariaLabel: `${name}, up close` }, image);
  const link = make("a", { href: url, textContent: areDigits(classes) ? label : name,
                           title: `Seed ${seed}, index ${index}` });
  link.dataset.name = `${label}-${seed}.png`;
  const picture = Object.assign(film.add(image), {
    element: make("div", { className: "picture" }, open, link), open, name, label, seed, index, url,
  });
  open.onclick = () => showPicture(picture, keyOf());
  return picture;
}

function showPicture({ frames, digest, name, label, seed, url }, key) {
  $("picture-title").textContent = `${name}, seed ${seed}`;
  $("picture-image").src = frames.at(-1);
  $("picture-image").alt = `A drawn ${name}`;
  $("picture-link").href = url;
  $("picture-link").textContent = url;
  $("picture-link").dataset.name = `${label}-${seed}.png`;
  $("picture-film").href = url.replace(".png?", ".apng?");
  $("picture-film").download = `${label}-${seed}.apng`;
  $("picture-curl").textContent = curlOf(url, `${label}-${seed}`, key);
  $("picture-digest").textContent = digest;
  $("copy").textContent = "Copy";
  $("picture").showModal();
}

export function setStage(pictures, ...elements) {
  const size = pictures <= 6 ? "large" : pictures <= 20 ? "medium" : pictures <= 100 ? "" : "small";
  $("stage").dataset.size = size;
  $("stage").replaceChildren(...elements);
}

// A list is one request; the pictures are in the order of their indices.
export function planList({ labels, n, seed, params }, means) {
  const pictures = labels.flatMap((label) => Array(n).fill(label))
    .map((label, index) => pictureOf({ label, index, seed }, { ...means, params }));
  setStage(pictures.length, ...pictures.map(({ element }) => element));
  return [{ body: { labels, n, seed, ...params }, pictures }];
}

// A grid is a request for each seed, that is for each line.
export function planGrid({ labels, n, seed, params }, means) {
  const columns = [...new Set(labels)];
  const lines = Array.from({ length: n }, (_, i) => ({
    body: { labels: columns, seed: seed + i, ...params },
    pictures: columns.map((label, index) => pictureOf({ label, index, seed: seed + i }, { ...means, params })),
  }));
  const heads = ["seed", ...columns.map((label) => means.classes[label])];
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })))),
    make("tbody", {}, ...lines.map(({ body, pictures }) => make("tr", {},
      make("th", { scope: "row", textContent: body.seed }),
      ...pictures.map(({ element }) => make("td", {}, element))))));
  table.style.setProperty("--columns", columns.length);
  setStage(n * columns.length, make("div", { className: "table", tabIndex: 0, role: "region",
                                             ariaLabel: "Seeds and labels" }, table));
  return lines;
}

// Every picture as the server sent it, and a list of them.
export function saveZip({ pictures }) {
  const list = [], files = [];
  pictures.forEach(({ frames, name, label, seed, index, url, digest }, i) => {
    const file = `${String(i).padStart(4, "0")}-${label}-seed${seed}.png`;
    files.push({ name: file, bytes: bytesOf(frames.at(-1)) });
    list.push({ file, name, label, seed, index, digest, url });
  });
  const manifest = new TextEncoder().encode(JSON.stringify(list, null, 1));
  saveBlob(new Blob(zip([{ name: "manifest.json", bytes: manifest }, ...files]), { type: "application/zip" }),
           "pictures.zip");
}

// A table as it stands; a list in a row, or near a square.
export async function saveSheet({ pictures, plan }) {
  const columns = pictures.length <= 10 ? pictures.length : Math.ceil(Math.sqrt(pictures.length));
  const lines = plan.length > 1 ? plan.map((line) => line.pictures)
    : Array.from({ length: Math.ceil(pictures.length / columns) }, (_, i) => pictures.slice(i * columns, (i + 1) * columns));
  const parts = await sheet(lines.map((line) => line.map(({ frames }) => frames.at(-1))));
  saveBlob(new Blob(parts, { type: "image/png" }), "pictures.png");
}
