// What the theme leaves unsaid to people who hear its pages.
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("main")?.setAttribute("role", "main");
  for (const field of document.querySelectorAll("input[placeholder]:not([aria-label])")) {
    if (!field.labels.length) field.setAttribute("aria-label", field.placeholder);
  }
});
