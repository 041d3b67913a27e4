import { assert } from '../../lib/assert.ts';

/** The half-open range [start, end) of strings in code unit order. */
export interface Interval {
  readonly start: string;
  readonly end: string;
}

interface Node<T> {
  interval: Interval;
  value: T;
  left: Node<T> | null;
  right: Node<T> | null;
  height: number;
  /** The greatest end in this subtree: nothing below it contains a point from there on. */
  maxEnd: string;
}

/**
 * Distinct intervals in a height-balanced search tree (AVL) by start, then end, with the greatest end of every
 * subtree: all k intervals that contain a point are found in O(log n + k), typically.
 */
export class IntervalTree<T> {
  #root: Node<T> | null = null;

  get(interval: Interval): T | undefined {
    let node = this.#root;
    while (node !== null) {
      const order = compare(interval, node.interval);
      if (order === 0) return node.value;
      node = order < 0 ? node.left : node.right;
    }
    return undefined;
  }

  /** Adds an interval that is not in the tree. */
  insert(interval: Interval, value: T): void {
    assert(interval.start < interval.end, 'an interval is not empty');
    this.#root = insertBelow(this.#root, interval, value);
  }

  /** Removes an interval that is in the tree. */
  delete(interval: Interval): void {
    this.#root = deleteBelow(this.#root, interval);
  }

  /** Calls with the value of every interval that contains the point, in order. */
  containing(point: string, visit: (value: T) => void): void {
    visitContaining(this.#root, point, visit);
  }

  some(point: string): boolean {
    let node = this.#root;
    // Left subtree first: if its ends reach beyond the point and it does not contain it, its starts are all greater.
    while (node !== null && node.maxEnd > point) {
      if (node.interval.start <= point && point < node.interval.end) return true;
      node = node.left !== null && node.left.maxEnd > point ? node.left : node.right;
    }
    return false;
  }
}

function compare(a: Interval, b: Interval): number {
  if (a.start !== b.start) return a.start < b.start ? -1 : 1;
  if (a.end !== b.end) return a.end < b.end ? -1 : 1;
  return 0;
}

function insertBelow<T>(node: Node<T> | null, interval: Interval, value: T): Node<T> {
  if (node === null) return { interval, value, left: null, right: null, height: 1, maxEnd: interval.end };
  const order = compare(interval, node.interval);
  assert(order !== 0, 'an interval is inserted once');
  if (order < 0) node.left = insertBelow(node.left, interval, value);
  else node.right = insertBelow(node.right, interval, value);
  return balanced(node);
}

function deleteBelow<T>(node: Node<T> | null, interval: Interval): Node<T> | null {
  assert(node !== null, 'a deleted interval is in the tree');
  const order = compare(interval, node.interval);
  if (order < 0) {
    node.left = deleteBelow(node.left, interval);
  } else if (order > 0) {
    node.right = deleteBelow(node.right, interval);
  } else {
    if (node.left === null || node.right === null) return node.left ?? node.right;
    const successor = leftmost(node.right);
    node.interval = successor.interval;
    node.value = successor.value;
    node.right = deleteBelow(node.right, successor.interval);
  }
  return balanced(node);
}

function leftmost<T>(node: Node<T>): Node<T> {
  let first = node;
  while (first.left !== null) first = first.left;
  return first;
}

function visitContaining<T>(node: Node<T> | null, point: string, visit: (value: T) => void): void {
  if (node === null || node.maxEnd <= point) return;
  visitContaining(node.left, point, visit);
  if (node.interval.start > point) return;
  if (point < node.interval.end) visit(node.value);
  visitContaining(node.right, point, visit);
}

function balanced<T>(node: Node<T>): Node<T> {
  const lean = heightOf(node.left) - heightOf(node.right);
  if (lean > 1) {
    const left = node.left!;
    if (heightOf(left.left) < heightOf(left.right)) node.left = rotatedLeft(left);
    return rotatedRight(node);
  }
  if (lean < -1) {
    const right = node.right!;
    if (heightOf(right.right) < heightOf(right.left)) node.right = rotatedRight(right);
    return rotatedLeft(node);
  }
  return measured(node);
}

function rotatedRight<T>(node: Node<T>): Node<T> {
  const top = node.left!;
  node.left = top.right;
  top.right = measured(node);
  return measured(top);
}

function rotatedLeft<T>(node: Node<T>): Node<T> {
  const top = node.right!;
  node.right = top.left;
  top.left = measured(node);
  return measured(top);
}

function measured<T>(node: Node<T>): Node<T> {
  node.height = 1 + Math.max(heightOf(node.left), heightOf(node.right));
  let { end } = node.interval;
  if (node.left !== null && node.left.maxEnd > end) end = node.left.maxEnd;
  if (node.right !== null && node.right.maxEnd > end) end = node.right.maxEnd;
  node.maxEnd = end;
  return node;
}

function heightOf<T>(node: Node<T> | null): number {
  return node === null ? 0 : node.height;
}
