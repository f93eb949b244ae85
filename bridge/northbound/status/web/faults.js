// Faults of a configuration: where, what, and what was expected.
import { h } from "./dom.js";

const PLACE = /^(.+?:\d+:\d+):? (.*)$/s;

export function faultList(faults) {
  return h(
    "ol",
    { class: "faults" },
    faults.map((fault) => {
      const found = PLACE.exec(fault);
      return found ? h("li", {}, h("code", {}, found[1]), h("span", {}, ` ${found[2]}`)) : h("li", {}, fault);
    }),
  );
}
