// Keys, zoom, and what happens with time. Every page works without it.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  document.documentElement.classList.add("js");
  for (const element of all(".js[hidden]")) element.hidden = false;

  // One form is sent once. A page that comes back from the browser's memory may send again.
  let sent = false;
  addEventListener("submit", (event) => {
    if (event.target.method === "dialog") return;
    if (sent) return event.preventDefault();
    sent = true;
    for (const button of all("button")) button.setAttribute("aria-disabled", "true");
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    sent = false;
    for (const button of all("button")) button.removeAttribute("aria-disabled");
  });

  // Keys: one for each action, shown on its button.
  const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
  const shown = (key) => NAMES[key] || key.toUpperCase();
  const dialog = one("#keys");
  for (const element of all("[data-key]")) {
    const key = element.dataset.key;
    element.setAttribute("aria-keyshortcuts", key.length === 1 ? key.toUpperCase() : key);
    const kbd = document.createElement("kbd");
    kbd.setAttribute("aria-hidden", "true");
    kbd.textContent = shown(key);
    const label = element.closest("label");
    if (element.matches("[type=radio], [type=checkbox]") && label) label.append(kbd);
    else if (element.matches("input, textarea, select")) label && one("span", label)?.append(" ", kbd);
    else element.append(kbd);
  }
  const is_there = (element) => {
    const area = element.closest("label") || element;
    return !element.disabled && area.checkVisibility({ visibilityProperty: true });
  };
  // Typing, choosing from a list and composing Chinese stay what they are.
  const is_field = (target) => target.closest?.(
    'input:not([type="radio"], [type="checkbox"], [type="range"]), textarea, select, [contenteditable]');
  const act = (element) => {
    if (element.matches("textarea, input:not([type=radio], [type=checkbox]), select")) return element.focus();
    element.click();
    if (element.matches("summary")) one("select, input:not([type=hidden]), button", element.parentElement)?.focus();
    if (element.matches("[type=radio], [type=checkbox]")) element.focus({ preventScroll: true });
  };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat || event.isComposing || sent) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Escape" && target.matches("textarea, input")) return target.blur();
    if (is_field(target)) return;
    if (event.key.startsWith("Arrow") && target.matches("input")) return;
    if (dialog?.open) {
      if (event.key === "?") dialog.close();
      return;
    }
    const same = { "=": "+", "_": "-" };
    const key = event.key.length === 1 ? same[event.key] || event.key.toLowerCase() : event.key;
    const element = all(`[data-key="${CSS.escape(key)}"]`).find(is_there);
    if (!element) return;
    event.preventDefault();
    act(element);
  });

  // The list of the keys that do something now.
  const opener = one("#keys-open");
  if (opener && dialog && all("[data-key]").length > 1) {
    opener.hidden = false;
    opener.addEventListener("click", () => {
      const list = one("dl", dialog);
      list.replaceChildren();
      for (const element of all("[data-key]").filter(is_there)) {
        const [term, text] = [document.createElement("dt"), document.createElement("dd")];
        const kbd = document.createElement("kbd");
        kbd.textContent = shown(element.dataset.key);
        term.append(kbd);
        const area = element.closest("label") || element;
        const own = one("kbd", area)?.textContent || "";
        const name = element.dataset.name || element.getAttribute("aria-label") || area.textContent;
        text.textContent = (name.endsWith(own) ? name.slice(0, name.length - own.length) : name).trim();
        list.append(term, text);
      }
      dialog.showModal();
    });
  }

  // A verdict that can be undone for some seconds.
  for (const banner of all("[data-left]")) {
    setTimeout(() => { if (!sent) banner.remove(); }, Number(banner.dataset.left));
  }

  // Personal data goes again in place, so that what was typed beside it stays.
  for (const secret of all("[data-hide-after]")) {
    const hide = () => {
      const instead = one("template", secret);
      secret.replaceChildren(...(instead ? [instead.content.cloneNode(true)] : []));
    };
    const end = performance.now() + Number(secret.dataset.hideAfter);
    setTimeout(hide, Number(secret.dataset.hideAfter));
    // Timers rest in a tab nobody looks at; a sleeping computer stops them.
    document.addEventListener("visibilitychange", () => { if (performance.now() >= end) hide(); });
    addEventListener("pagehide", hide);
    one("[data-hide]", secret)?.addEventListener("click", (event) => {
      event.preventDefault();
      hide();
    });
  }

  // The open page keeps the case, until it is lost or the session has ended.
  for (const form of all("form[data-renew-every]")) {
    const timer = setInterval(async () => {
      if (sent) return;
      try {
        const body = new URLSearchParams(new FormData(form));
        const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
        if (answer.type === "opaqueredirect" || answer.ok || answer.status >= 500) return;
      } catch {
        return; // The next one may get through.
      }
      clearInterval(timer);
      const lost = one("#lost");
      if (lost) lost.hidden = false;
    }, Number(form.dataset.renewEvery) * 1000);
  }

  // One box ticks all.
  for (const box of all("[data-ticks]")) {
    box.addEventListener("change", () => {
      for (const other of all(`input[name="${CSS.escape(box.dataset.ticks)}"]`)) other.checked = box.checked;
    });
  }

  // A page that waits for something loads itself again, for a while.
  const waiting = one("[data-reload-after]");
  if (waiting) {
    setTimeout(() => { if (!sent && !document.hidden) location.reload(); }, Number(waiting.dataset.reloadAfter) * 1000);
  }

  // A picture that cannot be read says so.
  for (const image of all(".face img")) {
    const failed = () => {
      image.hidden = true;
      const notice = one(".unavailable", image.closest(".face"));
      if (notice) notice.hidden = false;
    };
    if (image.complete && !image.naturalWidth) failed();
    image.addEventListener("error", failed);
  }

  // Two faces that move as one.
  const pair = one(".pair");
  if (pair) {
    const faces = all(".face", pair);
    const images = all("img", pair);
    const start = { scale: 1, x: 0, y: 0, turn: 0, light: 1, actual: false };
    let view = { ...start };
    const slider = one("[data-light]");
    // How much smaller than its own pixels a picture is shown where it fills its frame.
    const fit = (image) => Math.min(
      image.clientWidth / (image.naturalWidth || 1), image.clientHeight / (image.naturalHeight || 1)) || 1;
    const draw = () => {
      for (const image of images) {
        const scale = view.scale * (view.actual ? 1 / fit(image) / devicePixelRatio : 1);
        image.style.transform =
          `translate(${view.x}px, ${view.y}px) rotate(${view.turn}deg) scale(${scale})`;
        image.style.filter = view.light === 1 ? "" : `brightness(${view.light})`;
      }
      if (slider) slider.value = String(Math.round(view.light * 100));
      one("[data-view=actual]")?.setAttribute("aria-pressed", String(view.actual));
    };
    const within = (value, least, most) => Math.min(most, Math.max(least, value));
    const zoom = (factor) => {
      const scale = within(view.scale * factor, 0.25, 16);
      const grown = scale / view.scale;
      view = { ...view, scale, x: view.x * grown, y: view.y * grown };
    };
    const moves = {
      in: () => zoom(1.25),
      out: () => zoom(0.8),
      left: () => { view.x += 60; },
      right: () => { view.x -= 60; },
      up: () => { view.y += 60; },
      down: () => { view.y -= 60; },
      turn: () => { view.turn = (view.turn + 90) % 360; },
      actual: () => { view = { ...view, actual: !view.actual, scale: 1, x: 0, y: 0 }; },
      brighter: () => { view.light = within(view.light + 0.15, 0.4, 2.5); },
      darker: () => { view.light = within(view.light - 0.15, 0.4, 2.5); },
      reset: () => { view = { ...start }; },
    };
    for (const button of all("[data-view]")) {
      button.addEventListener("click", () => { moves[button.dataset.view](); draw(); });
    }
    slider?.addEventListener("input", () => { view.light = Number(slider.value) / 100; draw(); });
    for (const face of faces) {
      face.addEventListener("wheel", (event) => {
        if (event.ctrlKey || pair.classList.contains("decided")) return;
        event.preventDefault();
        zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12);
        draw();
      }, { passive: false });
      let from = null;
      face.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || event.target.closest("a")) return;
        event.preventDefault();
        face.setPointerCapture(event.pointerId);
        face.classList.add("dragging");
        from = { x: event.clientX - view.x, y: event.clientY - view.y };
      });
      face.addEventListener("pointermove", (event) => {
        if (!from) return;
        view.x = event.clientX - from.x;
        view.y = event.clientY - from.y;
        draw();
      });
      const stop = () => { from = null; face.classList.remove("dragging"); };
      face.addEventListener("pointerup", stop);
      face.addEventListener("pointercancel", stop);
    }
    for (const image of images) image.addEventListener("load", draw);
    addEventListener("resize", draw);
  }
})();
