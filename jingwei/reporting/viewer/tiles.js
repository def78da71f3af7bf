// Tiles of class ids and percents. A page opened from disk may neither fetch files nor look at the pixels of a picture,
// but may run scripts that lie beside it: such a tile is a script that calls tile("..."), the deflated bytes in base64.
"use strict";

const NODATA = 255;
const KEPT_TILES = matchMedia("(max-width: 700px)").matches ? 120 : 400; // of 256 KiB each
const WRONG = [214, 0, 110];
// Few votes to all votes: dark purple to nearly white (after ColorBrewer's Purples).
const RAMP = [[63, 0, 125], [106, 81, 163], [158, 154, 200], [218, 218, 235], [252, 251, 253]];

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

/** Where the map is wrong: made of the map's tiles and the truth's. 1 is wrong, 0 is right. */
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
    return truth && truth.map((id, i) => (id === NODATA ? NODATA : Number(!map || map[i] !== id)));
  }
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

/** The colours of a layer's values: 256 of red, green, blue, alpha, as one Uint32Array. */
function palette(name, hidden) {
  const bytes = new Uint8ClampedArray(4 * 256);
  if (name === "errors") bytes.set([...WRONG, 255], 4);
  else if (name === "agreement") for (let value = 0; value <= 100; value++) bytes.set([...ramp(value), 255], 4 * value);
  else for (const { id, color } of REPORT.legend.classes) if (!hidden.has(id)) bytes.set([...rgb(color), 255], 4 * id);
  return new Uint32Array(bytes.buffer);
}

function ramp(value) {
  const place = (value / 100) * (RAMP.length - 1), lower = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[lower].map((from, i) => from + (RAMP[lower + 1][i] - from) * (place - lower));
}

function rgb(color) {
  return [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
}

/** What OpenSeadragon asks for the tiles of a layer that is coloured here. */
class PaintedSource extends OpenSeadragon.TileSource {
  constructor(name, tiles, colors) {
    const { layer, map } = tiles, { width, height } = (map || tiles).scene;
    super({ width, height, tileSize: REPORT.tile, minLevel: layer.coarsest, maxLevel: layer.finest });
    Object.assign(this, { name, tiles, colors, painted: new Set() });
  }

  tileExists(level, col, row) {
    return super.tileExists(level, col, row) && this.tiles.exists(level, col, row);
  }

  getTileUrl(level, col, row) {
    return this.tiles.path(level, col, row);
  }

  hasTransparency() {
    return true;
  }

  downloadTileStart(job) {
    const { level, x, y } = job.tile;
    this.tiles.load(level, x, y).then((values) => {
      const [width, height] = this.tiles.size(level, x, y);
      const canvas = element("canvas", { width, height });
      const context = canvas.getContext("2d");
      context.values = values;
      this.paint(context);
      this.painted.add(new WeakRef(context));
      job.finish(context, null, "context2d");
    }).catch((error) => job.fail(error.message, null));
  }

  downloadTileAbort() {} // a script that runs can't be called back

  /** Gives all tiles other colours. */
  repaint(colors) {
    this.colors = colors;
    for (const reference of this.painted) {
      const context = reference.deref();
      if (context && context.canvas.width) this.paint(context);
      else this.painted.delete(reference);
    }
  }

  paint(context) {
    const { width, height } = context.canvas, image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), { values } = context, { colors } = this;
    for (let i = 0; i < pixels.length; i++) pixels[i] = colors[values[i]];
    context.putImageData(image, 0, 0);
  }
}

/** The scene's JPEGs. */
class PictureSource extends OpenSeadragon.TileSource {
  constructor(tiles) {
    const { layer, scene } = tiles, { width, height } = scene;
    super({ width, height, tileSize: REPORT.tile, minLevel: layer.coarsest, maxLevel: layer.finest });
    this.tiles = tiles;
  }

  tileExists(level, col, row) {
    return super.tileExists(level, col, row) && this.tiles.exists(level, col, row);
  }

  getTileUrl(level, col, row) {
    return this.tiles.path(level, col, row);
  }
}
