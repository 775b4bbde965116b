// What a person types, as labels of a model: "2026", "seven, three", "four sevens", "2 sixes 9".

const NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                 "ten", "eleven", "twelve"];

// Are the classes the ten digits? Then "2026" is four of them.
export function areDigits(classes) {
  return classes.length <= 10 &&
         classes.every((name, i) => name === NUMBERS[i] || name === String(i));
}

const isNumeral = (name) => /^\d+$/.test(name);

function labelsOf(word, classes) {
  const named = classes.findIndex((name) => name.toLowerCase() === word);
  if (named >= 0) return [named];
  const digits = areDigits(classes);
  // Where numerals are names of classes, they are nothing else.
  if (!isNumeral(word) || (!digits && classes.some(isNumeral))) return null;
  const labels = digits ? [...word].map(Number) : [Number(word)];
  return labels.every((label) => label < classes.length) ? labels : null;
}

// "sevens" and "7s" are many of a label, "seven" is not.
function pluralOf(word, classes) {
  if (!word?.endsWith("s")) return null;
  const labels = labelsOf(word.slice(0, -1), classes) ?? labelsOf(word.replace(/es$/, ""), classes);
  return labels?.length === 1 ? labels[0] : null;
}

function countOf(word) {
  return /^\d{1,4}$/.test(word) ? Number(word) : NUMBERS.indexOf(word);
}

const listOf = (classes) => classes.length > 20 ? `${classes.slice(0, 20).join(", ")}, …` : classes.join(", ");

// Throws an Error that says which word it does not know, or that there are more than `most` labels.
export function parseLabels(text, classes, most = Infinity) {
  const labels = [];
  const add = (...more) => {
    labels.push(...more);
    if (labels.length > most) throw new Error(`That is more than ${most}, the most that are drawn at once.`);
  };
  for (const part of text.toLowerCase().split(",")) {
    const words = part.trim().split(/\s+/).filter(Boolean);
    const whole = labelsOf(words.join(" "), classes); // a class name may have a space in it
    if (whole) {
      add(...whole);
      continue;
    }
    for (let i = 0; i < words.length; i++) {
      const many = pluralOf(words[i + 1], classes);
      if (countOf(words[i]) > 0 && many !== null) {
        add(...Array(countOf(words[i])).fill(many));
        i++;
        continue;
      }
      const known = labelsOf(words[i], classes);
      if (!known) throw new Error(`“${words[i]}” is none of ${listOf(classes)}.`);
      add(...known);
    }
  }
  if (labels.length === 0) throw new Error(`Name one of ${listOf(classes)}.`);
  return labels;
}

export function isUnderstood(text, classes, most) {
  try {
    return parseLabels(text, classes, most).length > 0;
  } catch {
    return false;
  }
}

// The label as it stands in a URL: its number, or its name where numerals are names.
export function labelInUrl(label, classes) {
  return !areDigits(classes) && classes.some(isNumeral) ? encodeURIComponent(classes[label]) : label;
}

// What the form begins with, and what else there is to try: [{title, hint, labels, layout, n}].
export function examplesOf(classes) {
  const digits = areDigits(classes);
  const some = classes.slice(0, 10);
  const all = digits ? some.map((_, i) => i).join("") : some.join(", ");
  const last = classes[Math.min(7, classes.length - 1)];
  const first = digits && classes.length > 6 ? "2026" : some.slice(0, 4).join(", ");
  const examples = [
    { title: digits ? first : "A few", hint: digits ? "digit by digit" : first, labels: first, layout: "list", n: 1 },
    { title: digits ? `four ${last}s` : `4 ${last}s`, hint: "each of its own", labels: `4 ${last}s`, layout: "list", n: 1 },
    { title: "One of each", hint: digits ? "0 to 9" : "in their order", labels: all, layout: "list", n: 1 },
    { title: "A table", hint: "seeds by labels", labels: all, layout: "grid", n: 4 },
  ].filter(({ labels }) => isUnderstood(labels, classes));
  // A name that cannot be typed has a number.
  return examples.length > 0 ? examples : [{ title: "The first", hint: "", labels: "0", layout: "list", n: 1 }];
}
