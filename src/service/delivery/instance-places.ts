import type { Scope } from '../model.ts';
import { invalid } from '../service-error.ts';
import type { Instance, InstanceRef } from './instance.ts';

/** Environment, application and id, or the first two of them: by these instances are listed. */
type Place = readonly string[];

export function placeIn({ environment, application, id }: InstanceRef): Place {
  return [environment, application, id];
}

/** For sorting places without an id. */
export function byPlace(left: Scope, right: Scope): number {
  return comparePlaces([left.environment, left.application], [right.environment, right.application]);
}

/** Negative = the left one comes first. */
export function comparePlaces(left: Place, right: Place): number {
  const at = left.findIndex((part, index) => part !== right[index]);
  if (at < 0) return 0;
  return left[at]! < right[at]! ? -1 : 1;
}

/** What a page that goes on after the instance begins with. */
export function cursorOf(instance: Instance): string {
  return Buffer.from(placeIn(instance).join('/')).toString('base64url');
}

/** Of `cursorOf`. @throws ServiceError `invalid` */
export function placeOf(cursor: string): Place {
  // Of the three only the id may have slashes.
  const [environment, application, ...id] = Buffer.from(cursor, 'base64url').toString().split('/');
  if (environment === undefined || application === undefined || id.length === 0)
    throw invalid({ field: 'cursor', message: 'is none that was given' });
  return [environment, application, id.join('/')];
}
