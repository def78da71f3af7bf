// Tiles of class ids and percents. A page opened from disk may neither fetch files nor look at the pixels of a picture,
// but may run scripts that lie beside it: such a tile is a script that calls tile("..."), the deflated bytes in base64.
"use strict";

const NODATA = 255;
const KEPT_TILES = matchMedia("(max-width: 700px)").matches ? 120 : 400; // of 256 KiB each

/** Called by a tile's script. */
function tile(content) {
  document.currentScript.content = content;
}

/** The tiles of a layer on disk, as promises of Uint8Array; null for a blank one. */
class Tiles {
  static kept = new Map(); // path -> promise, the one used last at the end

  constructor(layer, scene) {
    this.layer = layer;
    this.scene = scene;
  }

  exists(level, col, row) {
    const rows = this.layer.tiles[level];
    return rows === null || (rows !== undefined && rows[row] !== undefined && rows[row][col] === "1");
  }

  path(level, col, row) {
    const suffix = this.layer.kind === "picture" ? "jpg" : "js";
    return `${this.layer.folder}/${level}/${col}_${row}.${suffix}`;
  }

  /** [width, height] of a tile in its own pixels. */
  size(level, col, row) {
    const factor = 2 ** (this.layer.finest - level);
    const side = (length, place) => Math.min(REPORT.tile, Math.ceil(length / factor) - place * REPORT.tile);
    return [side(this.scene.width, col), side(this.scene.height, row)];
  }

  load(level, col, row) {
    if (!this.exists(level, col, row)) return Promise.resolve(null);
    const path = this.path(level, col, row);
    const found = Tiles.kept.get(path) || runScript(path).then(inflate);
    Tiles.kept.delete(path);
    Tiles.kept.set(path, found);
    found.catch(() => Tiles.kept.delete(path));
    if (Tiles.kept.size > KEPT_TILES) Tiles.kept.delete(Tiles.kept.keys().next().value);
    return found;
  }
}

/** Where the map is wrong: made of the map's tiles and the truth's, as true class ids, RIGHT, EDGE, and NODATA. */
class ErrorTiles {
  constructor(map, truth) {
    Object.assign(this, { map, truth, layer: map.layer });
  }

  exists(level, col, row) {
    return this.truth.exists(level, col, row);
  }

  path(level, col, row) {
    return `errors of ${this.map.path(level, col, row)}`;
  }

  size(level, col, row) {
    return this.map.size(level, col, row);
  }

  async load(level, col, row) {
    const [map, truth] = await Promise.all([this.map.load(level, col, row), this.truth.load(level, col, row)]);
    return truth && errorsOf(map, truth, this.size(level, col, row)[0]);
  }
}

/** The true class of what is wrong; RIGHT, but EDGE beside what is wrong: so that a lone pixel keeps its colour. */
function errorsOf(map, truth, width) {
  const values = new Uint16Array(truth.length);
  const wrong = (i) => truth[i] !== NODATA && (!map || map[i] !== truth[i]);
  for (let i = 0; i < values.length; i++) {
    if (truth[i] === NODATA || wrong(i)) values[i] = truth[i];
    else {
      const col = i % width;
      const beside = (col > 0 && wrong(i - 1)) || (col < width - 1 && wrong(i + 1))
        || (i >= width && wrong(i - width)) || (i + width < values.length && wrong(i + width));
      values[i] = beside ? EDGE : RIGHT;
    }
  }
  return values;
}

function runScript(path) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: path });
    script.onload = () => {
      script.remove();
      resolve(script.content);
    };
    script.onerror = () => {
      script.remove();
      reject(new Error(`${path} is missing`));
    };
    document.head.append(script);
  });
}

async function inflate(content) {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
