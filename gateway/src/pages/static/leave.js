// Goes on when the portals' own pages were opened, or did not open in time. Without a script there is the link.
(function () {
  function leave() { location.replace(document.getElementById("onward").href); }
  addEventListener("load", leave);
  setTimeout(leave, 5000);
})();
