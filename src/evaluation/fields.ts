import { type Findings, inside, type Place } from './finding.ts';

/** Reads JSON that people wrote, field by field. Everything that is not as it should be becomes a finding and null. */

export interface Bounds {
  readonly min?: number;
  readonly max: number;
}

/** The fields of an object, and where it stands. Fields that were not asked for are found by `end`. */
export class Fields {
  readonly place: Place | null;
  readonly findings: Findings;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #asked = new Set<string>();

  private constructor(values: Readonly<Record<string, unknown>>, place: Place | null, findings: Findings) {
    this.#values = values;
    this.place = place;
    this.findings = findings;
  }

  /** @returns null when it is no object, which is a finding */
  static of(value: unknown, place: Place | null, findings: Findings): Fields | null {
    if (isObject(value)) return new Fields(value, place, findings);
    return findings.add(place, 'must be an object');
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#values, name);
  }

  names(): readonly string[] {
    return Object.keys(this.#values);
  }

  at(name: string): Place {
    return inside(this.place, name);
  }

  /** Undefined = absent. */
  get(name: string): unknown {
    this.#asked.add(name);
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  text(name: string, bounds: Bounds): string | null {
    return textAt(this.get(name), { place: this.at(name), findings: this.findings, bounds });
  }

  /** Absent or null is null, and no finding. */
  optionalText(name: string, bounds: Bounds): string | null {
    const value = this.get(name);
    if (value === undefined || value === null) return null;
    return textAt(value, { place: this.at(name), findings: this.findings, bounds });
  }

  boolean(name: string): boolean | null {
    const value = this.get(name);
    if (typeof value === 'boolean') return value;
    return this.findings.add(this.at(name), value === undefined ? 'is required' : 'must be true or false');
  }

  integer(name: string, bounds: Required<Bounds>): number | null {
    const value = this.get(name);
    const isWithin = Number.isInteger(value) && Number(value) >= bounds.min && Number(value) <= bounds.max;
    if (isWithin) return Number(value);
    const must = `must be an integer from ${bounds.min} to ${bounds.max}`;
    return this.findings.add(this.at(name), value === undefined ? 'is required' : must);
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | null {
    const value = this.get(name);
    const choice = choices.find((known) => known === value);
    if (choice !== undefined) return choice;
    const must = `must be one of ${choices.join(', ')}`;
    return this.findings.add(this.at(name), value === undefined ? 'is required' : must);
  }

  /** Each element as `read` gives it, without those that it gives null of. Absent = empty. */
  list<Element>(
    name: string,
    bounds: Bounds,
    read: (value: unknown, place: Place) => Element | null,
  ): readonly Element[] {
    const value = this.get(name);
    if (value === undefined && (bounds.min ?? 0) === 0) return [];
    return listAt(value, { place: this.at(name), findings: this.findings, bounds, read });
  }

  /** A text in each element. */
  texts(name: string, bounds: Bounds, textBounds: Bounds): readonly string[] {
    const { findings } = this;
    return this.list(name, bounds, (value, place) => textAt(value, { place, findings, bounds: textBounds }));
  }

  /** Says what was there besides. */
  end(): void {
    for (const name of this.names()) {
      if (!this.#asked.has(name)) this.findings.add(this.at(name), 'is not known');
    }
  }
}

export function listAt<Element>(
  value: unknown,
  options: {
    readonly place: Place;
    readonly findings: Findings;
    readonly bounds: Bounds;
    readonly read: (value: unknown, place: Place) => Element | null;
  },
): readonly Element[] {
  const { place, findings, bounds, read } = options;
  if (!Array.isArray(value)) {
    findings.add(place, value === undefined ? 'is required' : 'must be a list');
    return [];
  }
  const { min = 0, max } = bounds;
  if (value.length < min || value.length > max) {
    findings.add(place, `must have ${min === 0 ? 'at most' : `${min} to`} ${max} elements`);
    return [];
  }
  return (value as readonly unknown[]).flatMap((element, index) => {
    const result = read(element, inside(place, index));
    return result === null ? [] : [result];
  });
}

export function textAt(
  value: unknown,
  {
    place,
    findings,
    bounds,
  }: { readonly place: Place; readonly findings: Findings; readonly bounds: Bounds },
): string | null {
  if (typeof value !== 'string')
    return findings.add(place, value === undefined ? 'is required' : 'must be a text');
  const { min = 1, max } = bounds;
  if (value.length >= min && value.length <= max) return value;
  return findings.add(
    place,
    value.length < min ? 'must not be empty' : `must have at most ${max} characters`,
  );
}

/** An object that is no array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * How many characters it has as JSON, escapes not counted; more than `lengthMax` where it has more, without looking at
 * the rest. NaN of what is no JSON or nested deeper than `depthMax`.
 */
export function jsonLength(value: unknown, depthMax: number, lengthMax: number): number {
  if (typeof value === 'string') return value.length + 2;
  if (value === null || typeof value === 'boolean') return String(value).length;
  if (typeof value === 'number') return Number.isFinite(value) ? String(value).length : Number.NaN;
  if (typeof value !== 'object' || depthMax === 0) return Number.NaN;
  const isList = Array.isArray(value);
  let length = 2;
  for (const [name, part] of Object.entries(value)) {
    length += (isList ? 1 : name.length + 4) + jsonLength(part, depthMax - 1, lengthMax - length);
    if (!(length <= lengthMax)) break;
  }
  return length;
}
