// Before the first paint, so that nothing flashes: the theme that was chosen last, if any.
"use strict";
const chosenTheme = localStorage.getItem("filterd-theme");
if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
