import { decodeRow, RowError } from '../../config-format/rows.ts';
import { UniqueCount } from './unique-count.ts';

/** Who got a variant, and of them who did what was hoped for. */
export interface VariantExposures {
  readonly exposed: UniqueCount;
  /** A part of those. */
  readonly converted: UniqueCount;
}

/** What an experiment has gathered. */
export interface ExposureSet {
  /** When it began, in ISO 8601. */
  readonly since: string;
  readonly variants: Map<string, VariantExposures>;
}

interface ExposureRow {
  readonly format: 1;
  readonly since: string;
  readonly variants: readonly (readonly [variant: string, exposed: string, converted: string])[];
}

export function encodeExposures({ since, variants }: ExposureSet): Buffer {
  const row: ExposureRow = {
    format: 1,
    since,
    variants: [...variants].map(([name, { exposed, converted }]) => [name, exposed.text, converted.text]),
  };
  return Buffer.from(JSON.stringify(row));
}

/** @throws RowError */
export function decodeExposures(bytes: Buffer): ExposureSet {
  const { since, variants } = decodeRow<ExposureRow>(bytes);
  try {
    return {
      since,
      variants: new Map(
        variants.map(([name, exposed, converted]) => [
          name,
          { exposed: UniqueCount.parse(exposed), converted: UniqueCount.parse(converted) },
        ]),
      ),
    };
  } catch (cause) {
    throw new RowError('counts of an experiment cannot be read', { cause });
  }
}

/** Adds what `more` has. @returns whether that was more */
export function addExposures(
  variants: Map<string, VariantExposures>,
  more: ReadonlyMap<string, VariantExposures>,
): boolean {
  let isMore = false;
  for (const [name, { exposed, converted }] of more) {
    const known = variantIn(variants, name);
    const isExposed = known.exposed.merge(exposed);
    isMore = known.converted.merge(converted) || isExposed || isMore;
  }
  return isMore;
}

/** Made where there is none yet. */
export function variantIn(variants: Map<string, VariantExposures>, name: string): VariantExposures {
  const known = variants.get(name);
  if (known !== undefined) return known;
  const made = { exposed: new UniqueCount(), converted: new UniqueCount() };
  variants.set(name, made);
  return made;
}
