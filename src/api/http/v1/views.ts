import type { WriteAnswer } from '../../../service/configurations/apply.ts';
import type { Comparison, EnvironmentDifference } from '../../../service/configurations/comparison.ts';
import type { Finding } from '../../../service/configurations/findings.ts';
import type { EffectiveView } from '../../../service/configurations/reads.ts';
import type { JsonDiff } from '../../../service/values/diff.ts';
import type { ConfigurationView, ShownValue, VersionView } from '../../../service/views.ts';

/** A value as our own paths show it: JSON, with its type beside it. */
export function valueOf({ type, json, isMasked }: ShownValue) {
  return { type, value: json, masked: isMasked };
}

/** What is set beside another value, or null where there is none. */
export function sideOf(value: ShownValue | null) {
  return value === null ? null : valueOf(value);
}

export function configurationOf({ value, modRevision, ...rest }: ConfigurationView) {
  return { ...rest, ...valueOf(value), revision: modRevision };
}

export function versionOf<T extends VersionView>(view: T) {
  const { value, isDeleted, ...rest } = view;
  return { ...rest, ...valueOf(value), deleted: isDeleted };
}

export function effectiveOf({ value, ...rest }: EffectiveView) {
  return { ...rest, ...valueOf(value) };
}

export function findingsOf(findings: readonly Finding[]) {
  return findings.map(({ severity, check, field, message }) => ({ severity, check, field, message }));
}

/** What a change of configurations did. */
export function writtenOf({ revision, changeId, items, findings }: WriteAnswer) {
  return {
    revision,
    changeId,
    items: items.map(({ type, before, after }) => ({
      type,
      before: before === null ? null : configurationOf(before),
      after: configurationOf(after),
    })),
    warnings: findingsOf(findings),
  };
}

export function diffOf(diff: JsonDiff | null) {
  return diff === null ? null : { changes: diff.changes, patch: diff.patch };
}

export function comparisonOf({ left, right, isEqual, isValueEqual, value, fields }: Comparison) {
  const shown = ({ value: side, ...rest }: Comparison['left']) => ({ ...rest, ...valueOf(side) });
  return {
    left: shown(left),
    right: shown(right),
    equal: isEqual,
    valueEqual: isValueEqual,
    diff: diffOf(value),
    fields,
  };
}

export function differenceOf({ key, type, left, right, diff }: EnvironmentDifference) {
  return { key, difference: type, left: sideOf(left), right: sideOf(right), diff: diffOf(diff) };
}
