// Two layers side by side, and the divider between them.
"use strict";

const compare = {
  on: false,
  at: 0.5, // of the viewer's width
  left: "scene",
  right: "map",

  /** Whether a layer is one of the two. */
  has(name) {
    return name === this.left || name === this.right;
  },

  /** Puts layers that the scene has in the place of those that it doesn't. */
  check() {
    if (!look.tiles[this.left]) this.left = "scene";
    if (!look.tiles[this.right]) this.right = look.tiles.map ? "map" : "scene";
  },

  set(on) {
    this.on = on;
    this.show();
    panel.writeLayers();
    look.apply();
  },

  show() {
    byId("compare").setAttribute("aria-pressed", this.on);
    byId("sides").hidden = byId("divider").hidden = !this.on;
    this.move(this.at);
  },

  move(at) {
    this.at = Math.max(0, Math.min(1, at));
    const divider = byId("divider"), share = Math.round(100 * this.at);
    divider.style.left = `${100 * this.at}%`;
    divider.setAttribute("aria-valuenow", share);
    divider.querySelector(".left").textContent = word("layer")[this.left];
    divider.querySelector(".right").textContent = word("layer")[this.right];
    if (this.on) look.apply();
  },

  /** Cuts a layer off at the divider. */
  clip(name, item) {
    const { scene } = look;
    if (this.left === this.right || !look.items.scene) {
      item.setClip(null);
      return;
    }
    const edge = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(this.at * byId("viewer").clientWidth, 0)).x;
    const inside = Math.max(0, Math.min(scene.width, edge));
    const from = name === this.left ? 0 : inside, to = name === this.left ? inside : scene.width;
    item.setClip(new OpenSeadragon.Rect(from, 0, to - from, scene.height));
    if (to <= from) item.setOpacity(0);
  },

  /** Writes the two lists of layers. */
  write() {
    byId("compare").hidden = look.layers().length < 2;
    for (const side of ["left", "right"]) {
      const options = look.layers().map((name) => element("option", { value: name, text: word("layer")[name] }));
      byId(side).replaceChildren(...options);
      byId(side).value = this[side];
    }
    this.show();
  },

  listen() {
    const divider = byId("divider");
    byId("compare").onclick = () => this.set(!this.on);
    for (const side of ["left", "right"]) {
      byId(side).onchange = (event) => {
        this[side] = event.target.value;
        this.set(true);
      };
    }
    const drag = (event) => {
      const box = byId("viewer").getBoundingClientRect();
      this.move((event.clientX - box.left) / box.width);
    };
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      divider.onpointermove = drag;
      divider.focus();
      event.preventDefault();
    });
    for (const end of ["pointerup", "pointercancel"]) divider.addEventListener(end, () => (divider.onpointermove = null));
    divider.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
      if (!Object.hasOwn(steps, event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.at + steps[event.key]);
    });
  },
};
