import { FINDINGS_MAX } from './limits.ts';

/** What is wrong with one field: its path as the caller wrote it, like `rules/0/when/1/values/0`; empty = the whole. */
export interface Finding {
  readonly field: string;
  readonly message: string;
}

/** Where something stands; paths are made only of what is wrong. */
export interface Place {
  readonly parent: Place | null;
  readonly name: string | number;
}

/** Gathers what is wrong, up to a bound. */
export class Findings {
  readonly #found: Finding[] = [];

  /** @returns null, so that whoever reads a field can give it back */
  add(place: Place | null, message: string): null {
    if (this.#found.length < FINDINGS_MAX) this.#found.push({ field: pathOf(place), message });
    return null;
  }

  get list(): readonly Finding[] {
    return this.#found;
  }
}

export function inside(parent: Place | null, name: string | number): Place {
  return { parent, name };
}

function pathOf(place: Place | null): string {
  const names: string[] = [];
  for (let at = place; at !== null; at = at.parent) names.unshift(String(at.name));
  return names.join('/');
}
