// Light or dark: the reader's system decides until the button does. In the page's head, so that nothing flashes.
"use strict";

const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  chosen: null, // "light", "dark", or null: as the system has it
  changed: () => {}, // what has to be written anew in other colours

  start() {
    try {
      this.chosen = localStorage.getItem("jingwei-theme");
    } catch {} // a browser may keep nothing for pages from disk
    this.system.addEventListener("change", () => this.apply());
    addEventListener("beforeprint", () => this.apply("light"));
    addEventListener("afterprint", () => this.apply());
    this.apply();
  },

  get now() {
    return this.chosen === "light" || this.chosen === "dark" ? this.chosen : this.system.matches ? "dark" : "light";
  },

  apply(name = this.now) {
    document.documentElement.dataset.theme = name;
    this.changed();
  },

  toggle() {
    this.chosen = this.now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("jingwei-theme", this.chosen);
    } catch {}
    this.apply();
  },
};

theme.start();
