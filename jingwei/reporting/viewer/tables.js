// Tables: heads, bars, and a hint where one is wider than the page.
"use strict";

function row(...cells) {
  return element("tr", {}, ...cells.map((cell) => headCell(cell)));
}

/** A cell of a head; an empty one is not a header. */
function headCell(cell, attributes = {}) {
  return cell === "" ? element("td", attributes) : element("th", { scope: "col", ...attributes }, ...[cell].flat());
}

/** A head whose second column is text or bars, which begin at the left. */
function textRow(...cells) {
  const made = row(...cells);
  made.children[1].className = "text";
  return made;
}

function table(head, body, kind = null) {
  return element("table", { class: kind }, element("thead", {}, head), element("tbody", {}, ...body));
}

/** The head of a class's line. */
function classHead(id) {
  return element("th", { scope: "row" }, swatch(id), " ", element("span", { class: "name", text: className(id) }));
}

/** A name that may be broken after its underscores, and nowhere else. */
function breakable(name) {
  return element("span", { class: "name" }, ...name.split(/(?<=_)/).flatMap((part, i) => (i ? [element("wbr"), part] : [part])));
}

/** A cell with a share and a bar of it. */
function bar(share, color, length = share, asPercent = false) {
  const text = share === null ? "–" : asPercent ? percent(share) : number(share, 3);
  const filled = element("i", { style: { width: `${100 * (length ?? 0)}%`, background: color } });
  return element("td", { class: "bar" }, element("span", { text }), element("span", { class: "track", "aria-hidden": "true" }, length ? filled : null));
}

/** Tables that are wider than their place can be scrolled, with the keyboard too, and say so. */
const scrolling = {
  observer: new ResizeObserver(() => scrolling.look()),

  start() {
    for (const place of document.querySelectorAll(".wide")) {
      place.before(element("p", { class: "scroll-hint", "data-word": "scrollHint", hidden: "" }));
      this.observer.observe(place);
    }
  },

  look() {
    for (const place of document.querySelectorAll(".wide")) {
      const wider = place.scrollWidth > place.clientWidth + 1;
      place.previousElementSibling.hidden = !wider;
      if (wider) {
        place.tabIndex = 0;
        place.setAttribute("role", "region");
        place.setAttribute("aria-label", place.closest("section").querySelector("h2").textContent);
      } else for (const name of ["tabindex", "role", "aria-label"]) place.removeAttribute(name);
    }
  },
};
