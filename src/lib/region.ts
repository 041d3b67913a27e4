/** Characters of a region's name. */
export const REGION_LENGTH_MAX = 64;

const REGION = new RegExp(`^[A-Za-z0-9._-]{1,${REGION_LENGTH_MAX}}$`);

/** Whether `text` can name a region: letters, digits, `.`, `_` and `-`, so that it fits any label, list or header. */
export function isRegion(text: string): boolean {
  return REGION.test(text);
}
