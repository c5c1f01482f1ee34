// Draws the Mermaid pictures of a page, in the colours of the theme, and again when the reader changes it.
const pictures = [...document.querySelectorAll("pre.mermaid")].map((element) => ({ element, text: element.textContent }));
const isDark = () =>
  document.body.dataset.theme === "dark" ||
  (document.body.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

let drawn;
const draw = async () => {
  if (drawn === isDark()) return;
  drawn = isDark();
  for (const { element, text } of pictures) {
    element.removeAttribute("data-processed");
    element.textContent = text;
  }
  mermaid.initialize({ startOnLoad: false, theme: drawn ? "dark" : "default" });
  await mermaid.run({ nodes: pictures.map(({ element }) => element) });
};

addEventListener("DOMContentLoaded", () => {
  new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
});
