import { invalid } from '../../../service/service-error.ts';

const TAG = /^(W\/)?"([\u0021\u0023-\u007e\u0080-\u00ff]*)"$/;

/**
 * The entity tags of `If-Match`, without their quotes; undefined = there is no such header. Weak ones never match
 * (RFC 9110, 13.1.1) and are left out.
 *
 * @throws ServiceError `invalid`
 */
export function ifMatchOf(header: string | undefined): readonly string[] | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === '*') return ['*'];
  return tagsOf('If-Match', header).flatMap(({ isWeak, tag }) => (isWeak ? [] : [tag]));
}

/** Whether `If-None-Match` names what the answer would be (RFC 9110, 13.1.2). @throws ServiceError `invalid` */
export function isNoneMatch(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return tagsOf('If-None-Match', header).some(({ tag }) => tag === etag);
}

function tagsOf(
  field: string,
  header: string,
): readonly { readonly isWeak: boolean; readonly tag: string }[] {
  // Our own tags have no commas.
  return header.split(',').map((part) => {
    const [, weak, tag] = TAG.exec(part.trim()) ?? [];
    if (tag === undefined) throw invalid({ field, message: 'must be entity tags in quotes, or *' });
    return { isWeak: weak !== undefined, tag };
  });
}
