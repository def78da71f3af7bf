// Charts: lines over epochs, or the numbers where there is but one epoch.
"use strict";

const COLORS = 6, DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "1 2 5 2", "4 2"]; // neither count divides the other

/** How line `i` looks: a colour (see --line-0 in the style sheet) and dashes, together of its own up to the 42nd. */
function lineStyle(i) {
  return { stroke: `var(--line-${i % COLORS})`, dash: DASHES[i % DASHES.length] };
}

/** A short piece of a line, as it is in the charts. */
function lineKey({ stroke, dash }) {
  return drawn("svg", { class: "key", viewBox: "0 0 26 8", "aria-hidden": "true" },
    drawn("path", { d: "M0 4H26", style: `stroke: ${stroke}`, "stroke-dasharray": dash, "stroke-width": 2.5 }));
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A figure of lines; null where they have no point. `top` is where the scale ends; null: where the values do. */
function figure(title, lines, top, head = null) {
  const points = lines.flatMap((line) => line.points);
  if (!points.length) return null;
  const caption = element("figcaption", {}, head, title);
  if (lines.some((line) => line.points.length > 1)) return element("figure", {}, caption, chart(title, lines, top));
  return element("figure", { class: "single" }, caption, element("dl", {}, ...lines.filter((line) => line.points.length).flatMap(({ name, style, points: [[epoch, value]] }) => [
    element("dt", {}, lineKey(style), " ", breakable(name)),
    element("dd", {}, element("b", { text: number(value, 4) }), element("small", { text: ` ${word("oneEpoch")(epoch)}` })),
  ])));
}

/** Lines over epochs. */
function chart(title, lines, top) {
  const width = 520, height = 260, left = 44, right = 12, upper = 10, lower = 34;
  const points = lines.flatMap((line) => line.points);
  const last = Math.max(2, ...points.map(([x]) => x)), highest = top ?? (Math.max(...points.map(([, y]) => y)) || 1);
  const step = niceStep(highest / 5), end = top ?? Math.ceil(highest / step) * step;
  const x = (epoch) => left + ((epoch - 1) / (last - 1)) * (width - left - right);
  const y = (value) => upper + (1 - value / end) * (height - upper - lower);
  const ends = lines.filter((line) => line.points.length).map((line) => `${line.name} ${number(line.points.at(-1)[1], 4)}`);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${ends.join("; ")}` });
  const text = (content, attributes) => {
    const made = drawn("text", attributes);
    made.textContent = content;
    svg.append(made);
  };
  for (let value = 0; value <= end + 1e-9; value += step) {
    svg.append(drawn("path", { d: `M${left} ${y(value)}H${width - right}`, class: value ? "grid" : "axis" }));
    text(number(value, step < 0.1 ? 2 : step < 1 ? 1 : 0), { x: left - 8, y: y(value) + 4, "text-anchor": "end" });
  }
  const every = Math.max(1, Math.ceil(niceStep(last / 6)));
  for (let epoch = 1; epoch <= last; epoch += epoch === 1 && every > 1 ? every - 1 : every) {
    text(number(epoch), { x: x(epoch), y: height - lower + 18, "text-anchor": "middle" });
  }
  text(word("epoch"), { x: width - right, y: height - 2, "text-anchor": "end" });
  for (const line of lines) svg.append(...curve(line, x, y));
  return svg;
}

function curve({ name, style: { stroke, dash }, points }, x, y) {
  const d = points.map(([epoch, value], i) => `${i ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const dots = points.map(([epoch, value]) => {
    const attributes = { cx: x(epoch), cy: y(value), r: points.length > 60 ? 1.5 : 3, style: `fill: ${stroke}` };
    const dot = drawn("circle", attributes, drawn("title", {}));
    dot.firstChild.textContent = `${name}: ${word("epoch")} ${epoch}, ${number(value, 4)}`;
    return dot;
  });
  return [drawn("path", { d, class: "line", style: `stroke: ${stroke}`, "stroke-dasharray": dash }), ...dots];
}

/** 1, 2 or 5 times a power of ten, `rough` at least. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  return [1, 2, 5, 10].find((digit) => digit * power >= rough * 0.999) * power;
}
