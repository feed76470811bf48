(function () {
  "use strict";
  var body = document.querySelector("#table tbody");
  var search = document.getElementById("search");
  var boxes = Array.from(document.querySelectorAll(".tools input[type=checkbox]"));
  var count = document.getElementById("count");
  if (body) {
    var rows = Array.from(body.rows);
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    var refresh = function () {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      var wanted = boxes.filter(function (b) { return b.checked; }).map(function (b) { return b.value; });
      var shown = 0;
      rows.forEach(function (row, i) {
        var keep = wanted.indexOf(row.dataset.verdict) >= 0 &&
          words.every(function (word) { return texts[i].indexOf(word) >= 0; });
        row.hidden = !keep;
        shown += keep ? 1 : 0;
      });
      count.textContent = shown + " of " + rows.length + " shown";
    };
    search.addEventListener("input", refresh);
    boxes.forEach(function (box) { box.addEventListener("change", refresh); });
    document.querySelectorAll("#table th button").forEach(function (button) {
      button.addEventListener("click", function () {
        var head = button.closest("th");
        var key = button.dataset.key;
        var sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        document.querySelectorAll("#table th").forEach(function (th) { th.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        Array.from(body.rows).sort(function (a, b) {
          var x = a.dataset[key], y = b.dataset[key];
          return sign * (key === "name" ? x.localeCompare(y) : Number(x) - Number(y));
        }).forEach(function (row) { body.appendChild(row); });
      });
    });
    document.querySelector(".tools").hidden = false;
    refresh();
  }
  var reveal = function () {
    var target = document.getElementById(location.hash.slice(1));
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
    }
    if (target) { target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", reveal);
  reveal();
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll(".ev.print:not([open])"));
    opened.forEach(function (node) { node.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (node) { node.open = false; });
  });
})();
