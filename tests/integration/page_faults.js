// What is wrong with the look of a page as it is now: a list of sentences, empty where nothing is.
// What scrolls by itself (`scrolls`) may be wider than the page; what is unseen on purpose is left out.
({ scrolls }) => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const say = (what, element, more = "") => {
    const names = [element.tagName.toLowerCase(), element.id && `#${element.id}`, element.getAttribute?.("class")];
    faults.push(`${what}: ${names.filter(Boolean).join(" ")} "${(element.textContent ?? "").trim().slice(0, 60)}" ${more}`);
  };
  const isSeen = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(".unseen, .skip, #js-plotly-tester");
  const ownText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const all = [...document.body.querySelectorAll("*")].filter(isSeen);
  const texts = all.filter((element) => ownText(element) && !["SCRIPT", "STYLE", "TITLE", "OPTION"].includes(element.tagName));

  // Nothing is wider than the page, and no text is cut.
  if (document.documentElement.scrollWidth > width) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const element of all) {
    if (element.closest(scrolls) && !element.matches(scrolls)) continue;
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1)) say("beyond the page", element, `${box.left} to ${box.right}`);
    const style = getComputedStyle(element);
    const cuts = style.overflowX !== "visible" && !(element instanceof SVGElement) && !element.matches(scrolls);
    if (cuts && !element.matches("select, input") && element.scrollWidth > element.clientWidth + 1) {
      say("cut", element, `${element.scrollWidth} > ${element.clientWidth}`);
    }
  }

  // Texts of a drawing do not touch, and stay within it; a node's stay in its box.
  for (const drawing of all.filter((element) => element.tagName === "svg")) {
    const own = [...drawing.querySelectorAll("text")].filter(isSeen).map((element) => [element, element.getBoundingClientRect()]);
    const frame = drawing.getBoundingClientRect();
    own.forEach(([element, box], place) => {
      if (!element.textContent.trim()) return;
      const room = element.closest(".node")?.querySelector("rect").getBoundingClientRect() ?? frame;
      if (box.left < room.left - 1 || box.right > room.right + 1) say("out of its drawing", element, `${box.left} to ${box.right} in ${room.left} to ${room.right}`);
      for (const [other, its] of own.slice(place + 1, place + 60)) {
        const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (across > 0.5 && down > 3) say("texts overlap", element, `and "${other.textContent}" by ${across.toFixed(1)} px`);
      }
    });
  }

  // Text has contrast to what is behind it (WCAG 2.2: 4.5 to 1).
  const probe = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      probe.clearRect(0, 0, 1, 1);
      probe.fillStyle = colour;
      probe.fillRect(0, 0, 1, 1);
      known.set(colour, [...probe.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, place) => (value * a + below[place] * (255 - a)) / 255);
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    const box = element.closest?.(".node")?.querySelector("rect");
    if (box) layers.unshift(rgba(getComputedStyle(box).fill));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  for (const element of texts) {
    if (element.matches(":disabled, .letter") || element.closest("option")) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((one, other) => other - one);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) say("low contrast", element, contrast.toFixed(2));
  }

  // Nothing is there without something in it.
  for (const element of all.filter((one) => one.matches("section, figure, .panel, .legend, table, dl, ul, details, .toolbar"))) {
    const said = [...element.querySelectorAll("*")].some((one) => isSeen(one) && !one.matches("h2, h3, caption, thead *, summary") && (ownText(one) || one.matches("canvas, input, rect, circle, path")));
    if (!said) say("empty", element);
  }
  for (const table of all.filter((one) => one.tagName === "TABLE")) {
    const rows = [...table.tBodies[0].rows];
    if (!rows.length) say("no rows", table);
    // Of a table that has more pages this one alone may say nothing.
    const isPart = [...(table.closest("div[id]")?.querySelectorAll(".pager") ?? [])].some(isSeen);
    const columns = isPart ? 0 : table.tHead?.rows[0].cells.length ?? 0;
    for (let column = 0; column < columns; column += 1) {
      if (rows.length && rows.every((row) => ["", "–"].includes(row.cells[column]?.textContent.trim()) && !row.cells[column].querySelector("svg"))) {
        say("a column says nothing", table, table.tHead.rows[0].cells[column].textContent);
      }
    }
  }
  for (const canvas of all.filter((one) => one.tagName === "CANVAS" && one.width)) {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    if (!copy.getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)) say("nothing drawn", canvas);
  }
  return faults;
}
