// The classes: a switch for each, and its share of the picture now.

/** Build the switches; `onSwitch` is called after `look.on` has changed. */
export function buildLegend(list, look, onSwitch) {
  list.replaceChildren(
    ...look.classes.map(({ name, color }, id) => {
      const row = document.createElement("li");
      const label = document.createElement("label");
      label.style.setProperty("--color", `rgb(${color.join(" ")})`);
      label.style.setProperty("--mark", 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2] > 160 ? "#10161d" : "#fff");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: look.on[id] });
      input.setAttribute("role", "switch");
      input.addEventListener("change", () => {
        look.on[id] = input.checked;
        onSwitch();
      });
      const text = Object.assign(document.createElement("span"), { className: "class", textContent: name });
      const share = Object.assign(document.createElement("output"), { textContent: "–" });
      const bar = Object.assign(document.createElement("span"), { className: "share" });
      bar.append(document.createElement("i"));
      label.append(input, text, share, bar);
      row.append(label);
      return row;
    }),
  );
}

export function setSwitches(list, look) {
  list.querySelectorAll("input").forEach((input, id) => (input.checked = look.on[id]));
}

/** Show shares, or nothing where there are none. */
export function setShares(list, shares) {
  list.querySelectorAll("label").forEach((label, id) => {
    const share = shares?.[id] ?? 0;
    label.querySelector("output").textContent = shares ? percent(share) : "–";
    label.querySelector("i").style.transform = `scaleX(${share})`;
  });
}

export function percent(share) {
  return share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
}
