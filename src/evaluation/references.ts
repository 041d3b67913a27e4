/** The order in which things that refer to one another can be made, and what has none. */
export interface ReferenceOrder {
  /** Each after all that it refers to. */
  readonly order: readonly string[];
  /** What stands in a circle or refers to one, with the circle: its first name is its last one, too. */
  readonly circles: ReadonlyMap<string, readonly string[]>;
}

/** @param references by name; names that are not among them count as absent and hold nothing up */
export function orderOf(references: ReadonlyMap<string, readonly string[]>): ReferenceOrder {
  const waiting = new Map<string, Set<string>>();
  const users = new Map<string, string[]>();
  for (const [name, named] of references) {
    const present = new Set(named.filter((other) => references.has(other)));
    waiting.set(name, present);
    for (const other of present) {
      const known = users.get(other);
      if (known === undefined) users.set(other, [name]);
      else known.push(name);
    }
  }
  const order = [...waiting.keys()].filter((name) => waiting.get(name)!.size === 0);
  for (let at = 0; at < order.length; at += 1) {
    waiting.delete(order[at]!);
    for (const user of users.get(order[at]!) ?? []) {
      const left = waiting.get(user)!;
      left.delete(order[at]!);
      if (left.size === 0) order.push(user);
    }
  }
  return { order, circles: new Map([...waiting.keys()].map((name) => [name, circleFrom(name, waiting)])) };
}

/** Everything that still waits, waits for something that waits: following that must come round. */
function circleFrom(start: string, waiting: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  const path = new Map<string, number>();
  let name = start;
  while (!path.has(name)) {
    path.set(name, path.size);
    [name = start] = waiting.get(name)!;
  }
  return [...[...path.keys()].slice(path.get(name)), name];
}
