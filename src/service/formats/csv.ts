/** Lines of CSV (RFC 4180), safe for spreadsheets. */

/** What a spreadsheet would take for a formula. */
const FORMULA = /^[=+\-@\t\r]/;
const QUOTED = /[",\r\n]/;

/** What people wrote; an apostrophe before it keeps spreadsheets from calculating it. Null is empty. */
export function csvText(value: string | null): string {
  if (value === null) return '';
  return FORMULA.test(value) ? `'${value}` : value;
}

/** One line, with its end. */
export function csvLine(cells: readonly string[]): string {
  const quoted = cells.map((cell) => (QUOTED.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell));
  return `${quoted.join(',')}\r\n`;
}
