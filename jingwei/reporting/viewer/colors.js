// Colours of values, and of text upon colours.
"use strict";

const RIGHT = 256, EDGE = 257; // values of the errors' layer besides class ids: right, and the outline of what is wrong
const RIGHT_COLOR = [205, 209, 213], EDGE_COLOR = [20, 20, 24];
const DOUBT = [28, 8, 56]; // over what the map is not at all sure of; nothing over what it is sure of

/** The colours of a layer's values: red, green, blue, alpha of each, as one Uint32Array. */
function palette(name, hidden) {
  const bytes = new Uint8ClampedArray(4 * 258);
  const set = (value, color, alpha = 255) => bytes.set([...color, alpha], 4 * value);
  if (SURE.includes(name)) for (let value = 0; value <= 100; value++) set(value, DOUBT, 2.55 * (100 - value));
  else for (const { id, screen } of REPORT.legend.classes) if (name === "errors" || !hidden.has(id)) set(id, rgb(screen));
  if (name === "errors") {
    set(RIGHT, RIGHT_COLOR);
    set(EDGE, EDGE_COLOR);
  }
  return new Uint32Array(bytes.buffer);
}

function rgb(color) {
  return [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
}

/** A colour laid over another. */
function mixed(color, below, share) {
  return color.map((channel, i) => Math.round(share * channel + (1 - share) * below[i]));
}

/** Black or white, whichever is easier to read on a colour; one of them has a contrast of 4.5 : 1 on any. */
function inkOn(color) {
  return luminance(color) > 0.179 ? "#000" : "#fff";
}

/** Relative luminance, as WCAG 2 defines it. */
function luminance(color) {
  const [red, green, blue] = color.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** A colour of the page's own, as the theme has it: `--card`. */
function themeColor(name) {
  return rgb(getComputedStyle(document.documentElement).getPropertyValue(name).trim());
}
