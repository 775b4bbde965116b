// The pictures on the stage and what they looked like on the way: each has its frames, the estimates
// the server sent and the picture itself. All show the same place on the way, which runs forward no
// faster than an eye can follow, and which the slider moves.

const FRAME_MS = 60;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Film {
  #pictures = [];
  #position = 0;
  #timer = null;

  constructor({ box, slider, button }) {
    this.box = box;
    this.slider = slider;
    slider.addEventListener("input", () => {
      this.#stop();
      this.#show(Number(slider.value));
    });
    button.addEventListener("click", () => {
      this.#show(0);
      this.#run();
    });
  }

  get #last() {
    return Math.max(0, ...this.#pictures.map((picture) => picture.frames.length - 1));
  }

  clear() {
    this.#stop();
    this.#pictures = [];
    this.#position = 0;
    this.box.hidden = true;
  }

  // Pictures that were on the stage before, as they ended.
  show(pictures) {
    this.clear();
    this.#pictures = pictures;
    this.#show(this.#last);
    this.end();
  }

  add(image) {
    const picture = { image, frames: [] };
    this.#pictures.push(picture);
    return picture;
  }

  // The next frame of a picture; `final` when it is the picture itself.
  push(picture, b64, final) {
    picture.frames.push(`data:image/png;base64,${b64}`);
    if (!still.matches) {
      if (picture.frames.length === 1 || final) this.#show(this.#position);
      this.#run();
    } else if (final) {
      this.#show(this.#last);
    }
  }

  end() {
    this.box.hidden = this.#last === 0;
    this.#show(this.#position);
  }

  #show(position) {
    this.#position = position;
    this.slider.max = this.#last;
    this.slider.value = position;
    this.slider.setAttribute("aria-valuetext", `${position} of ${this.#last}`);
    for (const { image, frames } of this.#pictures) {
      const frame = frames[Math.min(position, frames.length - 1)];
      if (frame && image.src !== frame) image.src = frame;
    }
  }

  #run() {
    this.#timer ??= setInterval(() => {
      if (this.#position < this.#last) this.#show(this.#position + 1);
      else this.#stop();
    }, FRAME_MS);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
