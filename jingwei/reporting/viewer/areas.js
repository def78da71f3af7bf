// Areas by class, what filling changed, and the files.
"use strict";

const areas = {
  write() {
    this.writeAreas();
    this.writeFilling();
    this.writeFiles();
  },

  writeAreas() {
    const scenes = REPORT.scenes.filter((scene) => scene.areas);
    byId("areas").hidden = !scenes.length;
    if (!scenes.length) return;
    const stages = [...new Set(scenes.map(({ stage }) => stageName(stage)))].join(", ");
    byId("areas").classList.toggle("several", scenes.length > 1);
    byId("areas-note").textContent = word("areasNote")(stages);
    byId("area-table").replaceChildren(...scenes.map((scene) => element("div", {},
      scenes.length > 1 ? element("h3", { text: scene.name }) : null, this.areaTable(scene))));
  },

  areaTable({ areas: { classes: counts, hectares } }) {
    const add = (sum, n) => sum + n, total = counts.reduce(add, 0), most = Math.max(...counts, 1);
    const head = textRow(word("class"), word("share"), ...(hectares.length ? [word("hectares")] : []), word("pixels"));
    const cells = (n, ha) => [...(hectares.length ? [number(ha, 2)] : []), number(n)].map((text) => element("td", { text }));
    const body = REPORT.legend.classes.map(({ id, screen }) => element("tr", {}, classHead(id),
      bar(total ? counts[id] / total : 0, screen, counts[id] / most, true), ...cells(counts[id], hectares[id])));
    body.push(element("tr", { class: "total" }, element("th", { scope: "row", text: word("total") }), element("td", {}), ...cells(total, hectares.reduce(add, 0))));
    return table(head, body);
  },

  writeFilling() {
    const scenes = REPORT.scenes.filter(({ changed }) => changed), { classes } = REPORT.legend;
    byId("filling").hidden = !scenes.length;
    if (!scenes.length) return;
    const sum = (from, to) => scenes.reduce((all, { changed }) => all + changed[from][to], 0);
    let changed = 0, total = 0;
    for (const from of classes.keys()) {
      for (const to of classes.keys()) {
        total += sum(from, to);
        if (from !== to) changed += sum(from, to);
      }
    }
    byId("filling-note").textContent = word("fillingNote")(number(changed), percent(total ? changed / total : 0, 2));
    const body = classes.map(({ id }) => {
      const others = classes.filter((other) => other.id !== id);
      const gained = others.reduce((all, other) => all + sum(other.id, id), 0), lost = others.reduce((all, other) => all + sum(id, other.id), 0);
      return element("tr", {}, classHead(id), ...[gained, lost].map((n) => element("td", { text: number(n) })));
    });
    const head = row(word("class"), `${word("gained")} (px)`, `${word("lost")} (px)`);
    byId("filling-table").replaceChildren(table(head, body));
  },

  writeFiles() {
    const scenes = REPORT.scenes.filter(({ files }) => files.length);
    byId("files").hidden = !scenes.length;
    byId("file-list").replaceChildren(...scenes.flatMap((scene) => [
      scenes.length > 1 ? element("h3", { text: scene.name }) : "",
      element("ul", {}, ...scene.files.map(({ what, path, href }) => element("li", {},
        element("span", { text: word("file")[what] }), element("a", { href, text: path })))),
    ]));
  },
};
