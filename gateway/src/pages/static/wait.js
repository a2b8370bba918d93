// Looks every three seconds whether there is news, and leaves the page only then, so that nobody who reads it, or has it
// read out, is interrupted. Without a script the page refreshes itself.
(function look() {
  setTimeout(function () {
    fetch(location.href, { redirect: "manual", cache: "no-store", credentials: "same-origin" })
      .then(function (answer) {
        if (answer.status === 200) { look(); }
        else if (answer.type === "opaqueredirect") { location.replace(location.pathname.replace(/wait$/, "continue")); }
        else { location.reload(); }
      })
      .catch(look);
  }, 3000);
})();
