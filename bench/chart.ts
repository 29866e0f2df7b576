/** The report as a bar chart in SVG: one group of bars a task, each group on its own scale. Pure. */
import { type TaskName, tasks } from "./engine.ts";
import { ROOFLINE } from "./engines.ts";
import { type Report, type Result, printNumber } from "./report.ts";

const width = 860;
const labelWidth = 360;
const barHeight = 18;
const gap = 6;
const headHeight = 34;

/** The roofline is left out; moec is blue; engines on the CPU are pale, since they play another game. */
export function drawChart(report: Report): string {
  const shown = report.results.filter((r) => r.engine !== ROOFLINE);
  let y = 40;
  const groups = (Object.keys(tasks) as TaskName[]).map((task) => {
    const rows = shown.filter((r) => r.task === task);
    if (rows.length === 0) return "";
    const top = y;
    y += headHeight + rows.length * (barHeight + gap);
    return drawGroup(task, rows, top);
  });
  const caption = `${report.machine}; ${report.adapter}; machine ${report.state}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 10}" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" fill="#666">${escape(caption)}</text>
${groups.join("")}</svg>
`;
}

function drawGroup(task: TaskName, rows: readonly Result[], top: number): string {
  const most = Math.max(...rows.map((r) => r.value));
  const bars = rows.map((row, i) => {
    const y = top + headHeight + i * (barHeight + gap);
    const length = Math.max(1, (row.value / most) * (width - labelWidth - 90));
    const fill = row.engine.startsWith("moec") ? "#2563eb" : row.runsOn === "cpu" ? "#d4d4d8" : "#71717a";
    return `<text x="${labelWidth - 8}" y="${y + 13}" text-anchor="end" fill="#222">${escape(row.engine)}</text>
<rect x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2" fill="${fill}"/>
<text x="${(labelWidth + length + 6).toFixed(1)}" y="${y + 13}" fill="#222">${printNumber(row.value)}</text>
`;
  });
  const title = `${tasks[task].title} (${tasks[task].unit})`;
  return `<text x="12" y="${top + 22}" font-weight="600" fill="#111">${escape(title)}</text>\n${bars.join("")}`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
