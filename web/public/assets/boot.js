// Runs before the first paint, so that a chosen theme or language never flashes.
(function () {
  var root = document.documentElement;
  try {
    var theme = localStorage.getItem("leo.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    var language = localStorage.getItem("leo.language");
    if (language === "de" || language === "en") root.lang = language;
  } catch (e) {
    // A browser without storage gets the defaults.
  }
})();
