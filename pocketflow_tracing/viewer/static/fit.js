// Texts in pictures: how wide they are drawn, and what of them fits.

let pen = null;

/** The width of a text in pixels, in the page's font at a size and weight. */
export function widthOf(text, size, weight = 400) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

/** As much of a text as fits into so many pixels, with a sign that there is more. */
export function fitted(text, pixels, size, weight) {
  if (widthOf(text, size, weight) <= pixels) return text;
  let [low, high] = [1, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (widthOf(`${text.slice(0, middle)}…`, size, weight) <= pixels) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
