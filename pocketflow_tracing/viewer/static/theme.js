// Runs before the page is drawn, so that it never flashes in the other theme.
try {
  const chosen = localStorage.getItem("pocketflow-tracing-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Files opened offline may have no storage: the system's theme it is.
}
