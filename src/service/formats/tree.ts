import type { Json } from '../model.ts';
import { FORBIDDEN_NAME, isObject } from '../values/json-limits.ts';
import { type ParsedSet, type PrintedSet, SetBuilder } from './parsed-set.ts';

/** How keys with dots stand in JSON and YAML: as they are, or as objects in objects. */
export type Shape = 'flat' | 'nested';

/** The values of an object. */
export function entriesOf(
  json: Json,
  {
    shape,
    isWhole,
  }: {
    readonly shape: Shape;
    /** Nested: whether the object at this key is one value, not values of longer keys. */
    readonly isWhole: (key: string) => boolean;
  },
): ParsedSet {
  const builder = new SetBuilder();
  const visit = (object: { readonly [name: string]: Json }, prefix: string): void => {
    for (const [name, member] of Object.entries(object)) {
      const key = `${prefix}${name}`;
      const isBranch =
        shape === 'nested' && isObject(member) && Object.keys(member).length > 0 && !isWhole(key);
      if (name === '')
        builder.refuse(null, `a name is empty${prefix === '' ? '' : `, below "${prefix.slice(0, -1)}"`}`);
      else if (isBranch) visit(member, `${key}.`);
      else builder.add({ key, line: null, value: { type: 'json', json: member } });
    }
  };
  if (isObject(json)) visit(json, '');
  else builder.refuse(1, 'must be an object of keys and their values');
  return builder.build();
}

/** An object of the values, and what it cannot hold. */
export function objectOf(
  values: ReadonlyMap<string, Json>,
  shape: Shape,
): { readonly json: Json; readonly problems: PrintedSet['problems'] } {
  const isGood = (key: string): boolean => !key.split('.').includes(FORBIDDEN_NAME) && key !== '';
  const problems = [...values.keys()]
    .filter((key) => !isGood(key))
    .map((key) => ({ key, message: 'cannot be the name of a member' }));
  const good = [...values].filter(([key]) => isGood(key));
  return { json: shape === 'flat' ? Object.fromEntries(good) : nested(new Map(good)), problems };
}

type Tree = Map<string, Tree | { readonly json: Json }>;

/** What lies below a key that is a value itself stays in one name with it: `{"a": 1, "a.b": 2}`. */
function nested(values: ReadonlyMap<string, Json>): Json {
  const root: Tree = new Map();
  for (const [key, json] of values) {
    const words = key.split('.');
    let tree = root;
    let from = 0;
    for (let to = 1; to < words.length; to++) {
      if (values.has(words.slice(0, to).join('.'))) continue;
      const name = words.slice(from, to).join('.');
      const branch = tree.get(name);
      const inner = branch instanceof Map ? branch : new Map<string, never>();
      if (branch === undefined) tree.set(name, inner);
      tree = inner;
      from = to;
    }
    tree.set(words.slice(from).join('.'), { json });
  }
  return jsonOf(root);
}

function jsonOf(tree: Tree): Json {
  return Object.fromEntries(
    [...tree].map(([name, part]) => [name, part instanceof Map ? jsonOf(part) : part.json]),
  );
}
