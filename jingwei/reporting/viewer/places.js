// The places of a scene that are worth a look, the worst first.
"use strict";

const PINS = 9; // places that are numbered on the map

const places = {
  at: -1, // the place that is shown; -1: none

  /** Shows a place. Past the last comes the first. */
  jump(index) {
    const { worst } = look.scene;
    if (!worst.length || !look.items.scene) return;
    this.at = (index + worst.length) % worst.length;
    const { row, col, width, height } = worst[this.at], margin = 0.8 * Math.max(width, height) + 24;
    const around = new OpenSeadragon.Rect(col - margin, row - margin, width + 2 * margin, height + 2 * margin);
    if (look.tiles.errors && !compare.on && !look.shown.errors) {
      look.shown.errors = true; // to see what is wrong
      panel.writeLayers();
      look.apply();
    }
    look.viewer.viewport.fitBounds(look.items.scene.imageToViewportRectangle(around));
    const list = byId("worst"), lines = [...list.children];
    lines.forEach((line, i) => line.firstChild.setAttribute("aria-current", i === this.at));
    list.scrollTop = lines[this.at].offsetTop - lines[0].offsetTop - lines[0].offsetHeight;
    look.follow();
  },

  leave() {
    this.at = -1;
    this.write();
    look.follow();
  },

  /** Numbers the first places on the map, while the layer that they come from is shown alone. */
  pin() {
    const { worst, sure } = look.scene, layer = look.tiles.errors ? "errors" : sure && sure.layer, pins = byId("pins");
    pins.hidden = !look.items.scene || compare.on || !look.shown[layer];
    if (pins.hidden) return;
    const { clientWidth, clientHeight } = byId("viewer");
    worst.slice(0, PINS).forEach(({ row, col }, i) => {
      const at = look.items.scene.imageToViewerElementCoordinates(new OpenSeadragon.Point(col, row));
      Object.assign(pins.children[i].style, { left: `${(100 * at.x) / clientWidth}%`, top: `${(100 * at.y) / clientHeight}%` });
    });
  },

  /** Draws the frame around the place that is shown. */
  frame() {
    this.pin();
    const outline = byId("outline"), place = look.scene.worst[this.at];
    outline.hidden = !place;
    if (!place) return;
    const corner = (x, y) => look.items.scene.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
    const from = corner(place.col, place.row), to = corner(place.col + place.width, place.row + place.height);
    Object.assign(outline.style, {
      left: `${from.x - 4}px`, top: `${from.y - 4}px`, width: `${to.x - from.x + 8}px`, height: `${to.y - from.y + 8}px`,
    });
  },

  /** Writes the list; without one, why, and the command that gives one. */
  write() {
    const { worst, sure, height, width } = look.scene, { errors, map } = look.tiles;
    byId("places-title").textContent = word(errors ? "largestErrors" : sure ? "leastSure" : "howSure");
    byId("steps").hidden = byId("worst").hidden = !worst.length;
    const coarse = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(height, width) / REPORT.placesSide)));
    const note = byId("places-note");
    note.hidden = worst.length > 0 && !(errors && coarse > 1);
    if (worst.length) note.replaceChildren(word("coarse")(coarse));
    else note.replaceChildren(...(errors ? [word("noErrors")] : sure ? [word("sureEverywhere")] : map ? this.howToKnow() : [
      word("noMapHere"), commandLine(command("predict.py"))]));
    byId("pins").replaceChildren(...worst.slice(0, PINS).map((_, i) => element("span", { text: String(i + 1) })));
    byId("worst").replaceChildren(...worst.map((place, i) => {
      const what = errors
        ? [swatch(place.truth), element("span", { text: word("takenFor")(className(place.truth), className(place.guess)) }),
          element("small", { text: area(look.scene, place.pixels) })]
        : [element("span", { text: word("sure")[sure.layer](number(place.sure, 1)) })];
      const button = element("button", { type: "button", "aria-current": i === this.at }, ...what);
      button.onclick = () => this.jump(i);
      return element("li", {}, button);
    }));
  },

  howToKnow() {
    const lines = [word("notSure"), element("br"), word("toConfidence"), commandLine(command("predict.py"))];
    if (look.scene.models > 1) lines.push(word("toVote"), commandLine(command("vote.py")));
    return [...lines, word("toTruth")];
  },
};
