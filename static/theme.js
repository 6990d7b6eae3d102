// Runs before the page is painted, so that a chosen theme does not flash. Without a choice the system's theme is used.
(() => {
  const root = document.documentElement;
  const chosen = () => localStorage.getItem("wherry-theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => { root.dataset.theme = chosen() ?? (dark.matches ? "dark" : "light"); };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-toggle]")) return;
    localStorage.setItem("wherry-theme", root.dataset.theme === "dark" ? "light" : "dark");
    apply();
  });
})();
