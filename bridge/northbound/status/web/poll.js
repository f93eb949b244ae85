// Lists that change seldom: asked for while they are looked at, drawn anew only where they are other ones.
import { get } from "./api.js";

const EVERY_MS = 2000;

/** Calls `draw(answer of each path)` at first and whenever they are others; `now` asks at once, `stop` ends it. */
export function poll(paths, draw, failed) {
  let before = "";
  let timer = 0;
  let isOver = false;
  async function look() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const answers = await Promise.all(paths().map(get));
        const text = JSON.stringify(answers);
        if (!isOver && text !== before) draw(...answers);
        before = text;
        failed("");
      } catch (refusal) {
        if (!isOver) failed(refusal.status ? refusal.message : "");
      }
    }
    if (!isOver) timer = setTimeout(look, EVERY_MS);
  }
  look();
  return { now: look, stop: () => ((isOver = true), clearTimeout(timer)) };
}
