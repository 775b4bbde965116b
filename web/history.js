// What was drawn in this page, as buttons that bring it back: the latest few, and of many pictures fewer. It is gone
// with the page.

import { make } from "./dom.js";

const MOST = 8;
const MOST_PICTURES = 2000;

export class History {
  #entries = []; // the latest first
  #shown = null;

  constructor(box, onChoose) {
    this.box = box;
    this.onChoose = onChoose;
  }

  // `drawn` has a hash, which tells it from others, a title, a hint, and its pictures.
  add(drawn) {
    const button = make("button", { type: "button", onclick: () => this.onChoose(drawn) },
      make("img", { alt: "", src: drawn.pictures[0].frames.at(-1) }),
      make("span", {}, make("b", { textContent: drawn.title }), make("small", { textContent: drawn.hint })));
    this.#entries = [{ drawn, item: make("li", {}, button), button },
                     ...this.#entries.filter(({ drawn: { hash } }) => hash !== drawn.hash)].slice(0, MOST);
    let pictures = 0;
    this.#entries = this.#entries.filter((entry, i) =>
      (pictures += entry.drawn.pictures.length) <= MOST_PICTURES || i === 0);
    this.show(drawn);
  }

  // `drawn` is what the stage has now, or null.
  show(drawn) {
    this.#shown = drawn;
    const list = this.box.querySelector("ol");
    const items = this.#entries.map(({ item }) => item);
    if (items.some((item, i) => list.children[i] !== item) || list.children.length !== items.length) {
      list.replaceChildren(...items);
    }
    for (const { drawn: it, button } of this.#entries) {
      if (it === this.#shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    this.box.hidden = this.#entries.length < 2;
  }
}
