// What OpenSeadragon asks for: tiles that are coloured here, and pictures.
"use strict";

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
