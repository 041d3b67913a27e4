/** The part of V8's `.cpuprofile` that is read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      /** From 0; -1 for what has no source. */
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  readonly samples?: readonly number[];
  /** Before each sample, in microseconds. */
  readonly timeDeltas?: readonly number[];
}

/** Time by stack: a frame and all that it called. */
export interface Frame {
  readonly label: string;
  /** Here and below. */
  totalUs: number;
  selfUs: number;
  readonly children: Map<string, Frame>;
}

/** What V8 reports while nothing runs. */
const IDLE = '(idle)';

/** The stacks of a profile, equal ones together, and the time in which nothing ran. */
export interface Folded {
  readonly root: Frame;
  readonly idleUs: number;
}

/** @param root what paths of sources are shown without */
export function fold(profile: CpuProfile, root: string): Folded {
  const selfUs = selfTimes(profile);
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  let idleUs = 0;
  const visit = (id: number, parent: Frame): number => {
    const node = nodes.get(id)!;
    const ownUs = selfUs.get(id) ?? 0;
    if (node.callFrame.functionName === IDLE) {
      idleUs += ownUs;
      return 0;
    }
    const frame = childOf(parent, labelOf(node.callFrame, root));
    let totalUs = ownUs;
    for (const child of node.children ?? []) totalUs += visit(child, frame);
    frame.selfUs += ownUs;
    frame.totalUs += totalUs;
    return totalUs;
  };
  const all: Frame = newFrame('all');
  // The first node is the root, which stands for the program as a whole.
  for (const child of profile.nodes[0]?.children ?? []) all.totalUs += visit(child, all);
  return { root: all, idleUs };
}

/** The functions in which most time went, what they called aside. */
export function hottest(
  root: Frame,
  count: number,
): readonly { readonly label: string; readonly selfUs: number }[] {
  const byLabel = new Map<string, number>();
  const visit = (frame: Frame): void => {
    byLabel.set(frame.label, (byLabel.get(frame.label) ?? 0) + frame.selfUs);
    for (const child of frame.children.values()) visit(child);
  };
  visit(root);
  return [...byLabel]
    .map(([label, selfUs]) => ({ label, selfUs }))
    .sort((left, right) => right.selfUs - left.selfUs)
    .slice(0, count);
}

function selfTimes({ samples = [], timeDeltas = [] }: CpuProfile): Map<number, number> {
  const selfUs = new Map<number, number>();
  for (const [at, id] of samples.entries()) {
    // A sample lasts until the next one.
    selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, timeDeltas[at + 1] ?? 0));
  }
  return selfUs;
}

function childOf(parent: Frame, label: string): Frame {
  let child = parent.children.get(label);
  if (child === undefined) {
    child = newFrame(label);
    parent.children.set(label, child);
  }
  return child;
}

function newFrame(label: string): Frame {
  return { label, totalUs: 0, selfUs: 0, children: new Map() };
}

function labelOf(frame: CpuProfile['nodes'][number]['callFrame'], root: string): string {
  if (frame.url === '') return frame.functionName === '' ? '(native, without a name)' : frame.functionName;
  const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
  const path = frame.url.replace(/^file:\/\//, '').replace(root, '');
  return `${name} ${path}:${frame.lineNumber + 1}`;
}
