// Tells the figures of the stretch under the pointer. Without it the page shows all the same.
"use strict";
for (const picture of document.querySelectorAll(".picture[data-series]")) {
  const series = JSON.parse(picture.dataset.series);
  const [left, right, top, bottom] = JSON.parse(picture.dataset.axes);
  const edges = JSON.parse(document.getElementById("edges").textContent);
  const times = JSON.parse(document.getElementById("times").textContent);
  const mark = picture.appendChild(document.createElement("div"));
  const tip = picture.appendChild(document.createElement("div"));
  mark.className = "mark";
  tip.className = "tip";
  mark.hidden = tip.hidden = true;
  mark.style.top = `${top * 100}%`;
  mark.style.height = `${(bottom - top) * 100}%`;
  const leave = () => { mark.hidden = tip.hidden = true; };
  const show = (event) => {
    const box = picture.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width - left) / (right - left);
    if (share < 0 || share > 1) return leave();
    const at = share * edges[edges.length - 1];
    let place = 0;
    while (place < times.length - 1 && edges[place + 1] <= at) place += 1;
    tip.replaceChildren(document.createElement("b"));
    tip.firstChild.textContent = times[place];
    for (const [name, colour, values] of series) {
      if (values[place] === null) continue;
      const line = tip.appendChild(document.createElement("div"));
      line.textContent = `${name}: ${values[place]}`;
      line.style.borderColor = `var(--${colour})`;
    }
    mark.hidden = tip.hidden = false;
    mark.style.left = `${(left + share * (right - left)) * 100}%`;
    const after = share < 0.55;
    tip.style.left = after ? `calc(${mark.style.left} + 10px)` : "auto";
    tip.style.right = after ? "auto" : `calc(100% - ${mark.style.left} + 10px)`;
  };
  picture.addEventListener("pointermove", show);
  picture.addEventListener("pointerleave", leave);
}
