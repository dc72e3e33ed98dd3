"use strict";
const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.classList.contains("fixed")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((one, other) => {
        const a = value(one, column), b = value(other, column);
        const order = a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}
for (const list of document.querySelectorAll("[data-filter]")) {
  const label = document.createElement("label"), input = document.createElement("input");
  label.className = "filter";
  input.type = "search";
  label.append(list.dataset.filter, input);
  const place = list.closest(".scroll") ?? list;
  place.before(label);
  input.addEventListener("input", () => {
    const wanted = input.value.toLocaleLowerCase();
    const items = list.tBodies ? list.tBodies[0].rows : list.children;
    for (const item of items) item.hidden = !item.textContent.toLocaleLowerCase().includes(wanted);
  });
}
