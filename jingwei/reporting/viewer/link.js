// A view as the end of the page's address: scene, place, zoom, layers. To be kept, and sent with the folder.
"use strict";

const WRITE_AFTER = 300; // ms after the last movement

const link = {
  listen() {
    addEventListener("hashchange", () => {
      const linked = this.read();
      if (!linked || location.hash === this.written) return;
      look.show(REPORT.scenes.find(({ name }) => name === linked.scene) || look.scene, linked);
    });
    this.listening = true;
    this.write();
  },

  /** What the address says; null where it says nothing of a view. */
  read() {
    const said = new URLSearchParams(location.hash.slice(1));
    if (!said.has("scene")) return null;
    const numbers = (said.get("at") || "").split(",").map(Number);
    const [row, col] = numbers.length === 2 && numbers.every(Number.isFinite) ? numbers : [0, 0];
    const zoom = Number(said.get("zoom"));
    return {
      scene: said.get("scene"), row, col, zoom: said.has("at") && zoom > 0 && zoom < 1e4 ? zoom : null,
      layers: said.has("layers") ? said.get("layers").split(",").filter(Boolean).map((part) => part.split(":")) : null,
      off: said.has("off") ? said.get("off").split(",").filter(Boolean).map(Number) : null,
      compare: (said.get("compare") || "").split(","),
    };
  },

  /** Shows the layers and classes that a link names. */
  take({ layers, off, compare: [left, right, at] }) {
    if (layers) {
      for (const name of ORDER) look.shown[name] = layers.some(([shown]) => shown === name);
      for (const [name, opacity] of layers) {
        if (ORDER.includes(name) && opacity >= 0 && opacity <= 100) look.opacity[name] = opacity / 100;
      }
    }
    if (off) look.hidden = new Set(off.filter((id) => REPORT.legend.classes[id]));
    compare.on = ORDER.includes(left) && ORDER.includes(right);
    if (compare.on) Object.assign(compare, { left, right, at: at >= 0 && at <= 100 ? at / 100 : 0.5 });
  },

  write() {
    clearTimeout(this.writing);
    if (this.listening) this.writing = setTimeout(() => this.writeNow(), WRITE_AFTER);
  },

  writeNow() {
    if (!look.items.scene) return;
    const viewer = byId("viewer"), { x, y } = look.imagePoint(viewer.clientWidth / 2, viewer.clientHeight / 2);
    const zoom = look.zoom(), layers = look.layers().filter((name) => look.shown[name]);
    const said = [
      ["scene", encodeURIComponent(look.scene.name)], ["at", `${y.toFixed(1)},${x.toFixed(1)}`], ["zoom", Number(zoom.toPrecision(4))],
      ["layers", layers.map((name) => `${name}:${Math.round(100 * look.opacity[name])}`)], ["off", [...look.hidden]],
    ];
    if (compare.on) said.push(["compare", [compare.left, compare.right, Math.round(100 * compare.at)]]);
    this.written = `#${said.map(([key, value]) => `${key}=${value}`).join("&")}`;
    if (location.hash !== this.written) history.replaceState(null, "", this.written);
  },
};
