// Whether the session is still the one that a portal knows (OpenID Connect Session Management 1.0 section 3.2). The portal's page
// posts "client_id session_state"; what the session is called here is in a cookie that only this frame can read.
(function () {
  "use strict";
  function base64url(bytes) {
    return btoa(String.fromCharCode.apply(null, new Uint8Array(bytes)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
  function session() {
    var found = document.cookie.split("; ").find(function (one) { return one.indexOf("__Host-browser-state=") === 0; });
    if (!found) { return null; }
    var parts = found.slice(found.indexOf("=") + 1).split(".");
    return Date.now() / 1000 < Number(parts[1]) ? parts[0] : "none";
  }
  addEventListener("message", function (event) {
    function answer(word) { event.source.postMessage(word, event.origin); }
    var asked = typeof event.data === "string" ? event.data.split(" ") : [];
    var stated = asked.length === 2 ? asked[1].split(".") : [];
    var now = session();
    if (stated.length !== 2 || now === null) { return answer("error"); }
    crypto.subtle.digest("SHA-256", new TextEncoder().encode([asked[0], event.origin, now, stated[1]].join(" ")))
      .then(function (digest) { answer(base64url(digest) === stated[0] ? "unchanged" : "changed"); })
      .catch(function () { answer("error"); });
  });
})();
