// The deep zoom: layers over each other or side by side, classes on and off, what lies under the cursor, places to see.
"use strict";

const ORDER = ["scene", "map", "truth", "agreement", "errors"]; // from the bottom up
const SHOWN_FIRST = { scene: true, map: true, truth: false, agreement: false, errors: false };
const OPACITY_FIRST = { scene: 1, map: 0.65, truth: 0.65, agreement: 0.85, errors: 1 };
const READ_AFTER = 40; // ms that the cursor rests before what is under it is read
const MOVE = 0.1; // of the view, for a press of an arrow

const look = {
  viewer: null,
  scene: null,
  items: {}, // layer -> OpenSeadragon's tiled image
  tiles: {}, // layer -> Tiles
  shown: { ...SHOWN_FIRST },
  opacity: { ...OPACITY_FIRST },
  hidden: new Set(), // classes that are off
  compare: { on: false, at: 0.5, left: "scene", right: "map" },
  place: -1,
  pointer: null, // where the cursor is, px of the viewer

  start() {
    if (!REPORT.scenes.length) return;
    byId("look").hidden = false;
    if (REPORT.legend.background !== null && REPORT.legend.classes.length > 1) this.hidden.add(REPORT.legend.background);
    this.viewer = OpenSeadragon({
      element: byId("viewer"), drawer: "canvas", showNavigationControl: false, crossOriginPolicy: false,
      maxZoomPixelRatio: 16, visibilityRatio: 0.3, animationTime: 0.4, springStiffness: 9, zoomPerScroll: 1.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, subPixelRoundingForTransparency: 2,
      maxImageCacheCount: KEPT_TILES, imageLoaderLimit: 8, timeout: 60000,
    });
    this.viewer.innerTracker.keyDownHandler = null; // keys are ours: they work wherever the focus is
    for (const event of ["viewport-change", "resize", "open"]) this.viewer.addHandler(event, () => this.follow());
    this.listen();
    this.show(REPORT.scenes[0]);
  },

  layers() {
    return ORDER.filter((name) => this.items[name] || this.tiles[name]);
  },

  /** Shows a scene from the start. */
  show(scene) {
    this.scene = scene;
    this.place = -1;
    this.items = {};
    this.tiles = {};
    for (const [name, layer] of Object.entries(scene.layers)) this.tiles[name] = new Tiles(layer, scene);
    if (this.tiles.map && this.tiles.truth) this.tiles.errors = new ErrorTiles(this.tiles.map, this.tiles.truth);
    if (!this.tiles[this.compare.left]) this.compare.left = "scene";
    if (!this.tiles[this.compare.right]) this.compare.right = this.tiles.map ? "map" : "scene";
    this.viewer.close();
    for (const name of this.layers()) {
      const source = name === "scene" ? new PictureSource(this.tiles.scene)
        : new PaintedSource(name, this.tiles[name], palette(name, this.hidden));
      const opacity = this.shown[name] ? this.opacity[name] : 0;
      const success = ({ item }) => {
        if (this.scene !== scene) return;
        this.items[name] = item;
        if (name === "scene") this.viewer.viewport.goHome(true);
        this.apply();
      };
      this.viewer.addTiledImage({ tileSource: source, width: 1, opacity, index: ORDER.indexOf(name), success });
    }
    this.write();
  },

  /** Gives every layer its opacity and its part of the view. */
  apply() {
    const { on, at, left, right } = this.compare, scene = this.items.scene;
    for (const [name, item] of Object.entries(this.items)) {
      const beside = on && name !== "scene";
      item.setOpacity((beside ? name === left || name === right : this.shown[name]) ? this.opacity[name] : 0);
      if (!beside || left === right || !scene) item.setClip(null);
      else {
        const x = at * byId("viewer").clientWidth;
        const edge = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(x, 0)).x;
        const inside = Math.max(0, Math.min(this.scene.width, edge));
        const from = name === left ? 0 : inside, to = name === left ? inside : this.scene.width;
        item.setClip(new OpenSeadragon.Rect(from, 0, to - from, this.scene.height));
        if (to <= from) item.setOpacity(0);
      }
    }
    this.viewer.forceRedraw();
  },

  repaint() {
    for (const [name, item] of Object.entries(this.items)) {
      if (item.source instanceof PaintedSource) item.source.repaint(palette(name, this.hidden));
    }
    this.viewer.forceRedraw();
  },

  /** What has to move with the view. */
  follow() {
    const item = this.items.scene;
    if (!item) return;
    if (this.compare.on) this.apply();
    const zoom = item.viewportToImageZoom(this.viewer.viewport.getZoom(true));
    this.viewer.drawer.setImageSmoothingEnabled(zoom < 1);
    this.drawScale(zoom);
    const outline = byId("outline"), place = this.scene.worst[this.place];
    outline.hidden = !place;
    if (place) {
      const corner = (x, y) => item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
      const from = corner(place.col, place.row), to = corner(place.col + place.width, place.row + place.height);
      Object.assign(outline.style, {
        left: `${from.x - 4}px`, top: `${from.y - 4}px`, width: `${to.x - from.x + 8}px`, height: `${to.y - from.y + 8}px`,
      });
    }
    if (this.stage().classList.contains("keyboard")) this.pointAt(null);
  },

  stage() {
    return document.querySelector(".stage");
  },

  drawScale(zoom) {
    const { metres } = this.scene, perPixel = metres || 1;
    const longest = (120 / zoom) * perPixel, power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].find((digit) => digit * power <= longest) * power;
    const far = metres && length >= 1000, shown = far ? length / 1000 : length;
    const text = `${number(shown, shown < 1 ? -Math.floor(Math.log10(shown)) : 0)} ${far ? "km" : metres ? "m" : "px"}`;
    const scale = byId("scale");
    scale.hidden = false;
    scale.firstElementChild.textContent = text;
    scale.style.width = `${(length / perPixel) * zoom}px`;
  },

  // ---- what is under the cursor ----

  /** Reads what is under a point of the viewer; null reads the centre. */
  pointAt(point) {
    this.stage().classList.toggle("keyboard", point === null);
    const element = byId("viewer");
    this.pointer = point || { x: element.clientWidth / 2, y: element.clientHeight / 2 };
    clearTimeout(this.reading);
    this.reading = setTimeout(() => this.read(), READ_AFTER);
  },

  async read() {
    const item = this.items.scene, { scene, pointer } = this;
    if (!item || !pointer) return;
    const at = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(pointer.x, pointer.y));
    const col = Math.floor(at.x), row = Math.floor(at.y);
    if (col < 0 || row < 0 || col >= scene.width || row >= scene.height) {
      byId("readout").replaceChildren();
      return;
    }
    const values = {};
    await Promise.all(["map", "truth", "agreement"].map(async (name) => {
      if (this.tiles[name]) values[name] = await this.valueAt(name, col, row).catch(() => NODATA);
    }));
    if (this.pointer !== pointer || this.scene !== scene) return;
    const parts = [];
    for (const name of ["map", "truth"]) {
      if (name in values) parts.push([word(name), values[name] === NODATA ? "–" : className(values[name]), values[name]]);
    }
    if ("agreement" in values && values.agreement !== NODATA) parts.push([word("agreement"), `${values.agreement} %`]);
    parts.push([word("row"), number(row)], [word("column"), number(col)]);
    if (scene.place) parts.push([scene.place.crs || "x, y", coordinates(scene.place, col + 0.5, row + 0.5)]);
    byId("readout").replaceChildren(...parts.map(([name, text, id]) => element("span", {},
      element("small", { text: `${name} ` }), id === undefined || id === NODATA ? null : swatch(id), element("b", { text }))));
  },

  async valueAt(name, col, row) {
    const tiles = this.tiles[name], level = tiles.layer.finest, side = REPORT.tile;
    const across = Math.floor(col / side), down = Math.floor(row / side);
    const values = await tiles.load(level, across, down);
    if (!values) return NODATA;
    const [width] = tiles.size(level, across, down);
    return values[(row - down * side) * width + (col - across * side)];
  },

  // ---- places ----

  jump(index) {
    const places = this.scene.worst;
    if (!places.length) return;
    this.place = (index + places.length) % places.length;
    const { row, col, width, height } = places[this.place], margin = 0.8 * Math.max(width, height) + 24;
    const around = new OpenSeadragon.Rect(col - margin, row - margin, width + 2 * margin, height + 2 * margin);
    if (this.tiles.errors && !this.compare.on && !this.shown.errors) {
      this.shown.errors = true;
      this.writeLayers();
      this.apply();
    }
    this.viewer.viewport.fitBounds(this.items.scene.imageToViewportRectangle(around));
    const list = byId("worst"), lines = [...list.children];
    lines.forEach((line, i) => line.firstChild.setAttribute("aria-current", i === this.place));
    list.scrollTop = lines[this.place].offsetTop - lines[0].offsetTop - lines[0].offsetHeight;
    this.follow();
  },

  setCompare(on) {
    this.compare.on = on;
    byId("compare").setAttribute("aria-pressed", on);
    byId("sides").hidden = byId("divider").hidden = !on;
    this.moveDivider(this.compare.at);
    this.writeLayers();
    this.apply();
  },

  moveDivider(at) {
    this.compare.at = Math.max(0, Math.min(1, at));
    const divider = byId("divider");
    divider.style.left = `${100 * this.compare.at}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * this.compare.at));
    divider.querySelector(".left").textContent = word("layer")[this.compare.left];
    divider.querySelector(".right").textContent = word("layer")[this.compare.right];
    if (this.compare.on) this.apply();
  },

  // ---- the panel ----

  /** Writes the whole panel, in the page's language. */
  write() {
    const choice = byId("scene");
    byId("scene-choice").hidden = REPORT.scenes.length < 2;
    choice.replaceChildren(...REPORT.scenes.map(({ name }, value) => element("option", { value, text: name })));
    choice.value = REPORT.scenes.indexOf(this.scene);
    this.writeLayers();
    for (const side of ["left", "right"]) {
      const options = this.layers().map((name) => element("option", { value: name, text: word("layer")[name] }));
      byId(side).replaceChildren(...options);
      byId(side).value = this.compare[side];
    }
    this.moveDivider(this.compare.at);
    this.writeLegend();
    this.writePlaces();
    byId("compare").hidden = this.layers().length < 2;
    byId("readout").replaceChildren();
    this.follow();
  },

  writeLayers() {
    const { on, left, right } = this.compare;
    const rows = [...this.layers()].reverse().map((name, i) => {
      const checked = on ? name === "scene" || name === left || name === right : this.shown[name];
      const box = element("input", { type: "checkbox", id: `show-${name}` });
      box.checked = checked;
      box.disabled = on;
      box.onchange = () => {
        this.shown[name] = box.checked;
        this.writeLayers();
        this.apply();
        byId(`show-${name}`).focus();
      };
      const label = `${word("layer")[name]}: ${word("opacity")}`;
      const slider = element("input", { type: "range", min: 0, max: 100, id: `opacity-${name}`, "aria-label": label });
      slider.value = Math.round(100 * this.opacity[name]);
      slider.disabled = !checked;
      slider.oninput = () => {
        this.opacity[name] = slider.value / 100;
        this.apply();
      };
      return element("div", { class: "layer" }, element("label", { title: `${word("key")} ${i + 1}` }, box, element("span", { text: word("layer")[name] })), slider);
    });
    byId("layers").replaceChildren(...rows);
    const visible = (name) => this.tiles[name] && (on ? name === left || name === right : this.shown[name]);
    byId("ramp").hidden = !visible("agreement");
    byId("wrong").hidden = !visible("errors");
    byId("classes").hidden = !this.tiles.map && !this.tiles.truth;
    byId("ramp").querySelector("i").style.background = `linear-gradient(to right, ${RAMP.map((c) => `rgb(${c})`)})`;
    byId("wrong").querySelector("i").style.background = `rgb(${WRONG})`;
  },

  writeLegend() {
    const total = this.scene.areas && this.scene.areas.classes.reduce((sum, pixels) => sum + pixels, 0);
    byId("legend").replaceChildren(...REPORT.legend.classes.map(({ id }) => {
      const box = element("input", { type: "checkbox", id: `class-${id}` });
      box.checked = !this.hidden.has(id);
      box.onchange = () => {
        if (box.checked) this.hidden.delete(id);
        else this.hidden.add(id);
        this.repaint();
      };
      const share = total ? percent(this.scene.areas.classes[id] / total) : "";
      return element("label", {}, box, swatch(id), element("span", { text: className(id) }), element("small", { text: share }));
    }));
  },

  writePlaces() {
    const { worst, layers } = this.scene, errors = "truth" in layers && "map" in layers;
    byId("places").hidden = !errors && !worst.length;
    byId("places-title").textContent = word(errors ? "largestErrors" : "leastAgreement");
    const coarse = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(this.scene.width, this.scene.height) / REPORT.placesSide)));
    const note = byId("places-note");
    note.hidden = worst.length > 0 && !(errors && coarse > 1);
    note.textContent = worst.length ? word("coarse")(coarse) : word("noPlaces");
    byId("worst").replaceChildren(...worst.map((place, i) => {
      const what = errors
        ? [swatch(place.truth), element("span", { text: word("takenFor")(className(place.truth), className(place.guess)) }),
          element("small", { text: area(this.scene, place.pixels) })]
        : [element("span", { text: word("agree")(number(place.agreement, 1)) })];
      const button = element("button", { type: "button", "aria-current": i === this.place }, ...what);
      button.onclick = () => this.jump(i);
      return element("li", {}, button);
    }));
  },

  listen() {
    const viewer = byId("viewer"), divider = byId("divider");
    const point = (event) => {
      const box = viewer.getBoundingClientRect();
      this.pointAt({ x: event.clientX - box.left, y: event.clientY - box.top });
    };
    viewer.addEventListener("pointermove", point);
    viewer.addEventListener("pointerdown", point);
    byId("scene").onchange = (event) => this.show(REPORT.scenes[event.target.value]);
    byId("compare").onclick = () => this.setCompare(!this.compare.on);
    for (const side of ["left", "right"]) {
      byId(side).onchange = (event) => {
        this.compare[side] = event.target.value;
        this.setCompare(true);
      };
    }
    const drag = (event) => {
      const box = viewer.getBoundingClientRect();
      this.moveDivider((event.clientX - box.left) / box.width);
    };
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      divider.onpointermove = drag;
      divider.focus();
      event.preventDefault();
    });
    for (const end of ["pointerup", "pointercancel"]) divider.addEventListener(end, () => (divider.onpointermove = null));
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.moveDivider(this.compare.at + step);
    });
    byId("previous").onclick = () => this.jump(this.place - (this.place > 0 ? 1 : this.place < 0 ? 0 : 1));
    byId("next").onclick = () => this.jump(this.place + 1);
    const buttons = { "zoom-in": "+", "zoom-out": "-", "zoom-home": "0", "zoom-full": "f" };
    for (const [id, key] of Object.entries(buttons)) byId(id).onclick = () => this.key(key);
    if (!document.fullscreenEnabled) byId("zoom-full").hidden = true;
  },

  /** Does what a key stands for; false where it stands for nothing. */
  key(key) {
    const { viewport } = this.viewer, bounds = viewport.getBounds();
    const moves = { ArrowLeft: [-MOVE, 0], ArrowRight: [MOVE, 0], ArrowUp: [0, -MOVE], ArrowDown: [0, MOVE] };
    if (key in moves) {
      const [x, y] = moves[key];
      viewport.panBy(new OpenSeadragon.Point(x * bounds.width, y * bounds.height)).applyConstraints();
      this.pointAt(null);
    } else if (key === "+" || key === "=") viewport.zoomBy(1.5).applyConstraints();
    else if (key === "-" || key === "_") viewport.zoomBy(1 / 1.5).applyConstraints();
    else if (key === "0") viewport.goHome();
    else if (/^[1-5]$/.test(key) && key <= this.layers().length && !this.compare.on) {
      const name = this.layers().at(-key); // 1 is the line at the top of the panel
      this.shown[name] = !this.shown[name];
      this.writeLayers();
      this.apply();
    } else if (key === "c") {
      if (this.layers().length > 1) this.setCompare(!this.compare.on);
    } else if (key === "n") this.jump(this.place + 1);
    else if (key === "p") this.jump(this.place < 0 ? -1 : this.place - 1);
    else if (key === "f") {
      if (document.fullscreenElement) document.exitFullscreen();
      else if (document.fullscreenEnabled) this.stage().requestFullscreen();
    } else if (key === "Escape" && this.place >= 0) {
      this.place = -1;
      this.writePlaces();
      this.follow();
    } else return false;
    return true;
  },
};

function swatch(id) {
  return element("i", { class: "swatch", style: { background: id in REPORT.legend.classes ? REPORT.legend.classes[id].color : "none" } });
}

/** The place on earth of a point of the scene, as text. */
function coordinates(place, col, row) {
  const [a, b, c, d, e, f] = place.transform;
  return [a * col + b * row + c, d * col + e * row + f].map((value) => value.toFixed(place.digits)).join(", ");
}
