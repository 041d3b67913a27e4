import { type Finding, Findings, inside, type Place } from './finding.ts';
import { PATTERN_STEPS, REFERENCE_DEPTH_MAX, STEPS_MAX } from './limits.ts';
import type { AttributeCondition, Condition, FlagDefinition, Segment } from './model.ts';
import { orderOf } from './references.ts';
import { walkConditions, walkRules } from './walk.ts';

/** Flags or segments that were checked against one another. */
export interface Checked {
  /** Those without findings, each after all that it refers to. */
  readonly order: readonly string[];
  /** What is wrong, by key; fields are those of the definition. */
  readonly findings: ReadonlyMap<string, readonly Finding[]>;
}

/**
 * Checks what one definition alone cannot tell: that what it refers to is there, that no references go round in a
 * circle, and what an evaluation costs at worst with all of them.
 */
export function checkSet(
  flags: ReadonlyMap<string, FlagDefinition>,
  segments: ReadonlyMap<string, Segment>,
): { readonly flags: Checked; readonly segments: Checked } {
  const noSegments = new Map<string, number>();
  const knots = new Map([...segments].map(([key, segment]) => [key, segmentKnot(segment, noSegments)]));
  const checkedSegments = untangle(knots, 'segment');
  const steps = new Map([...checkedSegments.steps].filter(([key]) => !checkedSegments.findings.has(key)));
  const flagKnots = new Map(
    [...flags].map(([key, flag]) => [key, flagKnot({ flag, flags, segments, steps })]),
  );
  return { flags: untangle(flagKnots, 'prerequisite'), segments: checkedSegments };
}

/** A thing that refers to others of its kind. */
interface Knot {
  readonly references: readonly { readonly place: Place; readonly name: string }[];
  /** Without what it refers to. */
  readonly steps: number;
  readonly findings: Findings;
}

function untangle(
  knots: ReadonlyMap<string, Knot>,
  kind: 'segment' | 'prerequisite',
): Checked & { readonly steps: ReadonlyMap<string, number> } {
  const named = new Map([...knots].map(([key, { references }]) => [key, references.map(({ name }) => name)]));
  const { order, circles } = orderOf(named);
  for (const [key, circle] of circles) {
    const { references, findings } = knots.get(key)!;
    const place = references.find(({ name }) => circles.has(name))?.place ?? null;
    findings.add(place, `goes round in a circle: ${circle.join(' -> ')}`);
  }
  const noun = kind === 'segment' ? 'segment' : 'flag';
  const steps = new Map<string, number>();
  const depths = new Map<string, number>();
  for (const key of order) {
    const { references, steps: own, findings } = knots.get(key)!;
    let [sum, depth] = [own, 1];
    for (const { place, name } of references) {
      const referred = knots.get(name);
      if (referred === undefined) findings.add(place, `there is no ${noun} ${name}`);
      else if (referred.findings.list.length > 0) findings.add(place, `${noun} ${name} cannot be evaluated`);
      sum += steps.get(name) ?? 0;
      depth = Math.max(depth, 1 + (depths.get(name) ?? 0));
    }
    if (sum > STEPS_MAX) findings.add(null, `evaluating it takes ${sum} steps, more than ${STEPS_MAX}`);
    if (depth > REFERENCE_DEPTH_MAX)
      findings.add(null, `refers over more than ${REFERENCE_DEPTH_MAX} ${kind}s`);
    // What is too much already must not grow beyond all numbers.
    steps.set(key, Math.min(sum, STEPS_MAX + 1));
    depths.set(key, depth);
  }
  const found = [...knots].filter(([, { findings }]) => findings.list.length > 0);
  const wrong = new Map(found.map(([key, { findings }]) => [key, findings.list]));
  return { order: order.filter((key) => !wrong.has(key)), findings: wrong, steps };
}

function segmentKnot(segment: Segment, steps: ReadonlyMap<string, number>): Knot {
  const knot = { references: [] as { place: Place; name: string }[], steps: 1, findings: new Findings() };
  walkConditions(segment.when, inside(null, 'when'), (condition, place) => {
    if ('segment' in condition)
      knot.references.push({ place: inside(place, 'segment'), name: condition.segment });
    knot.steps += stepsOf(condition, steps);
  });
  return knot;
}

function flagKnot({
  flag,
  flags,
  segments,
  steps,
}: {
  readonly flag: FlagDefinition;
  readonly flags: ReadonlyMap<string, FlagDefinition>;
  readonly segments: ReadonlyMap<string, Segment>;
  readonly steps: ReadonlyMap<string, number>;
}): Knot {
  const findings = new Findings();
  let sum = 1 + Object.keys(flag.conditions).length;
  walkRules(flag, (condition, place) => {
    if ('segment' in condition) {
      const { segment } = condition;
      if (!steps.has(segment)) findings.add(inside(place, 'segment'), segmentProblem(segment, segments));
    }
    sum += stepsOf(condition, steps);
  });
  const references = flag.prerequisites.map(({ flag: name, variants }, index) => {
    const place = inside(inside(null, 'prerequisites'), index);
    const known = flags.get(name);
    if (known !== undefined) {
      variants.forEach((variant, at) => {
        if (Object.hasOwn(known.variants, variant)) return;
        findings.add(inside(inside(place, 'variants'), at), `flag ${name} has no variant ${variant}`);
      });
    }
    return { place: inside(place, 'flag'), name };
  });
  return { references, steps: sum, findings };
}

function segmentProblem(key: string, segments: ReadonlyMap<string, Segment>): string {
  return segments.has(key) ? `segment ${key} cannot be evaluated` : `there is no segment ${key}`;
}

/** Of the condition itself, without its parts. */
function stepsOf(condition: Condition, segments: ReadonlyMap<string, number>): number {
  if ('segment' in condition) return 1 + (segments.get(condition.segment) ?? 0);
  return 'attribute' in condition ? 1 + valueSteps(condition) : 1;
}

function valueSteps({ operator, values }: AttributeCondition): number {
  switch (operator) {
    case 'MATCHES':
      return values.length * PATTERN_STEPS;
    case 'CONTAINS':
    case 'NOT_CONTAINS':
    case 'STARTS_WITH':
    case 'ENDS_WITH':
      return values.length;
    default:
      return values.filter((value) => typeof value === 'object').length;
  }
}
