// The panel beside the map: scenes, layers, classes.
"use strict";

const panel = {
  listen() {
    byId("scene").onchange = (event) => look.show(REPORT.scenes[event.target.value]);
    byId("previous").onclick = () => places.jump(places.at - (places.at > 0 ? 1 : places.at < 0 ? 0 : 1));
    byId("next").onclick = () => places.jump(places.at + 1);
    const buttons = { "zoom-in": "+", "zoom-out": "-", "zoom-home": "0", "zoom-full": "f" };
    for (const [id, key] of Object.entries(buttons)) byId(id).onclick = () => look.key(key);
    if (!document.fullscreenEnabled) byId("zoom-full").hidden = true;
    byId("copy-link").onclick = () => {
      link.writeNow();
      copy(location.href, byId("copy-link"));
    };
  },

  write() {
    const choice = byId("scene");
    byId("scene-choice").hidden = REPORT.scenes.length < 2;
    choice.replaceChildren(...REPORT.scenes.map(({ name, score }, value) => element("option", {
      value, text: score && score.miou !== null ? `${name} (mIoU ${number(score.miou, 2)})` : name,
    })));
    choice.value = REPORT.scenes.indexOf(look.scene);
    byId("goto-text").placeholder = word(look.scene.place ? "goHintPlaced" : "goHint");
    byId("goto-note").textContent = "";
    this.writeLayers();
    compare.write();
    this.writeLegend();
  },

  writeLayers() {
    byId("layers").replaceChildren(...[...look.layers()].reverse().map((name, i) => this.layerLine(name, i + 1)));
    const visible = (name) => look.tiles[name] && (compare.on ? compare.has(name) : look.shown[name]);
    byId("ramp").hidden = !SURE.some(visible);
    byId("wrong").hidden = !visible("errors");
    byId("classes").hidden = !look.tiles.map && !look.tiles.truth;
  },

  layerLine(name, key) {
    const checked = compare.on ? name === "scene" || compare.has(name) : look.shown[name];
    const box = element("input", { type: "checkbox", id: `show-${name}` });
    box.checked = checked;
    box.disabled = compare.on;
    box.onchange = () => {
      look.shown[name] = box.checked;
      this.writeLayers();
      look.apply();
      byId(`show-${name}`).focus();
    };
    const label = `${word("layer")[name]}: ${word("opacity")}`;
    const slider = element("input", { type: "range", min: 0, max: 100, id: `opacity-${name}`, "aria-label": label });
    slider.value = Math.round(100 * look.opacity[name]);
    slider.disabled = !checked;
    slider.oninput = () => {
      look.opacity[name] = slider.value / 100;
      look.apply();
    };
    const text = element("span", { text: word("layer")[name] });
    return element("div", { class: "layer" }, element("label", { title: `${word("key")} ${key}` }, box, text), slider);
  },

  writeLegend() {
    const { areas } = look.scene, total = areas && areas.classes.reduce((sum, pixels) => sum + pixels, 0);
    byId("legend").replaceChildren(...REPORT.legend.classes.map(({ id, color, screen }) => {
      const box = element("input", { type: "checkbox", id: `class-${id}` });
      box.checked = !look.hidden.has(id);
      box.onchange = () => {
        if (box.checked) look.hidden.delete(id);
        else look.hidden.add(id);
        look.repaint();
      };
      const share = total ? percent(areas.classes[id] / total) : "";
      const title = color.toUpperCase() === screen.toUpperCase() ? null : word("inFiles")(color);
      return element("label", { title }, box, swatch(id), element("span", { text: className(id) }), element("small", { text: share }));
    }));
  },
};
