// Check objects against the schemas of Kubernetes's API. Standard input: a JSON list of them; standard output: a
// JSON list of what is wrong with each, "" where nothing is.
//
// A schema says nothing of fields that it does not have. But it reads each field that it has, so what it never
// reads it does not know.
const fs = require("node:fs");

function watch(value, path, read) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key !== "string" || !Object.hasOwn(target, key)) return target[key];
      read.add(`${path}/${key}`);
      return watch(target[key], `${path}/${key}`, read);
    },
  });
}

function* fields(value, path) {
  if (value === null || typeof value !== "object") return;
  for (const key of Object.keys(value)) {
    yield `${path}/${key}`;
    yield* fields(value[key], `${path}/${key}`);
  }
}

function judge(object) {
  const read = new Set();
  try {
    const model = require(`kubernetes-models/${object.apiVersion}`)[object.kind];
    const checked = new model(object);
    for (const part of ["metadata", "spec"]) checked[part] = watch(checked[part], `/${part}`, read);
    checked.validate();
  } catch (error) {
    return String(error.message);
  }
  const known = new Set(["/apiVersion", "/kind", "/metadata", "/spec"]);
  return [...fields(object, "")].filter((path) => !read.has(path) && !known.has(path)).join(" ");
}

console.log(JSON.stringify(JSON.parse(fs.readFileSync(0)).map(judge)));
