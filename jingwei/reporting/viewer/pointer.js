// What is under the cursor, and where that is: read out, copied, gone to.
"use strict";

const READ_AFTER = 40; // ms that the cursor rests before what is under it is read

const pointer = {
  point: null, // where the cursor is, px of the viewer

  listen() {
    const viewer = byId("viewer");
    const moved = (event) => {
      const box = viewer.getBoundingClientRect();
      this.at({ x: event.clientX - box.left, y: event.clientY - box.top });
    };
    viewer.addEventListener("pointermove", moved);
    viewer.addEventListener("pointerdown", moved);
    byId("goto").onsubmit = (event) => {
      event.preventDefault();
      byId("goto-note").textContent = this.goTo(byId("goto-text").value);
    };
    byId("copy-place").onclick = () => this.copy();
  },

  /** Reads what is under a point of the viewer; null reads the centre. */
  at(point) {
    look.stage().classList.toggle("keyboard", point === null);
    const viewer = byId("viewer");
    this.point = point || { x: viewer.clientWidth / 2, y: viewer.clientHeight / 2 };
    clearTimeout(this.reading);
    this.reading = setTimeout(() => this.read(), READ_AFTER);
  },

  /** The row and column under the cursor, or in the centre where no cursor has been; null outside the scene. */
  place() {
    const { scene } = look, viewer = byId("viewer");
    if (!look.items.scene) return null;
    const { x, y } = this.point || { x: viewer.clientWidth / 2, y: viewer.clientHeight / 2 };
    const { x: col, y: row } = look.imagePoint(x, y);
    return within(scene, row, col) ? { row: Math.floor(row), col: Math.floor(col) } : null;
  },

  async read() {
    const { scene } = look, { point } = this, place = this.place();
    if (!place) {
      byId("readout").replaceChildren();
      return;
    }
    const { row, col } = place, values = new Map();
    await Promise.all(["map", "truth", ...SURE].map(async (name) => {
      if (look.tiles[name]) values.set(name, await valueAt(look.tiles[name], row, col).catch(() => NODATA));
    }));
    if (this.point !== point || look.scene !== scene) return;
    const parts = [];
    for (const name of ["map", "truth"]) {
      const id = values.get(name);
      if (id !== undefined) parts.push([word(name), id === NODATA ? "–" : className(id), id]);
    }
    for (const name of SURE) if ((values.get(name) ?? NODATA) !== NODATA) parts.push([word(name), `${values.get(name)} %`]);
    parts.push([word("row"), number(row)], [word("column"), number(col)]);
    if (scene.place) parts.push([scene.place.crs || "x, y", coordinates(scene.place, row, col)]);
    byId("readout").replaceChildren(...parts.map(([name, text, id]) => element("span", {},
      element("small", { text: `${name} ` }), id === undefined || id === NODATA ? null : swatch(id), element("b", { text }))));
  },

  /** Puts the coordinates under the cursor on the clipboard: on the ground where they are known, else row, column. */
  copy() {
    const place = this.place();
    if (!place) return;
    const text = look.scene.place ? coordinates(look.scene.place, place.row, place.col) : `${place.row}, ${place.col}`;
    copy(text, byId("copy-place"));
  },

  /** Goes to coordinates that somebody wrote; what is wrong with them, or nothing. */
  goTo(text) {
    const { scene } = look, numbers = (text.match(/-?\d+(\.\d+)?/g) || []).map(Number);
    if (numbers.length !== 2) return word("notRead");
    // Two numbers are x and y where the scene lies somewhere, but row and column where only that is inside it.
    const choices = [{ row: numbers[0] + 0.5, col: numbers[1] + 0.5 }];
    if (scene.place && !/^\s*(r|行)/i.test(text)) choices.unshift(pixelAt(scene.place, ...numbers));
    const found = choices.find(({ row, col }) => within(scene, row, col));
    if (!found) return word("outside");
    look.goTo(found.row, found.col, Math.max(1, look.zoom()));
    this.at(null);
    return "";
  },
};

function within({ height, width }, row, col) {
  return row >= 0 && col >= 0 && row < height && col < width;
}

async function valueAt(tiles, row, col) {
  const level = tiles.layer.finest, side = REPORT.tile;
  const across = Math.floor(col / side), down = Math.floor(row / side);
  const values = await tiles.load(level, across, down);
  if (!values) return NODATA;
  const [width] = tiles.size(level, across, down);
  return values[(row - down * side) * width + (col - across * side)];
}

/** Where the centre of a pixel lies, as text: x, y. */
function coordinates({ transform, digits }, row, col) {
  const [a, b, c, d, e, f] = transform, x = col + 0.5, y = row + 0.5;
  return [a * x + b * y + c, d * x + e * y + f].map((value) => value.toFixed(digits)).join(", ");
}

/** The row and column (with fractions) of a point of the ground. */
function pixelAt({ transform }, x, y) {
  const [a, b, c, d, e, f] = transform, area = a * e - b * d;
  return { col: (e * (x - c) - b * (y - f)) / area, row: (a * (y - f) - d * (x - c)) / area };
}
