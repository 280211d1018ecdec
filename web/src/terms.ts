// Queries as terms: `dog + 2*beach - person`, as the server reads them.

export interface Term {
  label: string;
  /** Above 0; how much the term counts. */
  weight: number;
  isWanted: boolean;
}

const SIGN = /\s+([+-])\s+(?=(?:[^"]*"[^"]*")*[^"]*$)/;
const WEIGHTED = /^(\d*\.?\d+)\s*\*\s*(.+)$/s;

export function parse(text: string): Term[] {
  const trimmed = text.trim();
  const parts = (trimmed.match(/^[+-]\s/) ? ` ${trimmed}` : ` + ${trimmed}`).split(SIGN);
  const terms: Term[] = [];
  for (let at = 1; at + 1 < parts.length; at += 2) {
    const part = parts[at + 1]!.trim();
    const weighted = WEIGHTED.exec(part);
    const label = unquoted(weighted ? weighted[2]!.trim() : part);
    if (label) terms.push({ label, weight: Number(weighted?.[1] ?? 1), isWanted: parts[at] === "+" });
  }
  return terms;
}

export function format(terms: readonly Term[]): string {
  return terms
    .map(({ label, weight, isWanted }, place) => {
      const name = / [+-] |^[+-] |^\d*\.?\d+\s*\*/.test(label) ? `"${label}"` : label;
      const sign = isWanted ? (place ? " + " : "") : place ? " - " : "- ";
      return `${sign}${weight === 1 ? "" : `${weight}*`}${name}`;
    })
    .join("");
}

function unquoted(text: string): string {
  return /^".*"$/s.test(text) ? text.slice(1, -1).trim() : text;
}
