// The pencil: polygons drawn over the scene with a class each, saved as GeoJSON for label.py --add.
"use strict";

const CLOSE_BY = 12; // px of the screen around the first corner in which a click closes the polygon

const pencil = {
  on: false,
  corners: [], // of the polygon that is being drawn: [column, row], px of the scene
  drawn: new Map(), // name of a scene -> polygons: {corners, id}
  unsaved: new Set(), // names of scenes

  listen() {
    look.viewer.addHandler("canvas-click", (event) => {
      if (!this.on || !event.quick) return;
      event.preventDefaultAction = true;
      this.click(event.position);
    });
    look.viewer.addHandler("canvas-double-click", (event) => {
      if (!this.on) return;
      event.preventDefaultAction = true; // no zoom
      this.close();
    });
    byId("pencil").onclick = () => this.set(!this.on);
    byId("undo").onclick = () => this.undo();
    byId("save-drawn").onclick = () => this.save();
    addEventListener("beforeunload", (event) => {
      if (this.unsaved.size) event.preventDefault();
    });
  },

  polygons() {
    const { name } = look.scene;
    if (!this.drawn.has(name)) this.drawn.set(name, []);
    return this.drawn.get(name);
  },

  set(on) {
    this.on = on;
    if (!on) this.corners = [];
    look.stage().classList.toggle("drawing", on);
    this.write();
  },

  /** A click at a point of the viewer: a corner, or the end at the first one. */
  click(point) {
    if (this.corners.length > 2) {
      const first = this.onScreen(this.corners[0]);
      if (Math.hypot(first.x - point.x, first.y - point.y) < CLOSE_BY) return this.close();
    }
    const { x, y } = look.imagePoint(point.x, point.y), { height, width } = look.scene;
    const corner = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)].map((value) => Math.round(value * 10) / 10);
    const last = this.corners.at(-1);
    if (!last || last[0] !== corner[0] || last[1] !== corner[1]) this.corners.push(corner); // a double click is two clicks
    this.write();
  },

  /** Ends the polygon that is being drawn. */
  close() {
    if (this.corners.length > 2 && doubleArea(this.corners) !== 0) {
      this.polygons().push({ corners: this.corners, id: Number(byId("drawn-class").value) });
      this.corners = [];
      this.unsaved.add(look.scene.name);
    }
    this.write();
  },

  /** Takes back the last corner, or the last polygon where none is being drawn. */
  undo() {
    if (this.corners.length) this.corners.pop();
    else if (this.polygons().pop()) {
      if (this.polygons().length) this.unsaved.add(look.scene.name);
      else this.unsaved.delete(look.scene.name);
    }
    this.write();
  },

  save() {
    const blob = new Blob([JSON.stringify(asGeoJson(look.scene, this.polygons()), null, 1)], { type: "application/geo+json" });
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: `${look.scene.name}_corrections.geojson` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    this.unsaved.delete(look.scene.name);
  },

  onScreen([col, row]) {
    return look.items.scene.imageToViewerElementCoordinates(new OpenSeadragon.Point(col, row));
  },

  /** Draws all polygons of the scene where they are on the screen now. */
  draw() {
    if (!look.items.scene) return;
    const shape = (tag, corners, color) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      made.setAttribute("points", corners.map((corner) => this.onScreen(corner)).map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
      made.style.setProperty("--of-class", color);
      return made;
    };
    const colorOf = (id) => REPORT.legend.classes[id].screen;
    const shapes = this.polygons().map(({ corners, id }) => shape("polygon", corners, colorOf(id)));
    if (this.corners.length) shapes.push(shape("polyline", this.corners, colorOf(byId("drawn-class").value)));
    byId("drawn").replaceChildren(...shapes);
  },

  write() {
    const choice = byId("drawn-class"), { value } = choice, count = this.polygons().length;
    choice.replaceChildren(...REPORT.legend.classes.map(({ id }) => element("option", { value: id, text: className(id) })));
    choice.value = value || (REPORT.legend.background === 0 && REPORT.legend.classes.length > 1 ? 1 : 0);
    byId("pencil").setAttribute("aria-pressed", this.on);
    byId("undo").disabled = !count && !this.corners.length;
    byId("save-drawn").disabled = !count;
    byId("drawn-note").replaceChildren(...(this.on ? [word("drawHint")] : count ? [
      word("drawnCount")(count), element("br"), commandLine(command("label.py", "--add", quoted(`${look.scene.name}_corrections.geojson`)))] : []));
    this.draw();
  },

  /** Does what a key stands for while somebody draws; false where it stands for nothing. */
  key(key) {
    if (key === "e") this.set(!this.on);
    else if (!this.on) return false;
    else if (key === "a") this.click(pointer.point || { x: byId("viewer").clientWidth / 2, y: byId("viewer").clientHeight / 2 });
    else if (key === "Enter") this.close();
    else if (key === "Backspace") this.undo();
    else if (key === "Escape" && this.corners.length) {
      this.corners = [];
      this.write();
    } else if (key === "Escape") this.set(false);
    else return false;
    return true;
  },
};

/** Twice the area of a ring; above 0 where it runs counterclockwise with y upwards. */
function doubleArea(corners) {
  return corners.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = corners[(i + 1) % corners.length];
    return sum + nextX * y - x * nextY; // rows count downwards
  }, 0);
}

/**
 * Polygons of a scene as GeoJSON: in the scene's CRS where that has a number; else in pixels, x = column and y = -row,
 * and the file says so.
 */
function asGeoJson(scene, polygons) {
  const { place } = scene, onGround = place && place.crs;
  const [a, b, c, d, e, f] = onGround ? place.transform : [1, 0, 0, 0, -1, 0];
  const upright = a * e - b * d < 0; // rows run against y, as nearly everywhere
  const features = polygons.map(({ corners, id }) => {
    const ring = (doubleArea(corners) > 0) === upright ? corners : [...corners].reverse();
    const points = [...ring, ring[0]].map(([col, row]) => [a * col + b * row + c, d * col + e * row + f]);
    return {
      type: "Feature", properties: { label: REPORT.legend.classes[id].name },
      geometry: { type: "Polygon", coordinates: [points] },
    };
  });
  const [authority, code] = onGround ? place.crs.split(":") : [];
  const urn = place && place.crs === "EPSG:4326" ? "OGC:1.3:CRS84" : `${authority}::${code}`;
  const where = onGround ? { crs: { type: "name", properties: { name: `urn:ogc:def:crs:${urn}` } } } : { jingwei_y: "-row" };
  return { type: "FeatureCollection", name: `${scene.name}_corrections`, ...where, features };
}
