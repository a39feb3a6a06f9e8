"use strict";
// What happened, to the page around this one.
parent.postMessage(JSON.parse(document.getElementById("told").value), "*");
