import { checkForm, type Fields } from '../lib/packed.ts';
import { isRegion } from '../lib/region.ts';

/** The next field of a command or row as a region. @throws MalformedError when it names none */
export function unpackRegion(fields: Fields): string {
  const region = fields.text();
  checkForm(isRegion(region), 'a member has a region that is none');
  return region;
}
