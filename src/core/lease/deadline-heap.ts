import { assert } from '../../lib/assert.ts';

/** One waiting item. The heap owns `index`; -1 = not in a heap. */
export interface DeadlineNode<T> {
  deadlineMs: number;
  index: number;
  readonly item: T;
}

/** A node that is in no heap yet. */
export function deadlineNode<T>(item: T): DeadlineNode<T> {
  return { deadlineMs: Number.POSITIVE_INFINITY, index: -1, item };
}

/**
 * A binary heap by deadline in which nodes know their place, so that removing any of them costs O(log n) and
 * revoked leases leave nothing behind. Order among equal deadlines is unspecified.
 */
export class DeadlineHeap<T> {
  readonly #nodes: DeadlineNode<T>[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  first(): DeadlineNode<T> | undefined {
    return this.#nodes[0];
  }

  /** Inserts the node or moves it to a new deadline. */
  set(node: DeadlineNode<T>, deadlineMs: number): void {
    node.deadlineMs = deadlineMs;
    if (node.index < 0) {
      node.index = this.#nodes.length;
      this.#nodes.push(node);
    }
    assert(this.#nodes[node.index] === node, 'a heap node knows its place');
    this.#up(node);
    this.#down(node);
  }

  /** No-op when the node is not in the heap. */
  remove(node: DeadlineNode<T>): void {
    if (node.index < 0) return;
    assert(this.#nodes[node.index] === node, 'a heap node knows its place');
    const last = this.#nodes.pop()!;
    if (last !== node) {
      this.#place(last, node.index);
      this.#up(last);
      this.#down(last);
    }
    node.index = -1;
  }

  clear(): void {
    for (const node of this.#nodes) node.index = -1;
    this.#nodes.length = 0;
  }

  #up(node: DeadlineNode<T>): void {
    while (node.index > 0) {
      const parent = this.#nodes[(node.index - 1) >> 1]!;
      if (parent.deadlineMs <= node.deadlineMs) return;
      this.#swap(node, parent);
    }
  }

  #down(node: DeadlineNode<T>): void {
    for (;;) {
      const left = this.#nodes[2 * node.index + 1];
      const right = this.#nodes[2 * node.index + 2];
      let child = left;
      if (right !== undefined && right.deadlineMs < left!.deadlineMs) child = right;
      if (child === undefined || node.deadlineMs <= child.deadlineMs) return;
      this.#swap(child, node);
    }
  }

  /** Moves `below` one level towards the root. */
  #swap(below: DeadlineNode<T>, above: DeadlineNode<T>): void {
    const { index } = below;
    this.#place(below, above.index);
    this.#place(above, index);
  }

  #place(node: DeadlineNode<T>, index: number): void {
    node.index = index;
    this.#nodes[index] = node;
  }
}
