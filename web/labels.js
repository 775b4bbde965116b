// What a person types, as labels of a model: "2026", "seven, three", "four sevens", "2 sixes 9".

const NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
                 "ten", "eleven", "twelve"];

// Are the classes the ten digits? Then "2026" is four of them.
export function areDigits(classes) {
  return classes.length <= 10 &&
         classes.every((name, i) => name === NUMBERS[i] || name === String(i));
}

function labelsOf(word, classes) {
  const named = classes.findIndex((name) => name.toLowerCase() === word);
  if (named >= 0) return [named];
  if (!/^\d+$/.test(word)) return null;
  const labels = areDigits(classes) ? [...word].map(Number) : [Number(word)];
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

// Throws an Error that says which word it does not know.
export function parseLabels(text, classes) {
  const labels = [];
  for (const part of text.toLowerCase().split(",")) {
    const words = part.trim().split(/\s+/).filter(Boolean);
    const whole = labelsOf(words.join(" "), classes); // a class name may have a space in it
    if (whole) {
      labels.push(...whole);
      continue;
    }
    while (words.length > 0) {
      const word = words.shift();
      const many = pluralOf(words[0], classes);
      if (countOf(word) > 0 && many !== null) {
        labels.push(...Array(countOf(word)).fill(many));
        words.shift();
        continue;
      }
      const known = labelsOf(word, classes);
      if (!known) throw new Error(`“${word}” is none of ${classes.join(", ")}.`);
      labels.push(...known);
    }
  }
  if (labels.length === 0) throw new Error(`Name one of ${classes.join(", ")}.`);
  return labels;
}
