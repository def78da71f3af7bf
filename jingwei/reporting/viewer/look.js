// The deep zoom: layers over each other or side by side, what moves with them, keys.
"use strict";

const SURE = ["confidence", "agreement", "certainty"]; // layers that say how sure the map is; a scene has one at most
const ORDER = ["scene", "map", "truth", ...SURE, "errors"]; // from the bottom up
const OPACITY = { scene: 1, map: 0.65, truth: 0.65, confidence: 0.9, agreement: 0.9, certainty: 0.9, errors: 0.9 };
const MOVE = 0.1; // of the view, for a press of an arrow

const look = {
  viewer: null,
  scene: null,
  items: {}, // layer -> OpenSeadragon's tiled image
  tiles: {}, // layer -> Tiles
  shown: {}, // layer -> whether it is
  opacity: { ...OPACITY },
  hidden: new Set(), // classes that are off
  smooth: null,

  start() {
    if (!REPORT.scenes.length) return;
    byId("look").hidden = false;
    if (REPORT.legend.background !== null && REPORT.legend.classes.length > 1) this.hidden.add(REPORT.legend.background);
    this.viewer = OpenSeadragon({
      element: byId("viewer"), drawer: "canvas", showNavigationControl: false, crossOriginPolicy: false,
      maxZoomPixelRatio: 16, visibilityRatio: 0.3, animationTime: 0.4, springStiffness: 9, zoomPerScroll: 1.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, subPixelRoundingForTransparency: 2,
      smoothTileEdgesMinZoom: Infinity, // else tiles are drawn at their own size first, and enlarged with blurred pixels
      maxImageCacheCount: KEPT_TILES, imageLoaderLimit: 8, timeout: 60000,
    });
    this.viewer.innerTracker.keyDownHandler = null; // keys are ours: they work wherever the focus is
    for (const event of ["viewport-change", "resize", "open"]) this.viewer.addHandler(event, () => this.follow());
    // Paper shows what was drawn for the screen, at the screen's proportions.
    const shape = new ResizeObserver(() => this.stage().style.setProperty("--aspect", this.stage().clientWidth / this.stage().clientHeight));
    if (!matchMedia("print").matches) shape.observe(this.stage());
    pointer.listen();
    compare.listen();
    panel.listen();
    pencil.listen();
    const linked = link.read();
    this.show(REPORT.scenes.find(({ name }) => linked && name === linked.scene) || REPORT.scenes[0], linked);
    link.listen();
  },

  layers() {
    return ORDER.filter((name) => this.items[name] || this.tiles[name]);
  },

  /** Shows a scene: from the start, or as a link says. */
  show(scene, linked = null) {
    this.scene = scene;
    this.items = {};
    this.tiles = {};
    places.at = -1;
    pencil.corners = [];
    for (const [name, layer] of Object.entries(scene.layers)) this.tiles[name] = new Tiles(layer, scene);
    if (this.tiles.map && this.tiles.truth) this.tiles.errors = new ErrorTiles(this.tiles.map, this.tiles.truth);
    for (const name of this.layers()) this.shown[name] ??= name !== "truth" && !(SURE.includes(name) && this.tiles.errors);
    if (linked) link.take(linked);
    compare.check();
    this.viewer.close();
    for (const name of this.layers()) {
      const source = name === "scene" ? new PictureSource(this.tiles.scene)
        : new PaintedSource(name, this.tiles[name], palette(name, this.hidden));
      const opacity = this.shown[name] ? this.opacity[name] : 0;
      const success = ({ item }) => {
        if (this.scene !== scene) return;
        this.items[name] = item;
        if (name === "scene") {
          if (linked && linked.zoom) this.goTo(linked.row, linked.col, linked.zoom);
          else this.viewer.viewport.goHome(true);
        }
        this.apply();
      };
      this.viewer.addTiledImage({ tileSource: source, width: 1, opacity, index: ORDER.indexOf(name), success });
    }
    this.write();
    summary.write();
  },

  /** Gives every layer its opacity and its part of the view. */
  apply() {
    for (const [name, item] of Object.entries(this.items)) {
      const beside = compare.on && name !== "scene";
      item.setOpacity((beside ? compare.has(name) : this.shown[name]) ? this.opacity[name] : 0);
      if (beside) compare.clip(name, item);
      else item.setClip(null);
    }
    this.viewer.forceRedraw();
    places.pin();
    link.write();
  },

  repaint() {
    for (const [name, item] of Object.entries(this.items)) {
      if (item.source instanceof PaintedSource) item.source.repaint(palette(name, this.hidden));
    }
    this.viewer.forceRedraw();
    link.write();
  },

  /** Screen pixels for a pixel of the scene. */
  zoom() {
    return this.items.scene.viewportToImageZoom(this.viewer.viewport.getZoom(true));
  },

  /** The point of the scene, px, under a point of the viewer. */
  imagePoint(x, y) {
    return this.items.scene.viewerElementToImageCoordinates(new OpenSeadragon.Point(x, y));
  },

  goTo(row, col, zoom = this.zoom()) {
    const { viewport } = this.viewer, item = this.items.scene;
    viewport.zoomTo(item.imageToViewportZoom(zoom), null, true);
    viewport.panTo(item.imageToViewportCoordinates(new OpenSeadragon.Point(col, row)), true);
    viewport.applyConstraints(true);
  },

  /** What has to move with the view. */
  follow() {
    if (!this.items.scene) return;
    if (compare.on) this.apply();
    const zoom = this.zoom();
    this.keepCrisp(zoom);
    this.drawScale(zoom);
    places.frame();
    pencil.draw();
    if (this.stage().classList.contains("keyboard")) pointer.at(null);
    link.write();
  },

  /** Pixels of the scene that are larger than the screen's have sharp edges. */
  keepCrisp(zoom) {
    const { drawer } = this.viewer, smooth = zoom < 1;
    if (smooth === this.smooth) return;
    this.smooth = smooth;
    drawer.setImageSmoothingEnabled(smooth);
    // Layers that are not opaque are drawn here first, which OpenSeadragon's own switch forgets.
    if (drawer.sketchContext) drawer.sketchContext.imageSmoothingEnabled = smooth;
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

  /** Writes all about the map, in the page's language. */
  write() {
    panel.write();
    places.write();
    compare.move(compare.at);
    pencil.write();
    byId("readout").replaceChildren();
    this.follow();
  },

  /** Does what a key stands for; false where it stands for nothing. */
  key(key) {
    if (pencil.key(key)) return true;
    const { viewport } = this.viewer, bounds = viewport.getBounds();
    const moves = { ArrowLeft: [-MOVE, 0], ArrowRight: [MOVE, 0], ArrowUp: [0, -MOVE], ArrowDown: [0, MOVE] };
    if (Object.hasOwn(moves, key)) {
      const [x, y] = moves[key];
      viewport.panBy(new OpenSeadragon.Point(x * bounds.width, y * bounds.height)).applyConstraints();
      pointer.at(null);
    } else if (key === "+" || key === "=") viewport.zoomBy(1.5).applyConstraints();
    else if (key === "-" || key === "_") viewport.zoomBy(1 / 1.5).applyConstraints();
    else if (key === "0") viewport.goHome();
    else if (/^[1-5]$/.test(key) && key <= this.layers().length && !compare.on) {
      const name = this.layers().at(-key); // 1 is the line at the top of the panel
      this.shown[name] = !this.shown[name];
      panel.writeLayers();
      this.apply();
    } else if (key === "c" && this.layers().length > 1) compare.set(!compare.on);
    else if (key === "n") places.jump(places.at + 1);
    else if (key === "p") places.jump(places.at < 0 ? -1 : places.at - 1);
    else if (key === "g") byId("goto-text").focus();
    else if (key === "x") pointer.copy();
    else if (key === "f") {
      if (document.fullscreenElement) document.exitFullscreen();
      else if (document.fullscreenEnabled) this.stage().requestFullscreen();
    } else if (key === "Escape" && places.at >= 0) places.leave();
    else return false;
    return true;
  },
};
