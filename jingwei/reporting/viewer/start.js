// Starts the page: its language, its keys.
"use strict";

function setLanguage(name) {
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
  document.title = [word("title"), ...REPORT.scenes.slice(0, 3).map((scene) => scene.name)].join(" · ");
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = word(place.dataset.word);
  for (const place of document.querySelectorAll("[data-name]")) {
    place.setAttribute("aria-label", word(place.dataset.name));
    if (place.tagName === "BUTTON") place.title = word(place.dataset.name);
  }
  byId("language").textContent = word("other");
  byId("language").lang = name === "zh" ? "en" : "zh-CN";
  byId("key-list").replaceChildren(...word("keyList").flatMap(([keys, text]) => [element("dt", { text: keys }), element("dd", { text })]));
  numbers.write();
  if (look.viewer) look.write();
}

function switchLanguage() {
  setLanguage(language === "zh" ? "en" : "zh");
}

byId("language").onclick = switchLanguage;
byId("help-button").onclick = () => byId("help").showModal();
document.addEventListener("keydown", (event) => {
  // A select finds its options by their letters; check boxes and sliders leave letters to us.
  if (event.target.closest("select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "l") switchLanguage();
  else if (key === "?") byId("help").showModal();
  // Arrows move the map where the map has the focus; elsewhere they scroll the page, as ever.
  else if (!look.viewer || (key.startsWith("Arrow") && !byId("viewer").contains(event.target))) return;
  else if (!look.key(key)) return;
  event.preventDefault();
});

setLanguage(REPORT.language === "auto" ? (navigator.language.startsWith("zh") ? "zh" : "en") : REPORT.language);
look.start();
