// The report: a sentence, a table, and the cost of an accepted image with its interval for each lane.

const LABELS = 240, WIDTH = 900, RIGHT = 60, ROW = 38, TOP = 8;

const usd = (amount) => (amount === null ? "–" : `$${amount.toFixed(amount < 0.1 ? 4 : amount < 1 ? 3 : 2)}`);
const percent = (share) => `${Math.round(share * 100)} %`;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function draw(report, place) {
  const title = element("h2", `${report.title}: ${report.judged} of ${report.prompts} prompts judged`);
  title.id = "report-title";
  const told = report.recommendation.why;
  const sentence = element("p", `${told[0].toUpperCase()}${told.slice(1)}.`, "recommendation");
  sentence.classList.toggle("decided", report.recommendation.lane !== null);
  place.replaceChildren(title, sentence, table(report), figure(report), element("p", NOTE, "note"));
}

const NOTE = "The verdicts are kept in the trial's folder, and this page may be closed. To have the router learn from them, "
  + "name that folder in gateway.toml: [router] acceptance.";

const COLUMNS = [
  ["Lane", (row) => [row.lane]],
  ["Generated", (row) => [`${row.generated} of ${row.asked}`]],
  ["Accepted", (row) => [`${row.accepted} of ${row.judged}`,
    row.share === null ? "" : `${percent(row.share)}, ${percent(row.share_low)} to ${percent(row.share_high)}`]],
  ["Retries", (row) => [row.retries]],
  ["Median", (row) => [row.seconds === null ? "–" : `${row.seconds.toFixed(1)} s`]],
  ["Spend", (row) => [usd(row.spend)]],
  ["Cleanup", (row) => [usd(row.cleanup), `${+row.minutes.toFixed(1)} min`]],
  ["Per accepted image", (row) => [usd(row.cost), range(row)]],
];

function range(row) {
  return row.high === null ? `from ${usd(row.low)}` : `${usd(row.low)} to ${usd(row.high)}`;
}

function table(report) {
  const made = element("table");
  made.append(element("caption", "By lane; the small figures are 95 % intervals, and the minutes of cleaning up"));
  const head = made.createTHead().insertRow();
  for (const [name] of COLUMNS) {
    const cell = element("th", name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of report.rows) body.append(line(row));
  const wide = element("div", undefined, "wide");
  wide.append(made);
  return wide;
}

function line(row) {
  const made = element("tr");
  for (const [number, [, cells]] of COLUMNS.entries()) {
    const [figure, below] = cells(row);
    const cell = element(number ? "td" : "th", figure);
    if (!number) cell.scope = "row";
    if (below) cell.append(element("small", below));
    made.append(cell);
  }
  return made;
}

function figure(report) {
  const made = element("figure");
  made.append(chart(report.rows));
  made.append(element("figcaption", "USD per accepted image: spend and cleaning up over the images accepted, with 95 % intervals"));
  return made;
}

function chart(rows) {
  const most = Math.max(...rows.flatMap((row) => [row.low, row.cost ?? 0, row.high ?? 0])) * 1.05 || 1;
  const height = TOP + rows.length * ROW + 24;
  const x = (amount) => LABELS + (amount / most) * (WIDTH - LABELS - RIGHT);
  const label = rows.map((row) => `${row.lane}: ${usd(row.cost)}, ${range(row)}`).join("; ");
  const made = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
  for (const amount of ticks(most)) {
    made.append(svg("line", { class: "grid", x1: x(amount), x2: x(amount), y1: TOP, y2: height - 20 }));
    made.append(svg("text", { class: "tick", x: x(amount), y: height - 5, "text-anchor": "middle" }, `$${+amount.toFixed(4)}`));
  }
  rows.forEach((row, number) => made.append(...bar(row, TOP + (number + 0.5) * ROW, x, most)));
  return made;
}

function bar(row, y, x, most) {
  const end = x(row.high ?? most);
  const drawn = [svg("text", { x: 0, y: y + 4 }, row.lane.length > 34 ? `${row.lane.slice(0, 33)}…` : row.lane)];
  drawn.push(svg("line", { class: "range", x1: x(row.low), x2: end, y1: y, y2: y }));
  if (row.high === null) drawn.push(svg("path", { class: "open", d: `M${end} ${y - 9}l14 9l-14 9z` }));
  if (row.cost !== null) drawn.push(svg("circle", { class: "value", cx: x(row.cost), cy: y, r: 7 }));
  return drawn;
}

function ticks(most) {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, number) => number * step);
}
